//! Whose an identity is, and which identity somebody has.

use redb::ReadableTable;

use super::{Rows, checked_binding, checked_brief, checked_subject};
use crate::ids::{Identity, ProviderName, Subject, SubjectKey};
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{Binding, Claim, Found, Owner, Whose};

impl Rows<'_> {
    pub(in crate::store::embedded) fn find_identity(
        &mut self,
        subject: &SubjectKey,
        provider: Option<&ProviderName>,
    ) -> Result<Found, Trouble> {
        let binding = self.binding(subject)?;
        let brief =
            provider.map(|at| self.standing_at(subject, at, |(_, brief, ..)| checked_brief(brief)));
        let obtained = brief.transpose()?.flatten().map(|(_, obtained)| obtained);
        Ok(Found { binding, obtained })
    }

    pub(in crate::store::embedded) fn find_subject(
        &mut self,
        identity: &Identity,
    ) -> Result<Whose, Trouble> {
        let blocked = self.is_blocked(identity)?;
        let Some(owner) = self.claims.get(identity.as_str())? else {
            return Ok(Whose { owner: None, blocked });
        };
        let (_, issuer, value) = owner.value();
        let next = self.moves.get(identity.as_str())?;
        let moving_to = next.map(|next| checked_subject(next.value().1, next.value().2));
        let subject = checked_subject(issuer, value)?;
        Ok(Whose { owner: Some(Owner { subject, moving_to: moving_to.transpose()? }), blocked })
    }

    pub(in crate::store::embedded) fn claim_identity(
        &mut self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Claim, Trouble> {
        let key = subject.key().to_string();
        let owner = match self.owners(identity)? {
            (owner, None) if owner.as_ref().is_none_or(|owner| *owner == key) => owner,
            _ => return Ok(Claim::Anothers),
        };
        if self.is_blocked(identity)? {
            return Ok(Claim::Blocked);
        }
        if owner.is_none() {
            self.give(identity, subject)?;
        }
        Ok(Claim::Ours)
    }

    pub(in crate::store::embedded) fn bind_identity(
        &mut self,
        subject: &SubjectKey,
        found: &Binding,
        identity: &Identity,
    ) -> Result<bool, Trouble> {
        let (binding, wanted) = (self.binding(subject)?, found.to(identity));
        if binding != *found || binding.blocked {
            return Ok(binding == wanted);
        }
        self.bind(subject, &wanted)?;
        Ok(true)
    }

    pub(in crate::store::embedded) fn begin_move(
        &mut self,
        identity: &Identity,
        from: &SubjectKey,
        to: &Subject,
    ) -> Result<bool, Trouble> {
        let (from, key) = (from.to_string(), to.key().to_string());
        match self.owners(identity)? {
            _ if self.is_blocked(identity)? => Ok(false),
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
    ) -> Result<bool, Trouble> {
        let mut binding = self.binding(from)?;
        if binding.identity.as_ref() == Some(identity) {
            if binding.blocked {
                return Ok(false);
            }
            binding.identity = None;
        }
        self.bind(from, &binding.ended())?;
        Ok(true)
    }

    pub(in crate::store::embedded) fn finish_move(
        &mut self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<bool, Trouble> {
        let key = to.key().to_string();
        match self.owners(identity)? {
            _ if self.is_blocked(identity)? => Ok(false),
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
        endings: u64,
    ) -> Result<bool, Trouble> {
        let binding = self.binding(to)?;
        if binding.blocked {
            return Ok(false);
        }
        if binding.identity.as_ref() == Some(identity) {
            return Ok(true);
        }
        if binding.endings != endings {
            return Ok(false);
        }
        self.bind(to, &binding.to(identity).ended())?;
        Ok(true)
    }

    pub(in crate::store::embedded) fn mark_identity(
        &mut self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Whose, Trouble> {
        let before = self.find_subject(identity)?;
        self.written = true;
        if blocked {
            self.blocks.insert(identity.as_str(), ())?;
        } else {
            self.blocks.remove(identity.as_str())?;
        }
        Ok(before)
    }

    pub(in crate::store::embedded) fn mark_subject(
        &mut self,
        subject: &SubjectKey,
        identity: &Identity,
        unblocked: Option<u64>,
    ) -> Result<(), Trouble> {
        let mut binding = self.binding(subject)?;
        let is_bound = binding.identity.as_ref() == Some(identity);
        match unblocked {
            None => {
                binding.blocked |= is_bound;
                self.bind(subject, &binding.ended())
            }
            Some(endings) if is_bound && binding.endings == endings => {
                self.bind(subject, &Binding { blocked: false, ..binding })
            }
            Some(_) => Ok(()),
        }
    }

    pub(in crate::store::embedded) fn end_all_sessions(
        &mut self,
        subject: &SubjectKey,
        endings: u64,
    ) -> Result<(), Trouble> {
        let binding = self.binding(subject)?;
        if binding.endings > endings { Ok(()) } else { self.bind(subject, &binding.ended()) }
    }

    /// Which identity `subject` has.
    pub(super) fn binding(&self, subject: &SubjectKey) -> Result<Binding, Trouble> {
        let row = self.subjects.get(subject.to_string().as_str())?;
        row.map_or_else(|| Ok(Binding::default()), |row| checked_binding(row.value()))
    }

    /// Makes that another.
    pub(super) fn bind(&mut self, subject: &SubjectKey, binding: &Binding) -> Result<(), Trouble> {
        self.written = true;
        self.subjects.insert(subject.to_string().as_str(), binding.to_string().as_str())?;
        Ok(())
    }

    /// The keys of the subject that has `identity` and of the one that it is on its way to.
    fn owners(&self, identity: &Identity) -> Result<(Option<String>, Option<String>), Trouble> {
        let owner = self.claims.get(identity.as_str())?;
        let next = self.moves.get(identity.as_str())?;
        Ok((owner.map(|row| row.value().0.to_owned()), next.map(|row| row.value().0.to_owned())))
    }

    fn is_blocked(&self, identity: &Identity) -> Result<bool, Trouble> {
        Ok(self.blocks.get(identity.as_str())?.is_some())
    }

    fn give(&mut self, identity: &Identity, subject: &Subject) -> Result<(), Trouble> {
        self.written = true;
        let row = (subject.key().to_string(), subject.issuer(), subject.value());
        self.claims.insert(identity.as_str(), (row.0.as_str(), row.1, row.2))?;
        Ok(())
    }
}
