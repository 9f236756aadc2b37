//! Leases: used, read, ended.

use std::time::Duration;

use super::super::Rows;
use super::super::limits::count;
use super::{Guest, end_of, month_of};
use crate::ids::{Identity, RequestId};
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{
    EndedLease, Lease, LeaseKey, LeaseTerms, PoolTerms, Purpose, UsedLease, millis,
};

impl Rows<'_> {
    pub(in crate::store::embedded) fn use_lease(
        &mut self,
        key: &LeaseKey,
        terms: &LeaseTerms,
        request: RequestId,
    ) -> Result<UsedLease, Trouble> {
        let now = self.ms();
        let pool = self.pool()?;
        let found = self.guest(key.guest)?.filter(|guest| guest.is_of(&key.id, &pool));
        let Some(mut guest) = found.filter(|guest| guest.may_be_used(now, terms.purpose)) else {
            return Ok(UsedLease::Ended);
        };
        let latest = guest.since.saturating_add(millis(terms.pool.max_stay));
        if latest.saturating_sub(now) < millis(PoolTerms::SHORTEST) {
            return Ok(UsedLease::Ended);
        }
        let request = request.to_string();
        if now < guest.ends && guest.used_by == request {
            return Ok(UsedLease::Live(guest.lease(guest.token_ends)));
        }
        let mut is_changed = false;
        if let Some(rate) = terms.limit {
            match count(guest.untouched_us, self.us, rate) {
                Ok(untouched_us) => guest.untouched_us = untouched_us,
                Err(after) => return Ok(UsedLease::Limited { after }),
            }
            is_changed = true;
        }
        let (was_over, before) = (now >= guest.ends, guest.ends);
        is_changed |= guest.renew(now, latest, terms);
        let length = guest.token_length(now, &terms.pool);
        let token_ends = now.saturating_add(millis(length)).min(guest.ends);
        if token_ends.saturating_sub(now) < millis(PoolTerms::SHORTEST) {
            return Ok(UsedLease::Ended);
        }
        if token_ends > guest.token_ends {
            let ahead = token_ends.saturating_add(millis(PoolTerms::grain(length)));
            guest.token_ends = ahead.min(guest.ends);
            guest.active = self.count_active(guest.active, now, guest.token_ends)?;
            is_changed = true;
        }
        if is_changed {
            guest.used_by = request;
            if guest.ends != before {
                guest.ready = guest.ends.saturating_add(millis(terms.pool.cooldown));
                guest.waits.busy = Some(guest.ready);
            }
            if was_over {
                // What its lease was too short for.
                guest.waits.joins = guest.waits.joins.map(|_| now);
            }
            self.keep_guest(&guest)?;
        }
        Ok(UsedLease::Live(guest.lease(token_ends)))
    }

    pub(in crate::store::embedded) fn read_lease(
        &mut self,
        key: &LeaseKey,
    ) -> Result<Option<Lease>, Trouble> {
        let (now, pool) = (self.ms(), self.pool()?);
        let guest = self.guest(key.guest)?;
        let lives = |guest: &Guest| guest.is_of(&key.id, &pool) && guest.lives(now, &pool);
        Ok(guest.filter(lives).map(|guest| guest.lease(guest.token_ends)))
    }

    pub(in crate::store::embedded) fn end_lease(
        &mut self,
        key: &LeaseKey,
        heir: Option<&Identity>,
        cooldown: Duration,
        request: RequestId,
    ) -> Result<EndedLease, Trouble> {
        let (now, pool) = (self.ms(), self.pool()?);
        let found = self.guest(key.guest)?.filter(|guest| guest.id == key.id.to_string());
        let Some(mut guest) = found else { return Ok(EndedLease::Over) };
        if let Some(ended_by) = &guest.ended_by {
            let again = *ended_by == request.to_string();
            return Ok(if again { EndedLease::Now } else { EndedLease::Before });
        }
        if !guest.lives(now, &pool) {
            return Ok(EndedLease::Over);
        }
        guest.ended_by = Some(request.to_string());
        let until = end_of(month_of(now)).max(now.saturating_add(millis(PoolTerms::PRESENCE)));
        guest.heir = heir.map(|heir| (heir.to_string(), until));
        guest.ready = guest.token_ends.max(now).saturating_add(millis(cooldown));
        guest.waits.busy = Some(guest.ready);
        guest.waits.work = Some(now);
        guest.waits.joins = None;
        self.keep_guest(&guest)?;
        Ok(EndedLease::Now)
    }
}

impl Guest {
    /// Whether its lease is not over, or its holder may have it again.
    fn may_be_used(&self, now: u64, purpose: Purpose) -> bool {
        now < self.ends || purpose == Purpose::Return && !self.scrubbed && now < self.ready
    }

    /// Moves the lease's end, if it moves far enough to be worth a write; says whether anything has changed.
    fn renew(&mut self, now: u64, latest: u64, terms: &LeaseTerms) -> bool {
        let confirms = !self.confirmed && terms.purpose == Purpose::Token;
        self.confirmed |= confirms;
        let length = if self.confirmed { terms.pool.lease } else { terms.pool.first };
        let later = now.saturating_add(millis(length)).min(latest);
        let grain = millis(PoolTerms::grain(length));
        let is_short = self.ends.saturating_sub(now) < millis(PoolTerms::SHORTEST);
        // What is over is short too.
        let moves = later > self.ends && (is_short || later > self.ends.saturating_add(grain));
        if moves {
            self.ends = later;
        }
        moves || confirms
    }

    fn token_length(&self, now: u64, terms: &PoolTerms) -> Duration {
        let is_settled = now.saturating_sub(self.since) >= millis(PoolTerms::SETTLE);
        if self.confirmed && is_settled { terms.token } else { terms.token.min(terms.first) }
    }
}
