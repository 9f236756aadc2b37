//! A client that signs what it says of itself (`private_key_jwt`): by its own key, for us, for a short time, and once.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::support::fake_provider::{Signer, public_bytes};
use crate::support::log;
use crate::support::policies::{PUBLIC_URL, Stage};
use crate::support::service::TestService;

const AUDIENCE: &str = "https://backend.example.com";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Two clients that sign, and one with a secret.
fn clients() -> String {
    let keys =
        |signers: &[Signer]| json!({ "keys": signers.iter().map(Signer::jwk).collect::<Vec<_>>() });
    format!(
        r#"
[[client]]
id = "backend"
jwks = '{}'
audiences = ["{AUDIENCE}"]

[[client]]
id = "other"
jwks = '{}'
audiences = ["{AUDIENCE}"]

[[client]]
id = "plain"
secret = "canary-plain-secret-0001"
audiences = ["{AUDIENCE}"]
"#,
        keys(&[Signer::Es256, Signer::Rs256, Signer::EdDsa]),
        keys(&[Signer::NextEs256]),
    )
}

async fn service(stage: &Stage) -> TestService {
    stage.service_with("", &format!("allow = \"true\"\n{}", clients())).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a client says of itself, under a name that it has not used before.
fn claims() -> Value {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let jti = format!("canary-jti-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    json!({
        "iss": "backend", "sub": "backend", "aud": PUBLIC_URL, "jti": jti, "iat": now(), "exp": now() + 60,
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
    Signer::Es256.sign(&Signer::Es256.header(), claims)
}

/// An exchange with these further parameters.
fn ask(service: &TestService, token: &str, further: &[(&str, &str)]) -> RequestBuilder {
    let form = [
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let body = body.extend_pairs(form).extend_pairs(further).finish();
    let client = Client::builder().no_proxy().build().unwrap();
    client
        .post(format!("{}/oauth2/token", service.url))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body)
}

/// The status, and the error or the identity.
async fn said(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
    let body: Value = response.json().await.unwrap();
    let word = body["error"].as_str().or(body["identity"].as_str());
    (status, word.unwrap_or_else(|| panic!("{body}")).to_owned())
}

async fn by(service: &TestService, token: &str, assertion: &str) -> (u16, String) {
    let further = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    said(ask(service, token, &further)).await
}

async fn failures(service: &TestService, cause: &str) -> u64 {
    let metrics = Client::builder().no_proxy().build().unwrap();
    let metrics = metrics.get(format!("{}/metrics", service.ops_url)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let series = format!("vestibule_failures_total{{code=\"invalid_client\",cause=\"{cause}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |n| n.parse().unwrap())
}

#[tokio::test]
async fn a_client_that_signs_gets_what_one_with_a_secret_gets() {
    let stage = Stage::new().await;
    let service = service(&stage).await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    let good = (200, stage.default_identity("alice"));
    let endpoint = format!("{PUBLIC_URL}/oauth2/token");

    for signer in [Signer::Es256, Signer::Rs256, Signer::Ps256, Signer::Rs512, Signer::EdDsa] {
        // `Ps256` signs with the key of `Rs256`, under a name of its own.
        let header = but(&signer.header(), json!({ "kid": null }));
        let assertion = signer.sign(&header, &claims());
        assert_eq!(by(&service, &token, &assertion).await, good, "{}", signer.alg());
    }
    for change in [
        json!({ "aud": endpoint }),
        json!({ "aud": [endpoint, "https://x"] }),
        json!({ "iat": null }),
        json!({ "nbf": now() - 1, "exp": now() + 590 }),
        json!({ "exp": now() - 50 }),
        json!({ "iat": now() + 50 }),
        json!({ "more": "x" }),
    ] {
        let assertion = signed(&but(&claims(), change.clone()));
        assert_eq!(by(&service, &token, &assertion).await, good, "{change}");
        assert_eq!(log::lines_with(&assertion), Vec::<String>::new());
    }
    for typ in [json!(null), json!("jwt"), json!("client-authentication+jwt")] {
        let header = but(&Signer::Es256.header(), json!({ "typ": typ }));
        let assertion = Signer::Es256.sign(&header, &claims());
        assert_eq!(by(&service, &token, &assertion).await, good, "{typ}");
    }
    let named = signed(&claims());
    let further = [
        ("client_id", "backend"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", &named),
    ];
    assert_eq!(said(ask(&service, &token, &further)).await, good);
}

/// Assertions that are wrong in one way, each with the check that finds it.
fn hostile() -> Vec<(&'static str, String)> {
    let header = Signer::Es256.header();
    let other = |members| signed(&but(&claims(), members));
    let under = |members| Signer::Es256.sign(&but(&header, members), &claims());
    let mut hostile = vec![
        ("credentials", "opaque".to_owned()),
        ("credentials", other(json!({ "iss": null }))),
        ("credentials", other(json!({ "iss": "nobody", "sub": "nobody" }))),
        ("credentials", other(json!({ "iss": "plain", "sub": "plain" }))),
        ("format", signed(&claims()) + ".x"),
        ("typ", under(json!({ "typ": "at+jwt" }))),
        ("typ", under(json!({ "typ": "logout+jwt" }))),
        ("crit", under(json!({ "crit": ["b64"] }))),
        ("signature", Signer::Stranger(Box::new(Signer::Es256)).sign(&header, &claims())),
        ("key", Signer::NextEs256.sign(&Signer::NextEs256.header(), &claims())),
        ("key", other(json!({ "iss": "other", "sub": "other" }))),
        ("sub", other(json!({ "sub": "other" }))),
        ("sub", other(json!({ "sub": null }))),
        ("sub", other(json!({ "sub": ["backend"] }))),
        ("aud", other(json!({ "aud": null }))),
        ("aud", other(json!({ "aud": [] }))),
        ("aud", other(json!({ "aud": "https://evil.example.com/oauth2/token" }))),
        ("aud", other(json!({ "aud": format!("{PUBLIC_URL}/token") }))),
        ("aud", other(json!({ "aud": format!("{PUBLIC_URL}.evil.example.com") }))),
        ("aud", other(json!({ "aud": [PUBLIC_URL, 7] }))),
        ("jti", other(json!({ "jti": null }))),
        ("jti", other(json!({ "jti": "" }))),
        ("jti", other(json!({ "jti": 7 }))),
        ("exp", other(json!({ "exp": null }))),
        ("exp", other(json!({ "exp": "never" }))),
        ("exp", other(json!({ "exp": now() - 70 }))),
        ("exp", other(json!({ "exp": now() + 700 }))),
        ("iat", other(json!({ "iat": now() + 90 }))),
        ("nbf", other(json!({ "nbf": now() + 90 }))),
    ];
    for alg in ["none", "None", "nOnE", "", "ES256 "] {
        hostile.push((
            "algorithm",
            Signer::Nothing(alg).sign(&Signer::Nothing(alg).header(), &claims()),
        ));
    }
    for secret in public_bytes(&Signer::Es256) {
        let signer = Signer::Hmac(secret);
        hostile.push(("algorithm", signer.sign(&signer.header(), &claims())));
    }
    hostile
}

#[tokio::test]
async fn an_assertion_that_is_not_exactly_what_it_should_be_proves_nobody() {
    let stage = Stage::new().await;
    let service = service(&stage).await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    for (cause, assertion) in hostile() {
        let before = failures(&service, cause).await;
        let refused = by(&service, &token, &assertion).await;
        assert_eq!(refused, (401, "invalid_client".to_owned()), "{cause} {assertion}");
        assert_eq!(failures(&service, cause).await, before + 1, "{cause} {assertion}");
        assert_eq!(log::lines_with(&assertion), Vec::<String>::new());
    }
    assert_eq!(by(&service, &token, &signed(&claims())).await.0, 200);
}

#[tokio::test]
async fn an_assertion_counts_once_on_all_replicas() {
    let stage = Stage::new().await;
    let replicas = [service(&stage).await, service(&stage).await];
    let token = stage.provider.access_token("alice", AUDIENCE);
    let assertion = signed(&claims());

    let all = (0..20).map(|n| by(&replicas[n % 2], &token, &assertion));
    let answers = futures_util::future::join_all(all).await;

    let good = answers.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(good, 1, "{answers:?}");
    let spent = answers.iter().filter(|(_, word)| word == "invalid_client").count();
    assert_eq!(spent, 19, "{answers:?}");
    // Signed again it is the same one.
    let same = but(&claims(), json!({ "jti": "canary-jti-again" }));
    assert_eq!(by(&replicas[0], &token, &signed(&same)).await.0, 200);
    assert_eq!(by(&replicas[1], &token, &signed(&same)).await.0, 401);
    // Two clients may use the same name.
    let others = but(&same, json!({ "iss": "other", "sub": "other" }));
    let others = Signer::NextEs256.sign(&Signer::NextEs256.header(), &others);
    assert_eq!(by(&replicas[0], &token, &others).await.0, 200);
    // One that proves nobody spends nothing.
    let good = but(&claims(), json!({ "jti": "canary-jti-forged" }));
    let forged = Signer::Stranger(Box::new(Signer::Es256)).sign(&Signer::Es256.header(), &good);
    assert_eq!(by(&replicas[0], &token, &forged).await.0, 401);
    assert_eq!(by(&replicas[0], &token, &signed(&good)).await.0, 200);
}

#[tokio::test]
async fn a_client_authenticates_in_its_own_way_and_in_one() {
    let stage = Stage::new().await;
    let service = service(&stage).await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    let basic = "Basic cGxhaW46Y2FuYXJ5LXBsYWluLXNlY3JldC0wMDAx";
    let kind = ("client_assertion_type", JWT_BEARER);
    let assertion = signed(&claims());
    let assertion = ("client_assertion", assertion.as_str());
    let secret = [("client_id", "backend"), ("client_secret", "canary-plain-secret-0001")];

    for (further, header, expected) in [
        (vec![kind, assertion, secret[0], secret[1]], "", (400, "invalid_request")),
        (vec![kind, assertion], basic, (400, "invalid_request")),
        (vec![assertion], basic, (400, "invalid_request")),
        (vec![kind, assertion, assertion], "", (400, "invalid_request")),
        (vec![kind], "", (401, "invalid_client")),
        (vec![assertion], "", (401, "invalid_client")),
        (
            vec![
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
                ),
                assertion,
            ],
            "",
            (401, "invalid_client"),
        ),
        (vec![kind, assertion, ("client_id", "other")], "", (401, "invalid_client")),
        (vec![kind, assertion, ("client_id", "plain")], "", (401, "invalid_client")),
        (secret.to_vec(), "", (401, "invalid_client")),
    ] {
        let mut request = ask(&service, &token, &further);
        if !header.is_empty() {
            request = request.header(AUTHORIZATION, header);
        }
        let (status, word) = said(request).await;
        assert_eq!((status, word.as_str()), expected, "{further:?} {header}");
    }
    // None of that has spent it.
    assert_eq!(said(ask(&service, &token, &[kind, assertion])).await.0, 200);
    assert_eq!(said(ask(&service, &token, &[]).header(AUTHORIZATION, basic)).await.0, 200);
}

#[tokio::test]
async fn while_the_store_is_away_nobody_knows_whether_an_assertion_is_spent() {
    let stage = Stage::new().await;
    let service = service(&stage).await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    assert_eq!(by(&service, &token, &signed(&claims())).await.0, 200);
    let Stage { redis, provider: _provider } = stage;
    drop(redis);

    let away = by(&service, &token, &signed(&claims())).await;

    assert_eq!(away, (503, "temporarily_unavailable".to_owned()));
    assert_eq!(by(&service, &token, &signed(&but(&claims(), json!({ "sub": "x" })))).await.0, 401);
}
