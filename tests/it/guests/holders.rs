//! A lease is its holder's: whoever has another's cookie, a broken one or two of them has nothing, and a lease that was given back is over
//! everywhere. And a guest's proof is good for a guest, nothing else.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use super::{come, come_without_cookie, guests, identity, with_pool, with_secret};
use crate::denials::{AUDIENCE, CLIENT, exchange_at};
use crate::support::fake_provider::FakeProvider;
use crate::support::redis::RedisServer;
use crate::support::service::{TestService, listener};
use crate::support::setup::{Setup, provider_section};
use crate::support::visitor::{Answer, Visitor};

const COOKIE: &str = "vestibule-guest";

fn with_cookie(setup: &Setup, cookie: &str) -> Visitor {
    let mut visitor = setup.visitor();
    visitor.cookies.insert(COOKIE.to_owned(), cookie.to_owned());
    visitor
}

#[tokio::test]
async fn a_cookie_that_is_not_ones_own_proves_nothing() {
    let setup = with_pool(20).await;
    let [mut one, mut other] = [setup.visitor(), setup.visitor()];
    come(&mut one, &setup.service.url).await;
    come(&mut other, &setup.service.url).await;
    let (one, other) = (&one.cookies[COOKIE], &other.cookies[COOKIE]);
    let swapped = format!("2.{}", one.split_once('.').unwrap().1);

    for bad in
        [&*swapped, "", "x", "1", "1.", "0.AAAA", &format!("01{}", &one[1..]), &format!("{one}x")]
    {
        for (method, path) in
            [(Method::POST, "/token"), (Method::GET, "/session"), (Method::DELETE, "/guest")]
        {
            let answer = with_cookie(&setup, bad).send(method, &setup.url(path), &[]).await;
            assert_eq!(answer.code(), "session_expired", "{path} {bad}");
            assert!(answer.body.contains("Ask for another guest"), "{answer:?}");
        }
        let another = come(&mut with_cookie(&setup, bad), &setup.service.url).await;
        assert_eq!(another.status, StatusCode::CREATED, "it stands in nobody's way: {bad}");
    }

    // Whose word would count?
    for (first, second, code) in [(one, other, Some("session_expired")), (one, one, None)] {
        let both = format!("{COOKIE}={first}; {COOKIE}={second}");
        let token =
            setup.visitor().send(Method::POST, &setup.url("/token"), &[("cookie", &both)]).await;
        match code {
            Some(code) => assert_eq!(token.code(), code),
            None => assert_eq!(identity(&token), "guest-1"),
        }
    }
    let both = format!("{COOKIE}={one}; {COOKIE}={other}");
    let another =
        setup.visitor().send(Method::POST, &setup.url("/guest"), &[("cookie", &both)]).await;
    assert_eq!(another.status, StatusCode::CREATED);
    let theirs = [identity(&another), "guest-1".to_owned(), "guest-2".to_owned()];
    assert!(theirs[0] != theirs[1] && theirs[0] != theirs[2], "{theirs:?}");
}

#[tokio::test]
async fn whoever_holds_a_copy_of_a_cookie_loses_it_with_its_owner() {
    let setup = with_pool(3).await;
    let mut owner = setup.visitor();
    come(&mut owner, &setup.service.url).await;
    let mut copy = owner.clone();
    assert_eq!(identity(&copy.post(&setup.url("/token")).await), "guest-1");

    let gone = owner.send(Method::DELETE, &setup.url("/guest"), &[]).await;

    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert!(!owner.cookies.contains_key(COOKIE));
    assert_eq!(copy.post(&setup.url("/token")).await.code(), "session_expired");
    assert_ne!(identity(&come(&mut copy, &setup.service.url).await), "guest-1");
}

#[tokio::test]
async fn the_cookie_is_for_this_host_alone_and_lasts_as_long_as_a_stay_can() {
    const PUBLIC_URL: &str = "https://chat.example.com";
    let redis = RedisServer::start();
    let provider = FakeProvider::start().await;
    let further = format!("{}{}", guests("size = 3"), provider_section(&provider, ""));
    let service = TestService::start_on(listener(), PUBLIC_URL, "", &redis.url(), &further).await;
    let mut visitor = Visitor::on_a_page_of(PUBLIC_URL);

    let lent = come(&mut visitor, &service.url).await;

    let is_for_twelve_hours = |answer: &Answer| {
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        let parts: Vec<_> = cookie.split("; ").collect();
        let [value, path, age, rest @ ..] = parts.as_slice() else { panic!("{cookie}") };
        assert!(value.starts_with("__Host-vestibule-guest=1."), "{cookie}");
        let seconds: u32 = age.strip_prefix("Max-Age=").unwrap().parse().unwrap();
        assert!((43_190..=43_200).contains(&seconds), "{cookie}");
        assert_eq!((*path, rest), ("Path=/", ["HttpOnly", "SameSite=Lax", "Secure"].as_slice()));
    };
    is_for_twelve_hours(&lent);
    is_for_twelve_hours(&come(&mut visitor, &service.url).await);
    let gone = visitor.send(Method::DELETE, &format!("{}/guest", service.url), &[]).await;
    assert_eq!(
        gone.headers["set-cookie"],
        "__Host-vestibule-guest=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
    );
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_before_it_gives_a_guest_back() {
    let setup = with_pool(3).await;
    let ask = async |origin: &str| {
        let mut visitor = setup.visitor();
        visitor.origin = Some(origin.to_owned());
        let asks = [("access-control-request-method", "DELETE")];
        visitor.send(Method::OPTIONS, &setup.url("/guest"), &asks).await
    };

    let (ours, other) = (ask(&setup.service.url).await, ask("https://evil.example").await);

    assert_eq!(ours.status, StatusCode::NO_CONTENT);
    assert_eq!(ours.headers["access-control-allow-methods"], "POST, DELETE");
    assert_eq!(ours.headers["access-control-allow-headers"], "authorization, content-type");
    assert_eq!(ours.headers["access-control-allow-origin"], setup.service.url.as_str());
    assert_eq!(ours.headers["access-control-allow-credentials"], "true");
    assert!(!other.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_guests_proof_is_good_for_a_guest_and_nothing_else() {
    let setup = Setup::with(
        &format!("{}{CLIENT}", guests("size = 3")),
        &format!("bearer_audiences = [\"{AUDIENCE}\"]"),
    )
    .await;
    let mut visitor = setup.visitor();
    let own_token = come(&mut visitor, &setup.service.url).await.json()["token"].clone();
    let own_token = own_token.as_str().unwrap();
    let secret = format!("vg_{}", visitor.cookies[COOKIE]);

    for token in [own_token, &secret] {
        let exchanged = exchange_at(&setup.service.url, token).await;
        assert_eq!(exchanged.status, StatusCode::BAD_REQUEST, "{exchanged:?}");
        assert_eq!(exchanged.json()["error"], "invalid_request");
    }
    for (method, path) in
        [(Method::POST, "/token"), (Method::POST, "/guest"), (Method::DELETE, "/guest")]
    {
        let refused = with_secret(method, &setup.url(path), own_token).await;
        assert_eq!(refused.code(), "invalid_token", "{path}");
    }
    for (method, path) in [
        (Method::GET, "/sessions"),
        (Method::DELETE, "/sessions"),
        (Method::DELETE, "/sessions/AAAAAAAAAAAAAAAAAAAAAA"),
        (Method::POST, "/logout"),
    ] {
        let refused = visitor.send(method.clone(), &setup.url(path), &[]).await;
        assert_eq!(refused.code(), "login_required", "{path}");
        let refused = with_secret(method, &setup.url(path), &secret).await;
        assert_eq!(refused.code(), "invalid_token", "{path}");
    }
    assert_eq!(
        identity(&visitor.post(&setup.url("/token")).await),
        "guest-1",
        "it has its guest still"
    );
}

#[tokio::test]
async fn what_was_given_back_stays_so_on_every_replica_and_after_every_restart() {
    let mut redis = RedisServer::start_on_disk();
    let provider = FakeProvider::start().await;
    let further = format!("{}{}", guests("size = 9"), provider_section(&provider, ""));
    let first = TestService::start(&redis.url(), &further).await;
    let second = TestService::start_replica_of(&first, &redis.url(), &further).await;
    let secret = come_without_cookie(&first.url, None).await.json()["lease_secret"].clone();
    let secret = secret.as_str().unwrap();
    let kept = come_without_cookie(&first.url, None).await.json()["lease_secret"].clone();
    let kept = kept.as_str().unwrap();
    let token = async |service: &TestService, secret: &str| {
        with_secret(Method::POST, &format!("{}/token", service.url), secret).await
    };
    assert_eq!(token(&second, secret).await.status, StatusCode::OK);

    let gone = with_secret(Method::DELETE, &format!("{}/guest", first.url), secret).await;

    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(token(&second, secret).await.code(), "session_expired");
    assert_eq!(token(&first, secret).await.code(), "session_expired");
    drop(first);
    let third = TestService::start_replica_of(&second, &redis.url(), &further).await;
    assert_eq!(token(&third, secret).await.code(), "session_expired");
    assert_eq!(token(&third, kept).await.status, StatusCode::OK);
    redis.stop();
    redis.start_again();
    for service in [&second, &third] {
        let begun = Instant::now();
        while token(service, kept).await.status != StatusCode::OK {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(token(service, secret).await.code(), "session_expired");
        let another = come_without_cookie(&service.url, Some(secret)).await;
        assert_eq!(another.code(), "pool_exhausted", "nothing is lent unseen so soon");
    }
}
