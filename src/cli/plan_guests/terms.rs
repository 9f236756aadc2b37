//! For how long a visit holds a guest.

use std::time::Duration;

use super::super::terminal::spelled;
use super::pool::Visit;
use crate::clock::{Month, Timestamp};
use crate::store::PoolTerms;

/// How long before a token's end an app asks for the next one: when Twilio's SDK tells it to, or at half of a short life.
const AHEAD: Duration = Duration::from_mins(3);

/// With less than this left of the longest stay, no token is given.
const SHORTEST: Duration = Duration::from_mins(1);

/// The settings of a pool that say how long a guest is taken; `[guests]` has the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long the first token lives, and the lease with it.
    pub(super) first_token_ttl: Duration,
    /// How long the others live.
    pub(super) token_ttl: Duration,
    /// How long the lease lives on after each of those.
    pub(super) lease: Duration,
    /// When it ends at the latest.
    pub(super) max_stay: Duration,
    /// How long a guest rests after its lease.
    pub(super) cooldown: Duration,
}

/// What a configuration has that says nothing else.
impl Default for Terms {
    fn default() -> Self {
        Self {
            first_token_ttl: Duration::from_mins(5),
            token_ttl: Duration::from_mins(30),
            lease: Duration::from_mins(30),
            max_stay: Duration::from_hours(12),
            cooldown: Duration::from_mins(10),
        }
    }
}

impl Terms {
    /// Those of a configuration.
    pub(super) fn of(pool: &PoolTerms) -> Self {
        let PoolTerms { first, token, lease, max_stay, cooldown, .. } = *pool;
        Self { first_token_ttl: first, token_ttl: token, lease, max_stay, cooldown }
    }

    /// These, with what is told besides in its place.
    ///
    /// # Errors
    ///
    /// What contradicts itself.
    pub(super) fn with(
        mut self,
        token_ttl: Option<Duration>,
        lease: Option<Duration>,
        cooldown: Option<Duration>,
    ) -> Result<Self, String> {
        self.token_ttl = token_ttl.unwrap_or(self.token_ttl);
        self.lease = lease.unwrap_or(self.lease);
        self.cooldown = cooldown.unwrap_or(self.cooldown);
        self.first_token_ttl = self.first_token_ttl.min(self.token_ttl);
        let Self { token_ttl, lease, max_stay, cooldown, .. } = self;
        let day = Duration::from_hours(24);
        for (is_wrong, what, why) in [
            (token_ttl < SHORTEST, token_ttl, "a token's life, is under 1m".to_owned()),
            (
                token_ttl > lease,
                token_ttl,
                format!("a token's life, is longer than a lease, {}", spelled(lease)),
            ),
            (
                lease > max_stay,
                lease,
                format!("a lease, is longer than the longest stay, {}", spelled(max_stay)),
            ),
            (
                cooldown.is_zero() || cooldown > day,
                cooldown,
                "a cool-down, is not from 1s to 1d".to_owned(),
            ),
        ] {
            if is_wrong {
                return Err(format!("{}, {why}", spelled(what)));
            }
        }
        Ok(self)
    }

    /// What a visitor takes who comes at `arrival` and stays for `stay`.
    ///
    /// Its app asks for a token at once, and again before each ends. Nobody says goodbye.
    pub(super) fn visit(&self, arrival: Timestamp, stay: Duration) -> Visit {
        let asked = self.asked_last(stay);
        let [token, lease] = match asked {
            Duration::ZERO => [self.first_token_ttl; 2],
            _ => [self.token_ttl, self.lease],
        };
        let lease_end = (asked + lease).min(self.max_stay);
        let token_end = (asked + token).min(lease_end);
        Visit {
            from: arrival.as_millis(),
            ready: arrival.plus(lease_end + self.cooldown).as_millis(),
            first: Month::of(arrival).number(),
            last: Month::of(arrival.plus(token_end)).number(),
        }
    }

    /// How long after its arrival a visitor's app asks for the last token.
    fn asked_last(&self, stay: Duration) -> Duration {
        let before = |life: Duration| life.saturating_sub(AHEAD.min(life / 2));
        let second = before(self.first_token_ttl);
        let until = stay.min(self.max_stay.saturating_sub(SHORTEST));
        if until <= second {
            return Duration::ZERO;
        }
        let every = before(self.token_ttl);
        let further =
            until.saturating_sub(second).as_millis().saturating_sub(1) / every.as_millis();
        second + every.saturating_mul(u32::try_from(further).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_YEAR: u64 = 1_767_225_600;

    fn minutes(visit: Visit) -> u64 {
        (visit.ready - visit.from) / 60_000
    }

    fn held(stay: Duration) -> u64 {
        let arrival = Timestamp::from_millis(NEW_YEAR * 1000);
        minutes(Terms::default().visit(arrival, stay))
    }

    #[test]
    fn a_guest_is_taken_until_its_cooldown_after_the_last_lease() {
        // Tokens at 0:00, 2:30, 29:30, 56:30 … of which the first is short.
        for (stay_s, expected) in [
            (0, 5 + 10),
            (150, 5 + 10),
            (151, 2 + 30 + 10),
            (12 * 60, 2 + 30 + 10),
            (29 * 60 + 30, 2 + 30 + 10),
            (29 * 60 + 31, 29 + 30 + 10),
            (60 * 60, 56 + 30 + 10),
        ] {
            assert_eq!(held(Duration::from_secs(stay_s)), expected, "{stay_s} s");
        }
    }

    #[test]
    fn no_stay_is_longer_than_the_longest() {
        assert_eq!(held(Duration::from_hours(11) + Duration::from_mins(40)), 677 + 30 + 10);
        assert_eq!(held(Duration::from_hours(12)), 12 * 60 + 10);
        assert_eq!(held(Duration::from_hours(13)), 12 * 60 + 10);
        assert_eq!(held(Duration::from_secs(u64::MAX)), 12 * 60 + 10);
    }

    #[test]
    fn a_visit_is_active_in_the_months_in_which_its_tokens_live_and_not_where_it_only_cools() {
        let months = |before_new_year_s: u64| {
            let arrival = Timestamp::from_millis((NEW_YEAR - before_new_year_s) * 1000);
            let visit = Terms::default().visit(arrival, Duration::ZERO);
            (visit.first, visit.last)
        };
        let january = 2026 * 12;

        assert_eq!(months(301), (january - 1, january - 1));
        assert_eq!(months(300), (january - 1, january));
        assert_eq!(months(1), (january - 1, january));
        assert_eq!(months(0), (january, january));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let m = |minutes| Some(Duration::from_mins(minutes));

        let short = Terms::default().with(m(2), m(3), m(1)).unwrap();

        assert_eq!(short.first_token_ttl, Duration::from_mins(2));
        let said =
            |token, lease, cooldown| Terms::default().with(token, lease, cooldown).unwrap_err();
        assert_eq!(said(None, m(10), None), "30m, a token's life, is longer than a lease, 10m");
        assert_eq!(
            said(None, m(721), None),
            "12h1m, a lease, is longer than the longest stay, 12h"
        );
        assert_eq!(said(m(0), None, None), "0s, a token's life, is under 1m");
        assert_eq!(said(None, None, m(0)), "0s, a cool-down, is not from 1s to 1d");
        assert_eq!(said(None, None, m(1441)), "1d1m, a cool-down, is not from 1s to 1d");
    }
}
