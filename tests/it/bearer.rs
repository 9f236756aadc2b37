//! A provider's token on `POST /token`: the decision and the identity of that subject's login, without a session; and nothing for a
//! token that is not exactly what it should be.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::fake_provider::{FakeProvider, Signer, TENANTS, Twist, public_bytes};
use crate::support::policies::{
    Stage, identity, on_record, reference, section, serve, sign_in, store, token, visitor,
};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::visitor::Answer;

const CHAT: &str = "https://chat.example.com";
const KEYS: &str = "bearer_audiences = [\"https://chat.example.com\", \"https://other.example.com\"]\n\
    bearer_max_age = \"10m\"\nalgorithms = [\"ES256\", \"RS256\"]";
const EVERYBODY: &str = "allow = \"true\"\nfriendly_name = \"claims.?name.orValue('nobody')\"";

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// What an access token of the provider says of alice.
fn claims(stage: &Stage) -> Value {
    json!({
        "iss": stage.provider.issuer(), "sub": "alice", "aud": CHAT, "client_id": "app", "jti": "1",
        "iat": now(), "exp": now() + 300,
    })
}

/// The same, but for some members; null takes one away.
fn but(claims: &Value, other: Value) -> Value {
    let mut claims = claims.clone();
    let Value::Object(other) = other else { panic!("{other}") };
    for (name, value) in other {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(&name),
            value => claims[name] = value,
        }
    }
    claims
}

fn signed(claims: &Value) -> String {
    let signer = Signer::Rs256;
    signer.sign(&but(&signer.header(), json!({ "typ": "at+jwt" })), claims)
}

async fn bring(service: &TestService, token: &str) -> Answer {
    let url = format!("{}/token", service.url);
    visitor().send(Method::POST, &url, &[("authorization", &format!("Bearer {token}"))]).await
}

/// How often requests failed so.
async fn failures(service: &TestService, code: &str, cause: &str) -> u64 {
    let metrics = visitor().get(&format!("{}/metrics", service.ops_url)).await.body;
    let series = format!("vestibule_failures_total{{code=\"{code}\",cause=\"{cause}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |n| n.parse().unwrap())
}

#[tokio::test]
async fn a_bearer_is_who_the_login_was_and_has_no_session() {
    let stage = Stage::new().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    let mut alice = stage.sign_in(&service, "alice").await;
    let known = identity(&token(&mut alice, &service).await);
    let plain = claims(&stage);

    for (header, claims) in [
        (json!({ "typ": "at+jwt" }), plain.clone()),
        (json!({ "typ": "application/AT+JWT" }), plain.clone()),
        (json!({ "typ": "JWT" }), plain.clone()),
        (json!({ "typ": null }), plain.clone()),
        (json!({}), but(&plain, json!({ "aud": ["https://x", "https://other.example.com"] }))),
        (json!({}), but(&plain, json!({ "azp": "app", "nonce": "n", "at_hash": "h" }))),
        (json!({}), but(&plain, json!({ "exp": now() - 50 }))),
        (json!({}), but(&plain, json!({ "iat": now() - 640 }))),
        (json!({}), but(&plain, json!({ "iat": now() + 50, "nbf": now() + 50 }))),
    ] {
        for signer in [Signer::Rs256, Signer::Es256] {
            let header = but(&signer.header(), header.clone());
            let answer = bring(&service, &signer.sign(&header, &claims)).await;
            assert_eq!(identity(&answer), known, "{header} {claims}");
            assert_eq!(answer.json()["kind"], "member");
            assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
        }
    }
    let session = alice.get(&format!("{}/session", service.url)).await;
    assert_ne!(session.json()["friendly_name"], "nobody", "the login's claims stay");
}

#[tokio::test]
async fn whoever_comes_as_a_bearer_first_keeps_that_identity_at_a_login() {
    let stage = Stage::new().await;
    let by = |rule: &str| format!("allow = \"true\"\nidentity = \"{rule}\"");
    let service = stage.service_with(KEYS, &by("'staff-' + claims.sub")).await;

    for _ in 0..2 {
        let answer = bring(&service, &signed(&claims(&stage))).await;
        assert_eq!(identity(&answer), "staff-alice");
    }

    let changed = stage.service_with(KEYS, &by("claims.sub")).await;
    let mut alice = stage.sign_in(&changed, "alice").await;
    assert_eq!(identity(&token(&mut alice, &changed).await), "staff-alice");
    assert_eq!(identity(&bring(&changed, &signed(&claims(&stage))).await), "staff-alice");
    let mut mallory = visitor();
    let taken = stage.service_with(KEYS, &by("claims.sub == 'x' ? 'x' : 'staff-alice'")).await;
    assert_eq!(sign_in(&mut mallory, &taken, "fake", "mallory").await.code(), "identity_conflict");
    let mallory = but(&claims(&stage), json!({ "sub": "mallory" }));
    assert_eq!(bring(&taken, &signed(&mallory)).await.code(), "identity_conflict");
}

#[tokio::test]
async fn the_same_policy_decides_each_time_and_a_denial_is_on_record() {
    let stage = Stage::new().await;
    let policy =
        "allow = [{ rule = \"'staff' in claims.groups\", message = \"Only staff may chat.\" }]";
    let service = stage.service_with(KEYS, policy).await;
    let staff = but(&claims(&stage), json!({ "groups": ["staff"] }));
    let left = but(&claims(&stage), json!({ "groups": [] }));

    assert_eq!(identity(&bring(&service, &signed(&staff)).await), stage.default_identity("alice"));
    let denied = bring(&service, &signed(&left)).await;

    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert_eq!(
        (denied.code().as_str(), denied.json()["detail"].as_str()),
        ("access_denied", Some("Only staff may chat."))
    );
    let again = bring(&service, &signed(&left)).await;
    assert_eq!(reference(&again), reference(&denied));
    let record = on_record(&store(&stage.redis).await, &reference(&denied)).await;
    assert_eq!(record["path"], "bearer");
    assert_eq!(record["claims"], json!({ "groups": [] }));
    identity(&bring(&service, &signed(&staff)).await);
    let nobody = stage.service_with(&format!("{KEYS}\nsubject_claim = \"oid\""), EVERYBODY).await;
    let answer = bring(&nobody, &signed(&staff)).await;
    assert_eq!(answer.code(), "identity_invalid");
}

/// Tokens that are wrong in one way, each with the check that finds it.
fn hostile(stage: &Stage) -> Vec<(&'static str, String)> {
    let good = claims(stage);
    let header = Signer::Rs256.header();
    let typ = |typ: &str| Signer::Rs256.sign(&but(&header, json!({ "typ": typ })), &good);
    let other = |claims| signed(&but(&good, claims));
    let mut hostile = vec![
        ("not ours", other(json!({ "iss": "https://evil.example.com" }))),
        ("not ours", other(json!({ "iss": format!("{}/", stage.provider.issuer()) }))),
        ("not ours", other(json!({ "aud": "vestibule" }))),
        ("not ours", other(json!({ "aud": [] }))),
        ("not ours", other(json!({ "aud": 7 }))),
        ("not ours", other(json!({ "aud": { "https://chat.example.com": 1 } }))),
        ("not ours", other(json!({ "aud": ["https://chat.example.com", 7] }))),
        ("not ours", other(json!({ "aud": null }))),
        ("not ours", other(json!({ "aud": "https://chat.example.com/" }))),
        ("no introspection", "opaque".to_owned()),
        ("no introspection", "a.b.c".to_owned()),
        ("format", format!("{}.x", signed(&good))),
        ("typ", typ("logout+jwt")),
        ("typ", typ("rt+jwt")),
        ("typ", typ("secevent+jwt")),
        ("crit", Signer::Rs256.sign(&but(&header, json!({ "crit": ["b64"] })), &good)),
        ("algorithm", Signer::Rs512.sign(&Signer::Rs512.header(), &good)),
        ("signature", Signer::Stranger(Box::new(Signer::Rs256)).sign(&header, &good)),
        (
            "events",
            other(
                json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
            ),
        ),
        ("cnf", other(json!({ "cnf": { "jkt": "x" } }))),
        ("sub", other(json!({ "sub": null }))),
        ("sub", other(json!({ "sub": " " }))),
        ("sub", other(json!({ "sub": 7 }))),
        ("sub", other(json!({ "sub": "app" }))),
        ("sub", other(json!({ "sub": "app", "client_id": null, "azp": "app" }))),
        ("sub", other(json!({ "idtyp": "app" }))),
        ("exp", other(json!({ "exp": now() - 70 }))),
        ("exp", other(json!({ "exp": null }))),
        ("exp", other(json!({ "exp": "never" }))),
        ("iat", other(json!({ "iat": null }))),
        ("iat", other(json!({ "iat": now() + 90 }))),
        ("iat", other(json!({ "iat": "99999999999" }))),
        ("nbf", other(json!({ "nbf": now() + 90 }))),
        ("nbf", other(json!({ "nbf": [1] }))),
        ("age", other(json!({ "iat": now() - 670, "exp": now() + 86_400 }))),
        ("age", other(json!({ "iat": 1, "exp": now() + 86_400 }))),
    ];
    for alg in ["none", "None", "nOnE", "", "RS256 "] {
        hostile
            .push(("algorithm", Signer::Nothing(alg).sign(&Signer::Nothing(alg).header(), &good)));
    }
    for secret in public_bytes(&Signer::Rs256) {
        let signer = Signer::Hmac(secret);
        hostile.push(("algorithm", signer.sign(&signer.header(), &good)));
    }
    hostile
}

#[tokio::test]
async fn a_token_that_is_not_exactly_what_it_should_be_is_worth_nothing() {
    let stage = Stage::new().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    let good = claims(&stage);
    identity(&bring(&service, &signed(&good)).await);
    let asked = stage.provider.requests("keys");
    for (cause, token) in hostile(&stage) {
        let before = failures(&service, "invalid_token", cause).await;
        let answer = bring(&service, &token).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::UNAUTHORIZED, "invalid_token".into()),
            "{cause}"
        );
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"", "{cause}");
        assert_eq!(failures(&service, "invalid_token", cause).await, before + 1, "{cause} {token}");
    }

    assert!(stage.provider.requests("keys") <= asked + 1, "unknown keys ask once");
    assert_eq!(stage.provider.requests("userinfo"), 0);
    identity(&bring(&service, &signed(&good)).await);
}

#[tokio::test]
async fn without_audiences_no_bearer_is_accepted_and_our_own_client_counts_only_if_listed() {
    let stage = Stage::new().await;
    let to_us = signed(&but(&claims(&stage), json!({ "aud": "vestibule" })));

    let closed = stage.service("allow = \"true\"").await;
    assert_eq!(bring(&closed, &to_us).await.code(), "invalid_token");
    assert_eq!(bring(&closed, &signed(&claims(&stage))).await.code(), "invalid_token");
    let open = stage.service_with("bearer_audiences = [\"vestibule\"]", EVERYBODY).await;
    assert_eq!(identity(&bring(&open, &to_us).await), stage.default_identity("alice"));
    assert_eq!(bring(&open, &signed(&claims(&stage))).await.code(), "invalid_token");
}

#[tokio::test]
async fn authorization_is_the_proof_wherever_it_stands_and_never_passed_over() {
    let stage = Stage::new().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    let mut alice = stage.sign_in(&service, "alice").await;
    let url = format!("{}/token", service.url);
    let bob = format!("Bearer {}", signed(&but(&claims(&stage), json!({ "sub": "bob" }))));

    let answer = alice.send(Method::POST, &url, &[("authorization", &bob)]).await;
    assert_eq!(identity(&answer), stage.default_identity("bob"));
    for dead in ["Bearer x", "Basic eDp5", "Bearer", "bearer ", "DPoP x"] {
        let answer = alice.send(Method::POST, &url, &[("authorization", dead)]).await;
        assert_eq!(answer.code(), "invalid_token", "{dead}");
    }
    let two = [("authorization", bob.as_str()), ("authorization", bob.as_str())];
    assert_eq!(alice.send(Method::POST, &url, &two).await.code(), "invalid_request");
    // With our cookie the rule of origins holds, whatever else is there.
    alice.origin = Some("https://evil.example.com".to_owned());
    let answer = alice.send(Method::POST, &url, &[("authorization", &bob)]).await;
    assert_eq!(answer.code(), "origin_not_allowed");
}

#[tokio::test]
async fn of_two_providers_each_vouches_for_its_own_people() {
    let stage = Stage::new().await;
    let other = FakeProvider::start().await;
    let sections =
        section(
            "fake",
            &stage.provider,
            KEYS,
            "allow = \"true\"\nidentity = \"'one-' + claims.sub\"",
        ) + &section("other", &other, KEYS, "allow = \"true\"\nidentity = \"'two-' + claims.sub\"");
    let service = serve(&stage.redis.url(), &sections).await;
    let of_other = but(&claims(&stage), json!({ "iss": other.issuer() }));

    assert_eq!(identity(&bring(&service, &signed(&claims(&stage))).await), "one-alice");
    assert_eq!(identity(&bring(&service, &signed(&of_other)).await), "two-alice");
    other.rotate_to(Signer::NextEs256);
    let next = Signer::NextEs256;
    assert_eq!(
        identity(&bring(&service, &next.sign(&next.header(), &of_other)).await),
        "two-alice"
    );
    let foreign = next.sign(&next.header(), &claims(&stage));
    assert_eq!(bring(&service, &foreign).await.code(), "invalid_token");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_takes_nothing_from_those_who_sign_in() {
    let stage = Stage::new().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    stage.sign_in(&service, "alice").await;
    let header = Signer::Rs256.header();
    let invented = |n: usize| {
        let header = but(&header, json!({ "kid": format!("invented-{n}") }));
        Signer::Rs256.sign(&header, &claims(&stage))
    };
    let asked = stage.provider.requests("keys");

    for n in 0..50 {
        assert_eq!(bring(&service, &invented(n)).await.code(), "invalid_token");
    }
    assert!(stage.provider.requests("keys") <= asked + 1);
    stage.provider.rotate_to(Signer::NextEs256);

    stage.sign_in(&service, "bob").await;
}

#[tokio::test]
async fn a_bearer_of_another_tenant_is_nobody() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start_with_tenants().await);
    let keys = format!(
        "{KEYS}\nsubject_claim = \"oid\"\ntenants = [\"{}\", \"{}\"]",
        TENANTS[0], TENANTS[1]
    );
    let service = serve(&redis.url(), &section("fake", &provider, &keys, EVERYBODY)).await;
    let of = |tenant: &'static str| {
        provider.people_come_from(tenant);
        provider.access_token("alice", CHAT)
    };

    let tenants = TENANTS.map(of);
    identity(&bring(&service, &tenants[0]).await);
    assert_ne!(
        identity(&bring(&service, &tenants[0]).await),
        identity(&bring(&service, &tenants[1]).await)
    );
    assert_eq!(bring(&service, &tenants[2]).await.code(), "invalid_token");
    for (name, value) in [("tid", TENANTS[1]), ("iss", &provider.issuer_of(TENANTS[1]))] {
        provider.people_come_from(TENANTS[0]);
        provider.twist([Twist::Claim(name, Some(json!(value)))]);
        let mixed = provider.access_token("alice", CHAT);
        assert_eq!(bring(&service, &mixed).await.code(), "invalid_token", "{name}");
    }
}
