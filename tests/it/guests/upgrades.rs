//! A guest that signs in becomes a member in one step; whoever was a member and is not any more becomes no guest unasked.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{come, guests, identity, with_pool};
use crate::events::is_as_documented;
use crate::support::fake_provider::{FakeProvider, Twist};
use crate::support::log;
use crate::support::policies::{self, section, serve};
use crate::support::proxy::Proxy;
use crate::support::redis::RedisServer;
use crate::support::service::TestService;
use crate::support::setup::{Setup, provider_section};
use crate::support::twilio_api::TwilioApi;
use crate::support::visitor::Visitor;

const GUEST: &str = "vestibule-guest";
const SESSION: &str = "vestibule";

/// Lines of the audit log about guests with this prefix, which no other test has.
fn audited(prefix: &str, event: &str) -> Vec<Value> {
    let lines =
        log::lines_with(prefix).into_iter().map(|line| serde_json::from_str(&line).unwrap());
    lines
        .filter(|line: &Value| line["target"] == "vestibule::audit" && line["event"] == event)
        .collect()
}

#[tokio::test]
async fn whoever_signs_in_with_a_copy_of_a_guests_cookie_takes_nothing_along() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3\nprefix = \"guest-copied-\""), "").await;
    let mut owner = setup.visitor();
    let guest = identity(&come(&mut owner, &setup.service.url).await);
    api.stand_in.join(&guest, "den");
    let mut copy = owner.clone();
    policies::sign_in(&mut owner, &setup.service, "fake", "alice").await;
    let alice = identity(&owner.post(&setup.url("/token")).await);
    super::scrubbing::until("the heir", || api.stand_in.conversations_of(&alice) == ["den"]).await;

    let welcome = policies::sign_in(&mut copy, &setup.service, "fake", "mallory").await;

    assert_eq!(welcome.status, StatusCode::SEE_OTHER, "a login is a login");
    assert!(!copy.cookies.contains_key(GUEST));
    let mallory = identity(&copy.post(&setup.url("/token")).await);
    assert_ne!(mallory, alice);
    super::scrubbing::until("the guest's end", || api.stand_in.conversations_of(&guest).is_empty())
        .await;
    assert!(api.stand_in.conversations_of(&mallory).is_empty());
}

#[tokio::test]
async fn a_guest_that_signed_in_and_out_is_nobody_and_comes_again_as_another() {
    let setup = with_pool(3).await;
    let mut visitor = setup.visitor();
    come(&mut visitor, &setup.service.url).await;
    visitor.sign_in(&setup.service).await;

    let out = visitor.post(&setup.url("/logout")).await;

    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(visitor.cookies.keys().all(|name| name == "vestibule-login"), "{:?}", visitor.cookies);
    assert_eq!(visitor.post(&setup.url("/token")).await.code(), "login_required");
    let another = come(&mut visitor, &setup.service.url).await;
    assert_eq!((another.status, identity(&another)), (StatusCode::CREATED, "guest-2".to_owned()));
}

#[tokio::test]
async fn whom_the_policy_denies_stays_the_guest_that_it_was() {
    let redis = RedisServer::start();
    let provider = FakeProvider::start().await;
    let sections = section("fake", &provider, "", "allow = \"!('banned' in claims)\"");
    let service = serve(&redis.url(), &format!("{}{sections}", guests("size = 3"))).await;
    let mut visitor = policies::visitor();
    come(&mut visitor, &service.url).await;
    policies::says(&provider, vec![("banned", Some(true.into()))]);

    let denied = policies::sign_in(&mut visitor, &service, "fake", "alice").await;

    assert_eq!(denied.code(), "access_denied");
    assert_eq!(identity(&policies::token(&mut visitor, &service).await), "guest-1");
    provider.twist([Twist::Claim("sub", None)]);
    let failed = policies::sign_in(&mut visitor, &service, "fake", "alice").await;
    assert!(failed.status.is_client_error(), "{failed:?}");
    assert_eq!(identity(&policies::token(&mut visitor, &service).await), "guest-1");
}

#[tokio::test]
async fn a_store_that_goes_away_before_the_lease_ends_leaves_guest_and_former_session_as_they_were()
{
    let redis = RedisServer::start();
    let proxy = Proxy::before(redis.address()).await;
    let provider = FakeProvider::start().await;
    let sections = format!("{}{}", guests("size = 9"), provider_section(&provider, ""));
    let service = TestService::start(&proxy.url(), &sections).await;
    let url = |path: &str| format!("{}{path}", service.url);
    // Each step once, so that Redis knows the scripts.
    let mut somebody = Visitor::of(&service);
    come(&mut somebody, &service.url).await;
    somebody.sign_in(&service).await;
    somebody.sign_in(&service).await;
    // A browser with both, in which somebody else signs in.
    let mut visitor = Visitor::of(&service);
    come(&mut visitor, &service.url).await;
    let guest = visitor.cookies[GUEST].clone();
    policies::sign_in(&mut visitor, &service, "fake", "alice").await;
    let mut second = Visitor::of(&service);
    let second_guest = identity(&come(&mut second, &service.url).await);
    assert_ne!(guest, second.cookies[GUEST]);
    visitor.cookies.insert(GUEST.to_owned(), second.cookies[GUEST].clone());
    let alice = identity(&visitor.post(&url("/token")).await);
    let steps = ["take_login_once", "find_identity", "claim_identity", "open_session", "end_lease"];
    let mut ended = false;
    // The last one more often: what workers ask meanwhile counts too.
    for turn in (0..steps.len()).chain([steps.len() - 1; 9]) {
        if ended {
            break;
        }
        let callback = policies::walk(&mut visitor, &service, "fake", &format!("bob-{turn}")).await;

        proxy.refuse_after(turn);
        let away = visitor.get(&callback).await;
        proxy.clear_up();

        assert_eq!(away.code(), "store_unavailable", "{}", steps[turn]);
        assert_eq!(identity(&visitor.post(&url("/token")).await), alice, "{}", steps[turn]);
        let lent = second.post(&url("/token")).await;
        // The proxy lets the step be done and loses its reply.
        ended = turn == steps.len() - 1 && lent.status == StatusCode::UNAUTHORIZED;
        assert!(ended || identity(&lent) == second_guest, "{} {lent:?}", steps[turn]);
    }
    assert!(ended, "the lease ends before the session of before does");

    let callback = policies::walk(&mut visitor, &service, "fake", "bob").await;
    assert_eq!(visitor.get(&callback).await.status, StatusCode::SEE_OTHER);
    assert_ne!(identity(&visitor.post(&url("/token")).await), alice);
    assert!(!visitor.cookies.contains_key(GUEST));
}

#[tokio::test]
async fn a_dead_session_is_not_passed_over_for_a_guest() {
    let setup = with_pool(3).await;
    let mut visitor = setup.visitor();
    come(&mut visitor, &setup.service.url).await;
    let guest = visitor.cookies[GUEST].clone();
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;
    let session = alice.cookies[SESSION].clone();
    alice.post(&setup.url("/logout")).await;

    for dead in [session.as_str(), "x"] {
        visitor.cookies.insert(SESSION.to_owned(), dead.to_owned());
        for (method, path) in [
            (Method::POST, "/token"),
            (Method::GET, "/session"),
            (Method::POST, "/guest"),
            (Method::POST, "/guest"),
        ] {
            let refused = visitor.send(method, &setup.url(path), &[]).await;
            assert_eq!(refused.code(), "session_expired", "{path} {dead}");
            assert!(refused.body.contains("Sign in again."), "{refused:?}");
        }

        // The explicit step, which a person takes who wants to go on without signing in.
        let told = visitor.post(&setup.url("/logout")).await;

        assert_eq!(told.code(), "session_expired");
        assert!(!visitor.cookies.contains_key(SESSION), "the browser forgets it all the same");
        assert_eq!(visitor.cookies[GUEST], guest);
        assert_eq!(identity(&visitor.post(&setup.url("/token")).await), "guest-1");
        assert_eq!(identity(&come(&mut visitor, &setup.service.url).await), "guest-1");
    }
    // From another page nobody takes it.
    visitor.cookies.insert(SESSION.to_owned(), session);
    visitor.origin = Some("https://evil.example".to_owned());
    assert_eq!(visitor.post(&setup.url("/logout")).await.code(), "origin_not_allowed");
    assert!(visitor.cookies.contains_key(SESSION));
}

#[tokio::test]
async fn a_login_over_a_session_with_a_guest_beside_it_ends_both() {
    let setup = with_pool(3).await;
    let mut visitor = setup.visitor();
    policies::sign_in(&mut visitor, &setup.service, "fake", "alice").await;
    let mut former = visitor.clone();
    let mut guest = setup.visitor();
    come(&mut guest, &setup.service.url).await;
    visitor.cookies.insert(GUEST.to_owned(), guest.cookies[GUEST].clone());
    let alice = identity(&visitor.post(&setup.url("/token")).await);

    policies::sign_in(&mut visitor, &setup.service, "fake", "bob").await;

    assert!(!visitor.cookies.contains_key(GUEST));
    assert_ne!(identity(&visitor.post(&setup.url("/token")).await), alice);
    assert_eq!(former.post(&setup.url("/token")).await.code(), "session_expired");
    assert_eq!(guest.post(&setup.url("/token")).await.code(), "session_expired");
}

#[tokio::test]
async fn each_thing_that_happens_to_a_guest_has_its_line() {
    let api = TwilioApi::start().await;
    let prefix = "guest-audited-";
    let keys = format!("size = 3\nprefix = \"{prefix}\"");
    let setup = Setup::with(&api.sections(&keys), "").await;
    let [mut one, mut other] = [setup.visitor(), setup.visitor()];
    let first = identity(&come(&mut one, &setup.service.url).await);
    come(&mut one, &setup.service.url).await;
    one.post(&setup.url("/token")).await;
    let second = identity(&come(&mut other, &setup.service.url).await);
    api.stand_in.join(&first, "den");

    // Each once more with a copy of the cookie, which ends nothing any more.
    let [mut copy_of_one, mut copy_of_other] = [one.clone(), other.clone()];
    one.sign_in(&setup.service).await;
    for visitor in [&mut other, &mut copy_of_other] {
        let gone = visitor.send(Method::DELETE, &setup.url("/guest"), &[]).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
    }
    policies::sign_in(&mut copy_of_one, &setup.service, "fake", "mallory").await;

    let alice = identity(&one.post(&setup.url("/token")).await);
    super::scrubbing::until("the heir", || api.stand_in.conversations_of(&alice) == ["den"]).await;
    super::scrubbing::until("its line", || audited(prefix, "guest_carried_over").len() == 1).await;
    for (event, identities) in [
        ("guest_lent", vec![&first, &second]),
        ("guest_returned", vec![&first]),
        ("guest_given_back", vec![&second]),
        ("guest_signed_in", vec![&alice]),
        ("guest_carried_over", vec![&alice]),
    ] {
        let lines = audited(prefix, event);
        let of: Vec<_> = lines.iter().map(|line| line["identity"].as_str().unwrap()).collect();
        assert_eq!(of, identities, "{event}");
        for line in &lines {
            is_as_documented(line, &[]);
        }
    }
    let mints = audited(prefix, "mint");
    // Two first tokens, one when it came again, one more.
    assert_eq!(mints.len(), 4);
    for line in &mints {
        is_as_documented(line, &["provider", "client"]);
        assert_eq!(line["path"], "guest");
    }
}
