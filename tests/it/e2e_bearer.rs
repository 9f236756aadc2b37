//! Access tokens of real providers: as bearer, and exchanged by a real client library.

use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::keycloak::{ALICE, CLIENT_ID, CLIENT_SECRET, Keycloak};
use crate::support::policies::identity;
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
