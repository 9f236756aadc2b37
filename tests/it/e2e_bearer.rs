//! Access tokens of real providers: as bearer, and exchanged by a real client library.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::keycloak::{ALICE, CLIENT_ID, CLIENT_SECRET, Keycloak};
use crate::support::node_provider::NodeProvider;
use crate::support::policies::{default_identity, identity};
use crate::support::process::e2e;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::story::{At, sign_in};
use crate::support::visitor::Visitor;

const CLIENT: &str = r#"
[[client]]
id = "backend"
secret = "canary-backend-secret"
audiences = ["https://chat.example.com"]
"#;

/// What `openid-client` makes of it.
fn exchanged(keycloak: &Keycloak, service: &TestService) -> Value {
    let told = json!({
        "issuer": keycloak.issuer, "app": "chat-app", "user": ALICE.login, "password": ALICE.password,
        "service": service.url, "id": "backend", "secret": "canary-backend-secret",
    });
    let mut node = Command::new(e2e("node_modules/.bin/node"))
        .arg(e2e("openid-client/exchange.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(told.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_token_of_keycloak_is_worth_what_its_login_is() {
    let keycloak = Keycloak::shared().await;
    let redis = RedisServer::start();
    let section = format!(
        r#"
[[provider]]
name = "corp"
issuer = "{}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
bearer_audiences = ["https://chat.example.com"]

[provider.policy]
allow = "claims.email_verified && 'chat' in claims.realm_access.roles"
{CLIENT}
"#,
        keycloak.issuer
    );
    let service = TestService::start(&redis.url(), &section).await;
    let mut device = sign_in(&service, &At { name: "corp", issuer: &keycloak.issuer }, ALICE).await;
    let url = format!("{}/token", service.url);
    let known = identity(&device.post(&url).await);

    let (told, service) = {
        let keycloak: &'static Keycloak = keycloak;
        tokio::task::spawn_blocking(move || (exchanged(keycloak, &service), service)).await.unwrap()
    };

    for reply in told["replies"].as_array().unwrap() {
        assert_eq!(reply["identity"], known, "{reply:#}");
    }
    let bearer = format!("Bearer {}", told["access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    let answer = Visitor::of(&service).send(Method::POST, &url, &headers).await;
    assert_eq!((answer.status, identity(&answer)), (StatusCode::OK, known));
}

#[tokio::test]
async fn a_jwt_access_token_of_oidc_provider_is_accepted_for_its_audience_only() {
    let redis = RedisServer::start();
    let node = NodeProvider::start_with(&json!({
        "audience": "https://chat.example.com",
        "clients": [{
            "client_id": "worker", "client_secret": "canary-worker-secret", "redirect_uris": [],
            "response_types": [], "grant_types": ["client_credentials"],
        }],
    }))
    .await;
    let section = |audience: &str| {
        format!(
            r#"
[[provider]]
name = "node"
issuer = "{}"
client_id = "vestibule"
client_secret = "canary-client-secret-0001"
bearer_audiences = ["{audience}"]

[provider.policy]
allow = "true"
"#,
            node.issuer
        )
    };
    let ours = TestService::start(&redis.url(), &section("https://chat.example.com")).await;
    let others = TestService::start(&redis.url(), &section("https://other.example.com")).await;
    let tokens = Visitor::of(&ours)
        .client
        .post(format!("{}/token", node.issuer))
        .basic_auth("worker", Some("canary-worker-secret"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials")
        .send()
        .await
        .unwrap();
    let tokens: Value = serde_json::from_str(&tokens.text().await.unwrap()).unwrap();
    let token = tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}"));
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let bearer = format!("Bearer {token}");
    let bring = async |service: &TestService| {
        let url = format!("{}/token", service.url);
        let headers = [("authorization", bearer.as_str())];
        Visitor::of(service).send(Method::POST, &url, &headers).await
    };

    assert_eq!(identity(&bring(&ours).await), default_identity(&node.issuer, "worker"));
    assert_eq!(bring(&others).await.code(), "invalid_token");
}
