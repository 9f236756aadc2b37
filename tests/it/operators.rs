//! The operators' API: it is off without a token, opens to nothing else, and tells of denials, identities and standings.

use reqwest::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::process::{Service, get};
use crate::support::fake_provider::FakeProvider;
use crate::support::operator::OPS_TOKEN;
use crate::support::policies::section;
use crate::support::redis::RedisServer;
use crate::support::service::{TWILIO, TestService};
use crate::support::setup::Setup;
use crate::support::visitor::{Answer, Visitor};

const WRONG_TOKENS_ONE: &str = "vestibule_failures_total{code=\"invalid_token\",cause=\"ops\"} 1";

/// The usual stage, with a token.
async fn stage() -> Setup {
    Setup::with(&format!("[ops]\ntoken = \"{OPS_TOKEN}\"\n"), "").await
}

fn request(service: &TestService, method: Method, path: &str) -> RequestBuilder {
    let client = Client::builder().no_proxy().build().unwrap();
    client.request(method, format!("{}{path}", service.ops_url))
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let answer = Answer { status, headers, body: response.text().await.unwrap() };
    assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{answer:?}");
    assert!(!answer.body.contains("canary-"), "{answer:?}");
    answer
}

/// What an operator with the token is answered.
async fn ask(service: &TestService, path: &str) -> Answer {
    answer(request(service, Method::GET, path).bearer_auth(OPS_TOKEN)).await
}

async fn put(service: &TestService, path: &str, body: impl Into<String>) -> Answer {
    answer(request(service, Method::PUT, path).bearer_auth(OPS_TOKEN).body(body.into())).await
}

/// Signs somebody in and gives the identity.
async fn sign_in(setup: &Setup, name: &str) -> String {
    let mut visitor = setup.visitor();
    let away = visitor.get(&setup.url("/login/fake")).await.location();
    let callback = visitor.get(&format!("{away}&login_hint={name}")).await.location();
    assert_eq!(visitor.get(&callback).await.status, StatusCode::SEE_OTHER);
    visitor.get(&setup.url("/session")).await.json()["identity"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn without_a_token_it_is_off() {
    let setup = Setup::new().await;

    for path in ["/api", "/api/standings", "/api/denials/7K3M9-QX2TB", "/api/nowhere"] {
        let off = answer(request(&setup.service, Method::GET, path)).await;
        assert_eq!((off.status, off.code().as_str()), (StatusCode::NOT_FOUND, "api_off"), "{path}");
        let off = answer(request(&setup.service, Method::GET, path).bearer_auth("")).await;
        assert_eq!(off.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn only_the_token_opens_it_and_only_at_an_address() {
    let setup = stage().await;
    let with = |name: &'static str, value: &str| {
        answer(request(&setup.service, Method::GET, "/api/standings").header(name, value))
    };
    let port = setup.service.ops_url.rsplit(':').next().unwrap().to_owned();

    let nothing = answer(request(&setup.service, Method::GET, "/api/standings")).await;
    let wrong = with("authorization", "Bearer canary-ops-token-0002").await;
    let basic = with("authorization", &format!("Basic {OPS_TOKEN}")).await;

    assert_eq!(
        (nothing.status, nothing.code()),
        (StatusCode::UNAUTHORIZED, "login_required".into())
    );
    assert_eq!(nothing.headers[WWW_AUTHENTICATE], "Bearer");
    for answer in [wrong, basic] {
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::UNAUTHORIZED, "invalid_token".into())
        );
        assert_eq!(answer.headers[WWW_AUTHENTICATE], "Bearer error=\"invalid_token\"");
    }
    for (host, status) in [
        (format!("localhost:{port}"), StatusCode::OK),
        (format!("127.0.0.1:{port}"), StatusCode::OK),
        (format!("rebound.example.com:{port}"), StatusCode::BAD_REQUEST),
        (format!("localhost.example.com:{port}"), StatusCode::BAD_REQUEST),
    ] {
        let request = request(&setup.service, Method::GET, "/api/standings").bearer_auth(OPS_TOKEN);
        assert_eq!(answer(request.header("host", &host)).await.status, status, "{host}");
    }
    let elsewhere = request(&setup.service, Method::GET, "/api/standings")
        .bearer_auth(OPS_TOKEN)
        .header("host", "rebound.example.com");
    assert_eq!(answer(elsewhere).await.code(), "wrong_host");
    // Whoever watches needs no token, at whatever name.
    let request = request(&setup.service, Method::GET, "/livez").header("host", "ops.example.com");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_token_leaves_a_line_and_is_counted() {
    let redis = RedisServer::start();
    let ops = format!("[ops]\nlisten = \"127.0.0.1:0\"\ntoken = \"{OPS_TOKEN}\"\n");
    let public = "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://localhost\"\n";
    let store = format!("[store]\nurl = \"{}\"\n", redis.url());
    let provider = FakeProvider::start().await;
    let provider = section("fake", &provider, "", "allow = \"true\"");
    let mut service = Service::serving(&format!("{ops}{public}{store}{TWILIO}\n{provider}"));
    let ask = |token: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        get(service.ops, "/api/standings", &header)
    };
    let counted = || get(service.ops, "/metrics", "").contains(WRONG_TOKENS_ONE);

    assert!(ask(OPS_TOKEN).starts_with("HTTP/1.1 200"));
    assert!(!counted());
    assert!(ask("canary-ops-token-0002").starts_with("HTTP/1.1 401"));

    assert!(counted());
    let line = service.wait_for("a request to /api was refused");
    assert_eq!((&line["level"], &line["code"]), (&json!("INFO"), &json!("invalid_token")));
    assert!(!service.log().contains("canary-ops"), "{}", service.log());
}

#[tokio::test]
async fn what_makes_no_sense_is_a_problem() {
    let setup = stage().await;
    let alice = sign_in(&setup, "alice").await;
    let subject = format!("/api/identities/{alice}/subject");
    let issuer = setup.provider.issuer();
    let whom = |value: &str| json!({ "issuer": issuer, "value": value }).to_string();

    for (path, code) in [
        ("/api", "not_found"),
        ("/api/denials", "not_found"),
        ("/api/denials/nothing", "unknown"),
        ("/api/denials/7K3M9-QX2TB", "unknown"),
        ("/api/identities/nobody", "unknown"),
        ("/api/identities/a%7Cb", "unknown"),
        ("/api/identities/nobody/subject", "unknown"),
        ("/api/identities/%FF", "invalid_request"),
        ("/api/standings?after=x", "invalid_request"),
        ("/api/standings?after=", "invalid_request"),
        ("/api/standings?after=1&after=2", "invalid_request"),
    ] {
        assert_eq!(ask(&setup.service, path).await.code(), code, "{path}");
    }
    for (body, code) in [
        (String::new(), "invalid_request"),
        ("[]".to_owned(), "invalid_request"),
        (json!({ "value": "bob" }).to_string(), "invalid_request"),
        (json!({ "issuer": issuer, "value": "bob", "sub": "x" }).to_string(), "invalid_request"),
        (
            json!({ "issuer": "https://id.example.com", "value": "bob" }).to_string(),
            "invalid_request",
        ),
        (whom(" "), "invalid_request"),
        (whom(&"b".repeat(1025)), "invalid_request"),
        (" ".repeat(20_000) + &whom("alice"), "invalid_request"),
        (whom("alice"), "already_theirs"),
    ] {
        assert_eq!(put(&setup.service, &subject, body.clone()).await.code(), code, "{body:.200}");
    }
    let guest = put(&setup.service, "/api/identities/guest-1/subject", whom("bob")).await;
    assert_eq!(guest.code(), "unknown");
    let post = request(&setup.service, Method::POST, "/api/standings").bearer_auth(OPS_TOKEN);
    let post = answer(post).await;
    assert_eq!(
        (post.code().as_str(), post.headers["allow"].to_str().unwrap()),
        ("method_not_allowed", "GET,HEAD")
    );
}

#[tokio::test]
async fn it_tells_of_identities_and_standings_and_moves_them() {
    let setup = stage().await;
    let alice = sign_in(&setup, "alice").await;
    let issuer = setup.provider.issuer();

    let known = ask(&setup.service, &format!("/api/identities/{alice}")).await.json();
    let whose = ask(&setup.service, &format!("/api/identities/{alice}/subject")).await.json();
    let standings = ask(&setup.service, "/api/standings?unknown=1").await.json();
    let bob = json!({ "issuer": issuer, "value": "bob" });
    let path = format!("/api/identities/{alice}/subject");
    let moved = put(&setup.service, &path, bob.to_string()).await;

    assert_eq!(whose, json!({ "issuer": issuer, "value": "alice" }));
    assert_eq!(standings["standings"], known["standings"]);
    assert_eq!(standings["next"], Value::Null);
    let given =
        json!({ "from": whose, "to": bob, "was_nobodys": false, "had": null, "is_known": false });
    assert_eq!(moved.json(), given);
    assert_eq!(ask(&setup.service, &path).await.json(), bob);
    insta::assert_json_snapshot!(known, {
        ".identity" => "[identity]",
        ".subject.issuer" => "[issuer]",
        ".standings[].identity" => "[identity]",
        ".standings[].subject.issuer" => "[issuer]",
        ".standings[].obtained_ms" => "[ms]",
        ".standings[].claims.iss" => "[issuer]",
        ".standings[].claims.iat" => "[s]",
        ".standings[].claims.exp" => "[s]",
        ".standings[].claims.at_hash" => "[at_hash]",
    });
}

#[tokio::test]
async fn it_says_when_the_store_is_away() {
    let mut setup = stage().await;
    setup.redis.stop();

    let away = ask(&setup.service, "/api/identities/somebody").await;

    assert_eq!(
        (away.status, away.code()),
        (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable".into())
    );
    assert_eq!(away.headers["retry-after"], "1");
}

#[tokio::test]
async fn its_routes_are_not_on_the_public_listener() {
    let setup = stage().await;

    let answer = Visitor::of(&setup.service).get(&setup.url("/api/standings")).await;

    assert_eq!(answer.code(), "not_found");
}
