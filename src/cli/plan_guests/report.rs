//! How a plan is told: to people, and to programs.

use std::time::Duration;

use serde::Serialize;

use super::super::terminal::{Sheet, spelled};
use super::Plan;
use super::pool::{Billed, Month};
use super::price::{FREE, PUBLISHED, cents, dollars, grouped};
use crate::clock::Timestamp;

/// All of it, for programs.
#[derive(Serialize)]
pub(super) struct Document {
    visits: usize,
    /// The first and the last arrival.
    from: String,
    to: String,
    longer_than_max_stay: u64,
    /// The most arrivals within an hour, and how many of them can be taken into the guests' conversations and out again.
    busiest_hour: u64,
    hourly_limit: Option<u64>,
    settings: Settings,
    /// The smallest pool that refuses nobody.
    need: u32,
    pools: Vec<Pool>,
    /// The least that any schedule can have billed which refuses nobody.
    least: Vec<Bill>,
    one_each_visitor: Vec<Bill>,
    advice: String,
    /// What goes wrong in the busiest hour.
    warning: Option<String>,
    prices: &'static str,
}

/// As the configuration spells them.
#[derive(Serialize)]
struct Settings {
    /// The configuration's name, or that they are the defaults.
    of: String,
    first_token_ttl: String,
    token_ttl: String,
    lease: String,
    max_stay: String,
    cooldown: String,
}

#[derive(Serialize)]
struct Pool {
    guests: u32,
    refused: u64,
    longest_wait_seconds: u64,
    months: Vec<Bill>,
}

#[derive(Serialize)]
struct Bill {
    month: String,
    billed: u64,
    price_cents: u64,
}

pub(super) fn document(plan: &Plan) -> Document {
    let (from, to) = span(plan);
    let terms = &plan.setup.terms;
    let pools = plan.pools.iter().map(|(guests, fared)| Pool {
        guests: *guests,
        refused: fared.refused,
        longest_wait_seconds: fared.longest_wait.div_ceil(1000),
        months: bills(&fared.billed),
    });
    Document {
        visits: plan.visits.all.len(),
        from,
        to,
        longer_than_max_stay: plan.visits.cut,
        busiest_hour: plan.visits.busiest_hour(),
        hourly_limit: plan.setup.hourly_limit,
        settings: Settings {
            of: plan.setup.whose.clone(),
            first_token_ttl: spelled(terms.first_token_ttl),
            token_ttl: spelled(terms.token_ttl),
            lease: spelled(terms.lease),
            max_stay: spelled(terms.max_stay),
            cooldown: spelled(terms.cooldown),
        },
        need: plan.need,
        pools: pools.collect(),
        least: bills(&plan.least),
        one_each_visitor: bills(&plan.one_each),
        advice: advice(plan),
        warning: warning(plan),
        prices: PUBLISHED,
    }
}

fn bills(billed: &Billed) -> Vec<Bill> {
    let bill = |(month, billed): (&Month, &u64)| Bill {
        month: written(*month),
        billed: *billed,
        price_cents: cents(*billed),
    };
    billed.iter().map(bill).collect()
}

pub(super) fn sheet(plan: &Plan) -> Sheet {
    let mut sheet = Sheet::default();
    let (from, to) = span(plan);
    let count = grouped(plan.visits.all.len() as u64);
    let mut rows = vec![
        ("visits", format!("{count}, from {from} to {to}")),
        ("busiest hour", format!("{} of them", grouped(plan.visits.busiest_hour()))),
        ("settings", settings(plan)),
        (
            "at once",
            format!("{} at most, each until its guest has cooled down", grouped(plan.need.into())),
        ),
    ];
    if plan.visits.cut > 0 {
        let stay = spelled(plan.setup.terms.max_stay);
        let cut = format!(
            "{} of them would stay for longer than {stay}, and are over then",
            grouped(plan.visits.cut)
        );
        rows.insert(1, ("too long", cut));
    }
    sheet.title("Visits");
    sheet.rows(rows);
    sheet.title("Pools, by their dearest month");
    sheet.table(["guests", "refused", "", "longest wait", "billed", "price"], pools(plan));
    if let Some((guests, fared)) = plan.advised() {
        sheet.title(&format!("Months, with {} guests", grouped((*guests).into())));
        let head = ["month", "billed", "least possible", "price", "one each visitor", "price"];
        let months = fared.billed.iter().map(|(month, billed)| {
            let of = |billed: &Billed| billed.get(month).copied().unwrap_or_default();
            let (least, each) = (of(&plan.least), of(&plan.one_each));
            let price = |billed| dollars(cents(billed));
            [
                written(*month),
                grouped(*billed),
                grouped(least),
                price(*billed),
                grouped(each),
                price(each),
            ]
        });
        sheet.table(head, months);
    }
    sheet.line("");
    sheet.line(&advice(plan));
    if let Some(warning) = warning(plan) {
        sheet.line(&warning);
    }
    sheet.line(PUBLISHED);
    sheet
}

fn settings(plan: &Plan) -> String {
    let terms = &plan.setup.terms;
    format!(
        "{}: first token {}, tokens {}, lease {}, stay {} at most, cool-down {}",
        plan.setup.whose,
        spelled(terms.first_token_ttl),
        spelled(terms.token_ttl),
        spelled(terms.lease),
        spelled(terms.max_stay),
        spelled(terms.cooldown)
    )
}

fn pools(plan: &Plan) -> Vec<[String; 6]> {
    let visits = plan.visits.all.len() as u64;
    let row = |name, refused, wait_ms: u64, billed: &Billed| {
        let dearest = dearest(billed);
        let (share, wait) = match refused {
            0 => (String::new(), "none".to_owned()),
            _ => (percent(refused, visits), spelled(Duration::from_secs(wait_ms.div_ceil(1000)))),
        };
        [name, grouped(refused), share, wait, grouped(dearest), dollars(cents(dearest))]
    };
    let pools = plan.pools.iter().map(|(guests, fared)| {
        row(grouped((*guests).into()), fared.refused, fared.longest_wait, &fared.billed)
    });
    let today = row("one each visitor".to_owned(), 0, 0, &plan.one_each);
    pools.chain([today]).collect()
}

/// What to do, in a sentence or two.
pub(super) fn advice(plan: &Plan) -> String {
    let visits = plan.visits.all.len() as u64;
    let need = grouped(plan.need.into());
    let Some((guests, fared)) = plan.advised() else {
        let Some((guests, fared)) = plan.pools.last() else { return String::new() };
        return format!(
            "The largest of these pools, {}, refuses {} of {} visitors; {need} guests would refuse nobody.",
            grouped((*guests).into()),
            grouped(fared.refused),
            grouped(visits)
        );
    };
    let (billed, each) = (dearest(&fared.billed), dearest(&plan.one_each));
    let free = if billed <= FREE { format!(" of the {FREE} that are free") } else { String::new() };
    let reserve = if *guests > plan.need {
        format!(
            ": {need} is the most that are taken at once, and the others cost nothing while nobody needs them"
        )
    } else {
        ", and has no reserve".to_owned()
    };
    format!(
        "A pool of {} refuses nobody{reserve}. Its dearest month bills {}{free}, {}; one identity each visitor would bill {}, {}.",
        grouped((*guests).into()),
        grouped(billed),
        dollars(cents(billed)),
        grouped(each),
        dollars(cents(each))
    )
}

/// What to say when more come within an hour than can be taken into the guests' conversations and out again.
fn warning(plan: &Plan) -> Option<String> {
    let busiest = plan.visits.busiest_hour();
    let limit = plan.setup.hourly_limit.filter(|limit| busiest > *limit)?;
    Some(format!(
        "Too many within an hour: {} come in the busiest, and with {} in guests.conversations {} guests an hour can be taken in and out again \
         (Vestibule writes 25 times a second to Twilio, for all). The others wait for that, and more guests are needed than is said here.",
        grouped(busiest),
        plan.setup.conversations,
        grouped(limit)
    ))
}

/// How many are billed in the month in which they are most.
pub(super) fn dearest(billed: &Billed) -> u64 {
    billed.values().copied().max().unwrap_or_default()
}

/// The first and the last arrival.
pub(super) fn span(plan: &Plan) -> (String, String) {
    let moment = |visit: Option<&super::pool::Visit>| {
        Timestamp::from_millis(visit.map_or(0, |visit| visit.from)).to_string()
    };
    (moment(plan.visits.all.first()), moment(plan.visits.all.last()))
}

/// `2026-11`.
fn written(month: Month) -> String {
    format!("{:04}-{:02}", month / 12, month % 12 + 1)
}

/// A share as `0.1 %`, never 0 when there is one.
fn percent(part: u64, of: u64) -> String {
    match part * 1000 / of {
        0 => "<0.1 %".to_owned(),
        tenths => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}
