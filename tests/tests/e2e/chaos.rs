//! `mimi-hub chaos`, as an operator runs it, only shorter.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Beyond the seconds of traffic: starting, and letting everybody see everything.
const LIMIT: Duration = Duration::from_secs(120);

fn chaos(dir: &Path, seconds: u32, faults: &str) -> Command {
    let world = crate::world();
    let mut command = Command::new(world.program());
    command
        .args(["chaos", "--nodes", "3", "--rooms", "3", "--seed", "1", "--json"])
        .args(["--seconds", &seconds.to_string(), "--faults", faults])
        .arg("--dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Processes that were started with a configuration in this folder.
fn left_behind(dir: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let command_lines = processes.filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok());
    command_lines
        .map(|octets| String::from_utf8_lossy(&octets).replace('\0', " "))
        .filter(|line| line.contains(&format!("serve --config {}", dir.display())))
        .collect()
}

fn verdict(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let json = text.lines().rfind(|line| line.starts_with('{'));
    serde_json::from_str(json.unwrap_or_else(|| panic!("no verdict: {text}"))).unwrap()
}

#[tokio::test]
async fn nothing_is_lost_when_nodes_are_killed_cut_off_and_paused_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("chaos");
    let run = chaos(&dir, 32, "kill,pause,partition").output();
    let output = tokio::time::timeout(LIMIT, run).await.unwrap().unwrap();
    let verdict = verdict(&output);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(verdict["ok"], true);
    for count in [
        "lost",
        "duplicates",
        "order_violations",
        "forked_epochs",
        "key_packages_reused",
        "errors",
    ] {
        assert_eq!(verdict[count], 0, "{count}");
    }
    assert!(verdict["acked"].as_u64().unwrap() > 100, "{verdict}");
    assert!(verdict["commits"].as_u64().unwrap() > 0, "{verdict}");
    let faults = verdict["faults"].as_object().unwrap();
    assert!(
        faults.values().map(|count| count.as_u64().unwrap()).sum::<u64>() >= 2,
        "{verdict}"
    );
    assert!(verdict["longest_unavailable_ms"].as_u64().unwrap() > 0);
    assert_eq!(left_behind(&dir), [""; 0]);
}

#[tokio::test]
async fn stopped_in_the_middle_it_leaves_no_process_behind() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("chaos");
    let child = chaos(&dir, 600, "kill").spawn().unwrap();
    let started = tokio::time::Instant::now();
    // Three nodes and two other providers.
    while left_behind(&dir).len() < 5 {
        assert!(started.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stop = format!("kill -TERM {}", child.id().unwrap());
    assert!(Command::new("sh").args(["-c", &stop]).status().await.unwrap().success());
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"));
    assert_eq!(left_behind(&dir), [""; 0]);
}

/// It is the clients of a hub that runs already.
#[tokio::test]
async fn a_given_hub_is_put_under_traffic_and_judged() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let file = |name: &str| hub.home().join(name);
    let run = Command::new(world.program())
        .args([
            "chaos",
            "--rooms",
            "2",
            "--seconds",
            "5",
            "--json",
            "--domain",
            "a.example",
        ])
        .args(["--url", &format!("https://localhost:{}", hub.local_port())])
        .arg("--ca")
        .arg(file("local-ca.pem"))
        .arg("--certificate")
        .arg(file("gateway.pem"))
        .arg("--private-key")
        .arg(file("gateway.key"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, run).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdict = verdict(&output);
    assert_eq!(
        (&verdict["ok"], &verdict["faults"]),
        (&true.into(), &serde_json::json!({}))
    );
    assert!(verdict["acked"].as_u64().unwrap() > 10, "{verdict}");
}
