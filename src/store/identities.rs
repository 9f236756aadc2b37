//! Steps about whose an identity is. It is claimed first and then bound; only a move takes it away again.
//!
//! A move is four steps, each in one cluster slot: [`begin_move`](Store::begin_move), [`retire_subject`](Store::retire_subject),
//! [`finish_move`](Store::finish_move), [`bind_subject`](Store::bind_subject). Wherever it stops, nobody shares the identity, and
//! all four again finish it.

use super::measure::Step;
use super::{Backend, Binding, Claim, Dated, Found, Store, StoreError, Whose};
use crate::ids::{Identity, ProviderName, Subject, SubjectKey};

impl Store {
    /// Which identity `subject` has, and which claims of it are remembered at `provider`, if one is named.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn find_identity(
        &self,
        subject: &SubjectKey,
        provider: Option<&ProviderName>,
    ) -> Result<Dated<Found>, StoreError> {
        step!(self, find_identity(subject, provider))
    }

    /// Whose `identity` is, and whether it is blocked.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn find_subject(&self, identity: &Identity) -> Result<Dated<Whose>, StoreError> {
        step!(self, find_subject(identity))
    }

    /// Claims `identity` for `subject`, for ever; the first claim wins. While it is moved or blocked nobody's does.
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

    /// Binds `subject`, of whom `found` was found, to `identity`, which was claimed for it; `false` when something else than that
    /// or this is true of it by now, or its identity is blocked. Ends no session.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn bind_identity(
        &self,
        subject: &SubjectKey,
        found: &Binding,
        identity: &Identity,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, bind_identity(subject, found, identity))
    }

    /// Begins to move `identity` to another subject: from now on nobody can claim it. `true` when it is on its way there or has
    /// arrived; `false` when it is neither `from`'s nor `to`'s, on its way elsewhere, or blocked.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn begin_move(
        &self,
        identity: &Identity,
        from: &SubjectKey,
        to: &Subject,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, begin_move(identity, from, to))
    }

    /// Takes `identity` from `from`, if that is what it is bound to, and ends all its sessions; one that is about to be opened is
    /// [`Overtaken`](super::OpenedSession::Overtaken). `false` when `identity` is blocked as `from`'s: it stays so. Comes after
    /// [`Store::begin_move`].
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn retire_subject(
        &self,
        from: &SubjectKey,
        identity: &Identity,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, retire_subject(from, identity))
    }

    /// Makes `identity` the subject's that it is on its way to. `true` when it is `to`'s, now or since before; `false` when it is
    /// not on its way there, or blocked. Comes after [`Store::retire_subject`].
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn finish_move(
        &self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, finish_move(identity, to))
    }

    /// Binds `to` to the identity that was moved to it, whatever it was bound to, and ends its sessions, as
    /// [`Store::retire_subject`] does. `endings` is how often they had been ended before [`Store::finish_move`], or before the
    /// identity was found to be `to`'s. `false` when they were ended since, or its identity is blocked: the identity may have been
    /// moved on by then; the whole move again tells.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn bind_subject(
        &self,
        to: &SubjectKey,
        identity: &Identity,
        endings: u64,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, bind_subject(to, identity, endings))
    }
}
