//! Guests that could not be taken out of everything in the month in which they were active.

use std::time::Duration;

use vestibule::inside::Timestamp;
use vestibule::inside::store::{FoundWork, GuestTask, Lent, PoolTerms, WorkDone};

use super::world::{MINUTE, TERMS, WORK, World, wait};

const ONE: PoolTerms = PoolTerms { size: 1, ..TERMS };
const TWO: PoolTerms = PoolTerms { size: 2, ..TERMS };

/// Makes the first guests stale, so many; the last one first. It is the beginning of a month.
async fn make_stale(world: &mut World, count: u32) {
    for _ in 0..count {
        world.lent("gone", &PoolTerms { size: count, ..TERMS }).await;
    }
    let end = world.month_ends().await;
    world.forward_to(end.plus(MINUTE)).await;
    let mut works = Vec::new();
    for _ in 0..count {
        works.push(world.work().await);
    }
    works.sort_by_key(|work| work.guest);
    for work in works.iter().rev() {
        assert!(world.finish(work, WorkDone::Dirty).await);
    }
    let pool = world.pool().await;
    assert_eq!((pool.stale, pool.active), (count, 0));
}

pub async fn a_stale_guest_is_scrubbed_when_nothing_else_is_left(world: &mut World) {
    make_stale(world, 1).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    assert_eq!(world.lent("ben", &TWO).await.guest, 2, "one that is clean is there");

    assert_eq!(wait(world.lend("cid", &TWO).await), Duration::from_secs(2));
    assert!(wait(world.lend("dan", &TWO).await) <= Duration::from_secs(2), "it is on its way");
    let pool = world.pool().await;
    assert_eq!((pool.stale, pool.scrubbing), (0, 1));
    let work = world.work().await;
    assert_eq!(work.guest, 1);
    assert!(world.finish(&work, WorkDone::Clean).await);

    assert_eq!(world.lent("cid", &TWO).await.guest, 1);
    wait(world.lend("dan", &TWO).await);
    assert_eq!(world.pool().await.active, 2);
}

pub async fn a_stale_guest_waits_for_a_budget(world: &mut World) {
    make_stale(world, 1).await;
    let terms = PoolTerms { budget: Some(0), ..ONE };

    // Nobody may write for it without counting one more.
    assert!(matches!(world.lend("ben", &terms).await, Lent::BudgetReached { .. }));
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);

    let terms = PoolTerms { budget: Some(1), ..ONE };
    wait(world.lend("ben", &terms).await);
    assert_eq!(world.do_all_work().await, [1]);
    assert_eq!(world.lent("ben", &terms).await.guest, 1);
    assert_eq!(world.pool().await.active, 1);
}

pub async fn a_stale_guest_beyond_the_size_is_left_alone(world: &mut World) {
    make_stale(world, 1).await;

    // Whatever it costs to scrub it, nobody could have it.
    wait(world.lend("ben", &PoolTerms { size: 0, ..TERMS }).await);

    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    let pool = world.pool().await;
    assert_eq!((pool.stale, pool.active), (1, 0));
}

pub async fn stale_guests_beyond_the_size_hide_none_within_it(world: &mut World) {
    make_stale(world, 66).await;

    assert_eq!(wait(world.lend("ben", &ONE).await), Duration::from_secs(2));

    assert_eq!(world.do_all_work().await, [1]);
    assert_eq!(world.lent("ben", &ONE).await.guest, 1);
}

/// Puts the clock so much before the month's end, which it answers.
async fn before_months_end(world: &mut World, by: Duration) -> Timestamp {
    let end = world.month_ends().await;
    let ahead = world.now().await.until(end) - by;
    world.forward(ahead).await;
    end
}

pub async fn nobody_is_paid_for_when_the_month_is_all_but_over(world: &mut World) {
    make_stale(world, 1).await;
    let end = before_months_end(world, Duration::from_secs(18)).await;

    // A worker begins nothing that may arrive in another month.
    let after = wait(world.lend("ben", &ONE).await);
    let true_time = world.now().await.until(end);
    assert!(after >= true_time && after <= true_time + Duration::from_secs(2), "{after:?}");
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    assert_eq!(world.pool().await.active, 0);

    world.forward_to(end).await;
    wait(world.lend("ben", &ONE).await);
    assert_eq!(world.do_all_work().await, [1]);
    assert_eq!(world.lent("ben", &ONE).await.guest, 1);
}

pub async fn what_was_paid_for_and_not_scrubbed_is_paid_once_a_month(world: &mut World) {
    make_stale(world, 1).await;
    let end = before_months_end(world, Duration::from_secs(30)).await;
    wait(world.lend("ben", &ONE).await);
    let work = world.work().await;
    assert!(matches!(work.task, GuestTask::Scrub { free_until: Some(until), .. } if until == end));

    // Too late to write, as the worker sees it.
    world.forward(Duration::from_secs(6)).await;
    assert!(world.finish(&work, WorkDone::Dirty).await);
    for _ in 0..3 {
        wait(world.lend("ben", &ONE).await);
        assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    }
    let pool = world.pool().await;
    assert_eq!((pool.active, pool.stale, pool.scrubbing), (1, 0, 1));

    // In the next month it is looked at, and costs nothing until somebody needs it.
    world.forward_to(end.plus(MINUTE)).await;
    let work = world.work().await;
    assert!(matches!(work.task, GuestTask::Scrub { free_until: None, .. }));
    assert!(world.finish(&work, WorkDone::Dirty).await);
    let pool = world.pool().await;
    assert_eq!((pool.active, pool.stale, pool.scrubbing), (0, 1, 0));
    wait(world.lend("ben", &ONE).await);
    assert_eq!(world.do_all_work().await, [1]);
    world.lent("ben", &ONE).await;
    assert_eq!(world.pool().await.active, 1);
}

pub async fn a_dirty_guest_that_is_paid_for_is_scrubbed_again(world: &mut World) {
    let lease = world.lent("ann", &ONE).await;
    world.forward_to(lease.ends.plus(TERMS.cooldown)).await;
    let work = world.work().await;

    // Nothing that is written this month costs anything: to wait for somebody who pays would be dear.
    assert!(world.finish(&work, WorkDone::Dirty).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    let after = wait(world.lend("ben", &ONE).await);
    assert!(after <= MINUTE && after > MINUTE - Duration::from_secs(5), "{after:?}");
    world.forward(MINUTE).await;
    assert_eq!(world.do_all_work().await, [1]);

    assert_eq!(world.lent("ben", &ONE).await.guest, 1);
    let pool = world.pool().await;
    assert_eq!((pool.active, pool.stale), (1, 0));
}

pub async fn a_stale_guest_that_fails_holds_up_no_other(world: &mut World) {
    make_stale(world, 2).await;
    wait(world.lend("ben", &TWO).await);
    let first = world.work().await;
    assert!(world.finish(&first, WorkDone::Failed { retry_after: MINUTE * 10 }).await);

    // Not at once: it may be Twilio that is away, and then each visitor would make one more active.
    wait(world.lend("ben", &TWO).await);
    assert_eq!(world.pool().await.active, 1);
    world.forward(MINUTE * 5).await;
    assert_eq!(wait(world.lend("ben", &TWO).await), Duration::from_secs(2));
    let second = world.work().await;
    assert_ne!(second.guest, first.guest);
    assert!(world.finish(&second, WorkDone::Clean).await);
    assert_eq!(world.lent("ben", &TWO).await.guest, second.guest);

    // The first one is paid for, and comes again.
    world.forward(MINUTE * 5).await;
    assert_eq!(world.do_all_work().await, [first.guest]);
    assert_eq!(world.lent("cid", &TWO).await.guest, first.guest);
    assert_eq!(world.pool().await.active, 2);
}
