//! The pool as its rule is said, guest by guest, beside the one with queues.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::pool::{Fared, Month, Pool, Rule, Visit, lend, one_each};
use super::visit;

/// A guest as a bystander sees it.
#[derive(Default)]
struct Guest {
    ready: u64,
    active: BTreeSet<Month>,
}

/// Looks at each guest for each visit; whom each visitor gets, too.
fn lend_slowly(visits: &[Visit], size: u32, rule: Rule) -> (Vec<Option<u32>>, Fared) {
    let mut guests = (0..size).map(|_| Guest::default()).collect::<Vec<_>>();
    let (mut lent, mut fared) = (Vec::new(), Fared::default());
    for visit in visits {
        let order = |guest: &Guest| {
            let last = guest.active.last();
            match rule {
                // Never lent goes last among those not active, and those active in this month go first.
                Rule::ActiveFirst => (
                    !guest.active.contains(&visit.first),
                    last.is_none(),
                    last.copied(),
                    guest.ready,
                ),
                _ => (false, false, None, guest.ready),
            }
        };
        let idle = (0..).zip(&mut guests).filter(|(_, guest)| guest.ready <= visit.from);
        let best = idle.min_by_key(|(_, guest)| order(guest));
        lent.push(best.as_ref().map(|(number, _)| *number));
        if let Some((_, guest)) = best {
            fared.lent += u32::from(guest.active.is_empty());
            guest.ready = visit.ready;
            guest.active.extend(visit.first..=visit.last);
        } else {
            let earliest = guests.iter().map(|guest| guest.ready).min().unwrap();
            fared.refused += 1;
            fared.longest_wait = fared.longest_wait.max(earliest - visit.from);
        }
    }
    for month in guests.iter().flat_map(|guest| &guest.active) {
        *fared.billed.entry(*month).or_default() += 1;
    }
    (lent, fared)
}

/// Some hundred visits over a few months, crowded enough that small pools refuse.
fn busy_months() -> impl Strategy<Value = Vec<Visit>> {
    let one = (0_u64..4000, 1_u64..150, 1_u64..150, 1_u64..60);
    (prop::collection::vec(one, 1..300), 100_u64..1500).prop_map(|(visits, month)| {
        let mut visits = visits
            .into_iter()
            .map(|(from, token, lease, cooldown)| visit(from, token, lease, cooldown, month))
            .collect::<Vec<_>>();
        visits.sort_by_key(|visit| visit.from);
        visits
    })
}

proptest! {
    #[test]
    fn the_rules_lend_as_they_are_said(visits in busy_months(), size in 1_u32..40) {
        for rule in [Rule::ActiveFirst, Rule::IdleLongest] {
            let mut pool = Pool::new(size, rule);
            let lent = visits.iter().map(|visit| pool.visit(visit)).collect::<Vec<_>>();

            prop_assert_eq!((lent, pool.fared()), lend_slowly(&visits, size, rule));
        }
    }

    #[test]
    fn any_rule_refuses_the_same_visitors(visits in busy_months(), size in 1_u32..40) {
        let fared = |rule| {
            let Fared { refused, longest_wait, .. } = lend(&visits, size, rule);
            (refused, longest_wait)
        };

        prop_assert_eq!(fared(Rule::Random), fared(Rule::ActiveFirst));
    }
}

#[test]
fn a_random_one_is_any_of_those_that_are_idle() {
    // Each comes when all are idle again.
    let visits = (0..2000).map(|n| visit(n * 10, 4, 5, 5, 1_000_000)).collect::<Vec<_>>();

    let billed = lend(&visits, 100, Rule::Random).billed;

    assert_eq!(billed, BTreeMap::from([(0, 100)]));
}

#[test]
fn one_each_counts_a_visitor_in_each_month_in_which_its_tokens_live() {
    let visits = [visit(0, 5, 5, 5, 10), visit(8, 5, 5, 50, 10), visit(9, 30, 30, 1, 10)];

    assert_eq!(one_each(&visits), BTreeMap::from([(0, 3), (1, 2), (2, 1), (3, 1)]));
}

#[test]
fn the_longest_wait_is_that_of_a_refused_visitor_until_the_next_is_ready() {
    let visits = [
        visit(0, 10, 10, 5, 1000),
        visit(1, 10, 30, 5, 1000),
        visit(3, 10, 10, 5, 1000),
        visit(14, 10, 10, 5, 1000),
        visit(15, 10, 50, 5, 1000),
        visit(16, 10, 10, 5, 1000),
    ];

    let fared = lend(&visits, 2, Rule::ActiveFirst);

    assert_eq!((fared.refused, fared.longest_wait), (3, 36 - 16));
}
