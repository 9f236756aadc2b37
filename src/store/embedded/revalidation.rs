//! Asking a provider again: each step, handed to the writer thread.

use std::time::Duration;

use super::Embedded;
use crate::clock::Timestamp;
use crate::ids::{RequestId, SubjectKey};
use crate::store::steps::{BegunRevalidation, Revalidated, SessionKey, TakenGrants};
use crate::store::{Dated, Fault};

impl Embedded {
    pub(in crate::store) async fn begin_revalidation(
        &self,
        key: &SessionKey,
        asked: Timestamp,
        terms: (Duration, Duration),
        request: RequestId,
    ) -> Result<Dated<BegunRevalidation>, Fault> {
        let key = *key;
        self.run(move |rows| rows.begin_revalidation(&key, asked, terms, request)).await
    }

    pub(in crate::store) async fn keep_grant(
        &self,
        key: &SessionKey,
        request: RequestId,
        sealed: &str,
    ) -> Result<Dated<bool>, Fault> {
        let (key, sealed) = (*key, sealed.to_owned());
        self.run(move |rows| rows.keep_grant(&key, request, &sealed)).await
    }

    pub(in crate::store) async fn finish_revalidation(
        &self,
        key: &SessionKey,
        request: RequestId,
        revalidated: &Revalidated,
    ) -> Result<Dated<bool>, Fault> {
        let (key, revalidated) = (*key, revalidated.clone());
        self.run(move |rows| rows.finish_revalidation(&key, request, &revalidated)).await
    }

    pub(in crate::store) async fn pause_revalidation(
        &self,
        key: &SessionKey,
        request: RequestId,
        pause: Duration,
    ) -> Result<Dated<()>, Fault> {
        let key = *key;
        self.run(move |rows| rows.pause_revalidation(&key, request, pause)).await
    }

    pub(in crate::store) async fn take_grants(
        &self,
        subject: &SubjectKey,
    ) -> Result<Dated<TakenGrants>, Fault> {
        let subject = *subject;
        self.run(move |rows| rows.take_grants(&subject)).await
    }
}
