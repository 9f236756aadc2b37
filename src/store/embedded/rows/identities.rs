//! Whose an identity is, and which identity somebody has.

use std::time::Duration;

use redb::ReadableTable;

use super::{Rows, checked_identity, checked_subject};
use crate::clock::Timestamp;
use crate::ids::{Identity, Subject, SubjectKey};
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{Claim, Owner};

impl Rows<'_> {
    pub(in crate::store::embedded) fn find_identity(
        &mut self,
        subject: &SubjectKey,
    ) -> Result<Option<Identity>, Trouble> {
        let row = self.subjects.get(subject.to_string().as_str())?;
        row.map(|row| checked_identity(row.value())).transpose()
    }

    pub(in crate::store::embedded) fn find_subject(
        &mut self,
        identity: &Identity,
    ) -> Result<Option<Owner>, Trouble> {
        let Some(owner) = self.claims.get(identity.as_str())? else { return Ok(None) };
        let (_, issuer, value) = owner.value();
        let next = self.moves.get(identity.as_str())?;
        let moving_to = next.map(|next| checked_subject(next.value().1, next.value().2));
        Ok(Some(Owner {
            subject: checked_subject(issuer, value)?,
            moving_to: moving_to.transpose()?,
        }))
    }

    pub(in crate::store::embedded) fn claim_identity(
        &mut self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Claim, Trouble> {
        let key = subject.key().to_string();
        match self.owners(identity)? {
            (None, _) => self.give(identity, subject)?,
            (Some(owner), None) if owner == key => {}
            _ => return Ok(Claim::Anothers),
        }
        Ok(Claim::Ours)
    }

    pub(in crate::store::embedded) fn begin_move(
        &mut self,
        identity: &Identity,
        from: &SubjectKey,
        to: &Subject,
    ) -> Result<bool, Trouble> {
        let (from, key) = (from.to_string(), to.key().to_string());
        match self.owners(identity)? {
            (Some(owner), None) if owner == key => Ok(true),
            (Some(owner), next)
                if owner == from && next.as_ref().is_none_or(|next| *next == key) =>
            {
                self.written = true;
                let row = (key.as_str(), to.issuer(), to.value());
                self.moves.insert(identity.as_str(), row)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(in crate::store::embedded) fn retire_subject(
        &mut self,
        from: &SubjectKey,
        identity: &Identity,
        keep: Duration,
    ) -> Result<(), Trouble> {
        if self.find_identity(from)?.as_ref() == Some(identity) {
            self.written = true;
            self.subjects.remove(from.to_string().as_str())?;
        }
        self.end_sessions(from, keep)
    }

    pub(in crate::store::embedded) fn finish_move(
        &mut self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<bool, Trouble> {
        let key = to.key().to_string();
        match self.owners(identity)? {
            (Some(_), Some(next)) if next == key => {
                self.give(identity, to)?;
                self.moves.remove(identity.as_str())?;
                Ok(true)
            }
            (Some(owner), None) => Ok(owner == key),
            _ => Ok(false),
        }
    }

    pub(in crate::store::embedded) fn bind_subject(
        &mut self,
        to: &SubjectKey,
        identity: &Identity,
        finished: Timestamp,
        keep: Duration,
    ) -> Result<bool, Trouble> {
        if self.find_identity(to)?.as_ref() == Some(identity) {
            return Ok(true);
        }
        if finished < self.begun_before(to)? {
            return Ok(false);
        }
        self.bind(to, identity)?;
        self.end_sessions(to, keep)?;
        Ok(true)
    }

    /// Binds `subject` to `identity`, whatever it was bound to.
    pub(super) fn bind(
        &mut self,
        subject: &SubjectKey,
        identity: &Identity,
    ) -> Result<(), Trouble> {
        self.written = true;
        self.subjects.insert(subject.to_string().as_str(), identity.as_str())?;
        Ok(())
    }

    /// The keys of the subject that has `identity` and of the one that it is on its way to.
    fn owners(&self, identity: &Identity) -> Result<(Option<String>, Option<String>), Trouble> {
        let owner = self.claims.get(identity.as_str())?;
        let next = self.moves.get(identity.as_str())?;
        Ok((owner.map(|row| row.value().0.to_owned()), next.map(|row| row.value().0.to_owned())))
    }

    fn give(&mut self, identity: &Identity, subject: &Subject) -> Result<(), Trouble> {
        self.written = true;
        let row = (subject.key().to_string(), subject.issuer(), subject.value());
        self.claims.insert(identity.as_str(), (row.0.as_str(), row.1, row.2))?;
        Ok(())
    }
}
