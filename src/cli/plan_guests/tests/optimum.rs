//! No schedule that refuses nobody has fewer guests billed, in any month, not even one that knows the future.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::pool::{Billed, Month, Rule, Visit, least, lend};
use super::visit;

/// What the best of all schedules reach, tried one by one.
struct Oracle {
    /// The fewest in each month; each may be another schedule's.
    monthly: Vec<u64>,
    /// The fewest over all months, of one schedule.
    sum: u64,
}

impl Oracle {
    const MONTHS: usize = 8;

    fn ask(visits: &[Visit]) -> Self {
        let mut oracle = Self { monthly: vec![u64::MAX; Self::MONTHS], sum: u64::MAX };
        oracle.go_on(visits, &mut Vec::new());
        oracle
    }

    /// Gives the first visit to each guest that is ready, and to a new one; each guest by when it is ready and the months in which
    /// it is active, as bits.
    fn go_on(&mut self, visits: &[Visit], guests: &mut Vec<(u64, u32)>) {
        let Some((visit, rest)) = visits.split_first() else {
            let counts = (0..Self::MONTHS).map(|month| {
                guests.iter().filter(|(_, active)| active >> month & 1 == 1).count() as u64
            });
            let counts = counts.collect::<Vec<_>>();
            self.sum = self.sum.min(counts.iter().sum());
            for (fewest, count) in self.monthly.iter_mut().zip(counts) {
                *fewest = count.min(*fewest);
            }
            return;
        };
        let months = (visit.first..=visit.last).fold(0, |bits, month| bits | 1 << month);
        for place in 0..guests.len() {
            let (ready, active) = guests[place];
            if ready <= visit.from {
                guests[place] = (visit.ready, active | months);
                self.go_on(rest, guests);
                guests[place] = (ready, active);
            }
        }
        guests.push((visit.ready, months));
        self.go_on(rest, guests);
        guests.pop();
    }
}

/// The most visits that, at one moment of the month, have a guest that is lent or cooling.
fn overlap(visits: &[Visit], month: Month, length: u64) -> u64 {
    let begin = u64::from(month) * length;
    let arrivals = visits.iter().map(|visit| visit.from);
    let moments = arrivals.filter(|from| (begin..begin + length).contains(from)).chain([begin]);
    let at = |moment| {
        visits.iter().filter(|visit| visit.from <= moment && moment < visit.ready).count() as u64
    };
    moments.map(at).max().unwrap()
}

/// Up to seven visits in two months, whose last tokens may end in the third or later, and the length of a month.
fn few_visits() -> impl Strategy<Value = (Vec<Visit>, u64)> {
    (10_u64..60).prop_flat_map(|month| {
        let one = (0..2 * month, 0_u64..40, 1_u64..40, 1_u64..20);
        prop::collection::vec(one, 1..=7).prop_map(move |visits| {
            let mut visits = visits
                .into_iter()
                .map(|(from, token, lease, cooldown)| visit(from, token, lease, cooldown, month))
                .collect::<Vec<_>>();
            visits.sort_by_key(|visit| visit.from);
            (visits, month)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_schedule_has_fewer_billed_in_any_month((visits, length) in few_visits()) {
        let fared = lend(&visits, u32::MAX, Rule::ActiveFirst);
        let oracle = Oracle::ask(&visits);

        let billed = |of: &Billed| {
            let month = |month| of.get(&month).copied().unwrap_or_default();
            (0..8).map(month).collect::<Vec<_>>()
        };
        prop_assert_eq!(billed(&fared.billed), oracle.monthly.as_slice());
        prop_assert_eq!(billed(&least(&visits)), oracle.monthly.as_slice());
        prop_assert_eq!(fared.billed.values().sum::<u64>(), oracle.sum);
        for (month, billed) in &fared.billed {
            prop_assert!(*billed <= overlap(&visits, *month, length));
        }
        let most = visits.iter().map(|visit| visit.first).map(|month| overlap(&visits, month, length));
        prop_assert_eq!(u64::from(fared.lent), most.max().unwrap());
    }
}

#[test]
fn a_guest_that_only_cools_in_a_month_is_not_billed_in_it() {
    let visits =
        [visit(80, 10, 10, 30, 100), visit(85, 10, 10, 30, 100), visit(105, 10, 10, 30, 100)];

    assert_eq!(overlap(&visits, 1, 100), 3);
    assert_eq!(least(&visits), BTreeMap::from([(0, 2), (1, 1)]));
    assert_eq!(lend(&visits, 3, Rule::ActiveFirst).billed, least(&visits));
}

#[test]
fn other_rules_are_not_as_good() {
    // Four of the first month; then one by one, so that one guest is enough for all who come in the second.
    let crowd = (0..4).map(|n| visit(n, 10, 10, 5, 100));
    let later = (0..4).map(|n| visit(100 + 20 * n, 10, 10, 5, 100));
    let visits = crowd.chain(later).collect::<Vec<_>>();

    let second = |rule| lend(&visits, 4, rule).billed[&1];

    assert_eq!(least(&visits)[&1], 1);
    assert_eq!(second(Rule::ActiveFirst), 1);
    assert_eq!(second(Rule::IdleLongest), 4);
    assert!(second(Rule::Random) > 1);
}
