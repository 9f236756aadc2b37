//! Steps about sessions. A session stands on what is remembered of its subject: without a standing it is over.

use std::time::Duration;

use super::measure::Step;
use super::{
    Backend, Dated, EndedSession, ListedSession, NewSession, OpenedSession, Session, SessionKey,
    Store, StoreError, UseTerms, UsedSession, Verdict,
};
use crate::ids::{Digest, RequestId};

impl Store {
    /// Keeps a session, binds its subject to its identity if the subject has none, and keeps what the login showed, until the
    /// session's end at least. The same key again answers the same session; it never brings back one that was ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn open_session(
        &self,
        session: &NewSession,
    ) -> Result<Dated<OpenedSession>, StoreError> {
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

    /// Looks at a session, at what the policy said last of its subject and at what was decided, as JSON, without using it; `None` when
    /// it is no more, or never was.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn read_session(
        &self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<(Session, Verdict, String)>>, StoreError> {
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

    /// Looks at all sessions of the subject that live, in no order, without using any; `None` when the session that asks is no
    /// more, or never was.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn list_sessions(
        &self,
        asker: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<Vec<ListedSession>>>, StoreError> {
        step!(self, list_sessions(asker, idle))
    }

    /// Ends the subject's session `id` for good, which may be the one that asks. The same `request` again answers the same for a
    /// minute.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn end_listed_session(
        &self,
        asker: &SessionKey,
        id: &Digest,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<EndedSession>, StoreError> {
        step!(self, end_listed_session(asker, id, idle, request))
    }

    /// Ends all sessions of the subject for good but the one that asks; `false` when that is itself no more, and none is ended. The
    /// same `request` twice in a row ends none that was opened in between.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn end_other_sessions(
        &self,
        asker: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, end_other_sessions(asker, idle, request))
    }
}
