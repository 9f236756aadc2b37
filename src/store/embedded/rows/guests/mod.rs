//! The pool of guests: what is kept of it, and in which orders its guests wait.
//!
//! A guest is in one place: never lent, idle, stale, retired, or kept with a record. A record's guest waits in up to three queues, and its record says
//! since or until when, so that it is found there again.

mod earliest;
mod leases;
mod lend;
mod orders;
mod state;
mod work;

use redb::ReadableTable;

use super::{ClaimRow, Rows};
use crate::clock::{Month, Timestamp};
use crate::ids::{Digest, Identity, RequestId};
use crate::store::Store;
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{Heir, Lease, millis};
use orders::Waits;

/// What is known of the pool as a whole.
struct Pool {
    /// The first guest that was never lent.
    next: u32,
    /// The cool-down asked for last, and the longest that ever was, ms.
    cooldown: u64,
    longest_cooldown: u64,
    /// When the store was found to have lost writes, ms; 0 for never.
    doubted: u64,
    /// Until when guests that are idle, or were never lent, are kept back for it, ms.
    floor_idle: u64,
    /// Until when those are that were lent before.
    floor_lent: u64,
    /// Up to which guest those that were never lent are doubtful.
    unsure: u32,
    /// Leases that began before this are over, ms.
    ended_before: u64,
    /// The stale guest that is scrubbed for the next visitor, 0 for none, and since when, ms.
    wanted: (u32, u64),
}

/// A guest's record.
#[derive(Default)]
struct Guest {
    number: u32,
    /// Digest of its holder's secret; empty when nobody has had it.
    id: String,
    since: u64,
    ends: u64,
    token_ends: u64,
    /// From when on it may be seen clean for good.
    ready: u64,
    /// The last month that it is active in; 0 for none.
    active: u32,
    confirmed: bool,
    /// The request that ended the lease.
    ended_by: Option<String>,
    scrubbed: bool,
    /// The member that its holder has become, and until when they may be written about, ms.
    heir: Option<(String, u64)>,
    claim: Option<Claim>,
    untouched_us: u64,
    used_by: String,
    waits: Waits,
    /// Where it waits as far as the tables know.
    kept: Waits,
}

/// How many guests there are of a month.
struct Counts {
    active: u32,
    /// Of those that were last active in it.
    idle: u32,
    /// Of the idle ones those that were seen clean before the store lost writes.
    unseen: u32,
    /// When that was, ms; 0 for never.
    doubted: u64,
}

/// Who works on a guest.
struct Claim {
    request: String,
    at: u64,
    until: u64,
    joins: bool,
}

impl Rows<'_> {
    fn pool(&self) -> Result<Pool, Trouble> {
        let row = self.pool.get(())?.map(|row| row.value());
        let (next, (cooldown, longest_cooldown), doubt, ended_before, wanted) =
            row.unwrap_or((1, (0, 0), (0, 0, 0, 0), 0, (0, 0)));
        let (doubted, floor_idle, floor_lent, unsure) = doubt;
        Ok(Pool {
            next,
            cooldown,
            longest_cooldown,
            doubted,
            floor_idle,
            floor_lent,
            unsure,
            ended_before,
            wanted,
        })
    }

    fn keep_pool(&mut self, pool: &Pool) -> Result<(), Trouble> {
        let cooldowns = (pool.cooldown, pool.longest_cooldown);
        let doubt = (pool.doubted, pool.floor_idle, pool.floor_lent, pool.unsure);
        self.written = true;
        self.pool.insert((), (pool.next, cooldowns, doubt, pool.ended_before, pool.wanted))?;
        Ok(())
    }

    fn guest(&self, number: u32) -> Result<Option<Guest>, Trouble> {
        let Some(row) = self.guests.get(number)? else { return Ok(None) };
        let (id, times, active, marks, heir, claim, (untouched_us, used_by), waits) = row.value();
        let (since, ends, token_ends, ready) = times;
        let (confirmed, ended_by, scrubbed) = marks;
        let waits = Waits { busy: waits.0, work: waits.1, joins: waits.2 };
        Ok(Some(Guest {
            number,
            id: id.to_owned(),
            since,
            ends,
            token_ends,
            ready,
            active,
            confirmed,
            ended_by: ended_by.map(str::to_owned),
            scrubbed,
            heir: heir.map(|(heir, until)| (heir.to_owned(), until)),
            claim: claim.map(Claim::read),
            untouched_us,
            used_by: used_by.to_owned(),
            waits,
            kept: waits,
        }))
    }

    /// A guest that waits in a queue, and so has a record.
    fn queued_guest(&self, number: u32) -> Result<Guest, Trouble> {
        self.guest(number)?.ok_or(Trouble::Corrupt("no record of a guest that waits"))
    }

    fn keep_guest(&mut self, guest: &Guest) -> Result<(), Trouble> {
        self.requeue(guest.number, &guest.kept, &guest.waits)?;
        let times = (guest.since, guest.ends, guest.token_ends, guest.ready);
        let marks = (guest.confirmed, guest.ended_by.as_deref(), guest.scrubbed);
        let claim = guest.claim.as_ref().map(Claim::row);
        let limit = (guest.untouched_us, guest.used_by.as_str());
        let waits = (guest.waits.busy, guest.waits.work, guest.waits.joins);
        let heir = guest.heir.as_ref().map(|(heir, until)| (heir.as_str(), *until));
        let row = (guest.id.as_str(), times, guest.active, marks, heir, claim, limit, waits);
        self.written = true;
        self.guests.insert(guest.number, row)?;
        Ok(())
    }

    fn drop_guest(&mut self, guest: &Guest) -> Result<(), Trouble> {
        self.requeue(guest.number, &guest.kept, &Waits::default())?;
        self.written = true;
        self.guests.remove(guest.number)?;
        Ok(())
    }

    /// Counts a guest that was last active in `active` in the months of `from` and `to`, ms, in which it was not; answers the last month
    /// that it is active in now.
    fn count_active(&mut self, active: u32, from: u64, to: u64) -> Result<u32, Trouble> {
        let mut last = active;
        for month in [month_of(from), month_of(to)] {
            if month > last {
                let mut counts = self.month(month)?;
                counts.active = counts.active.saturating_add(1);
                self.keep_month(month, &counts)?;
                last = month;
            }
        }
        Ok(last)
    }

    fn month(&self, month: u32) -> Result<Counts, Trouble> {
        let row = self.months.get(month)?.map(|row| row.value());
        let (active, idle, (unseen, known)) = row.unwrap_or_default();
        let doubted = self.pool()?.doubted;
        // All that was idle when a doubt came is doubtful: nothing of the row was changed since.
        let unseen = if known < doubted { idle } else { unseen };
        Ok(Counts { active, idle, unseen, doubted })
    }

    fn keep_month(&mut self, month: u32, counts: &Counts) -> Result<(), Trouble> {
        self.written = true;
        let unseen = (counts.unseen, counts.doubted);
        self.months.insert(month, (counts.active, counts.idle, unseen))?;
        Ok(())
    }

    /// The guest on which this request got work, if that is less than a minute ago.
    fn claimed_before(&self, request: RequestId) -> Result<Option<u32>, Trouble> {
        let row = self.guest_claims.get(&*request.to_string())?.map(|row| row.value());
        Ok(row.filter(|row| row.0 >= self.ms()).map(|(_, guest)| guest))
    }

    fn remember_claim(&mut self, request: RequestId, guest: u32) -> Result<(), Trouble> {
        let over = self.ms().saturating_add(millis(Store::TOMBSTONE));
        self.written = true;
        self.guest_claims.insert(&*request.to_string(), (over, guest))?;
        Ok(())
    }
}

impl Guest {
    /// Whether it is lent to the holder of the secret with this digest, or was last.
    fn is_of(&self, id: &Digest, pool: &Pool) -> bool {
        self.id == id.to_string() && self.ended_by.is_none() && self.since >= pool.ended_before
    }

    fn lives(&self, now: u64, pool: &Pool) -> bool {
        !self.id.is_empty()
            && self.ended_by.is_none()
            && self.since >= pool.ended_before
            && now < self.ends
    }

    /// Until when somebody works on it, if anybody does.
    fn held_until(&self, now: u64) -> Option<u64> {
        self.claim.as_ref().map(|claim| claim.until).filter(|until| *until > now)
    }

    fn is_claimed_by(&self, request: RequestId) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.request == request.to_string())
    }

    fn lease(&self, token_ends: u64) -> Lease {
        lease(self.number, self.since, self.ends, token_ends)
    }

    fn checked_heir(&self) -> Result<Option<Heir>, Trouble> {
        let Some((text, until)) = &self.heir else { return Ok(None) };
        let identity = Identity::parse(text);
        let identity = identity.map_err(|_| Trouble::Corrupt("no identity where one belongs"))?;
        Ok(Some(Heir { identity, until: Timestamp::from_millis(*until) }))
    }
}

impl Claim {
    fn read((request, at, until, joins): (&str, u64, u64, bool)) -> Self {
        Self { request: request.to_owned(), at, until, joins }
    }

    fn row(&self) -> <ClaimRow as redb::Value>::SelfType<'_> {
        (self.request.as_str(), self.at, self.until, self.joins)
    }
}

fn lease(guest: u32, since: u64, ends: u64, token_ends: u64) -> Lease {
    let [since, ends, token_ends] = [since, ends, token_ends].map(Timestamp::from_millis);
    Lease { guest, since, ends, token_ends }
}

fn month_of(ms: u64) -> u32 {
    Month::of(Timestamp::from_millis(ms)).number()
}

/// When a month ends, ms.
fn end_of(month: u32) -> u64 {
    Month::from_number(month).ends().as_millis()
}
