//! How time is told: a [`Timestamp`] is a moment of the store's clock, a [`StoreTime`] one that goes on.
//!
//! Owns the two types and their arithmetic. Does not ask what time it is: only a store step knows that and says so in its
//! answer (contract §3.10), so that replicas whose own clocks differ agree on what is over.

use std::fmt;
use std::time::{Duration, Instant};

use chrono::{DateTime, Datelike, SecondsFormat, Utc};

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

/// A calendar month in UTC, which Twilio bills by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u32);

impl Month {
    /// The month that `at` lies in.
    pub fn of(at: Timestamp) -> Self {
        let months =
            |utc: DateTime<Utc>| u32::try_from(utc.year()).unwrap_or(0) * 12 + utc.month0();
        Self(at.to_utc().map_or(u32::MAX, months))
    }

    /// The month whose number is this one's [`Month::number`].
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Twelve for each year since 0, and its place in the year from 0.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The moment that the next one begins.
    pub fn ends(self) -> Timestamp {
        let next = self.0.saturating_add(1);
        let year = i32::try_from(next / 12).unwrap_or(i32::MAX);
        let first = chrono::NaiveDate::from_ymd_opt(year, next % 12 + 1, 1);
        let begins =
            first.map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis());
        Timestamp(begins.and_then(|millis| u64::try_from(millis).ok()).unwrap_or(u64::MAX))
    }
}

/// `2026-11`.
impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
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
    fn a_month_ends_where_the_next_begins() {
        for (at, month, ends) in [
            ("2026-11-30T23:59:59.999Z", "2026-11", "2026-12-01T00:00:00Z"),
            ("2026-12-31T00:00:00Z", "2026-12", "2027-01-01T00:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-02", "2028-03-01T00:00:00Z"),
        ] {
            let utc: DateTime<Utc> = at.parse().unwrap();
            let at = Timestamp::from_millis(utc.timestamp_millis().try_into().unwrap());

            assert_eq!(Month::of(at).to_string(), month);
            assert_eq!(Month::of(at).ends().to_string(), ends);
            assert_eq!(Month::of(Month::of(at).ends()).number(), Month::of(at).number() + 1);
        }
    }

    #[test]
    fn sums_end_at_the_last_moment_and_differences_at_zero() {
        let late = Timestamp::from_millis(u64::MAX - 1);

        assert_eq!(late.plus(Duration::from_secs(9)), Timestamp::from_millis(u64::MAX));
        assert_eq!(late.until(Timestamp::from_millis(3)), Duration::ZERO);
    }
}
