//! An opaque access token is worth what the provider says of it now: the decision and the identity of that subject's login. It is
//! shown to no provider that may not have issued it, and a flood of invented ones is none at the provider.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::fake_provider::{FakeProvider, Registered, Reply, Signer, TENANTS, Twist};
use crate::support::log;
use crate::support::policies::{
    Stage, default_identity, identity, on_record, reference, section, serve, store, token, visitor,
};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::visitor::Answer;

const CHAT: &str = "https://chat.example.com";
const BACKEND: &str = "https://backend.example.com";
const KEYS: &str = "bearer_audiences = [\"https://chat.example.com\"]\nalgorithms = [\"ES256\"]";
const EVERYBODY: &str = "allow = \"true\"";
const CLIENT: &str = "[[client]]\nid = \"backend\"\nsecret = \"canary-backend-secret\"\n\
    audiences = [\"https://backend.example.com\"]";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// One provider that introspects.
async fn stage() -> Stage {
    let stage = Stage::new().await;
    stage.provider.offer_introspection();
    stage
}

/// What the provider says of a good token.
fn active(who: &str) -> Value {
    json!({
        "active": true, "sub": who, "aud": CHAT, "client_id": "app", "token_type": "Bearer", "scope": "openid chat",
        "iat": now(), "exp": now() + 300,
    })
}

/// The same, but for some members; null takes one away.
fn but(answer: &Value, other: Value) -> Value {
    let mut answer = answer.clone();
    let Value::Object(other) = other else { panic!("{other}") };
    for (name, value) in other {
        match value {
            Value::Null => _ = answer.as_object_mut().unwrap().remove(&name),
            value => answer[name] = value,
        }
    }
    answer
}

async fn bring(service: &TestService, token: &str) -> Answer {
    let url = format!("{}/token", service.url);
    visitor().send(Method::POST, &url, &[("authorization", &format!("Bearer {token}"))]).await
}

/// The status and the body of an exchange by the client.
async fn exchange(service: &TestService, token: &str, called: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", &format!("urn:ietf:params:oauth:token-type:{called}")),
    ];
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Client::builder().no_proxy().build().unwrap();
    let request = request
        .post(format!("{}/oauth2/token", service.url))
        .basic_auth("backend", Some("canary-backend-secret"))
        .header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// How often requests failed so.
async fn failures(service: &TestService, code: &str, cause: &str) -> u64 {
    let metrics = visitor().get(&format!("{}/metrics", service.ops_url)).await.body;
    let series = format!("vestibule_failures_total{{code=\"{code}\",cause=\"{cause}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |n| n.parse().unwrap())
}

#[tokio::test]
async fn an_opaque_token_is_worth_what_the_login_is_and_asked_about_once() {
    let stage = stage().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    let mut alice = stage.sign_in(&service, "alice").await;
    let known = identity(&token(&mut alice, &service).await);
    let good = active("alice");

    for answer in [
        good.clone(),
        but(&good, json!({ "aud": ["https://x", CHAT], "iss": stage.provider.issuer() })),
        but(&good, json!({ "aud": null, "client_id": CHAT })),
        but(&good, json!({ "exp": null, "iat": null })),
        but(&good, json!({ "exp": 4_000_000_000.5, "iat": 1.25, "nbf": 2.75 })),
        but(&good, json!({ "exp": now() - 50 })),
        but(&good, json!({ "iat": 1, "exp": 4_000_000_000_u64 })),
        but(&good, json!({ "token_type": "bEARER", "token_use": "access_token" })),
        but(&good, json!({ "token_type": null })),
    ] {
        let opaque = stage.provider.opaque_token(answer.clone());
        let asked = stage.provider.requests("introspection");
        for _ in 0..3 {
            let brought = bring(&service, &opaque).await;
            assert_eq!(identity(&brought), known, "{answer}");
            assert!(!brought.headers.contains_key("set-cookie"));
        }
        // What is over but for the minute of leeway is not kept.
        let is_over = answer["exp"].as_u64().is_some_and(|exp| exp < now());
        let asked = stage.provider.requests("introspection") - asked;
        assert_eq!(asked, if is_over { 3 } else { 1 }, "{answer}");
    }
    let secrets = stage.provider.secrets();
    let opaque = secrets.iter().filter(|secret| secret.starts_with("canary-opaque-token"));
    for secret in opaque {
        assert_eq!(log::lines_with(secret), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_policy_sees_userinfo_before_what_introspection_says() {
    let stage = stage().await;
    let policy = "allow = [{ rule = \"claims.email == 'alice@example.com' && claims.address == '1 Example Street'\", \
        message = \"Only alice.\" }]\nfriendly_name = \"claims.name + ' ' + claims.scope + ' ' + claims.iss\"";
    let service = stage.service_with(KEYS, policy).await;
    let answer = but(&active("alice"), json!({ "email": "old@example.com", "name": "Old" }));

    let opaque = stage.provider.opaque_token(answer.clone());
    identity(&bring(&service, &opaque).await);
    assert_eq!(stage.provider.requests("userinfo"), 1);

    // Where userinfo does not answer, there is less to see; that is a denial by the rule that misses it.
    stage.provider.twist([Twist::Answer("userinfo", Reply::new(403, "application/json", "{}"))]);
    let denied = bring(&service, &stage.provider.opaque_token(answer.clone())).await;
    assert_eq!((denied.status, denied.code()), (StatusCode::FORBIDDEN, "access_denied".into()));
    let record = on_record(&store(&stage.redis).await, &reference(&denied)).await;
    assert_eq!(record["path"], "bearer");
    assert_eq!(record["claims"]["email"], "old@example.com");

    // And nothing is decided while nobody knows what it would say.
    stage.provider.twist([Twist::Answer("userinfo", Reply::new(500, "application/json", "{}"))]);
    let away = bring(&service, &stage.provider.opaque_token(answer.clone())).await;
    assert_eq!(away.code(), "provider_unavailable");
    // Whether an address was verified is not taken from an introspection that speaks of another one.
    let answer = but(&answer, json!({ "email_verified": true }));
    stage.provider.twist([Twist::Userinfo("email_verified", None)]);
    let verified = stage.service_with(KEYS, "allow = \"claims.email_verified\"").await;
    let denied = bring(&verified, &stage.provider.opaque_token(answer)).await;
    assert_eq!(denied.code(), "access_denied");
}

/// Answers that are wrong in one way, each with the check that finds it.
fn hostile(stage: &Stage) -> Vec<(&'static str, Value)> {
    let good = active("alice");
    let other = |members| but(&good, members);
    vec![
        ("active", json!({ "active": false })),
        ("active", json!({})),
        ("active", other(json!({ "active": "true" }))),
        ("active", other(json!({ "active": 1 }))),
        ("active", other(json!({ "active": [true] }))),
        ("iss", other(json!({ "iss": "https://evil.example.com" }))),
        ("iss", other(json!({ "iss": format!("{}/", stage.provider.issuer()) }))),
        ("iss", other(json!({ "iss": [stage.provider.issuer()] }))),
        ("aud", other(json!({ "aud": "vestibule" }))),
        ("aud", other(json!({ "aud": BACKEND }))),
        ("aud", other(json!({ "aud": [] }))),
        ("aud", other(json!({ "aud": [CHAT, 7] }))),
        ("aud", other(json!({ "aud": null }))),
        ("aud", other(json!({ "aud": null, "client_id": "vestibule" }))),
        ("aud", other(json!({ "aud": "x", "client_id": CHAT }))),
        ("exp", other(json!({ "exp": now() - 70 }))),
        ("exp", other(json!({ "exp": "never" }))),
        ("exp", other(json!({ "exp": 1e300 }))),
        ("iat", other(json!({ "iat": now() + 90 }))),
        ("nbf", other(json!({ "nbf": now() + 90 }))),
        ("nbf", other(json!({ "nbf": true }))),
        ("cnf", other(json!({ "cnf": { "jkt": "x" } }))),
        ("sub", other(json!({ "sub": null }))),
        ("sub", other(json!({ "sub": " " }))),
        ("sub", other(json!({ "sub": 7 }))),
        ("sub", other(json!({ "sub": "app" }))),
        ("token_type", other(json!({ "token_type": "DPoP" }))),
        ("token_type", other(json!({ "token_type": 7 }))),
        ("token_type", other(json!({ "token_use": "refresh_token" }))),
    ]
}

#[tokio::test]
async fn an_answer_that_is_not_exactly_what_it_should_be_is_worth_nothing() {
    let stage = stage().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    for (cause, answer) in hostile(&stage) {
        let opaque = stage.provider.opaque_token(answer.clone());
        let asked = stage.provider.requests("introspection");
        for _ in 0..2 {
            let before = failures(&service, "invalid_token", cause).await;
            let refused = bring(&service, &opaque).await;
            assert_eq!(
                (refused.status, refused.code()),
                (StatusCode::UNAUTHORIZED, "invalid_token".into()),
                "{answer}"
            );
            let after = failures(&service, "invalid_token", cause).await;
            assert_eq!(after, before + 1, "{cause} {answer}");
        }
        assert_eq!(stage.provider.requests("introspection"), asked + 2, "a no is not kept");
    }
    let opaque = stage.provider.opaque_token(active("alice"));
    stage.provider.twist([Twist::Userinfo("sub", Some(json!("mallory")))]);
    assert_eq!(bring(&service, &opaque).await.code(), "invalid_token");
    assert_eq!(failures(&service, "invalid_token", "userinfo_sub").await, 1);

    // A refresh token is introspected as well as an access token, and only userinfo tells the two apart.
    stage.provider.twist([Twist::Answer("userinfo", Reply::new(401, "application/json", "{}"))]);
    let refresh = stage.provider.opaque_token(but(&active("alice"), json!({ "token_type": null })));
    assert_eq!(bring(&service, &refresh).await.code(), "invalid_token");
    identity(&bring(&service, &opaque).await);
}

#[tokio::test]
async fn what_says_nothing_of_a_token_is_a_provider_that_is_away() {
    let stage = stage().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    let known = stage.provider.opaque_token(active("alice"));
    identity(&bring(&service, &known).await);
    for (status, body) in [
        (401, r#"{"error":"invalid_client"}"#),
        (403, "{}"),
        (404, "{}"),
        (500, "{}"),
        (302, ""),
        (200, "true"),
        (200, "[]"),
        (200, ""),
        (400, "{}"),
        (400, r#"{"error":"unauthorized_client"}"#),
    ] {
        let opaque = stage.provider.opaque_token(active("alice"));
        let reply = Reply::new(status, "application/json", body);
        stage.provider.twist([Twist::Answer("introspection", reply)]);
        let away = bring(&service, &opaque).await;
        assert_eq!(
            (away.status, away.code()),
            (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable".into()),
            "{status} {body}"
        );
        assert!(away.headers.contains_key("retry-after"));
        // What was said a moment ago still counts.
        identity(&bring(&service, &known).await);
        stage.provider.twist([]);
        identity(&bring(&service, &opaque).await);
    }
    // Of a token that it does not like it has said enough.
    let reply = Reply::new(400, "application/json", r#"{"error":"unsupported_token_type"}"#);
    stage.provider.twist([Twist::Answer("introspection", reply)]);
    assert_eq!(bring(&service, "a.b.c").await.code(), "invalid_token");
}

#[tokio::test]
async fn a_token_that_cannot_be_asked_about_is_shown_to_nobody() {
    let stage = stage().await;
    let signer = Signer::Es256;
    let of = |issuer: &str, audience: &str| {
        let claims = json!({ "iss": issuer, "sub": "alice", "aud": audience, "iat": now(), "exp": now() + 300 });
        signer.sign(&signer.header(), &claims)
    };
    let service = stage.service_with(KEYS, &format!("{EVERYBODY}\n{CLIENT}")).await;
    let issuer = stage.provider.issuer();
    let without_aud =
        signer.sign(&signer.header(), &json!({ "iss": issuer, "sub": "alice", "exp": now() + 9 }));
    for token in [
        of("https://id.example.com", CHAT),
        of(&issuer, "another"),
        without_aud,
        of(&issuer, CHAT) + "x",
        of("https://id.example.com", CHAT) + ".x",
        "x".repeat(9000),
        "x y".to_owned(),
    ] {
        assert_eq!(bring(&service, &token).await.code(), "invalid_token", "{token}");
    }
    let opaque = stage.provider.opaque_token(but(&active("alice"), json!({ "aud": BACKEND })));
    for called in ["jwt", "id_token"] {
        let (status, reply) = exchange(&service, &opaque, called).await;
        assert_eq!((status, &reply["code"]), (400, &json!("invalid_token")), "{called}");
    }
    assert_eq!(stage.provider.requests("introspection"), 0);
    assert_eq!(exchange(&service, &opaque, "access_token").await.0, 200);

    // Where there are two, nobody knows whose it is.
    let other = FakeProvider::start().await;
    other.offer_introspection();
    let both = |keys: &str| {
        let other = section("other", &other, keys, EVERYBODY);
        format!("{}{other}\n{CLIENT}", section("fake", &stage.provider, KEYS, EVERYBODY))
    };
    let two = serve(&stage.redis.url(), &both(KEYS)).await;
    let one = serve(&stage.redis.url(), &both("")).await;
    let asked = stage.provider.requests("introspection");
    let for_chat = stage.provider.opaque_token(active("alice"));
    assert_eq!(bring(&two, &for_chat).await.code(), "invalid_token");
    assert_eq!(failures(&two, "invalid_token", "several providers").await, 1);
    assert_eq!(exchange(&two, &opaque, "access_token").await.0, 400);
    assert_eq!(stage.provider.requests("introspection"), asked);
    assert_eq!(identity(&bring(&one, &for_chat).await), stage.default_identity("alice"));
    assert_eq!(exchange(&one, &opaque, "access_token").await.0, 400);
    assert_eq!(other.requests("introspection"), 0);

    // And where there is none that says anything, or none that counts for bearers.
    let silent = Stage::new().await;
    let service = silent.service_with(KEYS, EVERYBODY).await;
    assert_eq!(bring(&service, "opaque").await.code(), "invalid_token");
    assert_eq!(failures(&service, "invalid_token", "no introspection").await, 1);
    let closed = silent.service(EVERYBODY).await;
    assert_eq!(bring(&closed, "opaque").await.code(), "invalid_token");
    assert_eq!(failures(&closed, "invalid_token", "not ours").await, 1);
}

#[tokio::test]
async fn a_client_brings_opaque_tokens_for_its_own_audiences() {
    let stage = stage().await;
    let service = stage.service_with(KEYS, &format!("{EVERYBODY}\n{CLIENT}")).await;
    let for_backend = but(&active("alice"), json!({ "aud": BACKEND }));
    let of_backend = stage.provider.opaque_token(for_backend);
    let of_bearers = stage.provider.opaque_token(active("alice"));

    let (status, reply) = exchange(&service, &of_backend, "access_token").await;

    assert_eq!(status, 200, "{reply}");
    assert_eq!(reply["identity"], stage.default_identity("alice"));
    assert_eq!(exchange(&service, &of_bearers, "access_token").await.0, 400);
    // What was found good for one is not good for the other.
    assert_eq!(bring(&service, &of_backend).await.code(), "invalid_token");
    identity(&bring(&service, &of_bearers).await);
    assert_eq!(exchange(&service, &of_bearers, "access_token").await.0, 400);
}

#[tokio::test]
async fn a_revoked_token_counts_as_long_as_its_answer_and_no_longer() {
    let stage = stage().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    let replica = stage.service_with(KEYS, EVERYBODY).await;
    let answer = but(&active("alice"), json!({ "exp": now() + 3 }));
    let opaque = stage.provider.opaque_token(answer);
    identity(&bring(&service, &opaque).await);

    stage.provider.say_of(&opaque, json!({ "active": false }));

    identity(&bring(&service, &opaque).await);
    assert_eq!(stage.provider.requests("introspection"), 1);
    assert_eq!(bring(&replica, &opaque).await.code(), "invalid_token");
    // Its end is the answer's end, although tokens are taken for a minute longer.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(bring(&service, &opaque).await.code(), "invalid_token");
    assert_eq!(stage.provider.requests("introspection"), 3);
}

#[tokio::test]
async fn a_flood_of_invented_tokens_is_none_at_the_provider() {
    let stage = stage().await;
    let limits = format!("{EVERYBODY}\n{CLIENT}\n[limits]\nlogins = \"20/h\"");
    let service = stage.service_with(KEYS, &limits).await;
    let good = stage.provider.opaque_token(active("alice"));
    identity(&bring(&service, &good).await);

    let mut codes = Vec::new();
    for n in 0..30 {
        codes.push(bring(&service, &format!("invented-{n}")).await.code());
    }
    assert_eq!(codes.iter().filter(|code| *code == "invalid_token").count(), 19);
    assert_eq!(codes[19..], ["rate_limited"; 11].map(str::to_owned));
    assert_eq!(stage.provider.requests("introspection"), 20);
    // One that is known goes through all the same, as do those of clients.
    identity(&bring(&service, &good).await);
    let for_backend = but(&active("alice"), json!({ "aud": BACKEND }));
    let of_backend = stage.provider.opaque_token(for_backend);
    assert_eq!(exchange(&service, &of_backend, "access_token").await.0, 200);
}

#[tokio::test]
async fn a_provider_is_asked_sixteen_things_at_once_and_no_more() {
    let stage = stage().await;
    let service =
        stage.service_with(KEYS, &format!("{EVERYBODY}\n[limits]\nlogins = \"off\"")).await;
    stage.provider.delay_introspection(Duration::from_secs(3));
    let tokens: Vec<_> = (0..40).map(|_| stage.provider.opaque_token(active("alice"))).collect();

    let answers = join_all(tokens.iter().map(|token| bring(&service, token))).await;

    let (good, refused): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == StatusCode::OK);
    assert_eq!((good.len(), refused.len()), (16, 24));
    let codes: BTreeSet<_> = refused.iter().map(|answer| answer.code()).collect();
    assert_eq!(codes, BTreeSet::from(["provider_unavailable".to_owned()]));
    assert!(refused.iter().all(|answer| answer.headers.contains_key("retry-after")));
    // And fewer things more often.
    stage.provider.delay_introspection(Duration::from_millis(20));
    let answers = join_all(tokens.iter().map(|token| bring(&service, token))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    assert_eq!(stage.provider.most_introspections_at_once(), 16);
    assert_eq!(stage.provider.requests("introspection"), 40);
}

#[tokio::test]
async fn without_the_store_nobody_is_asked() {
    let stage = stage().await;
    let service = stage.service_with(KEYS, EVERYBODY).await;
    let opaque = stage.provider.opaque_token(active("alice"));
    identity(&bring(&service, &opaque).await);
    let Stage { redis, provider } = stage;
    drop(redis);

    for token in [opaque, provider.opaque_token(active("bob"))] {
        assert_eq!(bring(&service, &token).await.code(), "store_unavailable");
    }
    assert_eq!(provider.requests("introspection"), 1);
}

#[tokio::test]
async fn we_authenticate_as_at_the_token_endpoint_and_tenants_stay_apart() {
    let stage = stage().await;
    let signer = Signer::Es256;
    stage.provider.register(Registered::PrivateKeyJwt(signer.clone()));
    let by_key = section("fake", &stage.provider, KEYS, EVERYBODY).replace(
        "client_secret = \"canary-client-secret-0001\"",
        &format!(
            "client_auth = \"private_key_jwt\"\nprivate_key_id = \"key-1\"\nprivate_key = '''{}'''",
            signer.pem()
        ),
    );
    let service = serve(&stage.redis.url(), &by_key).await;
    let opaque = stage.provider.opaque_token(active("alice"));
    assert_eq!(identity(&bring(&service, &opaque).await), stage.default_identity("alice"));

    let (redis, provider) = (RedisServer::start(), FakeProvider::start_with_tenants().await);
    provider.offer_introspection();
    let keys = format!("{KEYS}\ntenants = [\"{}\", \"{}\"]", TENANTS[0], TENANTS[1]);
    let service = serve(&redis.url(), &section("fake", &provider, &keys, EVERYBODY)).await;
    let of = |tenant: Value| provider.opaque_token(but(&active("alice"), json!({ "tid": tenant })));
    for tenant in &TENANTS[..2] {
        let expected = default_identity(&provider.issuer_of(tenant), "alice");
        assert_eq!(identity(&bring(&service, &of(json!(tenant))).await), expected);
    }
    for tenant in [json!(TENANTS[2]), json!(null), json!(7)] {
        assert_eq!(bring(&service, &of(tenant)).await.code(), "invalid_token");
    }
}
