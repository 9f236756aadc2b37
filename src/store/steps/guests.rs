//! The pool of guests: what lends one, what is kept of a lease, and what work a guest needs before it is lent again.

use std::time::Duration;

use super::Rate;
use crate::clock::{Month, Timestamp};
use crate::ids::{Digest, Identity, RequestId};

/// Names one lease: which guest, and the digest of its holder's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseKey {
    /// The guest's number, from 1.
    pub guest: u32,
    /// Digest of the secret that only the holder knows.
    pub id: Digest,
}

/// How the pool is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolTerms {
    /// How many guests there are. A guest beyond it that is lent stays so to its end.
    pub size: u32,
    /// How many may be active in one month; `None` for all of them.
    pub budget: Option<u32>,
    /// How long a lease and its token last until the holder comes back for a second token.
    pub first: Duration,
    /// How long a lease lasts after each token from then on.
    pub lease: Duration,
    /// How long a token lasts at most.
    pub token: Duration,
    /// How long one holder may keep a guest, however often the lease is renewed.
    pub max_stay: Duration,
    /// How long after its last token's end a guest is not lent to anybody else.
    pub cooldown: Duration,
    /// Whether a guest is to be taken into conversations once it is lent.
    pub joins: bool,
}

impl PoolTerms {
    /// Until a lease is this old its tokens last as long as the first one: a store that loses its last writes loses a renewal together
    /// with its lend only when less time lay between them, and then the token that nobody knows of is a short one.
    pub const SETTLE: Duration = Duration::from_secs(30);

    /// How much a store may lose, as far as anybody knows, before a renewal may be lost together with its lend: shorter than
    /// [`PoolTerms::SETTLE`] by more than lies between two looks.
    pub(in crate::store) const MOST_LOST: Duration = Duration::from_secs(20);

    /// The largest size that a pool can have.
    pub const LARGEST: u32 = 10_000_000;

    /// By how much a lease and a token's end may be written later than they are: a 128th, which spares most tokens a write.
    pub(in crate::store) fn grain(length: Duration) -> Duration {
        length / 128
    }

    /// For how long somebody who has signed in counts as about to connect, whatever the month is by then: what is written about them at
    /// Twilio is written in a month in which they are active.
    pub const PRESENCE: Duration = Duration::from_hours(1);

    /// What is too little to lend for, or to mint a token for: below it the holder would be asking again before it had connected.
    pub const SHORTEST: Duration = Duration::from_mins(1);
}

/// A lease as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The guest's number, from 1.
    pub guest: u32,
    /// When its holder got it.
    pub since: Timestamp,
    /// When it ends unless it is renewed.
    pub ends: Timestamp,
    /// When the token may end at the latest that is minted on this answer.
    pub token_ends: Timestamp,
}

/// What came of asking for a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lent {
    /// This one, to a new holder.
    Guest(Lease),
    /// Every guest that could be lent is lent, cooling or not seen clean; the earliest may be in `after`: at least a second, and a minute
    /// when nothing is known to come.
    Exhausted {
        /// How long to wait.
        after: Duration,
    },
    /// The month's budget is used up, and this lend would make one more guest active; one that is active already may be free in `after`.
    BudgetReached {
        /// How long to wait.
        after: Duration,
    },
}

/// Why a holder shows its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For another token (`POST /token`), which confirms the lease.
    Token,
    /// To have its guest again (`POST /guest`): also when the lease is over, as long as nothing was done about it.
    Return,
}

/// What came of using a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedLease {
    /// It lives, or lives again, and is renewed.
    Live(Lease),
    /// It lives, but this use is over its limit, and nothing is renewed.
    Limited {
        /// When it may be used again.
        after: Duration,
    },
    /// It is no more, or never was, or has less than [`PoolTerms::SHORTEST`] left.
    Ended,
}

/// What came of ending a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedLease {
    /// It lived until now.
    Now,
    /// It was ended before, and its guest is not idle yet.
    Before,
    /// It is over by itself, or never was.
    Over,
}

/// How a lease may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// The pool's terms.
    pub pool: PoolTerms,
    /// How often it may be used; `None` for no limit.
    pub limit: Option<Rate>,
    /// What for.
    pub purpose: Purpose,
}

/// How work on guests is given out.
#[derive(Clone, Copy, Debug)]
pub struct WorkTerms {
    /// For how long nobody else gets the same.
    pub hold: Duration,
    /// The pool's size, for doubtful guests that were perhaps lent.
    pub size: u32,
    /// In the last so much of a month guests are scrubbed as soon as their lease is over, for in the next one it would cost.
    pub early: Duration,
    /// From when on to look for these, which a former answer told.
    pub from: Timestamp,
}

impl WorkTerms {
    /// How long before writing is free no more, or for nobody, a worker begins no write any more: each takes a while to arrive.
    pub const SPARE: Duration = Duration::from_secs(15);

    /// How much time has to be left in a month for a guest to be paid for in it: [`WorkTerms::SPARE`], and a while until somebody has
    /// taken the work.
    pub const WORTHWHILE: Duration = Duration::from_secs(20);

    /// For how long a stale guest that is scrubbed for the next visitor keeps another from being scrubbed too. One that fails again and again must
    /// not keep all others from it; and while Twilio is away, not one more for each visitor may become active.
    pub const WANTED: Duration = Duration::from_mins(5);

    /// When to try again what was found dirty in a month in which it is active, when writing is free: by then either there is time for it,
    /// or the month is over.
    pub const PATIENCE: Duration = Duration::from_mins(1);
}

/// Something to be done at Twilio about a guest, by one process at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestWork {
    /// The guest's number.
    pub guest: u32,
    /// Names this claim, for the step that finishes it.
    pub claim: RequestId,
    /// What.
    pub task: GuestTask,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestTask {
    /// Take it into the guests' conversations: it is lent.
    Join {
        /// Until when writing is for somebody who is there, in a month in which the guest is active.
        until: Timestamp,
    },
    /// Take it out of everything, or see that it is in nothing.
    Scrub {
        /// Until when writing costs nothing, since the guest is active this month; `None` when each write would make it so.
        free_until: Option<Timestamp>,
        /// Who is to be taken into the guest's conversations first.
        heir: Option<Heir>,
    },
}

/// The member that a guest's holder has become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heir {
    /// Who.
    pub identity: Identity,
    /// Until when writing is for somebody who is there: the month in which they signed in, and [`PoolTerms::PRESENCE`] after that.
    pub until: Timestamp,
}

/// What was found when work was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundWork {
    /// This.
    Work(GuestWork),
    /// Nothing among those that were looked at; there may be more from here on.
    LookOn {
        /// [`WorkTerms::from`] for the next look.
        from: Timestamp,
    },
    /// Nothing is to be done now.
    Nothing,
}

/// How work on a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkDone {
    /// It has been taken into the conversations.
    Joined,
    /// The heir is in all of its conversations; the scrub goes on.
    Inherited,
    /// It was seen to be in nothing, by reads that began after the claim.
    Clean,
    /// It is in something, and taking it out would have cost: it waits until the pool needs a guest that is not active yet. One that is
    /// active, for it was too late to write, is given out again in a minute.
    Dirty,
    /// Twilio did not answer as it should; the work is given out again after a while.
    Failed {
        /// How long to wait.
        retry_after: Duration,
    },
}

/// The pool at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// How many guests were ever lent, or doubtful.
    pub made: u32,
    /// Lent now.
    pub lent: u32,
    /// The lease is over, the guest not yet ready. In a file they are told up to 10,000; what is beyond counts as lent.
    pub cooling: u32,
    /// In work, or waiting for it, before they are idle.
    pub scrubbing: u32,
    /// In something, and not worth a month's price yet.
    pub stale: u32,
    /// Idle and active this month: lending one costs nothing.
    pub warm: u32,
    /// Idle and not active this month.
    pub cold: u32,
    /// Beyond the size.
    pub retired: u32,
    /// Idle ones that have to be seen clean again, since the store lost writes.
    pub doubtful: u32,
    /// Waiting to be taken into the guests' conversations; also when the lease is over, as long as the holder may come back.
    pub joining: u32,
    /// Active this month.
    pub active: u32,
    /// The month.
    pub month: Month,
    /// When the store was last found to have lost writes, if ever.
    pub doubted: Option<Timestamp>,
    /// Until when guests that might have been lent unseen are kept back, if any are.
    pub quarantine_ends: Option<Timestamp>,
}
