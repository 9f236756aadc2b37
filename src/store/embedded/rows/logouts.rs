//! Logouts that a provider tells of, and what counts only once.

use std::time::Duration;

use redb::ReadableTable;

use super::Rows;
use super::sessions::session_name;
use crate::clock::Timestamp;
use crate::ids::{Digest, Handle, RequestId, SubjectKey};
use crate::store::Store;
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{NewSession, Scope, SessionKey, millis};

/// All sessions of a subject, among what was logged out.
const ALL: &str = "*";
/// Its sessions without a sid.
const NAMELESS: &str = "-";

impl Rows<'_> {
    pub(in crate::store::embedded) fn join_logout(
        &mut self,
        handle: &Handle,
        subject: &SubjectKey,
        since: Timestamp,
        keep: Duration,
    ) -> Result<bool, Trouble> {
        let (handle, subject) = (handle.to_string(), subject.to_string());
        let (over, at, mut joined) = self.joined(&handle)?;
        if at.is_some_and(|at| at >= since.as_millis()) {
            return Ok(false);
        }
        if !joined.contains(&subject) {
            joined.push(subject);
        }
        let over = over.max(self.ms().saturating_add(millis(keep)));
        self.write_joined(&handle, (over, at, joined))?;
        Ok(true)
    }

    pub(in crate::store::embedded) fn log_out_handle(
        &mut self,
        handle: &Handle,
    ) -> Result<Vec<SubjectKey>, Trouble> {
        let handle = handle.to_string();
        let (over, _, joined) = self.joined(&handle)?;
        let mut subjects = Vec::new();
        for subject in &joined {
            let subject = SubjectKey::parse(subject);
            subjects.push(subject.ok_or(Trouble::Corrupt("no subject's key under a handle"))?);
        }
        let over = over.max(self.ms().saturating_add(millis(Store::LOGOUT_MARK)));
        self.write_joined(&handle, (over, Some(self.ms()), joined))?;
        Ok(subjects)
    }

    pub(in crate::store::embedded) fn log_out_subject(
        &mut self,
        subject: &SubjectKey,
        scope: &Scope,
        request: RequestId,
    ) -> Result<(), Trouble> {
        let done = format!("+{request}");
        let mut marks = self.logouts_of(subject)?;
        if marks.iter().any(|(what, _)| *what == done) {
            return Ok(());
        }
        let now = self.ms();
        let patience = millis(Store::LOGOUT_MARK);
        let mut new = vec![done];
        match *scope {
            Scope::All => new.push(ALL.to_owned()),
            Scope::Session { sid, nameless } => {
                new.push(sid.to_string());
                new.extend(nameless.then(|| NAMELESS.to_owned()));
            }
        }
        marks.retain(|(what, at)| now.saturating_sub(*at) <= patience && !new.contains(what));
        marks.extend(new.into_iter().map(|what| (what, now)));
        let row = marks.iter().map(|(what, at)| (what.as_str(), *at)).collect();
        self.written = true;
        self.logouts.insert(subject.to_string().as_str(), (now.saturating_add(patience), row))?;
        match *scope {
            Scope::All => self.end_once_more(subject),
            Scope::Session { sid, nameless } => {
                self.end_named(subject, (&sid.to_string(), nameless), &request.to_string())
            }
        }
    }

    pub(in crate::store::embedded) fn was_spent(&mut self, name: &Digest) -> Result<bool, Trouble> {
        Ok(self.spent_by(name)?.is_some())
    }

    pub(in crate::store::embedded) fn spend_once(
        &mut self,
        name: &Digest,
        keep: Duration,
        request: RequestId,
    ) -> Result<bool, Trouble> {
        let request = request.to_string();
        if let Some(spent_by) = self.spent_by(name)? {
            return Ok(spent_by == request);
        }
        let over = self.ms().saturating_add(millis(keep));
        self.written = true;
        self.spent.insert(name.to_string().as_str(), (over, request.as_str()))?;
        Ok(true)
    }

    pub(in crate::store::embedded) fn unspend(
        &mut self,
        name: &Digest,
        request: RequestId,
    ) -> Result<(), Trouble> {
        if self.spent_by(name)? == Some(request.to_string()) {
            self.written = true;
            self.spent.remove(name.to_string().as_str())?;
        }
        Ok(())
    }

    /// Whether the provider has logged out what is about to be opened.
    pub(super) fn is_logged_out(&self, new: &NewSession) -> Result<bool, Trouble> {
        let sid = new.sid.map(|sid| sid.to_string());
        let begun = new.begun.as_millis();
        Ok(self.logouts_of(&new.key.subject)?.iter().any(|(what, at)| match what.as_str() {
            ALL => *at >= begun,
            NAMELESS => sid.is_none() && *at >= begun,
            other => sid.as_deref() == Some(other),
        }))
    }

    /// Ends all sessions of a subject that has ever been bound: of another none is counted, for that would stay for ever.
    fn end_once_more(&mut self, subject: &SubjectKey) -> Result<(), Trouble> {
        if self.subjects.get(subject.to_string().as_str())?.is_none() {
            return Ok(());
        }
        let binding = self.binding(subject)?.ended();
        self.bind(subject, &binding)
    }

    /// Ends the sessions of a subject with this sid, or without any.
    fn end_named(
        &mut self,
        subject: &SubjectKey,
        (sid, nameless): (&str, bool),
        request: &str,
    ) -> Result<(), Trouble> {
        for (id, mut kept) in self.sessions_of(subject)? {
            let is_meant = kept.sid == sid || nameless && kept.sid.is_empty();
            if is_meant && kept.ended_by.is_none() {
                let name = session_name(&SessionKey { subject: *subject, id });
                self.end(&name, &mut kept, request.to_owned())?;
            }
        }
        Ok(())
    }

    /// What was logged out of a subject's, and when.
    fn logouts_of(&self, subject: &SubjectKey) -> Result<Vec<(String, u64)>, Trouble> {
        let row = self.logouts.get(subject.to_string().as_str())?;
        let row = row.filter(|row| row.value().0 >= self.ms());
        let own = |(what, at): (&str, u64)| (what.to_owned(), at);
        Ok(row.map_or_else(Vec::new, |row| row.value().1.into_iter().map(own).collect()))
    }

    /// A handle's row; an empty one when there is none, or it is over.
    fn joined(&self, handle: &str) -> Result<(u64, Option<u64>, Vec<String>), Trouble> {
        let row = self.handles.get(handle)?.filter(|row| row.value().0 >= self.ms());
        Ok(row.map_or((0, None, Vec::new()), |row| {
            let (over, at, joined) = row.value();
            (over, at, joined.into_iter().map(str::to_owned).collect())
        }))
    }

    fn write_joined(
        &mut self,
        handle: &str,
        (over, at, joined): (u64, Option<u64>, Vec<String>),
    ) -> Result<(), Trouble> {
        self.written = true;
        self.handles.insert(handle, (over, at, joined.iter().map(String::as_str).collect()))?;
        Ok(())
    }

    fn spent_by(&self, name: &Digest) -> Result<Option<String>, Trouble> {
        let row = self.spent.get(name.to_string().as_str())?;
        let row = row.filter(|row| row.value().0 >= self.ms());
        Ok(row.map(|row| row.value().1.to_owned()))
    }
}
