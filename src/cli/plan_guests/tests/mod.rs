//! The model of the pool against what can be known about it otherwise, and its figures in the documents.

mod model;
mod optimum;
mod page;
mod traces;

use super::pool::Visit;
use super::with_reserve;
use crate::config::MOST_GUESTS;

#[test]
fn no_pool_is_advised_that_cannot_be_configured() {
    assert_eq!([0, 1, 4, 183].map(with_reserve), [0, 2, 5, 229]);
    assert_eq!([9_000_000, MOST_GUESTS].map(with_reserve), [MOST_GUESTS; 2]);
}

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
