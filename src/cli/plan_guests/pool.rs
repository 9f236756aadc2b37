//! The lending rule as a model, and the rules that it is compared with: visits in, who was refused and what is billed out.
//!
//! Pure, and in time of the visits alone. The rule as it is lived is the store's; here are no budget, no doubt, no visitor who
//! comes back, and a guest is scrubbed in no time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::numbers::Numbers;

/// A calendar month: twelve for each year, and the month's place in its year from 0.
pub(super) type Month = u32;

/// How many identities are billed in each month in which there is one.
pub(super) type Billed = BTreeMap<Month, u64>;

/// A visit by what it takes of a guest. Moments are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// When the visitor comes.
    pub(super) from: u64,
    /// From when on the guest may be lent again, which is later than the end of each of the visit's tokens.
    pub(super) ready: u64,
    /// The month of `from`.
    pub(super) first: Month,
    /// The last month in which a token of the visit lives.
    pub(super) last: Month,
}

/// Which idle guest is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// One that is active in this month, idle longest; else one of those active last longest ago; else one that was never lent.
    ActiveFirst,
    /// Any.
    #[cfg_attr(not(test), expect(dead_code, reason = "a rule to compare with"))]
    Random,
    /// The one that is idle longest; those never lent before all.
    #[cfg_attr(not(test), expect(dead_code, reason = "a rule to compare with"))]
    IdleLongest,
}

/// How a pool has fared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fared {
    /// Visitors for whom there was no guest.
    pub(super) refused: u64,
    /// The longest time that one of these would have had to wait for one, in milliseconds.
    pub(super) longest_wait: u64,
    /// How many different guests were lent.
    pub(super) lent: u32,
    pub(super) billed: Billed,
}

/// Lends a pool of `size` guests to visits, which are in the order of their arrival.
pub(super) fn lend(visits: &[Visit], size: u32, rule: Rule) -> Fared {
    let mut pool = Pool::new(size, rule);
    for visit in visits {
        pool.visit(visit);
    }
    pool.fared()
}

/// Gives each visitor an identity of its own.
pub(super) fn one_each(visits: &[Visit]) -> Billed {
    let mut billed = Billed::new();
    for visit in visits {
        count(&mut billed, visit.first, visit.last);
    }
    billed
}

/// The fewest guests that can be billed in each month when nobody is refused, whatever the rule and whatever it knows of the
/// future: as many as are, at one moment of the month, lent or cooling after a token that lived in the month.
pub(super) fn least(visits: &[Visit]) -> Billed {
    let mut least = Billed::new();
    let mut busy = BinaryHeap::<Reverse<(u64, Month)>>::new();
    let mut note = |month, busy: usize| {
        if busy > 0 {
            let most = least.entry(month).or_default();
            *most = (*most).max(busy as u64);
        }
    };
    let mut current = 0;
    for visit in visits {
        // A token that lives on into a month is one that lives at its very beginning.
        while current < visit.first && !busy.is_empty() {
            current += 1;
            busy.retain(|Reverse((_, last))| *last >= current);
            note(current, busy.len());
        }
        current = visit.first;
        while busy.peek().is_some_and(|Reverse((ready, _))| *ready <= visit.from) {
            busy.pop();
        }
        busy.push(Reverse((visit.ready, visit.last)));
        note(current, busy.len());
    }
    while !busy.is_empty() {
        current += 1;
        busy.retain(|Reverse((_, last))| *last >= current);
        note(current, busy.len());
    }
    least
}

fn count(billed: &mut Billed, from: Month, to: Month) {
    for month in from..=to {
        *billed.entry(month).or_default() += 1;
    }
}

/// Guests of one pool, lent by one rule.
pub(super) struct Pool {
    idle: Idle,
    /// By when it is ready, with the last month in which it is active.
    busy: BinaryHeap<Reverse<(u64, u32, Month)>>,
    /// The last month in which each guest was active; by its number from 0, as far as they were lent.
    active: Vec<Option<Month>>,
    fared: Fared,
}

impl Pool {
    /// A pool of which no guest was lent.
    pub(super) fn new(size: u32, rule: Rule) -> Self {
        let idle = match rule {
            Rule::ActiveFirst => Idle::ByMonth { idle: BTreeMap::new(), never: 0..size },
            Rule::Random => Idle::Bag((0..size).collect(), Numbers::new(2)),
            Rule::IdleLongest => Idle::Queue((0..size).collect()),
        };
        Self { idle, busy: BinaryHeap::new(), active: Vec::new(), fared: Fared::default() }
    }

    /// Lends a guest to the next visitor, if there is one; by its number from 0.
    pub(super) fn visit(&mut self, visit: &Visit) -> Option<u32> {
        while let Some(&Reverse((ready, guest, last))) = self.busy.peek()
            && ready <= visit.from
        {
            self.busy.pop();
            self.idle.take_back(guest, last);
        }
        let Some(guest) = self.idle.lend(visit.first) else {
            let earliest = self.busy.peek().map_or(visit.from, |Reverse((ready, ..))| *ready);
            self.fared.refused += 1;
            self.fared.longest_wait = self.fared.longest_wait.max(earliest - visit.from);
            return None;
        };
        let place = guest as usize;
        if place >= self.active.len() {
            self.active.resize(place + 1, None);
        }
        let before = self.active[place].replace(visit.last);
        self.fared.lent += u32::from(before.is_none());
        let uncounted = before.map_or(visit.first, |before| visit.first.max(before + 1));
        count(&mut self.fared.billed, uncounted, visit.last);
        self.busy.push(Reverse((visit.ready, guest, visit.last)));
        Some(guest)
    }

    /// How it has fared up to now.
    pub(super) fn fared(self) -> Fared {
        self.fared
    }
}

/// Guests that can be lent, arranged as a rule needs them. They come back in the order in which they became ready.
enum Idle {
    ByMonth { idle: BTreeMap<Month, VecDeque<u32>>, never: std::ops::Range<u32> },
    Bag(Vec<u32>, Numbers),
    Queue(VecDeque<u32>),
}

impl Idle {
    fn take_back(&mut self, guest: u32, last: Month) {
        match self {
            Self::ByMonth { idle, .. } => idle.entry(last).or_default().push_back(guest),
            Self::Bag(guests, _) => guests.push(guest),
            Self::Queue(guests) => guests.push_back(guest),
        }
    }

    fn lend(&mut self, month: Month) -> Option<u32> {
        match self {
            Self::ByMonth { idle, never } => {
                if let Some(guest) = idle.get_mut(&month).and_then(VecDeque::pop_front) {
                    return Some(guest);
                }
                while let Some(mut earliest) = idle.first_entry() {
                    if let Some(guest) = earliest.get_mut().pop_front() {
                        return Some(guest);
                    }
                    earliest.remove();
                }
                never.next()
            }
            Self::Bag(guests, numbers) => {
                if guests.is_empty() {
                    return None;
                }
                let place = numbers.below(guests.len());
                Some(guests.swap_remove(place))
            }
            Self::Queue(guests) => guests.pop_front(),
        }
    }
}
