//! Having a guest, keeping it, giving it back.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};

use super::{come, come_without_cookie, guests, identity, send, with_pool, with_secret};
use crate::support::fake_provider::payload;
use crate::support::setup::Setup;
use crate::support::twilio;
use crate::support::twilio_api::TwilioApi;

#[tokio::test]
async fn a_visitor_has_a_guest_and_a_token_for_it() {
    let setup = with_pool(3).await;
    let mut visitor = setup.visitor();

    let lent = come(&mut visitor, &setup.service.url).await;

    assert_eq!(lent.status, StatusCode::CREATED);
    assert_eq!(lent.headers["cache-control"], "no-store");
    insta::assert_json_snapshot!(lent.json(), {
        ".token" => "[jwt]", ".expires_at" => "[time]", ".lease.expires_at" => "[time]"
    });
    twilio::approves(lent.json()["token"].as_str().unwrap(), "guest-1");
    let session = visitor.get(&setup.url("/session")).await.json();
    insta::assert_json_snapshot!(session, { ".since" => "[time]", ".until" => "[time]" });
}

#[tokio::test]
async fn the_first_token_is_short_and_the_second_confirms_the_lease() {
    let setup = with_pool(3).await;
    let mut visitor = setup.visitor();
    let first = come(&mut visitor, &setup.service.url).await.json();

    let second = visitor.post(&setup.url("/token")).await.json();

    assert_eq!(
        (first["expires_in"].as_u64(), &first["identity"]),
        (Some(300), &second["identity"])
    );
    assert_eq!(first["lease"]["expires_at"], first["expires_at"]);
    let minutes = |of: &serde_json::Value| {
        let at: chrono::DateTime<chrono::Utc> =
            of["lease"]["expires_at"].as_str().unwrap().parse().unwrap();
        at.timestamp() / 60
    };
    assert!((24..=26).contains(&(minutes(&second) - minutes(&first))), "{first} {second}");
}

#[tokio::test]
async fn a_reload_keeps_the_guest_and_another_browser_has_another() {
    let setup = with_pool(3).await;
    let (mut one, mut other) = (setup.visitor(), setup.visitor());

    let first = come(&mut one, &setup.service.url).await;
    let again = come(&mut one, &setup.service.url).await;
    let another = come(&mut other, &setup.service.url).await;

    assert_eq!((again.status, identity(&again)), (StatusCode::OK, identity(&first)));
    assert_ne!(first.json()["token"], again.json()["token"]);
    assert_eq!((another.status, identity(&another)), (StatusCode::CREATED, "guest-2".to_owned()));
}

#[tokio::test]
async fn a_guest_without_a_cookie_has_a_secret() {
    let setup = with_pool(3).await;
    let lent = come_without_cookie(&setup.service.url, None).await;
    let secret = lent.json()["lease_secret"].as_str().unwrap().to_owned();

    assert!(secret.starts_with("vg_1."), "{secret}");
    assert!(!lent.headers.contains_key("set-cookie"));
    let token = with_secret(Method::POST, &setup.url("/token"), &secret).await.json();
    assert_eq!(
        (token["identity"].as_str(), token["kind"].as_str()),
        (Some("guest-1"), Some("guest"))
    );
    let again = come_without_cookie(&setup.service.url, Some(&secret)).await;
    assert_eq!((again.status, identity(&again)), (StatusCode::OK, "guest-1".to_owned()));
    assert_eq!(
        with_secret(Method::DELETE, &setup.url("/guest"), &secret).await.status,
        StatusCode::NO_CONTENT
    );
    for (method, path) in [(Method::POST, "/token"), (Method::GET, "/session")] {
        let gone = with_secret(method, &setup.url(path), &secret).await;
        assert_eq!(gone.code(), "session_expired", "{path}");
    }
    let twice = with_secret(Method::DELETE, &setup.url("/guest"), &secret).await;
    assert_eq!(twice.status, StatusCode::NO_CONTENT, "a lost answer can be asked for again");
    let another = come_without_cookie(&setup.service.url, Some(&secret)).await;
    assert_eq!((another.status, identity(&another)), (StatusCode::CREATED, "guest-2".to_owned()));
}

#[tokio::test]
async fn a_secret_proves_its_own_lease_only() {
    let setup = with_pool(3).await;
    let one = come_without_cookie(&setup.service.url, None).await.json()["lease_secret"].clone();
    let other = come_without_cookie(&setup.service.url, None).await.json()["lease_secret"].clone();
    let (one, other) = (one.as_str().unwrap(), other.as_str().unwrap());
    let swapped = format!("vg_2.{}", one.split_once('.').unwrap().1);

    for secret in [
        &*swapped,
        "vg_",
        "vg_1.x",
        &format!("{one}x"),
        "vg_7.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let refused = with_secret(Method::POST, &setup.url("/token"), secret).await;
        assert_eq!(refused.code(), "session_expired", "{secret}");
    }
    assert_eq!(with_secret(Method::POST, &setup.url("/token"), other).await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_hundred_at_once_share_a_pool_of_a_hundred_without_sharing_a_guest() {
    let setup = with_pool(100).await;
    let replicas = [setup.replica().await, setup.replica().await];
    let urls = [&setup.service.url, &replicas[0].url, &replicas[1].url];

    let answers = join_all((0..200).map(|at| come_without_cookie(urls[at % 3], None))).await;

    let lent = answers.iter().filter(|answer| answer.status == StatusCode::CREATED);
    let identities = lent.map(identity).collect::<BTreeSet<_>>();
    assert_eq!(identities.len(), 100);
    let mut refused = 0;
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::CREATED) {
        assert_eq!(answer.code(), "pool_exhausted");
        let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        // Five minutes of the first token, ten to cool.
        assert!((880..=900).contains(&after), "{after}");
        refused += 1;
    }
    assert_eq!(refused, 100);
}

#[tokio::test]
async fn a_budget_stops_who_would_cost_more_and_nobody_else() {
    let setup = Setup::with(&guests("size = 3\nmonthly_budget = 1"), "").await;
    let (mut one, mut other) = (setup.visitor(), setup.visitor());
    come(&mut one, &setup.service.url).await;

    let refused = come(&mut other, &setup.service.url).await;

    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::TOO_MANY_REQUESTS, "guest_budget_reached".to_owned())
    );
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(come(&mut one, &setup.service.url).await.status, StatusCode::OK);
    assert_eq!(one.post(&setup.url("/token")).await.status, StatusCode::OK);
    assert_eq!(other.sign_in(&setup.service).await.status, StatusCode::SEE_OTHER);
    assert_eq!(other.post(&setup.url("/token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_guest_path_mints_guests_only() {
    let setup = with_pool(3).await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let refused = come(&mut alice, &setup.service.url).await;
    assert_eq!(refused.code(), "invalid_request");

    alice.post(&setup.url("/logout")).await;
    let mut expired = setup.visitor();
    expired.sign_in(&setup.service).await;
    let cookie = expired.cookies["vestibule"].clone();
    expired.post(&setup.url("/logout")).await;
    expired.cookies.insert("vestibule".to_owned(), cookie);

    assert_eq!(come(&mut expired, &setup.service.url).await.code(), "session_expired");
    for body in [
        r#"{"role":"service admin"}"#,
        r#"{"cookie":false,"ttl":86400}"#,
        r#"{"cookie":1}"#,
        r#"{"cookie":false,"cookie":true}"#,
        "[]",
        "{",
    ] {
        let refused = send(&mut setup.visitor(), &setup.service.url, None, body).await;
        assert_eq!(refused.code(), "invalid_request", "{body}");
    }
    let lent = come_without_cookie(&setup.service.url, None).await;
    let claims = payload(lent.json()["token"].as_str().unwrap()).unwrap();
    assert_eq!(claims["grants"]["chat"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn a_cookie_is_set_for_pages_of_allowed_origins_only() {
    let setup = with_pool(3).await;
    for origin in [None, Some("https://evil.example")] {
        let mut visitor = setup.visitor();
        visitor.origin = origin.map(str::to_owned);

        let refused = come(&mut visitor, &setup.service.url).await;

        assert_eq!(refused.code(), "origin_not_allowed", "{origin:?}");
        assert!(visitor.cookies.is_empty());
    }
    let mut visitor = setup.visitor();
    come(&mut visitor, &setup.service.url).await;
    visitor.origin = Some("https://evil.example".to_owned());
    assert_eq!(visitor.post(&setup.url("/token")).await.code(), "origin_not_allowed");
    let gone = visitor.send(Method::DELETE, &setup.url("/guest"), &[]).await;
    assert_eq!(gone.code(), "origin_not_allowed");
}

#[tokio::test]
async fn who_has_no_pool_has_no_guests() {
    let setup = Setup::new().await;
    let mut visitor = setup.visitor();

    assert_eq!(come(&mut visitor, &setup.service.url).await.code(), "not_found");
    visitor.cookies.insert(
        "vestibule-guest".to_owned(),
        "1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
    );
    assert_eq!(visitor.post(&setup.url("/token")).await.code(), "session_expired");
}

#[tokio::test]
async fn a_guest_that_signs_in_is_a_member_and_its_lease_is_over() {
    let setup = with_pool(3).await;
    let mut visitor = setup.visitor();
    come(&mut visitor, &setup.service.url).await;
    let guest = visitor.cookies["vestibule-guest"].clone();

    visitor.sign_in(&setup.service).await;

    assert!(!visitor.cookies.contains_key("vestibule-guest"));
    let member = visitor.post(&setup.url("/token")).await.json();
    assert_eq!(member["kind"], "member");
    visitor.cookies.clear();
    visitor.cookies.insert("vestibule-guest".to_owned(), guest);
    assert_eq!(visitor.post(&setup.url("/token")).await.code(), "session_expired");
    let another = come(&mut visitor, &setup.service.url).await;
    assert_eq!((another.status, identity(&another)), (StatusCode::CREATED, "guest-2".to_owned()));
}

#[tokio::test]
async fn one_address_has_so_many_new_guests_on_all_replicas() {
    let sections = "[guests]\nsize = 100\n[limits]\nguests = \"3/h\"\n";
    let setup = Setup::with(sections, "").await;
    let replica = setup.replica().await;
    let mut first = setup.visitor();
    come(&mut first, &setup.service.url).await;
    for _ in 0..2 {
        assert_eq!(come_without_cookie(&replica.url, None).await.status, StatusCode::CREATED);
    }

    let refused = come_without_cookie(&setup.service.url, None).await;

    assert_eq!(refused.code(), "rate_limited");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(come(&mut first, &setup.service.url).await.status, StatusCode::OK, "it has a guest");
}

#[tokio::test]
async fn at_true_speed_who_waits_as_long_as_told_has_the_guest_then() {
    let api = TwilioApi::start().await;
    let keys = "size = 1\nfirst_token_ttl = \"1m\"\ntoken_ttl = \"1m\"\ncooldown = \"3s\"";
    let setup = Setup::with(&format!("{}\n", api.sections(keys)), "").await;
    let first = come_without_cookie(&setup.service.url, None).await.json();
    api.stand_in.join("guest-1", "den");
    let refused = come_without_cookie(&setup.service.url, None).await;
    assert_eq!(refused.code(), "pool_exhausted");
    let told: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((60..=63).contains(&told), "{told}");

    tokio::time::sleep(Duration::from_secs(told)).await;
    // It is seen clean meanwhile, which takes a moment.
    let mut second = come_without_cookie(&setup.service.url, None).await;
    for _ in 0..10 {
        if second.status != StatusCode::CREATED {
            tokio::time::sleep(Duration::from_millis(500)).await;
            second = come_without_cookie(&setup.service.url, None).await;
        }
    }

    assert_eq!(identity(&second), "guest-1");
    assert!(api.stand_in.conversations_of("guest-1").is_empty());
    let time = |lent: &serde_json::Value, claim: &str| {
        payload(lent["token"].as_str().unwrap()).unwrap()[claim].as_u64().unwrap()
    };
    assert!(time(&second.json(), "iat") >= time(&first, "exp") + 3);
}
