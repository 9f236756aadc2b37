//! What went wrong elsewhere when an identity was bound, an address believed or an account linked, tried against the running service.
//!
//! The numbers are those of our collection of attack cases. A17 (a block that a login clears) comes with blocks; until then, that
//! another login helps nobody who is denied stands in `denials`. What A14 wants of how a subject is hashed is tested where that is
//! done, in `ids`.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::fake_provider::{FakeProvider, TENANTS, Twist};
use crate::support::policies::{
    Claims, PUBLIC_URL, Stage, at, default_identity, identity, says, section, serve, sign_in,
    token, visitor, walk,
};
use crate::support::redis::RedisServer;
use crate::support::service::TestService;

const EVERYBODY: &str = "allow = \"true\"";

/// What an operator writes who lets in a company by its addresses.
const STAFF: &str = "allow = \"claims.email_verified && domain(claims.email) == 'example.com'\"";

/// An identity that hangs on an address, as it should not.
fn by_email() -> String {
    format!("{EVERYBODY}\nidentity = \"sha256(claims.email)\"")
}

/// Whether somebody comes in of whom the provider says this, in the ID token or in userinfo; else the code.
async fn comes_in(
    stage: &Stage,
    service: &TestService,
    twists: Vec<Twist>,
    who: &str,
) -> Result<String, String> {
    stage.provider.twist(twists);
    let mut device = visitor();
    let answer = sign_in(&mut device, service, "fake", who).await;
    if answer.status == StatusCode::SEE_OTHER {
        return Ok(identity(&token(&mut device, service).await));
    }
    assert!(!device.cookies.contains_key("vestibule"), "{answer:?}");
    Err(answer.code())
}

fn denied() -> Result<String, String> {
    Err("access_denied".to_owned())
}

/// Both where the ID token says it and where only userinfo does.
fn either_way(name: &'static str, value: Option<&Value>) -> [Vec<Twist>; 2] {
    [
        vec![Twist::Claim(name, value.cloned()), Twist::Userinfo(name, None)],
        vec![Twist::Claim(name, None), Twist::Userinfo(name, value.cloned())],
    ]
}

#[tokio::test]
async fn a1_a4_an_address_is_verified_only_by_json_true() {
    let stage = Stage::new().await;
    let strict = stage.service(STAFF).await;
    let string = stage.service_with("string_email_verified = true", STAFF).await;
    let values = [
        None,
        Some(Value::Null),
        Some(json!(false)),
        Some(json!("false")),
        Some(json!("true")),
        Some(json!("TRUE")),
        Some(json!("True")),
        Some(json!(" true")),
        Some(json!("true ")),
        Some(json!("yes")),
        Some(json!("1")),
        Some(json!("")),
        Some(json!(0)),
        Some(json!(1)),
        Some(json!(1.0)),
        Some(json!([])),
        Some(json!([true])),
        Some(json!({})),
        Some(json!({ "true": true })),
    ];

    for (n, value) in values.iter().enumerate() {
        for (place, twists) in either_way("email_verified", value.as_ref()).into_iter().enumerate()
        {
            let who = format!("mallory-{n}-{place}");
            let with_email = |twists: &[Twist]| {
                let victim = Some(json!("victim@example.com"));
                let email =
                    [Twist::Claim("email", victim.clone()), Twist::Userinfo("email", victim)];
                twists.iter().cloned().chain(email).collect()
            };
            let came = comes_in(&stage, &strict, with_email(&twists), &who).await;
            assert_eq!(came, denied(), "{value:?}");
            let came = comes_in(&stage, &string, with_email(&twists), &who).await;
            assert_eq!(came.is_ok(), *value == Some(json!("true")), "{value:?}: {came:?}");
        }
    }
    for (place, twists) in either_way("email_verified", Some(&json!(true))).into_iter().enumerate()
    {
        for service in [&strict, &string] {
            let came = comes_in(&stage, service, twists.clone(), &format!("alice-{place}")).await;
            assert!(came.is_ok(), "{came:?}");
        }
    }
    // Whoever verified one address has not verified another.
    let another = vec![
        Twist::Claim("email", Some(json!("victim@example.com"))),
        Twist::Userinfo("email", Some(json!("mallory@example.com"))),
        Twist::Userinfo("email_verified", Some(json!(true))),
    ];
    assert_eq!(comes_in(&stage, &strict, another, "mallory-of-two").await, denied());
    // A false in the ID token is not made true by userinfo.
    let both = vec![
        Twist::Claim("email_verified", Some(json!(false))),
        Twist::Userinfo("email_verified", Some(json!(true))),
    ];
    assert_eq!(comes_in(&stage, &strict, both, "mallory").await, denied());
}

#[tokio::test]
async fn a2_an_address_that_somebody_has_brings_nobody_else_their_identity() {
    let redis = RedisServer::start();
    let (one, other) = (FakeProvider::start().await, FakeProvider::start().await);
    let email: Claims = vec![
        ("email", Some(json!("victim@example.com"))),
        ("email_verified", Some(json!(true))),
        ("preferred_username", Some(json!("victim"))),
    ];
    says(&one, email.clone());
    says(&other, email);
    for (policy, attackers_fate) in
        [(EVERYBODY.to_owned(), None), (by_email(), Some("identity_conflict"))]
    {
        let _empty: String = redis.ask(&["FLUSHALL"]);
        let sections = section("one", &one, "", &policy) + &section("other", &other, "", &policy);
        let service = serve(&redis.url(), &sections).await;
        let mut victim = visitor();
        sign_in(&mut victim, &service, "one", "victim").await.location();
        let theirs = identity(&token(&mut victim, &service).await);

        // A new subject at the same provider; the same subject at another one.
        for (provider, who) in [("one", "mallory"), ("other", "mallory"), ("other", "victim")] {
            let mut attacker = visitor();
            let answer = sign_in(&mut attacker, &service, provider, who).await;
            if let Some(code) = attackers_fate {
                assert_eq!(answer.code(), code, "{provider} {who}");
            } else {
                assert_ne!(identity(&token(&mut attacker, &service).await), theirs);
            }
        }
        assert_eq!(identity(&token(&mut victim, &service).await), theirs);
    }
}

#[tokio::test]
async fn a3_an_address_from_another_tenant_is_somebody_elses_or_nobodys() {
    let redis = RedisServer::start();
    let provider = FakeProvider::start_with_tenants().await;
    let keys =
        format!("subject_claim = \"oid\"\ntenants = [\"{}\", \"{}\"]", TENANTS[0], TENANTS[1]);
    let verified: Claims = vec![
        ("email", Some(json!("victim@example.com"))),
        ("email_verified", Some(json!(true))),
        ("xms_edov", Some(json!(true))),
        ("oid", Some(json!("object-of-the-victim"))),
    ];
    says(&provider, verified);
    for policy in [EVERYBODY.to_owned(), by_email()] {
        let _empty: String = redis.ask(&["FLUSHALL"]);
        let service = serve(&redis.url(), &section("fake", &provider, &keys, &policy)).await;
        provider.people_come_from(TENANTS[0]);
        let mut victim = visitor();
        sign_in(&mut victim, &service, "fake", "victim").await.location();
        let theirs = identity(&token(&mut victim, &service).await);

        provider.people_come_from(TENANTS[1]);
        let mut attacker = visitor();
        let answer = sign_in(&mut attacker, &service, "fake", "mallory").await;
        if policy == EVERYBODY {
            assert_ne!(identity(&token(&mut attacker, &service).await), theirs);
        } else {
            assert_eq!(answer.code(), "identity_conflict");
        }
        provider.people_come_from(TENANTS[2]);
        let stranger = sign_in(&mut visitor(), &service, "fake", "mallory").await;
        assert_eq!(stranger.code(), "login_failed");
    }
}

#[tokio::test]
async fn a8_a9_an_address_is_of_the_company_only_when_nobody_could_read_it_otherwise() {
    let stage = Stage::new().await;
    let service = stage.service(STAFF).await;
    let try_address = async |n: usize, address: Value| {
        let twists = vec![
            Twist::Claim("email", Some(address)),
            Twist::Claim("email_verified", Some(json!(true))),
        ];
        comes_in(&stage, &service, twists, &format!("person-{n}")).await
    };

    for (n, address) in ["a@example.com", "A@EXAMPLE.COM", "a+b@Example.com"].iter().enumerate() {
        assert!(try_address(1000 + n, json!(address)).await.is_ok(), "{address}");
    }
    let bad = [
        "attacker@evil.com@example.com",
        "\"a@evil.com\"@example.com",
        "a@example.com@evil.com",
        "a@example.com.",
        "a@.example.com",
        "a@example.com.evil.com",
        "a@evilexample.com",
        "user@notexample.com",
        "a@sub.example.com",
        "a@example.com\0",
        "a\0@example.com",
        "a@example.com\0.evil.com",
        " a@example.com",
        "a@example.com ",
        "a@ example.com",
        "a@example.com\n",
        "a@example.com\r\nx@evil.com",
        "a@evil.com,b@example.com",
        "a@evil.com <b@example.com>",
        "a@evil.com\u{ff20}example.com",
        "a\u{ff20}example.com",
        "a@ex\u{430}mple.com",
        "a@\u{202e}moc.elpmaxe",
        "a@example\u{3002}com",
        "a@xn--exmple-cua.com",
        "@example.com",
        "example.com",
        "",
    ];
    for (n, address) in bad.into_iter().enumerate() {
        assert_eq!(try_address(n, json!(address)).await, denied(), "{address:?}");
    }
    for (n, odd) in [
        json!(null),
        json!(["a@example.com"]),
        json!({ "a@example.com": true }),
        json!(1),
        json!(true),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(try_address(2000 + n, odd.clone()).await, denied(), "{odd}");
    }
}

#[tokio::test]
async fn a11_an_empty_identity_is_nobodys() {
    let stage = Stage::new().await;
    let service = stage.service(&format!("{EVERYBODY}\nidentity = \"claims.nick\"")).await;
    let trimmed = stage.service(&format!("{EVERYBODY}\nidentity = \"claims.nick.trim()\"")).await;

    for (n, (value, code)) in [
        (Some(json!("")), "identity_invalid"),
        (Some(json!(" ")), "identity_invalid"),
        (Some(json!("\u{a0}")), "identity_invalid"),
        (Some(json!("\0")), "identity_invalid"),
        (Some(json!("\u{200b}")), "identity_invalid"),
        (None, "access_denied"),
        (Some(Value::Null), "access_denied"),
        (Some(json!([])), "access_denied"),
        (Some(json!(false)), "access_denied"),
        (Some(json!(0)), "access_denied"),
    ]
    .into_iter()
    .enumerate()
    {
        for service in [&service, &trimmed] {
            let twists = vec![Twist::Claim("nick", value.clone())];
            let came = comes_in(&stage, service, twists, &format!("person-{n}")).await;
            assert_eq!(came, Err(code.to_owned()), "{value:?}");
        }
    }
    for key in stage.redis.ask::<Vec<String>>(&["KEYS", "*"]) {
        assert!(!key.contains("claim:") && !key.contains("subject:"), "{key}");
    }
}

#[tokio::test]
async fn a13_spelling_makes_one_identity_where_the_rule_says_so_and_never_a_second_limit() {
    let stage = Stage::new().await;
    let lower = format!("{EVERYBODY}\nidentity = \"lower(claims.login)\"");
    let service = stage.service(&lower).await;
    let spelled = async |login: &str, who: &str| {
        comes_in(&stage, &service, vec![Twist::Claim("login", Some(json!(login)))], who).await
    };
    assert_eq!(spelled("Alice", "1").await, Ok("alice".to_owned()));
    assert_eq!(spelled("ALICE", "1").await, Ok("alice".to_owned()));
    for again in ["alice", "ALICE", "aLiCe"] {
        assert_eq!(spelled(again, "2").await, Err("identity_conflict".to_owned()), "{again}");
    }
    for never in ["alice ", " alice", "alice\n", "\u{ff21}lice", "ALI\u{130}CE", "al\u{131}ce"] {
        assert_eq!(spelled(never, "3").await, Err("identity_invalid".to_owned()), "{never:?}");
    }
    // The Kelvin sign is a k to Unicode, and so it is to the rule: that is one identity too, and somebody's.
    assert_eq!(spelled("mike", "4").await, Ok("mike".to_owned()));
    assert_eq!(spelled("mi\u{212a}e", "5").await, Err("identity_conflict".to_owned()));

    let limits = "[limits]\nlogins = \"3/h\"\n";
    let sections = section("fake", &stage.provider, "", EVERYBODY);
    let limited = serve(&stage.redis.url(), &format!("{limits}{sections}")).await;
    let mut statuses = Vec::new();
    for who in ["alice", "Alice", "ALICE", "alice@example.com"] {
        let url = format!("{}/login/fake?login_hint={who}&return_to=/", limited.url);
        statuses.push(visitor().get(&url).await.status);
    }
    assert_eq!(statuses[3], StatusCode::TOO_MANY_REQUESTS, "{statuses:?}");
}

#[tokio::test]
async fn a14_what_one_provider_calls_somebody_is_nothing_at_another() {
    let redis = RedisServer::start();
    let (one, other) = (FakeProvider::start().await, FakeProvider::start().await);
    let both =
        |policy: &str| section("one", &one, "", policy) + &section("other", &other, "", policy);
    let service = serve(&redis.url(), &both(EVERYBODY)).await;
    let (mut here, mut there) = (visitor(), visitor());
    sign_in(&mut here, &service, "one", "alice").await.location();
    sign_in(&mut there, &service, "other", "alice").await.location();
    assert_eq!(
        identity(&token(&mut here, &service).await),
        default_identity(&one.issuer(), "alice")
    );
    assert_eq!(
        identity(&token(&mut there, &service).await),
        default_identity(&other.issuer(), "alice")
    );

    // Where rules let the two meet, the second does not come in: not by its sub, nor by a name that it chose.
    let service =
        serve(&redis.url(), &both(&format!("{EVERYBODY}\nidentity = \"claims.sub\""))).await;
    sign_in(&mut visitor(), &service, "one", "bob").await.location();
    let crossed = sign_in(&mut visitor(), &service, "other", "bob").await;
    assert_eq!(crossed.code(), "identity_conflict");
    says(&other, vec![("preferred_username", Some(json!("bob")))]);
    let by_name = section("one", &one, "", EVERYBODY)
        + &section(
            "other",
            &other,
            "",
            &format!("{EVERYBODY}\nidentity = \"claims.preferred_username\""),
        );
    let service = serve(&redis.url(), &by_name).await;
    let chosen = sign_in(&mut visitor(), &service, "other", "mallory").await;
    assert_eq!(chosen.code(), "identity_conflict");
}

#[tokio::test]
async fn a15_no_rule_enters_the_guests_namespace_or_makes_a_name_that_twilio_takes_for_its_own() {
    let stage = Stage::new().await;
    let service = stage.service(&format!("{EVERYBODY}\nidentity = \"claims.nick\"")).await;
    let sid = |prefix: &str| format!("{prefix}{}", "0123456789abcdefABCDEF0123456789");
    let named = async |nick: &str, who: &str| {
        comes_in(&stage, &service, vec![Twist::Claim("nick", Some(json!(nick)))], who).await
    };

    for nick in ["guest-0001", "guest-", "guest-0001.alice", &sid("US"), &sid("MB")] {
        assert_eq!(named(nick, "alice").await, Err("identity_invalid".to_owned()), "{nick}");
    }
    for (who, nick) in
        ["guest", "guests-1", "Guest-0001", &sid("CH"), &sid("us")].iter().enumerate()
    {
        assert_eq!(named(nick, &who.to_string()).await, Ok((*nick).to_owned()));
    }
}

#[tokio::test]
async fn a18_a_provider_that_goes_during_a_login_lets_nobody_in_through_any_door() {
    let stage = Stage::new().await;
    let other = FakeProvider::start().await;
    let before = stage.service(EVERYBODY).await;
    let redis = stage.redis.url();
    let signed_in = stage.sign_in(&before, "alice").await;
    let removed = serve(&redis, &section("other", &other, "", EVERYBODY)).await;
    let renamed = serve(&redis, &section("renamed", &stage.provider, "", EVERYBODY)).await;
    let replaced = serve(&redis, &section("fake", &other, "", EVERYBODY)).await;
    let closed = stage.service("allow = \"claims.sub == ''\"").await;
    let asked = stage.provider.requests("token");

    for (service, name, code) in [
        (&removed, "fake", "not_found"),
        (&removed, "other", "invalid_request"),
        (&renamed, "fake", "not_found"),
        (&renamed, "renamed", "invalid_request"),
        (&replaced, "fake", "login_failed"),
    ] {
        let mut device = visitor();
        let callback = walk(&mut device, &before, "fake", "alice").await;
        let callback =
            at(&service.url, &callback).replace("/callback/fake", &format!("/callback/{name}"));
        let answer = device.get(&callback).await;
        assert_eq!(answer.code(), code, "{callback}");
        assert!(!device.cookies.contains_key("vestibule"), "{answer:?}");
    }
    assert_eq!(stage.provider.requests("token"), asked, "no code was sent anywhere");
    assert_eq!(other.requests("token"), 0);

    let mut device = visitor();
    let callback = walk(&mut device, &before, "fake", "alice").await;
    let answer = device.get(&at(&closed.url, &callback)).await;
    assert_eq!(answer.code(), "access_denied");

    for service in [&removed, &renamed, &replaced] {
        let mut device = signed_in.clone();
        assert_eq!(token(&mut device, service).await.code(), "session_expired");
    }
    for service in [&removed, &renamed] {
        let session = signed_in.clone().get(&format!("{}/session", service.url)).await;
        assert_eq!(session.code(), "session_expired");
        let begin = visitor().get(&format!("{}/login/fake", service.url)).await;
        assert_eq!(begin.code(), "not_found");
    }
    assert_eq!(token(&mut signed_in.clone(), &closed).await.code(), "access_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_five_hundred_people_at_once_each_get_what_the_rules_make_of_them() {
    let stage = Stage::new().await;
    stage.provider.delay_token_endpoint(Duration::from_secs(3));
    let policy = format!(
        "{EVERYBODY}\nidentity = \"claims.sub\"\nfriendly_name = \"'I am ' + claims.email\""
    );
    let sections = section("fake", &stage.provider, "", &policy);
    let service =
        serve(&stage.redis.url(), &format!("[limits]\nlogins = \"off\"\n{sections}")).await;
    let fresh = visitor();

    // All are inside the token endpoint at the same moment. They come there one after the other, and go on so, because a store that
    // has five hundred steps to take at once is away for those that wait too long on a busy machine.
    let walks = (0..500).map(|n| {
        let (mut device, service) = (fresh.clone(), &service);
        async move {
            let who = format!("person-{n}");
            let callback = walk(&mut device, service, "fake", &who).await;
            (who, device, callback)
        }
    });
    let ready: Vec<_> = stream::iter(walks).buffered(20).collect().await;
    let come_in = (0..).zip(ready).map(async |(n, (who, mut device, callback))| {
        tokio::time::sleep(Duration::from_millis(5 * n)).await;
        let answer = device.get(&callback).await;
        assert_eq!(answer.location(), format!("{PUBLIC_URL}/"), "{answer:?}");
        (who, device)
    });
    let inside = join_all(come_in).await;
    let service = &service;
    let ask = inside.into_iter().map(|(who, mut device)| async move {
        let identity = identity(&token(&mut device, service).await);
        let session = device.get(&format!("{}/session", service.url)).await.json();
        (who, identity, session)
    });
    let people: Vec<_> = stream::iter(ask).buffered(20).collect().await;

    for (who, identity, session) in people {
        assert_eq!(identity, who);
        assert_eq!(session["identity"], who);
        assert_eq!(session["friendly_name"], format!("I am {who}@example.com"));
    }
}
