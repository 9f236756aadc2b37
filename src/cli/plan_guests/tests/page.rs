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

/// A trace's row in the page and in the readme, where the rules that it is compared with have no price.
fn rows(trace: &Trace) -> (String, String) {
    let visits = &trace.visits;
    let by = |rule| told(&lend(visits, POOL, rule).billed);
    let (ours, ours_price) = by(Rule::ActiveFirst);
    let (random, random_price) = by(Rule::Random);
    let (longest, longest_price) = by(Rule::IdleLongest);
    let (each, each_price) = told(&one_each(visits));
    let (least, _) = told(&least(visits));
    let (name, count) = (trace.name, grouped(visits.len() as u64));
    let begin = format!("| {name} | {count} | {least} | **{ours}**, {ours_price} |");
    let end = format!("| {each}, {each_price} |");
    (
        format!("{begin} {random}, {random_price} | {longest}, {longest_price} {end}"),
        format!("{begin} {random} | {longest} {end}"),
    )
}

#[test]
fn the_documents_have_each_trace_as_it_comes_out() {
    let rows = all().map(|trace| rows(&trace));

    for (in_page, in_readme) in &rows {
        assert!(PAGE.contains(in_page), "docs/GUESTS.md lacks\n{in_page}\nof {rows:#?}");
        assert!(README.contains(in_readme), "README.md lacks\n{in_readme}\nof {rows:#?}");
    }
    assert!(PAGE.contains(&format!("a pool of {} guests", grouped(POOL.into()))));
    assert!(PAGE.contains(PUBLISHED), "docs/GUESTS.md lacks: {PUBLISHED}");
}

#[test]
fn the_readme_begins_with_the_first_of_them() {
    let [poisson, ..] = all();
    let (ours, _) = told(&lend(&poisson.visits, POOL, Rule::ActiveFirst).billed);
    let (each, _) = told(&one_each(&poisson.visits));
    let visits = grouped(poisson.visits.len() as u64);

    let words = README.split_whitespace().collect::<Vec<_>>().join(" ");

    let said =
        format!("a month with {visits} visits Twilio bills {ours} guests, not {each} identities");
    assert!(words.contains(&said), "README.md lacks {said}");
    assert!(words.contains(&format!("from a pool of {} guests", grouped(POOL.into()))));
}
