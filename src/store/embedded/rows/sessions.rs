//! Sessions.

use std::time::Duration;

use redb::{ReadableTable, Value};

use super::limits::count;
use super::standings::Part;
use super::{Rows, SessionRow, checked_binding, checked_brief, checked_provider};
use crate::clock::Timestamp;
use crate::ids::RequestId;
use crate::store::Store;
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{
    Asked, Binding, NewSession, NewStanding, OpenedSession, Outcome, Session, SessionKey, UseTerms,
    UsedSession, Verdict, millis,
};

/// A session's row, taken out of the table.
pub(super) struct Kept {
    /// When the row is over.
    over: u64,
    pub(super) session: Session,
    pub(super) binding: Binding,
    pub(super) label: String,
    untouched_us: u64,
    used_by: String,
    /// The request that ended all others of the subject.
    pub(super) cleared_by: String,
    pub(super) ended_by: Option<String>,
    /// The handle of the provider's sid; empty for none.
    pub(super) sid: String,
    /// The request that asks the provider now, and until when it may, as in the row.
    pub(super) holder: (String, u64),
}

impl Rows<'_> {
    pub(in crate::store::embedded) fn open_session(
        &mut self,
        new: &NewSession,
    ) -> Result<OpenedSession, Trouble> {
        let name = session_name(&new.key);
        if let Some(kept) = self.kept(&name)? {
            return Ok(OpenedSession::Opened(kept.session));
        }
        if self.is_logged_out(new)? {
            return Ok(OpenedSession::LoggedOut);
        }
        let subject = &new.key.subject;
        let before = self.binding(subject)?;
        let binding = new.found.binding.to(&new.identity);
        let is_as_found = before == new.found.binding || before == binding;
        if !is_as_found || before.blocked || self.denies(&new.standing, new.found.obtained)? {
            return Ok(OpenedSession::Overtaken);
        }
        self.bind(subject, &binding)?;
        self.make_room(new)?;
        let now = Timestamp::from_millis(self.ms());
        let session = Session {
            identity: new.identity.clone(),
            provider: new.standing.provider.clone(),
            since: now,
            last_used: now,
            ends: now.plus(new.lifetime),
            asked: new.asked(now),
        };
        let mut kept = Kept {
            over: 0,
            session,
            binding,
            label: new.label.clone(),
            untouched_us: 0,
            used_by: String::new(),
            cleared_by: String::new(),
            ended_by: None,
            sid: new.sid.map(|sid| sid.to_string()).unwrap_or_default(),
            holder: (String::new(), 0),
        };
        kept.over = kept.over(new.idle);
        self.rewrite(&name, &kept)?;
        if let Some(grant) = &new.grant {
            self.write_grant(&name, &kept, grant)?;
        }
        self.write_standing(&new.standing, new.standing.keep.max(new.lifetime))?;
        Ok(OpenedSession::Opened(kept.session))
    }

    pub(in crate::store::embedded) fn use_session(
        &mut self,
        key: &SessionKey,
        terms: &UseTerms,
        request: RequestId,
    ) -> Result<UsedSession, Trouble> {
        let name = session_name(key);
        let Some(mut kept) = self.kept(&name)?.filter(|kept| kept.lives(self.ms(), terms.idle))
        else {
            return Ok(UsedSession::Ended);
        };
        let brief = self.standing_under(key, &kept, |(_, brief, ..)| checked_brief(brief))?;
        let Some((verdict, _)) = brief else { return Ok(UsedSession::Ended) };
        let request = request.to_string();
        if kept.used_by == request {
            return Ok(UsedSession::Live(kept.session, verdict));
        }
        let now = Timestamp::from_millis(self.ms());
        let stale = kept.session.last_used.until(now) >= terms.grain();
        if stale {
            kept.session.last_used = now;
        }
        if let Some(rate) = terms.limit {
            match count(kept.untouched_us, self.us, rate) {
                Ok(untouched_us) => kept.untouched_us = untouched_us,
                Err(after) => return Ok(UsedSession::Limited { after }),
            }
            kept.used_by = request;
        }
        if stale || terms.limit.is_some() {
            kept.over = kept.over(terms.idle);
            self.rewrite(&name, &kept)?;
        }
        Ok(UsedSession::Live(kept.session, verdict))
    }

    pub(in crate::store::embedded) fn read_session(
        &mut self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Option<(Session, Verdict, String)>, Trouble> {
        let kept = self.kept(&session_name(key))?.filter(|kept| kept.lives(self.ms(), idle));
        let Some(kept) = kept else { return Ok(None) };
        let stood = self.standing_under(key, &kept, |(_, brief, _, decision)| {
            Ok((checked_brief(brief)?.0, decision.to_owned()))
        })?;
        Ok(stood.map(|(verdict, decision)| (kept.session, verdict, decision)))
    }

    pub(in crate::store::embedded) fn end_session(
        &mut self,
        key: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<bool, Trouble> {
        let name = session_name(key);
        let request = request.to_string();
        let Some(mut kept) = self.kept(&name)? else { return Ok(false) };
        if kept.ended_by.as_ref() == Some(&request) {
            return Ok(true);
        }
        if !kept.lives(self.ms(), idle) || self.standing_under(key, &kept, |_| Ok(()))?.is_none() {
            return Ok(false);
        }
        self.end(&name, &mut kept, request)?;
        Ok(true)
    }

    /// Leaves a tombstone of a session.
    pub(super) fn end(&mut self, name: &str, kept: &mut Kept, by: String) -> Result<(), Trouble> {
        kept.ended_by = Some(by);
        kept.over = self.ms().saturating_add(millis(Store::TOMBSTONE));
        self.rewrite(name, kept)
    }

    /// The session, if it lives.
    pub(super) fn living(&self, key: &SessionKey, idle: Duration) -> Result<Option<Kept>, Trouble> {
        let Some(kept) = self.kept(&session_name(key))? else { return Ok(None) };
        Ok(self.stands(key, &kept, idle)?.then_some(kept))
    }

    /// Whether a session of the key's subject lives.
    pub(super) fn stands(
        &self,
        key: &SessionKey,
        kept: &Kept,
        idle: Duration,
    ) -> Result<bool, Trouble> {
        Ok(kept.lives(self.ms(), idle) && self.standing_under(key, kept, |_| Ok(()))?.is_some())
    }

    /// Whether other claims than those that were found have been denied where `new` is from.
    pub(super) fn denies(
        &self,
        new: &NewStanding,
        found: Option<Timestamp>,
    ) -> Result<bool, Trouble> {
        let read = |(_, brief, ..): Part<'_>| checked_brief(brief);
        let kept = self.standing_at(&new.subject.key(), &new.provider, read)?;
        Ok(kept.is_some_and(|(verdict, obtained)| {
            matches!(verdict.outcome, Outcome::Denied { .. }) && found != Some(obtained)
        }))
    }

    /// What `read` makes of the standing that a session stands on; `None` when there is none, or its subject is another than when
    /// it began.
    pub(super) fn standing_under<T>(
        &self,
        key: &SessionKey,
        kept: &Kept,
        read: impl FnOnce(Part<'_>) -> Result<T, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        if self.binding(&key.subject)? != kept.binding {
            return Ok(None);
        }
        self.standing_at(&key.subject, &kept.session.provider, read)
    }

    /// A session's row, unless it is over.
    pub(super) fn kept(&self, name: &str) -> Result<Option<Kept>, Trouble> {
        let Some(row) = self.sessions.get(name)? else { return Ok(None) };
        self.read(row.value())
    }

    pub(super) fn read(
        &self,
        row: <SessionRow as Value>::SelfType<'_>,
    ) -> Result<Option<Kept>, Trouble> {
        let (over, person, times, untouched_us, (used_by, cleared_by), ended_by, asking) = row;
        if over < self.ms() {
            return Ok(None);
        }
        let (binding, provider, label) = person;
        let (since, last_used, ends) = times;
        let (asked, sid, (holder, till)) = asking;
        let binding = checked_binding(binding)?;
        let session = Session {
            identity: binding
                .identity
                .clone()
                .ok_or(Trouble::Corrupt("no identity in a session"))?,
            provider: checked_provider(provider)?,
            since: Timestamp::from_millis(since),
            last_used: Timestamp::from_millis(last_used),
            ends: Timestamp::from_millis(ends),
            asked: checked_asked(asked)?,
        };
        Ok(Some(Kept {
            over,
            session,
            binding,
            label: label.to_owned(),
            untouched_us,
            used_by: used_by.to_owned(),
            cleared_by: cleared_by.to_owned(),
            ended_by: ended_by.map(str::to_owned),
            sid: sid.to_owned(),
            holder: (holder.to_owned(), till),
        }))
    }

    pub(super) fn rewrite(&mut self, name: &str, kept: &Kept) -> Result<(), Trouble> {
        let session = &kept.session;
        let binding = kept.binding.to_string();
        let person = (binding.as_str(), session.provider.as_str(), kept.label.as_str());
        let times =
            (session.since.as_millis(), session.last_used.as_millis(), session.ends.as_millis());
        let requests = (kept.used_by.as_str(), kept.cleared_by.as_str());
        let asked = session.asked.map(|asked| asked.to_string()).unwrap_or_default();
        let asking = (asked.as_str(), kept.sid.as_str(), (kept.holder.0.as_str(), kept.holder.1));
        let ended_by = kept.ended_by.as_deref();
        let row = (kept.over, person, times, kept.untouched_us, requests, ended_by, asking);
        self.written = true;
        self.sessions.insert(name, row)?;
        Ok(())
    }
}

impl Kept {
    /// When the session is over: at its end or when it has lain idle, whichever is first.
    pub(super) fn over(&self, idle: Duration) -> u64 {
        self.session.ends.min(self.session.last_used.plus(idle)).as_millis()
    }

    fn lives(&self, now: u64, idle: Duration) -> bool {
        self.ended_by.is_none() && now < self.over(idle)
    }
}

fn checked_asked(text: &str) -> Result<Option<Asked>, Trouble> {
    let asked = || Asked::read(text).ok_or(Trouble::Corrupt("no moment of asking in a session"));
    (!text.is_empty()).then(asked).transpose()
}

pub(super) fn session_name(key: &SessionKey) -> String {
    format!("{}.{}", key.subject, key.id)
}
