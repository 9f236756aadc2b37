//! Steps about guests: the pool lies in one place, so that each of them sees all of it.

use super::measure::Step;
use super::{
    Backend, Dated, EndedLease, FoundWork, GuestWork, Lease, LeaseKey, LeaseTerms, Lent, PoolState,
    PoolTerms, Store, StoreError, UsedLease, WorkDone, WorkTerms,
};
use crate::clock::Timestamp;
use crate::ids::{Digest, Identity, RequestId};

impl Store {
    /// Lends a guest to a new holder, whose secret has the digest `id`: one that is active this month already and has been idle
    /// longest, else one of those last active longest ago, else one that was never lent.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn lend_guest(
        &self,
        id: &Digest,
        terms: &PoolTerms,
    ) -> Result<Dated<Lent>, StoreError> {
        step!(self, lend_guest(id, terms))
    }

    /// Renews a lease: it ends later, and the token that is minted on the answer is taken into account. To [`Purpose::Return`](super::Purpose)
    /// a lease that is over lives again, unless it was given back, its time is up, or work on the guest has begun. The same `request`
    /// twice in a row is counted once.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn use_lease(
        &self,
        key: &LeaseKey,
        terms: &LeaseTerms,
        request: RequestId,
    ) -> Result<Dated<UsedLease>, StoreError> {
        step!(self, use_lease(key, terms, request))
    }

    /// Looks at a lease, which does not renew it; `None` when it is no more, or never was.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn read_lease(&self, key: &LeaseKey) -> Result<Dated<Option<Lease>>, StoreError> {
        step!(self, read_lease(key))
    }

    /// Ends a lease for good, and has its guest scrubbed at once. With an `heir`, the member that the holder has become, that one is to be
    /// taken into the guest's conversations before. The same `request` again gets the same answer until the guest is idle.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn end_lease(
        &self,
        key: &LeaseKey,
        heir: Option<&Identity>,
        terms: &PoolTerms,
        request: RequestId,
    ) -> Result<Dated<EndedLease>, StoreError> {
        step!(self, end_lease(key, heir, terms, request))
    }

    /// Gives out work on one guest, to nobody else for [`WorkTerms::hold`]. The same `request` again gets the same.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn claim_guest_work(
        &self,
        terms: &WorkTerms,
        request: RequestId,
    ) -> Result<Dated<FoundWork>, StoreError> {
        step!(self, claim_guest_work(terms, request))
    }

    /// Says how work on a guest ended; `false`, and nothing is changed, when it was given to another since. A guest that was claimed
    /// once it was ready, and seen clean, is idle then.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn finish_guest_work(
        &self,
        work: &GuestWork,
        done: WorkDone,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, finish_guest_work(work, done))
    }

    /// The pool now.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn describe_pool(&self) -> Result<Dated<PoolState>, StoreError> {
        step!(self, describe_pool())
    }

    /// Looks whether the store has lost writes since it was last looked at, and keeps back what might have been lent unseen if so. Says when
    /// that was last found, if ever.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn heed_doubt(
        &self,
        terms: &PoolTerms,
    ) -> Result<Dated<Option<Timestamp>>, StoreError> {
        step!(self, heed_doubt(terms))
    }

    /// Ends all leases and keeps back every guest until no token that nobody knows of can live: for a store that was restored.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn quarantine_guests(
        &self,
        terms: &PoolTerms,
    ) -> Result<Dated<Timestamp>, StoreError> {
        step!(self, quarantine_guests(terms))
    }
}
