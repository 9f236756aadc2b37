//! How time is told: a [`Timestamp`] is a moment of the store's clock, a [`StoreTime`] one that goes on.
//!
//! Owns the two types and their arithmetic. Does not ask what time it is: only a store step knows that and says so in its
//! answer (contract §3.10), so that replicas whose own clocks differ agree on what is over.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};

/// A moment, in whole milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: the unit of a JWT's `iat` and `exp` (RFC 7519 §2, `NumericDate`).
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `after` this one; the last moment there is instead of an overflow.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long until `later`; zero when it is past.
    pub const fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// The same moment as `chrono` tells it; `None` beyond the year 262142.
    pub fn to_utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(i64::try_from(self.0).ok()?)
    }
}

/// RFC 3339 in UTC, whole seconds: `2026-11-24T12:00:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_utc() {
            Some(utc) => f.write_str(&utc.to_rfc3339_opts(SecondsFormat::Secs, true)),
            None => write!(f, "{} ms after 1970", self.0),
        }
    }
}

/// What the store's clock showed, and when we heard it, so that time spent since (a provider that takes seconds to answer)
/// counts without asking again.
#[derive(Clone, Copy, Debug)]
pub struct StoreTime {
    at: Timestamp,
    heard: Instant,
}

impl StoreTime {
    /// The store's clock shows `at` now.
    pub fn heard_now(at: Timestamp) -> Self {
        Self { at, heard: Instant::now() }
    }

    /// What the store's clock showed in its answer.
    pub const fn at(self) -> Timestamp {
        self.at
    }

    /// What the store's clock shows by now, to the difference of one answer's travel.
    pub fn now(self) -> Timestamp {
        self.at.plus(self.heard.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339() {
        assert_eq!(Timestamp::from_millis(1_700_000_000_999).to_string(), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn sums_end_at_the_last_moment_and_differences_at_zero() {
        let late = Timestamp::from_millis(u64::MAX - 1);

        assert_eq!(late.plus(Duration::from_secs(9)), Timestamp::from_millis(u64::MAX));
        assert_eq!(late.until(Timestamp::from_millis(3)), Duration::ZERO);
    }
}
