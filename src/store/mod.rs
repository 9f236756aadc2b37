//! What is remembered: one atomic step a method, behind two stores that answer alike.
//!
//! Owns what is kept, under which keys, for how long, and the clock. Does not own what it means: the rooms above decide whom
//! to let in. Nothing secret is kept: of cookies and states only their digests.

mod embedded;
mod measure;
mod redis;
mod steps;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use secrecy::SecretString;

use crate::clock::StoreTime;
use crate::ids::{Digest, Identity, ProviderName, RequestId, Subject, SubjectKey};
use crate::telemetry::Metrics;
use measure::{Step, StepMetrics};
pub use steps::{
    Allowance, Claim, Health, NewLogin, NewSession, Rate, Session, SessionKey, TakenLogin,
    UseTerms, UsedSession,
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

/// Why a step has no answer. Whether it was done is unknown, except for [`StoreError::Corrupt`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, broke off, or refuses to work: out of memory or disk, read-only, no permission.
    #[error("the store is away (step {step})")]
    Away {
        /// The step, as [`Store`]'s methods are called.
        step: &'static str,
        /// What the driver says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store took longer than [`Store::PATIENCE`].
    #[error("the store did not answer in time (step {step})")]
    TimedOut {
        /// The step, as [`Store`]'s methods are called.
        step: &'static str,
    },
    /// What is kept is not what we write: another program's key, or damage.
    #[error("the store holds something that Vestibule did not write (step {step}): {what}")]
    Corrupt {
        /// The step, as [`Store`]'s methods are called.
        step: &'static str,
        /// What was found where; never a value.
        what: &'static str,
    },
}

impl StoreError {
    /// Every cause that [`StoreError::cause`] can tell.
    pub const CAUSES: [&str; 3] = ["away", "timed_out", "corrupt"];

    /// The cause in one word, for a metric's label.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        Self::CAUSES[self.cause_index()]
    }

    const fn cause_index(&self) -> usize {
        match self {
            Self::Away { .. } => 0,
            Self::TimedOut { .. } => 1,
            Self::Corrupt { .. } => 2,
        }
    }
}

/// Why a backend has no answer; [`Store`] adds the step.
#[derive(Debug)]
enum Fault {
    /// See [`StoreError::Away`].
    Away(Box<dyn std::error::Error + Send + Sync>),
    /// See [`StoreError::Corrupt`].
    Corrupt(&'static str),
}

impl Fault {
    fn in_step(self, step: &'static str) -> StoreError {
        match self {
            Self::Away(source) => StoreError::Away { step, source },
            Self::Corrupt(what) => StoreError::Corrupt { step, what },
        }
    }
}

/// Why the store cannot be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file.
    #[error(
        "another process has {path} open: one process uses a file, replicas share a Redis instead"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The folder of the file is not there.
    #[error("there is no folder for the store's file {path}: make or mount it")]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read, made or repaired.
    #[error("cannot open the store at {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The URL is not one of a Redis server. The URL is not quoted, for it may hold a password.
    #[error("store.url is not a Redis URL")]
    Url,
}

enum Backend {
    Embedded(embedded::Embedded),
    // Boxed for its size alone.
    Redis(Box<redis::Redis>),
}

/// The store. One for the process; every method is one atomic step, dated by the store's clock, and safe to send twice.
pub struct Store {
    backend: Backend,
    metrics: StepMetrics,
}

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

impl Store {
    /// How long a step may take before the caller is told that the store is away. The first step that meets an outage ends its
    /// request, so that this is answered well within two seconds, whichever step it is.
    pub const PATIENCE: Duration = Duration::from_millis(900);

    /// How long a login may take, from its first redirect to the provider's answer: long enough for a forgotten password, a
    /// second factor and a telephone call.
    pub const LOGIN_PATIENCE: Duration = Duration::from_mins(15);

    /// How long an ended session is remembered as ended: longer than any request of ours may still be under way to the store.
    const TOMBSTONE: Duration = Duration::from_mins(1);

    /// Opens the store. A Redis that is away is not an error: each step says so until it is there.
    ///
    /// # Errors
    ///
    /// [`OpenError::File`] when the embedded store's file cannot be opened or another process has it; [`OpenError::Url`] when
    /// the URL is not one. No other.
    pub async fn open(settings: &Settings, metrics: &Metrics) -> Result<Self, OpenError> {
        let backend = match settings {
            Settings::Embedded { path } => Backend::Embedded(embedded::Embedded::open(path).await?),
            Settings::Redis { url } => Backend::Redis(Box::new(redis::Redis::open(url)?)),
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

    /// The identity that `subject` is bound to.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn find_identity(
        &self,
        subject: &SubjectKey,
    ) -> Result<Dated<Option<Identity>>, StoreError> {
        step!(self, find_identity(subject))
    }

    /// Claims `identity` for `subject`, for ever; the first claim wins.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn claim_identity(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Dated<Claim>, StoreError> {
        step!(self, claim_identity(identity, subject))
    }

    /// Keeps a session, and binds its subject to its identity if the subject has none: the session's identity in the answer is
    /// the bound one. The same key again answers the same session; it never brings back one that was ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn open_session(&self, session: &NewSession) -> Result<Dated<Session>, StoreError> {
        step!(self, open_session(session))
    }

    /// Uses a session: its idle time begins anew, to within [`UseTerms::grain`], unless it is over or over its limit. The same
    /// `request` twice in a row is counted once.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn use_session(
        &self,
        key: &SessionKey,
        terms: &UseTerms,
        request: RequestId,
    ) -> Result<Dated<UsedSession>, StoreError> {
        step!(self, use_session(key, terms, request))
    }

    /// Looks at a session without using it; `None` when it is no more, or never was.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn read_session(
        &self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<Session>>, StoreError> {
        step!(self, read_session(key, idle))
    }

    /// Ends a session for good; `true` when it lived until now. The same `request` again answers the same for a minute.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn end_session(
        &self,
        key: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, end_session(key, idle, request))
    }

    /// Asks the store for its time: whether it is there at all.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn read_time(&self) -> Result<Dated<()>, StoreError> {
        step!(self, read_time())
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
