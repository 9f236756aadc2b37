//! Why a step has no answer, and why there is no store at all.

use std::path::PathBuf;
use std::sync::Arc;

/// Why a step has no answer. Whether it was done is unknown, except for [`StoreError::Corrupt`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, broke off, or refuses to work: out of memory or disk, read-only, no permission.
    #[error("the store is away (step {step})")]
    Away {
        /// The step, as [`Store`](super::Store)'s methods are called.
        step: &'static str,
        /// What the driver says.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The store took longer than [`Store::PATIENCE`](super::Store::PATIENCE).
    #[error("the store did not answer in time (step {step})")]
    TimedOut {
        /// The step, as [`Store`](super::Store)'s methods are called.
        step: &'static str,
    },
    /// What is kept is not what we write: another program's key, or damage.
    #[error("the store holds something that Vestibule did not write (step {step}): {what}")]
    Corrupt {
        /// The step, as [`Store`](super::Store)'s methods are called.
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

    pub(super) const fn cause_index(&self) -> usize {
        match self {
            Self::Away { .. } => 0,
            Self::TimedOut { .. } => 1,
            Self::Corrupt { .. } => 2,
        }
    }
}

/// Why a backend has no answer; [`Store`](super::Store) adds the step.
#[derive(Clone, Debug)]
pub(in crate::store) enum Fault {
    /// See [`StoreError::Away`].
    Away(Arc<dyn std::error::Error + Send + Sync>),
    /// See [`StoreError::Corrupt`].
    Corrupt(&'static str),
}

impl Fault {
    pub(super) fn in_step(self, step: &'static str) -> StoreError {
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
