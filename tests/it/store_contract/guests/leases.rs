//! Leases: used, renewed, had again, and ended.

use std::time::Duration;

use vestibule::inside::RequestId;
use vestibule::inside::store::{
    EndedLease, FoundWork, LeaseKey, LeaseTerms, Lent, PoolTerms, Purpose, UsedLease, WorkDone,
};

use super::super::{all_at_once, digest, hourly, identity};
use super::world::{MINUTE, TERMS, WORK, World, key, live};

pub async fn the_first_use_confirms_a_lease(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;

    let used = world.token(&key(&lease, "ann")).await;

    assert_eq!((used.guest, used.since), (lease.guest, lease.since));
    let now = world.now().await;
    assert!(used.ends > lease.since.plus(TERMS.lease - Duration::from_secs(1)));
    assert!(used.ends <= now.plus(TERMS.lease));
    assert_eq!(world.read(&key(&lease, "ann")).await.unwrap().ends, used.ends);
}

pub async fn to_come_back_confirms_nothing(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    world.forward(MINUTE * 2).await;

    let back = live(world.ask(&key(&lease, "ann"), &TERMS, Purpose::Return).await);

    let now = world.now().await;
    assert_eq!(back.since, lease.since);
    assert!(back.ends > lease.ends && back.ends <= now.plus(TERMS.first), "{back:?}");
    assert!(back.token_ends > now.plus(TERMS.first - MINUTE) && back.token_ends <= back.ends);
}

pub async fn tokens_of_a_young_lease_are_short(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;

    world.forward(PoolTerms::SETTLE - Duration::from_secs(5)).await;
    let young = world.token(&key(&lease, "ann")).await;
    let young_at = world.now().await;
    world.forward(Duration::from_secs(5)).await;
    let old = world.token(&key(&lease, "ann")).await;
    let old_at = world.now().await;

    assert!(young.token_ends <= young_at.plus(TERMS.first), "{young:?}");
    assert!(old.token_ends > old_at.plus(TERMS.token - Duration::from_secs(5)), "{old:?}");
    assert!(old.token_ends <= old_at.plus(TERMS.token));
}

pub async fn a_lease_is_renewed_and_written_a_little_ahead(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");
    let grain = TERMS.lease / 100;

    // The holder comes for a token every minute, then now and then, and is live as long as it does.
    for pause in [60, 60, 60, 60, 60, 60, 1, 1, 1, 1, 1, 600, 1200, 1200] {
        world.forward(Duration::from_secs(pause)).await;
        let used = world.token(&key).await;
        let now = world.now().await;

        assert!(
            used.ends <= now.plus(TERMS.lease + grain)
                && used.ends.plus(grain) > now.plus(TERMS.lease)
        );
        assert!(used.token_ends <= now.plus(TERMS.token) && used.token_ends <= used.ends);
        assert!(used.token_ends.plus(Duration::from_secs(2)) > now.plus(TERMS.first));
    }
    let last = world.read(&key).await.unwrap();

    // Nobody else gets it before the last token has ended, and cooled.
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward_to(last.ends.plus(TERMS.cooldown - MINUTE)).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward(MINUTE).await;
    assert_eq!(world.work().await.guest, lease.guest);
}

pub async fn ends_are_moved_in_steps_of_what_the_lease_lasts(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let ann = key(&lease, "ann");

    // A 128th of a first lease is 2.3 s.
    world.forward(Duration::from_secs(4)).await;
    let back = live(world.ask(&ann, &TERMS, Purpose::Return).await);
    assert!(back.ends > lease.ends.plus(Duration::from_secs(3)), "{back:?}");
    world.forward(Duration::from_secs(1)).await;
    let again = live(world.ask(&ann, &TERMS, Purpose::Return).await);
    assert_eq!(again.ends, back.ends);

    // A 128th of a confirmed one is 14 s; also for the use that confirms.
    let alike = PoolTerms { first: TERMS.lease, token: TERMS.lease, ..TERMS };
    let lease = world.lent("ben", &alike).await;
    let ben = key(&lease, "ben");
    world.forward(Duration::from_secs(10)).await;
    let used = live(world.ask(&ben, &alike, Purpose::Token).await);
    assert_eq!(used.ends, lease.ends);
    world.forward(Duration::from_secs(10)).await;
    let used = live(world.ask(&ben, &alike, Purpose::Token).await);
    assert!(used.ends > lease.ends.plus(Duration::from_secs(19)), "{used:?}");
}

pub async fn a_guest_cools_as_long_as_was_asked_when_its_end_was_written(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");
    world.forward(MINUTE).await;
    let used = world.token(&key).await;

    // Neither is the lease moved, nor what follows it.
    let longer = PoolTerms { cooldown: Duration::from_hours(2), ..TERMS };
    world.forward(Duration::from_secs(5)).await;
    assert_eq!(live(world.ask(&key, &longer, Purpose::Token).await).ends, used.ends);
    world.forward_to(used.ends.plus(TERMS.cooldown)).await;
    assert_eq!(world.work().await.guest, lease.guest);
}

pub async fn nobody_stays_longer_than_the_longest_stay(world: &mut World) {
    let terms = PoolTerms { max_stay: MINUTE * 40, ..TERMS };
    let lease = world.lent("ann", &terms).await;
    let (key, latest) = (key(&lease, "ann"), lease.since.plus(terms.max_stay));

    for _ in 0..3 {
        world.forward(MINUTE * 4).await;
        live(world.ask(&key, &terms, Purpose::Token).await);
    }
    world.forward(MINUTE * 20).await;
    let used = live(world.ask(&key, &terms, Purpose::Token).await);
    assert_eq!((used.ends, used.token_ends), (latest, latest));

    world.forward_to(latest).await;
    for purpose in [Purpose::Token, Purpose::Return] {
        assert_eq!(world.ask(&key, &terms, purpose).await, UsedLease::Ended);
    }
    assert_eq!(world.read(&key).await, None);
}

pub async fn a_lease_is_its_holders_alone(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let other = world.lent("ben", &TERMS).await;

    for wrong in [key(&lease, "ben"), key(&other, "ann"), LeaseKey { guest: 9, id: digest("ann") }]
    {
        for purpose in [Purpose::Token, Purpose::Return] {
            assert_eq!(world.ask(&wrong, &TERMS, purpose).await, UsedLease::Ended);
        }
        assert_eq!(world.read(&wrong).await, None);
        assert!(!world.end(&wrong).await);
    }
    assert_eq!(world.read(&key(&lease, "ann")).await, Some(lease), "nothing has happened to it");
    assert_eq!(world.read(&key(&other, "ben")).await, Some(other));
}

pub async fn a_lease_that_is_over_is_back_until_it_is_ready(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");

    world.forward_to(lease.ends).await;
    assert_eq!(world.ask(&key, &TERMS, Purpose::Token).await, UsedLease::Ended);
    assert_eq!(world.read(&key).await, None);
    assert!(!world.end(&key).await, "nothing is left to end");
    let back = live(world.ask(&key, &TERMS, Purpose::Return).await);
    assert_eq!((back.guest, back.since), (lease.guest, lease.since));
    assert_eq!(world.read(&key).await.map(|lease| lease.ends), Some(back.ends));
    assert_eq!(world.pool().await.active, 1);
    let confirmed = world.token(&key).await;

    // As late as can be.
    world.forward_to(confirmed.ends.plus(TERMS.cooldown - MINUTE)).await;
    live(world.ask(&key, &TERMS, Purpose::Return).await);
    let last = world.token(&key).await;
    // And too late, though nobody has done anything about it.
    world.forward_to(last.ends.plus(TERMS.cooldown)).await;
    assert_eq!(world.ask(&key, &TERMS, Purpose::Return).await, UsedLease::Ended);
    assert_eq!(world.work().await.guest, lease.guest);
}

pub async fn a_lease_does_not_come_back_once_work_has_begun(world: &mut World) {
    let terms = PoolTerms { cooldown: Duration::from_hours(40 * 24), ..TERMS };
    let lease = world.lent("ann", &terms).await;
    let key = key(&lease, "ann");
    world.forward_to(lease.ends).await;
    let early =
        vestibule::inside::store::WorkTerms { early: Duration::from_hours(40 * 24), ..WORK };

    let FoundWork::Work(work) = world.claim(&early).await else {
        panic!("it cools into the next month")
    };

    assert_eq!(world.ask(&key, &terms, Purpose::Return).await, UsedLease::Ended);
    assert!(world.finish(&work, WorkDone::Failed { retry_after: MINUTE }).await);
    assert_eq!(
        world.ask(&key, &terms, Purpose::Return).await,
        UsedLease::Ended,
        "it may be half done"
    );
}

pub async fn a_lease_does_not_come_back_once_it_was_given_back(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");

    assert!(world.end(&key).await);

    for purpose in [Purpose::Token, Purpose::Return] {
        assert_eq!(world.ask(&key, &TERMS, purpose).await, UsedLease::Ended);
    }
    assert_eq!(world.read(&key).await, None);
}

pub async fn what_leaves_too_little_is_over(world: &mut World) {
    let terms = PoolTerms { max_stay: MINUTE * 4, ..TERMS };
    let lease = world.lent("ann", &terms).await;
    let key = key(&lease, "ann");
    let before = world.read(&key).await;

    // A token of less than a minute is none, and leaves no trace.
    let scant = PoolTerms { token: PoolTerms::SHORTEST - Duration::from_secs(1), ..TERMS };
    assert_eq!(world.ask(&key, &scant, Purpose::Token).await, UsedLease::Ended);
    assert_eq!(world.read(&key).await, before);
    world.forward_to(lease.ends).await;
    assert_eq!(world.ask(&key, &terms, Purpose::Return).await, UsedLease::Ended);

    let lease = world.lent("ben", &terms).await;
    let key = LeaseKey { guest: lease.guest, id: digest("ben") };
    world.forward_to(lease.since.plus(MINUTE * 3 - Duration::from_secs(10))).await;
    let used = live(world.ask(&key, &terms, Purpose::Token).await);
    assert_eq!(used.token_ends, lease.since.plus(MINUTE * 4));
    world.forward_to(lease.since.plus(MINUTE * 3 + Duration::from_secs(1))).await;
    assert_eq!(world.ask(&key, &terms, Purpose::Token).await, UsedLease::Ended);
    assert!(world.read(&key).await.is_some(), "its last token lives");
}

/// Asks for a token, of which there are two an hour.
async fn take(world: &World, key: &LeaseKey, request: RequestId) -> UsedLease {
    let terms = LeaseTerms { pool: TERMS, limit: Some(hourly(2)), purpose: Purpose::Token };
    world.use_lease(key, &terms, request).await.unwrap().value
}

pub async fn uses_are_counted_against_a_limit(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");
    let [one, two] = [RequestId::unique(), RequestId::unique()];

    let first = live(take(world, &key, one).await);
    let again = live(take(world, &key, one).await);
    assert_eq!((again.since, again.ends), (first.since, first.ends));
    assert!(matches!(take(world, &key, two).await, UsedLease::Live(_)));
    let before = world.read(&key).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let UsedLease::Limited { after } = take(world, &key, RequestId::unique()).await else {
        panic!("a third is allowed")
    };

    assert!(after <= MINUTE * 30 && after > MINUTE * 29, "{after:?}");
    assert_eq!(world.read(&key).await, before, "and nothing is renewed");
    world.forward(MINUTE * 20).await;
    assert!(matches!(take(world, &key, RequestId::unique()).await, UsedLease::Limited { .. }));
    world.token(&key).await;
    world.forward(MINUTE * 10).await;
    assert!(matches!(take(world, &key, RequestId::unique()).await, UsedLease::Live(_)));
    assert!(matches!(take(world, &key, RequestId::unique()).await, UsedLease::Limited { .. }));
}

pub async fn of_uses_at_once_each_has_its_own_answer(world: &mut World) {
    let terms = LeaseTerms { pool: TERMS, limit: Some(hourly(1)), purpose: Purpose::Token };
    let mut keys = Vec::new();
    for who in ["ann", "ben", "cid", "dan"] {
        keys.push(key(&world.lent(who, &TERMS).await, who));
    }
    keys[0].id = digest("stranger");
    assert!(world.end(&keys[2]).await);
    world.use_lease(&keys[3], &terms, RequestId::unique()).await.unwrap();
    let request = RequestId::unique();
    let of = [(1, request), (0, request), (2, request), (3, request), (1, RequestId::unique())];

    let mut asking = of.iter();
    let used = all_at_once(of.len(), || {
        let (at, request) = asking.next().unwrap();
        world.use_lease(&keys[*at], &terms, *request)
    })
    .await;

    let used: Vec<_> = used.into_iter().map(|used| used.unwrap().value).collect();
    let [UsedLease::Live(lease), UsedLease::Ended, UsedLease::Ended, limited @ ..] = &used[..]
    else {
        panic!("{used:?}")
    };
    assert_eq!(lease.guest, keys[1].guest);
    assert!(limited.iter().all(|used| matches!(used, UsedLease::Limited { .. })), "{used:?}");
    assert_eq!(world.read(&keys[1]).await.unwrap().ends, lease.ends);
}

pub async fn a_guest_given_back_cools_from_its_last_tokens_end(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");
    world.forward(MINUTE).await;
    let used = world.token(&key).await;
    let given_back = world.now().await;

    assert!(world.end(&key).await);
    let first = world.work().await;
    assert!(world.finish(&first, WorkDone::Clean).await);

    // The token may end a little later in the store than it does; and far earlier than the lease would have.
    let ready = used.token_ends.plus(TERMS.cooldown);
    assert!(ready.plus(MINUTE * 5) < used.ends.plus(TERMS.cooldown), "{used:?} {given_back}");
    world.forward_to(ready).await;
    let early = world.claim(&WORK).await;
    world.forward(TERMS.token / 100).await;
    assert_eq!((early, world.work().await.guest), (FoundWork::Nothing, 1));
}

pub async fn a_lease_ends_once_and_says_so_again(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");

    assert!(world.end(&key).await);
    assert_eq!(world.end_for(&key, None).await, EndedLease::Before);
    let heir = identity("somebody");
    assert_eq!(world.end_for(&key, Some(&heir)).await, EndedLease::Before);
    let work = world.work().await;
    assert!(
        !format!("{work:?}").contains("somebody"),
        "who has given it back inherits nothing any more: {work:?}"
    );
    world.finish(&work, WorkDone::Clean).await;
    assert_eq!(world.end_for(&key, None).await, EndedLease::Before);
    world.forward(TERMS.first + TERMS.cooldown + MINUTE).await;
    world.do_all_work().await;

    assert_eq!(world.end_for(&key, None).await, EndedLease::Over, "it is idle, and nobody's");
}

pub async fn an_ended_lease_cannot_take_the_guest_from_its_next_holder(world: &mut World) {
    let terms = PoolTerms { size: 1, ..TERMS };
    let old_lease = world.lent("ann", &terms).await;
    world.forward_to(old_lease.ends.plus(TERMS.cooldown)).await;
    world.do_all_work().await;
    let next = world.lent("ben", &terms).await;
    assert_eq!(next.guest, old_lease.guest);

    let key_of_old = key(&old_lease, "ann");
    for purpose in [Purpose::Token, Purpose::Return] {
        assert_eq!(world.ask(&key_of_old, &terms, purpose).await, UsedLease::Ended);
    }
    assert_eq!(world.read(&key_of_old).await, None);
    assert!(!world.end(&key_of_old).await);

    assert_eq!(world.read(&key(&next, "ben")).await, Some(next));
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
}

pub async fn of_an_end_and_twenty_uses_nothing_lives_on(world: &mut World) {
    for _ in 0..5 {
        let lease = world.lent("ann", &TERMS).await;
        let key = key(&lease, "ann");
        let mut at = 0;

        let ends = all_at_once(21, || {
            at += 1;
            let (is_end, world) = (at == 10, &*world);
            async move {
                if is_end {
                    assert!(world.end(&key).await);
                    return None;
                }
                match world.ask(&key, &TERMS, Purpose::Token).await {
                    UsedLease::Live(lease) => Some(lease.token_ends),
                    _ => None,
                }
            }
        })
        .await;

        assert_eq!(world.read(&key).await, None);
        let last = ends.into_iter().flatten().max();
        // Whatever was answered, the guest is not ready before it is over, and cool.
        let state = world.pool().await;
        assert_eq!((state.lent + state.cooling, state.scrubbing), (1, 1));
        if let Some(last) = last {
            world.forward_to(last.plus(TERMS.cooldown - Duration::from_secs(1))).await;
            let work = world.work().await;
            world.finish(&work, WorkDone::Clean).await;
            assert_eq!(world.pool().await.warm, 0);
        }
        world.forward(TERMS.lease + TERMS.cooldown).await;
        world.do_all_work().await;
    }
}

pub async fn every_answer_is_dated_now(world: &mut World) {
    let request = RequestId::unique();
    let lent = world.lend_guest(&digest("ann"), &TERMS).await.unwrap();
    let Lent::Guest(lease) = lent.value else { panic!("{lent:?}") };
    let key = key(&lease, "ann");
    let use_terms = LeaseTerms { pool: TERMS, limit: None, purpose: Purpose::Token };
    world.forward(MINUTE).await;

    let before = world.now().await;
    let times = [
        world.use_lease(&key, &use_terms, request).await.unwrap().time,
        world.read_lease(&key).await.unwrap().time,
        world.end_lease(&key, None, &TERMS, RequestId::unique()).await.unwrap().time,
        world.claim_guest_work(&WORK, request).await.unwrap().time,
        world.describe_pool().await.unwrap().time,
        world.heed_doubt(&TERMS).await.unwrap().time,
        world.quarantine_guests(&TERMS).await.unwrap().time,
    ];
    let after = world.now().await;

    for time in times {
        assert!(before <= time.at() && time.at() <= after);
    }
}
