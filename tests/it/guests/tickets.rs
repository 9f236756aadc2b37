//! Where guests need a ticket of the platform's, none comes in without one.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{come, send};
use crate::support::fake_provider::Signer;
use crate::support::setup::Setup;

const ISSUER: &str = "https://www.example.com";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn stage() -> Setup {
    let keys = json!({ "keys": [Signer::Es256.jwk()] });
    let sections = format!(
        "[guests]\nsize = 3\n[guests.ticket]\nissuer = \"{ISSUER}\"\njwks = '{keys}'\n[limits]\nguests = \"off\"\n"
    );
    Setup::with(&sections, "").await
}

/// What a ticket says, but for some members; null takes one away.
fn claims(setup: &Setup, jti: &str, other: Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": setup.service.url, "jti": jti, "iat": now(), "exp": now() + 300 });
    let Value::Object(other) = other else { panic!("{other}") };
    for (name, value) in other {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(&name),
            value => claims[name] = value,
        }
    }
    claims
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
    let ticket = Signer::Es256.sign(&Signer::Es256.header(), &claims(&setup, "one", json!({})));

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
    ]
    .into_iter()
    .enumerate()
    {
        let claims = claims(&setup, &format!("bad-{at}"), other.clone());
        let ticket = Signer::Es256.sign(&Signer::Es256.header(), &claims);
        assert_eq!(bring(&setup, &ticket).await, required, "{other}");
    }
    let good = claims(&setup, "good", json!({}));
    let foreign = Signer::NextEs256.sign(&Signer::Es256.header(), &good);
    for ticket in ["", "x", "a.b.c", &foreign] {
        assert_eq!(bring(&setup, ticket).await, required, "{ticket}");
    }
    let ticket = Signer::Es256.sign(&Signer::Es256.header(), &good);
    assert_eq!(
        bring(&setup, &ticket).await.0,
        StatusCode::CREATED,
        "it was not spent by the forgery"
    );
}
