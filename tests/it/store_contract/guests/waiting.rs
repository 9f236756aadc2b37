//! What is told to those for whom there is no guest: when there is one, as far as anybody can know.

use std::time::Duration;

use vestibule::inside::Timestamp;
use vestibule::inside::store::{Lent, PoolTerms, WorkDone};

use super::world::{MINUTE, TERMS, World, key, wait};

const ONE: PoolTerms = PoolTerms { size: 1, ..TERMS };

/// Asks for a guest, of which there is none until `truth`.
async fn told(world: &World, terms: &PoolTerms, truth: Timestamp) {
    let before = world.now().await.until(truth);
    let after = wait(world.lend("late", terms).await);
    let slack = Duration::from_secs(2);
    assert!(after + slack >= before && after <= before + slack, "{after:?} instead of {before:?}");
}

pub async fn a_guest_given_back_is_back_when_it_has_cooled(world: &mut World) {
    let lease = world.lent("ann", &ONE).await;
    let key = key(&lease, "ann");
    world.forward(MINUTE).await;
    world.token(&key).await;
    let ready = world.read(&key).await.unwrap().token_ends.plus(TERMS.cooldown);

    // Whatever is done about it meanwhile.
    assert!(world.end(&key).await);
    told(world, &ONE, ready).await;
    let work = world.work().await;
    told(world, &ONE, ready).await;
    assert!(world.finish(&work, WorkDone::Failed { retry_after: MINUTE / 2 }).await);
    told(world, &ONE, ready).await;
    world.forward(MINUTE / 2).await;
    let work = world.work().await;
    assert!(world.finish(&work, WorkDone::Clean).await);
    told(world, &ONE, ready).await;

    // Cool, it is scrubbed in a moment, or when that is tried again.
    world.forward_to(ready).await;
    assert_eq!(wait(world.lend("late", &ONE).await), Duration::from_secs(1));
    let work = world.work().await;
    assert_eq!(wait(world.lend("late", &ONE).await), Duration::from_secs(2));
    assert!(world.finish(&work, WorkDone::Failed { retry_after: MINUTE }).await);
    let again = world.now().await.plus(MINUTE);
    told(world, &ONE, again).await;
}

pub async fn a_guest_beyond_the_size_is_nobodys(world: &mut World) {
    let long = PoolTerms { first: MINUTE * 30, ..TERMS };
    let first = world.lent("ann", &long).await;
    let second = world.lent("ben", &TERMS).await;

    told(world, &PoolTerms { size: 2, ..TERMS }, second.ends.plus(TERMS.cooldown)).await;
    told(world, &ONE, first.ends.plus(TERMS.cooldown)).await;
    // Also when it is worked on.
    world.end(&key(&second, "ben")).await;
    world.forward_to(second.ends.plus(TERMS.cooldown)).await;
    world.work().await;
    told(world, &ONE, first.ends.plus(TERMS.cooldown)).await;
}

pub async fn a_doubt_keeps_back_what_is_lent_and_what_is_not(world: &mut World) {
    let two = PoolTerms { size: 2, ..TERMS };
    let lease = world.lent("ann", &ONE).await;
    let until = world.quarantine_guests(&two).await.unwrap().value;

    // One that never was lent, and one that was lent before.
    told(world, &two, until).await;
    told(world, &ONE, until).await;
    world.forward_to(lease.ends.plus(TERMS.cooldown)).await;
    told(world, &ONE, until).await;
    world.work().await;
    told(world, &ONE, until).await;
    world.forward(MINUTE).await;
    assert_eq!(world.do_all_work().await, [1]);
    told(world, &ONE, until).await;
    let nobody = wait(world.lend("late", &PoolTerms { size: 0, ..TERMS }).await);
    assert_eq!(nobody, MINUTE, "nothing is known to come");
}

pub async fn a_doubtful_guest_is_there_in_a_moment_once_the_doubt_is_over(world: &mut World) {
    let three = PoolTerms { size: 3, ..TERMS };
    world.idle(1).await;
    let until = world.quarantine_guests(&three).await.unwrap().value;
    told(world, &ONE, until).await;
    world.forward_to(until).await;

    // Idle, or never lent; in either case somebody looks at it in a moment.
    assert_eq!(wait(world.lend("late", &ONE).await), Duration::from_secs(1));
    assert_eq!(wait(world.lend("late", &three).await), Duration::from_secs(1));
    let work = world.work().await;
    assert!(world.finish(&work, WorkDone::Failed { retry_after: MINUTE }).await);
    assert_eq!(wait(world.lend("late", &three).await), Duration::from_secs(1));
    told(world, &ONE, world.now().await.plus(MINUTE)).await;
}

pub async fn a_budget_waits_for_what_is_paid_for_or_for_the_month(world: &mut World) {
    let one_more = PoolTerms { budget: Some(1), ..TERMS };
    let end = world.month_ends().await;
    world.forward_to(Timestamp::from_millis(end.as_millis() - 25 * 60_000)).await;
    let lease = world.lent("ann", &TERMS).await;
    world.forward(MINUTE).await;
    world.token(&key(&lease, "ann")).await;
    world.forward_to(end).await;
    let second = world.lent("ben", &PoolTerms { first: MINUTE * 25, ..one_more }).await;
    assert_eq!(world.pool().await.active, 1);

    // The first comes back sooner, but would be one more.
    let Lent::BudgetReached { after } = world.lend("late", &one_more).await else {
        panic!("it is lent beyond the budget")
    };
    let truth = world.now().await.until(second.ends.plus(TERMS.cooldown));
    assert!(after + MINUTE / 30 >= truth && after <= truth + MINUTE / 30, "{after:?}");
    told(world, &PoolTerms { size: 2, ..one_more }, second.ends.plus(TERMS.cooldown)).await;
    let end = world.month_ends().await;
    told(world, &PoolTerms { size: 1, ..one_more }, end).await;
}
