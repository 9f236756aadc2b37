//! Replies that are lost, and a process that is killed.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use vestibule::inside::RequestId;
use vestibule::inside::store::{
    EndedLease, FoundWork, GuestTask, GuestWork, LeaseKey, LeaseTerms, Lent, PoolTerms, Purpose,
    Store, StoreError, UsedLease, WorkDone,
};

use super::super::redis_faults::{behind_a_proxy, twice};
use super::super::{all_at_once, digest, file_store, hourly, identity};
use super::world::{MINUTE, TERMS, WORK, World, key};

const JOINING: PoolTerms = PoolTerms { joins: true, ..TERMS };

/// Takes each step about guests once, so that each script is known to the server: what is lost is the reply then and not a `NOSCRIPT`.
async fn warm(store: &Store) {
    let request = RequestId::unique();
    let nobody = LeaseKey { guest: 1, id: digest("nobody") };
    let terms = LeaseTerms { pool: TERMS, limit: None, purpose: Purpose::Token };
    let nothing = GuestWork {
        guest: 1,
        claim: request,
        task: GuestTask::Join { until: vestibule::inside::Timestamp::from_millis(0) },
    };
    let none = PoolTerms { size: 0, ..TERMS };
    store.lend_guest(&nobody.id, &none).await.unwrap();
    store.use_lease(&nobody, &terms, request).await.unwrap();
    store.read_lease(&nobody).await.unwrap();
    store.end_lease(&nobody, None, &TERMS, request).await.unwrap();
    store.claim_guest_work(&WORK, request).await.unwrap();
    store.finish_guest_work(&nothing, WorkDone::Clean).await.unwrap();
    store.describe_pool().await.unwrap();
    store.heed_doubt(&TERMS).await.unwrap();
}

#[tokio::test]
async fn each_step_about_guests_sent_again_answers_as_if_it_were_sent_once() {
    let (_server, proxy, store) = behind_a_proxy().await;
    warm(&store).await;
    let (id, request) = (digest("ann"), RequestId::unique());

    // Who hears nothing after the second time knows no guest, and nobody else knows this one.
    proxy.lose_replies(1);
    let lent = store.lend_guest(&id, &JOINING).await.unwrap().value;
    assert_eq!(proxy.replies_to_lose(), 0);
    let Lent::Guest(lease) = lent else { panic!("{lent:?}") };
    let key = key(&lease, "ann");
    let pool = twice!(proxy, store.describe_pool());
    assert_eq!((pool.made, pool.lent, pool.active, pool.joining), (1, 1, 1, 1));
    let terms = LeaseTerms { pool: TERMS, limit: Some(hourly(1)), purpose: Purpose::Token };
    let used = twice!(proxy, store.use_lease(&key, &terms, request));
    let UsedLease::Live(lease) = used else { panic!("counted once: {used:?}") };
    assert!(twice!(proxy, store.read_lease(&key)).is_some());

    let found = twice!(proxy, store.claim_guest_work(&WORK, request));
    let FoundWork::Work(join) = found else { panic!("{found:?}") };
    assert_eq!((join.guest, &join.task), (lease.guest, &GuestTask::Join { until: lease.ends }));
    // Whether it is done can be told only as long as there is something to tell it by.
    twice!(proxy, store.finish_guest_work(&join, WorkDone::Joined));
    assert_eq!(store.describe_pool().await.unwrap().value.joining, 0);

    let heir = identity("member");
    let ended = RequestId::unique();
    assert_eq!(twice!(proxy, store.end_lease(&key, Some(&heir), &TERMS, ended)), EndedLease::Now);
    let claim = RequestId::unique();
    let found = twice!(proxy, store.claim_guest_work(&WORK, claim));
    let FoundWork::Work(scrub) = found else { panic!("{found:?}") };
    assert!(matches!(&scrub.task, GuestTask::Scrub { heir: Some(_), .. }));
    assert!(twice!(proxy, store.finish_guest_work(&scrub, WorkDone::Inherited)));
    twice!(proxy, store.finish_guest_work(&scrub, WorkDone::Clean));
    let pool = store.describe_pool().await.unwrap().value;
    assert_eq!((pool.scrubbing, pool.lent + pool.cooling), (0, 1));

    assert_eq!(twice!(proxy, store.heed_doubt(&TERMS)), None, "a lost reply is no lost write");
    store.quarantine_guests(&TERMS).await.unwrap();
    let first = store.describe_pool().await.unwrap().value;
    twice!(proxy, store.quarantine_guests(&TERMS));
    let second = store.describe_pool().await.unwrap().value;
    assert!(second.quarantine_ends >= first.quarantine_ends);
}

#[tokio::test]
async fn a_hundred_lends_at_once_are_a_hundred_though_the_reply_is_lost() {
    let (_server, proxy, store) = behind_a_proxy().await;
    warm(&store).await;
    let before = proxy.requests();

    proxy.lose_replies(1);
    let mut number = 0_u32;
    let all = all_at_once(100, || {
        number += 1;
        let id = digest(&number.to_string());
        let store = &store;
        async move { store.lend_guest(&id, &MANY).await.unwrap().value }
    })
    .await;

    assert_eq!(proxy.replies_to_lose(), 0);
    let guest = |lent: Lent| if let Lent::Guest(lease) = lent { Some(lease.guest) } else { None };
    let guests: BTreeSet<_> = all.into_iter().filter_map(guest).collect();
    assert_eq!(guests, (1..=100).collect());
    let pool = store.describe_pool().await.unwrap().value;
    assert_eq!((pool.made, pool.lent, pool.active, pool.joining), (100, 100, 100, 100));
    assert!(proxy.requests() - before <= 9, "four scripts, twice, and a look at the pool");
}

#[tokio::test]
async fn who_has_gone_away_before_anything_was_sent_is_lent_nothing() {
    let (_server, _proxy, store) = behind_a_proxy().await;
    warm(&store).await;
    let (gone, there) = (digest("gone"), digest("there"));

    let mut asked = Box::pin(store.lend_guest(&gone, &TERMS));
    assert!(poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await);
    drop(asked);
    let lent = store.lend_guest(&there, &TERMS).await.unwrap().value;

    let Lent::Guest(lease) = lent else { panic!("{lent:?}") };
    assert_eq!(lease.guest, 1);
    assert_eq!(store.describe_pool().await.unwrap().value.made, 1);
}

#[tokio::test]
async fn a_damaged_lease_ends_no_other_that_is_used_at_once() {
    let (server, _proxy, store) = behind_a_proxy().await;
    let mut keys = Vec::new();
    for who in ["ann", "ben", "cid"] {
        let Lent::Guest(lease) = store.lend_guest(&digest(who), &TERMS).await.unwrap().value else {
            panic!("no guest")
        };
        keys.push(key(&lease, who));
    }
    server.ask::<String>(&["SET", "vestibule:guests:{nobody}:2", "another program's"]);
    let terms = LeaseTerms { pool: TERMS, limit: Some(hourly(1)), purpose: Purpose::Token };

    let mut asking = keys.iter();
    let used =
        all_at_once(3, || store.use_lease(asking.next().unwrap(), &terms, RequestId::unique()));
    let [one, two, three] = <[_; 3]>::try_from(used.await).unwrap();

    for one in [one, three] {
        let used = one.unwrap().value;
        assert!(matches!(used, UsedLease::Live(_)), "counted once: {used:?}");
    }
    assert!(matches!(two, Err(StoreError::Corrupt { step: "use_lease", .. })), "{two:?}");
}

#[tokio::test]
async fn a_clean_guest_is_idle_once_though_the_reply_is_lost() {
    let (_server, proxy, store) = behind_a_proxy().await;
    warm(&store).await;
    let at_once = PoolTerms { first: Duration::from_millis(1), cooldown: Duration::ZERO, ..TERMS };
    store.lend_guest(&digest("ann"), &at_once).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let found = store.claim_guest_work(&WORK, RequestId::unique()).await.unwrap().value;
    let FoundWork::Work(scrub) = found else { panic!("{found:?}") };

    twice!(proxy, store.finish_guest_work(&scrub, WorkDone::Clean));

    let pool = store.describe_pool().await.unwrap().value;
    assert_eq!((pool.warm, pool.scrubbing, pool.lent, pool.cooling), (1, 0, 0, 0));
    let next = store.lend_guest(&digest("ben"), &TERMS).await.unwrap().value;
    let Lent::Guest(lease) = next else { panic!("{next:?}") };
    store.finish_guest_work(&scrub, WorkDone::Clean).await.unwrap();
    assert_eq!(store.read_lease(&key(&lease, "ben")).await.unwrap().value, Some(lease));
}

/// Ten guests' lives, from the lend to being idle, and a while after.
async fn ten_lives(world: &mut World) {
    for number in 0..10 {
        let who = number.to_string();
        let lease = world.lent(&who, &JOINING).await;
        world.token(&key(&lease, &who)).await;
        world.claim(&WORK).await;
    }
    world.forward(TERMS.lease + TERMS.cooldown + MINUTE).await;
    assert_eq!(world.do_all_work().await.len(), 10);
    world.forward(MINUTE * 2).await;
}

#[tokio::test]
async fn nothing_is_left_of_idle_guests_in_a_file_but_their_places() {
    let mut world = World::in_a_file().await;
    ten_lives(&mut world).await;
    // Each step that writes looks for what is over.
    for number in 0..20 {
        let bucket = number.to_string();
        world.take_from_limit(&bucket, hourly(1), RequestId::unique()).await.unwrap();
    }

    let kept = world.kept();

    let rows = |name: &str| kept.iter().find(|(table, _)| table == name).unwrap().1;
    for table in ["guests", "busy", "work", "joins", "stale", "retired", "guest_claims"] {
        assert_eq!(rows(table), 0, "{table}: {kept:?}");
    }
    assert_eq!((rows("idle"), rows("pool"), rows("months")), (10, 1, 1));
}

#[tokio::test]
async fn nothing_is_left_of_idle_guests_on_redis_but_their_places() {
    let mut world = World::on_redis().await;
    world.lent("ann", &TERMS).await;
    let lends = |kept: Vec<(String, i64)>| {
        kept.into_iter().find(|(key, _)| key.contains(":lend:")).map(|(_, seconds)| seconds)
    };
    assert!((1..=60).contains(&lends(world.kept()).unwrap()), "a request is kept for a minute");
    world.forward(TERMS.first + TERMS.cooldown).await;
    world.do_all_work().await;
    ten_lives(&mut world).await;

    let mut kept = world.kept();

    kept.sort();
    let pool = "vestibule:guests:{nobody}";
    let month = vestibule::inside::Month::of(world.now().await).number();
    let left = [pool.to_owned(), format!("{pool}:idle:{month}"), format!("{pool}:months")];
    assert_eq!(kept, left.map(|key| (key, -1)));
}

/// Where the child of [`a_killed_process_lends_nobody_twice`] writes.
const CHILD: &str = "VESTIBULE_TEST_POOL_TO_LEND_FROM";

/// More than it lends before it is killed.
const MANY: PoolTerms = PoolTerms { size: 100_000, ..JOINING };

/// Not a test of its own: what the killed process runs. It tells of each guest once all of its steps are acknowledged.
#[tokio::test]
async fn child_that_lends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = file_store(Path::new(&path)).await;
    let mut told = std::io::stdout();
    for number in 0_u32.. {
        let who = number.to_string();
        let lent = store.lend_guest(&digest(&who), &MANY).await.unwrap();
        let Lent::Guest(lease) = lent.value else { panic!("{lent:?}") };
        let key = key(&lease, &who);
        let terms = LeaseTerms { pool: MANY, limit: None, purpose: Purpose::Token };
        let used = store.use_lease(&key, &terms, RequestId::unique()).await.unwrap().value;
        let UsedLease::Live(lease) = used else { panic!("{used:?}") };
        let found = store.claim_guest_work(&WORK, RequestId::unique()).await.unwrap().value;
        let FoundWork::Work(work) = found else { panic!("{found:?}") };
        assert!(store.finish_guest_work(&work, WorkDone::Joined).await.unwrap().value);
        if number.is_multiple_of(3) {
            let ended = store.end_lease(&key, None, &MANY, RequestId::unique()).await.unwrap();
            assert_eq!(ended.value, EndedLease::Now);
            let found = store.claim_guest_work(&WORK, RequestId::unique()).await.unwrap().value;
            let FoundWork::Work(work) = found else { panic!("{found:?}") };
            let failed = WorkDone::Failed { retry_after: MINUTE };
            assert!(store.finish_guest_work(&work, failed).await.unwrap().value);
        }
        writeln!(told, "acknowledged {number} {} {}", key.guest, lease.ends.as_millis()).unwrap();
        told.flush().unwrap();
    }
}

/// What the killed process acknowledged: each holder's guest, and until when it lasts. It is killed soon after the hundredth.
fn lend_until_killed(path: &Path) -> Vec<(u32, u32, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store_contract::guests::faults::child_that_lends_until_it_is_killed"])
        .arg("--nocapture")
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("acknowledged 100 ") {
        assert!(output.read_line(&mut said).unwrap() > 0, "the child ended by itself: {said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut said).unwrap();
    // The last line may be half a one.
    let whole = &said[..=said.rfind('\n').unwrap()];
    let lines = whole.lines().filter_map(|line| line.strip_prefix("acknowledged "));
    let number = |word: Option<&str>| word.unwrap().parse::<u64>().unwrap();
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let (who, guest) = (number(words.next()), number(words.next()));
            (u32::try_from(who).unwrap(), u32::try_from(guest).unwrap(), number(words.next()))
        })
        .collect()
}

#[tokio::test]
async fn a_killed_process_lends_nobody_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");

    let acknowledged = lend_until_killed(&path);

    assert!(acknowledged.len() > 100);
    let store = file_store(&path).await;
    let last = acknowledged.last().unwrap().1;
    for (who, guest, ends) in acknowledged {
        let key = LeaseKey { guest, id: digest(&who.to_string()) };
        let read = store.read_lease(&key).await.unwrap().value;
        if who.is_multiple_of(3) {
            assert_eq!(read, None, "{who} has given it back");
        } else {
            assert_eq!(read.map(|lease| lease.ends.as_millis()), Some(ends), "{who}");
        }
    }
    let pool = store.describe_pool().await.unwrap().value;
    assert_eq!(pool.active, pool.made);
    assert!(pool.scrubbing >= last / 3 && pool.lent + pool.cooling == pool.made, "{pool:?}");
    let next = store.lend_guest(&digest("next"), &MANY).await.unwrap().value;
    let Lent::Guest(lease) = next else { panic!("{next:?}") };
    assert!(lease.guest > last, "{lease:?} after {last}");
}
