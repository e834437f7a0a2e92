use std::fs;

use super::{
    check::check,
    load::{load, parse},
    *,
};
use crate::tls::testing::{Ca, TlsFolder};

const MINIMAL: &str = r#"
[hub]
domains = ["a.example"]
[federation]
listen = "127.0.0.1:7001"
certificate = "certs/a.example.pem"
private_key = "certs/a.example.key"
peer_ca = "certs/federation-ca.pem"
[local]
listen = "127.0.0.1:7443"
certificate = "certs/local.a.example.pem"
private_key = "certs/local.a.example.key"
client_ca = "/etc/mimi-hub/local-ca.pem"
"#;

/// `MINIMAL` with the environment laid over it, values checked.
fn with(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = parse(Path::new("hub.toml"), MINIMAL, environment)?;
    config.validate()?;
    Ok(config)
}

fn refusal(environment: &[(&str, &str)]) -> String {
    with(environment).unwrap_err().to_string()
}

#[test]
fn what_is_not_said_has_a_default() {
    let config = with(&[]).unwrap();
    assert_eq!(config.primary_domain().as_str(), "a.example");
    assert_eq!(config.public_base(), "https://a.example");
    assert_eq!(config.hub.shards, 64);
    assert_eq!(config.limits.body_bytes_max, 4 * 1024 * 1024);
    assert_eq!(config.limits.requests_per_second_per_provider, 0);
    assert_eq!(config.consent.default, ConsentDefault::Allow);
    assert!(config.consent.tell_unknown && !config.consent.same_provider && !config.consent.shared_room);
    assert_eq!((config.discovery.search.len(), config.discovery.results_max), (8, 20));
    assert_eq!(config.log.format, LogFormat::Text);
    assert!(config.peers.is_empty());
}

#[test]
fn every_section_can_be_written() {
    let text = format!(
        "{MINIMAL}
        [peers.\"b.example\"]
        address = \"[::1]:7002\"
        [limits]
        connections_max = 7
        [room]
        members_max = 7
        [delivery]
        batch_messages_max = 7
        [retention]
        events_max_per_room = 7
        [consent]
        default = \"deny\"
        shared_room = true
        [discovery]
        search = [\"handle\", \"oidcStdClaim\"]
        partial_chars_min = 7
        [assets]
        domains = {{ \"c.example\" = [\"assets.c.example\"] }}
        ca = \"web-ca.pem\"
        allow_private = [\"10.1.0.0/16\"]
        [log]
        format = \"json\"
        filter = \"warn,mimi_hub::peer=debug\""
    );
    let config = parse(Path::new("hub.toml"), &text, Vec::new()).unwrap();
    config.validate().unwrap();
    assert_eq!(
        config.peers.values().next().unwrap().hosts_and_ports(),
        Some(vec![("::1", 7002)])
    );
    assert_eq!((config.limits.connections_max, config.room.members_max), (7, 7));
    assert_eq!(
        (config.delivery.batch_messages_max, config.retention.events_max_per_room),
        (7, 7)
    );
    assert!(config.consent.shared_room && config.consent.tell_unknown);
    assert_eq!(config.discovery.search, [SearchBy::Handle, SearchBy::OidcStdClaim]);
    assert_eq!(config.discovery.partial_chars_min, 7);
    assert!(config.assets.is_offered());
    assert!(config.assets.allow_private[0].contains("10.1.2.3".parse().unwrap()));
    assert_eq!(
        (config.consent.default, config.log.format),
        (ConsentDefault::Deny, LogFormat::Json)
    );
}

#[test]
fn the_environment_goes_before_the_file() {
    let config = with(&[
        ("MIMI_HUB__FEDERATION__LISTEN", "0.0.0.0:443"),
        ("MIMI_HUB__FEDERATION__PUBLIC_URL", "https://hub.a.example:8443/mimi/"),
        ("MIMI_HUB__HUB__DOMAINS", r#"["a.example", "Chat.A.Example"]"#),
        ("MIMI_HUB__LIMITS__BODY_TIMEOUT_MS", "250"),
        ("MIMI_HUB__PEERS__B.EXAMPLE__ADDRESS", "127.0.0.1:7002"),
        ("MIMI_HUB__LOG__FORMAT", "json"),
    ])
    .unwrap();
    assert_eq!(config.federation.listen.to_string(), "0.0.0.0:443");
    assert_eq!(config.public_base(), "https://hub.a.example:8443/mimi");
    assert_eq!(
        config
            .hub
            .domains
            .iter()
            .map(ProviderDomain::as_str)
            .collect::<Vec<_>>(),
        ["a.example", "chat.a.example"]
    );
    assert_eq!(config.limits.body_timeout(), Duration::from_millis(250));
    assert_eq!(config.peers[&"b.example".parse().unwrap()].address, "127.0.0.1:7002");
    assert_eq!(config.log.format, LogFormat::Json);

    let config = with(&[("MIMI_HUB__PEERS", r#"{"b.example"={address="h:1"}}"#)]).unwrap();
    assert_eq!(
        config.peers[&"b.example".parse().unwrap()].hosts_and_ports(),
        Some(vec![("h", 1)])
    );
}

#[test]
fn unknown_keys_are_named_wherever_they_come_from() {
    let text = format!("{MINIMAL}\n[limits]\nbody_bytes = 5");
    let error = parse(Path::new("hub.toml"), &text, Vec::new()).unwrap_err().to_string();
    assert!(
        error.contains("hub.toml") && error.contains("line 16") && error.contains("body_bytes"),
        "{error}"
    );

    let error = refusal(&[("MIMI_HUB__LIMITS__BODY_BYTES", "5")]);
    assert!(
        error.contains("MIMI_HUB__LIMITS__BODY_BYTES") && error.contains("unknown field `body_bytes`"),
        "{error}"
    );
}

#[test]
fn variables_that_name_no_key_are_refused() {
    for (name, problem) in [
        ("MIMI_HUB__", "ends in a separator"),
        ("MIMI_HUB__HUB__", "ends in a separator"),
        ("MIMI_HUB____DOMAINS", "empty part"),
        ("MIMI_HUB__FEDERATION__LISTEN__PORT", "is a value, not a section"),
    ] {
        let error = refusal(&[(name, "1")]);
        assert!(error.contains(name) && error.contains(problem), "{error}");
    }
}

#[test]
fn a_value_that_breaks_a_rule_is_named_with_its_remedy() {
    for (name, value, finding) in [
        ("HUB__DOMAINS", "[]", "hub.domains = []: name at least"),
        (
            "HUB__DOMAINS",
            r#"["a.example", "A.example"]"#,
            "hub.domains = a.example: name each domain once",
        ),
        ("HUB__SHARDS", "0", "hub.shards = 0: set a value from 1 to 4096"),
        (
            "LOCAL__LISTEN",
            "127.0.0.1:7001",
            "local.listen = 127.0.0.1:7001: is the address of federation.listen",
        ),
        (
            "FEDERATION__PUBLIC_URL",
            "http://a.example",
            "federation.public_url = http://a.example: write https://",
        ),
        (
            "FEDERATION__PUBLIC_URL",
            "https://u@a.example",
            "federation.public_url = https://u@a.example: write",
        ),
        (
            "FEDERATION__PUBLIC_URL",
            "https://a.example/{x}",
            "federation.public_url = https://a.example/{x}: write",
        ),
        (
            "FEDERATION__PUBLIC_URL",
            "https://a.example/?x",
            "federation.public_url = https://a.example/?x: write",
        ),
        (
            "PEERS__B.EXAMPLE__ADDRESS",
            "127.0.0.1",
            "peers.\"b.example\".address = 127.0.0.1: write host:port",
        ),
        (
            "PEERS__B.EXAMPLE__ADDRESS",
            "b:0",
            "peers.\"b.example\".address = b:0: write host:port",
        ),
        (
            "PEERS__A.EXAMPLE__ADDRESS",
            "b:1",
            "peers.\"a.example\" = a.example: is one of hub.domains",
        ),
        (
            "LIMITS__BODY_BYTES_MAX",
            "1",
            "limits.body_bytes_max = 1: set a value from 1024 to 1073741823",
        ),
        ("LIMITS__BODY_TIMEOUT_MS", "0", "limits.body_timeout_ms = 0: set"),
        ("LIMITS__HEADER_TIMEOUT_MS", "0", "limits.header_timeout_ms = 0: set"),
        ("LIMITS__REQUEST_TIMEOUT_MS", "0", "limits.request_timeout_ms = 0: set"),
        ("LIMITS__CONNECTIONS_MAX", "0", "limits.connections_max = 0: set"),
        ("LIMITS__DRAIN_MS", "99999999999", "limits.drain_ms = 99999999999: set"),
        (
            "ROOM__PENDING_PROPOSALS_MAX",
            "0",
            "room.pending_proposals_max = 0: set",
        ),
        ("ROOM__MEMBERS_MAX", "0", "room.members_max = 0: set"),
        (
            "DELIVERY__RETRY_MS_MAX",
            "100",
            "delivery.retry_ms_max = 100: set a value from 200 to",
        ),
        (
            "DELIVERY__IN_FLIGHT_PER_DESTINATION_MAX",
            "0",
            "delivery.in_flight_per_destination_max = 0: set",
        ),
        (
            "RETENTION__EVENTS_MAX_PER_ROOM",
            "0",
            "retention.events_max_per_room = 0: set",
        ),
        (
            "ASSETS__DOMAINS",
            r#"{"c.example"=["assets.c.example"]}"#,
            "assets.ca = none: name the roots",
        ),
        ("ASSETS__PORTS", "[]", "assets.ports = []: write ports"),
        ("ASSETS__SIZE_MAX_BYTES", "0", "assets.size_max_bytes = 0: set"),
        ("ASSETS__TIMEOUT_MS", "0", "assets.timeout_ms = 0: set"),
        ("ASSETS__IN_FLIGHT_MAX", "0", "assets.in_flight_max = 0: set"),
        (
            "ASSETS__IN_FLIGHT_MAX_PER_PEER",
            "0",
            "assets.in_flight_max_per_peer = 0: set",
        ),
        (
            "ASSETS__OHTTP_SIZE_MAX_BYTES",
            "0",
            "assets.ohttp_size_max_bytes = 0: set",
        ),
        (
            "ASSETS__OHTTP_IN_FLIGHT_MAX",
            "0",
            "assets.ohttp_in_flight_max = 0: set",
        ),
        ("ASSETS__ALLOW_PRIVATE", r#"["10.0.0.1/8"]"#, "no bits set after it"),
        ("LOG__FILTER", "mimi_hub=loud", "log.filter = mimi_hub=loud: "),
    ] {
        let error = refusal(&[(&format!("MIMI_HUB__{name}"), value)]);
        assert!(error.contains(finding), "{name}={value}: {error}");
    }
    let error = refusal(&[
        ("MIMI_HUB__LIMITS__REQUESTS_PER_SECOND_PER_PROVIDER", "5"),
        ("MIMI_HUB__LIMITS__REQUESTS_BURST_PER_PROVIDER", "0"),
    ]);
    assert!(
        error.contains("limits.requests_burst_per_provider = 0: set at least 1"),
        "{error}"
    );
}

#[test]
fn all_broken_rules_are_told_at_once() {
    let error = refusal(&[("MIMI_HUB__HUB__SHARDS", "0"), ("MIMI_HUB__ROOM__MEMBERS_MAX", "0")]);
    assert!(
        error.contains("hub.shards") && error.contains("room.members_max"),
        "{error}"
    );
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    for (name, value) in [
        ("MIMI_HUB__FEDERATION__LISTEN", "a.example"),
        ("MIMI_HUB__HUB__DOMAINS", "a.example"),
        ("MIMI_HUB__HUB__DOMAINS", r#"["not a domain"]"#),
        ("MIMI_HUB__HUB__SHARDS", "70000"),
        ("MIMI_HUB__LIMITS__BODY_TIMEOUT_MS", "-1"),
        ("MIMI_HUB__CONSENT__DEFAULT", "maybe"),
    ] {
        assert!(
            matches!(with(&[(name, value)]), Err(ConfigError::Syntax { .. })),
            "{name}={value}"
        );
    }
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.toml");
    fs::write(&file, MINIMAL).unwrap();
    let config = load(&file, Vec::new()).unwrap();
    assert_eq!(config.hub.data_dir, folder.path().join("data"));
    assert_eq!(config.federation.private_key, folder.path().join("certs/a.example.key"));
    assert_eq!(config.local.client_ca, Path::new("/etc/mimi-hub/local-ca.pem"));
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nowhere/hub.toml"), Vec::new()).unwrap_err();
    assert!(
        matches!(&error, ConfigError::Read { path, .. } if path == Path::new("/nowhere/hub.toml")),
        "{error}"
    );
}

#[test]
fn the_printed_configuration_is_one() {
    let config = with(&[("MIMI_HUB__PEERS__B.EXAMPLE__ADDRESS", "b:1")]).unwrap();
    let printed = config.to_toml().unwrap();
    let again = parse(Path::new("printed"), &printed, Vec::new()).unwrap();
    assert_eq!(again.to_toml().unwrap(), printed);
    assert!(
        printed.contains("body_bytes_max = 4194304") && printed.contains("[peers.\"b.example\"]"),
        "{printed}"
    );
}

/// Two folders with usable files, and a configuration that names them.
struct Files {
    ca: Ca,
    federation: TlsFolder,
    local: TlsFolder,
    config: Config,
}

impl Files {
    fn new() -> Self {
        let ca = Ca::new("CA");
        let federation = TlsFolder::new(&ca.issue(&["a.example", "*.a.example"]), &ca);
        let local = TlsFolder::new(&ca.issue(&["localhost"]), &ca);
        let mut config = with(&[("MIMI_HUB__HUB__DOMAINS", r#"["a.example", "chat.a.example"]"#)]).unwrap();
        let (f, l) = (federation.files(), local.files());
        config.hub.data_dir = federation.path("data");
        config.federation.certificate = f.certificate;
        config.federation.private_key = f.private_key;
        config.federation.peer_ca = f.roots;
        config.local.certificate = l.certificate;
        config.local.private_key = l.private_key;
        config.local.client_ca = l.roots;
        Self {
            ca,
            federation,
            local,
            config,
        }
    }

    fn findings(&self) -> Vec<String> {
        check(&self.config).iter().map(ToString::to_string).collect()
    }

    /// The only finding, which is about `key`.
    fn finding(&self, key: &str) -> String {
        let findings = self.findings();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with(&format!("{key} = ")), "{findings:?}");
        findings[0].clone()
    }
}

#[test]
fn usable_files_give_no_finding() {
    assert_eq!(Files::new().findings(), Vec::<String>::new());
}

#[test]
fn check_finds_a_certificate_that_has_expired() {
    let files = Files::new();
    files.local.write(&files.ca.issue_expired(&["localhost"]), &files.ca);
    assert!(files.finding("local.certificate").contains("has expired; renew it"));
}

#[test]
fn check_finds_a_domain_that_the_certificate_does_not_cover() {
    let files = Files::new();
    files.federation.write(&files.ca.issue(&["a.example"]), &files.ca);
    let finding = files.finding("federation.certificate");
    assert!(
        finding.contains("issue it with the subject alternative name DNS:chat.a.example"),
        "{finding}"
    );
}

#[test]
fn check_finds_a_key_of_another_certificate() {
    let files = Files::new();
    fs::copy(&files.config.local.private_key, &files.config.federation.private_key).unwrap();
    files.finding("federation.certificate");
}

#[test]
fn check_finds_files_that_are_missing_or_something_else() {
    let files = Files::new();
    fs::remove_file(&files.config.local.client_ca).unwrap();
    assert!(files.finding("local.client_ca").contains("cannot read"));

    let files = Files::new();
    fs::write(&files.config.federation.peer_ca, "no PEM").unwrap();
    assert!(files.finding("federation.peer_ca").contains("holds no certificate"));

    let files = Files::new();
    fs::write(&files.config.hub.data_dir, "a file").unwrap();
    assert!(files.finding("hub.data_dir").contains("is not a folder"));
}

#[test]
fn check_finds_a_key_that_everybody_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    fs::set_permissions(&files.config.federation.private_key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(files.finding("federation.private_key").contains("run chmod 600"));
}
