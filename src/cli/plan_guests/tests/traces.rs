//! Visits as they come in practice, some 30,000 of each, and what is billed for them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime, TimeDelta, Timelike};

use super::super::numbers::Numbers;
use super::super::pool::{Billed, Month, Rule, Visit, least, lend};
use super::super::terms::Terms;
use super::super::visits::{Rate, at_rate};
use crate::clock::Timestamp;

/// A pool in which each of the traces finds room.
pub(super) const POOL: u32 = 2_000;

pub(super) struct Trace {
    pub(super) name: &'static str,
    pub(super) visits: Vec<Visit>,
}

pub(super) fn all() -> [Trace; 5] {
    [
        Trace { name: "Poisson, 1,000 a day, 12 minutes each", visits: poisson() },
        Trace { name: "office hours", visits: office_hours() },
        Trace { name: "a flash crowd, 1,500 in ten minutes", visits: flash_crowd() },
        Trace { name: "a rush before the month's end", visits: months_end() },
        Trace { name: "any time, from a second to twelve hours", visits: random() },
    ]
}

fn poisson() -> Vec<Visit> {
    let rate = Rate::parse("1000/d").unwrap();
    let (stay, month) = (Duration::from_mins(12), Duration::from_hours(30 * 24));
    at_rate(rate, stay, month, &Terms::default()).unwrap().all
}

/// Visits that arrive and stay so, in their order. Seconds are those of 2026.
fn collect(mut arrivals: Vec<(f64, f64)>) -> Vec<Visit> {
    arrivals.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let visit = |(arrival, stay)| {
        let arrival =
            Timestamp::from_millis(1_767_225_600_000).plus(Duration::from_secs_f64(arrival));
        Terms::default().visit(arrival, Duration::from_secs_f64(stay))
    };
    arrivals.into_iter().map(visit).collect()
}

const MINUTE: f64 = 60.0;
const DAY: f64 = 24.0 * 60.0 * MINUTE;

/// On weekdays, from eight to six, with a break at noon.
fn office_hours() -> Vec<Visit> {
    let mut numbers = Numbers::new(11);
    let mut arrivals = Vec::new();
    while arrivals.len() < 30_000 {
        let arrival = 30.0 * DAY * numbers.fraction();
        // The year began on a Thursday.
        let weekday = ((arrival / DAY).floor() + 3.0) % 7.0;
        let hour = arrival % DAY / (60.0 * MINUTE);
        let crowd = match hour {
            8.0..9.0 | 17.0..18.0 => 0.4,
            12.0..13.0 => 0.5,
            9.0..17.0 => 1.0,
            _ => 0.02,
        };
        let crowd = if weekday < 5.0 { crowd } else { 0.02 };
        if numbers.fraction() < crowd {
            arrivals.push((arrival, 12.0 * MINUTE * numbers.exponential()));
        }
    }
    collect(arrivals)
}

fn flash_crowd() -> Vec<Visit> {
    let mut numbers = Numbers::new(12);
    let mut arrivals = Vec::new();
    for _ in 0..28_500 {
        arrivals.push((30.0 * DAY * numbers.fraction(), 12.0 * MINUTE * numbers.exponential()));
    }
    let noon = 14.5 * DAY;
    for _ in 0..1_500 {
        let arrival = noon + 10.0 * MINUTE * numbers.fraction();
        arrivals.push((arrival, 5.0 * MINUTE * numbers.exponential()));
    }
    collect(arrivals)
}

/// Twenty days before and ten after the end of January, with a thousand who look in within the last half hour.
fn months_end() -> Vec<Visit> {
    let mut numbers = Numbers::new(13);
    let mut arrivals = Vec::new();
    for _ in 0..29_000 {
        let arrival = 11.0 * DAY + 30.0 * DAY * numbers.fraction();
        arrivals.push((arrival, 12.0 * MINUTE * numbers.exponential()));
    }
    for _ in 0..1_000 {
        let arrival = 31.0 * DAY - 30.0 * MINUTE * numbers.fraction();
        arrivals.push((arrival, MINUTE * numbers.exponential()));
    }
    collect(arrivals)
}

/// Stays of each order of magnitude are as many.
fn random() -> Vec<Visit> {
    let mut numbers = Numbers::new(14);
    let one = |_| {
        let stay = (12.0 * 60.0 * MINUTE).powf(numbers.fraction());
        (30.0 * DAY * numbers.fraction(), stay)
    };
    collect((0..30_000).map(one).collect())
}

/// The most visits that have, at one moment of each month, a guest that is lent or cooling.
fn overlaps(visits: &[Visit]) -> Billed {
    let mut busy = BinaryHeap::new();
    let mut overlaps = Billed::new();
    let mut note = |busy: &mut BinaryHeap<Reverse<u64>>, moment, month| {
        while busy.peek().is_some_and(|Reverse(ready)| *ready <= moment) {
            busy.pop();
        }
        let most = overlaps.entry(month).or_default();
        *most = (*most).max(busy.len() as u64);
    };
    let mut current = visits[0].first;
    for visit in visits {
        for month in current + 1..=visit.first {
            note(&mut busy, begin(month), month);
        }
        current = visit.first;
        note(&mut busy, visit.from, current);
        busy.push(Reverse(visit.ready));
        note(&mut busy, visit.from, current);
    }
    note(&mut busy, begin(current + 1), current + 1);
    overlaps
}

fn begin(month: Month) -> u64 {
    let day =
        NaiveDate::from_ymd_opt(i32::try_from(month / 12).unwrap(), month % 12 + 1, 1).unwrap();
    u64::try_from(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()).unwrap()
}

#[test]
fn on_each_trace_as_few_are_billed_as_can_be() {
    for Trace { name, visits } in all() {
        let fared = lend(&visits, POOL, Rule::ActiveFirst);
        let overlaps = overlaps(&visits);

        assert_eq!(fared.refused, 0, "{name}");
        assert_eq!(fared.billed, least(&visits), "{name}");
        for (month, billed) in &fared.billed {
            assert!(
                *billed <= overlaps[month],
                "{name}: {billed} > {} in {month}",
                overlaps[month]
            );
        }
        let most = overlaps.values().max().unwrap();
        assert_eq!(u64::from(fared.lent), *most, "{name}");
    }
}

#[test]
fn the_traces_are_what_they_are_called() {
    let [poisson, office, flash, end, random] = all().map(|trace| trace.visits);
    let at = |visit: &Visit| Timestamp::from_millis(visit.from).to_utc().unwrap();
    let share = |visits: &[Visit], is: &dyn Fn(&Visit) -> bool| {
        visits.iter().filter(|visit| is(visit)).count() * 100 / visits.len()
    };

    for visits in [&poisson, &office, &flash, &end, &random] {
        assert!((29_500..30_500).contains(&visits.len()));
        assert!(visits.is_sorted_by_key(|visit| visit.from));
    }
    assert!(share(&office, &|visit| (8..18).contains(&at(visit).hour())) > 90);
    let noon = flash.iter().map(|visit| visit.from).nth(flash.len() / 2).unwrap();
    assert!(share(&flash, &|visit| visit.from.abs_diff(noon) < 600_000) >= 5);
    let february = begin(2026 * 12 + 1);
    let last_half_hour = february - TimeDelta::minutes(30).num_milliseconds().unsigned_abs();
    assert!(share(&end, &|visit| (last_half_hour..february).contains(&visit.from)) >= 3);
    assert!(share(&end, &|visit| visit.from >= february) > 25);
    // There a bound that takes what only cools for billed would be too high.
    assert!(overlaps(&end)[&(2026 * 12 + 1)] > least(&end)[&(2026 * 12 + 1)]);
    let held = |visit: &Visit| visit.ready - visit.from;
    assert!(share(&random, &|visit| held(visit) > 2 * 60 * 60_000) > 10);
    assert!(share(&random, &|visit| held(visit) == 15 * 60_000) > 30);
}
