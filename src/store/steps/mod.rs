//! What goes into the steps and what comes out of them: plain, checked, and without a meaning of its own.

mod bindings;
mod guests;
mod logouts;
mod revalidation;
mod sessions;
mod standings;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{Digest, ProviderName, Subject};
pub use bindings::{Binding, Found};
pub use guests::{
    EndedLease, FoundWork, GuestTask, GuestWork, Heir, Lease, LeaseKey, LeaseTerms, Lent,
    PoolState, PoolTerms, Purpose, UsedLease, WorkDone, WorkTerms,
};
pub use logouts::Scope;
pub use revalidation::{Asked, BegunRevalidation, Revalidated, TakenGrant, TakenGrants, Way};
pub use sessions::{
    EndedSession, ListedSession, NewSession, OpenedSession, Session, SessionKey, UseTerms,
    UsedSession,
};
pub use standings::{Cursor, NewStanding, Outcome, Page, Standing, Unreadable, Verdict};
pub(in crate::store) use standings::{Place, brief, read_brief};

/// How often something may happen: `count` times in `per`, all at once or spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many times; at least 1.
    pub count: u32,
    /// In how long; at least a millisecond for each time.
    pub per: Duration,
}

impl Rate {
    /// How far apart the times are when they are evenly spread, in microseconds, rounded up: never more often than asked for,
    /// and whole numbers, so that both stores count alike.
    pub(in crate::store) fn interval_us(self) -> u64 {
        micros(self.per).div_ceil(u64::from(self.count.max(1))).max(1)
    }

    /// How long all of them take when they are evenly spread, in microseconds: what may be used up at once.
    pub(in crate::store) fn burst_us(self) -> u64 {
        self.interval_us().saturating_mul(u64::from(self.count.max(1)))
    }
}

/// Whether a limit still allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// It does, and this time is counted.
    Allowed,
    /// It does not; this time is not counted.
    Refused {
        /// When it will be allowed again.
        after: Duration,
    },
}

/// A login that begins.
#[derive(Clone, Debug)]
pub struct NewLogin {
    /// At which provider.
    pub provider: ProviderName,
    /// Digest of the secret in the cookie of the browser that began it.
    pub binding: Digest,
    /// Where the browser goes afterwards; checked before.
    pub return_to: String,
}

/// What came of taking a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenLogin {
    /// It is the caller's, this once.
    Taken {
        /// Where the browser goes afterwards.
        return_to: String,
        /// When it was begun; a millisecond earlier at most.
        begun: Timestamp,
    },
    /// Another request took it before.
    AlreadyTaken,
    /// Another browser began it; it stays for that browser.
    OtherBrowser {
        /// Where that one goes afterwards: it may be the same person's, which lost its cookie to another tab.
        return_to: String,
    },
    /// It was begun at another provider; it stays.
    OtherProvider,
    /// No login has this state: never begun, or too old.
    Unknown,
}

/// Whose an identity is, after claiming it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The claiming subject's, now or since before.
    Ours,
    /// Another subject's, or on its way to another: nobody's to claim.
    Anothers,
    /// The claiming subject's, or nobody's; but an operator blocked it, and nothing is written.
    Blocked,
}

/// Whose an identity is, and whether anybody may come in as it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// Whose it is; `None` when nobody has claimed it.
    pub owner: Option<Owner>,
    /// Whether an operator blocked it, whosever it is or will be.
    pub blocked: bool,
}

/// The subject that has an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The subject that claimed it, or that it was moved to.
    pub subject: Subject,
    /// Where it is on its way to; meanwhile nobody can claim it.
    pub moving_to: Option<Subject>,
}

/// Which replicas of the store have what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// How many there are.
    pub there: u64,
    /// How many of them have it.
    pub have_it: u64,
}

/// What an operator should know about how the store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What it is, and its version: `Redis 7.0.15`.
    pub what: String,
    /// What is wrong with its settings, each with its mend. Empty when nothing is.
    pub faults: Vec<String>,
    /// What is worth knowing: without persistence, say, a restart ends all sessions.
    pub warnings: Vec<String>,
}

/// Whole milliseconds of `duration`, rounded down.
pub(in crate::store) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_does_not_come_out_even_is_never_exceeded() {
        let rate = Rate { count: 7, per: Duration::from_mins(1) };

        assert_eq!(rate.interval_us(), 8_571_429);
        assert!(rate.burst_us() >= 60_000_000);
    }

    #[test]
    fn six_hundred_a_minute_is_one_every_hundred_milliseconds() {
        let rate = Rate { count: 600, per: Duration::from_mins(1) };

        assert_eq!((rate.interval_us(), rate.burst_us()), (100_000, 60_000_000));
    }
}
