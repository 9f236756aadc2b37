//! Logins at npm's oidc-provider, a certified one with its default settings.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::node_provider::{CLIENT_ID, CLIENT_SECRET, NodeProvider};
use crate::support::redis::RedisServer;
use crate::support::service::{TestService, listener};
use crate::support::story::{At, Who, sign_in, whole};

const ALICE: Who<'static> = Who { login: "alice", password: "any password", sub: "alice" };
const BOB: Who<'static> = Who { login: "bob", password: "any password", sub: "bob" };

struct Stage {
    service: TestService,
    provider: NodeProvider,
    _redis: RedisServer,
}

impl Stage {
    /// A service whose client at the provider is registered with `client`, and configured with `keys`.
    async fn with(client: Value, keys: &str) -> Self {
        let redis = RedisServer::start();
        let public = listener();
        let url = format!("http://{}", public.local_addr().unwrap());
        let redirect_uri = format!("{url}/callback/node");
        let provider = NodeProvider::start(&redirect_uri, client).await;
        let section = format!(
            r#"
[[provider]]
name = "node"
issuer = "{}"
client_id = "{CLIENT_ID}"
{keys}

[provider.policy]
allow = "true"
"#,
            provider.issuer
        );
        let service = TestService::start_on(public, &url, "", &redis.url(), &section).await;
        Self { service, provider, _redis: redis }
    }

    fn at(&self) -> At<'_> {
        At { name: "node", issuer: &self.provider.issuer }
    }
}

fn secret() -> String {
    format!("client_secret = \"{CLIENT_SECRET}\"")
}

/// A new key: its PKCS#8 PEM on one TOML line, and its public half.
fn key_pair() -> (String, Value) {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "kid": "ours" });
    let pem = STANDARD.encode(document.as_ref());
    (format!("-----BEGIN PRIVATE KEY-----\\n{pem}\\n-----END PRIVATE KEY-----\\n"), jwk)
}

#[tokio::test]
async fn a_member_comes_to_tokens_and_goes() {
    let stage = Stage::with(json!({}), &secret()).await;

    whole(&stage.service, stage.at(), ALICE, BOB).await;
}

#[tokio::test]
async fn the_secret_can_go_in_the_form() {
    let client = json!({ "token_endpoint_auth_method": "client_secret_post" });
    let stage =
        Stage::with(client, &format!("client_auth = \"client_secret_post\"\n{}", secret())).await;

    sign_in(&stage.service, &stage.at(), ALICE).await;
}

#[tokio::test]
async fn a_private_key_can_stand_for_the_secret() {
    let (pem, jwk) = key_pair();
    let client =
        json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [jwk] } });
    let keys = format!(
        "client_auth = \"private_key_jwt\"\nprivate_key = \"{pem}\"\nprivate_key_id = \"ours\""
    );
    let stage = Stage::with(client, &keys).await;

    sign_in(&stage.service, &stage.at(), ALICE).await;
}

#[tokio::test]
async fn a_public_client_needs_no_secret() {
    let stage =
        Stage::with(json!({ "token_endpoint_auth_method": "none" }), "client_auth = \"none\"")
            .await;

    sign_in(&stage.service, &stage.at(), ALICE).await;
}

#[tokio::test]
async fn each_default_algorithm_signs_a_login() {
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let stage =
            Stage::with(json!({ "id_token_signed_response_alg": algorithm }), &secret()).await;

        sign_in(&stage.service, &stage.at(), ALICE).await;
    }
}

#[tokio::test]
async fn a_provider_that_takes_pushed_requests_only_is_pushed_to() {
    let client = json!({ "require_pushed_authorization_requests": true });
    let stage = Stage::with(client, &secret()).await;

    whole(&stage.service, stage.at(), ALICE, BOB).await;
}

#[tokio::test]
async fn a_wrong_secret_signs_nobody_in() {
    let stage = Stage::with(json!({}), "client_secret = \"not-the-registered-secret\"").await;
    let mut alice = crate::support::visitor::Visitor::of(&stage.service);
    let callback = format!("{}/callback/node?", stage.service.url);
    let start = format!("{}/login/node", stage.service.url);
    let answer =
        crate::support::forms::walk(&mut alice, &start, &callback, (ALICE.login, ALICE.password))
            .await;

    let refused = alice.get(&answer).await;

    assert_eq!(refused.code(), "login_failed");
    assert!(!alice.cookies.contains_key("vestibule"));
}
