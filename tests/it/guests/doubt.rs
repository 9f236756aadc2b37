//! A store that has lost its last writes lends nothing that might be lent.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use super::scrubbing::{QUICK, until, until_lent};
use super::{POOL, come_without_cookie, identity, with_secret};
use crate::support::fake_provider::FakeProvider;
use crate::support::redis::{Clock, RedisServer};
use crate::support::service::TestService;
use crate::support::setup::provider_section;
use crate::support::twilio_api::TwilioApi;

const SPEED: f64 = 60.0;

struct Stage {
    redis: RedisServer,
    api: TwilioApi,
    service: TestService,
    _provider: FakeProvider,
}

async fn stage(settings: &[&str], guests: &str) -> Stage {
    let api = TwilioApi::start().await;
    let clock = Clock { begins: 1_794_312_000.0, speed: SPEED };
    let redis = RedisServer::start_with_clock(clock, settings);
    let provider = FakeProvider::start().await;
    let further = format!("{}\n{}", api.sections(guests), provider_section(&provider, ""));
    let service = TestService::start(&redis.url(), &further).await;
    Stage { redis, api, service, _provider: provider }
}

impl Stage {
    async fn lend(&self) -> (String, String) {
        let lent = come_without_cookie(&self.service.url, None).await;
        assert_eq!(lent.status, StatusCode::CREATED, "{lent:?}");
        (identity(&lent), lent.json()["lease_secret"].as_str().unwrap().to_owned())
    }

    async fn token(&self, secret: &str) -> StatusCode {
        with_secret(Method::POST, &format!("{}/token", self.service.url), secret).await.status
    }

    /// Until the next lend, in seconds of the store's, from `since` on.
    async fn quarantine(&self, since: f64) -> f64 {
        until_lent(&self.service.url).await;
        self.redis.time() - since
    }
}

/// A token lasts ten minutes, the first one a minute, and a guest cools for one.
const LONG: &str =
    "size = 3\nfirst_token_ttl = \"1m\"\ntoken_ttl = \"10m\"\nlease = \"10m\"\ncooldown = \"1m\"\n";

const LOGGED: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test]
async fn a_restart_costs_as_long_as_a_first_token_may_live_and_holders_go_on() {
    let mut stage = stage(LOGGED, LONG).await;
    let (_, secret) = stage.lend().await;
    assert_eq!(stage.token(&secret).await, StatusCode::OK);
    stage.redis.stop();
    stage.redis.start_again();
    let began = stage.redis.time();

    assert_eq!(stage.token(&secret).await, StatusCode::OK, "its holder is known");
    let refused = come_without_cookie(&stage.service.url, None).await;
    assert_eq!(refused.code(), "pool_exhausted");
    let took = stage.quarantine(began).await;

    assert!((119.0..300.0).contains(&took), "{took}");
}

#[tokio::test]
async fn a_store_that_lost_everything_costs_as_long_as_any_token_may_live() {
    let mut stage = stage(&[], LONG).await;
    let (_, secret) = stage.lend().await;
    assert_eq!(stage.token(&secret).await, StatusCode::OK);
    stage.redis.stop();
    stage.redis.start_again();
    let began = stage.redis.time();

    assert_eq!(stage.token(&secret).await, StatusCode::UNAUTHORIZED, "nobody knows whose it was");
    let took = stage.quarantine(began).await;

    assert!((659.0..900.0).contains(&took), "{took}");
}

#[tokio::test]
async fn a_store_that_was_emptied_under_a_running_process_is_no_first_start() {
    let stage = stage(&[], &format!("size = 3\n{QUICK}")).await;
    stage.lend().await;
    // Each process looks at the month's count every two seconds.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let _ok: String = stage.redis.ask(&["FLUSHALL"]);
    let began = stage.redis.time();

    let refused = come_without_cookie(&stage.service.url, None).await;
    assert_eq!(refused.code(), "pool_exhausted");
    let took = stage.quarantine(began).await;

    assert!((119.0..300.0).contains(&took), "{took}");
    let month: Vec<String> = stage.redis.ask(&["HGETALL", POOL]);
    let active = month.iter().position(|field| field == "a24322").map(|at| month[at + 1].clone());
    assert!(
        active.is_some_and(|count| count.parse::<u32>().unwrap() >= 2),
        "the month's count survives: {month:?}"
    );
}

#[tokio::test]
async fn an_empty_store_is_a_first_start() {
    let stage = stage(&[], LONG).await;

    assert_eq!(stage.lend().await.0, "guest-1");
}

#[tokio::test]
async fn a_replica_that_takes_over_keeps_back_what_it_may_not_have_heard_of() {
    let api = TwilioApi::start().await;
    let provider = FakeProvider::start().await;
    let master = RedisServer::start();
    let replica = master.replica();
    let proxy = crate::support::proxy::Proxy::before(replica.address()).await;
    let further = format!("{}\n{}", api.sections(LONG), provider_section(&provider, ""));
    let first = TestService::start(&master.url(), &further).await;
    let lent = come_without_cookie(&first.url, None).await;
    let secret = lent.json()["lease_secret"].as_str().unwrap().to_owned();
    until("the replica", || replica.ask::<usize>(&["EXISTS", &format!("{POOL}:1")]) == 1).await;
    let _ok: String = replica.ask(&["REPLICAOF", "NO", "ONE"]);

    // The operator's new master; another process, which knows nothing of the old one.
    let second = TestService::start_replica_of(&first, &proxy.url(), &further).await;

    let refused = come_without_cookie(&second.url, None).await;
    assert_eq!(refused.code(), "pool_exhausted");
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    // What is lost at most, the first token, and the cool-down.
    assert!((120..=140).contains(&after), "{after}");
    let token = with_secret(Method::POST, &format!("{}/token", second.url), &secret).await;
    assert_eq!(token.status, StatusCode::OK);
}

#[tokio::test]
async fn idle_guests_are_seen_clean_again_after_a_doubt() {
    let mut stage = stage(LOGGED, &format!("size = 1\n{QUICK}")).await;
    stage.lend().await;
    until("an idle guest", || {
        stage.redis.ask::<usize>(&["EXISTS", &format!("{POOL}:idle:24322")]) == 1
    })
    .await;
    // As if somebody whom nobody knows of had been lent it in the moment that was lost.
    stage.api.stand_in.join("guest-1", "den");
    stage.redis.stop();
    stage.redis.start_again();

    until_lent(&stage.service.url).await;

    assert!(stage.api.stand_in.conversations_of("guest-1").is_empty());
}

#[tokio::test]
async fn sessions_are_asked_about_again_after_a_doubt() {
    let sections = crate::revalidation::SEAL;
    let mut redis = RedisServer::start_on_disk();
    let provider = FakeProvider::start().await;
    let further = format!(
        "{sections}\n{}",
        provider_section(
            &provider,
            "revalidate_after = \"24h\"\nscopes = [\"openid\", \"offline_access\"]"
        )
    );
    let service = TestService::start(&redis.url(), &further).await;
    let mut alice = crate::support::visitor::Visitor::of(&service);
    alice.sign_in(&service).await;
    let token = format!("{}/token", service.url);
    assert_eq!(alice.post(&token).await.status, StatusCode::OK);
    provider.disable("alice");
    assert_eq!(alice.post(&token).await.status, StatusCode::OK, "it was asked a moment ago");
    redis.stop();
    redis.start_again();

    let begun = Instant::now();
    while alice.post(&token).await.status == StatusCode::OK {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not asked again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
