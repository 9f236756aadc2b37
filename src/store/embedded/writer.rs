//! The thread that has the file: takes what waits, does it in one transaction, answers when it is on disk.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use redb::Database;
use redb::backends::FileBackend;

use super::super::OpenError;
use super::clock::Clock;
use super::rows::{self, PoolTables, Rows};
use super::sweep::Sweep;

/// A step to be done. Unless it is answered, it is dropped, and with it the hope of whoever waits.
pub(super) trait Job: Send {
    /// Does it, and remembers its answer. May come again, for another transaction in place of the first.
    ///
    /// # Errors
    ///
    /// The trouble with the file, which makes this and every other step of the transaction undone.
    fn run(&mut self, rows: &mut Rows<'_>) -> Result<Done, redb::Error>;

    /// Answers it, once what it did is on disk.
    fn answer(self: Box<Self>);
}

/// How far a step came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// To its end.
    Whole,
    /// Until it met what we did not write: what it wrote before must not stay.
    Half,
}

/// Why a step did not come out.
pub(super) enum Trouble {
    /// A row is not what we write.
    Corrupt(&'static str),
    /// The file cannot be read or written.
    File(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::File(error.into())
    }
}

/// A step was dropped unanswered: the file failed, or the thread is gone.
#[derive(Debug, thiserror::Error)]
#[error("the store's file cannot be read or written; the log says why")]
pub(super) struct Broken;

/// How many steps share one transaction at most, so that the first one's wait stays short.
const MOST_AT_ONCE: usize = 256;

/// How much of the file is kept in memory, in bytes: the busy part of some ten thousand sessions.
const CACHE: usize = 16 * 1024 * 1024;

pub(super) struct Writer {
    path: PathBuf,
    pool: PoolTables,
    /// `None` after trouble: the driver refuses a database that once failed, so that it is opened again.
    database: Option<Database>,
    /// Whether the last transaction failed.
    in_trouble: bool,
    clock: Clock,
    sweep: Sweep,
}

impl Writer {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// As [`super::Embedded::open`].
    pub(super) fn open(path: &Path, pool: PoolTables) -> Result<Self, OpenError> {
        let path = path.to_owned();
        let opened = open(&path).and_then(|database| {
            let promise = rows::read_promise(&database)?;
            Ok((database, promise))
        });
        match opened {
            Ok((database, promise)) => Ok(Self {
                path,
                pool,
                database: Some(database),
                in_trouble: false,
                clock: Clock::new(promise),
                sweep: Sweep::default(),
            }),
            Err(redb::Error::DatabaseAlreadyOpen) => Err(OpenError::InUse { path }),
            // The file would be made: what is not there is its folder.
            Err(redb::Error::Io(error)) if error.kind() == ErrorKind::NotFound => {
                Err(OpenError::NoFolder { path })
            }
            Err(error) => Err(OpenError::File { path, source: Box::new(error) }),
        }
    }

    /// Works until nobody can send a job any more.
    pub(super) fn serve(mut self, waiting: &mpsc::Receiver<Box<dyn Job>>) {
        while let Ok(first) = waiting.recv() {
            let jobs =
                std::iter::once(first).chain(waiting.try_iter().take(MOST_AT_ONCE - 1)).collect();
            if let Err(error) = self.work(jobs) {
                self.database = None;
                // Said once: a full disk fails every batch until it is mended.
                if !std::mem::replace(&mut self.in_trouble, true) {
                    tracing::error!(store.error = %error, "the store's file cannot be read or written");
                }
            } else if std::mem::take(&mut self.in_trouble) {
                tracing::info!("the store's file can be read and written again");
            }
        }
        if let Some(database) = &self.database
            && let Err(error) = rows::write_promise(database, self.clock.last_told())
        {
            tracing::warn!(store.error = %error, "the store's file was not closed in order; it is checked at the next start");
        }
    }

    /// Does all jobs in one transaction and answers them.
    fn work(&mut self, mut jobs: Vec<Box<dyn Job>>) -> Result<(), redb::Error> {
        let mut failed = Vec::new();
        // A step that wrote and then failed takes the transaction with it, and all others are done again without it.
        while let Some(at) = self.try_all(&mut jobs)? {
            failed.push(jobs.remove(at));
        }
        for job in failed.into_iter().chain(jobs) {
            job.answer();
        }
        Ok(())
    }

    /// Does all jobs in one transaction. If one of them wrote something and failed, nothing is done, and it says which.
    fn try_all(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<Option<usize>, redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path)?,
        };
        let database = self.database.insert(database);
        let (us, promise) = self.clock.tell();
        let room = jobs.len();
        let transaction = database.begin_write()?;
        let mut rows = Rows::open(&transaction, &self.pool, us, self.clock.ahead())?;
        for (at, job) in jobs.iter_mut().enumerate() {
            let written = std::mem::take(&mut rows.written);
            if job.run(&mut rows)? == Done::Half && rows.written {
                drop(rows);
                transaction.abort()?;
                return Ok(Some(at));
            }
            rows.written |= written;
        }
        if let Some(promise) = promise {
            rows.promise(promise)?;
        }
        if rows.written {
            // Each step adds a row at most: looking at two for each, the sweep overtakes what comes in.
            self.sweep.go_on(&mut rows, 2 * room + 2)?;
            drop(rows);
            transaction.commit()?;
        } else {
            drop(rows);
            transaction.abort()?;
        }
        if let Some(promise) = promise {
            self.clock.promised(promise);
        }
        Ok(None)
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = FileBackend::new(options.open(path)?)?;
    Ok(Database::builder().set_cache_size(CACHE).create_with_backend(file)?)
}
