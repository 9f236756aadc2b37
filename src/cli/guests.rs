//! `vestibule guests`: the pool, as operators look at it, and its quarantine after a restore.

use std::io;

use super::access::Access;
use super::terminal::{Sheet, print_json};
use super::{Exit, Guests, Trouble, answer, files, list};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ops::{Pool, Quarantined};
use crate::telemetry::{self, Settings};

pub(super) fn run(arguments: &Guests) -> Exit {
    let config = match files::load(arguments.file.config.as_deref()) {
        Ok(config) => config,
        Err(faults) => return list(&faults, io::stderr()),
    };
    // The audit log's line of a quarantine is this process' to write; without a log it is said below.
    let filter = "warn".to_owned();
    let _no_log = telemetry::start_log(&Settings { filter, ..config.log.clone() });
    answer(look(arguments, config))
}

async fn look(arguments: &Guests, config: Config) -> Result<Exit, Trouble> {
    let none =
        || Trouble::new(Exit::No, "the configuration has no guests: add a [guests] with a size");
    if config.guests.is_none() {
        return Err(none());
    }
    let access = Access::open(&config).await?;
    let mut sheet = Sheet::default();
    if arguments.quarantine {
        let Quarantined { ends_ms } = access.quarantine().await?.ok_or_else(none)?;
        if !arguments.json {
            let ends = Timestamp::from_millis(ends_ms);
            sheet.line(&format!("All leases have ended, and no guest is lent until {ends}."));
        }
    }
    let pool = access.pool().await?.ok_or_else(none)?;
    if arguments.json {
        print_json(&pool);
    } else {
        tell(&pool, &mut sheet);
        sheet.print();
    }
    Ok(Exit::Done)
}

fn tell(pool: &Pool, sheet: &mut Sheet) {
    let budget =
        pool.monthly_budget.map_or(String::new(), |budget| format!(" of {budget} that may be"));
    sheet.title(&format!("{} guests", pool.size));
    let rows = [
        ("lent", pool.lent, "now"),
        ("cooling", pool.cooling, "until what their last holders had is over"),
        ("scrubbing", pool.scrubbing, "being taken out of everything"),
        ("idle, active", pool.idle_active, "to be lent at no cost"),
        ("idle", pool.idle, "to be lent for a month's price"),
    ];
    let seldom = [
        (
            "stale",
            pool.stale,
            "in something still, scrubbed when a guest is needed that costs a month's price",
        ),
        ("doubtful", pool.doubtful, "to be seen clean again"),
        ("joining", pool.joining, "to be taken into the guests' conversations"),
        ("retired", pool.retired, "beyond the size"),
    ];
    let seldom = seldom.into_iter().filter(|(_, count, _)| *count > 0);
    sheet.rows(
        rows.into_iter()
            .chain(seldom)
            .map(|(name, count, what)| (name, format!("{count:>6}  {what}"))),
    );
    sheet.title(&format!(
        "{} are active in {}{budget}, which Twilio bills",
        pool.active, pool.month
    ));
    if let Some(ends) = pool.quarantine_ends_ms {
        let ends = Timestamp::from_millis(ends);
        sheet.line(&format!("Guests that might have been lent unseen are kept back until {ends}: the store lost writes, or was restored."));
    }
}
