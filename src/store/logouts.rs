//! Steps about logouts that a provider tells of, and about what counts only once.
//!
//! A logout names a login or a person by a [`Handle`], and may come at any moment of a login. So a login joins its subject before it opens
//! its session, and a logout marks the handle before it reads who has joined; then it goes to each subject, and leaves a mark there that
//! [`Store::open_session`] finds. Whichever comes first, no session is left. The marks outlast any login that could still come.

use std::time::Duration;

use super::measure::Step;
use super::{Backend, Dated, Scope, Store, StoreError};
use crate::clock::Timestamp;
use crate::ids::{Digest, Handle, RequestId, SubjectKey};

impl Store {
    /// Has the logouts of `handle` name `subject` too, for `keep` at least; `false` when it was logged out at `since` or later, and
    /// nothing is written. Twice is once.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn join_logout(
        &self,
        handle: &Handle,
        subject: &SubjectKey,
        since: Timestamp,
        keep: Duration,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, join_logout(handle, subject, since, keep))
    }

    /// Marks `handle` as logged out now, for [`Store::LOGOUT_MARK`] at least, and tells which subjects have joined.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn log_out_handle(
        &self,
        handle: &Handle,
    ) -> Result<Dated<Vec<SubjectKey>>, StoreError> {
        step!(self, log_out_handle(handle))
    }

    /// Ends the sessions of `subject` in `scope` for good, and those that are about to be opened; for [`Store::LOGOUT_MARK`] the same
    /// `request` again does nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn log_out_subject(
        &self,
        subject: &SubjectKey,
        scope: &Scope,
        request: RequestId,
    ) -> Result<Dated<()>, StoreError> {
        step!(self, log_out_subject(subject, scope, request))
    }

    /// Whether what has this name was spent, and is not forgotten.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn was_spent(&self, name: &Digest) -> Result<Dated<bool>, StoreError> {
        step!(self, was_spent(name))
    }

    /// Spends what has this name, and remembers that for `keep`; `false` when another request has spent it before.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn spend_once(
        &self,
        name: &Digest,
        keep: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, spend_once(name, keep, request))
    }

    /// Takes back that `request` has spent what has this name, which can be spent again then. What another request has spent stays so.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any: it stays spent, for as long as it was to be remembered.
    pub async fn unspend(
        &self,
        name: &Digest,
        request: RequestId,
    ) -> Result<Dated<()>, StoreError> {
        step!(self, unspend(name, request))
    }
}
