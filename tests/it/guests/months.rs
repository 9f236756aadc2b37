//! Twilio bills an identity for each month in which it is active: what that costs is the least that it can.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};

use super::scrubbing::{QUICK, until, until_lent};
use super::{POOL, come_without_cookie, identity, with_secret};
use crate::support::fake_provider::{FakeProvider, payload};
use crate::support::redis::{Clock, RedisServer};
use crate::support::service::TestService;
use crate::support::setup::provider_section;
use crate::support::twilio_api::{Trouble, TwilioApi};

/// The first moment of December 2026, in seconds.
const DECEMBER: f64 = 1_796_083_200.0;

/// A service whose store's clock begins so many seconds before December.
async fn before(
    seconds: f64,
    speed: f64,
    api: &TwilioApi,
    guests: &str,
) -> (RedisServer, FakeProvider, TestService) {
    let clock = Clock { begins: DECEMBER - seconds, speed };
    let redis = RedisServer::start_with_clock(clock, &[]);
    let provider = FakeProvider::start().await;
    let further = format!("{}\n{}", api.sections(guests), provider_section(&provider, ""));
    let service = TestService::start(&redis.url(), &further).await;
    (redis, provider, service)
}

/// What the store says of a month's count.
fn active(redis: &RedisServer, month: u32) -> u32 {
    let count: Option<u32> = redis.ask(&["HGET", POOL, &format!("a{month}")]);
    count.unwrap_or(0)
}

const NOVEMBER: u32 = 2026 * 12 + 10;

async fn december(redis: &RedisServer) {
    until("December", || redis.time() > DECEMBER).await;
}

#[tokio::test]
async fn the_next_visitor_has_the_guest_that_is_paid_for() {
    let api = TwilioApi::start().await;
    let (redis, _provider, service) =
        before(20.0 * 86_400.0, 120.0, &api, &format!("size = 50\n{QUICK}")).await;
    for _ in 0..3 {
        let lent = come_without_cookie(&service.url, None).await;
        assert_eq!((lent.status, identity(&lent)), (StatusCode::CREATED, "guest-1".to_owned()));
        // The lease, the token and the cool-down take two minutes of the store's.
        until("an idle guest", || {
            let idle: Vec<String> =
                redis.ask(&["ZRANGE", &format!("{POOL}:idle:{NOVEMBER}"), "0", "-1"]);
            idle == ["1"]
        })
        .await;
    }

    assert_eq!(active(&redis, NOVEMBER), 1);
}

#[tokio::test]
async fn a_budget_is_a_months_and_the_next_month_has_its_own() {
    let api = TwilioApi::start().await;
    let guests = format!("size = 5\nmonthly_budget = 1\n{QUICK}");
    let (redis, _provider, service) = before(300.0, 60.0, &api, &guests).await;
    let first = come_without_cookie(&service.url, None).await.json();
    assert_eq!(come_without_cookie(&service.url, None).await.code(), "guest_budget_reached");
    december(&redis).await;

    // Nobody is active in December yet, for nobody came for a second token.
    let second = until_lent(&service.url).await;
    let third = come_without_cookie(&service.url, None).await;

    assert_eq!((active(&redis, NOVEMBER), active(&redis, NOVEMBER + 1)), (1, 1));
    assert_eq!(
        first["identity"],
        identity(&second),
        "the one that is idle, before one that never was"
    );
    assert_eq!(third.code(), "guest_budget_reached");
}

#[tokio::test]
async fn a_token_that_outlasts_the_month_counts_in_both() {
    let api = TwilioApi::start().await;
    let (redis, _provider, service) = before(30.0, 1.0, &api, &format!("size = 5\n{QUICK}")).await;

    come_without_cookie(&service.url, None).await;

    assert_eq!((active(&redis, NOVEMBER), active(&redis, NOVEMBER + 1)), (1, 1));
}

#[tokio::test]
async fn what_cools_over_the_months_end_is_scrubbed_before_it() {
    let api = TwilioApi::start().await;
    let guests = format!("size = 2\n{}", QUICK.replace("cooldown = \"1m\"", "cooldown = \"2h\""));
    let (redis, _provider, service) = before(900.0, 100.0, &api, &guests).await;
    come_without_cookie(&service.url, None).await;
    api.stand_in.join("guest-1", "den");

    until("the scrub", || api.stand_in.conversations_of("guest-1").is_empty()).await;

    let at = redis.time();
    assert!(at < DECEMBER, "{} s too late", at - DECEMBER);
    assert!(
        at > DECEMBER - 700.0,
        "{} s too early: its holder might have come back",
        DECEMBER - at
    );
}

#[tokio::test]
async fn what_could_not_be_scrubbed_in_its_month_waits_until_it_is_worth_another() {
    let api = TwilioApi::start().await;
    let (redis, _provider, service) =
        before(240.0, 60.0, &api, &format!("size = 2\n{QUICK}")).await;
    let first = come_without_cookie(&service.url, None).await.json();
    api.stand_in.join("guest-1", "den");
    api.always(Some(Trouble::Broken(503)));
    with_secret(
        Method::DELETE,
        &format!("{}/guest", service.url),
        first["lease_secret"].as_str().unwrap(),
    )
    .await;
    december(&redis).await;
    api.always(None);
    let stale = || redis.ask::<u32>(&["ZCARD", &format!("{POOL}:stale")]);
    until("a stale guest", || stale() == 1).await;
    assert_eq!(api.stand_in.conversations_of("guest-1"), ["den"], "to take it out would cost");
    assert_eq!(active(&redis, NOVEMBER + 1), 0);
    let _before = api.stand_in.made_active();

    // The other one is clean, and costs as much.
    let second = come_without_cookie(&service.url, None).await;
    assert_eq!(identity(&second), "guest-2");
    assert_eq!((stale(), active(&redis, NOVEMBER + 1)), (1, 1));
    // Now there is no other.
    let begun = Instant::now();
    let refused = come_without_cookie(&service.url, None).await;
    assert_eq!(
        (refused.code(), &refused.headers["retry-after"]),
        ("pool_exhausted".to_owned(), &"2".parse().unwrap())
    );
    let third = until_lent(&service.url).await;

    assert_eq!(identity(&third), "guest-1");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(active(&redis, NOVEMBER + 1), 2, "one price covers the scrub and the lend");
    assert!(api.stand_in.conversations_of("guest-1").is_empty());
    assert_eq!(api.stand_in.made_active().into_iter().collect::<Vec<_>>(), ["guest-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_each_guest_counts_in_the_months_in_which_it_had_a_token() {
    let api = TwilioApi::start().await;
    let guests = format!("size = 5000\n{QUICK}");
    let (redis, provider, service) = before(3.0, 1.0, &api, &guests).await;
    let further = format!("{}\n{}", api.sections(&guests), provider_section(&provider, ""));
    let replica = TestService::start_replica_of(&service, &redis.url(), &further).await;
    let over = Instant::now() + Duration::from_secs(6);

    let visits = (0..40).map(async |client: usize| {
        let url = if client.is_multiple_of(2) { &service.url } else { &replica.url };
        let mut seen = Vec::new();
        while Instant::now() < over {
            let lent = come_without_cookie(url, None).await;
            assert_eq!(lent.status, StatusCode::CREATED, "{lent:?}");
            let claims = payload(lent.json()["token"].as_str().unwrap()).unwrap();
            seen.push((identity(&lent), claims["iat"].as_f64().unwrap()));
        }
        seen
    });
    let seen = join_all(visits).await.concat();

    // Each token lasts a minute, and so those of November live in December too.
    let of_november = seen.iter().filter(|(_, iat)| *iat < DECEMBER).map(|(guest, _)| guest);
    let of_november = of_november.collect::<BTreeSet<_>>().len();
    let all = seen.iter().map(|(guest, _)| guest).collect::<BTreeSet<_>>().len();
    assert!(of_november > 40 && all > of_november + 40, "{of_november} of {all}: no load");
    let counted = (active(&redis, NOVEMBER), active(&redis, NOVEMBER + 1));
    assert_eq!((counted.0 as usize, counted.1 as usize), (of_november, all));
}
