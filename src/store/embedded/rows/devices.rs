//! Sessions among all those of their subject: they stand side by side in the table.

use std::time::Duration;

use redb::{Range, ReadableTable};

use super::sessions::{Kept, session_name};
use super::{Rows, SessionRow};
use crate::ids::{Digest, RequestId, SubjectKey};
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{EndedSession, ListedSession, NewSession, SessionKey};

impl Rows<'_> {
    pub(in crate::store::embedded) fn list_sessions(
        &mut self,
        asker: &SessionKey,
        idle: Duration,
    ) -> Result<Option<Vec<ListedSession>>, Trouble> {
        if self.living(asker, idle)?.is_none() {
            return Ok(None);
        }
        let mut listed = Vec::new();
        for (id, kept) in self.sessions_of(&asker.subject)? {
            if self.stands(asker, &kept, idle)? {
                listed.push(ListedSession { id, label: kept.label, session: kept.session });
            }
        }
        Ok(Some(listed))
    }

    pub(in crate::store::embedded) fn end_listed_session(
        &mut self,
        asker: &SessionKey,
        id: &Digest,
        idle: Duration,
        request: RequestId,
    ) -> Result<EndedSession, Trouble> {
        let other = SessionKey { id: *id, ..*asker };
        let (name, request) = (session_name(&other), request.to_string());
        // First, for what asks may be what this request has ended.
        if self.kept(&name)?.is_some_and(|kept| kept.ended_by.as_ref() == Some(&request)) {
            return Ok(EndedSession::Ended);
        }
        if self.living(asker, idle)?.is_none() {
            return Ok(EndedSession::AskerEnded);
        }
        let Some(mut kept) = self.living(&other, idle)? else { return Ok(EndedSession::NoSuch) };
        self.end(&name, &mut kept, request)?;
        Ok(EndedSession::Ended)
    }

    pub(in crate::store::embedded) fn end_other_sessions(
        &mut self,
        asker: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<bool, Trouble> {
        let request = request.to_string();
        let Some(mut own) = self.living(asker, idle)? else { return Ok(false) };
        if own.cleared_by == request {
            return Ok(true);
        }
        for (id, mut kept) in self.sessions_of(&asker.subject)? {
            if id != asker.id && kept.ended_by.is_none() {
                self.end(&session_name(&SessionKey { id, ..*asker }), &mut kept, request.clone())?;
            }
        }
        own.cleared_by = request;
        self.rewrite(&session_name(asker), &own)?;
        Ok(true)
    }

    /// Ends what would be over first, until a session more is not too many.
    pub(super) fn make_room(&mut self, new: &NewSession) -> Result<(), Trouble> {
        let most = usize::try_from(new.most).unwrap_or(usize::MAX);
        // Counted before anything is read: mostly they are few, and that is all.
        if self.rows_of(&new.key.subject)?.count() < most {
            return Ok(());
        }
        let mut live = Vec::new();
        for row in self.rows_of(&new.key.subject)? {
            let (name, row) = row?;
            let (over, .., ended_by, _) = row.value();
            if over >= self.ms() && ended_by.is_none() {
                live.push((over, name.value().to_owned()));
            }
        }
        live.sort_unstable();
        for (_, name) in live.iter().take((live.len() + 1).saturating_sub(most)) {
            if let Some(mut kept) = self.kept(name)? {
                self.end(name, &mut kept, new.key.id.to_string())?;
            }
        }
        Ok(())
    }

    /// All rows of one subject's sessions, those that are ended too, unless they are over.
    pub(super) fn sessions_of(&self, subject: &SubjectKey) -> Result<Vec<(Digest, Kept)>, Trouble> {
        let mut found = Vec::new();
        for row in self.rows_of(subject)? {
            let (name, row) = row?;
            let id = name.value().rsplit('.').next().and_then(Digest::parse);
            let id = id.ok_or(Trouble::Corrupt("no session's name in a key"))?;
            found.extend(self.read(row.value())?.map(|kept| (id, kept)));
        }
        Ok(found)
    }

    fn rows_of(
        &self,
        subject: &SubjectKey,
    ) -> Result<Range<'_, &'static str, SessionRow>, Trouble> {
        // After the dot comes the slash.
        let (from, to) = (format!("{subject}."), format!("{subject}/"));
        Ok(self.sessions.range::<&str>(from.as_str()..to.as_str())?)
    }
}
