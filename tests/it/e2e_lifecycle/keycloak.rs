//! At Keycloak, as its administrators and people do it.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::forms::{page_form, walk};
use crate::support::keycloak::Keycloak;
use crate::support::redis::RedisServer;
use crate::support::service::{TestService, listener};
use crate::support::visitor::{Answer, Visitor};

use super::SEAL;

/// Two replicas, with a client of their own in the realm, which Keycloak tells of logouts.
struct Stage {
    keycloak: &'static Keycloak,
    service: TestService,
    replica: TestService,
    _redis: RedisServer,
}

impl Stage {
    async fn new(client_id: &str, keys: &str, allow: &str) -> Self {
        let keycloak = Keycloak::shared().await;
        let redis = RedisServer::start();
        let public = listener();
        let url = format!("http://{}", public.local_addr().unwrap());
        let groups = json!({
            "name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
            "config": { "claim.name": "groups", "full.path": "true", "id.token.claim": "true", "userinfo.token.claim": "true" }
        });
        let client = json!({
            "clientId": client_id, "secret": "a-secret-of-keycloaks", "redirectUris": ["http://127.0.0.1/*"],
            "protocolMappers": [groups],
            "attributes": {
                "post.logout.redirect.uris": "+",
                "backchannel.logout.url": format!("{url}/logout/backchannel/corp"),
                "backchannel.logout.session.required": "true"
            }
        });
        keycloak.made("/clients", &client).await;
        let section = format!(
            r#"{SEAL}
[[provider]]
name = "corp"
title = "Keycloak"
issuer = "{}"
client_id = "{client_id}"
client_secret = "a-secret-of-keycloaks"
{keys}

[provider.policy]
allow = "{allow}"
"#,
            keycloak.issuer
        );
        let service = TestService::start_on(public, &url, "", &redis.url(), &section).await;
        let replica = TestService::start_replica_of(&service, &redis.url(), &section).await;
        Self { keycloak, service, replica, _redis: redis }
    }

    /// Signs in, with a name that is the password too.
    async fn sign_in(&self, name: &str) -> Visitor {
        let mut device = Visitor::of(&self.service);
        let start = format!("{}/login/corp", self.service.url);
        let callback = format!("{}/callback/corp?", self.service.url);
        let answer = walk(&mut device, &start, &callback, (name, name)).await;
        let welcome = device.get(&answer).await;
        assert_eq!(welcome.location(), format!("{}/", self.service.url), "{welcome:?}");
        device
    }

    async fn token(&self, device: &mut Visitor) -> Answer {
        device.post(&format!("{}/token", self.service.url)).await
    }

    /// Waits until both replicas refuse the device, for at most five seconds; how long that took.
    async fn refused_everywhere(&self, device: &Visitor) -> Duration {
        let begun = Instant::now();
        for replica in [&self.service, &self.replica] {
            loop {
                let answer = device.clone().post(&format!("{}/token", replica.url)).await;
                if answer.status == StatusCode::UNAUTHORIZED {
                    assert_eq!(answer.code(), "session_expired");
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(5), "{answer:?}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        begun.elapsed()
    }
}

/// Past `revalidate_after` of a second.
async fn later() {
    sleep(Duration::from_millis(1200)).await;
}

#[tokio::test]
async fn a_group_that_is_taken_away_counts_at_the_next_token_and_so_does_its_return() {
    let stage =
        Stage::new("life-groups", "revalidate_after = \"1s\"", "'/life' in claims.groups").await;
    let group = stage.keycloak.made("/groups", &json!({ "name": "life" })).await;
    let dave = stage.keycloak.person("dave", &["/life"]).await;
    let mut device = stage.sign_in("dave").await;
    let first = stage.token(&mut device).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    later().await;
    let kept = stage.token(&mut device).await;
    assert_eq!(kept.json()["identity"], first.json()["identity"]);

    let membership = format!("/users/{dave}/groups/{group}");
    stage.keycloak.administer(Method::DELETE, &membership, &Value::Null).await;
    later().await;

    let denied = stage.token(&mut device).await;
    assert_eq!((denied.status, denied.code().as_str()), (StatusCode::FORBIDDEN, "access_denied"));

    stage.keycloak.administer(Method::PUT, &membership, &json!({})).await;
    later().await;

    let again = stage.token(&mut device).await;
    assert_eq!(again.json()["identity"], first.json()["identity"], "{again:?}");
}

#[tokio::test]
async fn somebody_who_is_disabled_is_out_at_the_next_token() {
    let stage = Stage::new("life-disabled", "revalidate_after = \"1s\"", "true").await;
    let erin = stage.keycloak.person("erin", &[]).await;
    let mut device = stage.sign_in("erin").await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);

    stage
        .keycloak
        .administer(Method::PUT, &format!("/users/{erin}"), &json!({ "enabled": false }))
        .await;
    later().await;

    let out = stage.token(&mut device).await;
    assert_eq!((out.status, out.code().as_str()), (StatusCode::UNAUTHORIZED, "session_expired"));
}

#[tokio::test]
async fn a_session_that_an_administrator_ends_is_over_on_each_replica_and_the_others_go_on() {
    let stage = Stage::new("life-console", "", "true").await;
    let frank = stage.keycloak.person("frank", &[]).await;
    let laptop = stage.sign_in("frank").await;
    let sessions = format!("/users/{frank}/sessions");
    let sessions = stage.keycloak.administer(Method::GET, &sessions, &Value::Null).await;
    let session = sessions[0]["id"].as_str().unwrap().to_owned();
    let mut phone = stage.sign_in("frank").await;

    stage.keycloak.administer(Method::DELETE, &format!("/sessions/{session}"), &Value::Null).await;

    stage.refused_everywhere(&laptop).await;
    assert_eq!(stage.token(&mut phone).await.status, StatusCode::OK);

    stage.keycloak.administer(Method::POST, &format!("/users/{frank}/logout"), &json!({})).await;

    stage.refused_everywhere(&phone).await;
}

#[tokio::test]
async fn somebody_who_signs_out_is_signed_out_at_keycloak_too() {
    let stage = Stage::new("life-leaving", "", "true").await;
    let grace = stage.keycloak.person("grace", &[]).await;
    let mut device = stage.sign_in("grace").await;
    let cookie = device.clone();
    device.accept = "text/html";

    let page = device.post(&format!("{}/logout", stage.service.url)).await;

    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert!(!device.cookies.contains_key("vestibule"), "{page:?}");
    stage.refused_everywhere(&cookie).await;
    let (action, fields) = page_form(&page.body);
    assert!(action.starts_with(&stage.keycloak.issuer), "{action}");
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["client_id", "post_logout_redirect_uri", "state", "id_token_hint"]);
    let back = device.submit(&action, &fields).await;
    let done = back.headers["location"].to_str().unwrap().to_owned();
    assert!(done.starts_with(&format!("{}/logout/done?", stage.service.url)), "{done}");
    let done = device.get(&done).await;
    assert!(done.body.contains("You are signed out"), "{done:?}");
    let sessions = format!("/users/{grace}/sessions");
    let sessions = stage.keycloak.administer(Method::GET, &sessions, &Value::Null).await;
    assert_eq!(sessions, json!([]));
}
