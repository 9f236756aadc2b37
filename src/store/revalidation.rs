//! Steps about asking a provider again: one caller among all replicas has a session for that at a time, and what it writes counts only
//! while it has it and the session lives.

use std::time::Duration;

use super::measure::Step;
use super::{
    Backend, BegunRevalidation, Dated, Revalidated, SessionKey, Store, StoreError, TakenGrants,
};
use crate::clock::Timestamp;
use crate::ids::{RequestId, SubjectKey};

impl Store {
    /// Takes a session that may lie `idle` for so long, to ask its provider about it, for `hold` at most. `asked` is when the caller saw
    /// that the provider had been asked last. The same `request` again takes it anew while it has it.
    ///
    /// Who is killed meanwhile has it until the hold is over; whoever takes it then gets the grant that was kept last.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn begin_revalidation(
        &self,
        key: &SessionKey,
        asked: Timestamp,
        (idle, hold): (Duration, Duration),
        request: RequestId,
    ) -> Result<Dated<BegunRevalidation>, StoreError> {
        step!(self, begin_revalidation(key, asked, (idle, hold), request))
    }

    /// Keeps what the provider gave in place of the grant before, as soon as it is there; `false` when `request` has the session no more,
    /// and nothing is kept. After its hold it has it still, unless another took it.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn keep_grant(
        &self,
        key: &SessionKey,
        request: RequestId,
        sealed: &str,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, keep_grant(key, request, sealed))
    }

    /// Writes what the provider said, and leaves the session to others; `false` when `request` has it no more, as with
    /// [`Store::keep_grant`], or it is no more, and nothing is written. The same request again answers the same while the session lives.
    ///
    /// If other claims than [`Revalidated::obtained`] are there by now, and denied, they stay: these may be the older ones.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn finish_revalidation(
        &self,
        key: &SessionKey,
        request: RequestId,
        revalidated: &Revalidated,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, finish_revalidation(key, request, revalidated))
    }

    /// Leaves the session to others, but to nobody before `pause` is over. Does nothing when `request` has it no more.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn pause_revalidation(
        &self,
        key: &SessionKey,
        request: RequestId,
        pause: Duration,
    ) -> Result<Dated<()>, StoreError> {
        step!(self, pause_revalidation(key, request, pause))
    }

    /// Takes the grants of all sessions of the subject that are no more: each comes once, and a lost answer is not given again.
    /// Says too with which of the providers' sessions the others go on.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn take_grants(
        &self,
        subject: &SubjectKey,
    ) -> Result<Dated<TakenGrants>, StoreError> {
        step!(self, take_grants(subject))
    }
}
