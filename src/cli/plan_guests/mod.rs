//! `vestibule plan-guests`: how many guests visits need, whom a smaller pool refuses, and what is billed.
//!
//! Owns the question and its answer. Does not own the pool, which is lent from elsewhere: what lends here is a model of it.

mod chart;
mod numbers;
mod pool;
mod price;
mod report;
mod terms;
#[cfg(test)]
mod tests;
mod visits;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;
use std::time::Duration;

use super::terminal::{escaped, print_json};
use super::{Exit, PlanGuests, Trouble, complain, files, list};
use crate::config::{MOST_GUESTS, Review};
use chart::chart;
use pool::{Billed, Fared, Rule, least, lend, one_each};
use report::{document, sheet};
use terms::Terms;
pub(super) use visits::Rate;
use visits::Visits;

/// What people write for standard input.
const STANDARD_INPUT: &str = "-";

/// The most guests that a pool is tried with, which is more than there can be visits.
const NO_END: u32 = u32::MAX;

/// The answer.
struct Plan {
    visits: Visits,
    setup: Setup,
    /// The smallest pool that refuses nobody.
    need: u32,
    /// The pools in question, from the smallest on, each with how it fared.
    pools: Vec<(u32, Fared)>,
    one_each: Billed,
    least: Billed,
}

/// What the visits are planned for.
struct Setup {
    terms: Terms,
    /// The name of the configuration that has these terms, or that they are the defaults.
    whose: String,
    /// The conversations that each guest is taken into.
    conversations: usize,
    /// How many guests an hour that can be done for, if there are any.
    hourly_limit: Option<u64>,
}

impl Plan {
    fn make(visits: Visits, setup: Setup, sizes: &[u32]) -> Self {
        // Only when each of those that were lent is taken is one more lent, so that these are the most that are taken at once.
        let need = lend(&visits.all, NO_END, Rule::ActiveFirst).lent;
        let mut sizes = sizes.to_vec();
        if sizes.is_empty() {
            sizes = [need / 2, need * 3 / 4, need * 9 / 10, need, with_reserve(need)].to_vec();
            sizes.retain(|size| *size > 0);
        }
        sizes.sort_unstable();
        sizes.dedup();
        let fare = |size| (size, lend(&visits.all, size, Rule::ActiveFirst));
        let pools = sizes.into_iter().map(fare).collect();
        let (one_each, least) = (one_each(&visits.all), least(&visits.all));
        Self { visits, setup, need, pools, one_each, least }
    }

    /// The pool to have: one with a reserve, else the largest that refuses nobody.
    fn advised(&self) -> Option<&(u32, Fared)> {
        let reserve = with_reserve(self.need);
        let with_reserve = self.pools.iter().find(|(size, _)| *size >= reserve);
        with_reserve.or_else(|| self.pools.last().filter(|(size, _)| *size >= self.need))
    }
}

/// A quarter more than what was needed once, as far as a pool can have them: the next visits are others.
fn with_reserve(need: u32) -> u32 {
    (need + need.div_ceil(4)).min(MOST_GUESTS)
}

/// Reads a duration for the command line.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
        .ok_or_else(|| "write it like 12m or 1h30m; the units are d, h, m and s".to_owned())
}

pub(super) fn run(arguments: &PlanGuests) -> Exit {
    match files::review_if_any(arguments.file.config.as_deref()) {
        Ok(review) => {
            answer(arguments, review).unwrap_or_else(|Trouble { exit, text }| complain(&text, exit))
        }
        Err(faults) => list(&faults, io::stderr()),
    }
}

fn answer(arguments: &PlanGuests, review: Option<Review>) -> Result<Exit, Trouble> {
    let PlanGuests { token_ttl, lease, cooldown, .. } = *arguments;
    let mut setup = configured(arguments.file.config.as_deref(), review)?;
    setup.terms = setup.terms.with(token_ttl, lease, cooldown).map_err(usage)?;
    if token_ttl.or(lease).or(cooldown).is_some() {
        setup.whose += " and options";
    }
    let visits = visits(arguments, &setup.terms)?;
    let plan = Plan::make(visits, setup, &arguments.sizes);
    if let Some(file) = &arguments.chart {
        fs::write(file, chart(&plan))
            .map_err(|error| usage(format!("{} cannot be written: {error}", called(file))))?;
    }
    if arguments.json {
        print_json(&document(&plan));
    } else {
        sheet(&plan).print();
    }
    Ok(if plan.advised().is_some() { Exit::Done } else { Exit::No })
}

/// What the configuration has, or the defaults.
fn configured(file: Option<&Path>, review: Option<Review>) -> Result<Setup, Trouble> {
    let defaults =
        |whose| Ok(Setup { terms: Terms::default(), whose, conversations: 0, hourly_limit: None });
    let Some(review) = review else { return defaults("defaults".to_owned()) };
    let name = files::called(file);
    match (review.guests, file) {
        (Some(guests), _) => Ok(Setup {
            terms: Terms::of(&guests.pool),
            whose: name,
            conversations: guests.conversations.len(),
            hourly_limit: guests.most_an_hour(),
        }),
        // Whoever plans for guests may have none yet; only who names a file means the guests in it.
        (None, None) => defaults(format!("defaults, as {name} has no [guests]")),
        (None, Some(_)) => Err(usage(format!("{} has no [guests]", escaped(&name)))),
    }
}

fn visits(arguments: &PlanGuests, terms: &Terms) -> Result<Visits, Trouble> {
    if let (Some(rate), Some(stay)) = (arguments.rate, arguments.stay) {
        let visits = visits::at_rate(rate, stay, arguments.during, terms).map_err(usage)?;
        return if visits.all.is_empty() {
            Err(usage("nobody comes in that time: ask for a longer one".to_owned()))
        } else {
            Ok(visits)
        };
    }
    let file = arguments.arrivals.as_deref().unwrap_or(Path::new(STANDARD_INPUT));
    let read = if file == Path::new(STANDARD_INPUT) {
        visits::read(io::stdin().lock(), terms)
    } else {
        let opened = File::open(file)
            .map_err(|error| usage(format!("{} cannot be read: {error}", called(file))))?;
        visits::read(BufReader::new(opened), terms)
    };
    read.map_err(|faults| usage(format!("{}:\n  {}", called(file), faults.join("\n  "))))
}

fn usage(text: String) -> Trouble {
    Trouble::new(Exit::Usage, text)
}

/// What people call the file.
fn called(file: &Path) -> String {
    if file == Path::new(STANDARD_INPUT) {
        "standard input".to_owned()
    } else {
        escaped(&file.display().to_string())
    }
}
