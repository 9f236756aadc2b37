//! When claims are too old for a token the provider is asked again, once for all, and what it says counts at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::fake_provider::{FakeProvider, Reply, Signer, Twist};
use crate::support::policies::{PUBLIC_URL, identity, section, serve, sign_in, token, visitor};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::visitor::{Answer, Visitor};

/// A key for what is secret at rest.
pub const SEAL: &str =
    "[[seal.keys]]\nid = \"test\"\nkey = \"c2VhbGVkIHdpdGggdGhpcnR5LXR3byBieXRlcyEhISE=\"\n";

/// Lets in whoever is in the group.
const STAFF: &str = "allow = \"'staff' in claims.groups\"";

/// Two replicas, and a provider that says alice is staff.
pub struct Stage {
    pub redis: RedisServer,
    pub provider: FakeProvider,
    pub replicas: [TestService; 2],
}

impl Stage {
    /// With these keys of the provider.
    pub async fn new(keys: &str) -> Self {
        Self::with(SEAL, keys).await
    }

    pub async fn with(sections: &str, keys: &str) -> Self {
        let (redis, provider) = (RedisServer::start(), FakeProvider::start().await);
        provider.describe("alice", json!({ "groups": ["staff"] }));
        let sections = format!("{sections}{}", section("fake", &provider, keys, STAFF));
        let replicas = [serve(&redis.url(), &sections).await, serve(&redis.url(), &sections).await];
        Self { redis, provider, replicas }
    }

    /// A device of alice's.
    pub async fn device(&self) -> Visitor {
        let mut device = visitor();
        let answer = sign_in(&mut device, &self.replicas[0], "fake", "alice").await;
        assert_eq!(answer.location(), format!("{PUBLIC_URL}/"), "{answer:?}");
        device
    }

    /// Asks for a token at the first replica.
    pub async fn token(&self, device: &mut Visitor) -> Answer {
        token(device, &self.replicas[0]).await
    }

    /// Asks for `count` tokens at once, of both replicas in turn.
    async fn tokens(&self, device: &Visitor, count: usize) -> Vec<Answer> {
        join_all((0..count).map(|at| {
            let (mut device, replica) = (device.clone(), &self.replicas[at % 2]);
            async move { token(&mut device, replica).await }
        }))
        .await
    }

    /// How often the provider was asked for a refresh, and to take a refresh token for the second time.
    fn refreshes(&self) -> (usize, usize) {
        (self.provider.requests("refresh"), self.provider.requests("replay"))
    }
}

/// Past a `revalidate_after` of a second.
pub async fn later() {
    sleep(Duration::from_millis(1100)).await;
}

pub fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code())
}

const EXPIRED: (u16, &str) = (401, "session_expired");

fn is(answer: &Answer, expected: (u16, &str)) {
    assert_eq!(refused(answer), (expected.0, expected.1.to_owned()), "{answer:?}");
}

#[tokio::test]
async fn nobody_is_asked_before_it_is_due_and_one_question_serves_all_claims() {
    let stage = Stage::new("").await;
    let mut device = stage.device().await;
    let asked = stage.provider.requests("token");

    for _ in 0..3 {
        assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);
    }

    assert_eq!(stage.provider.requests("token"), asked);
    assert_eq!(stage.refreshes(), (0, 0));
}

#[tokio::test]
async fn a_lost_group_denies_the_next_token_and_its_return_lets_the_same_identity_in() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    let mut device = stage.device().await;
    let first = identity(&stage.token(&mut device).await);
    let mut other_device = stage.device().await;

    stage.provider.describe("alice", json!({ "groups": ["former"] }));
    later().await;

    is(&stage.token(&mut device).await, (403, "access_denied"));
    is(&stage.token(&mut other_device).await, (403, "access_denied"));

    stage.provider.describe("alice", json!({ "groups": ["staff"] }));
    later().await;

    assert_eq!(identity(&stage.token(&mut device).await), first);
}

#[tokio::test]
async fn new_claims_replace_the_old_ones_whole() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    let mut device = stage.device().await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);

    // No groups at all any more: those of before must not stand in for them.
    stage.provider.describe("alice", json!({}));
    later().await;

    is(&stage.token(&mut device).await, (403, "access_denied"));
}

#[tokio::test]
async fn whoever_is_disabled_is_out_and_stays_out() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    let mut device = stage.device().await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);

    stage.provider.disable("alice");
    later().await;

    is(&stage.token(&mut device.clone()).await, EXPIRED);
    stage.provider.enable("alice");
    is(&stage.token(&mut device).await, EXPIRED);
}

#[tokio::test]
async fn fifty_callers_on_two_replicas_redeem_a_token_for_one_use_once_however_slow_the_provider() {
    for seconds in [1, 3, 10] {
        let stage = Stage::new("revalidate_after = \"1s\"\ngrace = \"0s\"").await;
        let device = stage.device().await;
        later().await;
        stage.provider.delay_token_endpoint(Duration::from_secs(seconds));

        let answers = stage.tokens(&device, 50).await;

        for answer in &answers {
            assert_eq!(answer.status, StatusCode::OK, "{seconds} s: {answer:?}");
        }
        assert_eq!(stage.refreshes(), (1, 0), "{seconds} s");
        stage.provider.delay_token_endpoint(Duration::ZERO);
        later().await;
        assert_eq!(stage.tokens(&device, 2).await[1].status, StatusCode::OK, "{seconds} s");
        assert_eq!(stage.refreshes(), (2, 0), "{seconds} s");
    }
}

#[tokio::test]
async fn a_caller_who_hangs_up_takes_nothing_along() {
    let stage = Stage::new("revalidate_after = \"1s\"\ngrace = \"0s\"").await;
    let device = stage.device().await;
    later().await;
    stage.provider.delay_token_endpoint(Duration::from_secs(1));

    let hurried = tokio::time::timeout(Duration::from_millis(300), stage.tokens(&device, 1)).await;
    assert!(hurried.is_err(), "{hurried:?}");
    stage.provider.delay_token_endpoint(Duration::ZERO);

    let patient = stage.tokens(&device, 4).await;
    for answer in &patient {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    assert_eq!(stage.refreshes(), (1, 0));
}

#[tokio::test]
async fn each_device_is_asked_about_by_itself() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    let (mut laptop, mut phone) = (stage.device().await, stage.device().await);
    later().await;

    for device in [&mut laptop, &mut phone] {
        assert_eq!(stage.token(device).await.status, StatusCode::OK);
    }

    assert_eq!(stage.refreshes(), (2, 0));
}

#[tokio::test]
async fn a_provider_that_is_away_is_tolerated_for_its_grace_and_not_longer() {
    let stage = Stage::new("revalidate_after = \"1s\"\ngrace = \"3s\"").await;
    let mut device = stage.device().await;
    later().await;
    stage.provider.twist([Twist::Answer("token", Reply::new(500, "text/plain", ""))]);

    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK, "within grace");
    sleep(Duration::from_secs(3)).await;
    let away = stage.token(&mut device).await;

    is(&away, (503, "provider_unavailable"));
    assert!(away.headers.contains_key("retry-after"), "{away:?}");
    stage.provider.twist([]);
    // A provider that failed is left alone for five seconds.
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK, "it is back");
    assert_eq!(stage.refreshes().1, 0, "and nothing was sent twice");
}

#[tokio::test]
async fn a_provider_that_keeps_one_waiting_keeps_no_other_waiting() {
    let stage = Stage::new("revalidate_after = \"1s\"\ntimeout = \"2s\"").await;
    let (mut one, mut other) = (stage.device().await, stage.device().await);
    later().await;
    stage.provider.delay_token_endpoint(Duration::from_secs(20));
    assert_eq!(stage.token(&mut one).await.status, StatusCode::OK, "within grace, once given up");

    let begun = Instant::now();
    assert_eq!(stage.token(&mut other).await.status, StatusCode::OK);
    assert_eq!(stage.token(&mut one).await.status, StatusCode::OK);

    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// What is refused of a refreshed ID token, and whether the session is over for it or the provider counts as away.
#[tokio::test]
async fn a_refreshed_id_token_is_of_the_same_person_and_good() {
    let claim = |name, value: Value| Twist::Claim(name, Some(value));
    for (what, twist, over) in [
        ("another sub", claim("sub", "bob".into()), true),
        ("another issuer", claim("iss", "https://other.example.com".into()), false),
        ("another nonce", claim("nonce", "another".into()), true),
        ("another audience", claim("aud", "them".into()), false),
        ("an ended one", claim("exp", 1_700_000_000.into()), false),
        ("one by another key", Twist::Signer(Signer::Stranger(Box::new(Signer::Es256))), false),
        ("no token", Twist::IdToken("x.y.z".to_owned()), false),
    ] {
        let stage = Stage::new("revalidate_after = \"1s\"\ngrace = \"0s\"").await;
        let mut device = stage.device().await;
        later().await;
        stage.provider.twist([twist]);

        let answer = stage.token(&mut device).await;

        let expected = if over { EXPIRED } else { (503, "provider_unavailable") };
        assert_eq!(refused(&answer), (expected.0, expected.1.to_owned()), "{what}: {answer:?}");
        stage.provider.twist([]);
        sleep(Duration::from_secs(5)).await;
        let after = stage.token(&mut device).await;
        assert_eq!(after.status == StatusCode::OK, !over, "{what}: {after:?}");
    }
}

#[tokio::test]
async fn an_id_token_may_stay_away_at_a_refresh_and_a_nonce_too() {
    for twist in [Twist::Claim("nonce", None), Twist::TokenMember("id_token", None)] {
        let stage = Stage::new("revalidate_after = \"1s\"").await;
        let mut device = stage.device().await;
        later().await;
        stage.provider.twist([twist.clone()]);

        assert_eq!(stage.token(&mut device).await.status, StatusCode::OK, "{twist:?}");

        stage.provider.describe("alice", json!({ "groups": [] }));
        later().await;
        is(&stage.token(&mut device).await, (403, "access_denied"));
    }
}

#[tokio::test]
async fn a_refresh_token_that_stays_good_is_kept() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    stage.provider.keep_refresh_tokens();
    let mut device = stage.device().await;

    for round in 1..=3 {
        later().await;
        assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);
        assert_eq!(stage.refreshes(), (round, 0));
    }
}

#[tokio::test]
async fn without_a_refresh_token_userinfo_is_asked_while_the_access_token_lives() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    stage.provider.twist([Twist::TokenMember("refresh_token", None)]);
    let mut device = stage.device().await;
    let asked = stage.provider.requests("userinfo");
    later().await;

    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);
    assert_eq!(stage.provider.requests("userinfo"), asked + 1);
    stage.provider.describe("alice", json!({ "groups": [] }));
    later().await;
    is(&stage.token(&mut device).await, (403, "access_denied"));
    stage.provider.disable("alice");
    later().await;
    is(&stage.token(&mut device).await, EXPIRED);
}

#[tokio::test]
async fn where_nothing_can_be_asked_nobody_is() {
    let nothing = [
        Twist::TokenMember("refresh_token", None),
        Twist::Answer("userinfo", Reply::new(403, "text/plain", "")),
    ];
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    stage.provider.twist(nothing);
    let mut device = stage.device().await;
    let asked = stage.provider.requests("userinfo");
    later().await;

    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);

    assert_eq!(stage.provider.requests("userinfo"), asked);
    let session = device.get(&format!("{}/session", stage.replicas[0].url)).await.json();
    assert_eq!(hours(&session), 8, "max_age: {session}");
}

#[tokio::test]
async fn with_a_refresh_token_a_session_lasts_and_without_a_seal_nothing_is_kept() {
    let (sealed, bare) = (Stage::new("").await, Stage::with("", "").await);

    for (stage, expected) in [(&sealed, 7 * 24), (&bare, 8)] {
        let mut device = stage.device().await;
        let session = device.get(&format!("{}/session", stage.replicas[0].url)).await.json();
        assert_eq!(hours(&session), expected, "{session}");
    }
    let grants: Vec<String> = sealed.redis.ask(&["KEYS", "vestibule:grants:*"]);
    assert_eq!(grants.len(), 1);
    assert_eq!(bare.redis.ask::<Vec<String>>(&["KEYS", "vestibule:grants:*"]), [""; 0]);
    let kept: Vec<String> = sealed.redis.ask(&["HGETALL", &grants[0]]);
    for secret in sealed.provider.secrets() {
        assert!(!kept.iter().any(|text| text.contains(&secret)), "{secret}");
    }
}

/// How long a session lasts from when it began, in hours.
fn hours(session: &Value) -> i64 {
    let [since, until] = ["since", "until"]
        .map(|name| chrono::DateTime::parse_from_rfc3339(session[name].as_str().unwrap()).unwrap());
    (until - since).num_hours()
}

#[tokio::test]
async fn an_ended_session_has_its_refresh_token_revoked() {
    let stage = Stage::new("").await;
    stage.provider.name_sessions();
    let mut devices = [stage.device().await, stage.device().await, stage.device().await];
    let url = |path: &str| format!("{}{path}", stage.replicas[0].url);

    let gone = devices[0].post(&url("/logout")).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    devices[1].send(reqwest::Method::DELETE, &url("/sessions"), &[]).await;

    // Not that of the device that stays.
    revoked(&stage.provider, 2).await;
    assert_eq!(stage.token(&mut devices[1]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn keys_of_the_seal_change_without_a_sign_in() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    let mut device = stage.device().await;
    let new =
        "[[seal.keys]]\nid = \"new\"\nkey = \"YW5vdGhlciBrZXkgd2l0aCB0aGlydHktdHdvIGJ5dGU=\"\n";
    let keys = "revalidate_after = \"1s\"";
    let provider = section("fake", &stage.provider, keys, STAFF);
    let both = serve(&stage.redis.url(), &format!("{new}{SEAL}{provider}")).await;
    later().await;
    assert_eq!(token(&mut device, &both).await.status, StatusCode::OK);

    let only_new = serve(&stage.redis.url(), &format!("{new}{provider}")).await;
    later().await;

    assert_eq!(token(&mut device, &only_new).await.status, StatusCode::OK);
    assert_eq!(stage.refreshes(), (2, 0));
    later().await;
    // Whose key is gone is not asked about, and goes by the login's word.
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);
    assert_eq!(stage.refreshes(), (2, 0));
}

#[tokio::test]
async fn sessions_that_an_operator_ended_or_that_lay_idle_have_theirs_revoked_too() {
    let ops = "[ops]\nlisten = \"127.0.0.1:0\"\ntoken = \"a-token-of-the-operators\"\n";
    let stage = Stage::with(&format!("{SEAL}{ops}"), "").await;
    stage.provider.name_sessions();
    let mut device = stage.device().await;
    let who = identity(&stage.token(&mut device).await);
    let url = format!("{}/api/identities/{who}/sessions", stage.replicas[0].ops_url);

    let bearer = [("authorization", "Bearer a-token-of-the-operators")];
    let ended = visitor().send(reqwest::Method::DELETE, &url, &bearer).await;
    assert_eq!(ended.status, StatusCode::OK, "{ended:?}");
    revoked(&stage.provider, 1).await;

    // As if it had lain idle: nobody ended it.
    let former = stage.device().await;
    let sessions: Vec<String> = stage.redis.ask(&["KEYS", "vestibule:session:*"]);
    for session in &sessions {
        stage.redis.ask::<i64>(&["DEL", session]);
    }
    drop(former);
    stage.device().await;

    revoked(&stage.provider, 2).await;
}

/// Waits until so many tokens are revoked.
async fn revoked(provider: &FakeProvider, count: usize) {
    let begun = Instant::now();
    while provider.revoked().len() < count && begun.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(provider.revoked().len(), count);
}

#[tokio::test]
async fn a_session_that_shares_the_providers_is_ended_without_that() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    // Without a `sid` nobody can tell.
    let (mut one, mut other) = (stage.device().await, stage.device().await);

    one.post(&format!("{}/logout", stage.replicas[0].url)).await;
    later().await;

    assert_eq!(stage.token(&mut other).await.status, StatusCode::OK);
    assert_eq!(stage.provider.revoked(), [""; 0]);
    other.post(&format!("{}/logout", stage.replicas[0].url)).await;
    revoked(&stage.provider, 1).await;
}

#[tokio::test]
async fn an_id_token_that_names_nobody_any_more_ends_the_session() {
    let stage = Stage::new("revalidate_after = \"1s\"\nsubject_claim = \"employee\"").await;
    stage.provider.describe("alice", json!({ "groups": ["staff"], "employee": "7" }));
    let mut device = stage.device().await;
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);

    stage.provider.describe("alice", json!({ "groups": ["staff"] }));
    later().await;

    is(&stage.token(&mut device).await, EXPIRED);
}

#[tokio::test]
async fn a_key_of_the_seal_that_one_replica_lacks_costs_no_session() {
    let stage = Stage::new("revalidate_after = \"1s\"").await;
    let new =
        "[[seal.keys]]\nid = \"new\"\nkey = \"YW5vdGhlciBrZXkgd2l0aCB0aGlydHktdHdvIGJ5dGU=\"\n";
    let provider = section("fake", &stage.provider, "revalidate_after = \"1s\"", STAFF);
    let behind = serve(&stage.redis.url(), &format!("{new}{provider}")).await;
    let mut device = stage.device().await;
    later().await;

    assert_eq!(token(&mut device, &behind).await.status, StatusCode::OK, "by the login's word");
    assert_eq!(stage.refreshes(), (0, 0));
    assert_eq!(stage.token(&mut device).await.status, StatusCode::OK);
    assert_eq!(stage.refreshes(), (1, 0), "who has the key asks");
}

#[tokio::test]
async fn while_the_store_is_away_new_tokens_are_tried_to_be_kept() {
    let stage = Stage::new("revalidate_after = \"1s\"\ntimeout = \"2s\"").await;
    let mut device = stage.device().await;
    later().await;
    stage.provider.delay_token_endpoint(Duration::from_millis(500));
    let (asking, ()) = tokio::join!(stage.tokens(&device, 1), async {
        sleep(Duration::from_millis(250)).await;
        stage.redis.pause();
        sleep(Duration::from_secs(3)).await;
        stage.redis.resume();
    });
    drop(asking);
    stage.provider.delay_token_endpoint(Duration::ZERO);
    let begun = Instant::now();
    loop {
        let answer = stage.token(&mut device).await;
        if answer.status == StatusCode::OK && begun.elapsed() > Duration::from_secs(2) {
            break;
        }
        assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(stage.refreshes().1, 0, "none was shown twice");
}
