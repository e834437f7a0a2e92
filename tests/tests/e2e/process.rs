//! The process: its data folder, its stop, its log, `config check`.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use mimi_hub_ops::client::{ROLE_MEMBER, RoomChange};
use mimi_hub_proto::SubmitMessageResponse;
use mimi_hub_proto::tls::encode;
use mimi_hub_tests::{Hub, World, room, stream, user};

use crate::scene::Scene;

#[tokio::test]
async fn the_data_folder_of_another_provider_is_refused() {
    let world = crate::world();
    let mut hub = world.hub("a.example").await;
    assert_eq!(hub.stop().await.code, Some(0));
    let data = hub.home().join("data");
    let other = world.prepare("b.example", &format!("hub.data_dir = '{}'", data.display()));
    let exit = other.refuse_to_start().await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    assert!(exit.output.contains("belongs to"), "{}", exit.output);
    assert!(exit.output.contains("Point `data_dir` at"), "{}", exit.output);
    // And it is as it was.
    hub.start().await;
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    // With ports of its own: it is the folder that is taken.
    let config = fs::read_to_string(hub.config()).unwrap();
    let second = world.prepare("d.example", "");
    let ports = fs::read_to_string(second.config()).unwrap();
    let mut config: toml::Table = toml::from_str(&config).unwrap();
    let ports: toml::Table = toml::from_str(&ports).unwrap();
    for section in ["federation", "local"] {
        let listen = ports[section]["listen"].clone();
        config[section]
            .as_table_mut()
            .unwrap()
            .insert("listen".to_owned(), listen);
        for key in ["certificate", "private_key", "peer_ca", "client_ca"] {
            if let Some(path) = config[section].get(key).and_then(toml::Value::as_str) {
                let absolute = hub.home().join(path).display().to_string();
                config[section]
                    .as_table_mut()
                    .unwrap()
                    .insert(key.to_owned(), absolute.into());
            }
        }
    }
    let data = hub.home().join("data").display().to_string();
    config["hub"]
        .as_table_mut()
        .unwrap()
        .insert("data_dir".to_owned(), data.into());
    fs::write(second.config(), toml::to_string(&config).unwrap()).unwrap();
    let exit = second.refuse_to_start().await;
    assert_eq!(exit.code, Some(1), "{}", exit.output);
    assert!(exit.output.contains("locked by another process"), "{}", exit.output);
    hub.gateway().hub().await.unwrap();
}

#[tokio::test]
async fn damaged_hub_keys_are_refused_and_left_alone() {
    let world = crate::world();
    let mut hub = world.hub("a.example").await;
    hub.stop().await;
    let path = hub.home().join("data/hub-keys.json");
    let good = fs::read(&path).unwrap();
    for damaged in [&good[..good.len() / 2], b"", b"[]", b"{}"] {
        fs::write(&path, damaged).unwrap();
        let exit = hub.refuse_to_start().await;
        assert_eq!(exit.code, Some(1), "{damaged:?} {}", exit.output);
        assert!(exit.output.contains("restore it from a backup"), "{}", exit.output);
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
    fs::write(&path, good).unwrap();
    hub.start().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let world = crate::world();
    let _taken = std::net::TcpListener::bind(world.address("a.example")).unwrap();
    let hub = world.prepare("a.example", "");
    let exit = hub.refuse_to_start().await;
    assert_eq!(exit.code, Some(1));
    assert!(
        exit.output.contains(&world.address("a.example").to_string()),
        "{}",
        exit.output
    );
}

#[tokio::test]
async fn sigterm_ends_it_in_order_and_loses_nothing() {
    let mut scene = Scene::new().await;
    for number in 0..20 {
        scene.bob.send(&scene.room, &format!("{number}")).await;
    }
    let (before, events) = (scene.view().await, scene.messages().await);
    let exit = scene.hub.stop().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    scene.hub.start().await;
    assert_eq!(scene.messages().await, events);
    scene.unharmed_since(&before).await;
}

/// Requests that come while it stops are answered or refused; what is answered is there afterwards.
#[tokio::test]
async fn what_is_acknowledged_while_it_stops_is_there_afterwards() {
    let mut scene = Scene::new().await;
    let bodies: Vec<Vec<u8>> = (0..60)
        .map(|number| {
            let body = scene.bob.text(&scene.room, &format!("{number}"));
            let refused = encode(&SubmitMessageResponse::NotAllowed);
            scene.bob.state.message_answered(&scene.room, &refused).unwrap();
            body
        })
        .collect();
    let (peer, room) = (scene.bob.peer.clone(), scene.room.clone());
    let sending = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for body in bodies {
            let Ok(answer) = peer.try_post("submitMessage", room.as_str(), &body).await else {
                break;
            };
            if answer.status == 200 {
                acknowledged.push((body, answer.body));
            }
        }
        acknowledged
    });
    tokio::time::sleep(Duration::from_millis(60)).await;
    let exit = scene.hub.stop().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    let acknowledged = sending.await.unwrap();
    assert!(!acknowledged.is_empty());
    scene.hub.start().await;
    let events = scene.messages().await.len();
    assert!(events >= acknowledged.len(), "{events} of {}", acknowledged.len());
    for (body, answer) in acknowledged {
        let again = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
        assert_eq!(again.body, answer);
    }
    assert_eq!(scene.messages().await.len(), events);
}

#[tokio::test]
async fn a_request_that_waits_for_events_does_not_keep_it_from_stopping() {
    let mut scene = Scene::with("limits.drain_ms = 1000", |_| {}).await;
    let gateway = scene
        .hub
        .gateway()
        .with_retry(mimi_hub_ops::client::RetryPolicy::never());
    let alice = scene.alice_uri();
    let end = gateway.events(&alice, None, Duration::ZERO, 1000).await.unwrap().cursor;
    let waiting = tokio::spawn(async move { gateway.events(&alice, Some(&end), Duration::from_secs(30), 10).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = std::time::Instant::now();
    let exit = scene.hub.stop().await;
    assert_eq!(exit.code, Some(0), "{}", exit.output);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    waiting.await.unwrap().unwrap_err();
}

/// Base64 of the DER between the lines of a PEM file, as it would stand in a log.
fn pem_lines(pem: &str) -> Vec<String> {
    pem.lines()
        .filter(|line| !line.starts_with("-----") && line.len() > 20)
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn at_the_most_detailed_level_no_secret_is_in_the_log() {
    let world = crate::world();
    let trace = "log.filter = 'trace'";
    let hub = world.hub_with("a.example", trace).await;
    let follower = world.hub_with("b.example", trace).await;
    let here = room("a.example", "clubhouse");
    let mut alice = hub.client("alice", "A1", 1).await;
    let mut bob = follower.client("bob", "B1", 2).await;
    alice.create_room(&here, "Clubhouse").await.unwrap();
    let target = user("b.example", "bob");
    alice.add_user(&here, &target, ROLE_MEMBER).await.unwrap();
    let plaintext = "the treasure is under the old oak";
    alice.send_text(&here, plaintext).await.unwrap();
    let known = here.clone();
    bob.sync_until("the message", Duration::from_secs(20), move |state| {
        state.transcript(&known).len() == 1
    })
    .await
    .unwrap();
    assert_eq!(bob.state().transcript(&here)[0].text, plaintext);
    bob.send_text(&here, plaintext).await.unwrap();
    alice.change(&here, &RoomChange::RemoveUser(target)).await.unwrap();
    assert_eq!(
        stream::messages(hub.gateway(), &user("a.example", "alice"), &here)
            .await
            .len(),
        2
    );

    for hub in [&hub, &follower] {
        let log = hub.log();
        assert!(log.contains("TRACE"), "the log is as detailed as it can be");
        assert!(!log.contains(plaintext));
        assert!(!log.contains("PRIVATE KEY"));
        let mut secrets = Vec::new();
        for key in ["federation.key", "local.key"] {
            secrets.extend(pem_lines(&fs::read_to_string(hub.home().join(key)).unwrap()));
        }
        secrets.extend(hub_key_texts(hub));
        assert!(secrets.len() >= 6, "{}", secrets.len());
        for secret in secrets {
            assert!(!log.contains(&secret), "a private key is in the log");
        }
    }
}

/// The hub's own private keys in the ways in which a log could show them.
fn hub_key_texts(hub: &Hub) -> Vec<String> {
    use base64::Engine as _;
    let keys = fs::read(hub.home().join("data/hub-keys.json")).unwrap();
    let keys: serde_json::Value = serde_json::from_slice(&keys).unwrap();
    let mut texts = Vec::new();
    let signature = keys["signature"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| &pair["private"]);
    let franking = keys["franking"].as_array().unwrap().iter().map(|key| &key["key"]);
    for secret in signature.chain(franking) {
        let private: Vec<u8> = serde_json::from_value(secret.clone()).unwrap();
        assert!(private.len() >= 32);
        texts.push(base64::prelude::BASE64_STANDARD.encode(&private));
        texts.push(private.iter().map(|byte| format!("{byte:02x}")).collect());
        texts.push(format!("{private:?}"));
        texts.push(format!("{:?}", &private[..16]).trim_matches(['[', ']']).to_owned());
    }
    texts
}

fn check(world: &World, hub: &Hub) -> (Output, String) {
    let output = Command::new(world.program())
        .args(["config", "check", "--config"])
        .arg(hub.config())
        .output()
        .unwrap();
    let text = [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat();
    (output, text)
}

#[tokio::test]
async fn config_check_prints_what_is_in_force() {
    let world = crate::world();
    let hub = world.prepare("a.example", "limits.body_bytes_max = 12345");
    let (output, text) = check(&world, &hub);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("body_bytes_max = 12345"), "{text}");
    assert!(text.contains("past_epochs_max = 2"), "defaults are shown: {text}");
    assert!(text.contains("the configuration is good"), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
}

#[tokio::test]
async fn config_check_says_what_is_wrong_and_fails() {
    let world = crate::world();
    let edited = |settings: &str| {
        let hub = world.prepare("a.example", settings);
        check(&world, &hub)
    };
    for (settings, words) in [
        ("hub.domains = []", "domains"),
        ("hub.domains = ['not a domain']", "domain"),
        ("hub.nonsense = 1", "nonsense"),
        ("limits.body_bytes_max = 'many'", "body_bytes_max"),
        ("limits.body_bytes_max = 0", "body_bytes_max"),
        ("log.filter = 'a=b=c'", "log.filter"),
        ("federation.certificate = 'missing.pem'", "missing.pem"),
        ("federation.private_key = 'local.key'", "federation"),
        ("federation.peer_ca = 'federation.key'", "federation.peer_ca"),
        ("hub.domains = ['a.example', 'z.example']", "z.example"),
        ("hub.data_dir = 'federation.pem'", "hub.data_dir"),
    ] {
        let (output, text) = edited(settings);
        assert_eq!(output.status.code(), Some(1), "{settings}: {text}");
        assert!(text.contains(words), "{settings}: {text}");
        assert!(!text.contains("the configuration is good"), "{settings}: {text}");
    }
    let (output, text) = edited("");
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[tokio::test]
async fn config_check_notices_keys_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = crate::world();
    let hub = world.prepare("a.example", "");
    let key = hub.home().join("federation.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (output, text) = check(&world, &hub);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("chmod 600"), "{text}");
}
