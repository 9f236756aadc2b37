//! Logins at Keycloak.

use crate::support::keycloak::{ALICE, BOB, CLIENT_ID, CLIENT_SECRET, Keycloak};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::story::{At, whole};

#[tokio::test]
async fn a_member_comes_to_tokens_and_goes() {
    let keycloak = Keycloak::shared().await;
    let redis = RedisServer::start();
    let section = format!(
        r#"
[[provider]]
name = "corp"
issuer = "{}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"

[provider.policy]
allow = "true"
"#,
        keycloak.issuer
    );
    let service = TestService::start(&redis.url(), &section).await;

    whole(&service, At { name: "corp", issuer: &keycloak.issuer }, ALICE, BOB).await;
}
