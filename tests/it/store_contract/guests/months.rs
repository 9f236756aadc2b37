//! What a guest costs: months, and the writes that are kept within them.

use std::time::Duration;

use vestibule::inside::store::{
    FoundWork, GuestTask, GuestWork, Lent, PoolTerms, Purpose, WorkDone, WorkTerms,
};
use vestibule::inside::{Month, Timestamp};

use super::world::{MINUTE, TERMS, WORK, World, key, live, wait};

/// Puts the clock so much before the month's end, which it answers.
async fn before_months_end(world: &mut World, by: Duration) -> Timestamp {
    let end = world.month_ends().await;
    let ahead = world.now().await.until(end) - by;
    world.forward(ahead).await;
    end
}

async fn active(world: &World) -> u32 {
    world.pool().await.active
}

pub async fn a_guest_is_active_in_each_month_in_which_a_token_lives(world: &mut World) {
    let end = before_months_end(world, MINUTE * 8).await;
    world.lent("ann", &TERMS).await;
    assert_eq!(active(world).await, 1);
    world.forward(MINUTE * 5).await;
    world.lent("ben", &TERMS).await;
    assert_eq!(active(world).await, 2);

    world.forward_to(end).await;

    assert_eq!(active(world).await, 1, "one token lives, one has ended");
}

pub async fn a_guest_renewed_over_the_months_end_counts_in_both(world: &mut World) {
    let end = before_months_end(world, MINUTE * 25).await;
    let lease = world.lent("ann", &TERMS).await;
    let key = key(&lease, "ann");
    world.forward(MINUTE).await;
    world.token(&key).await;
    world.forward(MINUTE * 23).await;
    world.token(&key).await;

    world.forward_to(end.plus(MINUTE)).await;
    assert_eq!(active(world).await, 1);
    world.token(&key).await;
    world.forward(MINUTE * 20).await;
    world.token(&key).await;
    assert_eq!(active(world).await, 1);

    // A lease that lives on into a month without any token costs nothing in it, until there is one.
    let end = before_months_end(world, MINUTE * 25).await;
    let lease = world.lent("ben", &TERMS).await;
    let key = super::world::key(&lease, "ben");
    world.forward(MINUTE).await;
    let used = world.token(&key).await;
    assert!(used.token_ends < end && used.ends > end, "{used:?}");
    world.forward_to(end).await;
    assert_eq!(active(world).await, 0);
    world.token(&key).await;
    assert_eq!(active(world).await, 1);
}

pub async fn the_months_guests_are_lent_before_those_of_earlier_ones(world: &mut World) {
    world.idle(2).await;
    let next = world.month_ends().await;
    world.forward_to(next.plus(MINUTE)).await;
    assert_eq!(world.lent("ann", &TERMS).await.guest, 1);
    world.forward(TERMS.first + TERMS.cooldown).await;
    world.do_all_work().await;

    let guests = [world.lent("ben", &TERMS).await.guest, world.lent("cid", &TERMS).await.guest];

    assert_eq!(guests, [1, 2], "one costs nothing, though the other is idle longer");
    assert_eq!(world.lent("dan", &TERMS).await.guest, 3);
}

pub async fn of_earlier_months_the_earliest_comes_first(world: &mut World) {
    world.idle(3).await;
    let next = world.month_ends().await;
    world.forward_to(next.plus(MINUTE)).await;
    assert_eq!(world.lent("ann", &TERMS).await.guest, 1);
    world.forward(TERMS.first + TERMS.cooldown).await;
    world.do_all_work().await;
    let next = world.month_ends().await;
    world.forward_to(next.plus(MINUTE)).await;
    let pool = world.pool().await;
    assert_eq!((pool.warm, pool.cold), (0, 3));

    let mut guests = Vec::new();
    for _ in 0..4 {
        guests.push(world.lent("ben", &TERMS).await.guest);
    }

    assert_eq!(guests, [2, 3, 1, 4]);
    assert_eq!(active(world).await, 4);
}

pub async fn the_budget_begins_anew_with_the_month(world: &mut World) {
    let terms = PoolTerms { budget: Some(1), cooldown: Duration::from_hours(1), ..TERMS };
    let end = before_months_end(world, MINUTE * 20).await;
    world.lent("ann", &terms).await;
    world.forward(MINUTE).await;

    let Lent::BudgetReached { after } = world.lend("ben", &terms).await else {
        panic!("it is lent beyond the budget")
    };
    let true_time = world.now().await.until(end);
    assert!(after >= true_time && after <= true_time + Duration::from_secs(1), "{after:?}");

    world.forward(after).await;
    assert_eq!(world.lent("ben", &terms).await.guest, 2);
    assert!(matches!(world.lend("cid", &terms).await, Lent::BudgetReached { .. }));
}

fn free_until(work: &GuestWork) -> Option<Timestamp> {
    match work.task {
        GuestTask::Scrub { free_until, .. } => free_until,
        GuestTask::Join { .. } => panic!("{work:?}"),
    }
}

pub async fn scrubbing_is_free_until_the_month_ends(world: &mut World) {
    let end = before_months_end(world, MINUTE * 10).await;
    let lease = world.lent("ann", &TERMS).await;
    assert!(world.end(&key(&lease, "ann")).await);
    let work = world.work().await;
    assert_eq!(free_until(&work), Some(end));
    assert!(world.finish(&work, WorkDone::Failed { retry_after: MINUTE * 12 }).await);
    world.forward_to(end.plus(MINUTE * 3)).await;
    let work = world.work().await;
    assert_eq!(free_until(&work), None);
    assert!(world.finish(&work, WorkDone::Clean).await);
    world.do_all_work().await;

    // One whose last token lives on into the next month is active in that as well.
    let end = before_months_end(world, MINUTE * 4).await;
    world.do_all_work().await;
    let lease = world.lent("ben", &TERMS).await;
    assert!(world.end(&key(&lease, "ben")).await);
    let after = Month::from_number(Month::of(end).number()).ends();
    assert_eq!(free_until(&world.work().await), Some(after));
}

fn early(from: u64) -> WorkTerms {
    WorkTerms { from: Timestamp::from_millis(from), ..WORK }
}

pub async fn guests_that_cool_into_the_next_month_are_scrubbed_before(world: &mut World) {
    let end = before_months_end(world, MINUTE * 16).await;
    let terms = PoolTerms { cooldown: MINUTE * 15, ..TERMS };
    world.heed_doubt(&terms).await.unwrap();
    let lease = world.lent("ann", &terms).await;
    let living = world.lent("ben", &PoolTerms { first: MINUTE * 12, ..terms }).await;
    let back = world.lent("cid", &terms).await;
    let ready_before = PoolTerms { cooldown: MINUTE * 5, ..TERMS };
    let soon = world.lent("dan", &ready_before).await;
    world.forward_to(back.ends.plus(Duration::from_secs(1))).await;
    // Eleven minutes before the end nobody hurries, and who comes back may.
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    live(world.ask(&key(&back, "cid"), &terms, Purpose::Return).await);

    // Nine minutes before, the one that will not be ready in time is scrubbed; no other.
    world.forward_to(Timestamp::from_millis(end.as_millis() - 9 * 60_000)).await;
    let FoundWork::Work(work) = world.claim(&early(0)).await else { panic!("none is claimed") };
    assert_eq!((work.guest, free_until(&work)), (lease.guest, Some(end)));
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    assert!(world.finish(&work, WorkDone::Clean).await);
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing, "once is enough");
    assert_eq!(world.pool().await.warm, 0, "but it is cooling yet");
    assert!(world.read(&key(&living, "ben")).await.is_some());

    world.forward_to(lease.ends.plus(terms.cooldown)).await;
    let mut found = [world.work().await, world.work().await];
    found.sort_by_key(|work| work.guest);
    let guests = found.map(|work| work.guest);
    assert_eq!(guests, [lease.guest, soon.guest]);
}

pub async fn looking_for_early_scrubs_goes_on_where_it_stopped(world: &mut World) {
    before_months_end(world, MINUTE * 9).await;
    let pool = PoolTerms { size: 100, first: MINUTE * 8, ..TERMS };
    for _ in 0..40 {
        world.lent("ann", &pool).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let late = PoolTerms { first: Duration::from_millis(1), cooldown: MINUTE * 60, ..pool };
    let last = world.lent("ben", &late).await;
    world.forward(Duration::from_secs(1)).await;

    let FoundWork::LookOn { from } = world.claim(&early(0)).await else {
        panic!("all are looked at")
    };
    let FoundWork::Work(work) = world.claim(&early(from.as_millis())).await else {
        panic!("it is not found")
    };

    assert_eq!(work.guest, last.guest);
    assert_eq!(world.claim(&early(from.as_millis())).await, FoundWork::Nothing);
}

pub async fn looking_for_early_scrubs_passes_over_what_is_lent(world: &mut World) {
    before_months_end(world, MINUTE * 9).await;
    let pool = PoolTerms { size: 100, first: Duration::from_millis(1), ..TERMS };
    let last = world.lent("ann", &pool).await;
    for _ in 0..40 {
        world.lent("ben", &PoolTerms { first: MINUTE * 15, ..pool }).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    // Nobody's, and ready before the month ends.
    world.lent("cid", &PoolTerms { cooldown: MINUTE * 5, ..pool }).await;
    world.forward(Duration::from_secs(1)).await;

    assert_eq!(world.work().await.guest, last.guest);
    assert_eq!(world.claim(&early(0)).await, FoundWork::Nothing, "at the first look");
}

pub async fn a_doubtful_guest_that_waits_over_the_months_end_stops_no_work(world: &mut World) {
    world.idle(1).await;
    let one = PoolTerms { size: 1, ..TERMS };
    before_months_end(world, MINUTE * 38).await;
    let until = world.quarantine_guests(&one).await.unwrap().value;
    world.forward_to(until).await;
    let work = world.work().await;
    let until = world.quarantine_guests(&one).await.unwrap().value;
    world.forward(MINUTE / 2).await;
    assert!(world.finish(&work, WorkDone::Clean).await);

    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.forward_to(until).await;
    assert_eq!(world.work().await.guest, 1);
}

pub async fn a_stale_guest_is_paid_once_for_scrub_and_lend(world: &mut World) {
    let terms = PoolTerms { size: 1, ..TERMS };
    world.lent("ann", &terms).await;
    let end = world.month_ends().await;
    world.forward_to(end.plus(MINUTE)).await;
    let work = world.work().await;
    assert_eq!(free_until(&work), None);
    assert!(world.finish(&work, WorkDone::Dirty).await);
    assert_eq!(active(world).await, 0);

    wait(world.lend("ben", &terms).await);
    assert_eq!(active(world).await, 1);
    let work = world.work().await;
    assert_eq!(free_until(&work), Some(world.month_ends().await));
    assert!(world.finish(&work, WorkDone::Clean).await);
    world.lent("ben", &terms).await;

    assert_eq!(active(world).await, 1);
}

pub async fn nobody_joins_in_a_month_in_which_its_guest_is_not_active(world: &mut World) {
    let terms = PoolTerms { joins: true, ..TERMS };
    let end = before_months_end(world, MINUTE * 25).await;
    let lease = world.lent("ann", &terms).await;
    let join = world.work().await;
    assert!(world.finish(&join, WorkDone::Failed { retry_after: MINUTE * 26 }).await);
    world.forward(MINUTE).await;
    let used = world.token(&key(&lease, "ann")).await;
    assert!(used.token_ends < end && used.ends > end);

    // Taken into a conversation now, it would be billed for a month that its holder may never see.
    world.forward_to(end.plus(MINUTE * 2)).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    world.token(&key(&lease, "ann")).await;
    world.forward(WORK.hold).await;
    assert!(matches!(world.work().await.task, GuestTask::Join { .. }));
}
