//! Whose an identity is, on Redis: claims in one slot, bindings in another.

use super::script::Answer;
use super::{Redis, checked_binding, checked_brief, keys};
use crate::ids::{Identity, ProviderName, Subject, SubjectKey};
use crate::store::steps::{Binding, Claim, Found, Owner, Whose};
use crate::store::{Dated, Fault};

impl Redis {
    pub(in crate::store) async fn find_identity(
        &self,
        subject: &SubjectKey,
        provider: Option<&ProviderName>,
    ) -> Result<Dated<Found>, Fault> {
        let call = self.scripts.find_identity.call(2).text(keys::subject(subject));
        let call =
            call.text(keys::standing(subject)).arg(provider.map_or("", ProviderName::as_str));
        let mut answer = call.run(&self.link).await?;
        let binding = checked_binding(answer.maybe_text()?.as_deref())?;
        let brief = answer.maybe_text()?.as_deref().map(checked_brief).transpose()?;
        Ok(answer.dated(Found { binding, obtained: brief.map(|(_, obtained)| obtained) }))
    }

    pub(in crate::store) async fn find_subject(
        &self,
        identity: &Identity,
    ) -> Result<Dated<Whose>, Fault> {
        let call = self.scripts.find_subject.call(1).text(keys::claim(identity));
        let mut answer = call.run(&self.link).await?;
        let whose = read_whose(&mut answer)?;
        Ok(answer.dated(whose))
    }

    pub(in crate::store) async fn claim_identity(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Dated<Claim>, Fault> {
        let call = self.scripts.claim_identity.call(1).text(keys::claim(identity));
        let call = call.text(subject.key()).arg(subject.issuer()).arg(subject.value());
        let mut answer = call.run(&self.link).await?;
        let claim = match answer.number()? {
            1 => Claim::Ours,
            2 => Claim::Blocked,
            _ => Claim::Anothers,
        };
        Ok(answer.dated(claim))
    }

    pub(in crate::store) async fn bind_identity(
        &self,
        subject: &SubjectKey,
        found: &Binding,
        identity: &Identity,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.bind_identity.call(1).text(keys::subject(subject));
        let mut answer = call.text(found).text(found.to(identity)).run(&self.link).await?;
        let bound = answer.number()? == 1;
        Ok(answer.dated(bound))
    }

    pub(in crate::store) async fn begin_move(
        &self,
        identity: &Identity,
        from: &SubjectKey,
        to: &Subject,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.begin_move.call(1).text(keys::claim(identity)).text(from);
        let call = call.text(to.key()).arg(to.issuer()).arg(to.value());
        let mut answer = call.run(&self.link).await?;
        let begun = answer.number()? == 1;
        Ok(answer.dated(begun))
    }

    pub(in crate::store) async fn retire_subject(
        &self,
        from: &SubjectKey,
        identity: &Identity,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.retire_subject.call(1).text(keys::subject(from));
        let mut answer = call.text(identity).run(&self.link).await?;
        let retired = answer.number()? == 1;
        Ok(answer.dated(retired))
    }

    pub(in crate::store) async fn finish_move(
        &self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.finish_move.call(1).text(keys::claim(identity));
        let call = call.text(to.key()).arg(to.issuer()).arg(to.value());
        let mut answer = call.run(&self.link).await?;
        let finished = answer.number()? == 1;
        Ok(answer.dated(finished))
    }

    pub(in crate::store) async fn bind_subject(
        &self,
        to: &SubjectKey,
        identity: &Identity,
        endings: u64,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.bind_subject.call(1).text(keys::subject(to));
        let mut answer = call.text(identity).arg(endings).run(&self.link).await?;
        let bound = answer.number()? == 1;
        Ok(answer.dated(bound))
    }

    pub(in crate::store) async fn mark_identity(
        &self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Dated<Whose>, Fault> {
        let call = self.scripts.mark_identity.call(1).text(keys::claim(identity));
        let mut answer = call.arg(u8::from(blocked)).run(&self.link).await?;
        let whose = read_whose(&mut answer)?;
        Ok(answer.dated(whose))
    }

    pub(in crate::store) async fn mark_subject(
        &self,
        subject: &SubjectKey,
        identity: &Identity,
        unblocked: Option<u64>,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.mark_subject.call(1).text(keys::subject(subject));
        let endings = unblocked.map(|endings| endings.to_string()).unwrap_or_default();
        let answer = call.text(identity).arg(endings).run(&self.link).await?;
        Ok(answer.dated(()))
    }

    pub(in crate::store) async fn end_all_sessions(
        &self,
        subject: &SubjectKey,
        endings: u64,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.end_all_sessions.call(1).text(keys::subject(subject));
        let answer = call.arg(endings).run(&self.link).await?;
        Ok(answer.dated(()))
    }
}

/// The next five values: whether an identity is blocked, and whose it is.
fn read_whose(answer: &mut Answer) -> Result<Whose, Fault> {
    let blocked = answer.number()? == 1;
    let (subject, moving_to) = (read_subject(answer)?, read_subject(answer)?);
    Ok(Whose { owner: subject.map(|subject| Owner { subject, moving_to }), blocked })
}

/// The next two values, a subject's issuer and value, or `None` when there are none.
fn read_subject(answer: &mut Answer) -> Result<Option<Subject>, Fault> {
    match (answer.maybe_text()?, answer.maybe_text()?) {
        (None, None) => Ok(None),
        (issuer, value) => super::checked_subject(issuer, value).map(Some),
    }
}
