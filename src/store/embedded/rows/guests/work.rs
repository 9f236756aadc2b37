//! Work on guests: given out, and finished.

use super::super::Rows;
use super::orders::{Idle, Queue};
use super::{Claim, Guest, Pool, end_of, month_of};
use crate::clock::{Month, Timestamp};
use crate::ids::RequestId;
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{FoundWork, GuestTask, GuestWork, WorkDone, WorkTerms, millis};

/// How many guests of a queue are looked at in one step, and how many for an early scrub.
const LOOKS: usize = 16;
const EARLY_LOOKS: usize = 32;

/// As long as this many are idle there is no hurry to look through guests that perhaps were never lent.
const ENOUGH_IDLE: u64 = 64;

impl Rows<'_> {
    pub(in crate::store::embedded) fn claim_guest_work(
        &mut self,
        terms: &WorkTerms,
        request: RequestId,
    ) -> Result<FoundWork, Trouble> {
        if let Some(number) = self.claimed_before(request)?
            && let Some(mut guest) =
                self.guest(number)?.filter(|guest| guest.is_claimed_by(request))
        {
            return self.work_on(&mut guest, request);
        }
        let pool = self.pool()?;
        if let Some((guest, joins)) = self.due_longest(&pool, millis(terms.hold))? {
            return self.give_out(guest, joins, terms, request);
        }
        let mut found = match self.guest_to_scrub_early(terms, &pool)? {
            Ok(early) => early,
            Err(from) => return Ok(FoundWork::LookOn { from: Timestamp::from_millis(from) }),
        };
        if found.is_none() {
            found = self.doubtful_guest(pool, terms.size)?;
        }
        let Some(guest) = found else { return Ok(FoundWork::Nothing) };
        self.give_out(guest, false, terms, request)
    }

    /// Of those that are lent and wait for their conversations, that were given back or have failed before, and that have cooled: the one
    /// that has been due longest, and whether it is to join. So whatever fails again and again keeps nothing else from its turn.
    fn due_longest(&mut self, pool: &Pool, hold: u64) -> Result<Option<(Guest, bool)>, Trouble> {
        let now = self.ms();
        let mut waiting = Vec::new();
        for queue in [Queue::Joins, Queue::Work, Queue::Busy] {
            let due = self.queued(queue, 0, now, LOOKS)?;
            waiting.extend(due.into_iter().map(|(since, number)| (since, number, queue)));
        }
        waiting.sort_by_key(|(since, ..)| *since);
        for (_, number, queue) in waiting {
            let mut guest = self.queued_guest(number)?;
            let later = match queue {
                Queue::Joins => guest.joins_later(now, pool, hold),
                _ => guest.is_scrubbed_later(now, queue),
            };
            if !later {
                return Ok(Some((guest, matches!(queue, Queue::Joins))));
            }
            self.keep_guest(&guest)?;
        }
        Ok(None)
    }

    /// One that cools beyond the month's end, when that is near; or from where on to look for another.
    fn guest_to_scrub_early(
        &mut self,
        terms: &WorkTerms,
        pool: &Pool,
    ) -> Result<Result<Option<Guest>, u64>, Trouble> {
        let now = self.ms();
        let month = month_of(now);
        let over = end_of(month);
        if over - now > millis(terms.early) {
            return Ok(Ok(None));
        }
        // What has ended by now is ready after the longest cool-down from now at the latest: what is lent lies beyond that, mostly.
        let from = terms.from.as_millis().max(over + 1);
        let last = now.saturating_add(pool.longest_cooldown);
        let looked_at = self.queued(Queue::Busy, from, last, EARLY_LOOKS)?;
        for (_, number) in &looked_at {
            let guest = self.queued_guest(*number)?;
            let is_free = !guest.lives(now, pool) && guest.token_ends <= now && !guest.scrubbed;
            if is_free && guest.active == month && guest.held_until(now).is_none() {
                return Ok(Ok(Some(guest)));
            }
        }
        match looked_at.last() {
            Some((last, _)) if looked_at.len() == EARLY_LOOKS => Ok(Err(last + 1)),
            _ => Ok(Ok(None)),
        }
    }

    /// One that may have been lent unseen: idle since before the store lost writes, or never lent as far as it knows.
    fn doubtful_guest(&mut self, mut pool: Pool, size: u32) -> Result<Option<Guest>, Trouble> {
        if pool.doubted == 0 || self.ms() < pool.floor_idle {
            return Ok(None);
        }
        let (month, ready) = (month_of(self.ms()), pool.floor_idle);
        let doubtful = |(active, number)| Guest { number, ready, active, ..Guest::default() };
        let unsure = 1..=pool.unsure.min(size);
        // What costs nothing to lend comes first: the latest months.
        if let Some(aside) = self.find_aside(month..=month, unsure.clone())? {
            self.unqueue(Queue::Retired, aside.0.into(), aside.1)?;
            return Ok(Some(doubtful(aside)));
        }
        let mut before = u32::MAX;
        while let Some(month) = self.last_idle_month(before)? {
            let idle = self.first_idle(month, 0)?.filter(|idle| idle.since < pool.doubted);
            if let Some(idle) = idle {
                self.take_idle(idle)?;
                return Ok(Some(doubtful((idle.month, idle.number))));
            }
            before = month;
        }
        if self.idle_guests()? >= ENOUGH_IDLE {
            return Ok(None);
        }
        if pool.next <= *unsure.end() {
            pool.next += 1;
            self.keep_pool(&pool)?;
            return Ok(Some(doubtful((0, pool.next - 1))));
        }
        let aside = self.find_aside(0..=month - 1, unsure)?;
        if let Some((last, number)) = aside {
            self.unqueue(Queue::Retired, last.into(), number)?;
        }
        Ok(aside.map(doubtful))
    }

    fn give_out(
        &mut self,
        mut guest: Guest,
        joins: bool,
        terms: &WorkTerms,
        request: RequestId,
    ) -> Result<FoundWork, Trouble> {
        let now = self.ms();
        let until = now.saturating_add(millis(terms.hold));
        guest.claim = Some(Claim { request: request.to_string(), at: now, until, joins });
        if joins {
            guest.waits.joins = Some(until);
        } else {
            guest.scrubbed = true;
            guest.waits.work = Some(until);
            guest.waits.joins = None;
        }
        self.keep_guest(&guest)?;
        self.remember_claim(request, guest.number)?;
        self.work_on(&mut guest, request)
    }

    fn work_on(&mut self, guest: &mut Guest, claim: RequestId) -> Result<FoundWork, Trouble> {
        if guest.heir.is_some() && guest.since < self.pool()?.ended_before {
            // The guest may have been somebody else's since, in what was lost, and what it is in is theirs.
            guest.heir = None;
            self.keep_guest(guest)?;
        }
        let is_active = guest.active >= month_of(self.ms());
        let free_until = is_active.then(|| Month::from_number(guest.active).ends());
        let task = if guest.claim.as_ref().is_some_and(|claim| claim.joins) {
            let (free, ends) = (
                free_until.unwrap_or(Timestamp::from_millis(0)),
                Timestamp::from_millis(guest.ends),
            );
            GuestTask::Join { until: free.min(ends) }
        } else {
            GuestTask::Scrub { free_until, heir: guest.checked_heir()? }
        };
        Ok(FoundWork::Work(GuestWork { guest: guest.number, claim, task }))
    }

    pub(in crate::store::embedded) fn finish_guest_work(
        &mut self,
        number: u32,
        claim: RequestId,
        done: WorkDone,
    ) -> Result<bool, Trouble> {
        let found = self.guest(number)?.filter(|guest| guest.is_claimed_by(claim));
        let Some(mut guest) = found else { return Ok(false) };
        match done {
            WorkDone::Inherited => guest.heir = None,
            WorkDone::Joined => guest.end_claim(self.ms(), None),
            WorkDone::Failed { retry_after } => {
                let again = self.ms().saturating_add(millis(retry_after));
                guest.end_claim(self.ms(), Some(again));
            }
            WorkDone::Clean | WorkDone::Dirty if guest.heir.is_some() => return Ok(false),
            WorkDone::Clean | WorkDone::Dirty => return self.end_scrub(guest, done),
        }
        self.keep_guest(&guest)?;
        Ok(true)
    }

    fn end_scrub(&mut self, mut guest: Guest, done: WorkDone) -> Result<bool, Trouble> {
        let mut pool = self.pool()?;
        if pool.wanted.0 == guest.number {
            // Another stale guest may be scrubbed for the next visitor.
            pool.wanted = (0, 0);
            self.keep_pool(&pool)?;
        }
        let (now, ready) = (self.ms(), guest.ready.max(pool.floor_for(&guest)));
        let claimed_at = guest.claim.take().map_or(0, |claim| claim.at);
        // What was read before it was ready may have changed while a token lived.
        if claimed_at < ready {
            guest.waits.work = None;
            guest.waits.busy = Some(ready);
            self.keep_guest(&guest)?;
            return Ok(true);
        }
        if done == WorkDone::Dirty && guest.active >= month_of(now) {
            // It is paid for until the month is over, and so not stale yet.
            guest.waits.work = Some(now.saturating_add(millis(WorkTerms::PATIENCE)));
            self.keep_guest(&guest)?;
            return Ok(true);
        }
        self.drop_guest(&guest)?;
        if done == WorkDone::Dirty {
            self.enqueue(Queue::Stale, guest.number.into(), guest.number)?;
        } else {
            self.make_idle(Idle { month: guest.active, since: now, number: guest.number })?;
        }
        Ok(true)
    }
}

impl Pool {
    /// From when on a guest is seen clean for good, if the store lost writes since it was last lent or claimed.
    pub(super) fn floor_for(&self, guest: &Guest) -> u64 {
        if guest.id.is_empty() {
            self.floor_idle
        } else if guest.since < self.doubted {
            self.floor_lent
        } else {
            0
        }
    }
}

impl Guest {
    /// Whether it is not to join now, though it is due; it waits anew then, or no longer.
    fn joins_later(&mut self, now: u64, pool: &Pool, hold: u64) -> bool {
        let is_over = self.ended_by.is_some() || self.since < pool.ended_before;
        if self.id.is_empty() || is_over || self.scrubbed || now >= self.ready {
            self.waits.joins = None;
            return true;
        }
        let last = end_of(self.active).min(self.ends);
        let again = if let Some(until) = self.held_until(now) {
            until
        } else if now >= self.ends {
            // Until it is scrubbed its holder may come back for it, and for its conversations.
            self.ready
        } else if self.active < month_of(now) {
            // Its holder's next token makes it active. Without one, the write would.
            now.saturating_add(hold)
        } else if last - now < millis(WorkTerms::SPARE) {
            last
        } else {
            return false;
        };
        self.waits.joins = Some(again);
        true
    }

    /// Whether it is not to be scrubbed now, though it is due in this queue, since somebody works on it.
    fn is_scrubbed_later(&mut self, now: u64, queue: Queue) -> bool {
        if matches!(queue, Queue::Busy) {
            self.waits.busy = None;
            self.waits.joins = None;
        }
        let until = self.held_until(now);
        self.waits.work = until.or(self.waits.work);
        until.is_some()
    }

    /// Nobody works on it any more; somebody will `again`, if that is said.
    fn end_claim(&mut self, now: u64, again: Option<u64>) {
        let joins = self.claim.take().is_some_and(|claim| claim.joins);
        if !joins {
            self.waits.work = again.or(self.waits.work);
            return;
        }
        // One that was given back meanwhile has waited for this worker, and nothing is left to join.
        self.waits.joins = again.filter(|_| self.waits.joins.is_some());
        self.waits.work = self.waits.work.map(|_| now);
    }
}
