//! What a store has answered, and what follows from it: kept without a look at how a store does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vestibule::inside::store::{
    EndedLease, GuestTask, GuestWork, Lease, LeaseKey, PoolState, PoolTerms, Purpose, UsedLease,
    WorkDone, WorkTerms,
};
use vestibule::inside::{Month, RequestId, Timestamp};

use super::super::world::{TERMS, WORK};
use super::Step;

#[derive(Default)]
pub struct Ledger {
    guests: BTreeMap<u32, Guest>,
    /// The guests for which a token lived, by month.
    active: BTreeMap<u32, BTreeSet<u32>>,
    /// When the last doubt was, until when it lasts, and up to which guest it is about.
    doubt: Option<(Timestamp, Timestamp, u32)>,
    /// Whether the store may count more than we do: once a guest was stale, or a token ended close to a month's end.
    counts_more: bool,
    /// Whether guests were put aside.
    puts_aside: bool,
}

#[derive(Default)]
struct Guest {
    held: Option<Held>,
    /// The end of the last token that anybody had of it.
    token_ends: Option<Timestamp>,
    /// When the claim began after which it was seen clean last.
    clean: Option<Timestamp>,
    /// Since when it is idle.
    idle: Option<Timestamp>,
    claim: Option<(RequestId, Timestamp, bool)>,
    heir: bool,
    /// A quarantine came since: its next worker hears of no heir any more.
    disinherited: bool,
    /// Given back, and nothing was done about it yet.
    waits: bool,
}

/// Who has a guest, or had it last.
struct Held {
    key: LeaseKey,
    since: Timestamp,
    ends: Timestamp,
    confirmed: bool,
    /// Given back, or ended by a quarantine.
    ended: bool,
    scrubbed: bool,
}

fn ms(at: Timestamp) -> u64 {
    at.as_millis()
}

impl Ledger {
    pub fn lend(&mut self, key: LeaseKey, lease: Lease, terms: &PoolTerms, now: Timestamp) {
        assert!(lease.guest <= terms.size && lease.since == now, "{lease:?}");
        assert!(lease.token_ends <= now.plus(terms.first) && lease.token_ends <= lease.ends);
        self.the_longest_idle(lease.guest, terms.size, now);
        let doubt = self.doubt;
        let guest = self.guests.entry(lease.guest).or_default();
        if let Some(held) = &guest.held {
            assert!(held.ended || held.ends <= now, "it is lent to two");
        }
        // Its last token has ended, it has cooled, and was seen clean after that; also a token that nobody knows of any more.
        let mut since = guest.token_ends.map(|ends| ends.plus(TERMS.cooldown));
        if let Some((_, until, size)) = doubt {
            assert!(now >= until || guest.clean >= Some(until), "in quarantine");
            if guest.token_ends.is_some() || lease.guest <= size {
                since = since.max(Some(until));
            }
        }
        if let Some(since) = since {
            let clean = guest.clean.expect("it was seen clean");
            assert!(clean >= since, "seen clean at {clean}, to be seen from {since} on");
        }
        assert!(!guest.heir, "somebody is to have its conversations first");
        guest.idle = None;
        guest.claim = None;
        guest.disinherited = false;
        guest.held = Some(Held {
            key,
            since: now,
            ends: lease.ends,
            confirmed: false,
            ended: false,
            scrubbed: false,
        });
        self.tell_token(lease.guest, now, lease.token_ends);
    }

    /// Of the guests that cost nothing, the one idle longest is lent; before any that costs.
    fn the_longest_idle(&self, lent: u32, size: u32, now: Timestamp) {
        let active = self.active.get(&Month::of(now).number());
        let costs = |number: &u32| !active.is_some_and(|active| active.contains(number));
        let doubted = self.doubt.map(|doubt| doubt.0);
        // What is put aside after a doubt may be seen clean once more than it had to be.
        let is_sure = |number: u32| {
            !self.puts_aside || self.doubt.is_none_or(|(_, _, doubtful)| number > doubtful)
        };
        let idle = self.guests.iter().filter_map(|(number, guest)| Some((guest.idle?, *number)));
        let free = idle
            .filter(|(since, number)| Some(*since) > doubted && *number <= size && !costs(number))
            .filter(|(_, number)| is_sure(*number));
        if let Some((_, longest)) = free.min()
            && (costs(&lent) || !self.counts_more && !self.puts_aside)
        {
            assert_eq!(lent, longest, "another one is idle longer, and costs nothing");
        }
    }

    fn tell_token(&mut self, number: u32, now: Timestamp, ends: Timestamp) {
        for month in [Month::of(now), Month::of(ends)] {
            self.active.entry(month.number()).or_default().insert(number);
        }
        // The store counts with an end that is written a little ahead.
        self.counts_more |= Month::of(ends) != Month::of(ends.plus(TERMS.token / 100));
        let guest = self.guests.entry(number).or_default();
        guest.token_ends = guest.token_ends.max(Some(ends));
    }

    /// Whether `key` is the key to a lease that has not ended, by what was answered so far.
    fn lives(&self, key: &LeaseKey, now: Timestamp) -> bool {
        self.held(key).is_some_and(|held| !held.ended && now < held.ends)
    }

    fn held(&self, key: &LeaseKey) -> Option<&Held> {
        self.guests.get(&key.guest)?.held.as_ref().filter(|held| held.key == *key)
    }

    pub fn use_it(&mut self, key: &LeaseKey, purpose: Purpose, used: UsedLease, now: Timestamp) {
        let lives = self.lives(key, now);
        let UsedLease::Live(lease) = used else {
            assert_eq!(used, UsedLease::Ended);
            let left = self.held(key).map(|held| now.until(held.since.plus(TERMS.max_stay)));
            assert!(
                !lives || left < Some(PoolTerms::SHORTEST),
                "it lives, and is told that it does not"
            );
            return;
        };
        let guest = self.guests.get_mut(&key.guest).expect("it was lent");
        let held = guest.held.as_mut().filter(|held| held.key == *key).expect("it is its holder's");
        assert!(!held.ended && lease.since == held.since && lease.guest == key.guest);
        assert!(lives || purpose == Purpose::Return && !held.scrubbed, "it was over");
        held.confirmed |= purpose == Purpose::Token;
        held.ends = held.ends.max(lease.ends);
        let length = if held.confirmed { TERMS.lease } else { TERMS.first };
        assert!(lease.ends <= held.since.plus(TERMS.max_stay) && lease.token_ends <= lease.ends);
        assert!(
            lease.ends.plus(TERMS.lease / 100)
                >= now.plus(length).min(held.since.plus(TERMS.max_stay))
        );
        let is_settled = held.since.until(now) >= PoolTerms::SETTLE;
        let longest = if held.confirmed && is_settled { TERMS.token } else { TERMS.first };
        assert!(
            lease.token_ends <= now.plus(longest)
                && now.until(lease.token_ends) >= PoolTerms::SHORTEST
        );
        self.tell_token(key.guest, now, lease.token_ends);
    }

    pub fn read(&self, key: &LeaseKey, read: Option<Lease>, now: Timestamp) {
        assert_eq!(read.is_some(), self.lives(key, now));
        if let (Some(lease), Some(held)) = (read, self.held(key)) {
            assert_eq!((lease.since, lease.ends), (held.since, held.ends));
            assert!(Some(lease.token_ends) >= self.guests[&key.guest].token_ends);
        }
    }

    pub fn end(&mut self, key: &LeaseKey, heir: bool, ended: EndedLease, now: Timestamp) {
        let lives = self.lives(key, now);
        assert_eq!(ended == EndedLease::Now, lives, "{ended:?}");
        if !lives {
            return;
        }
        let guest = self.guests.get_mut(&key.guest).expect("it was lent");
        (guest.heir, guest.waits) = (heir, true);
        if let Some(held) = &mut guest.held {
            held.ended = true;
        }
    }

    pub fn claim(&mut self, work: &GuestWork, now: Timestamp) {
        let month = Month::of(now);
        let is_active =
            self.active.get(&month.number()).is_some_and(|all| all.contains(&work.guest));
        let guest = self.guests.entry(work.guest).or_default();
        guest.heir &= !guest.disinherited;
        if let Some((_, until, finished)) = guest.claim {
            assert!(finished || now >= until, "somebody else is at it");
        }
        guest.claim = Some((work.claim, now.plus(WORK.hold), false));
        let lives = guest.held.as_ref().is_some_and(|held| !held.ended && now < held.ends);
        match &work.task {
            GuestTask::Join { until } => {
                assert!(lives && is_active, "nobody is about to come");
                let ends = guest.held.as_ref().map(|held| held.ends);
                assert!(Some(*until) <= ends, "{until} is too late");
                assert!(now.until(*until) >= WorkTerms::SPARE, "nobody has the time");
            }
            GuestTask::Scrub { free_until, heir } => {
                assert!(!lives, "it is taken away from under its holder");
                assert_eq!(heir.is_some(), guest.heir);
                assert!(free_until.is_some() || !is_active);
                assert!(free_until.is_none_or(|until| until >= month.ends()));
                assert!(free_until.is_none() || is_active || self.counts_more, "it would cost");
                guest.waits = false;
                if let Some(held) = &mut guest.held {
                    held.scrubbed = true;
                }
            }
        }
    }

    /// Nobody waits for a worker who is told that there is nothing to do.
    pub fn claim_none(&self, now: Timestamp) {
        for (number, guest) in &self.guests {
            let held = guest.claim.is_some_and(|(_, until, finished)| !finished && now < until);
            assert!(held || !guest.waits, "guest {number} was given back");
        }
    }

    pub fn finish(&mut self, work: &GuestWork, done: WorkDone, finished: bool, now: Timestamp) {
        let doubt = self.doubt;
        let Some(guest) = self.guests.get_mut(&work.guest) else { panic!("{work:?}") };
        let is_ours = guest.claim.is_some_and(|(claim, _, over)| claim == work.claim && !over);
        let ends = !matches!(done, WorkDone::Inherited);
        let seen = matches!(done, WorkDone::Clean | WorkDone::Dirty);
        assert_eq!(finished, is_ours && !(seen && guest.heir), "{work:?} {done:?}");
        if !finished {
            return;
        }
        let claim = guest.claim.as_mut().expect("it is ours");
        claim.2 = ends;
        let begun = Timestamp::from_millis(ms(claim.1) - 60_000);
        match done {
            WorkDone::Inherited => guest.heir = false,
            WorkDone::Clean => {
                guest.clean = Some(begun);
                let cool = guest.token_ends.map(|ends| ends.plus(TERMS.cooldown));
                let over = guest.held.as_ref().map(|held| {
                    if held.ended { held.since } else { held.ends.plus(TERMS.cooldown) }
                });
                let doubtful = doubt.map(|doubt| doubt.1);
                // The store knows of later ends than we, by a little.
                let slack = TERMS.token / 100;
                let ready = cool.max(over).max(doubtful).map(|ready| ready.plus(slack));
                guest.idle = (Some(begun) >= ready).then_some(now);
            }
            WorkDone::Dirty => self.counts_more = true,
            WorkDone::Joined | WorkDone::Failed { .. } => {}
        }
    }

    pub fn quarantine(&mut self, size: u32, until: Timestamp, now: Timestamp) {
        let longest = TERMS.token + TERMS.cooldown;
        assert!(until >= now.plus(longest) && until <= now.plus(longest + Duration::from_secs(1)));
        let size = self.doubt.map_or(size, |doubt| doubt.2.max(size));
        self.doubt = Some((now, until, size));
        for guest in self.guests.values_mut() {
            guest.disinherited = true;
            if let Some(held) = &mut guest.held {
                held.ended = true;
            }
        }
    }

    /// What the pool says of itself fits what it has answered.
    pub fn check(&mut self, step: &Step, before: &PoolState, after: &PoolState) {
        self.puts_aside |= after.retired > 0;
        self.counts_more |= after.stale > 0;
        let there = after.stale + after.warm + after.cold + after.retired + after.doubtful;
        let with_record = after.made - there;
        let busy = after.lent + after.cooling;
        assert!(with_record >= busy.max(after.scrubbing), "{after:?}");
        assert!(with_record <= busy + after.scrubbing, "a guest is nowhere: {after:?}");
        let active = self.active.get(&after.month.number()).map_or(0, BTreeSet::len);
        let active = u32::try_from(active).unwrap();
        assert!(after.active >= active, "{after:?}: {active} were active");
        assert!(self.counts_more || after.active == active, "{after:?}: {active} were active");
        if let Step::Lend { budget: Some(budget), .. } = step {
            assert!(after.active <= before.active.max(*budget), "beyond the budget");
        }
    }
}
