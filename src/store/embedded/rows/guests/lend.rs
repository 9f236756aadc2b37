//! Whom to lend.

use std::time::Duration;

use super::super::Rows;
use super::earliest::{MOMENT, SCRUB};
use super::orders::{Idle, Queue, Waits};
use super::{Guest, Pool, end_of, month_of};
use crate::ids::Digest;
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{Lent, PoolTerms, WorkTerms, millis};

/// How many guests beyond the size are put aside in one step.
const LOOKS: u32 = 64;

/// A guest that can be lent, and where it is now.
#[derive(Clone, Copy)]
enum Candidate {
    Idle(Idle),
    /// Put aside, and last active in this month.
    Aside(u32, u32),
    New,
}

/// What was found among the guests.
enum Choice {
    /// This one, which is active already.
    Free(Candidate),
    /// This one, which will be one more.
    Costly(Candidate),
    None,
    /// There are too many beyond the size to look at all of them now.
    LookAgain,
}

impl Rows<'_> {
    pub(in crate::store::embedded) fn lend_guest(
        &mut self,
        id: &Digest,
        terms: &PoolTerms,
    ) -> Result<Lent, Trouble> {
        let pool = self.pool()?;
        let active = self.month(month_of(self.ms()))?.active;
        let may_cost = terms.budget.is_none_or(|budget| active < budget);
        match self.choose(&pool, terms.size)? {
            Choice::Free(candidate) => self.lend(pool, candidate, id, terms),
            Choice::Costly(candidate) if may_cost => self.lend(pool, candidate, id, terms),
            Choice::LookAgain => Ok(Lent::Exhausted { after: Duration::from_millis(MOMENT) }),
            Choice::Costly(_) => self.refuse(pool, terms.size, may_cost, true),
            Choice::None => self.refuse(pool, terms.size, may_cost, false),
        }
    }

    /// Says until when to wait, and has a stale guest scrubbed if that helps. `costly` when there is a guest, beyond the budget.
    fn refuse(
        &mut self,
        pool: Pool,
        size: u32,
        may_cost: bool,
        costly: bool,
    ) -> Result<Lent, Trouble> {
        let now = self.ms();
        let over = end_of(month_of(now));
        let stale = self.first_stale(&pool, size)?;
        let is_in_time = over - now >= millis(WorkTerms::WORTHWHILE);
        let is_free = now >= pool.floor_idle;
        if let Some(number) = stale
            && !costly
            && is_free
            && may_cost
            && is_in_time
        {
            self.want(pool, number)?;
            return Ok(Lent::Exhausted { after: Duration::from_millis(SCRUB) });
        }
        let mut earliest = self.earliest(&pool, size, !may_cost)?;
        if stale.is_some() {
            let seen = now.max(pool.floor_idle);
            earliest.no_later_than(if is_in_time { seen } else { seen.max(over) }, 0);
        }
        if costly {
            earliest.no_later_than(now, 0);
        }
        let after = Duration::from_millis(earliest.after(now));
        let is_refused = costly || !may_cost && stale.is_some() && is_free;
        Ok(if is_refused { Lent::BudgetReached { after } } else { Lent::Exhausted { after } })
    }

    fn choose(&mut self, pool: &Pool, size: u32) -> Result<Choice, Trouble> {
        let now = self.ms();
        let month = month_of(now);
        let mut looks = LOOKS;
        if let Some(idle) = self.fitting_idle(month, pool.doubted, size, &mut looks)? {
            return Ok(Choice::Free(Candidate::Idle(idle)));
        }
        // One that was put aside before a doubt is as doubtful as one that was never lent.
        let sure = pool.unsure + 1..=size;
        if looks > 0
            && now >= pool.floor_idle
            && let Some((last, number)) = self.find_aside(month..=month, sure.clone())?
        {
            return Ok(Choice::Free(Candidate::Aside(last, number)));
        }
        let mut from = 0;
        while now >= pool.floor_idle
            && let Some(before) = self.first_idle_month(from)?.filter(|before| *before < month)
        {
            if let Some(idle) = self.fitting_idle(before, pool.doubted, size, &mut looks)? {
                return Ok(Choice::Costly(Candidate::Idle(idle)));
            }
            from = before + 1;
        }
        if looks == 0 {
            return Ok(Choice::LookAgain);
        }
        if now < pool.floor_idle {
            return Ok(Choice::None);
        }
        if pool.next <= size && pool.next > pool.unsure {
            return Ok(Choice::Costly(Candidate::New));
        }
        let aside = self.find_aside(0..=month - 1, sure)?;
        Ok(aside
            .map_or(Choice::None, |(last, number)| Choice::Costly(Candidate::Aside(last, number))))
    }

    /// As [`Rows::first_idle`], but of the guests within the size: those beyond it are put aside.
    fn fitting_idle(
        &mut self,
        month: u32,
        from: u64,
        size: u32,
        looks: &mut u32,
    ) -> Result<Option<Idle>, Trouble> {
        while *looks > 0
            && let Some(idle) = self.first_idle(month, from)?
        {
            if idle.number <= size {
                return Ok(Some(idle));
            }
            *looks -= 1;
            self.take_idle(idle)?;
            self.enqueue(Queue::Retired, idle.month.into(), idle.number)?;
        }
        Ok(None)
    }

    fn lend(
        &mut self,
        mut pool: Pool,
        candidate: Candidate,
        id: &Digest,
        terms: &PoolTerms,
    ) -> Result<Lent, Trouble> {
        let (number, active) = match candidate {
            Candidate::Idle(idle) => {
                self.take_idle(idle)?;
                (idle.number, idle.month)
            }
            Candidate::Aside(last, number) => {
                self.unqueue(Queue::Retired, last.into(), number)?;
                (number, last)
            }
            Candidate::New => {
                pool.next += 1;
                (pool.next - 1, 0)
            }
        };
        let now = self.ms();
        let ends = now.saturating_add(millis(terms.first.min(terms.token).min(terms.max_stay)));
        let ready = ends.saturating_add(millis(terms.cooldown));
        let guest = Guest {
            number,
            id: id.to_string(),
            since: now,
            ends,
            token_ends: ends,
            ready,
            active: self.count_active(active, now, ends)?,
            waits: Waits { busy: Some(ready), work: None, joins: terms.joins.then_some(now) },
            ..Guest::default()
        };
        self.keep_guest(&guest)?;
        pool.cooldown = millis(terms.cooldown);
        pool.longest_cooldown = pool.longest_cooldown.max(pool.cooldown);
        self.keep_pool(&pool)?;
        Ok(Lent::Guest(guest.lease(ends)))
    }

    /// The stale guest to be scrubbed for the next visitor, unless one is since a moment ago.
    fn first_stale(&self, pool: &Pool, size: u32) -> Result<Option<u32>, Trouble> {
        let first = self.first_of(Queue::Stale, 0)?.map(|(_, number)| number);
        let is_wanted = self.ms().saturating_sub(pool.wanted.1) < millis(WorkTerms::WANTED);
        Ok(first.filter(|number| *number <= size && !is_wanted))
    }

    /// Has a stale guest scrubbed: taking it out of what it is in costs the month that lending it will, so that one price covers both.
    fn want(&mut self, mut pool: Pool, number: u32) -> Result<(), Trouble> {
        let now = self.ms();
        self.unqueue(Queue::Stale, number.into(), number)?;
        let guest = Guest {
            number,
            ready: now,
            active: self.count_active(0, now, now)?,
            waits: Waits { work: Some(now), ..Waits::default() },
            ..Guest::default()
        };
        self.keep_guest(&guest)?;
        pool.wanted = (number, now);
        self.keep_pool(&pool)
    }
}
