//! The model of the pool against what can be known about it otherwise, and its figures in the documents.

mod model;
mod optimum;
mod page;
mod traces;

use super::pool::Visit;

/// A visit in a world where months are short: `month` long, the first from 0.
fn visit(from: u64, token: u64, lease: u64, cooldown: u64, month: u64) -> Visit {
    let of = |moment: u64| u32::try_from(moment / month).unwrap();
    Visit {
        from,
        ready: from + lease + cooldown,
        first: of(from),
        last: of(from + token.min(lease)),
    }
}
