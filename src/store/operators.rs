//! Steps that keep somebody out. A block is two marks, each in its own cluster slot: one on the identity, which keeps it from being
//! claimed or moved, and one on the subject that has it, which ends its sessions and lets none begin.

use super::measure::Step;
use super::{Backend, Dated, Store, StoreError, Whose};
use crate::ids::{Identity, SubjectKey};

impl Store {
    /// Marks `identity` as blocked, or not any more, and says what was true before, whose it is among it. While it is blocked nobody
    /// can claim it, no move of it begins, and none ends.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn mark_identity(
        &self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Dated<Whose>, StoreError> {
        step!(self, mark_identity(identity, blocked))
    }

    /// Marks `subject` as one whose identity is blocked, if it is bound to `identity`, and ends all its sessions, whatever it is bound
    /// to; one that is about to be opened is [`Overtaken`](super::OpenedSession::Overtaken). Comes after [`Store::mark_identity`].
    ///
    /// With `unblocked`, how often the sessions had been ended before the identity was found to be blocked no more, it takes the mark
    /// away instead, and ends nothing; a mark that was made since stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn mark_subject(
        &self,
        subject: &SubjectKey,
        identity: &Identity,
        unblocked: Option<u64>,
    ) -> Result<Dated<()>, StoreError> {
        step!(self, mark_subject(subject, identity, unblocked))
    }

    /// Ends all sessions of `subject`, those that are about to be opened too, unless they were ended more often than `endings` by now.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn end_all_sessions(
        &self,
        subject: &SubjectKey,
        endings: u64,
    ) -> Result<Dated<()>, StoreError> {
        step!(self, end_all_sessions(subject, endings))
    }
}
