//! Sessions on Redis: all of them in their subject's slot, beside what is remembered of it.

use std::time::Duration;

use super::script::{Answer, Maybe};
use super::{Redis, checked_binding, checked_brief, keys};
use crate::clock::Timestamp;
use crate::ids::{Digest, ProviderName, RequestId};
use crate::store::steps::{
    Asked, EndedSession, ListedSession, NewSession, OpenedSession, Rate, Session, SessionKey,
    UseTerms, UsedSession, Verdict, Way, millis,
};
use crate::store::{Dated, Fault, Store};

impl Redis {
    pub(in crate::store) async fn open_session(
        &self,
        new: &NewSession,
    ) -> Result<Dated<OpenedSession>, Fault> {
        let (key, standing, binding) = (&new.key, &new.standing, &new.found.binding);
        let obtained = new.found.obtained.map_or(String::new(), |at| at.as_millis().to_string());
        let call = self.scripts.open_session.call(6).text(keys::session(key));
        let call = call.text(keys::subject(&key.subject)).text(keys::standing(&key.subject));
        let call = call.text(keys::devices(&key.subject)).text(keys::grants(&key.subject));
        let call = call.text(keys::logouts(&key.subject));
        let call = call.text(binding).text(binding.to(&new.identity)).arg(obtained);
        let call = call.arg(millis(new.lifetime)).arg(millis(new.idle));
        let call = call.arg(standing.subject.issuer()).arg(standing.subject.value());
        let call = call.arg(standing.provider.as_str()).arg(&standing.claims);
        let call = call.text(standing.verdict).arg(&standing.decision).arg(millis(standing.keep));
        let call = call.text(key.id).arg(&new.label).arg(new.most).arg(millis(Store::TOMBSTONE));
        let way = match new.way.filter(|_| new.grant.is_some()) {
            None => String::new(),
            Some(Way::Refresh) => "r".to_owned(),
            Some(Way::Userinfo { until }) => until.as_millis().to_string(),
        };
        let call = call.arg(new.begun.as_millis()).text(Maybe(new.sid)).arg(way);
        let mut answer = call.arg(new.grant.as_deref().unwrap_or("")).run(&self.link).await?;
        let opened = match answer.number()? {
            1 => OpenedSession::Opened(read_session(&mut answer)?),
            2 => OpenedSession::LoggedOut,
            _ => OpenedSession::Overtaken,
        };
        Ok(answer.dated(opened))
    }

    pub(in crate::store) async fn use_session(
        &self,
        key: &SessionKey,
        terms: &UseTerms,
        request: RequestId,
    ) -> Result<Dated<UsedSession>, Fault> {
        let call = self.scripts.use_session.call(3).text(keys::session(key));
        let call = call.text(keys::subject(&key.subject)).text(keys::standing(&key.subject));
        let call = call.text(request);
        let call = call.arg(millis(terms.idle)).arg(millis(terms.grain()));
        let call = call
            .arg(terms.limit.map_or(0, Rate::interval_us))
            .arg(terms.limit.map_or(0, Rate::burst_us));
        let mut answer = call.run(&self.link).await?;
        let used = match answer.number()? {
            2 => {
                let session = read_session(&mut answer)?;
                UsedSession::Live(session, checked_brief(&answer.text()?)?.0)
            }
            1 => UsedSession::Limited { after: Duration::from_micros(answer.number()?) },
            _ => UsedSession::Ended,
        };
        Ok(answer.dated(used))
    }

    pub(in crate::store) async fn read_session(
        &self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<(Session, Verdict, String)>>, Fault> {
        let call = self.scripts.read_session.call(3).text(keys::session(key));
        let call = call.text(keys::subject(&key.subject)).text(keys::standing(&key.subject));
        let call = call.arg(millis(idle));
        let mut answer = call.run(&self.link).await?;
        let read = if answer.is_over() {
            None
        } else {
            let session = read_session(&mut answer)?;
            Some((session, checked_brief(&answer.text()?)?.0, answer.text()?))
        };
        Ok(answer.dated(read))
    }

    pub(in crate::store) async fn end_session(
        &self,
        key: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.end_session.call(4).text(keys::session(key));
        let call = call.text(keys::subject(&key.subject)).text(keys::standing(&key.subject));
        let call = call.text(keys::devices(&key.subject)).text(request);
        let call = call.arg(millis(idle)).arg(millis(Store::TOMBSTONE)).text(key.id);
        let mut answer = call.run(&self.link).await?;
        let lived = answer.number()? == 1;
        Ok(answer.dated(lived))
    }

    pub(in crate::store) async fn list_sessions(
        &self,
        asker: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<Vec<ListedSession>>>, Fault> {
        let call = self.scripts.list_sessions.call(4).text(keys::session(asker));
        let call = call.text(keys::subject(&asker.subject)).text(keys::standing(&asker.subject));
        let call = call.text(keys::devices(&asker.subject));
        let call = call.arg(millis(idle)).text(asker.id);
        let mut answer = call.run(&self.link).await?;
        if answer.number()? == 0 {
            return Ok(answer.dated(None));
        }
        let mut listed = Vec::new();
        while !answer.is_over() {
            let id = Digest::parse(&answer.text()?);
            listed.push(ListedSession {
                id: id.ok_or(Fault::Corrupt("no session's name among a subject's devices"))?,
                session: read_session(&mut answer)?,
                label: answer.text()?,
            });
        }
        Ok(answer.dated(Some(listed)))
    }

    pub(in crate::store) async fn end_listed_session(
        &self,
        asker: &SessionKey,
        id: &Digest,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<EndedSession>, Fault> {
        let SessionKey { subject, .. } = *asker;
        let call = self.scripts.end_listed_session.call(5).text(keys::session(asker));
        let call = call.text(keys::subject(&subject)).text(keys::standing(&subject));
        let call = call.text(keys::devices(&subject));
        let call = call.text(keys::session(&SessionKey { subject, id: *id })).text(request);
        let call = call.arg(millis(idle)).arg(millis(Store::TOMBSTONE)).text(id);
        let mut answer = call.run(&self.link).await?;
        let ended = match answer.number()? {
            2 => EndedSession::Ended,
            1 => EndedSession::NoSuch,
            _ => EndedSession::AskerEnded,
        };
        Ok(answer.dated(ended))
    }

    pub(in crate::store) async fn end_other_sessions(
        &self,
        asker: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.end_other_sessions.call(4).text(keys::session(asker));
        let call = call.text(keys::subject(&asker.subject)).text(keys::standing(&asker.subject));
        let call = call.text(keys::devices(&asker.subject)).text(request);
        let call = call.arg(millis(idle)).arg(millis(Store::TOMBSTONE)).text(asker.id);
        let mut answer = call.run(&self.link).await?;
        let lived = answer.number()? == 1;
        Ok(answer.dated(lived))
    }
}

/// The next five values, which every script gives in the same order: the card, the provider, when it was last used, when it ends, and
/// when the provider was asked about it, if that can be asked again.
fn read_session(answer: &mut Answer) -> Result<Session, Fault> {
    let card = answer.text()?;
    let (since, binding) =
        card.split_once(' ').ok_or(Fault::Corrupt("a part is missing from a session's card"))?;
    let identity = checked_binding(Some(binding))?.identity;
    let since = since.parse().map_err(|_| Fault::Corrupt("no moment on a session's card"))?;
    Ok(Session {
        since: Timestamp::from_millis(since),
        identity: identity.ok_or(Fault::Corrupt("no identity on a session's card"))?,
        provider: ProviderName::parse(&answer.text()?)
            .ok_or(Fault::Corrupt("no provider's name in a session"))?,
        last_used: answer.timestamp()?,
        ends: answer.timestamp()?,
        asked: answer.maybe_text()?.as_deref().map(checked_asked).transpose()?,
    })
}

fn checked_asked(text: &str) -> Result<Asked, Fault> {
    Asked::read(text).ok_or(Fault::Corrupt("no moment of asking where one belongs"))
}
