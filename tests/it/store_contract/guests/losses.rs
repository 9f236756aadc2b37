//! What a Redis has lost is measured, and what it may have lent meanwhile is kept back for as long as that can matter.

use std::time::Duration;

use vestibule::inside::Metrics;
use vestibule::inside::store::{Dated, Lease, Lent, PoolTerms, Settings, Store};

use super::super::{digest, file_store, redis_store};
use super::world::{MINUTE, TERMS, key, live, wait};
use crate::support::redis::{Clock, RedisServer};
use vestibule::inside::RequestId;
use vestibule::inside::store::{LeaseTerms, Purpose};

/// A server whose clock can be put forward, and which keeps only what it is told to save.
fn server(settings: &[&str]) -> RedisServer {
    let today = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    RedisServer::start_with_clock(Clock { begins: today, speed: 1.0 }, settings)
}

const LOGGED: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// For as long as a loss of everything keeps guests back, and a moment more.
const ANY_TOKEN: Duration = Duration::from_secs(30 * 60 + 25);

/// And one of the last moment.
const FIRST_TOKEN: Duration = Duration::from_secs(15 * 60 + 25);

async fn lend(store: &Store, who: &str, terms: &PoolTerms) -> Lent {
    store.lend_guest(&digest(who), terms).await.unwrap().value
}

async fn lent(store: &Store, who: &str) -> Lease {
    match lend(store, who, &TERMS).await {
        Lent::Guest(lease) => lease,
        other => panic!("{who}: {other:?}"),
    }
}

/// Somebody has a guest, and a token of the longest kind.
async fn hold(store: &Store, server: &mut RedisServer, who: &str) -> Lease {
    let lease = lent(store, who).await;
    server.put_forward(PoolTerms::SETTLE);
    let terms = LeaseTerms { pool: TERMS, limit: None, purpose: Purpose::Token };
    let used = store.use_lease(&key(&lease, who), &terms, RequestId::unique()).await.unwrap();
    live(used.value)
}

async fn look(store: &Store) -> bool {
    store.heed_doubt(&TERMS).await.unwrap().value.is_some()
}

async fn lives(store: &Store, lease: &Lease, who: &str) -> bool {
    store.read_lease(&key(lease, who)).await.unwrap().value.is_some()
}

/// For how long nobody is lent a guest.
async fn kept_back(store: &Store) -> Duration {
    wait(lend(store, "somebody", &TERMS).await);
    let Dated { value: pool, time } = store.describe_pool().await.unwrap();
    time.at().until(pool.quarantine_ends.unwrap())
}

fn is_about(told: Duration, expected: Duration) -> bool {
    told <= expected && told > expected.checked_sub(MINUTE).unwrap()
}

#[tokio::test]
async fn a_snapshot_of_long_ago_is_no_replica_that_took_over() {
    for knows in [true, false] {
        let mut server = server(&[]);
        let store = redis_store(&server.url()).await;
        // Once it has had a replica, a server that starts from a snapshot says that it goes on from its own former history.
        let _replica = server.replica();
        assert!(!look(&store).await);
        let _ok: String = server.ask(&["SAVE"]);
        server.put_forward(MINUTE * 10);
        assert!(!look(&store).await);
        let lease = hold(&store, &mut server, "ann").await;
        server.stop();
        server.start_again();

        let after = if knows { store } else { redis_store(&server.url()).await };

        assert!(look(&after).await);
        assert!(!lives(&after, &lease, "ann").await, "nobody knows of it");
        let told = kept_back(&after).await;
        assert!(is_about(told, ANY_TOKEN), "{told:?}, as one who knows: {knows}");
    }
}

#[tokio::test]
async fn a_server_that_gets_a_replica_or_loses_it_has_lost_nothing() {
    let server = server(&["--repl-backlog-ttl", "1"]);
    let store = redis_store(&server.url()).await;
    assert!(!look(&store).await);
    let lease = lent(&store, "ann").await;
    let history = || {
        let info: String = server.ask(&["INFO", "replication"]);
        info.lines().find(|line| line.starts_with("master_replid:")).unwrap().to_owned()
    };
    let alone = history();
    let replica = server.replica();
    let with_a_replica = history();
    assert_ne!(alone, with_a_replica);

    assert!(!look(&store).await);
    assert!(lives(&store, &lease, "ann").await);
    assert_eq!(lent(&store, "ben").await.guest, 2);
    drop(replica);
    crate::guests::until("another history", || history() != with_a_replica).await;

    assert_eq!(lent(&store, "cid").await.guest, 3);
    assert!(!look(&store).await);
}

#[tokio::test]
async fn a_replica_that_lagged_has_lost_more_than_the_last_moment() {
    for (lag, expected) in [(Duration::ZERO, FIRST_TOKEN), (MINUTE, ANY_TOKEN)] {
        let mut server = server(&[]);
        let store = redis_store(&server.url()).await;
        assert!(!look(&store).await);
        let mut replica = server.replica();
        let seen = lent(&store, "ann").await;
        crate::guests::until("the replica", || replica.ask::<usize>(&["DBSIZE"]) >= 4).await;
        let _ok: String = replica.ask(&["REPLICAOF", "127.0.0.1", "1"]);
        for clock in [&mut server, &mut replica] {
            clock.put_forward(lag);
        }
        assert!(!look(&store).await);
        lent(&store, "ben").await;
        let _ok: String = replica.ask(&["REPLICAOF", "NO", "ONE"]);
        server.stop();
        replica.move_to(&mut server);

        let told = kept_back(&store).await;

        assert!(is_about(told, expected), "{told:?} after {lag:?}");
        assert_eq!(lives(&store, &seen, "ann").await, lag.is_zero());
    }
}

#[tokio::test]
async fn a_copy_restored_under_a_running_process_is_noticed() {
    let mut server = server(LOGGED);
    let store = redis_store(&server.url()).await;
    assert!(!look(&store).await);
    let copy = server.copy();
    server.put_forward(MINUTE * 10);
    assert!(!look(&store).await);
    let lease = hold(&store, &mut server, "ann").await;
    server.stop();
    server.restore(&copy);
    server.start_again();

    // One who knows nothing of before is first to look, and the server has kept a log of its writes.
    let newcomer = redis_store(&server.url()).await;
    assert!(look(&newcomer).await);
    let told = kept_back(&newcomer).await;
    assert!(is_about(told, FIRST_TOKEN), "{told:?}");
    assert!(look(&store).await);

    let told = kept_back(&newcomer).await;
    assert!(is_about(told, ANY_TOKEN), "{told:?}");
    assert!(!lives(&newcomer, &lease, "ann").await);
}

#[tokio::test]
async fn a_long_restart_with_a_log_of_writes_loses_the_last_moment_only() {
    let mut server = server(LOGGED);
    let store = redis_store(&server.url()).await;
    let lease = hold(&store, &mut server, "ann").await;
    assert!(!look(&store).await);
    server.stop();
    server.start_again();
    server.put_forward(MINUTE * 5);

    assert!(look(&store).await);

    let told = kept_back(&store).await;
    assert!(is_about(told, FIRST_TOKEN), "{told:?}");
    assert!(lives(&store, &lease, "ann").await);
}

#[tokio::test]
async fn who_lends_for_longer_is_heard_after_who_does_not() {
    let mut server = server(&[]);
    let shorter = PoolTerms {
        first: MINUTE,
        token: MINUTE,
        lease: MINUTE,
        cooldown: MINUTE,
        size: 1,
        ..TERMS
    };
    let [first, second, third] = [
        redis_store(&server.url()).await,
        redis_store(&server.url()).await,
        redis_store(&server.url()).await,
    ];
    assert_eq!(first.heed_doubt(&shorter).await.unwrap().value, None);
    let _ok: String = server.ask(&["SAVE"]);
    server.put_forward(MINUTE);
    assert!(!look(&second).await);
    hold(&second, &mut server, "ann").await;
    server.stop();
    server.start_again();
    assert!(first.heed_doubt(&shorter).await.unwrap().value.is_some());
    let told = kept_back(&first).await;
    assert!(is_about(told, MINUTE * 2 + MINUTE / 2), "{told:?}");

    // One who lends for longer, and knows nothing of before; then one who knows what was lost.
    for (newcomer, expected) in [(true, FIRST_TOKEN), (false, ANY_TOKEN)] {
        look(if newcomer { &third } else { &second }).await;

        let told = kept_back(&first).await;
        assert!(is_about(told, expected), "{told:?}");
    }
    let told = kept_back(&first).await;
    // And beyond the size that was lent from then.
    server.put_forward(told);
    assert!(matches!(lend(&first, "ben", &TERMS).await, Lent::Exhausted { .. }));
}

#[tokio::test]
async fn an_emptied_store_is_doubted_once_for_all() {
    let mut server = server(&[]);
    let stores = [redis_store(&server.url()).await, redis_store(&server.url()).await];
    for store in &stores {
        assert!(!look(store).await);
    }
    let _ok: String = server.ask(&["FLUSHALL"]);
    let Dated { value: first, .. } = stores[0].heed_doubt(&TERMS).await.unwrap();
    assert!(first.is_some());
    let told = kept_back(&stores[0]).await;
    assert!(is_about(told, ANY_TOKEN), "{told:?}");
    server.put_forward(MINUTE * 20);

    let Dated { value: second, .. } = stores[1].heed_doubt(&TERMS).await.unwrap();

    assert_eq!(first, second);
    assert!(kept_back(&stores[1]).await < ANY_TOKEN - MINUTE * 19);
}

#[tokio::test]
async fn a_new_server_whose_clock_is_behind_hides_nothing() {
    let mut server = server(&[]);
    let store = redis_store(&server.url()).await;
    assert!(!look(&store).await);
    let replica = server.replica();
    // The former one's is ten minutes ahead of the replica's.
    server.put_forward(MINUTE * 10);
    assert!(!look(&store).await);
    let one = PoolTerms {
        size: 1,
        first: Duration::from_millis(1),
        cooldown: Duration::from_millis(1),
        ..TERMS
    };
    assert!(matches!(lend(&store, "ann", &one).await, Lent::Guest(_)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let work = store.claim_guest_work(&super::world::WORK, RequestId::unique()).await.unwrap();
    let vestibule::inside::store::FoundWork::Work(work) = work.value else { panic!("{work:?}") };
    let clean = vestibule::inside::store::WorkDone::Clean;
    assert!(store.finish_guest_work(&work, clean).await.unwrap().value);
    crate::guests::until("the replica", || {
        replica.ask::<usize>(&["EXISTS", "vestibule:guests:{nobody}:months"]) == 1
    })
    .await;
    let _ok: String = replica.ask(&["REPLICAOF", "NO", "ONE"]);
    server.stop();
    replica.move_to(&mut server);

    assert!(matches!(lend(&store, "ben", &one).await, Lent::Exhausted { .. }));
}

#[tokio::test]
async fn guests_of_two_pools_have_nothing_to_do_with_each_other() {
    let server = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let redis = Settings::Redis { url: server.url().into() };
    let file = Settings::Embedded { path: folder.path().join("store") };
    drop(file_store(&folder.path().join("store")).await);
    for settings in [redis, file] {
        let mut leases = Vec::new();
        for pool in ["IS1-guest-", "IS1-guest-b-", "IS2-guest-", "IS1-guest-"] {
            let metrics = Metrics::new().unwrap();
            let store = Store::open_with_pool(&settings, pool, &metrics).await.unwrap();
            if let Some(lease) = leases.first() {
                assert_eq!(lives(&store, lease, "ann").await, pool == "IS1-guest-", "{pool}");
            }
            let lease = lent(&store, "ann").await;
            assert_eq!(lease.guest, if leases.len() == 3 { 2 } else { 1 }, "{pool}");
            leases.push(lease);
        }
    }
}
