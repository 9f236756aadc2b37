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
use crate::ops::{Page, Stood};
use compare::{Case, Change, Policies, change};
use report::{Counts, Line, Report, Summary};
use seen::{Seen, Wanted};

pub(super) fn run(arguments: &WhatIf) -> Exit {
    let today = files::load(arguments.file.config.as_deref());
    let new = files::review(Some(&arguments.new));
    match (today, new) {
        (Ok(today), Ok(new)) => {
            let new = Policies::of(&new.providers);
            answer(try_out(arguments.json, &today, new))
        }
        (today, new) => {
            let faults = today.err().into_iter().chain(new.err()).flatten().collect::<Vec<_>>();
            list(&faults, io::stderr())
        }
    }
}

async fn try_out(json: bool, today: &Config, new: Policies) -> Result<Exit, Trouble> {
    let mut run = Run {
        access: Access::open(today).await?,
        today: Policies::of(&today.providers),
        new,
        now: None,
        seen: Seen::new(),
        wanted: Wanted::new(),
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

struct Run {
    access: Access,
    today: Policies,
    new: Policies,
    /// The same for all: the store's time at the beginning.
    now: Option<Timestamp>,
    seen: Seen,
    wanted: Wanted,
    counts: Counts,
    report: Report,
}

impl Run {
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
                });
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
        let case = Case { subject: &subject, claims: &stood.claims, bound: bound.as_ref(), now };
        let before = self.today.say(&provider, case);
        let after = self.new.say(&provider, case);
        if bound.is_none()
            && let Ok(admitted) = &after
        {
            let identity = &admitted.identity;
            let anothers = self.wanted.is_anothers(identity, &subject);
            // With the identity that today's policy wants, it is as it is today.
            if before.as_ref().map(|before| &before.identity) != Ok(identity) {
                let owner = self.access.owner(identity).await?;
                let owner = owner.filter(|owner| Subject::try_from(owner).as_ref() != Ok(&subject));
                if owner.is_some() || anothers {
                    return Ok(Some(Change::Collides {
                        identity: identity.to_string(),
                        with: owner,
                    }));
                }
            }
        }
        Ok(change(&before, after))
    }

    fn end(mut self, today: &Config) -> Exit {
        let missing = self.today.missing_in(&self.new);
        let summary = Summary {
            counts: self.counts,
            missing_providers: missing.iter().map(ToString::to_string).collect(),
            keep_claims: spelled(today.mint.keep_claims),
            collisions_incomplete: self.wanted.overflowed,
        };
        self.report.sum_up(&summary);
        let Counts { denied, collides, .. } = summary.counts;
        let somebody_loses = denied + collides > 0 || !summary.missing_providers.is_empty();
        if somebody_loses { Exit::No } else { Exit::Done }
    }
}
