//! The embedded store: a file, one process, one thread that writes.
//!
//! Owns the file, its tables and its clock. Every step goes to the writer thread, which takes all that wait, does them one
//! after the other in one transaction, and answers when that is on disk; so a step is atomic because nobody else writes, and
//! many steps share one flush. What each step promises stands at [`super::Store`].

mod clock;
mod guests;
mod logouts;
mod revalidation;
mod rows;
mod sweep;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::steps::{
    Allowance, Binding, Claim, Cursor, EndedSession, Found, Health, ListedSession, NewLogin,
    NewSession, NewStanding, OpenedSession, Page, Rate, Replicas, Session, SessionKey, Standing,
    TakenLogin, UseTerms, UsedSession, Verdict, Whose,
};
use super::{Dated, Fault, OpenError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Digest, Identity, ProviderName, Reference, RequestId, Subject, SubjectKey};
use rows::{PoolTables, Rows};
use writer::{Done, Job, Trouble, Writer};

/// Steps against a file.
pub(super) struct Embedded {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    ended: CancellationToken,
}

impl Embedded {
    /// Opens the file, or makes it, readable for its owner only; repairs it first if the last process was killed.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] when another process has it, [`OpenError::NoFolder`] when its folder is not there,
    /// [`OpenError::File`] when it cannot be read, made or repaired. No other.
    pub(super) async fn open(path: &Path, pool: &str) -> Result<Self, OpenError> {
        let trouble = |source| OpenError::File { path: path.to_owned(), source };
        let (jobs, waiting) = mpsc::channel();
        let (opened, is_open) = oneshot::channel();
        let (file, pool) = (path.to_owned(), PoolTables::of(pool));
        let ended = CancellationToken::new();
        let ends = ended.clone().drop_guard();
        let serve = move || {
            // Told also when the thread panics.
            let _ends = ends;
            match Writer::open(&file, pool) {
                Ok(writer) => {
                    // Nobody waits any more when the caller gave up; then no job comes either.
                    let _nobody_waits = opened.send(Ok(()));
                    writer.serve(&waiting);
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        let thread = std::thread::Builder::new()
            .name("vestibule-store".to_owned())
            .spawn(serve)
            .map_err(|error| trouble(Box::new(error)))?;
        let store = Self { jobs: Some(jobs), thread: Some(thread), ended };
        match is_open.await {
            Ok(Ok(())) => Ok(store),
            Ok(Err(error)) => Err(error),
            Err(gone) => Err(trouble(Box::new(gone))),
        }
    }

    pub(super) async fn take_from_limit(
        &self,
        bucket: &str,
        rate: Rate,
        request: RequestId,
    ) -> Result<Dated<Allowance>, Fault> {
        let bucket = bucket.to_owned();
        self.run(move |rows| rows.take_from_limit(&bucket, rate, request)).await
    }

    pub(super) async fn begin_login(
        &self,
        id: &Digest,
        login: &NewLogin,
    ) -> Result<Dated<()>, Fault> {
        let (id, login) = (*id, login.clone());
        self.run(move |rows| rows.begin_login(&id, &login)).await
    }

    pub(super) async fn take_login_once(
        &self,
        id: &Digest,
        binding: &Digest,
        provider: &ProviderName,
        request: RequestId,
    ) -> Result<Dated<TakenLogin>, Fault> {
        let (id, binding, provider) = (*id, *binding, provider.clone());
        self.run(move |rows| rows.take_login_once(&id, &binding, &provider, request)).await
    }

    pub(super) async fn find_identity(
        &self,
        subject: &SubjectKey,
        provider: Option<&ProviderName>,
    ) -> Result<Dated<Found>, Fault> {
        let (subject, provider) = (*subject, provider.cloned());
        self.run(move |rows| rows.find_identity(&subject, provider.as_ref())).await
    }

    pub(super) async fn find_subject(&self, identity: &Identity) -> Result<Dated<Whose>, Fault> {
        let identity = identity.clone();
        self.run(move |rows| rows.find_subject(&identity)).await
    }

    pub(super) async fn claim_identity(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Dated<Claim>, Fault> {
        let (identity, subject) = (identity.clone(), subject.clone());
        self.run(move |rows| rows.claim_identity(&identity, &subject)).await
    }

    pub(super) async fn bind_identity(
        &self,
        subject: &SubjectKey,
        found: &Binding,
        identity: &Identity,
    ) -> Result<Dated<bool>, Fault> {
        let (subject, found, identity) = (*subject, found.clone(), identity.clone());
        self.run(move |rows| rows.bind_identity(&subject, &found, &identity)).await
    }

    pub(super) async fn begin_move(
        &self,
        identity: &Identity,
        from: &SubjectKey,
        to: &Subject,
    ) -> Result<Dated<bool>, Fault> {
        let (identity, from, to) = (identity.clone(), *from, to.clone());
        self.run(move |rows| rows.begin_move(&identity, &from, &to)).await
    }

    pub(super) async fn retire_subject(
        &self,
        from: &SubjectKey,
        identity: &Identity,
    ) -> Result<Dated<bool>, Fault> {
        let (from, identity) = (*from, identity.clone());
        self.run(move |rows| rows.retire_subject(&from, &identity)).await
    }

    pub(super) async fn finish_move(
        &self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<Dated<bool>, Fault> {
        let (identity, to) = (identity.clone(), to.clone());
        self.run(move |rows| rows.finish_move(&identity, &to)).await
    }

    pub(super) async fn bind_subject(
        &self,
        to: &SubjectKey,
        identity: &Identity,
        endings: u64,
    ) -> Result<Dated<bool>, Fault> {
        let (to, identity) = (*to, identity.clone());
        self.run(move |rows| rows.bind_subject(&to, &identity, endings)).await
    }

    pub(super) async fn mark_identity(
        &self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Dated<Whose>, Fault> {
        let identity = identity.clone();
        self.run(move |rows| rows.mark_identity(&identity, blocked)).await
    }

    pub(super) async fn mark_subject(
        &self,
        subject: &SubjectKey,
        identity: &Identity,
        unblocked: Option<u64>,
    ) -> Result<Dated<()>, Fault> {
        let (subject, identity) = (*subject, identity.clone());
        self.run(move |rows| rows.mark_subject(&subject, &identity, unblocked)).await
    }

    pub(super) async fn end_all_sessions(
        &self,
        subject: &SubjectKey,
        endings: u64,
    ) -> Result<Dated<()>, Fault> {
        let subject = *subject;
        self.run(move |rows| rows.end_all_sessions(&subject, endings)).await
    }

    pub(super) async fn open_session(
        &self,
        session: &NewSession,
    ) -> Result<Dated<OpenedSession>, Fault> {
        let session = session.clone();
        self.run(move |rows| rows.open_session(&session)).await
    }

    pub(super) async fn use_session(
        &self,
        key: &SessionKey,
        terms: &UseTerms,
        request: RequestId,
    ) -> Result<Dated<UsedSession>, Fault> {
        let (key, terms) = (*key, *terms);
        self.run(move |rows| rows.use_session(&key, &terms, request)).await
    }

    pub(super) async fn read_session(
        &self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<(Session, Verdict, String)>>, Fault> {
        let key = *key;
        self.run(move |rows| rows.read_session(&key, idle)).await
    }

    pub(super) async fn end_session(
        &self,
        key: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, Fault> {
        let key = *key;
        self.run(move |rows| rows.end_session(&key, idle, request)).await
    }

    pub(super) async fn list_sessions(
        &self,
        asker: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<Vec<ListedSession>>>, Fault> {
        let asker = *asker;
        self.run(move |rows| rows.list_sessions(&asker, idle)).await
    }

    pub(super) async fn end_listed_session(
        &self,
        asker: &SessionKey,
        id: &Digest,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<EndedSession>, Fault> {
        let (asker, id) = (*asker, *id);
        self.run(move |rows| rows.end_listed_session(&asker, &id, idle, request)).await
    }

    pub(super) async fn end_other_sessions(
        &self,
        asker: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, Fault> {
        let asker = *asker;
        self.run(move |rows| rows.end_other_sessions(&asker, idle, request)).await
    }

    pub(super) async fn keep_standing(&self, new: &NewStanding) -> Result<Dated<()>, Fault> {
        let new = new.clone();
        self.run(move |rows| rows.keep_standing(&new)).await
    }

    pub(super) async fn read_standing(
        &self,
        subject: &SubjectKey,
        provider: &ProviderName,
    ) -> Result<Dated<Option<Standing>>, Fault> {
        let (subject, provider) = (*subject, provider.clone());
        self.run(move |rows| rows.read_standing(&subject, &provider)).await
    }

    pub(super) async fn decide_standing(
        &self,
        subject: &SubjectKey,
        provider: &ProviderName,
        obtained: Timestamp,
        (verdict, decision): (&Verdict, &str),
    ) -> Result<Dated<bool>, Fault> {
        let (subject, provider) = (*subject, provider.clone());
        let (verdict, decision) = (*verdict, decision.to_owned());
        self.run(move |rows| {
            rows.decide_standing(&subject, &provider, obtained, (&verdict, &decision))
        })
        .await
    }

    pub(super) async fn list_standings(
        &self,
        after: Option<Cursor>,
        about: u32,
    ) -> Result<Dated<Page>, Fault> {
        self.run(move |rows| rows.list_standings(after, about)).await
    }

    pub(super) async fn keep_denial(
        &self,
        reference: &Reference,
        text: &str,
        keep: Duration,
    ) -> Result<Dated<()>, Fault> {
        let (reference, text) = (*reference, text.to_owned());
        self.run(move |rows| rows.keep_denial(&reference, &text, keep)).await
    }

    pub(super) async fn find_denial(
        &self,
        reference: &Reference,
    ) -> Result<Dated<Option<String>>, Fault> {
        let reference = *reference;
        self.run(move |rows| rows.find_denial(&reference)).await
    }

    pub(super) async fn read_time(&self) -> Result<Dated<()>, Fault> {
        self.run(|_| Ok(())).await
    }

    /// There are none.
    pub(super) async fn wait_for_replicas(&self) -> Result<Dated<Replicas>, Fault> {
        self.run(|_| Ok(Replicas { there: 0, have_it: 0 })).await
    }

    pub(super) async fn examine(&self) -> Result<Dated<Health>, Fault> {
        self.run(|rows| Ok(rows.examine())).await
    }

    /// Returns when the writer thread has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Has `step` done by the writer thread and waits until what it wrote is on disk.
    async fn run<T: Send + 'static>(
        &self,
        step: impl Fn(&mut Rows<'_>) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<Dated<T>, Fault> {
        let (reply, answer) = oneshot::channel();
        let asked = Asked { step, outcome: None, reply };
        if let Some(jobs) = &self.jobs
            && jobs.send(Box::new(asked)).is_ok()
            && let Ok(answer) = answer.await
        {
            return answer.map(|(value, at)| Dated { value, time: StoreTime::heard_now(at) });
        }
        Err(Fault::Away(Arc::new(writer::Broken)))
    }
}

/// A step that somebody waits for.
struct Asked<S, T> {
    step: S,
    outcome: Option<Outcome<T>>,
    reply: oneshot::Sender<Outcome<T>>,
}

/// A step's answer, and when it was taken.
type Outcome<T> = Result<(T, Timestamp), Fault>;

impl<S, T> Job for Asked<S, T>
where
    S: Fn(&mut Rows<'_>) -> Result<T, Trouble> + Send,
    T: Send,
{
    fn run(&mut self, rows: &mut Rows<'_>) -> Result<Done, redb::Error> {
        // Nobody waits for it any more: while a disk stalls, its last strength goes into what is still wanted.
        if self.reply.is_closed() {
            return Ok(Done::Whole);
        }
        match (self.step)(rows) {
            Ok(value) => self.outcome = Some(Ok((value, Timestamp::from_millis(rows.ms())))),
            Err(Trouble::Corrupt(what)) => {
                self.outcome = Some(Err(Fault::Corrupt(what)));
                return Ok(Done::Half);
            }
            Err(Trouble::File(error)) => return Err(error),
        }
        Ok(Done::Whole)
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // Whoever does not wait any more is not told.
            let _nobody_waits = self.reply.send(outcome);
        }
    }
}

impl Drop for Embedded {
    /// Waits for what is under way, a few milliseconds, so that the file is free when this returns.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already, and there is nobody left to tell.
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_fails_half_way_leaves_nothing_and_the_others_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(&folder.path().join("store"), "nobody").await.unwrap();
        let references: Vec<_> = (0..20).map(|_| Reference::random()).collect();
        let hour = Duration::from_hours(1);
        let keep = |at: usize| {
            let (reference, store) = (references[at], &store);
            store.run(move |rows| {
                rows.keep_denial(&reference, "kept", hour)?;
                if at.is_multiple_of(5) {
                    Err(Trouble::Corrupt("a row of another's"))
                } else {
                    Ok(at)
                }
            })
        };

        // While the writer is busy they all gather, and share a transaction.
        let busy = store.run(|_| {
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        });
        let (_busy, kept) = tokio::join!(busy, futures_util::future::join_all((0..20).map(keep)));

        for (at, kept) in kept.into_iter().enumerate() {
            let found = store.find_denial(&references[at]).await.unwrap().value;
            if at.is_multiple_of(5) {
                assert!(matches!(kept, Err(Fault::Corrupt("a row of another's"))), "{at}");
                assert_eq!(found, None, "{at}");
            } else {
                assert_eq!(kept.unwrap().value, at);
                assert_eq!(found.as_deref(), Some("kept"), "{at}");
            }
        }
    }
}
