//! The pool as a whole: described, doubted.

use redb::ReadableTable;

use super::super::Rows;
use super::month_of;
use super::orders::Queue;
use crate::clock::{Month, Timestamp};
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{PoolState, PoolTerms, millis};

/// How many guests that cool are counted one by one, while every other step waits.
const MOST_COOLING: usize = 10_000;

impl Rows<'_> {
    pub(in crate::store::embedded) fn describe_pool(&mut self) -> Result<PoolState, Trouble> {
        let (now, pool) = (self.ms(), self.pool()?);
        let month = month_of(now);
        let (mut warm, mut cold, mut doubtful) = (0, 0, 0);
        for row in self.months.iter()? {
            let last = row?.0.value();
            let counts = self.month(last)?;
            doubtful += counts.unseen;
            *if last >= month { &mut warm } else { &mut cold } += counts.idle - counts.unseen;
        }
        let busy = self.count_queued(Queue::Busy)?;
        let cool = now.saturating_add(pool.cooldown);
        let cooling = self.count_queued_to(Queue::Busy, cool, MOST_COOLING)?;
        let moment = |ms: u64| (ms > 0).then_some(Timestamp::from_millis(ms));
        Ok(PoolState {
            made: pool.next - 1,
            lent: busy - cooling,
            cooling,
            scrubbing: self.count_queued(Queue::Work)?,
            stale: self.count_queued(Queue::Stale)?,
            warm,
            cold,
            retired: self.count_queued(Queue::Retired)?,
            doubtful,
            joining: self.count_queued(Queue::Joins)?,
            active: self.month(month)?.active,
            month: Month::from_number(month),
            doubted: moment(pool.doubted),
            quarantine_ends: moment(pool.floor_idle).filter(|at| at.as_millis() > now),
        })
    }

    pub(in crate::store::embedded) fn read_doubt(&mut self) -> Result<Option<Timestamp>, Trouble> {
        let doubted = self.pool()?.doubted;
        Ok((doubted > 0).then_some(Timestamp::from_millis(doubted)))
    }

    pub(in crate::store::embedded) fn quarantine_guests(
        &mut self,
        terms: &PoolTerms,
    ) -> Result<Timestamp, Trouble> {
        let mut pool = self.pool()?;
        // Whatever else happens in this millisecond counts as before.
        pool.doubted = self.ms() + 1;
        pool.ended_before = pool.doubted;
        let kept_back = millis(terms.token).saturating_add(millis(terms.cooldown));
        pool.floor_lent = pool.floor_lent.max(pool.doubted.saturating_add(kept_back));
        pool.floor_idle = pool.floor_idle.max(pool.floor_lent);
        pool.unsure = pool.unsure.max(terms.size);
        self.keep_pool(&pool)?;
        Ok(Timestamp::from_millis(pool.floor_idle))
    }
}
