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
    Binding, Judged, NewSession, OpenedSession, Outcome, Session, SessionKey, UseTerms,
    UsedSession, millis,
};

/// A session's row, taken out of the table.
pub(super) struct Kept {
    pub(super) session: Session,
    binding: Binding,
    pub(super) label: String,
    untouched_us: u64,
    used_by: String,
    /// The request that ended all others of the subject.
    pub(super) cleared_by: String,
    pub(super) ended_by: Option<String>,
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
        let subject = &new.key.subject;
        let before = self.binding(subject)?;
        let binding = new.found.binding.to(&new.identity);
        let is_as_found = before == new.found.binding || before == binding;
        if !is_as_found || before.blocked || self.denies(new)? {
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
        };
        let kept = Kept {
            session,
            binding,
            label: new.label.clone(),
            untouched_us: 0,
            used_by: String::new(),
            cleared_by: String::new(),
            ended_by: None,
        };
        self.keep(&name, kept.over(new.idle), &kept)?;
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
        let judged = self.standing_under(key, &kept, |(_, brief, ..)| {
            let (verdict, obtained) = checked_brief(brief)?;
            Ok(Judged { verdict, obtained })
        })?;
        let Some(judged) = judged else { return Ok(UsedSession::Ended) };
        let request = request.to_string();
        if kept.used_by == request {
            return Ok(UsedSession::Live(kept.session, judged));
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
            self.keep(&name, kept.over(terms.idle), &kept)?;
        }
        Ok(UsedSession::Live(kept.session, judged))
    }

    pub(in crate::store::embedded) fn read_session(
        &mut self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Option<(Session, String)>, Trouble> {
        let kept = self.kept(&session_name(key))?.filter(|kept| kept.lives(self.ms(), idle));
        let Some(kept) = kept else { return Ok(None) };
        let decision = self.standing_under(key, &kept, |(.., decision)| Ok(decision.to_owned()))?;
        Ok(decision.map(|decision| (kept.session, decision)))
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
        self.keep(name, self.ms().saturating_add(millis(Store::TOMBSTONE)), kept)
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

    /// Whether other claims than those that were found have been denied at the session's provider.
    fn denies(&self, new: &NewSession) -> Result<bool, Trouble> {
        let kept =
            self.standing_at(&new.key.subject, &new.standing.provider, |(_, brief, ..)| {
                checked_brief(brief)
            })?;
        Ok(kept.is_some_and(|(verdict, obtained)| {
            matches!(verdict.outcome, Outcome::Denied { .. })
                && new.found.obtained != Some(obtained)
        }))
    }

    /// What `read` makes of the standing that a session stands on; `None` when there is none, or its subject is another than when
    /// it began.
    fn standing_under<T>(
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
        let (over, person, times, untouched_us, (used_by, cleared_by), ended_by) = row;
        if over < self.ms() {
            return Ok(None);
        }
        let (binding, provider, label) = person;
        let (since, last_used, ends) = times;
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
        };
        Ok(Some(Kept {
            session,
            binding,
            label: label.to_owned(),
            untouched_us,
            used_by: used_by.to_owned(),
            cleared_by: cleared_by.to_owned(),
            ended_by: ended_by.map(str::to_owned),
        }))
    }

    pub(super) fn keep(&mut self, name: &str, over: u64, kept: &Kept) -> Result<(), Trouble> {
        let session = &kept.session;
        let binding = kept.binding.to_string();
        let person = (binding.as_str(), session.provider.as_str(), kept.label.as_str());
        let times =
            (session.since.as_millis(), session.last_used.as_millis(), session.ends.as_millis());
        let requests = (kept.used_by.as_str(), kept.cleared_by.as_str());
        let row = (over, person, times, kept.untouched_us, requests, kept.ended_by.as_deref());
        self.written = true;
        self.sessions.insert(name, row)?;
        Ok(())
    }
}

impl Kept {
    /// When the row is over: at the session's end or when it has lain idle, whichever is first.
    pub(super) fn over(&self, idle: Duration) -> u64 {
        self.session.ends.min(self.session.last_used.plus(idle)).as_millis()
    }

    fn lives(&self, now: u64, idle: Duration) -> bool {
        self.ended_by.is_none() && now < self.over(idle)
    }
}

pub(super) fn session_name(key: &SessionKey) -> String {
    format!("{}.{}", key.subject, key.id)
}
