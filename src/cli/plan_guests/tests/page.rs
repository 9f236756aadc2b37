//! The figures in the documents are those that come out.

use super::super::pool::{Billed, Rule, least, lend, one_each};
use super::super::price::{PUBLISHED, cents, dollars, grouped};
use super::traces::{POOL, Trace, all};

const PAGE: &str = include_str!("../../../../docs/GUESTS.md");
const README: &str = include_str!("../../../../README.md");

/// How many, and what they cost.
fn told(billed: &Billed) -> (String, String) {
    (grouped(billed.values().sum()), dollars(billed.values().map(|month| cents(*month)).sum()))
}

fn row(trace: &Trace) -> String {
    let visits = &trace.visits;
    let by = |rule| told(&lend(visits, POOL, rule).billed);
    let (ours, ours_price) = by(Rule::ActiveFirst);
    let (random, random_price) = by(Rule::Random);
    let (longest, longest_price) = by(Rule::IdleLongest);
    let (each, each_price) = told(&one_each(visits));
    let (least, _) = told(&least(visits));
    format!(
        "| {} | {} | {least} | **{ours}**, {ours_price} | {random}, {random_price} | {longest}, {longest_price} | {each}, {each_price} |",
        trace.name,
        grouped(visits.len() as u64)
    )
}

#[test]
fn the_page_has_each_trace_as_it_comes_out() {
    let rows = all().map(|trace| row(&trace));

    for row in &rows {
        assert!(PAGE.contains(row), "docs/GUESTS.md lacks\n{row}\nof\n{}", rows.join("\n"));
    }
    assert!(PAGE.contains(&format!("a pool of {} guests", grouped(POOL.into()))));
    assert!(PAGE.contains(PUBLISHED), "docs/GUESTS.md lacks: {PUBLISHED}");
}

#[test]
fn the_readme_has_the_first_of_them() {
    let [poisson, ..] = all();
    let (ours, price) = told(&lend(&poisson.visits, POOL, Rule::ActiveFirst).billed);
    let (each, each_price) = told(&one_each(&poisson.visits));

    for figure in [
        format!("{} visits", grouped(poisson.visits.len() as u64)),
        format!("bills {ours} guests, {price}"),
        format!("bills {each}, {each_price}"),
    ] {
        assert!(README.contains(&figure), "README.md lacks {figure}");
    }
}
