//! Who works on which guest, and when again: the work itself is [`tasks`](super::tasks).
//!
//! Each process works on a few guests at a time; the store gives each to one of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Guests, Settings};
use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Identity, RequestId};
use crate::store::{Dated, FoundWork, GuestWork, PoolState, StoreError, WorkDone, WorkTerms};
use crate::telemetry::{Metrics, explain};
use crate::twilio::{TwilioError, WRITES};

/// For how long a guest is one process's. Another takes over what is not finished by then.
const HOLD: Duration = Duration::from_mins(1);

/// How long work on a guest may take: shorter than the hold, so that nothing of it is still under way when another begins.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long before the month's end guests are scrubbed whose cool-down goes on in the next, where it would cost.
const EARLY: Duration = Duration::from_mins(10);

/// How long there may be nothing to do before somebody looks again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait after Twilio did not answer, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long a guest waits with which something is wrong that keeps no other from its turn, at first and at most.
const OWN_BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));

/// For how long Twilio may tell us to leave it alone.
const LONGEST: Duration = Duration::from_hours(1);

/// Of how many guests is remembered how long they waited last. Beyond that they begin anew.
const MOST_WAITING: usize = 4096;

/// How often the pool's state is told to the metrics, and the store looked at for lost writes.
const LOOK: Duration = Duration::from_secs(2);

impl Settings {
    /// How many guests an hour can be taken into `conversations` and out again, which is a write each; `None` without conversations.
    /// Whatever else is written of a guest makes them fewer.
    pub fn most_an_hour(&self) -> Option<u64> {
        let writes = Duration::from_hours(1).as_nanos() / WRITES.per.as_nanos();
        let writes = u64::try_from(writes).ok()? * u64::from(WRITES.count);
        writes.checked_div(2 * self.conversations.len() as u64)
    }
}

/// Why work on a guest came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error(transparent)]
    Twilio(#[from] TwilioError),
    #[error("in the conversation {conversation}")]
    In {
        conversation: String,
        #[source]
        source: TwilioError,
    },
    #[error("Twilio has no conversation role that is called {0}")]
    NoRole(String),
    #[error("it took longer than {} s", PATIENCE.as_secs())]
    Slow,
    #[error("another process works on the guest by now")]
    Overtaken,
    #[error("the guest is taken into something again and again")]
    Restless,
    #[error("the process ends")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WorkError {
    fn of_twilio(&self) -> Option<&TwilioError> {
        match self {
            Self::Twilio(error) | Self::In { source: error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the next guest would fare no better.
    fn is_about_twilio(&self) -> bool {
        self.of_twilio().is_some_and(TwilioError::is_about_twilio)
    }

    /// Whether the store has no answer.
    fn is_about_store(&self) -> bool {
        matches!(self, Self::Store(_)) || matches!(self.of_twilio(), Some(TwilioError::Store(_)))
    }

    /// Whether the time for it is over.
    pub(super) fn is_too_late(&self) -> bool {
        matches!(self.of_twilio(), Some(TwilioError::TooLate))
    }

    /// Whether the rest of the work may well be done.
    pub(super) fn is_about_one(&self) -> bool {
        let ends = self.is_about_twilio() || self.is_about_store() || self.is_too_late();
        self.of_twilio().is_some() && !ends
    }
}

/// How long each guest waits with which something is wrong of its own.
#[derive(Default)]
pub(super) struct Waits(Mutex<HashMap<u32, Duration>>);

impl Waits {
    /// How long this one waits now: twice as long as the last time.
    fn lengthen(&self, guest: u32) -> Duration {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.len() >= MOST_WAITING {
            waits.clear();
        }
        let next = waits.entry(guest).or_insert(OWN_BACKOFF.0);
        let wait = *next;
        *next = (wait * 2).min(OWN_BACKOFF.1);
        wait
    }

    fn end(&self, guest: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&guest);
    }
}

/// Work on a guest, by whoever has claimed it.
pub(super) struct Job<'a> {
    pub(super) identity: Identity,
    pub(super) work: &'a GuestWork,
    /// When it was claimed.
    pub(super) time: StoreTime,
    stop: &'a CancellationToken,
}

impl Job<'_> {
    /// Between two steps: whether there is to be another.
    ///
    /// # Errors
    ///
    /// [`WorkError::Stopped`], no other.
    pub(super) fn go_on(&self) -> Result<(), WorkError> {
        if self.stop.is_cancelled() { Err(WorkError::Stopped) } else { Ok(()) }
    }
}

/// One of the pool's numbers.
type Number = fn(&PoolState, u32) -> u32;

/// What is counted of guests.
pub(super) struct Series {
    states: [(Gauge, Number); 9],
    active: Gauge,
    scrubbed: Counter,
    stale: Counter,
    failed: Counter,
}

impl Series {
    pub(super) fn new(metrics: &Metrics) -> Self {
        const GUESTS: &str = "vestibule_guests";
        const ACTIVE: &str = "vestibule_guests_active";
        const WORK: &str = "vestibule_guest_work_total";
        metrics.describe(GUESTS, "Guests by state; all replicas tell the same.");
        metrics.describe(ACTIVE, "Guests that are active this month (UTC), which Twilio bills.");
        metrics.describe(WORK, "Work on guests at Twilio that came to an end, by outcome.");
        let state = |name: &'static str| metrics.gauge(GUESTS, &[("state", name)]);
        let count = |outcome: &'static str| metrics.counter(WORK, &[("outcome", outcome)]);
        Self {
            states: [
                (state("lent"), |pool, _| pool.lent),
                (state("cooling"), |pool, _| pool.cooling),
                (state("scrubbing"), |pool, _| pool.scrubbing),
                (state("stale"), |pool, _| pool.stale),
                (state("idle_active"), |pool, _| pool.warm),
                // Those that were never lent are idle too, as operators are told.
                (state("idle"), |pool, size| pool.cold + size.saturating_sub(pool.made)),
                (state("doubtful"), |pool, _| pool.doubtful),
                (state("joining"), |pool, _| pool.joining),
                (state("retired"), |pool, _| pool.retired),
            ],
            active: metrics.gauge(ACTIVE, &[]),
            scrubbed: count("done"),
            stale: count("stale"),
            failed: count("failed"),
        }
    }

    /// Tells of a pool of `size`.
    fn tell(&self, pool: &PoolState, size: u32) {
        for (gauge, number) in &self.states {
            gauge.set(number(pool, size));
        }
        self.active.set(pool.active);
    }
}

impl Guests {
    /// Works on guests, one after the other, until told to stop; then the step under way is finished, and the guest is given to whoever
    /// asks next. Several of these may run.
    pub async fn work_until(&self, stop: &CancellationToken) {
        let mut backoff = BACKOFF.0;
        while !stop.is_cancelled() {
            let pause = match self.work_once(backoff, stop).await {
                Ok(true) => {
                    backoff = BACKOFF.0;
                    continue;
                }
                // Woken by what makes work here; what others leave behind, and what comes of time, is found by looking.
                Ok(false) => {
                    let woken = timeout(PAUSE, self.work.notified());
                    let _whichever = stop.run_until_cancelled(woken).await;
                    continue;
                }
                Err(error) if error.is_about_store() => PAUSE,
                // What is wrong with one guest or one conversation keeps no other waiting.
                Err(error) if !error.is_about_twilio() => continue,
                Err(error) => {
                    let told = told(&error).max(backoff);
                    backoff = (backoff * 2).min(BACKOFF.1);
                    told
                }
            };
            let _whichever = timeout(pause, stop.cancelled()).await;
        }
    }

    /// Works on one guest, if there is one; whether there was.
    async fn work_once(
        &self,
        backoff: Duration,
        stop: &CancellationToken,
    ) -> Result<bool, WorkError> {
        let Some((work, time)) = self.claim().await? else { return Ok(false) };
        // A prefix and a number are always an identity.
        let Ok(identity) = self.identity(work.guest) else { return Ok(false) };
        let job = Job { identity, work: &work, time, stop };
        let worked = match timeout(PATIENCE, self.do_it(&job)).await {
            Ok(worked) => worked,
            Err(_) => Err(WorkError::Slow),
        };
        let done = match &worked {
            Ok(done) => {
                self.waits.end(work.guest);
                *done
            }
            Err(error) => WorkDone::Failed { retry_after: self.retry_after(&job, error, backoff) },
        };
        match (done, &worked) {
            (_, Err(WorkError::Stopped)) => {}
            (WorkDone::Failed { .. }, _) => self.series.failed.increment(1),
            (WorkDone::Dirty, _) => self.series.stale.increment(1),
            _ => self.series.scrubbed.increment(1),
        }
        self.rooms.store.finish_guest_work(&work, done).await?;
        worked.map(|_| true)
    }

    /// When work that came to nothing is given out again.
    fn retry_after(&self, job: &Job<'_>, error: &WorkError, backoff: Duration) -> Duration {
        if matches!(error, WorkError::Stopped) {
            return Duration::ZERO;
        }
        if error.is_about_store() {
            return PAUSE;
        }
        let identity = job.identity.as_str();
        let why = explain(error);
        tracing::warn!(identity, why, "a guest could not be worked on");
        if error.is_about_twilio() {
            told(error).max(backoff)
        } else {
            self.waits.lengthen(job.work.guest)
        }
    }

    async fn claim(&self) -> Result<Option<(GuestWork, StoreTime)>, WorkError> {
        let pool = &self.settings.pool;
        let mut from = Timestamp::from_millis(0);
        loop {
            let terms = WorkTerms { hold: HOLD, size: pool.size, early: EARLY, from };
            let claimed = self.rooms.store.claim_guest_work(&terms, RequestId::unique()).await?;
            match claimed.value {
                FoundWork::Work(work) => return Ok(Some((work, claimed.time))),
                FoundWork::LookOn { from: next } => from = next,
                FoundWork::Nothing => return Ok(None),
            }
        }
    }

    /// Tells the metrics of the pool, for ever.
    pub async fn tell_for_ever(&self) {
        loop {
            if let Ok(Dated { value, .. }) = self.describe().await {
                self.series.tell(&value, self.settings.pool.size);
            }
            sleep(LOOK).await;
        }
    }
}

/// For how long Twilio said to leave it alone, within reason.
fn told(error: &WorkError) -> Duration {
    error.of_twilio().map_or(Duration::ZERO, TwilioError::after).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_waits_twice_as_long_each_time_up_to_five_minutes() {
        let waits = Waits::default();
        let seconds = |guest| waits.lengthen(guest).as_secs();

        assert_eq!([(); 7].map(|()| seconds(1)), [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(seconds(2), 10);
        waits.end(1);
        assert_eq!(seconds(1), 10);
    }
}
