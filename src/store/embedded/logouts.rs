//! Logouts that a provider tells of, and what counts only once: each step, handed to the writer thread.

use std::time::Duration;

use super::Embedded;
use crate::clock::Timestamp;
use crate::ids::{Digest, Handle, RequestId, SubjectKey};
use crate::store::steps::Scope;
use crate::store::{Dated, Fault};

impl Embedded {
    pub(in crate::store) async fn join_logout(
        &self,
        handle: &Handle,
        subject: &SubjectKey,
        since: Timestamp,
        keep: Duration,
    ) -> Result<Dated<bool>, Fault> {
        let (handle, subject) = (*handle, *subject);
        self.run(move |rows| rows.join_logout(&handle, &subject, since, keep)).await
    }

    pub(in crate::store) async fn log_out_handle(
        &self,
        handle: &Handle,
    ) -> Result<Dated<Vec<SubjectKey>>, Fault> {
        let handle = *handle;
        self.run(move |rows| rows.log_out_handle(&handle)).await
    }

    pub(in crate::store) async fn log_out_subject(
        &self,
        subject: &SubjectKey,
        scope: &Scope,
        request: RequestId,
    ) -> Result<Dated<()>, Fault> {
        let (subject, scope) = (*subject, *scope);
        self.run(move |rows| rows.log_out_subject(&subject, &scope, request)).await
    }

    pub(in crate::store) async fn was_spent(&self, name: &Digest) -> Result<Dated<bool>, Fault> {
        let name = *name;
        self.run(move |rows| rows.was_spent(&name)).await
    }

    pub(in crate::store) async fn spend_once(
        &self,
        name: &Digest,
        keep: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, Fault> {
        let name = *name;
        self.run(move |rows| rows.spend_once(&name, keep, request)).await
    }

    pub(in crate::store) async fn unspend(
        &self,
        name: &Digest,
        request: RequestId,
    ) -> Result<Dated<()>, Fault> {
        let name = *name;
        self.run(move |rows| rows.unspend(&name, request)).await
    }
}
