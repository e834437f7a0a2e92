//! Downloading assets by way of a hub (draft-ietf-mimi-protocol, section 5.10.2).

use mimi_hub_proto::uri::path_segment;
use mimi_hub_proto::{Directory, WELL_KNOWN_DIRECTORY};
use mimi_hub_tests::assets::{AssetServer, CAT};
use mimi_hub_tests::{Answer, Hub, Peer};
use reqwest::{Method, RequestBuilder};

const HOST: &str = "assets.c.example";

fn request(peer: &Peer, url: &str) -> RequestBuilder {
    peer.request(Method::GET, &format!("/v1/proxyDownload/{}", path_segment(url)))
}

async fn by_gateway(own: &Hub, hub: &str, url: &str) -> Answer {
    let path = format!("/proxyDownload/{hub}/{}", path_segment(url));
    own.call(own.local(Method::GET, &path)).await
}

fn is_cat(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.headers["content-type"], "image/x-cat");
    assert_eq!(answer.headers["content-length"], "300000");
    assert!(answer.body == CAT);
}

#[tokio::test]
async fn an_asset_comes_through_the_hub_for_peers_and_for_gateways_of_any_provider() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let hub = world.hub_with("a.example", &assets.settings("c.example")).await;
    let follower = world.hub("b.example").await;
    let peer = world.peer("d.example", "a.example");

    let directory = hub.call(peer.request(Method::GET, WELL_KNOWN_DIRECTORY)).await;
    let directory: Directory = serde_json::from_slice(&directory.body).unwrap();
    let template = directory.proxy_download.unwrap();
    assert_eq!(template.as_str(), "https://a.example/v1/proxyDownload/{downloadUrl}");

    let cat = format!("https://{HOST}/cat");
    is_cat(&hub.call(request(&peer, &cat)).await);
    is_cat(&by_gateway(&hub, "a.example", &cat).await);
    is_cat(&by_gateway(&follower, "a.example", &cat).await);
    is_cat(&by_gateway(&follower, "a.example", &cat).await);
    assert_eq!(assets.asked(), 1, "the hub has kept it");
    is_cat(&hub.call(request(&peer, &format!("{cat}?version=2"))).await);
    assert_eq!(assets.asked(), 2, "the query is a part of the URL");
}

#[tokio::test]
async fn what_is_not_an_asset_is_refused_and_what_breaks_off_does_not_look_complete() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let hub = world.hub_with("a.example", &assets.settings("c.example")).await;
    let follower = world.hub("b.example").await;
    let peer = world.peer("b.example", "a.example");
    for (url, status, slug) in [
        ("http://assets.c.example/cat", 403, "asset-not-allowed"),
        ("https://www.c.example/cat", 403, "asset-not-allowed"),
        ("https://assets.c.example:22/cat", 403, "asset-not-allowed"),
        ("https://127.0.0.1/cat", 400, "asset-url"),
        ("https://a@assets.c.example/cat", 400, "asset-url"),
        ("assets.c.example/cat", 400, "asset-url"),
        ("https://assets.c.example/moved", 502, "asset-unavailable"),
        ("https://assets.c.example/dog", 404, "asset-not-found"),
    ] {
        hub.call(request(&peer, url)).await.expect_problem(status, slug);
        by_gateway(&hub, "a.example", url).await.expect_problem(status, slug);
    }
    assert_eq!(assets.asked(), 4, "of moved and dog only");
    let endless = request(&peer, &format!("https://{HOST}/endless")).send().await.unwrap();
    assert_eq!(endless.status(), 200);
    assert!(endless.bytes().await.is_err());

    // A hub that knows no assets says so, and does not offer them.
    let url = format!("https://{HOST}/cat");
    by_gateway(&follower, "b.example", &url)
        .await
        .expect_problem(403, "asset-not-allowed");
    by_gateway(&hub, "b.example", &url)
        .await
        .expect_problem(502, "bad-gateway");
    let refused = by_gateway(&follower, "a.example", "https://www.c.example/cat").await;
    refused.expect_problem(502, "peer-refused");
    let gone = by_gateway(&follower, "a.example", "https://assets.c.example/dog").await;
    gone.expect_problem(404, "asset-not-found");
    // A URL that was not encoded has lost its query to the request.
    let path = format!("/v1/proxyDownload/{}?x=y", path_segment(&url));
    let answer = hub.call(peer.request(Method::GET, &path)).await;
    answer.expect_problem(400, "malformed-path");
}
