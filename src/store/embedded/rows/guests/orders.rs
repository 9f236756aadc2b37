//! The orders in which guests wait: those that are idle, and the queues.

use std::ops::RangeInclusive;

use redb::{ReadableTable, ReadableTableMetadata};

use super::super::Rows;
use crate::store::embedded::writer::Trouble;

/// In which order guests wait.
#[derive(Clone, Copy)]
pub(super) enum Queue {
    Busy,
    Work,
    Joins,
    Stale,
    Retired,
}

/// Since or until when a guest with a record waits, ms.
#[derive(Clone, Copy, Default)]
pub(super) struct Waits {
    pub(super) busy: Option<u64>,
    pub(super) work: Option<u64>,
    pub(super) joins: Option<u64>,
}

/// Where an idle guest waits.
#[derive(Clone, Copy)]
pub(super) struct Idle {
    /// The last month that it was active in; 0 for none.
    pub(super) month: u32,
    pub(super) since: u64,
    pub(super) number: u32,
}

impl Rows<'_> {
    /// The first guest of a queue at or after `from`, with its place.
    pub(super) fn first_of(&self, queue: Queue, from: u64) -> Result<Option<(u64, u32)>, Trouble> {
        Ok(self.queued(queue, from, u64::MAX, 1)?.pop())
    }

    /// Up to `most` guests of a queue, from the place `from` to `to`.
    pub(super) fn queued(
        &self,
        queue: Queue,
        from: u64,
        to: u64,
        most: usize,
    ) -> Result<Vec<(u64, u32)>, Trouble> {
        let mut places = Vec::new();
        if from > to {
            return Ok(places);
        }
        let rows = self.queues[queue as usize].range((from, 0)..=(to, u32::MAX))?;
        for row in rows.take(most) {
            places.push(row?.0.value());
        }
        Ok(places)
    }

    pub(super) fn count_queued(&self, queue: Queue) -> Result<u32, Trouble> {
        Ok(u32::try_from(self.queues[queue as usize].len()?).unwrap_or(u32::MAX))
    }

    /// How many guests wait in a queue up to the place `to`; `most`, if they are more.
    pub(super) fn count_queued_to(
        &self,
        queue: Queue,
        to: u64,
        most: usize,
    ) -> Result<u32, Trouble> {
        let rows = self.queues[queue as usize].range(..=(to, u32::MAX))?;
        Ok(u32::try_from(rows.take(most).count()).unwrap_or(u32::MAX))
    }

    pub(super) fn enqueue(&mut self, queue: Queue, at: u64, number: u32) -> Result<(), Trouble> {
        self.written = true;
        self.queues[queue as usize].insert((at, number), ())?;
        Ok(())
    }

    pub(super) fn unqueue(&mut self, queue: Queue, at: u64, number: u32) -> Result<(), Trouble> {
        self.written = true;
        self.queues[queue as usize].remove((at, number))?;
        Ok(())
    }

    /// Has a guest wait where its record says, and no longer where it did.
    pub(super) fn requeue(
        &mut self,
        number: u32,
        before: &Waits,
        now: &Waits,
    ) -> Result<(), Trouble> {
        for (queue, before, now) in [
            (Queue::Busy, before.busy, now.busy),
            (Queue::Work, before.work, now.work),
            (Queue::Joins, before.joins, now.joins),
        ] {
            if before == now {
                continue;
            }
            if let Some(at) = before {
                self.unqueue(queue, at, number)?;
            }
            if let Some(at) = now {
                self.enqueue(queue, at, number)?;
            }
        }
        Ok(())
    }

    /// The guest last active in `month` that is idle longest, among those that are since `from` or later.
    pub(super) fn first_idle(&self, month: u32, from: u64) -> Result<Option<Idle>, Trouble> {
        let mut rows = self.idle.range((month, from, 0)..=(month, u64::MAX, u32::MAX))?;
        let Some(row) = rows.next() else { return Ok(None) };
        let (month, since, number) = row?.0.value();
        Ok(Some(Idle { month, since, number }))
    }

    /// The first month, at or after `from`, in which idle guests were last active.
    pub(super) fn first_idle_month(&self, from: u32) -> Result<Option<u32>, Trouble> {
        let mut rows = self.idle.range((from, 0, 0)..)?;
        let Some(row) = rows.next() else { return Ok(None) };
        Ok(Some(row?.0.value().0))
    }

    /// The last month before `before` in which idle guests were last active.
    pub(super) fn last_idle_month(&self, before: u32) -> Result<Option<u32>, Trouble> {
        let mut rows = self.idle.range(..(before, 0, 0))?;
        let Some(row) = rows.next_back() else { return Ok(None) };
        Ok(Some(row?.0.value().0))
    }

    /// A guest with one of these numbers that is put aside, and the month in which it was active last: the latest of `months`.
    pub(super) fn find_aside(
        &self,
        months: RangeInclusive<u32>,
        numbers: RangeInclusive<u32>,
    ) -> Result<Option<(u32, u32)>, Trouble> {
        let retired = &self.queues[Queue::Retired as usize];
        let first = u64::from(*months.start());
        let mut before = u64::from(*months.end()) + 1;
        while first < before && !numbers.is_empty() {
            let Some(row) = retired.range((first, 0)..(before, 0))?.next_back() else { break };
            before = row?.0.value().0;
            let places = (before, *numbers.start())..=(before, *numbers.end());
            if let Some(row) = retired.range(places)?.next() {
                let (month, number) = row?.0.value();
                return Ok(Some((u32::try_from(month).unwrap_or(u32::MAX), number)));
            }
        }
        Ok(None)
    }

    pub(super) fn idle_guests(&self) -> Result<u64, Trouble> {
        Ok(self.idle.len()?)
    }

    pub(super) fn make_idle(&mut self, idle: Idle) -> Result<(), Trouble> {
        let mut counts = self.month(idle.month)?;
        counts.idle = counts.idle.saturating_add(1);
        counts.unseen = counts.unseen.saturating_add(u32::from(idle.since < counts.doubted));
        self.keep_month(idle.month, &counts)?;
        self.idle.insert((idle.month, idle.since, idle.number), ())?;
        Ok(())
    }

    pub(super) fn take_idle(&mut self, idle: Idle) -> Result<(), Trouble> {
        let mut counts = self.month(idle.month)?;
        counts.idle = counts.idle.saturating_sub(1);
        counts.unseen = counts.unseen.saturating_sub(u32::from(idle.since < counts.doubted));
        self.keep_month(idle.month, &counts)?;
        self.idle.remove((idle.month, idle.since, idle.number))?;
        Ok(())
    }
}
