//! The pool of guests: each step, handed to the writer thread.

use super::Embedded;
use crate::clock::Timestamp;
use crate::ids::{Digest, Identity, RequestId};
use crate::store::steps::{
    EndedLease, FoundWork, GuestWork, Lease, LeaseKey, LeaseTerms, Lent, PoolState, PoolTerms,
    UsedLease, WorkDone, WorkTerms,
};
use crate::store::{Dated, Fault};

impl Embedded {
    pub(in crate::store) async fn lend_guest(
        &self,
        id: &Digest,
        terms: &PoolTerms,
    ) -> Result<Dated<Lent>, Fault> {
        let (id, terms) = (*id, *terms);
        self.run(move |rows| rows.lend_guest(&id, &terms)).await
    }

    pub(in crate::store) async fn use_lease(
        &self,
        key: &LeaseKey,
        terms: &LeaseTerms,
        request: RequestId,
    ) -> Result<Dated<UsedLease>, Fault> {
        let (key, terms) = (*key, *terms);
        self.run(move |rows| rows.use_lease(&key, &terms, request)).await
    }

    pub(in crate::store) async fn read_lease(
        &self,
        key: &LeaseKey,
    ) -> Result<Dated<Option<Lease>>, Fault> {
        let key = *key;
        self.run(move |rows| rows.read_lease(&key)).await
    }

    pub(in crate::store) async fn end_lease(
        &self,
        key: &LeaseKey,
        heir: Option<&Identity>,
        terms: &PoolTerms,
        request: RequestId,
    ) -> Result<Dated<EndedLease>, Fault> {
        let (key, heir, cooldown) = (*key, heir.cloned(), terms.cooldown);
        self.run(move |rows| rows.end_lease(&key, heir.as_ref(), cooldown, request)).await
    }

    pub(in crate::store) async fn claim_guest_work(
        &self,
        terms: &WorkTerms,
        request: RequestId,
    ) -> Result<Dated<FoundWork>, Fault> {
        let terms = *terms;
        self.run(move |rows| rows.claim_guest_work(&terms, request)).await
    }

    pub(in crate::store) async fn finish_guest_work(
        &self,
        work: &GuestWork,
        done: WorkDone,
    ) -> Result<Dated<bool>, Fault> {
        let (guest, claim) = (work.guest, work.claim);
        self.run(move |rows| rows.finish_guest_work(guest, claim, done)).await
    }

    pub(in crate::store) async fn describe_pool(&self) -> Result<Dated<PoolState>, Fault> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method itself takes rows of one lifetime only"
        )]
        self.run(|rows| rows.describe_pool()).await
    }

    /// The file loses nothing by itself: there is what an operator said.
    pub(in crate::store) async fn heed_doubt(
        &self,
        _terms: &PoolTerms,
    ) -> Result<Dated<Option<Timestamp>>, Fault> {
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method itself takes rows of one lifetime only"
        )]
        self.run(|rows| rows.read_doubt()).await
    }

    pub(in crate::store) async fn quarantine_guests(
        &self,
        terms: &PoolTerms,
    ) -> Result<Dated<Timestamp>, Fault> {
        let terms = *terms;
        self.run(move |rows| rows.quarantine_guests(&terms)).await
    }
}
