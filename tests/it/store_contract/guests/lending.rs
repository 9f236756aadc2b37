//! Whom the pool lends, and when it does not.

use std::collections::BTreeSet;
use std::time::Duration;

use vestibule::inside::store::{FoundWork, Lent, PoolTerms, WorkDone};

use super::super::all_at_once;
use super::world::{MINUTE, TERMS, WORK, World, key, wait};

pub async fn a_guest_is_lent_for_a_first_short_while(world: &mut World) {
    let before = world.now().await;

    let lease = world.lent("ann", &TERMS).await;
    let second = world.lent("ben", &PoolTerms { max_stay: MINUTE * 2, ..TERMS }).await;
    let third = world.lent("cid", &PoolTerms { token: MINUTE * 3, ..TERMS }).await;

    assert_eq!((lease.guest, second.guest, third.guest), (1, 2, 3));
    assert!(before <= lease.since && lease.since <= world.now().await);
    assert_eq!((lease.ends, lease.token_ends), (lease.since.plus(TERMS.first), lease.ends));
    assert_eq!((second.ends, second.token_ends), (second.since.plus(MINUTE * 2), second.ends));
    assert!(third.token_ends <= third.since.plus(MINUTE * 3), "a token's own limit holds too");
    assert_eq!(world.read(&key(&lease, "ann")).await, Some(lease));
}

pub async fn twenty_at_once_get_ten_guests_and_each_another(world: &mut World) {
    let all = all_at_once(20, || world.lend("ann", &TERMS)).await;

    let lent = |lent: &Lent| match lent {
        Lent::Guest(lease) => Some(lease.guest),
        _ => None,
    };
    let guests: BTreeSet<_> = all.iter().filter_map(lent).collect();
    assert_eq!(guests, (1..=10).collect());
    assert_eq!(all.iter().filter(|one| matches!(one, Lent::Exhausted { .. })).count(), 10);
    assert_eq!(world.pool().await.active, 10);
}

pub async fn the_guest_idle_longest_is_lent_first(world: &mut World) {
    world.idle(3).await;
    // The first is used again, and so is idle the shortest from then on.
    assert_eq!(world.lent("ann", &TERMS).await.guest, 1);
    world.forward(TERMS.first + TERMS.cooldown).await;
    assert_eq!(world.do_all_work().await, [1]);

    let mut guests = Vec::new();
    for _ in 0..4 {
        guests.push(world.lent("ben", &TERMS).await.guest);
    }

    assert_eq!(guests, [2, 3, 1, 4]);
}

pub async fn a_guest_that_is_active_already_is_lent_before_one_that_never_was(world: &mut World) {
    for round in 0..5 {
        let lease = world.lent("ann", &TERMS).await;
        assert_eq!(lease.guest, 1, "round {round}");
        assert!(world.end(&key(&lease, "ann")).await);
        world.forward(TERMS.first + TERMS.cooldown).await;
        world.do_all_work().await;
    }

    let pool = world.pool().await;
    assert_eq!((pool.made, pool.active, pool.warm), (1, 1, 1));
}

pub async fn a_guest_is_lent_again_only_when_it_has_cooled_and_was_seen_clean(world: &mut World) {
    let terms = PoolTerms { size: 1, ..TERMS };
    let lease = world.lent("ann", &terms).await;
    let ready = lease.ends.plus(TERMS.cooldown);

    // Over, but not cool.
    world.forward_to(lease.ends.plus(MINUTE)).await;
    assert_eq!(world.claim(&WORK).await, FoundWork::Nothing);
    let true_time = world.now().await.until(ready);
    assert!(wait(world.lend("ben", &terms).await) <= true_time);
    // Cool, but not seen.
    world.forward_to(ready).await;
    assert!(wait(world.lend("ben", &terms).await) >= Duration::from_secs(1));
    let work = world.work().await;
    wait(world.lend("ben", &terms).await);
    assert!(world.finish(&work, WorkDone::Clean).await);

    let next = world.lent("ben", &terms).await;
    assert!(next.guest == 1 && next.since >= ready, "{next:?}");
    assert!(world.read(&key(&lease, "ann")).await.is_none());
}

pub async fn who_finds_no_guest_is_told_when_one_comes_back(world: &mut World) {
    let terms = PoolTerms { size: 2, ..TERMS };
    let first = world.lent("ann", &terms).await;
    world.forward(MINUTE).await;
    world.lent("ben", &terms).await;
    world.forward(MINUTE).await;

    let after = wait(world.lend("cid", &terms).await);
    let ready = first.ends.plus(TERMS.cooldown);
    let true_time = world.now().await.until(ready);

    assert!(after >= true_time && after <= true_time + Duration::from_secs(2), "{after:?}");
    // With nothing lent there is nothing to wait for; with no time left it is a second.
    assert!(
        wait(world.lend("cid", &PoolTerms { size: 0, ..TERMS }).await) >= Duration::from_secs(1)
    );
    world.forward_to(ready.plus(MINUTE)).await;
    assert_eq!(wait(world.lend("cid", &terms).await), Duration::from_secs(1));
}

pub async fn the_budget_stops_only_what_would_cost(world: &mut World) {
    let terms = PoolTerms { budget: Some(2), ..TERMS };
    let lease = world.lent("ann", &terms).await;
    world.forward(MINUTE).await;
    world.lent("ben", &terms).await;

    let Lent::BudgetReached { after } = world.lend("cid", &terms).await else {
        panic!("a third one is lent")
    };
    let true_time = world.now().await.until(lease.ends.plus(TERMS.cooldown));
    assert!(after >= true_time && after <= true_time + Duration::from_secs(2), "{after:?}");
    let full = PoolTerms { size: 2, ..terms };
    assert!(matches!(world.lend("cid", &full).await, Lent::Exhausted { .. }), "nothing is left");
    // Who has a guest goes on, and a guest that is active already is lent again.
    world.token(&key(&lease, "ann")).await;
    assert!(world.end(&key(&lease, "ann")).await);
    world.forward(TERMS.token + TERMS.cooldown + MINUTE).await;
    world.do_all_work().await;
    assert!([1, 2].contains(&world.lent("cid", &terms).await.guest));
    assert_eq!(world.pool().await.active, 2);
}

pub async fn of_twenty_at_once_the_budget_lets_its_number_through(world: &mut World) {
    let terms = PoolTerms { budget: Some(7), ..TERMS };

    let all = all_at_once(20, || world.lend("ann", &terms)).await;

    assert_eq!(all.iter().filter(|one| matches!(one, Lent::Guest(_))).count(), 7);
    assert_eq!(all.iter().filter(|one| matches!(one, Lent::BudgetReached { .. })).count(), 13);
    assert_eq!(world.pool().await.active, 7);
}

pub async fn at_once_what_is_active_already_goes_first_and_the_budget_counts_the_rest(
    world: &mut World,
) {
    world.idle(3).await;
    let terms = PoolTerms { budget: Some(5), ..TERMS };

    let all = all_at_once(8, || world.lend("ann", &terms)).await;

    let guests: Vec<_> = all
        .iter()
        .map_while(|lent| if let Lent::Guest(lease) = lent { Some(lease.guest) } else { None })
        .collect();
    assert_eq!(guests, [1, 2, 3, 4, 5]);
    assert!(all[5..].iter().all(|lent| matches!(lent, Lent::BudgetReached { .. })), "{all:?}");
    let pool = world.pool().await;
    assert_eq!((pool.active, pool.made, pool.warm, pool.lent), (5, 5, 0, 5));
}

pub async fn what_is_lent_outlives_a_smaller_size_and_is_put_aside(world: &mut World) {
    for _ in 0..3 {
        world.lent("ann", &TERMS).await;
    }
    let last = world.lent("ben", &TERMS).await;
    let small = PoolTerms { size: 2, ..TERMS };

    wait(world.lend("cid", &small).await);
    assert_eq!(world.read(&key(&last, "ben")).await, Some(last));
    world.token(&key(&last, "ben")).await;
    world.forward(TERMS.lease + TERMS.cooldown + MINUTE).await;
    assert_eq!(world.do_all_work().await.len(), 4);

    let [one, two] = [world.lent("cid", &small).await, world.lent("dan", &small).await];
    assert_eq!(BTreeSet::from([one.guest, two.guest]), BTreeSet::from([1, 2]));
    wait(world.lend("eve", &small).await);
    let pool = world.pool().await;
    assert_eq!((pool.retired, pool.warm, pool.made), (2, 0, 4));
}

pub async fn a_pool_that_grows_again_lends_what_was_put_aside(world: &mut World) {
    world.idle(4).await;
    let small = PoolTerms { size: 1, ..TERMS };
    assert_eq!(world.lent("ann", &small).await.guest, 1);
    wait(world.lend("ben", &small).await);
    assert_eq!(world.pool().await.retired, 3);

    let grown = PoolTerms { size: 3, ..TERMS };
    let guests = [world.lent("ben", &grown).await.guest, world.lent("cid", &grown).await.guest];
    wait(world.lend("dan", &grown).await);
    let full = [world.lent("dan", &TERMS).await.guest, world.lent("eve", &TERMS).await.guest];

    assert_eq!((guests, full), ([2, 3], [4, 5]), "what is paid for comes before what never was");
    let pool = world.pool().await;
    assert_eq!((pool.retired, pool.active), (0, 5), "nobody is counted twice");
}

pub async fn what_was_put_aside_comes_last_in_another_month(world: &mut World) {
    world.idle(4).await;
    let small = PoolTerms { size: 1, ..TERMS };
    assert_eq!(world.lent("ann", &small).await.guest, 1);
    wait(world.lend("ben", &small).await);
    world.forward(TERMS.first + TERMS.cooldown).await;
    world.do_all_work().await;
    let next = world.month_ends().await;
    world.forward_to(next).await;

    let mut guests = Vec::new();
    for _ in 0..5 {
        guests.push(world.lent("ben", &PoolTerms { size: 5, ..TERMS }).await.guest);
    }

    assert_eq!(guests, [1, 5, 2, 3, 4]);
    assert_eq!(world.pool().await.active, 5);
}

pub async fn two_sizes_at_once_count_nobody_twice(world: &mut World) {
    let (small, large) = (PoolTerms { size: 1, ..TERMS }, PoolTerms { size: 3, ..TERMS });
    world.idle(3).await;
    world.lent("ann", &small).await;

    // A budget that is used up lets through what is paid for, wherever it lies.
    let large = PoolTerms { budget: Some(3), ..large };
    for round in 0..3 {
        wait(world.lend("ben", &small).await);
        assert_eq!(world.pool().await.retired, 2, "round {round}");
        let guests = [world.lent("ben", &large).await.guest, world.lent("cid", &large).await.guest];
        assert_eq!(BTreeSet::from(guests), BTreeSet::from([2, 3]));
        world.forward(TERMS.first + TERMS.cooldown).await;
        world.do_all_work().await;
        world.lent("ann", &small).await;
    }

    assert_eq!(world.pool().await.active, 3);
}

pub async fn many_beyond_the_size_are_put_aside_a_few_at_a_time(world: &mut World) {
    world.idle(70).await;
    // The only one within the size is idle shortest.
    let one = PoolTerms { size: 1, ..TERMS };
    assert_eq!(world.lent("ann", &one).await.guest, 1);
    world.forward(TERMS.first + TERMS.cooldown).await;
    assert_eq!(world.do_all_work().await, [1]);

    let after = wait(world.lend("ben", &one).await);

    assert_eq!(after, Duration::from_secs(1));
    assert_eq!(world.pool().await.retired, 64);
    assert_eq!(world.lent("ben", &one).await.guest, 1);
}
