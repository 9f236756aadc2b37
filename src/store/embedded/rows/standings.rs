//! What is remembered of subjects, and why somebody was denied.

use std::ops::Bound;
use std::time::Duration;

use redb::ReadableTable;

use super::{Rows, checked_brief, checked_provider, checked_subject};
use crate::clock::Timestamp;
use crate::ids::{ProviderName, Reference, SubjectKey};
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{
    Binding, Cursor, NewStanding, Page, Place, Standing, Unreadable, Verdict, brief, millis,
};

/// Provider, brief, claims, decision.
pub(super) type Part<'a> = (&'a str, &'a str, &'a str, &'a str);

/// A subject's row, taken out of the table.
#[derive(Default)]
struct Kept {
    over: u64,
    issuer: String,
    value: String,
    parts: Vec<(String, String, String, String)>,
}

impl Rows<'_> {
    pub(in crate::store::embedded) fn keep_standing(
        &mut self,
        new: &NewStanding,
    ) -> Result<(), Trouble> {
        self.write_standing(new, new.keep)
    }

    pub(in crate::store::embedded) fn read_standing(
        &mut self,
        subject: &SubjectKey,
        provider: &ProviderName,
    ) -> Result<Option<Standing>, Trouble> {
        let kept = self.kept_standings(subject)?;
        let found = kept.parts.iter().find(|part| part.0 == provider.as_str());
        found.map(|part| kept.standing(part)).transpose()
    }

    pub(in crate::store::embedded) fn decide_standing(
        &mut self,
        subject: &SubjectKey,
        provider: &ProviderName,
        obtained: Timestamp,
        (verdict, decision): (&Verdict, &str),
    ) -> Result<bool, Trouble> {
        let mut kept = self.kept_standings(subject)?;
        let Some(part) = kept.parts.iter_mut().find(|part| part.0 == provider.as_str()) else {
            return Ok(false);
        };
        if checked_brief(&part.1)?.1 != obtained {
            return Ok(false);
        }
        part.1 = brief(verdict, obtained);
        decision.clone_into(&mut part.3);
        self.keep_standings(subject, &kept)?;
        Ok(true)
    }

    pub(in crate::store::embedded) fn list_standings(
        &mut self,
        after: Option<Cursor>,
        about: u32,
    ) -> Result<Page, Trouble> {
        let from = match after {
            None => Bound::Unbounded,
            Some(Cursor(Place::Behind(subject))) => Bound::Excluded(subject.to_string()),
            Some(Cursor(Place::Scan(_))) => {
                return Err(Trouble::Corrupt("a cursor that the file did not give"));
            }
        };
        let from = from.as_ref().map(String::as_str);
        let mut page = Page { standings: Vec::new(), unreadable: Vec::new(), next: None };
        let mut rows = self.standings.range::<&str>((from, Bound::Unbounded))?;
        let mut last = None;
        for row in rows.by_ref().take(usize::try_from(about.max(1)).unwrap_or(usize::MAX)) {
            let (key, row) = row?;
            let kept = Kept::read(row.value());
            let subject = SubjectKey::parse(key.value());
            let subject = subject.ok_or(Trouble::Corrupt("no subject's key where one belongs"))?;
            if kept.over > self.ms() {
                match self.row_of(&subject, &kept) {
                    Ok(standings) => page.standings.extend(standings),
                    Err(Trouble::Corrupt(what)) => {
                        page.unreadable.push(Unreadable { key: key.value().to_owned(), what });
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
            last = Some(subject);
        }
        if let (Some(_), Some(last)) = (rows.next(), last) {
            page.next = Some(Cursor(Place::Behind(last)));
        }
        Ok(page)
    }

    /// All standings of a subject, each with what it is bound to.
    fn row_of(
        &self,
        subject: &SubjectKey,
        kept: &Kept,
    ) -> Result<Vec<(Standing, Binding)>, Trouble> {
        let binding = self.binding(subject)?;
        kept.parts.iter().map(|part| Ok((kept.standing(part)?, binding.clone()))).collect()
    }

    pub(in crate::store::embedded) fn keep_denial(
        &mut self,
        reference: &Reference,
        text: &str,
        keep: Duration,
    ) -> Result<(), Trouble> {
        self.written = true;
        let over = self.ms().saturating_add(millis(keep));
        self.denials.insert(reference.to_string().as_str(), (over, text))?;
        Ok(())
    }

    pub(in crate::store::embedded) fn find_denial(
        &mut self,
        reference: &Reference,
    ) -> Result<Option<String>, Trouble> {
        let row = self.denials.get(reference.to_string().as_str())?;
        let kept = row.filter(|row| row.value().0 > self.ms());
        Ok(kept.map(|row| row.value().1.to_owned()))
    }

    /// What `read` makes of what is remembered of `subject` at `provider`; `None` when that is nothing.
    pub(super) fn standing_at<T>(
        &self,
        subject: &SubjectKey,
        provider: &ProviderName,
        read: impl FnOnce(Part<'_>) -> Result<T, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        let Some(row) = self.standings.get(subject.to_string().as_str())? else { return Ok(None) };
        let (over, _, parts) = row.value();
        if over <= self.ms() {
            return Ok(None);
        }
        let found = parts.into_iter().find(|part| part.0 == provider.as_str());
        found.map(read).transpose()
    }

    /// Keeps what a login showed, for `keep` at least.
    pub(super) fn write_standing(
        &mut self,
        new: &NewStanding,
        keep: Duration,
    ) -> Result<(), Trouble> {
        let subject = &new.subject.key();
        let mut kept = self.kept_standings(subject)?;
        let mut obtained = self.ms();
        if let Some(at) = kept.parts.iter().position(|part| part.0 == new.provider.as_str()) {
            // Later than the claims before, so that no two claims are named by the same moment.
            let before = checked_brief(&kept.parts.swap_remove(at).1)?.1;
            obtained = obtained.max(before.as_millis().saturating_add(1));
        }
        kept.parts.push((
            new.provider.as_str().to_owned(),
            brief(&new.verdict, Timestamp::from_millis(obtained)),
            new.claims.clone(),
            new.decision.clone(),
        ));
        new.subject.issuer().clone_into(&mut kept.issuer);
        new.subject.value().clone_into(&mut kept.value);
        kept.over = kept.over.max(self.ms().saturating_add(millis(keep)));
        self.keep_standings(subject, &kept)
    }

    /// A subject's row; an empty one when there is none, or it is over.
    fn kept_standings(&self, subject: &SubjectKey) -> Result<Kept, Trouble> {
        let row = self.standings.get(subject.to_string().as_str())?;
        let kept = row.filter(|row| row.value().0 > self.ms());
        Ok(kept.map_or_else(Kept::default, |row| Kept::read(row.value())))
    }

    fn keep_standings(&mut self, subject: &SubjectKey, kept: &Kept) -> Result<(), Trouble> {
        let parts = kept.parts.iter();
        let parts = parts.map(|(provider, brief, claims, decision)| {
            (provider.as_str(), brief.as_str(), claims.as_str(), decision.as_str())
        });
        let whom = (kept.issuer.as_str(), kept.value.as_str());
        let row = (kept.over, whom, parts.collect());
        self.written = true;
        self.standings.insert(subject.to_string().as_str(), row)?;
        Ok(())
    }
}

impl Kept {
    fn read((over, (issuer, value), parts): (u64, (&str, &str), Vec<Part<'_>>)) -> Self {
        let own = |(provider, brief, claims, decision): Part<'_>| {
            (provider.to_owned(), brief.to_owned(), claims.to_owned(), decision.to_owned())
        };
        Self {
            over,
            issuer: issuer.to_owned(),
            value: value.to_owned(),
            parts: parts.into_iter().map(own).collect(),
        }
    }

    fn standing(&self, part: &(String, String, String, String)) -> Result<Standing, Trouble> {
        let (provider, brief, claims, decision) = part;
        let (verdict, obtained) = checked_brief(brief)?;
        Ok(Standing {
            subject: checked_subject(&self.issuer, &self.value)?,
            provider: checked_provider(provider)?,
            claims: claims.clone(),
            obtained,
            verdict,
            decision: decision.clone(),
        })
    }
}
