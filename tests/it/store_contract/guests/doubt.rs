//! A store that lost writes: nobody is lent who might be somebody's.

use std::time::Duration;

use vestibule::inside::store::{
    EndedLease, FoundWork, GuestTask, Lent, PoolTerms, Purpose, UsedLease, WorkDone, WorkTerms,
};

use super::world::{MINUTE, TERMS, WORK, World, key, wait};

/// How long guests are kept back at most: a token, and the cool-down.
const KEPT_BACK: Duration = Duration::from_mins(30);

const FOUR: PoolTerms = PoolTerms { size: 4, ..TERMS };

async fn quarantine(world: &World, terms: &PoolTerms) -> vestibule::inside::Timestamp {
    world.quarantine_guests(terms).await.unwrap().value
}

pub async fn a_store_that_lost_nothing_has_no_doubt(world: &mut World) {
    world.idle(2).await;
    for _ in 0..2 {
        assert_eq!(world.heed_doubt(&TERMS).await.unwrap().value, None);
    }
    let pool = world.pool().await;
    assert_eq!((pool.doubted, pool.quarantine_ends, pool.doubtful), (None, None, 0));

    let before = world.now().await;
    quarantine(world, &TERMS).await;
    let doubted = world.heed_doubt(&TERMS).await.unwrap().value;

    assert!(doubted >= Some(before));
    assert_eq!(world.heed_doubt(&TERMS).await.unwrap().value, doubted, "looking makes it no later");
    assert_eq!(world.pool().await.doubted, doubted);
}

pub async fn a_quarantine_ends_every_lease(world: &mut World) {
    let confirmed = world.lent("ann", &FOUR).await;
    world.forward(MINUTE).await;
    world.token(&key(&confirmed, "ann")).await;
    let joining = world.lent("ben", &PoolTerms { joins: true, ..FOUR }).await;
    let over = world.lent("cid", &PoolTerms { first: Duration::from_millis(1), ..FOUR }).await;

    let until = quarantine(world, &FOUR).await;

    let now = world.now().await;
    assert!(until <= now.plus(KEPT_BACK + MINUTE / 60) && until > now.plus(KEPT_BACK - MINUTE));
    for (lease, who) in [(confirmed, "ann"), (joining, "ben"), (over, "cid")] {
        let key = key(&lease, who);
        assert_eq!(world.read(&key).await, None);
        assert!(!world.end(&key).await);
        for purpose in [Purpose::Token, Purpose::Return] {
            assert_eq!(world.ask(&key, &FOUR, purpose).await, UsedLease::Ended);
        }
    }
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing, "nobody joins any more");
    wait(world.lend("dan", &FOUR).await);
}

pub async fn a_quarantine_keeps_every_guest_back_until_it_is_seen_clean_again(world: &mut World) {
    world.idle(2).await;
    let until = quarantine(world, &FOUR).await;

    let pool = world.pool().await;
    assert_eq!((pool.doubtful, pool.warm, pool.quarantine_ends), (2, 0, Some(until)));
    let after = wait(world.lend("ann", &FOUR).await);
    let true_time = world.now().await.until(until);
    assert!(after >= true_time && after <= true_time + Duration::from_secs(1), "{after:?}");
    world.forward(KEPT_BACK - MINUTE).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward_to(until).await;
    wait(world.lend("ann", &FOUR).await);
    assert_eq!(world.pool().await.quarantine_ends, None);
    let mut seen = world.do_all_work().await;
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4], "also those that were never lent, as far as the store knows");

    let mut guests = Vec::new();
    for _ in 0..4 {
        guests.push(world.lent("ann", &FOUR).await.guest);
    }
    wait(world.lend("ann", &FOUR).await);
    assert_eq!(guests, [1, 2, 3, 4]);
    let pool = world.pool().await;
    assert_eq!((pool.active, pool.doubtful), (4, 0));
}

pub async fn what_was_lent_before_a_doubt_is_seen_clean_after_the_longest_token(world: &mut World) {
    let one = PoolTerms { size: 1, ..TERMS };
    let lease = world.lent("ann", &one).await;
    let until = quarantine(world, &one).await;
    let ready = lease.ends.plus(TERMS.cooldown);

    // A renewal that is lost has made a token that lives longer than the lease we know of.
    world.forward_to(ready).await;
    assert_eq!(world.do_all_work().await, [1]);
    wait(world.lend("ben", &one).await);
    assert_eq!(world.pool().await.warm, 0);
    world.forward_to(until).await;
    wait(world.lend("ben", &one).await);
    assert_eq!(world.do_all_work().await, [1]);

    assert_eq!(world.lent("ben", &one).await.guest, 1);
}

pub async fn a_scrub_that_a_doubt_overtakes_is_done_again(world: &mut World) {
    let one = PoolTerms { size: 1, ..TERMS };
    let lease = world.lent("ann", &one).await;
    world.forward_to(lease.ends.plus(TERMS.cooldown)).await;
    let work = world.work().await;

    let mut until = quarantine(world, &one).await;
    world.forward(MINUTE).await;
    assert!(world.finish(&work, WorkDone::Clean).await);
    // And the same again, with a guest that is seen for the doubt.
    for round in 0..2 {
        assert_eq!(world.pool().await.warm, 0, "round {round}");
        assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
        world.forward_to(until).await;
        let work = world.work().await;
        until = quarantine(world, &one).await;
        world.forward(MINUTE).await;
        assert!(world.finish(&work, WorkDone::Clean).await);
        wait(world.lend("ben", &one).await);
    }
    world.forward_to(until).await;
    world.do_all_work().await;
    let until = quarantine(world, &one).await;
    world.forward_to(until).await;
    let work = world.work().await;
    let until = quarantine(world, &one).await;
    world.forward(MINUTE).await;
    assert!(world.finish(&work, WorkDone::Clean).await);

    wait(world.lend("ben", &one).await);
    assert_eq!(world.pool().await.warm, 0);
    world.forward_to(until).await;
    assert_eq!(world.do_all_work().await, [1]);
    assert_eq!(world.lent("ben", &one).await.guest, 1);
}

pub async fn a_guest_put_aside_before_a_doubt_is_doubtful_too(world: &mut World) {
    world.idle(3).await;
    world.lent("ann", &PoolTerms { size: 1, ..TERMS }).await;
    wait(world.lend("ben", &PoolTerms { size: 1, ..TERMS }).await);
    assert_eq!(world.pool().await.retired, 2);
    let three = PoolTerms { size: 3, ..TERMS };

    let until = quarantine(world, &three).await;
    world.forward_to(until).await;

    // The pool may have grown in what was lost, and lent them.
    wait(world.lend("ben", &three).await);
    let mut seen = world.do_all_work().await;
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
    for _ in 0..3 {
        world.lent("ben", &three).await;
    }
    wait(world.lend("ben", &three).await);
}

pub async fn a_stale_guest_on_its_way_when_a_doubt_came_waits_too(world: &mut World) {
    let one = PoolTerms { size: 1, ..TERMS };
    world.lent("ann", &one).await;
    let end = world.month_ends().await;
    world.forward_to(end).await;
    let work = world.work().await;
    assert!(world.finish(&work, WorkDone::Dirty).await);
    wait(world.lend("ben", &one).await);

    let until = quarantine(world, &one).await;

    // In what was lost it may have been scrubbed, and lent.
    world.forward(MINUTE).await;
    world.do_all_work().await;
    wait(world.lend("ben", &one).await);
    assert_eq!(world.pool().await.warm, 0);
    world.forward_to(until).await;
    assert_eq!(world.do_all_work().await, [1]);
    assert_eq!(world.lent("ben", &one).await.guest, 1);
    // One that is stale still is kept back as well.
    let end = world.month_ends().await;
    world.forward_to(end).await;
    let work = world.work().await;
    assert!(world.finish(&work, WorkDone::Dirty).await);
    quarantine(world, &one).await;
    wait(world.lend("cid", &one).await);
    assert_eq!(world.pool().await.stale, 1);
}

pub async fn an_heir_of_a_lease_that_a_doubt_ended_inherits_nothing(world: &mut World) {
    let lease = world.lent("ann", &TERMS).await;
    let heir = super::super::identity("member");
    assert_eq!(world.end_for(&key(&lease, "ann"), Some(&heir)).await, EndedLease::Now);
    let before = world.work().await;
    assert!(world.finish(&before, WorkDone::Failed { retry_after: MINUTE }).await);

    let until = quarantine(world, &TERMS).await;
    world.forward(MINUTE).await;

    // In what was lost it may have become somebody else's, and in it are their conversations.
    let work = world.work().await;
    assert!(matches!(work.task, GuestTask::Scrub { heir: None, .. }), "{work:?}");
    assert!(world.finish(&work, WorkDone::Clean).await);
    world.forward_to(until).await;
    assert!(world.do_all_work().await.contains(&1));
    assert_eq!(world.lent("ben", &TERMS).await.guest, 1);
}

pub async fn of_doubtful_guests_the_latest_months_are_seen_first(world: &mut World) {
    world.idle(3).await;
    let next = world.month_ends().await;
    world.forward_to(next).await;
    let lease = world.lent("ann", &FOUR).await;
    assert_eq!(lease.guest, 1);
    world.forward_to(lease.ends.plus(TERMS.cooldown)).await;
    world.do_all_work().await;
    let until = quarantine(world, &FOUR).await;
    world.forward_to(until).await;

    // It costs nothing to lend it.
    let work = world.work().await;
    assert_eq!(work.guest, 1);
    assert!(world.finish(&work, WorkDone::Clean).await);
    assert_eq!(world.lent("ben", &FOUR).await.guest, 1);
    assert_eq!(world.pool().await.active, 1);
}

pub async fn what_is_put_aside_and_doubtful_keeps_its_month(world: &mut World) {
    world.idle(3).await;
    let one = PoolTerms { size: 1, ..TERMS };
    world.lent("ann", &one).await;
    wait(world.lend("ben", &one).await);
    let until = quarantine(world, &FOUR).await;
    world.forward_to(until).await;

    world.do_all_work().await;
    for _ in 0..3 {
        world.lent("ben", &FOUR).await;
    }

    assert_eq!(world.pool().await.active, 3);
}

pub async fn guests_made_after_a_doubt_are_lent_when_it_is_over(world: &mut World) {
    let two = PoolTerms { size: 2, ..TERMS };
    let until = quarantine(world, &two).await;
    wait(world.lend("ann", &FOUR).await);
    world.forward_to(until).await;

    wait(world.lend("ann", &two).await);
    assert_eq!(world.do_all_work().await, [1, 2]);
    let mut guests = Vec::new();
    for _ in 0..4 {
        guests.push(world.lent("ann", &FOUR).await.guest);
    }

    assert_eq!(guests, [1, 2, 3, 4], "the last two are beyond what the doubt is about");
}

pub async fn a_second_doubt_keeps_back_anew(world: &mut World) {
    let two = PoolTerms { size: 2, ..TERMS };
    world.idle(2).await;
    let until = quarantine(world, &two).await;
    world.forward_to(until).await;
    world.do_all_work().await;
    let lease = world.lent("ann", &two).await;

    let again = quarantine(world, &two).await;

    assert!(again >= until.plus(KEPT_BACK));
    assert_eq!(world.read(&key(&lease, "ann")).await, None);
    wait(world.lend("ben", &two).await);
    world.forward_to(again).await;
    wait(world.lend("ben", &two).await);
    let mut seen = world.do_all_work().await;
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
    assert!(matches!(world.lend("ben", &two).await, Lent::Guest(_)));
    // A shorter one takes nothing back from a longer one.
    let long = quarantine(world, &PoolTerms { cooldown: KEPT_BACK, ..two }).await;
    assert!(quarantine(world, &two).await >= long);
}

pub async fn nobody_hurries_to_look_through_guests_that_were_never_lent(world: &mut World) {
    let hundred = PoolTerms { size: 100, ..TERMS };
    let until = quarantine(world, &hundred).await;
    world.forward_to(until).await;
    let terms = WorkTerms { size: 100, ..WORK };
    let see_all = async || {
        let mut seen = 0;
        while let FoundWork::Work(work) = world.claim(&terms).await {
            assert!(world.finish(&work, WorkDone::Clean).await);
            seen += 1;
        }
        seen
    };

    assert_eq!(see_all().await, 64);
    assert_eq!(world.pool().await.cold, 64);
    for number in 0..10 {
        world.lent(&format!("{number}"), &hundred).await;
    }
    assert_eq!(see_all().await, 10);
    let pool = world.pool().await;
    assert_eq!((pool.cold, pool.active), (64, 10));
}
