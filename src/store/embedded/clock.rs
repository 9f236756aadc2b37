//! The embedded store's clock: the machine's, except that it never goes back.

use std::time::{Duration, Instant, SystemTime};

/// How far ahead the file promises that the clock has not gone. Told times stay below the promise, so that a process which is
/// killed and starts again with the machine's clock set back never tells an earlier time than before; and the promise is
/// written at most once in this time, also when steps only read.
const PROMISE_US: u64 = 1_000_000;

/// Tells the time in microseconds since 1970.
pub(super) struct Clock {
    told_us: u64,
    when: Instant,
    promised_us: u64,
}

impl Clock {
    /// A clock that goes on from what an earlier process promised, 0 for none.
    pub(super) fn new(promised_us: u64) -> Self {
        Self { told_us: promised_us, when: Instant::now(), promised_us }
    }

    /// The time now, and the promise that has to be in the file before it is told, if a new one is due.
    pub(super) fn tell(&mut self) -> (u64, Option<u64>) {
        let us = self.next(machine_us(), self.when.elapsed());
        self.told_us = us;
        self.when = Instant::now();
        let due = us >= self.promised_us;
        (us, due.then(|| us.saturating_add(PROMISE_US)))
    }

    /// The file holds this promise now.
    pub(super) fn promised(&mut self, promise_us: u64) {
        self.promised_us = promise_us;
    }

    /// What the file should hold when nobody will be told a time any more.
    pub(super) fn last_told(&self) -> u64 {
        self.told_us
    }

    /// How far the last time told was ahead of the machine's clock.
    pub(super) fn ahead(&self) -> Duration {
        Duration::from_micros(self.told_us.saturating_sub(machine_us()))
    }

    /// While the machine's clock is behind what was told, ours goes on at half its speed: it neither stands still, which would
    /// keep limits from ever refilling, nor stays ahead for ever.
    fn next(&self, machine_us: u64, since_told: Duration) -> u64 {
        let half = u64::try_from(since_told.as_micros() / 2).unwrap_or(u64::MAX);
        machine_us.max(self.told_us.saturating_add(half))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the store's own time comes from")]
fn machine_us() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_sets_its_clock_back_is_waited_for_at_half_speed() {
        let clock = Clock::new(1_000_000);

        assert_eq!(clock.next(400_000, Duration::from_micros(200)), 1_000_100);
        assert_eq!(clock.next(1_000_101, Duration::from_micros(200)), 1_000_101);
    }

    #[test]
    fn no_time_is_told_before_the_file_promises_it() {
        let far = machine_us() + 60_000_000;
        let mut clock = Clock::new(far);

        let (us, promise) = clock.tell();
        assert!(us >= far);
        assert_eq!(promise, Some(us + PROMISE_US));

        clock.promised(us + PROMISE_US);
        assert_eq!(clock.tell().1, None);
    }
}
