//! Request forgery: whoever may ask the hub to fetch something asks for what only the hub can reach. Each trick is played
//! against a proxy whose forbidden targets are there, listen, and have a certificate that the proxy would believe.

use super::*;
use crate::assets::address::is_public;

use Refusal::{Characters, Fragment, Host, HostNotAllowed, NotUrl, Port, Scheme, TooLong, UserInformation};

/// `PORT` stands for the port of a server that must not be reached, and is configured.
const URLS: [(&str, &str, Refusal); 58] = [
    ("plain http", "http://assets.b.example/", Scheme),
    (
        "plain http on the port of https",
        "http://assets.b.example:443/",
        Scheme,
    ),
    ("ftp", "ftp://assets.b.example/", Scheme),
    ("file", "file:///etc/passwd", Scheme),
    ("file with a host", "file://assets.b.example/etc/passwd", Scheme),
    ("gopher", "gopher://assets.b.example:6379/_INFO", Scheme),
    ("data", "data:text/plain,asset", Scheme),
    ("javascript", "javascript:alert(1)", Scheme),
    ("web socket", "wss://assets.b.example/", Scheme),
    ("unix socket", "unix:/run/docker.sock", Scheme),
    ("view-source", "view-source:https://assets.b.example/", Scheme),
    ("no scheme", "//assets.b.example/", NotUrl),
    ("a path", "/asset", NotUrl),
    ("no slashes", "https:assets.b.example/", NotUrl),
    ("one slash", "https:/assets.b.example/", NotUrl),
    ("three slashes", "https:///assets.b.example/", Host),
    ("no host", "https://", NotUrl),
    ("only a port", "https://:PORT/", NotUrl),
    ("loopback address", "https://127.0.0.1:PORT/", Host),
    ("decimal address", "https://2130706433:PORT/", Host),
    ("hexadecimal address", "https://0x7f000001:PORT/", Host),
    ("octal address", "https://017700000001:PORT/", Host),
    ("octal parts", "https://0177.0.0.01:PORT/", Host),
    ("hexadecimal parts", "https://0x7f.0.0.0x1:PORT/", Host),
    ("two parts", "https://127.1:PORT/", Host),
    ("zero", "https://0:PORT/", Host),
    ("address with a trailing dot", "https://127.0.0.1.:PORT/", Host),
    ("address out of range", "https://4294967296/", NotUrl),
    ("secrets of a cloud", "https://169.254.169.254/latest/meta-data/", Host),
    ("a public address", "https://1.1.1.1/", Host),
    ("IPv6 loopback", "https://[::1]:PORT/", Host),
    ("IPv6 unspecified", "https://[::]:PORT/", Host),
    ("IPv4-mapped", "https://[::ffff:127.0.0.1]:PORT/", Host),
    ("IPv4-mapped in hexadecimal", "https://[::ffff:7f00:1]:PORT/", Host),
    ("zone identifier", "https://[fe80::1%25eth0]:PORT/", NotUrl),
    ("zone identifier of loopback", "https://[::1%25lo]:PORT/", NotUrl),
    ("localhost", "https://localhost:PORT/", HostNotAllowed),
    (
        "subdomain of localhost",
        "https://assets.b.example.localhost:PORT/",
        HostNotAllowed,
    ),
    (
        "the provider, not its assets",
        "https://b.example:PORT/",
        HostNotAllowed,
    ),
    (
        "a subdomain of the assets",
        "https://x.assets.b.example:PORT/",
        HostNotAllowed,
    ),
    (
        "a name that begins alike",
        "https://assets.b.example.evil.example/",
        HostNotAllowed,
    ),
    (
        "a name that ends alike",
        "https://evilassets.b.example:PORT/",
        HostNotAllowed,
    ),
    ("trailing dot", "https://assets.b.example.:PORT/", HostNotAllowed),
    (
        "wildcard service of names for addresses",
        "https://127.0.0.1.nip.io:PORT/",
        HostNotAllowed,
    ),
    (
        "IDN look-alike, as people see it",
        "https://аssets.b.example:PORT/",
        Characters,
    ),
    (
        "IDN look-alike, as DNS sees it",
        "https://xn--ssets-3ve.b.example:PORT/",
        HostNotAllowed,
    ),
    ("full-width letters", "https://ａssets.b.example:PORT/", Characters),
    ("ideographic full stop", "https://127。0。0。1:PORT/", Characters),
    ("circled digits", "https://①②⑦.0.0.1:PORT/", Characters),
    ("host in percent-encoding", "https://%61ssets.b.example:PORT/", Host),
    ("address in percent-encoding", "https://%31%32%37.0.0.1:PORT/", Host),
    (
        "user information",
        "https://assets.b.example@127.0.0.1:PORT/",
        UserInformation,
    ),
    ("password", "https://a:b@assets.b.example:PORT/", UserInformation),
    (
        "empty user information",
        "https://@assets.b.example:PORT/",
        UserInformation,
    ),
    (
        "fragment in place of a path",
        "https://assets.b.example:PORT#@127.0.0.1/",
        Fragment,
    ),
    ("another port", "https://assets.b.example:22/", Port),
    ("port 0", "https://assets.b.example:0/", Port),
    ("port beyond all", "https://assets.b.example:65979/", NotUrl),
];

/// Octets that some parsers drop and others take for the end of the host.
const ODD: [(&str, &str); 8] = [
    ("backslash", "https://assets.b.example\\@127.0.0.1/"),
    ("tab", "https://assets.b.\texample/"),
    (
        "line end, and a header",
        "https://assets.b.example/ HTTP/1.1\r\nHost: x\r\n",
    ),
    ("space", " https://assets.b.example/"),
    ("NUL", "https://assets.b.example\0.evil.example/"),
    ("soft hyphen", "https://assets.b.exa\u{ad}mple/"),
    ("zero-width joiner", "https://assets.b.exa\u{200d}mple/"),
    ("angle brackets", "<https://assets.b.example/>"),
];

/// What the name of the assets is made to mean.
const ADDRESSES: [(&str, &str); 34] = [
    ("unspecified", "0.0.0.0"),
    ("this network", "0.1.2.3"),
    ("private 10", "10.0.0.1"),
    ("private 172.16", "172.31.255.255"),
    ("private 192.168", "192.168.1.1"),
    ("shared by a carrier's customers", "100.64.0.1"),
    ("another loopback", "127.0.0.2"),
    ("end of loopback", "127.255.255.254"),
    ("link-local", "169.254.0.1"),
    ("secrets of a cloud", "169.254.169.254"),
    ("protocol assignments", "192.0.0.8"),
    ("documentation 1", "192.0.2.1"),
    ("documentation 2", "198.51.100.1"),
    ("documentation 3", "203.0.113.1"),
    ("6to4 relay", "192.88.99.1"),
    ("benchmarks", "198.19.0.1"),
    ("multicast", "224.0.0.1"),
    ("reserved", "240.0.0.1"),
    ("broadcast", "255.255.255.255"),
    ("IPv6 unspecified", "::"),
    ("IPv6 loopback", "::1"),
    ("IPv4-mapped loopback", "::ffff:127.0.0.1"),
    ("IPv4-mapped public", "::ffff:1.1.1.1"),
    ("IPv4-compatible", "::127.0.0.1"),
    ("NAT64 of loopback", "64:ff9b::127.0.0.1"),
    ("NAT64 for local use", "64:ff9b:1::10.0.0.1"),
    ("6to4 of private 10", "2002:a00:1::1"),
    ("Teredo", "2001:0:7f00:1::1"),
    ("IPv6 documentation", "2001:db8::1"),
    ("new IPv6 documentation", "3fff::1"),
    ("unique local", "fd00:ec2::254"),
    ("IPv6 link-local", "fe80::1"),
    ("site-local", "fec0::1"),
    ("IPv6 multicast", "ff02::1"),
];

/// A world with a server on 127.0.0.2, where nobody may go, on the same port.
async fn with_trap() -> (World, AssetServer) {
    let world = World::new().await;
    let trap = AssetServer::start(&format!("127.0.0.2:{}", world.server.address.port()), &world.files).await;
    (world, trap)
}

#[tokio::test]
async fn a_forged_url_is_refused_before_a_name_is_looked_up() {
    let (world, trap) = with_trap().await;
    let answers = Answers::new(&[&["127.0.0.1"]]);
    let proxy = world.proxy_with(&answers);
    let port = world.server.address.port().to_string();
    let odd = ODD.map(|(trick, url)| (trick, url, Characters));
    let mut differ = Vec::new();
    for (trick, url, refusal) in URLS.into_iter().chain(odd) {
        match proxy.fetch(None, &url.replace("PORT", &port)).await {
            Err(AssetError::Refused(found)) if found == refusal => {}
            other => differ.push((trick, other)),
        }
    }
    assert!(differ.is_empty(), "{differ:?}");
    let long = format!("https://{HOST}/{}", "a".repeat(5000));
    assert!(matches!(
        proxy.fetch(None, &long).await,
        Err(AssetError::Refused(TooLong))
    ));
    assert_eq!(
        (answers.asked(), world.server.connections(), trap.connections()),
        (0, 0, 0)
    );

    // Without a trick it goes through.
    let url = world.url("asset");
    for url in [url.replace("assets", "ASSETS"), url] {
        assert_eq!(fetch(&proxy, &url).await.as_deref(), Some(ASSET));
    }
}

#[tokio::test]
async fn a_name_that_means_an_address_that_is_not_public_is_not_connected_to() {
    let (world, trap) = with_trap().await;
    for (trick, address) in ADDRESSES {
        assert!(!is_public(address.parse().unwrap()), "{trick}");
        for answer in [&[address][..], &["127.0.0.1", address], &[address, "127.0.0.1"]] {
            let answers = Answers::new(&[answer]);
            let error = world
                .proxy_with(&answers)
                .fetch(None, &world.url("asset"))
                .await
                .unwrap_err();
            assert!(matches!(error, AssetError::Address), "{trick}: {error}");
            assert_eq!(answers.asked(), 1, "{trick}");
        }
    }
    assert_eq!((world.server.connections(), trap.connections()), (0, 0));
}

/// Without `allow_private`, loopback is like the others; with it, only what it names.
#[tokio::test]
async fn an_address_that_is_not_public_takes_a_word_of_the_configuration() {
    let (mut world, trap) = with_trap().await;
    assert_eq!(fetch(&world.proxy(), &world.url("asset")).await.as_deref(), Some(ASSET));
    world.config.allow_private.clear();
    let error = world.proxy().fetch(None, &world.url("asset")).await.unwrap_err();
    assert!(matches!(error, AssetError::Address), "{error}");
    world.config.allow_private = vec!["127.0.0.2/32".parse().unwrap()];
    let proxy = world.proxy_with(&Answers::new(&[&["127.0.0.2"]]));
    assert_eq!(fetch(&proxy, &world.url("asset")).await.as_deref(), Some(ASSET));
    assert_eq!((world.server.connections(), trap.connections()), (1, 1));
}

/// The name means one address when it is checked, and another when it is dialled, were there a second look-up.
#[tokio::test]
async fn a_name_that_changes_its_meaning_gains_nothing() {
    let (world, trap) = with_trap().await;
    let answers = Answers::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let proxy = world.proxy_with(&answers);
    assert_eq!(fetch(&proxy, &world.url("nostore")).await.as_deref(), Some(ASSET));
    assert_eq!(
        (answers.asked(), world.server.connections()),
        (1, 1),
        "one look-up, and its address"
    );
    for _ in 0..3 {
        let error = proxy.fetch(None, &world.url("nostore")).await.unwrap_err();
        assert!(matches!(error, AssetError::Address), "{error}");
    }
    let none = world.proxy_with(&Answers::new(&[&[]]));
    assert!(matches!(
        none.fetch(None, &world.url("asset")).await,
        Err(AssetError::Address)
    ));
    assert_eq!((world.server.connections(), trap.connections()), (1, 0));
}

#[tokio::test]
async fn a_redirect_is_not_followed_wherever_it_leads() {
    let (world, trap) = with_trap().await;
    let proxy = world.proxy();
    let port = world.server.address.port();
    let targets = [
        "/secret".to_owned(),
        world.url("secret"),
        format!("https://127.0.0.2:{port}/secret"),
        format!("//127.0.0.2:{port}/secret"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for target in &targets {
            let error = proxy
                .fetch(None, &world.url(&format!("redirect/{status}/{target}")))
                .await
                .unwrap_err();
            assert!(
                matches!(error, AssetError::Status(found) if found == status),
                "{status} {target}: {error}"
            );
        }
    }
    // Nor is what else might lead on.
    for _ in 0..2 {
        assert_eq!(fetch(&proxy, &world.url("lures")).await.as_deref(), Some(ASSET));
    }
    assert_eq!(trap.connections(), 0);
    let requests = world.server.requests();
    assert!(requests.iter().all(|head| !head.starts_with("GET /secret")));
    assert!(
        requests
            .iter()
            .all(|head| !head.to_ascii_lowercase().contains("cookie"))
    );
}
