//! Access tokens of real providers: as bearer, and exchanged by a real client library.

use std::io::Write as _;
use std::process::{Command, Stdio};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::forms::walk;
use crate::support::keycloak::{ALICE, CLIENT_ID, CLIENT_SECRET, Keycloak};
use crate::support::node_provider::NodeProvider;
use crate::support::policies::{default_identity, identity};
use crate::support::process::e2e;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::story::{At, sign_in};
use crate::support::visitor::Visitor;

/// Where the app at oidc-provider is called back.
const CALLBACK: &str = "http://127.0.0.1:9/callback";

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

/// A person's access token at oidc-provider, by the code flow of another client; the callback is nobody's.
async fn token_of_person(node: &NodeProvider, service: &TestService) -> String {
    let verifier = "x".repeat(43);
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let start = format!(
        "{}/auth?response_type=code&client_id=app&redirect_uri={CALLBACK}&scope=openid&state=s\
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

/// An access token, by whatever grant.
async fn tokens(node: &NodeProvider, client: &str, form: &str) -> String {
    let answer = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = answer
        .post(format!("{}/token", node.issuer))
        .basic_auth(client, Some("canary-client-secret-0004"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned());
    let answer = answer.send().await.unwrap().text().await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(jsonwebtoken::decode_header(token).unwrap().typ.as_deref(), Some("at+jwt"));
    token.to_owned()
}

#[tokio::test]
async fn a_jwt_access_token_of_oidc_provider_is_accepted_for_a_person_and_its_audience() {
    let redis = RedisServer::start();
    let client = |id: &str, grant: &str| {
        json!({
            "client_id": id, "client_secret": "canary-client-secret-0004", "grant_types": [grant],
            "redirect_uris": if grant == "authorization_code" { vec![CALLBACK] } else { vec![] },
            "response_types": if grant == "authorization_code" { vec!["code"] } else { vec![] },
        })
    };
    let node = NodeProvider::start_with(&json!({
        "audience": "https://chat.example.com",
        "clients": [client("app", "authorization_code"), client("worker", "client_credentials")],
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
    let bring = async |service: &TestService, token: &str| {
        let (url, bearer) = (format!("{}/token", service.url), format!("Bearer {token}"));
        let headers = [("authorization", bearer.as_str())];
        Visitor::of(service).send(Method::POST, &url, &headers).await
    };

    let alice = token_of_person(&node, &ours).await;
    assert_eq!(identity(&bring(&ours, &alice).await), default_identity(&node.issuer, "alice"));
    assert_eq!(bring(&others, &alice).await.code(), "invalid_token");
    let worker = tokens(&node, "worker", "grant_type=client_credentials").await;
    assert_eq!(bring(&ours, &worker).await.code(), "invalid_token", "it is no person's");
}
