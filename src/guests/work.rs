//! What is done at Twilio about guests, beside the requests: they are taken into the guests' conversations, and out of everything before they
//! are lent again.
//!
//! Each process works on a few guests at a time; the store gives each to one of them.

use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::{Guests, Settings};
use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Identity, RequestId};
use crate::store::{
    Allowance, Dated, FoundWork, GuestTask, GuestWork, PoolState, Rate, StoreError, WorkDone,
    WorkTerms,
};
use crate::telemetry::{AUDIT, Metrics, explain};
use crate::twilio::{TwilioError, User};

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

/// How often the pool's state is told to the metrics, and the store looked at for lost writes.
const LOOK: Duration = Duration::from_secs(2);

/// How often we write at Twilio, all replicas together: its limit is 30 a second, and no burst may pass it in any second.
const WRITES: Rate = Rate { count: 5, per: Duration::from_millis(200) };

impl Settings {
    /// How many guests an hour can be taken into `conversations` and out again, which is a write each; `None` without conversations.
    /// Whatever else is written of a guest makes them fewer.
    pub fn most_an_hour(&self) -> Option<u64> {
        let writes = Duration::from_hours(1).as_nanos() / WRITES.per.as_nanos();
        let writes = u64::try_from(writes).ok()? * u64::from(WRITES.count);
        writes.checked_div(2 * self.conversations.len() as u64)
    }
}

/// What the roles are called at Twilio, asked for once.
#[derive(Default)]
pub(super) struct Roles {
    /// Of a new user.
    user: OnceCell<String>,
    /// Of a guest in the guests' conversations.
    guest: OnceCell<Option<String>>,
}

/// Why work on a guest came to nothing.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Twilio(#[from] TwilioError),
    #[error("Twilio has no conversation role that is called so")]
    NoRole,
    #[error("it took longer than {} s", PATIENCE.as_secs())]
    Slow,
    #[error("the guest is taken into something again and again")]
    Restless,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl WorkError {
    /// Whether Twilio refuses us, and not this.
    fn is_refused_altogether(error: &TwilioError) -> bool {
        matches!(error, TwilioError::Refused { status: 401 | 403 | 429, .. })
    }

    /// Whether the next guest would fare no better.
    fn is_about_twilio(&self) -> bool {
        let of_twilio = |error: &TwilioError| {
            matches!(error, TwilioError::Away { .. } | TwilioError::Busy)
                || Self::is_refused_altogether(error)
        };
        matches!(self, Self::Twilio(error) if of_twilio(error))
    }
}

/// One of the pool's numbers.
type Number = fn(&PoolState) -> u32;

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
                (state("lent"), |pool| pool.lent),
                (state("cooling"), |pool| pool.cooling),
                (state("scrubbing"), |pool| pool.scrubbing),
                (state("stale"), |pool| pool.stale),
                (state("idle_active"), |pool| pool.warm),
                (state("idle"), |pool| pool.cold),
                (state("doubtful"), |pool| pool.doubtful),
                (state("joining"), |pool| pool.joining),
                (state("retired"), |pool| pool.retired),
            ],
            active: metrics.gauge(ACTIVE, &[]),
            scrubbed: count("done"),
            stale: count("stale"),
            failed: count("failed"),
        }
    }

    fn tell(&self, pool: &PoolState) {
        for (gauge, number) in &self.states {
            gauge.set(number(pool));
        }
        self.active.set(pool.active);
    }
}

impl Guests {
    /// Works on guests, one after the other, for ever. Several of these may run.
    pub async fn work_for_ever(&self) {
        let mut backoff = BACKOFF.0;
        loop {
            match self.work_once(backoff).await {
                Ok(true) => backoff = BACKOFF.0,
                // Woken by what makes work here; what others leave behind, and what comes of time, is found by looking.
                Ok(false) => drop(timeout(PAUSE, self.work.notified()).await),
                Err(WorkError::Store(_)) => sleep(PAUSE).await,
                Err(error) => {
                    tracing::warn!(why = explain(&error), "a guest could not be worked on");
                    // What is wrong with one guest or one conversation keeps no other waiting.
                    if error.is_about_twilio() {
                        sleep(backoff).await;
                        backoff = (backoff * 2).min(BACKOFF.1);
                    }
                }
            }
        }
    }

    /// Works on one guest, if there is one; whether there was.
    async fn work_once(&self, backoff: Duration) -> Result<bool, WorkError> {
        let Some((work, time)) = self.claim().await? else { return Ok(false) };
        let worked = match timeout(PATIENCE, self.do_it(&work, time)).await {
            Ok(worked) => worked,
            Err(_) => Err(WorkError::Slow),
        };
        let done = match &worked {
            Ok(done) => *done,
            Err(error) if error.is_about_twilio() => WorkDone::Failed { retry_after: backoff },
            Err(_) => WorkDone::Failed { retry_after: BACKOFF.1 },
        };
        match done {
            WorkDone::Failed { .. } => self.series.failed.increment(1),
            WorkDone::Dirty => self.series.stale.increment(1),
            WorkDone::Clean | WorkDone::Joined | WorkDone::Inherited => {
                self.series.scrubbed.increment(1);
            }
        }
        self.rooms.store.finish_guest_work(&work, done).await?;
        worked.map(|_| true)
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

    async fn do_it(&self, work: &GuestWork, time: StoreTime) -> Result<WorkDone, WorkError> {
        // A prefix and a number are always an identity.
        let Ok(identity) = self.identity(work.guest) else { return Ok(WorkDone::Dirty) };
        match &work.task {
            GuestTask::Join { .. } => self.join(&identity).await,
            GuestTask::Scrub { free_until, heir } => {
                if let Some(heir) = heir {
                    self.bequeath(&identity, &heir.identity).await?;
                    self.rooms.store.finish_guest_work(work, WorkDone::Inherited).await?;
                }
                self.scrub(&identity, *free_until, time).await
            }
        }
    }

    /// Takes a guest into the guests' conversations.
    async fn join(&self, identity: &Identity) -> Result<WorkDone, WorkError> {
        let twilio = &self.rooms.twilio;
        let role = self.guest_role().await?;
        for conversation in &self.settings.conversations {
            self.pace().await?;
            twilio.add_participant(conversation, identity, role).await?;
        }
        Ok(WorkDone::Joined)
    }

    /// Takes the member that a guest has become into the guest's conversations.
    async fn bequeath(&self, guest: &Identity, heir: &Identity) -> Result<(), WorkError> {
        let twilio = &self.rooms.twilio;
        for conversation in twilio.conversations_of(guest).await? {
            self.pace().await?;
            match twilio.add_participant(&conversation, heir, None).await {
                // It was deleted just now, or is closed or full: what cannot be taken along keeps nothing else from it.
                Err(error @ (TwilioError::NoConversation | TwilioError::Refused { .. }))
                    if !WorkError::is_refused_altogether(&error) =>
                {
                    tracing::warn!(
                        why = explain(&error),
                        identity = heir.as_str(),
                        "a conversation could not be carried over"
                    );
                }
                added => added?,
            }
        }
        tracing::info!(
            target: AUDIT,
            event = "guest_carried_over",
            identity = heir.as_str(),
            guest = guest.as_str(),
            "a member has the conversations that it had as a guest"
        );
        Ok(())
    }

    /// Takes a guest out of everything, and looks again until there is nothing.
    async fn scrub(
        &self,
        identity: &Identity,
        free_until: Option<Timestamp>,
        time: StoreTime,
    ) -> Result<WorkDone, WorkError> {
        for _ in 0..3 {
            let twilio = &self.rooms.twilio;
            let conversations = twilio.conversations_of(identity).await?;
            let bindings = twilio.bindings_of(identity).await?;
            let user = twilio.user(identity).await?;
            let role = self.user_role().await?;
            let marked = user.is_some_and(|user| is_marked(&user, identity, role));
            // A binding is none of the eight things that make an identity active.
            for binding in &bindings {
                self.pace().await?;
                twilio.delete_binding(binding).await?;
            }
            if conversations.is_empty() && !marked {
                if bindings.is_empty() {
                    return Ok(WorkDone::Clean);
                }
                continue;
            }
            for conversation in &conversations {
                self.pace().await?;
                if !is_free(free_until, time) {
                    return Ok(WorkDone::Dirty);
                }
                twilio.remove_participant(conversation, identity).await?;
            }
            if marked {
                self.pace().await?;
                if !is_free(free_until, time) {
                    return Ok(WorkDone::Dirty);
                }
                twilio.reset_user(identity, role).await?;
            }
        }
        Err(WorkError::Restless)
    }

    /// Waits until one more write keeps within Twilio's limit.
    async fn pace(&self) -> Result<(), StoreError> {
        loop {
            let store = &self.rooms.store;
            match store.take_from_limit("twilio", WRITES, RequestId::unique()).await?.value {
                Allowance::Allowed => return Ok(()),
                Allowance::Refused { after } => sleep(after).await,
            }
        }
    }

    async fn user_role(&self) -> Result<&str, WorkError> {
        let asking = || self.rooms.twilio.default_user_role();
        Ok(self.roles.user.get_or_try_init(asking).await?)
    }

    async fn guest_role(&self) -> Result<Option<&str>, WorkError> {
        let asking = async || {
            let Some(name) = &self.settings.role else { return Ok(None) };
            let roles = self.rooms.twilio.roles().await?;
            let role = roles.into_iter().find(|role| {
                role.kind == crate::twilio::RoleKind::Conversation && role.friendly_name == *name
            });
            role.map(|role| Some(role.sid)).ok_or(WorkError::NoRole)
        };
        Ok(self.roles.guest.get_or_try_init(asking).await?.as_deref())
    }

    /// Tells the metrics of the pool, for ever.
    pub async fn tell_for_ever(&self) {
        loop {
            if let Ok(Dated { value, .. }) = self.describe().await {
                self.series.tell(&value);
            }
            sleep(LOOK).await;
        }
    }
}

/// Whether a write now makes nobody active who is not yet.
fn is_free(free_until: Option<Timestamp>, time: StoreTime) -> bool {
    // A write takes a while to arrive.
    free_until.is_some_and(|until| time.now().plus(Duration::from_secs(15)) < until)
}

/// Whether anything was written to a user that its next holder would have too.
fn is_marked(user: &User, identity: &Identity, role: &str) -> bool {
    let named = |name: &String| !name.is_empty() && name != identity.as_str();
    user.friendly_name.as_ref().is_some_and(named)
        || !matches!(user.attributes.trim(), "" | "{}" | "null")
        || user.role_sid != role
}
