//! A provider says that somebody has signed out there, and whatever else is under way, that is so: on two processes.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::process::Service;
use crate::revalidation::SEAL;
use crate::support::fake_provider::{FakeProvider, LOGOUT_EVENT, Reply, Signer, Twist};
use crate::support::policies::{PUBLIC_URL, visitor, walk_at};
use crate::support::redis::RedisServer;
use crate::support::service::TWILIO;
use crate::support::setup::provider_section;
use crate::support::visitor::{Answer, Visitor};

/// Two processes on one Redis, and a provider whose ID tokens name its sessions.
struct Stage {
    redis: RedisServer,
    provider: FakeProvider,
    _services: [Service; 2],
    urls: [String; 2],
}

impl Stage {
    async fn new(keys: &str) -> Self {
        let stage = Self::nameless(keys).await;
        stage.provider.name_sessions();
        stage
    }

    async fn nameless(keys: &str) -> Self {
        let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
        let configuration = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n{SEAL}{TWILIO}{}",
            redis.url(),
            provider_section(&provider, keys)
        );
        let services = [(); 2].map(|()| Service::serving(&configuration));
        let urls = [0, 1].map(|at: usize| format!("http://{}", services[at].public));
        Self { redis, provider, _services: services, urls }
    }

    async fn callback(&self, who: &str) -> (Visitor, String) {
        let mut device = visitor();
        let callback = walk_at(&mut device, &self.urls[0], "fake", who).await;
        (device, callback)
    }

    /// A device of somebody's, and the provider's name for the session there.
    async fn device(&self, who: &str) -> (Visitor, String) {
        let (mut device, callback) = self.callback(who).await;
        let answer = device.get(&callback).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        (device, self.provider.last_sid())
    }

    /// Whether both processes give the device a token, or neither.
    async fn is_in(&self, device: &Visitor) -> bool {
        let mut answers = Vec::new();
        for url in &self.urls {
            let answer = device.clone().post(&format!("{url}/token")).await;
            if answer.status != StatusCode::OK {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (StatusCode::UNAUTHORIZED, "session_expired")
                );
            }
            answers.push(answer.status == StatusCode::OK);
        }
        assert_eq!(answers[0], answers[1]);
        answers[0]
    }

    /// Sends a logout token to a process.
    async fn send(&self, at: usize, token: &str) -> Answer {
        self.post(at, &[("logout_token", token)]).await
    }

    async fn post(&self, at: usize, form: &[(&str, &str)]) -> Answer {
        let url = format!("{}/logout/backchannel/fake", self.urls[at]);
        let form: Vec<_> = form.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        visitor().submit(&url, &form).await
    }

    fn token(&self, sub: Option<&str>, sid: Option<&str>, twists: &[Twist]) -> String {
        self.provider.logout_token(sub, sid, twists)
    }
}

fn is(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{answer:?}");
}

fn claim(name: &'static str, value: Value) -> Twist {
    Twist::Claim(name, Some(value))
}

#[tokio::test]
async fn who_is_named_is_out_on_both_and_nobody_else() {
    let stage = Stage::new("").await;
    let (bob, _) = stage.device("bob").await;

    // By its session alone, whatever else is written of nobody.
    let (laptop, sid) = stage.device("alice").await;
    let (phone, _) = stage.device("alice").await;
    is(&stage.send(0, &stage.token(None, Some(&sid), &[claim("sub", Value::Null)])).await, 200);
    assert_eq!([stage.is_in(&laptop).await, stage.is_in(&phone).await], [false, true]);

    // By both.
    let (laptop, sid) = stage.device("alice").await;
    is(&stage.send(1, &stage.token(Some("alice"), Some(&sid), &[])).await, 200);
    assert_eq!([stage.is_in(&laptop).await, stage.is_in(&phone).await], [false, true]);

    // A session that nobody has here: those that go by other names stay.
    is(&stage.send(0, &stage.token(Some("alice"), Some("unknown"), &[])).await, 200);
    assert!(stage.is_in(&phone).await);

    // The person: all of them.
    let (laptop, _) = stage.device("alice").await;
    is(&stage.send(1, &stage.token(Some("alice"), None, &[])).await, 200);
    assert_eq!([stage.is_in(&laptop).await, stage.is_in(&phone).await], [false, false]);

    assert!(stage.is_in(&bob).await, "and nobody else");
    let (again, _) = stage.device("alice").await;
    assert!(stage.is_in(&again).await, "who signs in anew comes in");
}

#[tokio::test]
async fn a_session_whose_login_named_none_goes_with_any_of_its_person() {
    let stage = Stage::nameless("").await;
    let (mut alice, callback) = stage.callback("alice").await;
    alice.get(&callback).await.location();
    let (mut bob, callback) = stage.callback("bob").await;
    bob.get(&callback).await.location();

    is(&stage.send(0, &stage.token(Some("alice"), Some("some"), &[])).await, 200);

    assert_eq!([stage.is_in(&alice).await, stage.is_in(&bob).await], [false, true]);
}

#[tokio::test]
async fn people_who_are_known_by_another_claim_are_found_by_their_sub() {
    for (sub, sid) in [(true, false), (true, true), (false, true)] {
        for named in [false, true] {
            let stage = Stage::nameless("subject_claim = \"oid\"").await;
            if named {
                stage.provider.name_sessions();
            }
            stage.provider.describe("alice", json!({ "oid": "7" }));
            let (mut alice, callback) = stage.callback("alice").await;
            alice.get(&callback).await.location();
            let last = stage.provider.last_sid();
            assert!(stage.is_in(&alice).await);

            let token = stage.token(sub.then_some("alice"), sid.then_some(last.as_str()), &[]);
            is(&stage.send(0, &token).await, 200);

            // By `sid` alone nobody is found whose login named none.
            assert_eq!(stage.is_in(&alice).await, !sub && !named, "{sub} {sid} {named}");
        }
    }
}

#[tokio::test]
async fn every_good_shape_counts_and_every_bad_one_changes_nothing() {
    let stage = Stage::new("").await;
    let now = chrono::Utc::now().timestamp();
    let header = |typ: Option<&str>| Twist::Header("typ", typ.map(Into::into));
    let good: [Vec<Twist>; 11] = [
        vec![header(Some("logout+jwt"))],
        vec![header(Some("JWT"))],
        vec![header(None)],
        vec![claim("exp", (now + 30).into())],
        vec![claim("exp", (now + 24 * 3600).into())],
        vec![Twist::Claim("exp", None)],
        vec![claim("aud", json!(["vestibule"]))],
        vec![claim("aud", json!(["others", "vestibule"]))],
        vec![claim("trace", json!({ "x": [1] }))],
        vec![claim("iat", (now - 50).into())],
        vec![claim("events", json!({ LOGOUT_EVENT: { "x": 1 } }))],
    ];
    for twists in good {
        let (device, sid) = stage.device("alice").await;
        is(&stage.send(0, &stage.token(Some("alice"), Some(&sid), &twists)).await, 200);
        assert!(!stage.is_in(&device).await, "{twists:?}");
    }

    let (device, sid) = stage.device("alice").await;
    let bad: Vec<Vec<Twist>> = vec![
        vec![Twist::Signer(Signer::Nothing("none"))],
        vec![Twist::Signer(Signer::Hmac(b"canary-client-secret-0001".to_vec()))],
        vec![Twist::Signer(Signer::Rs512)],
        vec![Twist::Signer(Signer::Stranger(Box::new(Signer::Es256)))],
        vec![Twist::ChangedAfterwards("sub", "bob".into())],
        vec![header(Some("at+jwt"))],
        vec![claim("aud", "others".into())],
        vec![Twist::Claim("aud", None)],
        vec![claim("iss", "https://other.example.com".into())],
        vec![Twist::Claim("iss", None)],
        vec![Twist::Claim("events", None)],
        vec![claim("events", json!({}))],
        vec![claim("events", json!({ "http://schemas.openid.net/event/other": {} }))],
        vec![claim("events", json!([LOGOUT_EVENT]))],
        vec![claim("nonce", "n".into())],
        vec![Twist::Claim("iat", None)],
        vec![Twist::Claim("jti", None)],
        vec![claim("jti", "".into())],
        vec![Twist::Claim("sub", None), Twist::Claim("sid", None)],
        vec![claim("sub", Value::Null), claim("sid", Value::Null)],
        vec![claim("sid", 7.into())],
        vec![claim("exp", (now - 120).into())],
        vec![claim("exp", "never".into())],
        vec![claim("iat", (now + 120).into())],
        vec![Twist::Claim("exp", None), claim("iat", (now - 3600).into())],
    ];
    for twists in bad {
        let answer = stage.send(0, &stage.token(Some("alice"), Some(&sid), &twists)).await;
        is(&answer, 400);
        assert_eq!(answer.json()["error"], "invalid_request", "{twists:?}: {answer:?}");
    }
    assert!(stage.is_in(&device).await);
}

#[tokio::test]
async fn garbage_asks_nothing_of_the_provider_and_is_refused() {
    let stage = Stage::new("").await;
    let (device, sid) = stage.device("alice").await;
    let asked = stage.provider.requests("keys") + stage.provider.requests("discovery");
    let good = stage.token(None, Some(&sid), &[]);

    for garbage in ["", "x", "a.b.c", "eyJhbGciOiJFUzI1NiJ9.e30.AA", &"x".repeat(70_000)] {
        is(&stage.send(0, garbage).await, 400);
    }
    is(&stage.post(0, &[]).await, 400);
    is(&stage.post(0, &[("logout_token", &good), ("logout_token", &good)]).await, 400);
    let url = format!("{}/logout/backchannel/fake", stage.urls[0]);
    let json = visitor().client.post(&url).header(CONTENT_TYPE, "application/json");
    assert_eq!(json.body("{}").send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let get = visitor().get(&format!("{url}?logout_token={good}")).await;
    assert_eq!(get.status, StatusCode::METHOD_NOT_ALLOWED);
    let nobody = format!("{}/logout/backchannel/nobody", stage.urls[0]);
    let form = [("logout_token".to_owned(), good.clone())];
    assert_eq!(visitor().submit(&nobody, &form).await.status, StatusCode::NOT_FOUND);

    assert_eq!(stage.provider.requests("keys") + stage.provider.requests("discovery"), asked);
    assert!(stage.is_in(&device).await);
}

#[tokio::test]
async fn a_token_counts_once_on_both() {
    let stage = Stage::new("").await;
    let token = stage.token(Some("alice"), None, &[]);
    is(&stage.send(0, &token).await, 200);
    let (device, _) = stage.device("alice").await;

    for at in [0, 1] {
        is(&stage.send(at, &token).await, 400);
    }

    assert!(stage.is_in(&device).await);
}

#[tokio::test]
async fn while_the_store_is_away_the_provider_is_told_to_come_again_and_then_it_counts() {
    let stage = Stage::new("").await;
    let (device, sid) = stage.device("alice").await;
    let token = stage.token(None, Some(&sid), &[]);
    stage.redis.pause();

    let away = stage.send(0, &token).await;
    stage.redis.resume();

    is(&away, 503);
    assert!(away.headers.contains_key("retry-after"), "{away:?}");
    is(&stage.send(0, &token).await, 200);
    assert!(!stage.is_in(&device).await);
}

#[tokio::test]
async fn a_logout_wins_over_the_login_that_is_on_its_way() {
    for by_sid in [true, false] {
        let stage = Stage::new("").await;
        let (mut device, callback) = stage.callback("alice").await;
        stage.provider.delay_token_endpoint(Duration::from_secs(1));
        let sid = stage.provider.last_sid();
        let token = if by_sid {
            stage.token(None, Some(&sid), &[])
        } else {
            stage.token(Some("alice"), None, &[])
        };

        let (answer, told) = tokio::join!(device.get(&callback), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stage.send(1, &token).await
        });

        is(&told, 200);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::UNAUTHORIZED, "session_expired")
        );
        assert!(!device.cookies.contains_key("vestibule"), "{answer:?}");
        stage.provider.delay_token_endpoint(Duration::ZERO);
        let (anew, _) = stage.device("alice").await;
        assert!(stage.is_in(&anew).await, "who signs in anew comes in");
    }
}

#[tokio::test]
async fn a_logout_wins_over_the_revalidation_that_is_under_way() {
    for by_sid in [true, false] {
        let stage = Stage::new("revalidate_after = \"1s\"").await;
        let (device, sid) = stage.device("alice").await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        stage.provider.delay_token_endpoint(Duration::from_secs(1));
        let token = if by_sid {
            stage.token(None, Some(&sid), &[])
        } else {
            stage.token(Some("alice"), None, &[])
        };

        let url = format!("{}/token", stage.urls[0]);
        let mut asking = device.clone();
        let (answer, told) = tokio::join!(asking.post(&url), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stage.send(1, &token).await
        });

        is(&told, 200);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::UNAUTHORIZED, "session_expired")
        );
        assert!(!stage.is_in(&device).await);
    }
}

/// The provider's keys cannot be had: it is not the token's fault.
#[tokio::test]
async fn without_the_providers_keys_nobody_knows() {
    let stage = Stage::new("timeout = \"1s\"").await;
    let (device, sid) = stage.device("alice").await;
    stage.provider.rotate_to(Signer::NextEs256);
    stage.provider.twist([Twist::Answer("keys", Reply::new(500, "text/plain", ""))]);

    let away = stage.send(0, &stage.token(None, Some(&sid), &[])).await;

    assert!(matches!(away.status.as_u16(), 400 | 503), "{away:?}");
    assert!(stage.is_in(&device).await);
}
