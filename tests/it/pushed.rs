//! Pushed authorization requests (RFC 9126): wherever the provider offers them, the browser carries only a reference.

use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use crate::lies::{CLIENT_SECRET, Stage};
use crate::support::fake_provider::{FakeProvider, Registered, Reply, Signer, Twist};

/// A provider that offers it.
async fn offering(registered: Registered) -> FakeProvider {
    let provider = FakeProvider::start().await;
    let endpoint = format!("{}/par", provider.issuer());
    provider.register(registered);
    provider.twist([
        Twist::Metadata("pushed_authorization_request_endpoint", Some(endpoint.into())),
        Twist::Metadata("require_pushed_authorization_requests", Some(true.into())),
    ]);
    provider
}

#[tokio::test]
async fn what_is_asked_for_is_pushed_and_the_browser_carries_a_reference() {
    let stage =
        Stage::with(offering(Registered::Basic("canary-client-secret-0001")).await, CLIENT_SECRET)
            .await;

    let away = stage.visitor().get(&format!("{}/login/fake", stage.service.url)).await.location();

    let away = Url::parse(&away).unwrap();
    let names: Vec<_> = away.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["tenant", "client_id", "request_uri"]);
    stage.admits("a pushed request").await;
    assert_eq!(stage.provider.requests("par"), 2, "one for each login");
}

#[tokio::test]
async fn every_way_to_authenticate_works_there_too() {
    let key = format!(
        "client_auth = \"private_key_jwt\"\nprivate_key_id = \"key-1\"\nprivate_key = \"\"\"\n{}\"\"\"",
        Signer::Es256.pem()
    );
    for (registered, keys) in [
        (
            Registered::Post("canary-client-secret-0001"),
            format!("{CLIENT_SECRET}\nclient_auth = \"client_secret_post\""),
        ),
        (Registered::PrivateKeyJwt(Signer::Es256), key),
        (Registered::Public, "client_auth = \"none\"".to_owned()),
    ] {
        let stage = Stage::with(offering(registered).await, &keys).await;
        stage.admits(&keys).await;
        assert_eq!(stage.provider.requests("par"), 1);
    }
}

#[tokio::test]
async fn a_refusal_and_an_answer_of_no_use_are_told_apart_and_nobody_is_sent_away() {
    let stage =
        Stage::with(offering(Registered::Basic("another-secret-of-it")).await, CLIENT_SECRET).await;
    let begin = async || stage.visitor().get(&format!("{}/login/fake", stage.service.url)).await;
    let endpoint = format!("{}/par", stage.provider.issuer());
    let endpoint = Twist::Metadata("pushed_authorization_request_endpoint", Some(endpoint.into()));
    let required = Twist::Metadata("require_pushed_authorization_requests", Some(true.into()));
    let answers = |status, body: Value| {
        let reply = Reply::new(status, "application/json", body.to_string());
        stage.provider.twist([endpoint.clone(), required.clone(), Twist::Answer("par", reply)]);
    };

    let refused = begin().await;
    assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "login_failed".into()));
    for (status, body) in [
        (500, json!({})),
        (429, json!({ "error": "slow_down" })),
        (400, json!({})),
        (201, json!({})),
        (201, json!({ "request_uri": "" })),
        (201, json!({ "request_uri": 7 })),
        (201, json!({ "request_uri": "urn:x y" })),
        (201, json!({ "request_uri": "x".repeat(3000) })),
        (302, json!({ "request_uri": "urn:x" })),
    ] {
        answers(status, body.clone());
        let answer = begin().await;
        assert_eq!(answer.code(), "provider_unavailable", "{status} {body}: {answer:?}");
    }
}

#[tokio::test]
async fn a_provider_that_also_takes_plain_requests_gets_one_when_pushing_fails() {
    let provider = FakeProvider::start().await;
    let endpoint =
        |url: String| Twist::Metadata("pushed_authorization_request_endpoint", Some(url.into()));
    let par = format!("{}/par", provider.issuer());
    provider.twist([endpoint(par.clone())]);
    let stage = Stage::with(provider, CLIENT_SECRET).await;
    stage.admits("pushed").await;
    assert_eq!(stage.provider.requests("par"), 1);
    let away = Twist::Answer("par", Reply::new(500, "text/plain", "away"));

    stage.provider.twist([endpoint(par), away]);
    stage.admits("the endpoint is away").await;

    assert_eq!(stage.provider.requests("par"), 2);
    let odd = FakeProvider::start().await;
    odd.twist([endpoint("http://169.254.169.254/par".to_owned())]);
    Stage::with(odd, CLIENT_SECRET).await.admits("an endpoint that may not be used").await;
}
