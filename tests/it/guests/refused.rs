//! What Twilio refuses about one guest, one room or one role keeps nothing else waiting, and is told.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::scrubbing::{QUICK, fast, until};
use super::{come_without_cookie, identity, with_secret};
use crate::support::log;
use crate::support::setup::Setup;
use crate::support::twilio_api::{Trouble, TwilioApi};
use crate::support::visitor::Visitor;

/// How often it was asked for that, and what else it was asked for is forgotten.
fn times(api: &TwilioApi, wanted: &Method, path: &str) -> usize {
    let asked = api.stand_in.requests();
    asked.iter().filter(|(method, it)| method == wanted && it.contains(path)).count()
}

async fn ops(service: &str, path: &str) -> String {
    Visitor::on_a_page_of(service).get(&format!("{service}{path}")).await.body
}

/// Gives a guest back, which is scrubbed then.
async fn give_back(service: &str, guest: &Value) {
    let secret = guest["lease_secret"].as_str().unwrap();
    let gone = with_secret(Method::DELETE, &format!("{service}/guest"), secret).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_room_that_is_not_there_keeps_guests_out_of_no_other() {
    let api = TwilioApi::start().await;
    let keys = "size = 9\nconversations = [\"gone-room\", \"den\"]";
    let setup = Setup::with(&api.sections(keys), "").await;

    for number in 1..=3 {
        come_without_cookie(&setup.service.url, None).await;
        let guest = format!("guest-{number}");
        until("the other room", || api.stand_in.conversations_of(&guest) == ["den"]).await;
    }

    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(times(&api, &Method::POST, "gone-room"), 3, "one each, and no other soon");
    let told = log::lines_with("gone-room");
    for number in 1..=3 {
        let guest = format!("\"guest-{number}\"");
        assert!(told.iter().any(|line| line.contains(&guest)), "{told:?}");
    }
    let metrics = ops(&setup.service.ops_url, "/metrics").await;
    assert!(metrics.contains("vestibule_guests{state=\"joining\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn a_role_that_is_not_there_is_asked_for_once_for_all() {
    let api = TwilioApi::start().await;
    let keys = "size = 9\nconversations = [\"den\"]\nrole = \"nobody's role\"";
    let setup = Setup::with(&api.sections(keys), "").await;
    for _ in 0..5 {
        come_without_cookie(&setup.service.url, None).await;
    }

    until("its lines", || log::lines_with("nobody's role").len() >= 5).await;

    assert_eq!(times(&api, &Method::GET, "/Roles"), 1);
}

#[tokio::test]
async fn a_role_that_twilio_refuses_is_asked_for_again() {
    let api = TwilioApi::start().await;
    let keys = "size = 9\nconversations = [\"den\"]\nrole = \"channel admin\"";
    let (_redis, _provider, service) = fast(20.0, &api, keys).await;
    api.at("/Participants", Some(Trouble::Refused(400, 50300)));
    come_without_cookie(&service.url, None).await;
    until("a try", || api.writes().len() == 1).await;
    // A minute of the store's later it may be another.
    tokio::time::sleep(Duration::from_secs(3)).await;
    api.at("/Participants", None);

    until("the room", || api.stand_in.role_in("den", "guest-1") == Some("channel admin")).await;

    assert_eq!(times(&api, &Method::GET, "/Roles"), 2);
}

#[tokio::test]
async fn what_cannot_be_left_keeps_nothing_else_from_being_scrubbed() {
    let api = TwilioApi::start().await;
    let (_redis, _provider, service) = fast(20.0, &api, "size = 1").await;
    let guest = come_without_cookie(&service.url, None).await.json();
    for room in ["lobby", "den"] {
        api.stand_in.join("guest-1", room);
    }
    api.stand_in.bind("guest-1");
    api.stand_in.name("guest-1", "Mallory", r#"{"color":"red"}"#);
    api.stand_in.refuse(&Method::DELETE, "lobby", Some((403, 50430)));

    give_back(&service.url, &guest).await;

    until("the rest", || !api.stand_in.is_marked("guest-1")).await;
    assert_eq!(api.stand_in.conversations_of("guest-1"), ["lobby"]);
    // Nobody gets it so.
    assert_eq!(come_without_cookie(&service.url, None).await.code(), "pool_exhausted");
    api.stand_in.refuse(&Method::DELETE, "lobby", None);
    until("all of it", || api.stand_in.conversations_of("guest-1").is_empty()).await;
}

#[tokio::test]
async fn the_default_role_is_asked_for_only_where_there_is_a_user_and_another_role_is_seen() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3"), "").await;
    let url = &setup.service.url;
    let (first, second) =
        (come_without_cookie(url, None).await.json(), come_without_cookie(url, None).await.json());

    let asked = |requests: &[(Method, String)], part: &str| {
        requests.iter().filter(|(_, path)| path.contains(part)).count()
    };

    give_back(url, &first).await;
    let mut requests = Vec::new();
    until("the scrub", || {
        requests.extend(api.stand_in.requests());
        asked(&requests, "/Bindings") > 0 && asked(&requests, "/Users/guest-1") >= 2
    })
    .await;
    assert_eq!(asked(&requests, "/Configuration"), 0, "{requests:?}");

    api.stand_in.make_admin("guest-2");
    give_back(url, &second).await;
    until("the reset", || !api.stand_in.is_marked("guest-2")).await;
    assert_eq!(times(&api, &Method::GET, "/Configuration"), 1);
}

#[tokio::test]
async fn a_key_that_may_not_look_at_devices_is_told_by_readyz() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3\nconversations = [\"lobby\"]"), "").await;
    let guest = come_without_cookie(&setup.service.url, None).await.json();
    until("the room", || api.stand_in.conversations_of("guest-1") == ["lobby"]).await;
    let ops_url = &setup.service.ops_url;
    let state = async || ops(ops_url, "/readyz").await;
    assert!(state().await.contains(r#""twilio":"answers""#));
    api.at("/Bindings", Some(Trouble::Refused(403, 20001)));

    give_back(&setup.service.url, &guest).await;

    let begun = Instant::now();
    while !state().await.contains(r#""twilio":"refused""#) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", state().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Another guest's join succeeds, and hides nothing.
    come_without_cookie(&setup.service.url, None).await;
    until("the room", || api.stand_in.conversations_of("guest-2") == ["lobby"]).await;
    assert!(state().await.contains(r#""twilio":"refused""#));
}

#[tokio::test]
async fn the_metrics_call_idle_what_operators_are_told_is() {
    let api = TwilioApi::start().await;
    let sections =
        format!("{}[ops]\ntoken = \"canary-ops-token-0001\"\n", api.sections("size = 9"));
    let setup = Setup::with(&sections, "").await;
    come_without_cookie(&setup.service.url, None).await;
    let ops_url = &setup.service.ops_url;
    let mut operator = Visitor::on_a_page_of(ops_url);
    let token = [("authorization", "Bearer canary-ops-token-0001")];
    let pool = operator.send(Method::GET, &format!("{ops_url}/api/guests"), &token).await.json();
    assert_eq!((&pool["idle"], &pool["lent"]), (&8.into(), &1.into()));

    let begun = Instant::now();
    loop {
        let metrics = ops(ops_url, "/metrics").await;
        if metrics.contains("vestibule_guests{state=\"lent\"} 1\n") {
            assert!(metrics.contains("vestibule_guests{state=\"idle\"} 8\n"), "{metrics}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{metrics}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn twilio_is_left_alone_for_as_long_as_it_says() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3\nconversations = [\"lobby\"]"), "").await;
    // Longer than a call waits.
    api.next([Trouble::Busy(Duration::from_secs(14))]);

    come_without_cookie(&setup.service.url, None).await;

    until("the room", || api.stand_in.conversations_of("guest-1") == ["lobby"]).await;
    let writes = api.writes();
    assert_eq!(writes.len(), 2);
    let waited = writes[1] - writes[0];
    assert!(waited >= Duration::from_secs(14), "{waited:?}");
}

#[tokio::test]
async fn nothing_is_written_for_a_lease_that_is_nearly_over() {
    let api = TwilioApi::start().await;
    let keys = format!("size = 3\nconversations = [\"den\"]\nrole = \"channel user\"\n{QUICK}");
    let (redis, _provider, service) = fast(10.0, &api, &keys).await;
    // 47 seconds of the store's, for a lease of a minute.
    api.at("/Roles", Some(Trouble::Late(Duration::from_millis(4_700))));

    let lent = come_without_cookie(&service.url, None).await;

    assert_eq!(identity(&lent), "guest-1");
    until("the role", || times(&api, &Method::GET, "/Roles") == 1).await;
    let asked = redis.time();
    until("the lease's end", || redis.time() > asked + 70.0).await;
    assert_eq!(api.writes().len(), 0);
    assert!(api.stand_in.conversations_of("guest-1").is_empty());
}

#[tokio::test]
async fn a_process_that_ends_gives_its_guests_to_the_next() {
    let api = TwilioApi::start().await;
    let setup = Setup::with(&api.sections("size = 3"), "").await;
    let guest = come_without_cookie(&setup.service.url, None).await.json();
    for room in ["lobby", "den"] {
        api.stand_in.join("guest-1", room);
    }
    api.at("/Users/guest-1/Conversations", Some(Trouble::Late(Duration::from_secs(1))));
    api.stand_in.requests();
    give_back(&setup.service.url, &guest).await;
    until("the scrub", || !api.stand_in.requests().is_empty()).await;
    let replica = setup.replica().await;
    let begun = Instant::now();

    let Setup { redis: _redis, provider: _provider, service, .. } = setup;
    drop(service);

    until("the next one's scrub", || api.stand_in.conversations_of("guest-1").is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(replica);
}
