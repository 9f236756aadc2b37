//! docs/POLICY.md names the functions, lints and limits that there are: all of them, and nothing else.

use std::collections::BTreeSet;

use super::super::{
    decision, explanation, expression, facts, lints, names, prepare, rules, steps, syntax, vet,
};

const PAGE: &str = include_str!("../../../docs/POLICY.md");

/// What stands between two lines of the page.
fn between(from: &str, to: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(from).unwrap_or_else(|| panic!("{from}"));
    rest.split_once(to).unwrap_or_else(|| panic!("{to}")).0
}

/// What the first cell of each row begins with, up to a bracket.
fn named_first(table: &'static str) -> BTreeSet<&'static str> {
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `"));
    cells.filter_map(|cell| cell.split(['(', '`']).next()).collect()
}

/// What stands in backticks in the last cell of the row that begins so.
fn named_last(row: &str) -> BTreeSet<&'static str> {
    let (_, cell) = between(&format!("\n| {row}"), " |\n").rsplit_once("| ").unwrap();
    cell.split('`').skip(1).step_by(2).collect()
}

fn names_in(table: &[(&'static str, usize, usize)]) -> BTreeSet<&'static str> {
    table.iter().map(|(name, ..)| *name).collect()
}

#[test]
fn the_page_names_each_function() {
    let ours = named_first(between("\n## Functions\n", "\nCEL's own"));

    assert!(ours.is_subset(&names_in(names::GLOBALS)), "{ours:?}");
    assert_eq!(&ours | &named_last("on nothing "), names_in(names::GLOBALS));
    assert_eq!(named_last("on something"), names_in(names::MEMBERS));
    assert_eq!(named_last("on `optional`"), names_in(names::OPTIONALS));
}

#[test]
fn the_page_names_each_lint() {
    assert_eq!(named_first(between("\n## Lints\n", "\n## ")), BTreeSet::from(lints::NAMES));
}

#[test]
fn the_page_names_each_limit() {
    let thousands = |number: usize| format!("{},{:03}", number / 1000, number % 1000);
    let macros = "macros (`all`, `exists`, `exists_one`, `filter`, `map`) in one rule";
    for limit in [
        format!("| rules under `allow` | {} |", rules::MOST_ALLOW),
        format!("| an expression | {} KiB |", expression::LONGEST >> 10),
        format!(
            "| its nesting | {} brackets in each other, {} operators and calls |",
            syntax::DEEPEST,
            vet::DEEPEST
        ),
        format!("| {macros} | {} |", vet::MOST_MACROS),
        format!(
            "| the claims that rules read | {} KiB of text, {} values, {} levels deep |",
            facts::MOST_BYTES >> 10,
            thousands(facts::MOST_VALUES),
            facts::DEEPEST
        ),
        format!(
            "| the work of one rule | {} steps: one for each value and each {} bytes of text that it goes over, copies or compares, \
             {} for `matches`; for each element of a macro one, and one for each {} parts of what is asked |",
            thousands(steps::MOST),
            steps::BYTES_A_STEP,
            steps::MATCHED_BYTES_A_STEP,
            prepare::PARTS_A_STEP
        ),
        format!("| a rule's value in an explanation | {} KiB |", explanation::LONGEST_VALUE >> 10),
        format!("at most {} of ", thousands(decision::MOST_CONVERSATIONS)),
        format!("less than {} KB", decision::LARGEST_ATTRIBUTES >> 10),
        format!("longer than {} characters", decision::LONGEST_TEXT),
    ] {
        assert!(PAGE.contains(&limit), "{limit}");
    }
}
