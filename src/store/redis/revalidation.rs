//! Asking a provider again, on Redis: the session's own row says who does.

use std::time::Duration;

use super::script::Maybe;
use super::{Redis, keys};
use crate::clock::Timestamp;
use crate::ids::{Digest, RequestId, SubjectKey};
use crate::store::steps::{
    BegunRevalidation, Revalidated, SessionKey, TakenGrant, TakenGrants, millis,
};
use crate::store::{Dated, Fault};

impl Redis {
    pub(in crate::store) async fn begin_revalidation(
        &self,
        key: &SessionKey,
        asked: Timestamp,
        (idle, hold): (Duration, Duration),
        request: RequestId,
    ) -> Result<Dated<BegunRevalidation>, Fault> {
        let call = self.scripts.begin_revalidation.call(4).text(keys::session(key));
        let call = call.text(keys::subject(&key.subject)).text(keys::standing(&key.subject));
        let call = call.text(keys::grants(&key.subject)).text(request).arg(millis(idle));
        let call = call.arg(asked.as_millis()).arg(millis(hold)).text(key.id);
        let mut answer = call.run(&self.link).await?;
        let begun = match answer.text()?.as_str() {
            "yours" => BegunRevalidation::Yours {
                grant: answer.text()?,
                obtained: Some(answer.timestamp()?),
            },
            "anothers" => BegunRevalidation::Anothers { until: answer.timestamp()? },
            "paused" => BegunRevalidation::Paused { until: answer.timestamp()? },
            "done" => BegunRevalidation::Done,
            "ended" => BegunRevalidation::Ended,
            _ => return Err(Fault::Corrupt("an answer that begin_revalidation.lua does not give")),
        };
        Ok(answer.dated(begun))
    }

    pub(in crate::store) async fn keep_grant(
        &self,
        key: &SessionKey,
        request: RequestId,
        sealed: &str,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.keep_grant.call(4).text(keys::session(key));
        let call = call.text(keys::subject(&key.subject)).text(keys::standing(&key.subject));
        let call = call.text(keys::grants(&key.subject)).text(request).text(key.id);
        let mut answer = call.arg(sealed).run(&self.link).await?;
        let kept = answer.number()? == 1;
        Ok(answer.dated(kept))
    }

    pub(in crate::store) async fn finish_revalidation(
        &self,
        key: &SessionKey,
        request: RequestId,
        revalidated: &Revalidated,
    ) -> Result<Dated<bool>, Fault> {
        let Revalidated { asked, standing, obtained } = revalidated;
        let call = self.scripts.finish_revalidation.call(3).text(keys::session(key));
        let call = call.text(keys::subject(&key.subject)).text(keys::standing(&key.subject));
        let mut call = call.text(request).text(Maybe(*asked));
        if let Some(new) = standing {
            call = call.text(Maybe(obtained.map(Timestamp::as_millis)));
            call = call.arg(new.subject.issuer()).arg(new.subject.value());
            call = call.arg(new.provider.as_str()).arg(&new.claims).text(new.verdict);
            call = call.arg(&new.decision).arg(millis(new.keep));
        }
        let mut answer = call.run(&self.link).await?;
        let finished = answer.number()? == 1;
        Ok(answer.dated(finished))
    }

    pub(in crate::store) async fn pause_revalidation(
        &self,
        key: &SessionKey,
        request: RequestId,
        pause: Duration,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.pause_revalidation.call(1).text(keys::session(key));
        let answer = call.text(request).arg(millis(pause)).run(&self.link).await?;
        Ok(answer.dated(()))
    }

    pub(in crate::store) async fn take_grants(
        &self,
        subject: &SubjectKey,
    ) -> Result<Dated<TakenGrants>, Fault> {
        let call = self.scripts.take_grants.call(2).text(keys::subject(subject));
        let call = call.text(keys::grants(subject)).text(keys::sessions(subject));
        let mut answer = call.run(&self.link).await?;
        let living = (0..answer.number()?).map(|_| answer.text()).collect::<Result<_, _>>()?;
        let mut taken = Vec::new();
        while !answer.is_over() {
            let id = Digest::parse(&answer.text()?);
            taken.push(TakenGrant {
                id: id.ok_or(Fault::Corrupt("no session's name among a subject's grants"))?,
                sealed: answer.text()?,
            });
        }
        Ok(answer.dated(TakenGrants { taken, living }))
    }
}
