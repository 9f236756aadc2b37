//! No schedule that refuses nobody has fewer guests active in a month: shown of the stores themselves, by lives of many visitors.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use vestibule::inside::store::{LeaseKey, PoolTerms, Purpose};
use vestibule::inside::{Month, Timestamp};

use super::world::{MINUTE, World, key, live};

const POOL: PoolTerms = PoolTerms { size: 1_000, ..super::world::TERMS };

/// A visitor, by when it comes and for how long it stays.
#[derive(Clone, Copy)]
struct Visitor {
    arrives: Timestamp,
    stays: Duration,
}

/// What a visit took of its guest.
struct Taken {
    from: Timestamp,
    /// Lease, the rest of the last token, and cool-down.
    until: Timestamp,
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// A stay: mostly of minutes, some of hours.
    fn stay(&mut self) -> Duration {
        let halvings = (0..6).take_while(|_| self.below(2) == 0).count();
        Duration::from_secs((30 + self.below(3 * 60)) << halvings)
    }
}

/// Visitors around a month's end: all the time a few, and now and then a crowd.
fn visitors(count: u64, month_ends: Timestamp, days: u64) -> Vec<Visitor> {
    let mut chance = Chance(count);
    let begin = month_ends.as_millis() - days * 43_200_000;
    let mut visitors = (0..count)
        .map(|number| {
            let of_a_crowd = number % 4 == 0;
            let crowd = number / (count / 5 + 1);
            let at = if of_a_crowd {
                (crowd + 1) * days * 86_400_000 / 6 + chance.below(600_000)
            } else {
                chance.below(days * 86_400_000)
            };
            Visitor { arrives: Timestamp::from_millis(begin + at), stays: chance.stay() }
        })
        .collect::<Vec<_>>();
    visitors.sort_by_key(|visitor| visitor.arrives);
    visitors
}

/// Lets them all come, ask for tokens as an app does, and go without a word; what each took, and how many guests were active in each month.
async fn live_all(world: &mut World, visitors: &[Visitor]) -> (Vec<Taken>, BTreeMap<u32, u64>) {
    let mut taken = Vec::new();
    let mut active = BTreeMap::new();
    let mut asks = BinaryHeap::<Reverse<(Timestamp, usize)>>::new();
    let mut keys = Vec::<LeaseKey>::new();
    let mut coming = visitors.iter().peekable();
    loop {
        let next_ask = asks.peek().map(|Reverse((at, _))| *at);
        let next_arrival = coming.peek().map(|visitor| visitor.arrives);
        let is_arrival = match (next_arrival, next_ask) {
            (None, None) => break,
            (Some(arrival), Some(ask)) => arrival <= ask,
            (arrival, _) => arrival.is_some(),
        };
        let (number, lease) = if is_arrival {
            let visitor = coming.next().unwrap();
            world.forward_to(visitor.arrives).await;
            world.do_all_work().await;
            let who = keys.len().to_string();
            let lease = world.lent(&who, &POOL).await;
            keys.push(key(&lease, &who));
            taken.push(Taken { from: lease.since, until: lease.ends.plus(POOL.cooldown) });
            (keys.len() - 1, lease)
        } else {
            let Reverse((at, number)) = asks.pop().unwrap();
            world.forward_to(at).await;
            let lease = live(world.ask(&keys[number], &POOL, Purpose::Token).await);
            taken[number].until = lease.ends.plus(POOL.cooldown);
            (number, lease)
        };
        let ask = Timestamp::from_millis(lease.token_ends.as_millis() - 2 * 60_000);
        if ask < visitors[number].arrives.plus(visitors[number].stays) {
            asks.push(Reverse((ask, number)));
        }
        let pool = world.pool().await;
        active.insert(pool.month.number(), u64::from(pool.active));
    }
    (taken, active)
}

/// The most visits that have, at one moment of a month, a guest that is lent or cooling.
fn overlap(taken: &[Taken], month: u32) -> u64 {
    let month = Month::from_number(month);
    let begins = Month::from_number(month.number() - 1).ends();
    let moments = taken.iter().map(|visit| visit.from).chain([begins]);
    let at = |moment: Timestamp| {
        taken.iter().filter(|visit| visit.from <= moment && moment < visit.until).count() as u64
    };
    moments.filter(|at| *at >= begins && *at < month.ends()).map(at).max().unwrap()
}

async fn as_few_as_can_be(mut world: World, count: u64, days: u64) {
    let end = world.month_ends().await;
    let visitors = visitors(count, end, days);

    let (taken, active) = live_all(&mut world, &visitors).await;

    assert_eq!(active.len(), 2, "{active:?}");
    for (month, active) in active {
        let least = overlap(&taken, month);
        assert!(active <= least, "{active} are active, {least} would do");
        assert!(least > count / 40, "a crowd that is none: {least}");
    }
}

#[tokio::test]
async fn on_redis_as_few_guests_are_active_as_can_be() {
    as_few_as_can_be(World::on_redis().await, 1_500, 3).await;
}

#[tokio::test]
async fn in_a_file_as_few_guests_are_active_as_can_be() {
    as_few_as_can_be(World::in_a_file().await, 120, 1).await;
}

#[test]
fn a_moment_is_enough_to_count() {
    let end = Month::from_number(24_322).ends();
    let at = |minutes: i64| {
        Timestamp::from_millis(end.as_millis().checked_add_signed(minutes * 60_000).unwrap())
    };
    let taken = [(-30, -10), (-20, 5), (-10, 5), (10, 20)]
        .map(|(from, until)| Taken { from: at(from), until: at(until) });

    assert_eq!((overlap(&taken, 24_322), overlap(&taken, 24_323)), (2, 2));
    assert_eq!(MINUTE * 30, at(-30).until(end));
}
