//! What guests cost the store, and what they are told while it is away.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use super::{POOL, come_without_cookie, guests, with_secret};
use crate::support::fake_provider::FakeProvider;
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::provider_section;

#[tokio::test]
async fn a_lend_and_a_token_are_one_round_trip_each() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(redis.address()).await;
    let provider = FakeProvider::start().await;
    let sections =
        format!("{}tokens = \"off\"\n{}", guests("size = 9"), provider_section(&provider, ""));
    let service = TestService::start(&proxy.url(), &sections).await;
    let secret = come_without_cookie(&service.url, None).await.json()["lease_secret"].clone();
    let secret = secret.as_str().unwrap();
    let token = format!("{}/token", service.url);
    with_secret(Method::POST, &token, secret).await;

    // Workers and the look for doubts ask by themselves, a few times a second: of many tries one has nothing of theirs.
    let mut fewest = [usize::MAX; 2];
    for _ in 0..8 {
        let before = proxy.requests();
        assert_eq!(with_secret(Method::POST, &token, secret).await.status, StatusCode::OK);
        fewest[0] = fewest[0].min(proxy.requests() - before);
        let before = proxy.requests();
        assert_eq!(come_without_cookie(&service.url, None).await.status, StatusCode::CREATED);
        fewest[1] = fewest[1].min(proxy.requests() - before);
    }

    assert_eq!(fewest, [1, 1]);
}

#[tokio::test]
async fn while_the_store_is_away_nobody_is_lent_a_guest_and_nothing_is_lost() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(redis.address()).await;
    let provider = FakeProvider::start().await;
    let sections = format!("{}{}", guests("size = 9"), provider_section(&provider, ""));
    let service = TestService::start(&proxy.url(), &sections).await;
    let secret = come_without_cookie(&service.url, None).await.json()["lease_secret"].clone();
    let secret = secret.as_str().unwrap();
    proxy.refuse();

    for (method, path) in [
        (Method::POST, "/guest"),
        (Method::POST, "/token"),
        (Method::GET, "/session"),
        (Method::DELETE, "/guest"),
    ] {
        let begun = Instant::now();
        let away = with_secret(method, &format!("{}{path}", service.url), secret).await;

        assert_eq!(
            (away.status, away.code()),
            (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable".to_owned()),
            "{path}"
        );
        assert!(away.headers.contains_key("retry-after"));
        assert!(begun.elapsed() < Duration::from_secs(2), "{path}");
    }
    proxy.clear_up();
    let token = with_secret(Method::POST, &format!("{}/token", service.url), secret).await;
    assert_eq!(token.status, StatusCode::OK);
}

#[tokio::test]
async fn a_lost_reply_lends_nothing_twice() {
    let redis = RedisServer::start();
    let proxy = Proxy::before(redis.address()).await;
    let provider = FakeProvider::start().await;
    let sections = format!("{}{}", guests("size = 99"), provider_section(&provider, ""));
    let service = TestService::start(&proxy.url(), &sections).await;
    come_without_cookie(&service.url, None).await;

    for _ in 0..10 {
        proxy.lose_replies(1);
        assert_eq!(come_without_cookie(&service.url, None).await.status, StatusCode::CREATED);
    }

    let lent: usize = redis.ask(&["ZCARD", &format!("{POOL}:busy")]);
    assert_eq!(lent, 11);
}
