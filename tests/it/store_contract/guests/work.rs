//! Work on guests: given out to one, taken over, and finished.

use std::collections::BTreeSet;
use std::time::Duration;

use vestibule::inside::store::{
    EndedLease, FoundWork, GuestTask, GuestWork, Lease, PoolState, PoolTerms, Purpose, WorkDone,
};
use vestibule::inside::{RequestId, Timestamp};

use super::super::{all_at_once, identity};
use super::world::{MINUTE, TERMS, WORK, World, key, wait};

const JOINING: PoolTerms = PoolTerms { joins: true, ..TERMS };

pub async fn a_guest_that_is_lent_joins_once(world: &mut World) {
    world.lent("ann", &TERMS).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing, "these guests join nothing");
    let lease = world.lent("ben", &JOINING).await;
    assert_eq!(world.pool().await.joining, 1);

    let work = world.work().await;
    assert_eq!((work.guest, &work.task), (lease.guest, &GuestTask::Join { until: lease.ends }));
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing, "it is given out already");
    assert!(world.finish(&work, WorkDone::Joined).await);

    world.forward(MINUTE * 2).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    assert_eq!(world.pool().await.joining, 0);
    assert!(world.read(&key(&lease, "ben")).await.is_some());
}

pub async fn a_hold_that_is_over_passes_the_work_on(world: &mut World) {
    world.lent("ann", &JOINING).await;
    let first = world.work().await;
    world.forward(WORK.hold).await;

    let second = world.work().await;
    assert_eq!((second.guest, &second.task), (first.guest, &first.task));
    assert_ne!(second.claim, first.claim);
    assert!(!world.finish(&first, WorkDone::Joined).await, "it is another's now");
    assert_eq!(world.pool().await.joining, 1);
    // Who is late may finish while nobody has taken it over.
    world.forward(WORK.hold * 2).await;
    assert!(world.finish(&second, WorkDone::Joined).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
}

pub async fn the_same_request_gets_the_same_work(world: &mut World) {
    let [one, two] = [world.lent("ann", &JOINING).await, world.lent("ben", &JOINING).await];
    let request = RequestId::unique();
    let claim = async || world.claim_guest_work(&WORK, request).await.unwrap().value;

    let first = claim().await;
    assert_eq!(claim().await, first);
    let FoundWork::Work(first) = first else { panic!("{first:?}") };
    assert_eq!(world.work().await.guest, two.guest);
    assert!(world.finish(&first, WorkDone::Joined).await);
    assert_eq!(claim().await, FoundWork::Nothing, "what is finished is not given out again");

    let heir = identity("member");
    assert!(world.end_for(&key(&one, "ann"), Some(&heir)).await == EndedLease::Now);
    let scrub = RequestId::unique();
    let first = world.claim_guest_work(&WORK, scrub).await.unwrap().value;
    assert_eq!(world.claim_guest_work(&WORK, scrub).await.unwrap().value, first);
    let FoundWork::Work(work) = first else { panic!("{first:?}") };
    assert!(matches!(work.task, GuestTask::Scrub { heir: Some(_), .. }));
}

pub async fn of_twenty_workers_each_gets_another_guest(world: &mut World) {
    for _ in 0..5 {
        let lease = world.lent("ann", &TERMS).await;
        world.end(&key(&lease, "ann")).await;
    }

    let all = all_at_once(20, || world.claim(&WORK)).await;

    let guest = |found: &FoundWork| match found {
        FoundWork::Work(work) => Some(work.guest),
        _ => None,
    };
    let guests: Vec<_> = all.iter().filter_map(guest).collect();
    assert_eq!(guests.len(), 5);
    assert_eq!(guests.into_iter().collect::<BTreeSet<_>>(), (1..=5).collect());
}

pub async fn nobody_joins_when_the_lease_is_over(world: &mut World) {
    let given_back = world.lent("ann", &JOINING).await;
    world.end(&key(&given_back, "ann")).await;
    let FoundWork::Work(GuestWork { task, .. }) = world.claim(&WORK).await else {
        panic!("it is to be scrubbed")
    };
    assert!(matches!(task, GuestTask::Scrub { .. }));

    let lease = world.lent("ben", &JOINING).await;
    world.forward_to(lease.ends).await;
    assert!(matches!(world.work().await.task, GuestTask::Scrub { .. }), "the first one's again");
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward_to(lease.ends.plus(TERMS.cooldown)).await;
    world.do_all_work().await;
    assert_eq!(world.pool().await.joining, 0);
    // Also one whose join was under way when its lease ended.
    let lease = world.lent("cid", &JOINING).await;
    let join = world.work().await;
    world.finish(&join, WorkDone::Failed { retry_after: TERMS.first }).await;
    world.forward_to(lease.ends.plus(TERMS.cooldown)).await;
    assert!(matches!(world.work().await.task, GuestTask::Scrub { .. }));
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    assert_eq!(world.pool().await.joining, 0);
}

pub async fn who_comes_back_joins_what_it_had_not_joined(world: &mut World) {
    let lease = world.lent("ann", &JOINING).await;
    let key = key(&lease, "ann");
    world.forward_to(lease.ends).await;
    // The lease is over, and somebody looks.
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);

    let back = super::world::live(world.ask(&key, &JOINING, Purpose::Return).await);

    let join = world.work().await;
    assert_eq!(join.task, GuestTask::Join { until: back.ends });
    // As often as it is so, and until it is done.
    assert!(world.finish(&join, WorkDone::Failed { retry_after: MINUTE }).await);
    world.forward_to(back.ends.plus(MINUTE)).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    super::world::live(world.ask(&key, &JOINING, Purpose::Return).await);
    let join = world.work().await;
    assert!(matches!(join.task, GuestTask::Join { .. }));
    assert!(world.finish(&join, WorkDone::Joined).await);
    let last = world.read(&key).await.unwrap();
    world.forward_to(last.ends).await;
    super::world::live(world.ask(&key, &JOINING, Purpose::Return).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
}

pub async fn a_join_begins_only_while_there_is_time_for_it(world: &mut World) {
    let lease = world.lent("ann", &JOINING).await;
    let end = world.month_ends().await;
    let so_much_before = |by: u64| Timestamp::from_millis(lease.ends.as_millis() - by * 1000);

    // No write is begun any more in the last 15 seconds: what was claimed then would only fail.
    world.forward_to(so_much_before(14)).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.token(&key(&lease, "ann")).await;
    world.forward(MINUTE / 4).await;
    let join = world.work().await;
    assert!(matches!(join.task, GuestTask::Join { .. }));
    assert!(world.finish(&join, WorkDone::Joined).await);

    // The same before the end of the month in which the guest is active.
    world.forward_to(Timestamp::from_millis(end.as_millis() - 60_000 * 22)).await;
    world.do_all_work().await;
    let lease = world.lent("ben", &JOINING).await;
    world.forward(MINUTE).await;
    world.token(&key(&lease, "ben")).await;
    world.forward_to(Timestamp::from_millis(end.as_millis() - 14_000)).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.token(&key(&lease, "ben")).await;
    world.forward_to(end).await;
    assert!(matches!(world.work().await.task, GuestTask::Join { .. }), "it is active in the next");
}

pub async fn whichever_is_due_longest_comes_first(world: &mut World) {
    let of_thirty = PoolTerms { size: 30, ..TERMS };
    let forever = PoolTerms { size: 30, first: Duration::from_hours(3), ..JOINING };
    let lease = world.lent("ann", &TERMS).await;
    let ready = lease.ends.plus(TERMS.cooldown);
    for _ in 0..20 {
        world.lent("ben", &forever).await;
    }
    let another = world.lent("cid", &of_thirty).await;

    // Joins that fail again and again, for there is no such conversation.
    world.forward_to(Timestamp::from_millis(ready.as_millis() - 60_000)).await;
    for _ in 0..20 {
        let join = world.work().await;
        assert!(matches!(join.task, GuestTask::Join { .. }));
        assert!(world.finish(&join, WorkDone::Failed { retry_after: MINUTE * 2 }).await);
    }
    world.forward_to(another.ends.plus(TERMS.cooldown + Duration::from_secs(1))).await;
    let given_back = world.lent("dan", &of_thirty).await;
    assert!(world.end(&key(&given_back, "dan")).await);
    world.forward(MINUTE * 2).await;

    // The one that has cooled, another one a moment later, the one given back; then the joins.
    let order = [world.work().await, world.work().await, world.work().await];
    let guests = order.map(|work| work.guest);
    assert_eq!(guests, [lease.guest, another.guest, given_back.guest]);
    assert!(matches!(world.work().await.task, GuestTask::Join { .. }));
}

pub async fn a_scrub_waits_for_a_join_that_is_under_way(world: &mut World) {
    let lease = world.lent("ann", &JOINING).await;
    let join = world.work().await;

    assert!(world.end(&key(&lease, "ann")).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing, "two would undo each other's work");
    assert!(world.finish(&join, WorkDone::Joined).await);
    assert!(matches!(world.work().await.task, GuestTask::Scrub { .. }), "at once");

    // A worker that went away holds nothing up for longer than its hold.
    let lease = world.lent("ben", &JOINING).await;
    world.work().await;
    world.end(&key(&lease, "ben")).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward(WORK.hold).await;
    let guests = [world.work().await.guest, world.work().await.guest];
    assert!(guests.contains(&lease.guest));
}

pub async fn a_join_that_fails_after_its_guest_was_given_back_leaves_the_scrub(world: &mut World) {
    let lease = world.lent("ann", &JOINING).await;
    let join = world.work().await;
    world.end(&key(&lease, "ann")).await;
    world.claim(&WORK).await;

    assert!(world.finish(&join, WorkDone::Failed { retry_after: MINUTE * 3 }).await);

    assert!(matches!(world.work().await.task, GuestTask::Scrub { .. }));
    assert_eq!(world.pool().await.joining, 0);
    world.forward(MINUTE * 4).await;
    assert!(matches!(world.work().await.task, GuestTask::Scrub { .. }));
}

pub async fn work_that_failed_comes_again_after_a_while(world: &mut World) {
    let lease = world.lent("ann", &JOINING).await;
    let join = world.work().await;
    assert!(world.finish(&join, WorkDone::Failed { retry_after: MINUTE }).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward(MINUTE).await;
    assert!(matches!(world.work().await.task, GuestTask::Join { .. }));

    world.forward_to(lease.ends.plus(TERMS.cooldown)).await;
    let scrub = world.work().await;
    assert!(matches!(scrub.task, GuestTask::Scrub { .. }));
    assert!(world.finish(&scrub, WorkDone::Failed { retry_after: MINUTE * 2 }).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward(MINUTE * 2).await;
    let scrub = world.work().await;
    assert!(world.finish(&scrub, WorkDone::Clean).await);
    assert_eq!(world.pool().await.warm, 1);
}

pub async fn an_heir_comes_before_the_scrub(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let member = identity("member");
    assert!(world.end_for(&key(&lease, "ann"), Some(&member)).await == EndedLease::Now);
    let heir = |work: &GuestWork| match &work.task {
        GuestTask::Scrub { heir, .. } => heir.clone().map(|heir| heir.identity),
        GuestTask::Join { .. } => panic!("{work:?}"),
    };

    // Ready or not, it is not lent before.
    world.forward(TERMS.first + TERMS.cooldown).await;
    let work = world.work().await;
    assert_eq!(heir(&work), Some(member.clone()));
    for done in [WorkDone::Clean, WorkDone::Dirty] {
        assert!(!world.finish(&work, done).await);
    }
    assert!(world.finish(&work, WorkDone::Failed { retry_after: MINUTE }).await);
    world.forward(MINUTE).await;
    let work = world.work().await;
    assert_eq!(heir(&work), Some(member), "it is not forgotten");
    for _ in 0..2 {
        assert!(world.finish(&work, WorkDone::Inherited).await);
    }
    let again = world.claim_guest_work(&WORK, work.claim).await.unwrap().value;
    let FoundWork::Work(again) = again else { panic!("{again:?}") };
    assert_eq!(heir(&again), None);
    assert!(world.finish(&work, WorkDone::Clean).await);
    assert_eq!(world.pool().await.warm, 1);
}

pub async fn what_was_seen_clean_too_early_is_seen_again(world: &mut World) {
    let terms = PoolTerms { size: 1, ..TERMS };
    let lease = world.lent("ann", &terms).await;
    world.end(&key(&lease, "ann")).await;
    let ready = lease.ends.plus(TERMS.cooldown);

    let early = world.work().await;
    assert!(world.finish(&early, WorkDone::Clean).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    // Claimed before it was ready, and finished after: what was read may have changed.
    world.forward_to(ready).await;
    let work = world.work().await;
    assert!(world.finish(&work, WorkDone::Failed { retry_after: Duration::ZERO }).await);
    let work = world.work().await;
    assert!(world.finish(&work, WorkDone::Clean).await);
    let second = world.lent("ben", &terms).await;

    world.end(&key(&second, "ben")).await;
    let early = world.work().await;
    world.forward_to(second.ends.plus(TERMS.cooldown)).await;
    assert!(world.finish(&early, WorkDone::Clean).await);
    assert_eq!(world.pool().await.warm, 0);
    let late = world.work().await;
    assert!(world.finish(&late, WorkDone::Clean).await);
    assert_eq!(world.pool().await.warm, 1);
}

pub async fn a_dirty_guest_is_stale_once_nothing_of_it_is_alive(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    world.end(&key(&lease, "ann")).await;

    let early = world.work().await;
    assert!(world.finish(&early, WorkDone::Dirty).await);
    assert_eq!(world.pool().await.stale, 0, "its token lives: it is looked at again");
    let end = world.month_ends().await;
    world.forward_to(end).await;
    let late = world.work().await;
    assert!(world.finish(&late, WorkDone::Dirty).await);

    let pool = world.pool().await;
    assert_eq!((pool.stale, pool.warm, pool.cooling, pool.scrubbing), (1, 0, 0, 0));
    world.forward(TERMS.lease).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
}

pub async fn work_is_finished_by_its_claim_alone(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    world.end(&key(&lease, "ann")).await;
    world.forward(TERMS.first + TERMS.cooldown).await;
    let work = world.work().await;

    for wrong in [
        GuestWork { claim: RequestId::unique(), ..work.clone() },
        GuestWork { guest: 2, ..work.clone() },
    ] {
        for done in [WorkDone::Clean, WorkDone::Joined, WorkDone::Inherited, WorkDone::Dirty] {
            assert!(!world.finish(&wrong, done).await);
        }
    }
    assert_eq!(world.pool().await.scrubbing, 1);
    assert!(world.finish(&work, WorkDone::Clean).await);
    let next = world.lent("ben", &TERMS).await;

    // What comes late says nothing about the next holder's guest.
    for done in [WorkDone::Clean, WorkDone::Dirty, WorkDone::Failed { retry_after: MINUTE }] {
        world.finish(&work, done).await;
    }
    assert_eq!(world.read(&key(&next, "ben")).await, Some(next));
    assert_eq!(world.pool().await.lent, 1);
    // Nor does a clean bill end a lease that lives.
    let lease = world.lent("cid", &JOINING).await;
    let join = world.work().await;
    world.finish(&join, WorkDone::Clean).await;
    assert_eq!(world.read(&key(&lease, "cid")).await, Some(lease));
    assert_eq!(world.pool().await.lent, 2);
}

pub async fn the_pool_tells_where_its_guests_are(world: &mut World) {
    world.idle(6).await;
    let leases = leases(world).await;
    let month = vestibule::inside::Month::of(world.now().await);

    let expected = PoolState {
        made: 6,
        lent: 4,
        warm: 2,
        joining: 4,
        active: 6,
        month,
        ..PoolState::default()
    };
    assert_eq!(world.pool().await, expected);
    world.end(&key(&leases[0], "ann")).await;
    // Given back, it is cooling, once its token has ended, and to be scrubbed at the same time.
    let pool = world.pool().await;
    assert_eq!((pool.scrubbing, pool.joining), (1, 3));
    world.do_all_work().await;
    world.forward(TERMS.first).await;
    let pool = world.pool().await;
    assert_eq!((pool.lent, pool.cooling, pool.scrubbing, pool.joining), (0, 4, 0, 0));
    world.forward(TERMS.cooldown).await;
    let work = world.work().await;
    world.finish(&work, WorkDone::Failed { retry_after: MINUTE }).await;
    world.do_all_work().await;
    let pool = world.pool().await;
    assert_eq!((pool.scrubbing, pool.warm, pool.cooling, pool.lent), (1, 5, 0, 0));
    let next = world.month_ends().await;
    world.forward_to(next).await;
    let work = world.work().await;
    world.finish(&work, WorkDone::Dirty).await;
    let pool = world.pool().await;
    assert_eq!((pool.warm, pool.cold, pool.active, pool.made, pool.stale), (0, 5, 0, 6, 1));
    assert_eq!(pool.month.number(), month.number() + 1);
    wait(world.lend("ann", &PoolTerms { size: 0, ..TERMS }).await);
    let pool = world.pool().await;
    assert_eq!((pool.cold, pool.retired, pool.stale), (0, 5, 1));
}

async fn leases(world: &World) -> Vec<Lease> {
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(world.lent("ann", &JOINING).await);
    }
    leases
}
