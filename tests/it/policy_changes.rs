//! A policy is asked once, as long as it stays the same; a changed one decides at the next token, over what was last known.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::fake_provider::{FakeProvider, TENANTS, Twist};
use crate::support::log;
use crate::support::policies::{
    PUBLIC_URL, Stage, decisions, identity, on_record, reference, says, section, serve, sign_in,
    store, token, visitor,
};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::visitor::Visitor;

const EVERYBODY: &str = "allow = \"true\"";
const STAFF: &str =
    "allow = [{ rule = \"'staff' in claims.groups\", message = \"Only staff may chat.\" }]";

/// The provider says that everybody is in these groups.
fn groups(stage: &Stage, groups: &[&str]) {
    says(&stage.provider, vec![("groups", Some(json!(groups)))]);
}

async fn is_denied(device: &mut Visitor, service: &TestService) -> String {
    let answer = token(device, service).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "access_denied".into()));
    reference(&answer)
}

/// The life of a fresh token, in seconds.
async fn life(device: &mut Visitor, service: &TestService) -> u64 {
    let answer = token(device, service).await;
    identity(&answer);
    answer.json()["expires_in"].as_u64().unwrap()
}

/// What the page that says who is signed in calls the person.
async fn friendly_name(device: &mut Visitor, service: &TestService) -> Value {
    let session = device.get(&format!("{}/session", service.url)).await;
    assert_eq!(session.status, StatusCode::OK, "{session:?}");
    session.json()["friendly_name"].clone()
}

#[tokio::test]
async fn a_hundred_tokens_ask_the_policy_never_and_the_store_once_each() {
    let stage = Stage::new().await;
    let proxy = Proxy::before(stage.redis.address()).await;
    groups(&stage, &["staff"]);
    let policy = format!(
        "{STAFF}\nidentity = \"claims.sub\"\nrole = \"'agent'\"\ntoken_ttl = \"duration('10m')\""
    );
    let service = serve(&proxy.url(), &section("fake", &stage.provider, "", &policy)).await;
    let mut alice = stage.sign_in(&service, "alice").await;
    // Redis learns the script.
    identity(&token(&mut alice, &service).await);
    let (asked, decided) = (proxy.requests(), decisions(&service).await);
    assert_eq!(decided, 1, "the login");

    for _ in 0..100 {
        assert_eq!(life(&mut alice, &service).await, 600);
    }

    assert_eq!(decisions(&service).await, decided);
    assert_eq!(proxy.requests() - asked, 100);
}

#[tokio::test]
async fn after_a_change_each_subject_is_decided_about_once_more_however_many_devices_it_has() {
    let stage = Stage::new().await;
    let other = FakeProvider::start().await;
    groups(&stage, &["staff"]);
    let both = |policy: &str| {
        section("fake", &stage.provider, "", policy) + &section("other", &other, "", EVERYBODY)
    };
    let before = serve(&stage.redis.url(), &both(EVERYBODY)).await;
    let mut devices = Vec::new();
    for who in ["alice", "alice", "alice", "bob", "bob"] {
        devices.push(stage.sign_in(&before, who).await);
    }
    let mut unchanged = visitor();
    sign_in(&mut unchanged, &before, "other", "alice").await;
    drop(before);

    let same = serve(&stage.redis.url(), &both(EVERYBODY)).await;
    for device in devices.iter_mut().chain([&mut unchanged]) {
        identity(&token(device, &same).await);
    }
    assert_eq!(decisions(&same).await, 0, "the same policy");

    let changed = serve(&stage.redis.url(), &both(STAFF)).await;
    for _ in 0..2 {
        for device in devices.iter_mut().chain([&mut unchanged]) {
            identity(&token(device, &changed).await);
        }
    }
    assert_eq!(decisions(&changed).await, 2, "alice and bob");
}

#[tokio::test]
async fn words_for_people_and_lints_change_no_decision() {
    let stage = Stage::new().await;
    groups(&stage, &["staff"]);
    let mut alice = stage.sign_in(&stage.service(STAFF).await, "alice").await;
    groups(&stage, &[]);
    let mut bob = visitor();
    let told = sign_in(&mut bob, &stage.service(STAFF).await, "fake", "bob").await;
    assert_eq!(told.json()["detail"], "Only staff may chat.");

    let reworded = stage.service(&STAFF.replace("may chat", "can chat")).await;

    identity(&token(&mut alice, &reworded).await);
    assert_eq!(decisions(&reworded).await, 0);
}

#[tokio::test]
async fn a_repeated_denial_is_said_in_todays_words() {
    let stage = Stage::new().await;
    let mut alice = stage.sign_in(&stage.service(EVERYBODY).await, "alice").await;
    let staff = "allow = [{ rule = \"claims.sub == 'bob'\", message = \"Only Bob.\" }]";
    let first = token(&mut alice, &stage.service(staff).await).await;
    assert_eq!(first.json()["detail"], "Only Bob.");

    let again = token(&mut alice, &stage.service(&staff.replace("Bob.", "Robert.")).await).await;

    assert_eq!(again.json()["detail"], "Only Robert.");
    assert_eq!(reference(&again), reference(&first));
}

#[tokio::test]
async fn whoever_is_turned_away_again_for_the_same_reason_has_the_same_reference() {
    let stage = Stage::new().await;
    let service = stage.service(STAFF).await;
    let records = || -> u64 {
        let keys: Vec<String> = stage.redis.ask(&["KEYS", "*denial*"]);
        keys.len() as u64
    };
    groups(&stage, &["guests"]);
    let first = reference(&sign_in(&mut visitor(), &service, "fake", "bob").await);

    let again = reference(&sign_in(&mut visitor(), &service, "fake", "bob").await);

    assert_eq!((&again, records()), (&first, 1));
    assert_eq!(log::lines_with(&first).len(), 2, "a line for each login");
    groups(&stage, &["visitors"]);
    let with_others = reference(&sign_in(&mut visitor(), &service, "fake", "bob").await);
    let somebody_else = reference(&sign_in(&mut visitor(), &service, "fake", "carol").await);
    assert!(with_others != first && somebody_else != with_others);
    let record = on_record(&store(&stage.redis).await, &first).await;
    assert_eq!(record["claims"]["groups"], json!(["guests"]), "{record:#}");
}

#[tokio::test]
async fn a_rule_that_reads_the_time_is_asked_each_time_and_turns_away_when_it_has_come() {
    let stage = Stage::new().await;
    let (seconds, _): (u64, u64) = stage.redis.ask(&["TIME"]);
    let until = format!("allow = \"now < timestamp({})\"", seconds + 3);
    let service = stage.service(&until).await;
    let mut alice = stage.sign_in(&service, "alice").await;

    for n in 1..=3 {
        identity(&token(&mut alice, &service).await);
        assert_eq!(decisions(&service).await, 1 + n);
    }
    loop {
        let (now, _): (u64, u64) = stage.redis.ask(&["TIME"]);
        if now >= seconds + 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let first = is_denied(&mut alice, &service).await;
    assert_eq!(is_denied(&mut alice, &service).await, first);
    let record = on_record(&store(&stage.redis).await, &first).await;
    assert_eq!(record["explanation"]["rules"][0]["value"], false, "{record:#}");
}

#[tokio::test]
async fn a_changed_policy_denies_under_one_reference_and_lets_in_again_when_it_is_put_back() {
    let stage = Stage::new().await;
    groups(&stage, &["guests"]);
    let before = stage.service(EVERYBODY).await;
    let mut alice = stage.sign_in(&before, "alice").await;
    let mut telephone = stage.sign_in(&before, "alice").await;
    let was = identity(&token(&mut alice, &before).await);

    let strict = stage.service(STAFF).await;
    let denied = is_denied(&mut alice, &strict).await;
    assert_eq!(is_denied(&mut alice, &strict).await, denied);
    assert_eq!(is_denied(&mut telephone, &strict).await, denied, "one denial of one subject");
    let replica = stage.service(STAFF).await;
    assert_eq!(is_denied(&mut alice, &replica).await, denied, "on another replica too");
    assert_eq!(log::lines_with(&denied).len(), 1);
    let session = alice.get(&format!("{}/session", strict.url)).await;
    assert_eq!(session.status, StatusCode::OK, "the session lives: {session:?}");

    for device in [&mut alice, &mut telephone] {
        assert_eq!(identity(&token(device, &before).await), was);
    }
    assert_eq!(is_denied(&mut alice, &strict).await, denied, "for the same reason");
    assert_eq!(log::lines_with(&denied).len(), 2, "she was let in between");
}

#[tokio::test]
async fn another_rule_that_denies_is_another_denial() {
    let stage = Stage::new().await;
    let mut alice = stage.sign_in(&stage.service(EVERYBODY).await, "alice").await;
    let two = |first: &str| {
        format!("allow = [{{ rule = \"{first}\" }}, {{ rule = \"claims.sub == 'bob'\" }}]")
    };

    let first = is_denied(&mut alice, &stage.service(&two("claims.sub == 'eve'")).await).await;
    let second = is_denied(&mut alice, &stage.service(&two("claims.sub != 'eve'")).await).await;

    assert_ne!(first, second);
    let store = store(&stage.redis).await;
    assert_eq!(on_record(&store, &first).await["rule"], "allow[0]");
    assert_eq!(on_record(&store, &second).await["rule"], "allow[1]");
}

#[tokio::test]
async fn a_rule_makes_tokens_shorter_and_never_longer() {
    let stage = Stage::new().await;
    let ttl = |expression: &str| format!("{EVERYBODY}\ntoken_ttl = \"{expression}\"");
    let hour = stage.service(EVERYBODY).await;
    let mut alice = stage.sign_in(&hour, "alice").await;
    assert_eq!(life(&mut alice, &hour).await, 3600);

    let minutes = stage.service(&ttl("duration('5m')")).await;
    assert_eq!(life(&mut alice, &minutes).await, 300);
    assert_eq!(life(&mut alice, &minutes).await, 300, "and when it is not asked");
    let day = stage.service(&ttl("duration('24h')")).await;
    assert_eq!(life(&mut alice, &day).await, 3600);
    assert_eq!(life(&mut alice, &day).await, 3600);
    assert_eq!(life(&mut alice, &stage.service(EVERYBODY).await).await, 3600);
    // Nor longer than the session.
    let short = stage.service_with("max_age = \"8m\"", &ttl("duration('30m')")).await;
    assert!((400..=480).contains(&life(&mut alice, &short).await));
    let by_claim = stage.service(&ttl("duration(claims.ttl)")).await;
    says(&stage.provider, vec![("ttl", Some(json!("7m")))]);
    let mut bob = stage.sign_in(&by_claim, "bob").await;
    assert_eq!(life(&mut bob, &by_claim).await, 420);
    says(&stage.provider, vec![("ttl", Some(json!("6m")))]);
    stage.sign_in(&by_claim, "bob").await;
    assert_eq!(life(&mut bob, &by_claim).await, 360, "a newer login counts on all devices");
}

#[tokio::test]
async fn a_friendly_name_follows_the_newest_login_and_the_rule() {
    let stage = Stage::new().await;
    let named = |name: &str| says(&stage.provider, vec![("name", Some(json!(name)))]);
    let service = stage.service(EVERYBODY).await;
    named("Alice Miller");
    let mut laptop = stage.sign_in(&service, "alice").await;
    assert_eq!(friendly_name(&mut laptop, &service).await, "Alice Miller");

    named("Alice Smith");
    stage.sign_in(&service, "alice").await;
    assert_eq!(friendly_name(&mut laptop, &service).await, "Alice Smith");

    let upper =
        stage.service(&format!("{EVERYBODY}\nfriendly_name = \"'Dr ' + claims.name\"")).await;
    identity(&token(&mut laptop, &upper).await);
    assert_eq!(friendly_name(&mut laptop, &upper).await, "Dr Alice Smith");
}

#[tokio::test]
async fn a_newer_login_counts_for_the_tokens_of_every_device() {
    let stage = Stage::new().await;
    let service = stage.service(STAFF).await;
    groups(&stage, &["staff"]);
    let mut laptop = stage.sign_in(&service, "alice").await;
    let mut bob = stage.sign_in(&service, "bob").await;
    identity(&token(&mut laptop, &service).await);

    groups(&stage, &["former"]);
    let mut telephone = visitor();
    let login = sign_in(&mut telephone, &service, "fake", "alice").await;
    assert_eq!(login.code(), "access_denied");
    assert_eq!(is_denied(&mut laptop, &service).await, reference(&login));
    identity(&token(&mut bob, &service).await);

    groups(&stage, &["staff"]);
    stage.sign_in(&service, "alice").await;
    identity(&token(&mut laptop, &service).await);
    assert!(telephone.cookies.keys().all(|name| name != "vestibule"));
}

#[tokio::test]
async fn a_login_that_failed_at_the_provider_says_nothing_about_the_subject() {
    let stage = Stage::new().await;
    let service = stage.service(EVERYBODY).await;
    let mut laptop = stage.sign_in(&service, "alice").await;

    for twist in [
        Twist::Claim("nonce", Some(json!("another"))),
        Twist::Claim("aud", Some(json!("another"))),
        Twist::Response("error", Some("access_denied".into())),
    ] {
        stage.provider.twist([twist]);
        let failed = sign_in(&mut visitor(), &service, "fake", "alice").await;
        assert_eq!(failed.code(), "login_failed");
        identity(&token(&mut laptop, &service).await);
    }
    assert_eq!(decisions(&service).await, 1);
}

/// A session is over, and nobody is told that it was denied.
async fn is_over(device: &Visitor, service: &TestService) {
    let mut device = device.clone();
    let answer = token(&mut device, service).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    assert_eq!(answer.code(), "session_expired");
}

#[tokio::test]
async fn a_session_ends_when_its_provider_means_somebody_else_or_is_gone() {
    let stage = Stage::new().await;
    let other = FakeProvider::start().await;
    says(&stage.provider, vec![("oid", Some(json!("object-1")))]);
    let before = stage.service(EVERYBODY).await;
    let alice = stage.sign_in(&before, "alice").await;
    let redis = stage.redis.url();

    let called_otherwise = serve(&redis, &section("another", &stage.provider, "", EVERYBODY)).await;
    is_over(&alice, &called_otherwise).await;
    let elsewhere = serve(&redis, &section("fake", &other, "", EVERYBODY)).await;
    is_over(&alice, &elsewhere).await;
    let by_oid = stage.service_with("subject_claim = \"oid\"", EVERYBODY).await;
    is_over(&alice, &by_oid).await;
    let by_nothing = stage.service_with("subject_claim = \"employee\"", EVERYBODY).await;
    is_over(&alice, &by_nothing).await;

    // What another configuration makes of it leaves no trace.
    assert_eq!(
        identity(&token(&mut alice.clone(), &before).await),
        stage.default_identity("alice")
    );
    // A claim that means the same is the same subject.
    says(&stage.provider, vec![("uid", Some(json!("carol")))]);
    let mut carol = stage.sign_in(&before, "carol").await;
    let by_another_claim = stage.service_with("subject_claim = \"uid\"", EVERYBODY).await;
    assert_eq!(
        identity(&token(&mut carol, &by_another_claim).await),
        stage.default_identity("carol")
    );
}

#[tokio::test]
async fn a_session_ends_when_its_tenant_may_sign_in_no_more() {
    let (redis, provider) = (RedisServer::start(), FakeProvider::start_with_tenants().await);
    let of = async |tenants: &[&str]| {
        let keys = format!("subject_claim = \"oid\"\ntenants = {tenants:?}");
        serve(&redis.url(), &section("fake", &provider, &keys, EVERYBODY)).await
    };
    let both = of(&TENANTS[..2]).await;
    let mut devices = Vec::new();
    for tenant in &TENANTS[..2] {
        provider.people_come_from(tenant);
        let mut device = visitor();
        sign_in(&mut device, &both, "fake", "alice").await.location();
        devices.push(device);
    }

    let first = of(&TENANTS[..1]).await;

    identity(&token(&mut devices[0], &first).await);
    is_over(&devices[1], &first).await;
}

#[tokio::test]
async fn the_same_holds_on_a_file() {
    let provider = FakeProvider::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file:{}", folder.path().join("vestibule.db").display());
    let start = async |policy: &str| {
        // The service before it lets go of the file when it has ended.
        for _ in 0..200 {
            let text = section("fake", &provider, "", policy);
            if let Some(service) = TestService::try_start(PUBLIC_URL, &file, &text).await {
                return service;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the file is not let go");
    };
    says(&provider, vec![("groups", Some(json!(["guests"])))]);
    let mut alice = visitor();
    let service = start(EVERYBODY).await;
    let welcome = sign_in(&mut alice, &service, "fake", "alice").await;
    assert_eq!(welcome.status, StatusCode::SEE_OTHER, "{welcome:?}");
    let was = identity(&token(&mut alice, &service).await);
    drop(service);

    let service = start(STAFF).await;
    let denied = is_denied(&mut alice, &service).await;
    assert_eq!(is_denied(&mut alice, &service).await, denied);
    drop(service);

    let service = start(&format!("{EVERYBODY}\ntoken_ttl = \"duration('5m')\"")).await;
    assert_eq!(life(&mut alice, &service).await, 300);
    assert_eq!(life(&mut alice, &service).await, 300);
    assert_eq!(decisions(&service).await, 1);
    assert_eq!(identity(&token(&mut alice, &service).await), was);
}
