//! Where guests need a ticket of the platform's, none comes in without one.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{come, come_from, send};
use crate::support::fake_provider::{FakeProvider, Signer};
use crate::support::log;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::{Setup, provider_section};

const ISSUER: &str = "https://www.example.com";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// `[guests]` with these keys and with tickets, and so many for one address.
fn sections(keys: &str, limit: &str) -> String {
    let jwks = json!({ "keys": [Signer::Es256.jwk()] });
    format!(
        "[guests]\n{keys}\n[guests.ticket]\nissuer = \"{ISSUER}\"\njwks = '{jwks}'\n[limits]\nguests = \"{limit}\"\n"
    )
}

async fn stage() -> Setup {
    Setup::with(&sections("size = 9", "off"), "").await
}

/// What a ticket says, but for some members.
fn claims(service: &TestService, jti: &str, other: Value) -> Value {
    let claims =
        json!({ "iss": ISSUER, "aud": service.url, "jti": jti, "iat": now(), "exp": now() + 300 });
    but(&claims, other)
}

/// An object, but for some members; null takes one away.
fn but(object: &Value, other: Value) -> Value {
    let mut object = object.clone();
    let Value::Object(other) = other else { panic!("{other}") };
    for (name, value) in other {
        match value {
            Value::Null => _ = object.as_object_mut().unwrap().remove(&name),
            value => object[name] = value,
        }
    }
    object
}

/// A good ticket.
fn ticket(service: &TestService, jti: &str) -> String {
    Signer::Es256.sign(&Signer::Es256.header(), &claims(service, jti, json!({})))
}

fn body(ticket: &str) -> String {
    json!({ "cookie": false, "ticket": ticket }).to_string()
}

async fn bring(setup: &Setup, ticket: &str) -> (StatusCode, String) {
    let answer = send(&mut setup.visitor(), &setup.service.url, None, &body(ticket)).await;
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

#[tokio::test]
async fn a_ticket_lets_one_visitor_in_once() {
    let setup = stage().await;
    let required = (StatusCode::FORBIDDEN, "ticket_required".to_owned());
    assert_eq!(come(&mut setup.visitor(), &setup.service.url).await.code(), "ticket_required");
    let ticket =
        Signer::Es256.sign(&Signer::Es256.header(), &claims(&setup.service, "one", json!({})));

    let lent = send(&mut setup.visitor(), &setup.service.url, None, &body(&ticket)).await;

    assert_eq!(lent.status, StatusCode::CREATED, "{lent:?}");
    assert_eq!(bring(&setup, &ticket).await, required);
    let secret = lent.json()["lease_secret"].as_str().unwrap().to_owned();
    let again =
        send(&mut setup.visitor(), &setup.service.url, Some(&secret), r#"{"cookie":false}"#).await;
    assert_eq!(again.status, StatusCode::OK, "who has a guest needs no other ticket");
}

#[tokio::test]
async fn a_ticket_that_is_none_lets_nobody_in() {
    let setup = stage().await;
    let required = (StatusCode::FORBIDDEN, "ticket_required".to_owned());
    for (at, other) in [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": null }),
        json!({ "aud": "https://elsewhere.example" }),
        json!({ "aud": null }),
        json!({ "jti": null }),
        json!({ "exp": now() + 302 }),
        json!({ "exp": now() - 61, "iat": now() - 200 }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "iat": now() + 120, "exp": now() + 300 }),
        json!({ "nbf": now() + 120 }),
        json!({ "nbf": "soon" }),
        json!({ "aud": ["https://elsewhere.example", "https://www.example.com"] }),
        json!({ "aud": [] }),
        json!({ "jti": "" }),
        json!({ "jti": 7 }),
        json!({ "exp": now() + 3600 }),
        json!({ "iat": now() - 86_400 }),
    ]
    .into_iter()
    .enumerate()
    {
        let claims = claims(&setup.service, &format!("bad-{at}"), other.clone());
        let ticket = Signer::Es256.sign(&Signer::Es256.header(), &claims);
        assert_eq!(bring(&setup, &ticket).await, required, "{other}");
    }
}

#[tokio::test]
async fn a_forged_ticket_lets_nobody_in_and_spends_none() {
    let setup = stage().await;
    let required = (StatusCode::FORBIDDEN, "ticket_required".to_owned());
    let good = claims(&setup.service, "good", json!({}));
    let foreign = Signer::NextEs256.sign(&Signer::Es256.header(), &good);
    let header = Signer::Es256.header();
    let public = Signer::Es256.jwk().to_string().into_bytes();
    let typed = but(&header, json!({ "typ": "at+jwt" }));
    let unknown = but(&header, json!({ "crit": ["exp"] }));
    for ticket in [
        String::new(),
        "x".to_owned(),
        "a.b.c".to_owned(),
        foreign,
        Signer::Stranger(Box::new(Signer::Es256)).sign(&header, &good),
        Signer::Nothing("none").sign(&Signer::Nothing("none").header(), &good),
        Signer::Hmac(public).sign(&but(&header, json!({ "alg": "HS256" })), &good),
        Signer::Es256.sign(&typed, &good),
        Signer::Es256.sign(&unknown, &good),
    ] {
        assert_eq!(bring(&setup, &ticket).await, required, "{ticket}");
    }
    let to_many = claims(
        &setup.service,
        "many",
        json!({ "aud": ["https://elsewhere.example", setup.service.url] }),
    );
    let to_many = Signer::Es256.sign(&header, &to_many);
    assert_eq!(bring(&setup, &to_many).await.0, StatusCode::CREATED, "it is for us among others");
    let ticket = Signer::Es256.sign(&Signer::Es256.header(), &good);
    assert_eq!(
        bring(&setup, &ticket).await.0,
        StatusCode::CREATED,
        "it was not spent by the forgery"
    );
}

#[tokio::test]
async fn of_many_who_bring_one_ticket_to_two_replicas_at_once_one_comes_in() {
    let setup = stage().await;
    let replica = setup.replica().await;
    for round in 0..4 {
        let ticket = body(&ticket(&setup.service, &format!("round-{round}")));

        let answers = join_all((0..12).map(|at| {
            let url = if at % 2 == 0 { &setup.service.url } else { &replica.url };
            come_from(url, "192.0.2.1", &ticket)
        }))
        .await;

        let lent = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
        let refused = answers.iter().filter(|answer| answer.status == StatusCode::FORBIDDEN);
        assert_eq!((lent, refused.count()), (1, 11));
    }
}

#[tokio::test]
async fn a_bad_ticket_costs_its_address_nothing_and_a_limit_costs_no_ticket() {
    let redis = RedisServer::start();
    let provider = FakeProvider::start().await;
    let further = format!("{}{}", sections("size = 9", "1/h"), provider_section(&provider, ""));
    let service = TestService::start_behind_proxy(&redis.url(), &further).await;
    let [first, second] = ["first", "second"].map(|jti| body(&ticket(&service, jti)));
    let good = claims(&service, "forged", json!({}));
    let forged = Signer::NextEs256.sign(&Signer::Es256.header(), &good);
    for bad in [body(&forged), body("x"), r#"{"cookie":false}"#.to_owned()] {
        for _ in 0..3 {
            let refused = come_from(&service.url, "192.0.2.1", &bad).await;
            assert_eq!(refused.code(), "ticket_required");
        }
    }

    assert_eq!(come_from(&service.url, "192.0.2.1", &first).await.status, StatusCode::CREATED);

    assert_eq!(come_from(&service.url, "192.0.2.1", &second).await.code(), "rate_limited");
    let elsewhere = come_from(&service.url, "192.0.2.2", &second).await;
    assert_eq!(elsewhere.status, StatusCode::CREATED, "it was not spent on the refusal");
}

#[tokio::test]
async fn a_ticket_is_good_again_when_there_was_no_guest_for_it() {
    for (keys, code) in
        [("size = 1", "pool_exhausted"), ("size = 2\nmonthly_budget = 1", "guest_budget_reached")]
    {
        let setup = Setup::with(&sections(keys, "off"), "").await;
        let replica = setup.replica().await;
        let first = bring(&setup, &ticket(&setup.service, "first")).await;
        assert_eq!(first.0, StatusCode::CREATED);
        let second = ticket(&setup.service, "second");

        for url in [&setup.service.url, &replica.url, &setup.service.url] {
            let refused = come_from(url, "192.0.2.1", &body(&second)).await;

            assert_eq!(refused.code(), code);
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_ticket_stands_in_the_metrics_and_in_no_log() {
    let setup = stage().await;
    let header = Signer::Es256.header();
    let with = |other: Value| Signer::Es256.sign(&header, &claims(&setup.service, "told", other));
    let good = claims(&setup.service, "told", json!({}));
    let spent = with(json!({}));
    assert_eq!(bring(&setup, &spent).await.0, StatusCode::CREATED);
    for (cause, ticket) in [
        ("format", "x".to_owned()),
        ("algorithm", Signer::Nothing("none").sign(&Signer::Nothing("none").header(), &good)),
        ("signature", Signer::Stranger(Box::new(Signer::Es256)).sign(&header, &good)),
        ("iss", with(json!({ "iss": "https://evil.example" }))),
        ("aud", with(json!({ "aud": "https://evil.example" }))),
        ("jti", with(json!({ "jti": null }))),
        ("exp", with(json!({ "exp": now() + 302 }))),
        ("ticket spent", spent),
    ] {
        bring(&setup, &ticket).await;

        let metrics = setup.visitor().get(&format!("{}/metrics", setup.service.ops_url)).await.body;
        let series =
            format!("vestibule_failures_total{{code=\"ticket_required\",cause=\"{cause}\"}} 1");
        assert!(metrics.lines().any(|line| line == series), "{series} {metrics}");
    }
    let told = log::lines_with("ticket_required");
    let told: Vec<_> = told.iter().filter(|line| !line.contains(r#""level":"DEBUG""#)).collect();
    assert!(told.is_empty(), "{told:?}");
}
