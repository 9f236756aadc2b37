//! A session is one signed-in device: begun by a login, held by a cookie, ended by time or by its owner.

use reqwest::{Method, StatusCode};

use crate::support::service::TestService;
use crate::support::setup::{Setup, provider_section};
use crate::support::visitor::Visitor;

#[tokio::test]
async fn a_login_becomes_a_session_and_a_token() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();

    let done = alice.sign_in(&setup.service).await;

    assert_eq!(done.location(), format!("{}/", setup.service.url));
    let session = alice.get(&setup.url("/session")).await.json();
    insta::assert_json_snapshot!(session, {
        ".identity" => "[uuid5 of issuer and subject]", ".since" => "[time]", ".until" => "[time]"
    });
    let token = alice.post(&setup.url("/token")).await;
    assert_eq!(token.headers["cache-control"], "no-store");
    assert_eq!(token.json()["identity"], session["identity"]);
    insta::assert_json_snapshot!(token.json(), {
        ".identity" => "[uuid5 of issuer and subject]", ".token" => "[jwt]", ".expires_at" => "[time]"
    });
}

#[tokio::test]
async fn a_second_device_has_the_same_identity_and_a_session_of_its_own() {
    let setup = Setup::new().await;
    let (mut laptop, mut telephone) = (setup.visitor(), setup.visitor());
    laptop.sign_in(&setup.service).await;
    telephone.sign_in(&setup.service).await;

    let [one, other] =
        [&mut laptop, &mut telephone].map(|device| device.cookies["vestibule"].clone());
    let first = laptop.post(&setup.url("/token")).await.json();
    let second = telephone.post(&setup.url("/token")).await.json();

    assert_ne!(one, other);
    assert_eq!(first["identity"], second["identity"]);
    assert_ne!(first["token"], second["token"]);
    assert_eq!(laptop.post(&setup.url("/logout")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(telephone.post(&setup.url("/token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn each_login_begins_a_new_session_and_ends_the_browsers_old_one() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let before = alice.clone();

    alice.sign_in(&setup.service).await;

    assert_ne!(before.cookies["vestibule"], alice.cookies["vestibule"]);
    assert_eq!(alice.post(&setup.url("/token")).await.status, StatusCode::OK);
    assert_eq!(before.clone().post(&setup.url("/token")).await.code(), "session_expired");
}

#[tokio::test]
async fn a_cookie_planted_before_the_login_is_worth_nothing_after_it() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    let planted = format!("{}.{}", "A".repeat(43), "B".repeat(42) + "A");
    alice.cookies.insert("vestibule".into(), planted.clone());

    alice.sign_in(&setup.service).await;

    assert_ne!(alice.cookies["vestibule"], planted);
    let mut attacker = setup.visitor();
    attacker.cookies.insert("vestibule".into(), planted);
    assert_eq!(attacker.post(&setup.url("/token")).await.code(), "session_expired");
}

#[tokio::test]
async fn logging_out_ends_the_session_for_good() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let mut thief = alice.clone();

    let out = alice.post(&setup.url("/logout")).await;

    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(!alice.cookies.contains_key("vestibule"));
    assert_eq!(thief.post(&setup.url("/token")).await.code(), "session_expired");
    assert_eq!(thief.get(&setup.url("/session")).await.code(), "session_expired");
    assert_eq!(thief.post(&setup.url("/logout")).await.code(), "session_expired");
    assert_eq!(alice.post(&setup.url("/token")).await.code(), "login_required");
}

#[tokio::test]
async fn a_person_who_signs_out_sees_a_page_whatever_state_the_session_is_in() {
    let setup = Setup::new().await;
    let mut alice = Visitor { accept: "text/html", ..setup.visitor() };
    alice.sign_in(&setup.service).await;
    let mut other_tab = alice.clone();

    for tab in [&mut alice, &mut other_tab] {
        let page = tab.post(&setup.url("/logout")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.body.contains("You are signed out"), "{page:?}");
        assert!(!tab.cookies.contains_key("vestibule"));
    }
}

#[tokio::test]
async fn a_token_ends_with_its_session_and_is_none_when_that_is_near() {
    let setup = Setup::with("", "max_age = \"30m\"").await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let token = alice.post(&setup.url("/token")).await.json();
    assert!((1790..=1800).contains(&token["expires_in"].as_u64().unwrap()), "{token}");

    let keys: Vec<String> = setup.redis.ask(&["KEYS", "vestibule:session:*"]);
    let (seconds, _): (u64, u64) = setup.redis.ask(&["TIME"]);
    let ends = |within: u64| {
        setup.redis.ask::<i64>(&["HSET", &keys[0], "e", &((seconds + within) * 1000).to_string()])
    };
    ends(90);
    let token = alice.post(&setup.url("/token")).await.json();
    assert!((80..=90).contains(&token["expires_in"].as_u64().unwrap()), "{token}");
    ends(59);
    assert_eq!(alice.post(&setup.url("/token")).await.code(), "session_expired");
}

#[tokio::test]
async fn a_token_has_a_jti_that_no_other_has() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let mut seen = std::collections::HashSet::new();

    for _ in 0..50 {
        let reply = alice.post(&setup.url("/token")).await.json();
        assert!(seen.insert(reply["token"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test]
async fn the_limit_of_a_session_holds_across_replicas_and_says_when() {
    let setup = Setup::with("[limits]\ntokens = \"5/m\"", "").await;
    let replica = setup.replica().await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;

    for n in 0..5 {
        let service = if n % 2 == 0 { &setup.service } else { &replica };
        assert_eq!(alice.post(&format!("{}/token", service.url)).await.status, StatusCode::OK);
    }
    let refused = alice.post(&format!("{}/token", replica.url)).await;

    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.code(), "rate_limited");
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=12).contains(&after), "{after}");
    assert_eq!(alice.get(&setup.url("/session")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn authorization_alone_counts_when_it_is_there() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;

    for value in ["Bearer abc", "Basic YTpi", "Bearer", ""] {
        let answer =
            alice.send(Method::POST, &setup.url("/token"), &[("authorization", value)]).await;
        assert_eq!(answer.code(), "invalid_token");
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    }
}

#[tokio::test]
async fn a_bad_cookie_is_a_dead_session_and_never_a_panic() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let good = alice.cookies["vestibule"].clone();
    let (subject, secret) = good.split_once('.').unwrap();
    let mut nobody = setup.visitor();

    let bad = [
        String::new(),
        ".".into(),
        good.replace('.', ""),
        format!("{good}A"),
        format!("{secret}.{subject}"),
        format!("{subject}.{subject}"),
        format!("{subject}.{}", "A".repeat(43)),
        format!("{good}; vestibule={subject}.{}", "A".repeat(43)),
        "A".repeat(8000),
    ];
    for value in bad {
        let header = format!("vestibule={value}");
        let answer = nobody.send(Method::POST, &setup.url("/token"), &[("cookie", &header)]).await;
        assert_eq!(answer.code(), "session_expired", "{value}");
    }
    let twice = format!("vestibule={good}; vestibule={good}");
    let answer = nobody.send(Method::POST, &setup.url("/token"), &[("cookie", &twice)]).await;
    assert_eq!(answer.status, StatusCode::OK, "the same cookie twice says one thing");
}

#[tokio::test]
async fn the_home_page_knows_whether_somebody_is_signed_in() {
    let setup = Setup::new().await;
    let mut alice = Visitor { accept: "text/html", ..setup.visitor() };

    let before = alice.get(&setup.url("/")).await;
    alice.sign_in(&setup.service).await;
    let signed_in = alice.get(&setup.url("/")).await;
    let dead = alice.clone();
    alice.post(&setup.url("/logout")).await;
    let mut dead = dead;
    let after = dead.get(&setup.url("/")).await;

    assert!(before.body.contains("/login/fake"), "{before:?}");
    assert!(
        signed_in.body.contains("You are signed in") && signed_in.body.contains("/logout"),
        "{signed_in:?}"
    );
    assert!(after.body.contains("/login/fake"), "{after:?}");
    assert!(!dead.cookies.contains_key("vestibule"), "the sign-in page takes a dead cookie away");
}

#[tokio::test]
async fn a_session_stands_on_the_configuration_of_now() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let restarted = async |keys: &str, name: &str| {
        let section = provider_section(&setup.provider, keys).replace("\"fake\"", name);
        TestService::start_replica_of(&setup.service, &setup.redis.url(), &section).await
    };

    let shorter = restarted("max_age = \"10m\"", "\"fake\"").await;
    let token = alice.post(&format!("{}/token", shorter.url)).await.json();
    assert!((590..=600).contains(&token["expires_in"].as_u64().unwrap()), "{token}");
    let session = alice.get(&format!("{}/session", shorter.url)).await.json();
    assert_ne!(session["until"], alice.get(&setup.url("/session")).await.json()["until"]);

    let without = restarted("", "\"another\"").await;
    assert_eq!(alice.post(&format!("{}/token", without.url)).await.code(), "session_expired");
    assert_eq!(alice.get(&format!("{}/session", without.url)).await.code(), "session_expired");
}
