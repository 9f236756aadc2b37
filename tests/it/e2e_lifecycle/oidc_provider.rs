//! At npm's oidc-provider, which takes each refresh token once, and revokes the whole grant when one comes twice.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::forms::{page_form, walk};
use crate::support::node_provider::{CLIENT_ID, CLIENT_SECRET, NodeProvider};
use crate::support::redis::RedisServer;
use crate::support::service::{TestService, listener};
use crate::support::visitor::{Answer, Visitor};

use super::SEAL;

/// Two replicas, and a provider that tells them of logouts.
struct Stage {
    service: TestService,
    replica: TestService,
    provider: NodeProvider,
    _redis: RedisServer,
}

impl Stage {
    async fn new(keys: &str, allow: &str) -> Self {
        let redis = RedisServer::start();
        let public = listener();
        let url = format!("http://{}", public.local_addr().unwrap());
        let client = json!({
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [format!("{url}/callback/node")],
            "post_logout_redirect_uris": [format!("{url}/logout/done")],
            "grant_types": ["authorization_code", "refresh_token"],
            "backchannel_logout_uri": format!("{url}/logout/backchannel/node"),
            "backchannel_logout_session_required": true,
        });
        let configuration = json!({ "lifecycle": true, "clients": [client] });
        let provider = NodeProvider::start_with(&configuration).await;
        let section = format!(
            r#"{SEAL}
[limits]
tokens = "off"

[[provider]]
name = "node"
issuer = "{}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
{keys}

[provider.policy]
allow = "{allow}"
"#,
            provider.issuer
        );
        let service = TestService::start_on(public, &url, "", &redis.url(), &section).await;
        let replica = TestService::start_replica_of(&service, &redis.url(), &section).await;
        Self { service, replica, provider, _redis: redis }
    }

    /// From now on the provider says this of somebody.
    async fn says(&self, name: &str, claims: Value) {
        let url = format!("{}/people/{name}", self.provider.issuer);
        let answer = Client::new().put(url).body(claims.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }

    async fn sign_in(&self, name: &str) -> Visitor {
        let mut device = Visitor::of(&self.service);
        let start = format!("{}/login/node", self.service.url);
        let callback = format!("{}/callback/node?", self.service.url);
        let answer = walk(&mut device, &start, &callback, (name, "any password")).await;
        let welcome = device.get(&answer).await;
        assert_eq!(welcome.location(), format!("{}/", self.service.url), "{welcome:?}");
        device
    }

    async fn token(&self, device: &mut Visitor) -> Answer {
        device.post(&format!("{}/token", self.service.url)).await
    }
}

/// Past `revalidate_after` of a second.
async fn later() {
    sleep(Duration::from_millis(1200)).await;
}

#[tokio::test]
async fn a_group_that_is_taken_away_counts_at_the_next_token() {
    let stage = Stage::new("revalidate_after = \"1s\"", "'life' in claims.groups").await;
    stage.says("alice", json!({ "groups": ["life"] })).await;
    let mut device = stage.sign_in("alice").await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);
    later().await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);

    stage.says("alice", json!({ "groups": [] })).await;
    later().await;

    let denied = stage.token(&mut device).await;
    assert_eq!((denied.status, denied.code().as_str()), (StatusCode::FORBIDDEN, "access_denied"));
}

#[tokio::test]
async fn somebody_who_is_gone_is_out_at_the_next_token() {
    let stage = Stage::new("revalidate_after = \"1s\"", "true").await;
    let mut device = stage.sign_in("alice").await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);

    stage.says("alice", Value::Null).await;
    later().await;

    let out = stage.token(&mut device).await;
    assert_eq!((out.status, out.code().as_str()), (StatusCode::UNAUTHORIZED, "session_expired"));
}

#[tokio::test]
async fn a_refresh_token_for_one_use_is_used_once_however_many_ask_on_two_replicas() {
    let stage = Stage::new("revalidate_after = \"1s\"", "true").await;
    let device = stage.sign_in("alice").await;

    for _ in 0..5 {
        later().await;
        let asked = (0..50).map(|at| {
            let service = if at % 2 == 0 { &stage.service } else { &stage.replica };
            let (mut device, url) = (device.clone(), format!("{}/token", service.url));
            async move { device.post(&url).await }
        });
        for answer in join_all(asked).await {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
    }
}

/// To the provider both are one session of its own, and a token that is revoked takes along what that gave.
#[tokio::test]
async fn whoever_signs_in_twice_in_one_browser_stays_in() {
    let stage = Stage::new("revalidate_after = \"1s\"", "true").await;
    let mut device = stage.sign_in("alice").await;
    let former = device.clone();

    let start = format!("{}/login/node", stage.service.url);
    let callback = format!("{}/callback/node?", stage.service.url);
    let answer = walk(&mut device, &start, &callback, ("alice", "any password")).await;
    device.get(&answer).await.location();
    later().await;

    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);
    let former = stage.token(&mut former.clone()).await;
    assert_eq!(former.status, StatusCode::UNAUTHORIZED, "{former:?}");
}

#[tokio::test]
async fn somebody_who_signs_out_at_the_provider_is_signed_out_on_each_replica() {
    let stage = Stage::new("", "true").await;
    let mut device = stage.sign_in("alice").await;
    let mut other = stage.sign_in("alice").await;
    for device in [&mut device, &mut other] {
        assert_eq!(stage.token(device).await.status, StatusCode::OK);
    }

    let mut at_the_provider = device.clone();
    let page = at_the_provider.get(&format!("{}/session/end", stage.provider.issuer)).await;
    let (action, mut fields) = page_form(&page.body);
    fields.push(("logout".to_owned(), "yes".to_owned()));
    at_the_provider.submit(&action, &fields).await;

    let begun = Instant::now();
    for replica in [&stage.service, &stage.replica] {
        let refused = device.clone().post(&format!("{}/token", replica.url)).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (StatusCode::UNAUTHORIZED, "session_expired")
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(stage.token(&mut other).await.status, StatusCode::OK, "another session there");
}

#[tokio::test]
async fn somebody_who_signs_out_here_is_signed_out_at_the_provider_too() {
    let stage = Stage::new("", "true").await;
    let mut device = stage.sign_in("alice").await;
    device.accept = "text/html";

    let page = device.post(&format!("{}/logout", stage.service.url)).await;
    let (action, fields) = page_form(&page.body);
    let asked = device.submit(&action, &fields).await;
    let (action, mut fields) = page_form(&asked.body);
    fields.push(("logout".to_owned(), "yes".to_owned()));
    let back = device.submit(&action, &fields).await;

    let done = back.headers["location"].to_str().unwrap().to_owned();
    assert!(done.starts_with(&format!("{}/logout/done?", stage.service.url)), "{done}");
    let done = device.get(&done).await;
    assert!(done.body.contains("You are signed out"), "{done:?}");
    let again = device.get(&format!("{}/login/node", stage.service.url)).await.location();
    let mut again = device.get(&again).await;
    again = device
        .get(&format!("{}{}", stage.provider.issuer, again.headers["location"].to_str().unwrap()))
        .await;
    assert!(again.body.contains("password"), "the provider asks who that is: {again:?}");
}
