//! Before a guest is lent again it is seen to be in nothing.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use super::{come, come_without_cookie, identity, with_secret};
use crate::support::fake_provider::FakeProvider;
use crate::support::redis::{Clock, RedisServer};
use crate::support::service::TestService;
use crate::support::setup::{Setup, provider_section};
use crate::support::twilio_api::{Trouble, TwilioApi};
use crate::support::visitor::Visitor;

/// Waits until it is so, for as long as anything here may take.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what} does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same, for what has to be asked for.
pub async fn until_lent(url: &str) -> crate::support::visitor::Answer {
    let begun = Instant::now();
    loop {
        let answer = come_without_cookie(url, None).await;
        if answer.status == StatusCode::CREATED {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A service on a store whose clock begins at noon of the tenth of a month, and runs so many times as fast as ours.
pub async fn fast(
    speed: f64,
    api: &TwilioApi,
    guests: &str,
) -> (RedisServer, FakeProvider, TestService) {
    let redis = RedisServer::start_with_clock(Clock { begins: 1_794_312_000.0, speed }, &[]);
    let provider = FakeProvider::start().await;
    let further = format!("{}\n{}", api.sections(guests), provider_section(&provider, ""));
    let service = TestService::start(&redis.url(), &further).await;
    (redis, provider, service)
}

/// A pool whose guests come back within four minutes.
pub const QUICK: &str =
    "first_token_ttl = \"1m\"\ntoken_ttl = \"1m\"\nlease = \"2m\"\ncooldown = \"1m\"\n";

#[tokio::test]
async fn a_guest_is_taken_into_the_guests_rooms_with_its_role_and_out_when_given_back() {
    let api = TwilioApi::start().await;
    let keys = "size = 3\nconversations = [\"lobby\", \"den\"]\nrole = \"channel admin\"";
    let setup = Setup::with(&api.sections(keys), "").await;
    let mut visitor = setup.visitor();
    come(&mut visitor, &setup.service.url).await;
    let rooms = || api.stand_in.conversations_of("guest-1");
    until("the rooms", || rooms() == ["lobby", "den"]).await;
    assert_eq!(api.stand_in.role_in("lobby", "guest-1"), Some("channel admin"));

    let gone = visitor.send(Method::DELETE, &setup.url("/guest"), &[]).await;

    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert!(!visitor.cookies.contains_key("vestibule-guest"));
    until("the end of it", || rooms().is_empty()).await;
}

#[tokio::test]
async fn whatever_a_holder_left_is_gone_before_the_next() {
    let api = TwilioApi::start().await;
    let (_redis, _provider, service) = fast(120.0, &api, &format!("size = 1\n{QUICK}")).await;
    let first = come_without_cookie(&service.url, None).await;
    assert_eq!(identity(&first), "guest-1");
    api.stand_in.join("guest-1", "den");
    api.stand_in.bind("guest-1");
    api.stand_in.name("guest-1", "Mallory", r#"{"color":"red"}"#);

    let second = until_lent(&service.url).await;

    assert_eq!(identity(&second), "guest-1");
    assert!(api.stand_in.conversations_of("guest-1").is_empty());
    assert!(!api.stand_in.is_marked("guest-1"));
}

#[tokio::test]
async fn a_token_that_outlives_a_return_joins_nothing_for_the_next_holder() {
    let api = TwilioApi::start().await;
    let (_redis, _provider, service) = fast(60.0, &api, &format!("size = 1\n{QUICK}")).await;
    let first = come_without_cookie(&service.url, None).await.json();
    let secret = first["lease_secret"].as_str().unwrap();
    api.stand_in.join("guest-1", "lobby");
    with_secret(Method::DELETE, &format!("{}/guest", service.url), secret).await;
    until("the first scrub", || api.stand_in.conversations_of("guest-1").is_empty()).await;
    // Its token lives for a moment.
    api.stand_in.join("guest-1", "den");

    until_lent(&service.url).await;

    assert!(api.stand_in.conversations_of("guest-1").is_empty());
}

#[tokio::test]
async fn nothing_is_lent_unscrubbed_while_twilio_is_away() {
    let api = TwilioApi::start().await;
    let (_redis, _provider, service) = fast(120.0, &api, &format!("size = 1\n{QUICK}")).await;
    come_without_cookie(&service.url, None).await;
    api.stand_in.join("guest-1", "den");
    api.always(Some(Trouble::Broken(503)));

    // Eight minutes of the store's.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let refused = come_without_cookie(&service.url, None).await;
        assert_eq!(refused.code(), "pool_exhausted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut operator = Visitor::on_a_page_of(&service.ops_url);
    let ready = operator.get(&format!("{}/readyz", service.ops_url)).await;
    assert_eq!((ready.status, &ready.json()["twilio"]), (StatusCode::OK, &"away".into()));
    api.always(None);

    until_lent(&service.url).await;

    assert!(api.stand_in.conversations_of("guest-1").is_empty());
}

#[tokio::test]
async fn twilio_away_delays_neither_lending_nor_login() {
    let api = TwilioApi::start().await;
    api.always(Some(Trouble::Late(Duration::from_mins(10))));
    let setup = Setup::with(&api.sections("size = 3\nconversations = [\"lobby\"]"), "").await;
    let mut visitor = setup.visitor();
    let begun = Instant::now();

    assert_eq!(come(&mut visitor, &setup.service.url).await.status, StatusCode::CREATED);
    visitor.sign_in(&setup.service).await;
    assert_eq!(visitor.post(&setup.url("/token")).await.json()["kind"], "member");

    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_guest_that_signs_in_takes_its_conversations_along() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3"), "").await;
    let mut visitor = setup.visitor();
    come(&mut visitor, &setup.service.url).await;
    api.stand_in.join("guest-1", "den");
    api.next([Trouble::Lost, Trouble::Refused(429, 20429), Trouble::Refused(409, 50213)]);

    visitor.sign_in(&setup.service).await;

    let member = visitor.post(&setup.url("/token")).await.json();
    let member = member["identity"].as_str().unwrap();
    until("the member", || api.stand_in.conversations_of(member) == ["den"]).await;
    until("the guest's end", || api.stand_in.conversations_of("guest-1").is_empty()).await;
}

#[tokio::test]
async fn a_guest_that_signs_in_leaves_its_conversations_where_the_operator_says_so() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3\non_login = \"leave\""), "").await;
    let mut visitor = setup.visitor();
    come(&mut visitor, &setup.service.url).await;
    api.stand_in.join("guest-1", "den");

    visitor.sign_in(&setup.service).await;

    let member = visitor.post(&setup.url("/token")).await.json();
    until("the guest's end", || api.stand_in.conversations_of("guest-1").is_empty()).await;
    assert!(api.stand_in.conversations_of(member["identity"].as_str().unwrap()).is_empty());
}

#[tokio::test]
async fn a_visitor_that_comes_back_has_its_guest_and_its_conversations() {
    let api = TwilioApi::start().await;
    let (_redis, _provider, service) = fast(20.0, &api, &format!("size = 2\n{QUICK}")).await;
    let mut visitor = Visitor::of(&service);
    come(&mut visitor, &service.url).await;
    api.stand_in.join("guest-1", "den");
    // The lease ends after three seconds, and the guest cools for three more.
    tokio::time::sleep(Duration::from_millis(3_300)).await;
    assert_eq!(visitor.post(&format!("{}/token", service.url)).await.code(), "session_expired");

    let again = come(&mut visitor, &service.url).await;

    assert_eq!((again.status, identity(&again)), (StatusCode::OK, "guest-1".to_owned()));
    assert_eq!(api.stand_in.conversations_of("guest-1"), ["den"]);
    assert_eq!(visitor.post(&format!("{}/token", service.url)).await.status, StatusCode::OK);
}
