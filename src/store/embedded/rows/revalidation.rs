//! Asking a provider again: who does stands in the session's own row.

use std::time::Duration;

use redb::ReadableTable;

use super::sessions::{Kept, session_name};
use super::{Rows, checked_brief};
use crate::clock::Timestamp;
use crate::ids::{Digest, RequestId, SubjectKey};
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{
    BegunRevalidation, Revalidated, SessionKey, TakenGrant, TakenGrants, millis,
};

/// Stands in place of a request when nobody asks for a while.
const NOBODY: &str = "-";

impl Rows<'_> {
    pub(in crate::store::embedded) fn begin_revalidation(
        &mut self,
        key: &SessionKey,
        asked: Timestamp,
        (idle, hold): (Duration, Duration),
        request: RequestId,
    ) -> Result<BegunRevalidation, Trouble> {
        let (name, request) = (session_name(key), request.to_string());
        let Some(mut kept) = self.living(key, idle)? else { return Ok(BegunRevalidation::Ended) };
        if kept.session.asked.is_none_or(|last| last.at != asked) {
            return Ok(BegunRevalidation::Done);
        }
        let (holder, till) = &kept.holder;
        if *holder != request && self.ms() < *till {
            let until = Timestamp::from_millis(*till);
            return Ok(match holder.as_str() {
                NOBODY => BegunRevalidation::Paused { until },
                _ => BegunRevalidation::Anothers { until },
            });
        }
        let grant = self.grants.get(name.as_str())?.map(|row| row.value().1.to_owned());
        let Some(grant) = grant else {
            // Lost: nobody can ask with what is not there, and whoever uses the session is to know.
            kept.session.asked = None;
            self.rewrite(&name, &kept)?;
            return Ok(BegunRevalidation::Done);
        };
        let brief = self.standing_under(key, &kept, |(_, brief, ..)| checked_brief(brief))?;
        kept.holder = (request, self.ms().saturating_add(millis(hold)));
        self.rewrite(&name, &kept)?;
        Ok(BegunRevalidation::Yours { grant, obtained: brief.map(|(_, obtained)| obtained) })
    }

    pub(in crate::store::embedded) fn keep_grant(
        &mut self,
        key: &SessionKey,
        request: RequestId,
        sealed: &str,
    ) -> Result<bool, Trouble> {
        match self.asked_about(key)? {
            Some(kept) if kept.is_held_by(request) => {
                self.write_grant(&session_name(key), &kept, sealed)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(in crate::store::embedded) fn finish_revalidation(
        &mut self,
        key: &SessionKey,
        request: RequestId,
        revalidated: &Revalidated,
    ) -> Result<bool, Trouble> {
        let Some(mut kept) = self.asked_about(key)? else { return Ok(false) };
        let asked = revalidated.asked;
        // Nobody else asked at the same moment, for that would have been under this request's hold: a moment that is there is its own.
        let is_done = match asked {
            None => kept.holder == (request.to_string(), 0),
            Some(_) => kept.holder.0.is_empty() && kept.session.asked == asked,
        };
        if is_done || !kept.is_held_by(request) {
            return Ok(is_done);
        }
        kept.holder = match asked {
            None => (request.to_string(), 0),
            Some(_) => (String::new(), 0),
        };
        kept.session.asked = asked;
        self.rewrite(&session_name(key), &kept)?;
        if let Some(new) = &revalidated.standing
            && !self.denies(new, revalidated.obtained)?
        {
            self.write_standing(new, new.keep)?;
        }
        Ok(true)
    }

    pub(in crate::store::embedded) fn pause_revalidation(
        &mut self,
        key: &SessionKey,
        request: RequestId,
        pause: Duration,
    ) -> Result<(), Trouble> {
        let name = session_name(key);
        let Some(mut kept) = self.kept(&name)? else { return Ok(()) };
        if !kept.is_held_by(request) {
            return Ok(());
        }
        kept.holder = (NOBODY.to_owned(), self.ms().saturating_add(millis(pause)));
        self.rewrite(&name, &kept)
    }

    pub(in crate::store::embedded) fn take_grants(
        &mut self,
        subject: &SubjectKey,
    ) -> Result<TakenGrants, Trouble> {
        let binding = self.binding(subject)?;
        let (mut taken, mut living) = (Vec::new(), Vec::new());
        // After the dot comes the slash.
        let (from, to) = (format!("{subject}."), format!("{subject}/"));
        for row in self.grants.range::<&str>(from.as_str()..to.as_str())? {
            let (name, row) = row?;
            let (over, sealed) = row.value();
            let session = self.kept(name.value())?;
            let session = session.filter(|kept| {
                kept.ended_by.is_none()
                    && self.ms() < kept.session.ends.as_millis()
                    && kept.binding == binding
            });
            if over < self.ms() {
                continue;
            }
            if let Some(kept) = session {
                living.push(kept.sid);
                continue;
            }
            let id = name.value().rsplit('.').next().and_then(Digest::parse);
            let id = id.ok_or(Trouble::Corrupt("no session's name in a key"))?;
            taken.push(TakenGrant { id, sealed: sealed.to_owned() });
        }
        for TakenGrant { id, .. } in &taken {
            self.written = true;
            self.grants
                .remove(session_name(&SessionKey { subject: *subject, id: *id }).as_str())?;
        }
        Ok(TakenGrants { taken, living })
    }

    /// Keeps what the provider gave for a session, as long as that can last.
    pub(super) fn write_grant(
        &mut self,
        name: &str,
        kept: &Kept,
        sealed: &str,
    ) -> Result<(), Trouble> {
        self.written = true;
        self.grants.insert(name, (kept.session.ends.as_millis(), sealed))?;
        Ok(())
    }

    /// The session, if it lives. How long it has lain idle was asked when somebody took it.
    fn asked_about(&self, key: &SessionKey) -> Result<Option<Kept>, Trouble> {
        let Some(kept) = self.kept(&session_name(key))? else { return Ok(None) };
        if kept.ended_by.is_some() || self.ms() >= kept.session.ends.as_millis() {
            return Ok(None);
        }
        Ok(self.standing_under(key, &kept, |_| Ok(()))?.map(|()| kept))
    }
}

impl Kept {
    /// Whether `request` is the one that asks the provider about it.
    fn is_held_by(&self, request: RequestId) -> bool {
        self.holder.1 != 0 && self.holder.0 == request.to_string()
    }
}
