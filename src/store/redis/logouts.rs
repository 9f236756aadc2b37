//! Logouts that a provider tells of, and what counts only once, on Redis: a handle in its own slot, what it ends in the subject's.

use std::time::Duration;

use super::script::Maybe;
use super::{Redis, keys};
use crate::clock::Timestamp;
use crate::ids::{Digest, Handle, RequestId, SubjectKey};
use crate::store::steps::{Scope, millis};
use crate::store::{Dated, Fault, Store};

impl Redis {
    pub(in crate::store) async fn join_logout(
        &self,
        handle: &Handle,
        subject: &SubjectKey,
        since: Timestamp,
        keep: Duration,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.join_logout.call(1).text(keys::handle(handle)).text(subject);
        let call = call.arg(since.as_millis()).arg(millis(keep));
        let mut answer = call.run(&self.link).await?;
        let joined = answer.number()? == 1;
        Ok(answer.dated(joined))
    }

    pub(in crate::store) async fn log_out_handle(
        &self,
        handle: &Handle,
    ) -> Result<Dated<Vec<SubjectKey>>, Fault> {
        let call = self.scripts.log_out_handle.call(1).text(keys::handle(handle));
        let mut answer = call.arg(millis(Store::LOGOUT_MARK)).run(&self.link).await?;
        let mut joined = Vec::new();
        while !answer.is_over() {
            let subject = SubjectKey::parse(&answer.text()?);
            joined.push(subject.ok_or(Fault::Corrupt("no subject's key under a handle"))?);
        }
        Ok(answer.dated(joined))
    }

    pub(in crate::store) async fn log_out_subject(
        &self,
        subject: &SubjectKey,
        scope: &Scope,
        request: RequestId,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.log_out_subject.call(3).text(keys::subject(subject));
        let call = call.text(keys::devices(subject)).text(keys::logouts(subject)).text(request);
        let call = call.arg(millis(Store::LOGOUT_MARK)).arg(millis(Store::TOMBSTONE));
        let (sid, nameless) = match *scope {
            Scope::All => (None, false),
            Scope::Session { sid, nameless } => (Some(sid), nameless),
        };
        let call = call.text(keys::sessions(subject)).text(Maybe(sid)).arg(u8::from(nameless));
        let answer = call.run(&self.link).await?;
        Ok(answer.dated(()))
    }

    pub(in crate::store) async fn was_spent(&self, name: &Digest) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.was_spent.call(1).text(keys::spent(name));
        let mut answer = call.run(&self.link).await?;
        let was = answer.number()? == 1;
        Ok(answer.dated(was))
    }

    pub(in crate::store) async fn spend_once(
        &self,
        name: &Digest,
        keep: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.spend_once.call(1).text(keys::spent(name));
        let mut answer = call.text(request).arg(millis(keep)).run(&self.link).await?;
        let spent = answer.number()? == 1;
        Ok(answer.dated(spent))
    }

    pub(in crate::store) async fn unspend(
        &self,
        name: &Digest,
        request: RequestId,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.unspend.call(1).text(keys::spent(name));
        let answer = call.text(request).run(&self.link).await?;
        Ok(answer.dated(()))
    }
}
