mod forgery;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::BodyExt;

use self::server::{ASSET, Answers, AssetServer, Dns};
use super::*;
use crate::tls::testing::{Ca, TlsFolder};

/// The one host on which assets are.
const HOST: &str = "assets.b.example";

/// An asset server on 127.0.0.1, and a proxy that may go to that address.
struct World {
    files: TlsFolder,
    server: AssetServer,
    config: AssetsConfig,
}

impl World {
    async fn new() -> Self {
        let ca = Ca::new("web");
        let files = TlsFolder::new(&ca.issue(&[HOST, "b.example", "*.b.example"]), &ca);
        let server = AssetServer::start("127.0.0.1:0", &files).await;
        let domains = [("b.example".parse().unwrap(), vec![HOST.parse().unwrap()])];
        let config = AssetsConfig {
            domains: BTreeMap::from(domains),
            ca: Some(files.path("roots.pem")),
            ports: vec![443, server.address.port()],
            allow_private: vec!["127.0.0.1/32".parse().unwrap()],
            size_max_bytes: 100_000,
            timeout_ms: 10_000,
            ..AssetsConfig::default()
        };
        World { files, server, config }
    }

    fn proxy_with(&self, answers: &Arc<Answers>) -> Assets {
        Assets::with_resolver(&self.config, Arc::new(Dns(Arc::clone(answers)))).unwrap()
    }

    fn proxy(&self) -> Assets {
        self.proxy_with(&Answers::new(&[&["127.0.0.1"]]))
    }

    fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}/{path}", self.server.address.port())
    }
}

/// All of an asset, or `None` if it breaks off.
async fn read(asset: Asset) -> Option<String> {
    let body = asset.body.collect().await.ok()?;
    Some(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

async fn fetch(proxy: &Assets, url: &str) -> Option<String> {
    read(proxy.fetch(None, url).await.unwrap()).await
}

/// draft-ietf-mimi-protocol, section 5.10.2: "the response body contains the contents of the downloaded URL."
#[tokio::test]
async fn protocol_5_10_2_an_asset_comes_as_it_is() {
    let world = World::new().await;
    let asset = world.proxy().fetch(None, &world.url("asset/1?a=%2F&b")).await.unwrap();
    assert_eq!(asset.content_type.as_ref().unwrap(), "image/x");
    assert_eq!(asset.length, Some(19));
    assert_eq!(read(asset).await.as_deref(), Some(ASSET));
    let head = &world.server.requests()[0].to_ascii_lowercase();
    assert!(head.starts_with("get /asset/1?a=%2f&b http/1.1\r\n"), "{head}");
    // Whoever asked is not told of.
    for header in [
        "from:",
        "cookie:",
        "referer:",
        "user-agent:",
        "forwarded:",
        "authorization:",
    ] {
        assert!(!head.contains(&format!("\r\n{header}")), "{head}");
    }
}

/// draft-ietf-mimi-protocol, section 5.10.2: "When caching is employed, the asset provider will only see periodic requests."
#[tokio::test]
async fn protocol_5_10_2_an_asset_is_fetched_once_unless_its_server_forbids_to_keep_it() {
    let world = World::new().await;
    let proxy = world.proxy();
    for _ in 0..3 {
        assert_eq!(fetch(&proxy, &world.url("asset")).await.as_deref(), Some(ASSET));
    }
    assert_eq!(world.server.requests().len(), 1);
    for _ in 0..3 {
        assert_eq!(fetch(&proxy, &world.url("nostore")).await.as_deref(), Some(ASSET));
    }
    assert_eq!(world.server.requests().len(), 4);
}

#[tokio::test]
async fn what_breaks_off_does_not_look_complete_and_is_not_cached() {
    let mut world = World::new().await;
    world.config.timeout_ms = 500;
    let proxy = world.proxy();
    for path in ["short", "endless", "slow"] {
        let asset = proxy.fetch(None, &world.url(path)).await.unwrap();
        assert_eq!(read(asset).await, None, "{path}");
    }
    assert_eq!(proxy.cache.taken(), (0, 0));
    assert_eq!(proxy.places.all.available_permits(), world.config.in_flight_max);
}

#[tokio::test]
async fn an_endless_asset_ends_at_the_greatest_size() {
    let world = World::new().await;
    let mut body = world.proxy().fetch(None, &world.url("endless")).await.unwrap().body;
    let mut length = 0;
    let ended = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => length += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(length <= 100_000, "{length}");
    assert!(ended.to_string().contains("ended early"), "{ended}");
}

/// RFC 9112, section 6.3: nothing beyond the announced length belongs to the answer.
#[tokio::test]
async fn a_longer_body_than_announced_is_cut_and_two_lengths_are_an_error() {
    let world = World::new().await;
    let proxy = world.proxy();
    assert_eq!(fetch(&proxy, &world.url("long")).await.as_deref(), Some(&ASSET[..10]));
    let error = proxy.fetch(None, &world.url("twice")).await.unwrap_err();
    assert!(matches!(error, AssetError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn an_asset_that_cannot_be_had_is_an_error_of_its_kind() {
    let mut world = World::new().await;
    world.config.timeout_ms = 500;
    let proxy = world.proxy();
    let error = async |path| proxy.fetch(None, &world.url(path)).await.unwrap_err();
    assert!(matches!(error("huge").await, AssetError::TooLarge(100_000)));
    assert!(matches!(error("encoded").await, AssetError::Encoded));
    assert!(matches!(
        error("missing").await,
        AssetError::Status(StatusCode::NOT_FOUND)
    ));
    assert!(matches!(
        error("broken").await,
        AssetError::Status(StatusCode::INTERNAL_SERVER_ERROR)
    ));
    assert!(matches!(
        error("partial").await,
        AssetError::Status(StatusCode::PARTIAL_CONTENT)
    ));
    assert!(matches!(error("silent").await, AssetError::Timeout));
    assert_eq!(proxy.places.all.available_permits(), world.config.in_flight_max);
}

/// A server whose certificate is of another CA, or for another name, is not the asset server.
#[tokio::test]
async fn the_servers_certificate_is_checked() {
    let mut world = World::new().await;
    let ca = Ca::new("other");
    let other = TlsFolder::new(&ca.issue(&[HOST]), &ca);
    world.config.ca = Some(other.path("roots.pem"));
    let error = world.proxy().fetch(None, &world.url("asset")).await.unwrap_err();
    assert!(matches!(error, AssetError::Unreachable(_)), "{error}");

    let ca = Ca::new("web");
    let files = TlsFolder::new(&ca.issue(&["c.example"]), &ca);
    let server = AssetServer::start("127.0.0.1:0", &files).await;
    world.config.ca = Some(files.path("roots.pem"));
    world.config.ports = vec![server.address.port()];
    let url = format!("https://{HOST}:{}/asset", server.address.port());
    let error = world.proxy().fetch(None, &url).await.unwrap_err();
    assert!(matches!(error, AssetError::Unreachable(_)), "{error}");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_reader_who_does_not_read_holds_its_place_until_the_deadline_only() {
    let mut world = World::new().await;
    world.config.timeout_ms = 1_000;
    world.config.in_flight_max = 1;
    let proxy = world.proxy();
    let unread = proxy.fetch(None, &world.url("endless")).await.unwrap();
    assert!(matches!(
        proxy.fetch(None, &world.url("asset")).await,
        Err(AssetError::Busy)
    ));
    let place = proxy.places.all.acquire();
    drop(
        tokio::time::timeout(Duration::from_secs(10), place)
            .await
            .unwrap()
            .unwrap(),
    );
    drop(unread);

    // One who goes away frees it at once.
    drop(proxy.fetch(None, &world.url("slow")).await.unwrap());
    let place = proxy.places.all.acquire();
    drop(
        tokio::time::timeout(Duration::from_millis(700), place)
            .await
            .unwrap()
            .unwrap(),
    );
    assert_eq!(fetch(&proxy, &world.url("asset")).await.as_deref(), Some(ASSET));
}

#[tokio::test]
async fn without_domains_nothing_is_fetched() {
    let mut world = World::new().await;
    world.config.domains.clear();
    let error = world.proxy().fetch(None, &world.url("asset")).await.unwrap_err();
    assert!(matches!(error, AssetError::Refused(Refusal::HostNotAllowed)));
    assert_eq!(world.server.connections(), 0);
}
