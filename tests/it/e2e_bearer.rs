//! Access tokens of real providers: as bearer, and exchanged by a real client library.

use std::io::Write as _;
use std::process::{Command, Stdio};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::fake_provider::Signer;
use crate::support::forms::walk;
use crate::support::keycloak::{ALICE, CLIENT_ID, CLIENT_SECRET, Keycloak};
use crate::support::node_provider::NodeProvider;
use crate::support::policies::{default_identity, identity};
use crate::support::process::e2e;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::story::{At, sign_in};
use crate::support::visitor::{Answer, Visitor};

/// Where the app at oidc-provider is called back.
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// Two backends: one with a secret, and one that signs.
fn clients(audience: &str) -> String {
    format!(
        r#"
[[client]]
id = "backend"
secret = "canary-backend-secret"
audiences = ["{audience}"]

[[client]]
id = "signer"
jwks = '{}'
audiences = ["{audience}"]
"#,
        json!({ "keys": [Signer::Es256.jwk()] })
    )
}

/// What `openid-client` makes of it: the token, and a reply for each way in which the two backends authenticate.
async fn exchanged(mut told: Value, service: &TestService) -> Value {
    told["service"] = service.url.clone().into();
    told["clients"] = json!([
        { "id": "backend", "secret": "canary-backend-secret" },
        { "id": "signer", "key": Signer::Es256.pem() },
    ]);
    let exchange = move || {
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
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

fn each_is_of(told: &Value, known: &str) {
    let replies = told["replies"].as_array().unwrap();
    assert_eq!(replies.len(), 3, "{told:#}");
    for reply in replies {
        assert_eq!(reply["identity"], known, "{reply:#}");
    }
}

async fn bring(service: &TestService, token: &str) -> Answer {
    let (url, bearer) = (format!("{}/token", service.url), format!("Bearer {token}"));
    let headers = [("authorization", bearer.as_str())];
    Visitor::of(service).send(Method::POST, &url, &headers).await
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
{}
"#,
        keycloak.issuer,
        clients("https://chat.example.com")
    );
    let service = TestService::start(&redis.url(), &section).await;
    let mut device = sign_in(&service, &At { name: "corp", issuer: &keycloak.issuer }, ALICE).await;
    let url = format!("{}/token", service.url);
    let known = identity(&device.post(&url).await);

    let told = json!({
        "issuer": keycloak.issuer, "app": "chat-app", "user": ALICE.login, "password": ALICE.password,
    });
    let told = exchanged(told, &service).await;

    each_is_of(&told, &known);
    let answer = bring(&service, told["access_token"].as_str().unwrap()).await;
    assert_eq!((answer.status, identity(&answer)), (StatusCode::OK, known));
}

/// A person's tokens at oidc-provider, by the code flow of another client; the callback is nobody's.
async fn tokens_of_person(node: &NodeProvider, service: &TestService, asked: &str) -> Value {
    let verifier = "x".repeat(43);
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let start = format!(
        "{}/auth?response_type=code&client_id=app&redirect_uri={CALLBACK}&state=s&{asked}\
         &code_challenge={challenge}&code_challenge_method=S256",
        node.issuer
    );
    let mut person = Visitor::of(service);
    let back = walk(&mut person, &start, CALLBACK, ("alice", "any password")).await;
    let back = url::Url::parse(&back).unwrap();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={verifier}"
    );
    tokens(node, "app", &form).await
}

/// Tokens, by whatever grant.
async fn tokens(node: &NodeProvider, client: &str, form: &str) -> Value {
    let answer = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = answer
        .post(format!("{}/token", node.issuer))
        .basic_auth(client, Some("canary-client-secret-0004"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned());
    let answer = answer.send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// The access token among them, which is a JWT of this `typ`, or none.
fn access_token(tokens: &Value, typ: Option<&str>) -> String {
    let token = tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}"));
    let header = jsonwebtoken::decode_header(token).ok();
    assert_eq!(header.and_then(|header| header.typ).as_deref(), typ);
    token.to_owned()
}

/// A client of oidc-provider's that gets tokens by these grants.
fn registered(id: &str, grants: &[&str]) -> Value {
    let by_code = grants.contains(&"authorization_code");
    json!({
        "client_id": id, "client_secret": "canary-client-secret-0004", "grant_types": grants,
        "redirect_uris": if by_code { vec![CALLBACK] } else { vec![] },
        "response_types": if by_code { vec!["code"] } else { vec![] },
    })
}

/// oidc-provider, as it is configured here.
fn section(node: &NodeProvider, audience: &str) -> String {
    format!(
        r#"
[[provider]]
name = "node"
issuer = "{}"
client_id = "vestibule"
client_secret = "canary-client-secret-0004"
bearer_audiences = ["{audience}"]

[provider.policy]
allow = "true"
"#,
        node.issuer
    )
}

#[tokio::test]
async fn a_jwt_access_token_of_oidc_provider_is_accepted_for_a_person_and_its_audience() {
    let redis = RedisServer::start();
    let node = NodeProvider::start_with(&json!({
        "audience": "https://chat.example.com",
        "clients": [
            registered("app", &["authorization_code"]), registered("worker", &["client_credentials"]),
        ],
    }))
    .await;
    let ours = section(&node, "https://chat.example.com");
    let ours = TestService::start(&redis.url(), &ours).await;
    let others = section(&node, "https://other.example.com");
    let others = TestService::start(&redis.url(), &others).await;

    let alice = tokens_of_person(&node, &ours, "scope=openid").await;
    let alice = access_token(&alice, Some("at+jwt"));
    assert_eq!(identity(&bring(&ours, &alice).await), default_identity(&node.issuer, "alice"));
    assert_eq!(bring(&others, &alice).await.code(), "invalid_token");
    let worker = tokens(&node, "worker", "grant_type=client_credentials").await;
    let worker = access_token(&worker, Some("at+jwt"));
    assert_eq!(bring(&ours, &worker).await.code(), "invalid_token", "it is no person's");
}

#[tokio::test]
async fn an_opaque_access_token_of_oidc_provider_is_accepted_for_a_person_and_no_other_token() {
    let redis = RedisServer::start();
    let node = NodeProvider::start_with(&json!({
        "clients": [
            registered("vestibule", &["authorization_code"]),
            registered("app", &["authorization_code", "refresh_token"]),
            registered("worker", &["client_credentials"]),
        ],
        "features": { "introspection": { "enabled": true }, "clientCredentials": { "enabled": true } },
    }))
    .await;
    // It names no audience of an opaque token: what counts is to whom it was given.
    let ours = format!("{}{}", section(&node, "app"), clients("app"));
    let ours = TestService::start(&redis.url(), &ours).await;
    let others = TestService::start(&redis.url(), &section(&node, "other")).await;
    let known = default_identity(&node.issuer, "alice");

    let asked = "scope=openid%20offline_access&prompt=consent";
    let alice = tokens_of_person(&node, &ours, asked).await;
    let token = access_token(&alice, None);

    assert_eq!(identity(&bring(&ours, &token).await), known);
    each_is_of(&exchanged(json!({ "access_token": token }), &ours).await, &known);
    assert_eq!(bring(&others, &token).await.code(), "invalid_token");
    assert_eq!(bring(&ours, &format!("{token}x")).await.code(), "invalid_token");
    // The provider calls its refresh token active, too, and names the same person.
    let refresh_token = alice["refresh_token"].as_str().unwrap();
    assert_eq!(bring(&ours, refresh_token).await.code(), "invalid_token");
    let worker = tokens(&node, "worker", "grant_type=client_credentials").await;
    let worker = access_token(&worker, None);
    let of_workers = TestService::start(&redis.url(), &section(&node, "worker")).await;
    assert_eq!(bring(&of_workers, &worker).await.code(), "invalid_token", "it is no person's");
}
