//! `vestibule what-if`: a changed configuration's policies over the last claims of everybody who is known.

mod compare;
mod report;
mod seen;

use std::io;

use super::access::Access;
use super::terminal::spelled;
use super::{Exit, Trouble, WhatIf, answer, files, list};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::{Identity, ProviderName, Subject};
use crate::ops::{Page, Stood, Whom};
use compare::{Change, No, Person, Policies, Said, change};
use report::{Counts, Line, Report, Summary};
use seen::{FirstComers, Seen};

pub(super) fn run(arguments: &WhatIf) -> Exit {
    let today = files::load(arguments.file.config.as_deref());
    let new = files::review_new(&arguments.new);
    match (today, new) {
        (Ok(today), Ok(new)) => {
            let new = Policies::of("the new configuration", &new.providers);
            answer(try_out(arguments.json, &today, new))
        }
        (today, new) => {
            let faults = today.err().into_iter().chain(new.err()).flatten().collect::<Vec<_>>();
            list(&faults, io::stderr())
        }
    }
}

async fn try_out(json: bool, today: &Config, new: Policies<'_>) -> Result<Exit, Trouble> {
    let mut run = Run {
        access: Access::open(today).await?,
        today: Policies::of("today's configuration", &today.providers),
        new,
        now: None,
        seen: Seen::new(),
        first: FirstComers::new(),
        counts: Counts::default(),
        report: Report::new(json),
    };
    let mut after = None;
    loop {
        let page = run.access.standings(after.as_deref()).await?;
        after.clone_from(&page.next);
        run.look_at(page).await?;
        if after.is_none() {
            break;
        }
    }
    Ok(run.end(today))
}

struct Run<'a> {
    access: Access,
    today: Policies<'a>,
    new: Policies<'a>,
    /// The same for all: the store's time at the beginning.
    now: Option<Timestamp>,
    seen: Seen,
    first: FirstComers,
    counts: Counts,
    report: Report,
}

impl Run<'_> {
    async fn look_at(&mut self, page: Page) -> Result<(), Trouble> {
        let now = *self.now.get_or_insert(Timestamp::from_millis(page.now_ms));
        for stood in page.standings {
            // The store may tell of somebody twice, when it grows or shrinks meanwhile.
            if self.seen.again(&(&stood.subject.issuer, &stood.subject.value, &stood.provider)) {
                continue;
            }
            let change = self.judge(&stood, now).await?;
            self.counts.count(change.as_ref());
            if let Some(change) = &change {
                self.report.tell(&Line {
                    change,
                    provider: &stood.provider,
                    subject: &stood.subject,
                    bound_to: stood.identity.as_deref(),
                    last_friendly_name: stood.decision.friendly_name.as_deref(),
                });
            }
        }
        for unreadable in page.unreadable {
            if !self.seen.again(&unreadable.key) {
                self.counts.unreadable += 1;
                self.report.tell_unreadable(&unreadable);
            }
        }
        self.report.progress(&self.counts);
        Ok(())
    }

    async fn judge(&mut self, stood: &Stood, now: Timestamp) -> Result<Option<Change>, Trouble> {
        let spoilt = || Trouble::new(Exit::Away, "the store holds a standing that is of nobody");
        let provider = ProviderName::parse(&stood.provider).ok_or_else(spoilt)?;
        let subject = Subject::try_from(&stood.subject).map_err(|_| spoilt())?;
        let bound = stood.identity.as_deref().and_then(|text| Identity::parse(text).ok());
        if bound.is_some() && self.today.agree_on(&provider, &self.new) {
            return Ok(None);
        }
        let person =
            Person { subject: &subject, claims: &stood.claims, bound: bound.as_ref(), now };
        let (before, after) = (self.today.say(&provider, person), self.new.say(&provider, person));
        if bound.is_some() {
            Ok(change(&before, &after))
        } else {
            self.first_time(&subject, before, after).await
        }
    }

    /// What changes for a subject that has no identity yet: the one that a policy wants for it may be another's, today as well.
    async fn first_time(
        &mut self,
        subject: &Subject,
        before: Said,
        after: Said,
    ) -> Result<Option<Change>, Trouble> {
        let wanted = |said: &Said| said.as_ref().ok().map(|admitted| admitted.identity.clone());
        let (old, new) = (wanted(&before), wanted(&after));
        let comes_second = new.as_ref().is_some_and(|new| self.first.is_anothers(new, subject));
        let change_if_free = change(&before, &after);
        if old == new && change_if_free.is_none() {
            return Ok(None);
        }
        let before = match &old {
            Some(old) if self.owner_but(old, subject).await?.is_some() => {
                Err(No::new("identity", "is another's"))
            }
            _ => before,
        };
        match new {
            // With the identity that today's policy wants, it is as it is today.
            Some(_) if old == new => Ok(before.is_ok().then_some(change_if_free).flatten()),
            Some(new) => {
                let with = self.owner_but(&new, subject).await?;
                if with.is_some() || comes_second {
                    return Ok(Some(Change::Collides { identity: new.to_string(), with }));
                }
                Ok(change(&before, &after))
            }
            None => Ok(change(&before, &after)),
        }
    }

    /// Whose an identity is, when it is not this subject's.
    async fn owner_but(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Option<Whom>, Trouble> {
        let owner = self.access.owner(identity).await?;
        Ok(owner.filter(|owner| *owner != Whom::from(subject)))
    }

    fn end(mut self, today: &Config) -> Exit {
        let summary = Summary {
            counts: self.counts,
            missing_providers: self.today.missing_in(&self.new),
            new_providers: self.new.missing_in(&self.today),
            keep_claims: spelled(today.mint.keep_claims),
            collisions_incomplete: self.first.overflowed,
        };
        self.report.sum_up(&summary);
        let Counts { denied, collides, unreadable, .. } = summary.counts;
        if denied + collides > 0 || !summary.missing_providers.is_empty() {
            Exit::No
        } else if unreadable > 0 {
            Exit::Away
        } else {
            Exit::Done
        }
    }
}
