//! What a guest that signs in takes along, and what becomes of what it cannot.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::scrubbing::until;
use super::{POOL, come, identity};
use crate::support::fake_provider::FakeProvider;
use crate::support::log;
use crate::support::redis::{Clock, RedisServer};
use crate::support::service::TestService;
use crate::support::setup::{Setup, provider_section};
use crate::support::twilio_api::{Trouble, TwilioApi};
use crate::support::visitor::Visitor;

/// What the audit log says of what a member inherited from a guest. Each test's guests are called otherwise: all share one log.
fn audited(member: &str, guest: &str) -> Vec<(String, u64, u64)> {
    let names = [format!("\"{member}\""), format!("\"{guest}\"")];
    let is_theirs = |line: &String| names.iter().all(|name| line.contains(name));
    let lines = log::lines_with("carried_over\"").into_iter().filter(is_theirs);
    let read = |line: String| {
        let line: Value = serde_json::from_str(&line).unwrap();
        let number = |name: &str| line[name].as_u64().unwrap_or_else(|| panic!("{line}"));
        (line["event"].as_str().unwrap().to_owned(), number("carried"), number("missing"))
    };
    lines.map(read).collect()
}

async fn member(visitor: &mut Visitor, service: &TestService) -> String {
    identity(&visitor.post(&format!("{}/token", service.url)).await)
}

/// The conversations that somebody was taken into by us.
fn entered(api: &TwilioApi) -> usize {
    let asked = api.stand_in.requests();
    asked.iter().filter(|(method, _)| method == Method::POST).count()
}

#[tokio::test]
async fn what_the_member_is_in_already_is_not_written_again() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3\nprefix = \"guest-had-\""), "").await;
    let mut visitor = setup.visitor();
    // It signs in once, to have an identity.
    visitor.sign_in(&setup.service).await;
    let member = member(&mut visitor, &setup.service).await;
    let mut visitor = setup.visitor();
    let guest = identity(&come(&mut visitor, &setup.service.url).await);
    for number in 0..60 {
        let name = format!("room-{number}");
        api.stand_in.make_conversation(&name);
        api.stand_in.join(&guest, &name);
        if number % 10 > 0 {
            api.stand_in.join(&member, &name);
        }
    }

    visitor.sign_in(&setup.service).await;

    until("the guest's end", || api.stand_in.conversations_of(&guest).is_empty()).await;
    assert_eq!(api.stand_in.conversations_of(&member).len(), 60);
    assert_eq!(entered(&api), 6);
    assert_eq!(audited(&member, &guest), [("guest_carried_over".to_owned(), 60, 0)]);
}

#[tokio::test]
async fn what_refuses_the_member_keeps_nothing_else_from_it() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3\nprefix = \"guest-full-\""), "").await;
    let mut visitor = setup.visitor();
    let guest = identity(&come(&mut visitor, &setup.service.url).await);
    api.stand_in.join(&guest, "lobby");
    api.stand_in.join(&guest, "den");
    // The first is full, or closed, or wants none.
    api.stand_in.refuse(&Method::POST, "lobby", Some((403, 50430)));

    visitor.sign_in(&setup.service).await;

    let begun = Instant::now();
    let member = member(&mut visitor, &setup.service).await;
    until("the guest's end", || api.stand_in.conversations_of(&guest).is_empty()).await;
    assert_eq!(api.stand_in.conversations_of(&member), ["den"]);
    assert_eq!(audited(&member, &guest), [("guest_carried_over".to_owned(), 1, 1)]);
    assert!(begun.elapsed() < Duration::from_secs(5), "somebody slept on it");
}

#[tokio::test]
async fn nobody_is_told_that_all_is_carried_over_when_nothing_is() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3\nprefix = \"guest-nothing-\""), "").await;
    let mut visitor = setup.visitor();
    let guest = identity(&come(&mut visitor, &setup.service.url).await);
    api.stand_in.join(&guest, "den");
    api.stand_in.refuse(&Method::POST, "den", Some((403, 50430)));

    visitor.sign_in(&setup.service).await;

    let member = member(&mut visitor, &setup.service).await;
    until("the guest's end", || api.stand_in.conversations_of(&guest).is_empty()).await;
    assert_eq!(audited(&member, &guest), [("guest_not_carried_over".to_owned(), 0, 1)]);
}

/// `GET …/Users/..` would be another resource, so that nobody can look what it is in.
#[tokio::test]
async fn a_member_that_no_url_can_name_inherits_nothing_and_holds_nothing_up() {
    let api = TwilioApi::start().await;
    let redis = RedisServer::start();
    let provider = FakeProvider::start().await;
    let provider_keys = format!(
        "{}identity = \"claims.sub == '' ? claims.sub : '..'\"\n",
        provider_section(&provider, "")
    );
    let further = format!("{}\n{provider_keys}", api.sections("size = 3\nprefix = \"guest-odd-\""));
    let service = TestService::start(&redis.url(), &further).await;
    let mut visitor = Visitor::of(&service);
    let guest = identity(&come(&mut visitor, &service.url).await);
    api.stand_in.join(&guest, "den");

    visitor.sign_in(&service).await;

    assert_eq!(member(&mut visitor, &service).await, "..");
    until("the guest's end", || api.stand_in.conversations_of(&guest).is_empty()).await;
    assert_eq!(audited("..", &guest), [("guest_not_carried_over".to_owned(), 0, 1)]);
}

#[tokio::test]
async fn a_member_that_signed_in_long_ago_is_not_made_active_by_us() {
    let api = TwilioApi::start().await;
    // The provider's time, which the login is judged by; but it can be put forward.
    let clock = Clock { begins: RedisServer::start().time(), speed: 1.0 };
    let mut redis = RedisServer::start_with_clock(clock, &[]);
    let provider = FakeProvider::start().await;
    let further = format!(
        "{}\n{}",
        api.sections("size = 3\nprefix = \"guest-late-\""),
        provider_section(&provider, "")
    );
    let service = TestService::start(&redis.url(), &further).await;
    let mut visitor = Visitor::of(&service);
    let guest = identity(&come(&mut visitor, &service.url).await);
    api.stand_in.join(&guest, "den");
    api.always(Some(Trouble::Broken(503)));
    visitor.sign_in(&service).await;
    let member = member(&mut visitor, &service).await;
    assert!(!member.starts_with("guest-"), "{member}");
    redis.put_forward(Duration::from_hours(24 * 40));
    let _before = api.stand_in.made_active();

    api.always(None);

    until("the audit line", || !audited(&member, &guest).is_empty()).await;
    assert_eq!(audited(&member, &guest), [("guest_not_carried_over".to_owned(), 0, 1)]);
    assert!(api.stand_in.conversations_of(&member).is_empty());
    // Nor is the guest: it waits until it is worth a month's price.
    let stale = format!("{}:stale", POOL.replace("guest-", "guest-late-"));
    let stale = || redis.ask::<u32>(&["ZCARD", &stale]);
    until("a stale guest", || stale() == 1).await;
    assert_eq!(api.stand_in.made_active().len(), 0);
    assert_eq!(audited(&member, &guest).len(), 1);
    assert!(!log::lines_with("not carried over in time").is_empty());
}
