//! When the next guest can be lent, as far as anybody can know.

use redb::ReadableTable;

use super::super::Rows;
use super::orders::Queue;
use super::{Pool, end_of, month_of};
use crate::store::embedded::writer::Trouble;

/// How long to wait, in ms: for what is put aside or seen clean in a moment; for a worker that is at it; when nothing is known to come.
pub(super) const MOMENT: u64 = 1000;
pub(super) const SCRUB: u64 = 2000;
const MINUTE: u64 = 60_000;

/// How many guests of each queue are looked at.
const LOOKS: usize = 16;

/// The earliest moment found so far.
pub(super) struct Earliest {
    moment: Option<u64>,
    month: u32,
    is_over_budget: bool,
}

impl Earliest {
    /// A guest last active in the month `last` is there at `moment`, ms. Beyond the budget only what is active already is lent before
    /// the month is over.
    pub(super) fn no_later_than(&mut self, moment: u64, last: u32) {
        let is_paid_for = !self.is_over_budget || last >= self.month;
        let moment = if is_paid_for { moment } else { moment.max(end_of(self.month)) };
        self.moment = Some(self.moment.map_or(moment, |before| before.min(moment)));
    }

    /// How long to wait from `now` on, ms.
    pub(super) fn after(&self, now: u64) -> u64 {
        self.moment.map_or(MINUTE, |moment| moment.saturating_sub(now).max(MOMENT))
    }
}

impl Rows<'_> {
    /// When the first guest can be lent of those that have a record, or that a doubt keeps back.
    pub(super) fn earliest(
        &self,
        pool: &Pool,
        size: u32,
        is_over_budget: bool,
    ) -> Result<Earliest, Trouble> {
        let month = month_of(self.ms());
        let mut earliest = Earliest { moment: None, month, is_over_budget };
        self.earliest_busy(pool, size, &mut earliest)?;
        for (due, number) in self.queued(Queue::Work, 0, u64::MAX, LOOKS)? {
            if number <= size {
                let guest = self.queued_guest(number)?;
                // What somebody works on is mostly done in a moment.
                let due = if guest.claim.is_some() { self.ms() + SCRUB } else { due };
                let ready = guest.ready.max(pool.floor_for(&guest));
                earliest.no_later_than(ready.max(due), guest.active);
            }
        }
        if pool.doubted > 0 {
            self.earliest_doubtful(pool, size, &mut earliest)?;
        }
        Ok(earliest)
    }

    fn earliest_busy(
        &self,
        pool: &Pool,
        size: u32,
        earliest: &mut Earliest,
    ) -> Result<(), Trouble> {
        let busy = self.queued(Queue::Busy, 0, u64::MAX, LOOKS)?;
        for (at, number) in &busy {
            if earliest.moment.is_some_and(|moment| *at >= moment) {
                break;
            }
            if *number <= size {
                let guest = self.queued_guest(*number)?;
                let ready = guest.ready.max(pool.floor_for(&guest));
                earliest.no_later_than(ready, guest.active);
            }
        }
        if let Some((last, _)) = busy.last()
            && busy.len() == LOOKS
            && earliest.moment.is_none()
        {
            // All of these are beyond the size.
            earliest.no_later_than(*last, earliest.month);
        }
        Ok(())
    }

    /// What a doubt keeps back is seen clean in a moment once it is over.
    fn earliest_doubtful(
        &self,
        pool: &Pool,
        size: u32,
        earliest: &mut Earliest,
    ) -> Result<(), Trouble> {
        let seen = self.ms().max(pool.floor_idle);
        let mut before = u32::MAX;
        while let Some(month) = self.last_idle_month(before)? {
            let unseen = self.idle.range((month, 0, 0)..(month, pool.doubted, 0))?;
            for row in unseen.take(LOOKS) {
                if row?.0.value().2 <= size {
                    earliest.no_later_than(seen, month);
                    break;
                }
            }
            before = month;
        }
        if let Some((last, _)) = self.find_aside(0..=earliest.month, 1..=size)? {
            earliest.no_later_than(seen, last);
        }
        if pool.next <= size {
            earliest.no_later_than(seen, 0);
        }
        Ok(())
    }
}
