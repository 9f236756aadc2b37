//! What is remembered: one atomic step a method, behind two stores that answer alike.
//!
//! Owns what is kept, under which keys, for how long, and the clock. Does not own what it means: the rooms above decide whom
//! to let in. Nothing secret is kept as it is: of cookies and states only their digests, and a provider's tokens as somebody sealed them.

/// Calls the backend's function of the same name, and tells [`Store::timed`] which it is.
macro_rules! step {
    ($self:ident, $name:ident ( $($argument:expr),* )) => {
        $self.timed(Step::$name, async {
            match &$self.backend {
                Backend::Embedded(store) => store.$name($($argument),*).await,
                Backend::Redis(store) => store.$name($($argument),*).await,
            }
        }).await
    };
}

mod embedded;
mod error;
mod guests;
mod identities;
mod logouts;
mod measure;
mod operators;
mod redis;
mod revalidation;
mod sessions;
mod standings;
mod steps;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use crate::clock::StoreTime;
use crate::ids::{Digest, ProviderName, RequestId};
use crate::telemetry::Metrics;
use error::Fault;
pub use error::{OpenError, StoreError};
use measure::{Step, StepMetrics};
#[cfg(feature = "inside")]
pub use steps::TakenGrant;
pub use steps::{
    Allowance, Asked, BegunRevalidation, Binding, Claim, Cursor, EndedLease, EndedSession, Found,
    FoundWork, GuestTask, GuestWork, Health, Heir, Lease, LeaseKey, LeaseTerms, Lent,
    ListedSession, NewLogin, NewSession, NewStanding, OpenedSession, Outcome, Owner, Page,
    PoolState, PoolTerms, Purpose, Rate, Replicas, Revalidated, Scope, Session, SessionKey,
    Standing, TakenGrants, TakenLogin, UseTerms, UsedLease, UsedSession, Verdict, Way, Whose,
    WorkDone, WorkTerms,
};

/// Where things are kept.
#[derive(Clone, Debug)]
pub enum Settings {
    /// A file of ours, for one process.
    Embedded {
        /// The file; made when it is not there.
        path: PathBuf,
    },
    /// One Redis server, 6.2 or newer, shared by all replicas.
    Redis {
        /// `redis://` or `rediss://`; a secret, because it may hold a password.
        url: SecretString,
    },
}

/// A step's answer, and what the store's clock showed when it was taken.
#[derive(Clone, Copy, Debug)]
pub struct Dated<T> {
    /// The answer.
    pub value: T,
    /// The store's clock.
    pub time: StoreTime,
}

enum Backend {
    Embedded(embedded::Embedded),
    // Shared with what it asks for many at once.
    Redis(Arc<redis::Redis>),
}

/// The store. One for the process; every method is one atomic step, dated by the store's clock, and safe to send twice.
pub struct Store {
    backend: Backend,
    metrics: StepMetrics,
}

impl Store {
    /// How long a step may take before the caller is told that the store is away. The first step that meets an outage ends its
    /// request, so that this is answered well within two seconds, whichever step it is.
    pub const PATIENCE: Duration = Duration::from_millis(900);

    /// How long a login may take, from its first redirect to the provider's answer: long enough for a forgotten password, a
    /// second factor and a telephone call.
    pub const LOGIN_PATIENCE: Duration = Duration::from_mins(15);

    /// How long what a provider logged out stays marked: longer than any login that began before, for the provider may take a minute
    /// or two over the answers of one that comes in its last second.
    pub const LOGOUT_MARK: Duration = Duration::from_mins(20);

    /// How long an ended session is remembered as ended: longer than any request of ours may still be under way to the store.
    const TOMBSTONE: Duration = Duration::from_mins(1);

    /// Opens the store, for a process that lends no guests. A Redis that is away is not an error: each step says so until it is there.
    ///
    /// # Errors
    ///
    /// [`OpenError::File`] when the embedded store's file cannot be opened or another process has it; [`OpenError::Url`] when
    /// the URL is not one. No other.
    pub async fn open(settings: &Settings, metrics: &Metrics) -> Result<Self, OpenError> {
        Self::open_with_pool(settings, "nobody", metrics).await
    }

    /// The same, with the pool of guests that has this name, of letters, digits and `-._~`. A pool is what its guests are called and where:
    /// what one pool knows of its first guest says nothing of the first of another.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub async fn open_with_pool(
        settings: &Settings,
        pool: &str,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        let backend = match settings {
            Settings::Embedded { path } => {
                Backend::Embedded(embedded::Embedded::open(path, pool).await?)
            }
            Settings::Redis { url } => Backend::Redis(Arc::new(redis::Redis::open(url, pool)?)),
        };
        Ok(Self { backend, metrics: StepMetrics::new(metrics) })
    }

    /// Counts one time against `bucket`, across all replicas (GCRA: evenly spread, with a burst of the whole count). The same
    /// `request` twice in a row is counted once.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn take_from_limit(
        &self,
        bucket: &str,
        rate: Rate,
        request: RequestId,
    ) -> Result<Dated<Allowance>, StoreError> {
        step!(self, take_from_limit(bucket, rate, request))
    }

    /// Keeps a login for [`Store::LOGIN_PATIENCE`] under the digest of its `state`. The same `id` again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn begin_login(
        &self,
        id: &Digest,
        login: &NewLogin,
    ) -> Result<Dated<()>, StoreError> {
        step!(self, begin_login(id, login))
    }

    /// Takes a login for good, if it was begun at `provider` by the browser with `binding`. The same `request` again gets the
    /// same answer; any other finds it taken, until it would have been too old anyway.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn take_login_once(
        &self,
        id: &Digest,
        binding: &Digest,
        provider: &ProviderName,
        request: RequestId,
    ) -> Result<Dated<TakenLogin>, StoreError> {
        step!(self, take_login_once(id, binding, provider, request))
    }

    /// Asks the store for its time: whether it is there at all.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn read_time(&self) -> Result<Dated<()>, StoreError> {
        step!(self, read_time())
    }

    /// Waits until each replica of the store has everything that was written before, or does not answer in time. A store without
    /// replicas has none.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn wait_for_replicas(&self) -> Result<Dated<Replicas>, StoreError> {
        step!(self, wait_for_replicas())
    }

    /// How the store is set up, for `check`.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn examine(&self) -> Result<Dated<Health>, StoreError> {
        step!(self, examine())
    }

    /// Returns when the store can never answer again, because what serves it has ended; for as long as that is not so, never.
    pub async fn ended(&self) {
        match &self.backend {
            Backend::Embedded(store) => store.ended().await,
            Backend::Redis(_) => std::future::pending().await,
        }
    }

    /// One step under the clock: bounded, timed, its failure counted by cause.
    async fn timed<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<Dated<T>, Fault>>,
    ) -> Result<Dated<T>, StoreError> {
        let begun = Instant::now();
        let answer = if let Ok(answer) = tokio::time::timeout(Self::PATIENCE, work).await {
            answer.map_err(|fault| fault.in_step(step.name()))
        } else {
            if let Backend::Redis(redis) = &self.backend {
                redis.suspect();
            }
            Err(StoreError::TimedOut { step: step.name() })
        };
        self.metrics.observe(step, begun.elapsed(), answer.as_ref().err());
        answer
    }
}
