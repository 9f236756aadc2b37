//! The pool of guests on Redis: all of it in one slot.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::script::{Answer, Call, Maybe, Script};
use super::together::Together;
use super::{Redis, keys};
use crate::clock::{Month, Timestamp};
use crate::ids::{Digest, Identity, RequestId};
use crate::store::steps::{
    EndedLease, FoundWork, GuestTask, GuestWork, Heir, Lease, LeaseKey, LeaseTerms, Lent,
    PoolState, PoolTerms, Purpose, Rate, UsedLease, WorkDone, WorkTerms, millis,
};
use crate::store::{Dated, Fault, Store};

/// What this process knows of the pool: a store that lost everything cannot tell.
#[derive(Default)]
pub(super) struct Known(RwLock<Pool>);

#[derive(Clone, Default)]
struct Pool {
    /// Names the pool; empty before the first look.
    birth: Option<Arc<str>>,
    /// The server's replication id at the last look, and when that was.
    history: Arc<str>,
    seen: u64,
    month: Month,
    active: u64,
}

impl Known {
    fn get(&self) -> Pool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, pool: Pool) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pool;
    }
}

/// Lends, and uses of leases, that leave together.
pub(super) type Lends = Together<PoolTerms, Digest, Dated<Lent>>;
pub(super) type Uses = Together<LeaseTerms, (LeaseKey, RequestId), Dated<UsedLease>>;

/// How often a step is tried that finds the pool another one than it knew: a look at the doubt lies between each two.
const TRIES: u32 = 3;

const DOUBTED: u64 = 3;

impl Redis {
    pub(in crate::store) async fn lend_guest(
        self: &Arc<Self>,
        id: &Digest,
        terms: &PoolTerms,
    ) -> Result<Dated<Lent>, Fault> {
        let redis = self.clone();
        let lend = move |terms, ids: Vec<Digest>| {
            let redis = redis.clone();
            async move { redis.lend_guests(&terms, &ids).await }
        };
        self.lends.ask(*terms, *id, lend).await
    }

    /// Lends to all who have secrets of these digests.
    async fn lend_guests(
        &self,
        terms: &PoolTerms,
        ids: &[Digest],
    ) -> Result<Vec<Dated<Lent>>, Fault> {
        let first = terms.first.min(terms.max_stay).min(terms.token);
        let request = RequestId::unique();
        for _ in 0..TRIES {
            let call = self.pool_call(&self.scripts.lend_guest).text(request);
            let call = call.arg(&*self.birth()).arg(terms.size).text(Maybe(terms.budget));
            let call = call.arg(millis(first)).arg(millis(terms.cooldown));
            let call = call.arg(u8::from(terms.joins)).arg(millis(Store::TOMBSTONE));
            let call = call.arg(millis(WorkTerms::WORTHWHILE)).arg(millis(WorkTerms::WANTED));
            let mut answer = ids.iter().fold(call, Call::text).run_for_many(&self.link).await?;
            let outcome = answer.number()?;
            if outcome == DOUBTED {
                self.heed_doubt(terms).await?;
                continue;
            }
            let after = answer.millis()?;
            let (since, ends) = (answer.timestamp()?, answer.timestamp()?);
            let mut lent = Vec::with_capacity(ids.len());
            for _ in ids {
                lent.push(match outcome {
                    _ if !answer.is_over() => {
                        Lent::Guest(Lease { guest: answer.guest()?, since, ends, token_ends: ends })
                    }
                    0 => Lent::Exhausted { after },
                    2 => Lent::BudgetReached { after },
                    _ => return Err(Fault::Corrupt("an answer that lend_guest.lua does not give")),
                });
            }
            return Ok(answer.dated_each(lent));
        }
        Err(RESTLESS)
    }

    pub(in crate::store) async fn use_lease(
        self: &Arc<Self>,
        key: &LeaseKey,
        terms: &LeaseTerms,
        request: RequestId,
    ) -> Result<Dated<UsedLease>, Fault> {
        let redis = self.clone();
        let use_them = move |terms, uses: Vec<(LeaseKey, RequestId)>| {
            let redis = redis.clone();
            async move { redis.use_leases(&terms, &uses).await }
        };
        self.uses.ask(*terms, (*key, request), use_them).await
    }

    /// Uses all of these leases.
    async fn use_leases(
        &self,
        terms: &LeaseTerms,
        uses: &[(LeaseKey, RequestId)],
    ) -> Result<Vec<Dated<UsedLease>>, Fault> {
        let pool = &terms.pool;
        for _ in 0..TRIES {
            let call = self.scripts.use_lease.call(1 + uses.len()).arg(&self.pool_key);
            let call = uses
                .iter()
                .fold(call, |call, (key, _)| call.text(keys::guest(&self.pool_key, key.guest)));
            let call = call.arg(&*self.birth()).arg(match terms.purpose {
                Purpose::Token => "t",
                Purpose::Return => "r",
            });
            let call = call.arg(millis(pool.first)).arg(millis(pool.lease)).arg(millis(pool.token));
            let call = call.arg(millis(pool.max_stay)).arg(millis(pool.cooldown));
            let call = call.arg(millis(PoolTerms::SETTLE)).arg(millis(PoolTerms::SHORTEST));
            let call = call
                .arg(terms.limit.map_or(0, Rate::interval_us))
                .arg(terms.limit.map_or(0, Rate::burst_us));
            let call =
                uses.iter().fold(call, |call, (key, request)| call.text(request).text(key.id));
            let mut answer = call.run_for_many(&self.link).await?;
            let mut told = Vec::with_capacity(uses.len());
            for (key, _) in uses {
                let outcome = answer.number()?;
                if outcome == DOUBTED {
                    break;
                }
                let numbers = [answer.number()?, answer.number()?, answer.number()?];
                let [since, ends, token_ends] = numbers.map(Timestamp::from_millis);
                told.push(match outcome {
                    0 => UsedLease::Ended,
                    1 => UsedLease::Live(Lease { guest: key.guest, since, ends, token_ends }),
                    2 => UsedLease::Limited { after: Duration::from_micros(numbers[0]) },
                    _ => return Err(Fault::Corrupt("an answer that use_lease.lua does not give")),
                });
            }
            if told.len() == uses.len() {
                return Ok(answer.dated_each(told));
            }
            self.heed_doubt(pool).await?;
        }
        Err(RESTLESS)
    }

    pub(in crate::store) async fn read_lease(
        &self,
        key: &LeaseKey,
    ) -> Result<Dated<Option<Lease>>, Fault> {
        let call = self.guest_call(&self.scripts.read_lease, key.guest);
        let mut answer = call.text(key.id).run(&self.link).await?;
        let lives = answer.number()? == 1;
        let lease = if lives { Some(read_lease(key.guest, &mut answer)?) } else { None };
        Ok(answer.dated(lease))
    }

    pub(in crate::store) async fn end_lease(
        &self,
        key: &LeaseKey,
        heir: Option<&Identity>,
        terms: &PoolTerms,
        request: RequestId,
    ) -> Result<Dated<EndedLease>, Fault> {
        let call = self.guest_call(&self.scripts.end_lease, key.guest);
        let call = call.text(request).text(key.id).arg(key.guest).text(Maybe(heir));
        let call = call.arg(millis(terms.cooldown)).arg(millis(PoolTerms::PRESENCE));
        let mut answer = call.run(&self.link).await?;
        let ended = match answer.number()? {
            0 => EndedLease::Over,
            1 => EndedLease::Now,
            _ => EndedLease::Before,
        };
        Ok(answer.dated(ended))
    }

    pub(in crate::store) async fn claim_guest_work(
        &self,
        terms: &WorkTerms,
        request: RequestId,
    ) -> Result<Dated<FoundWork>, Fault> {
        let call = self.pool_call(&self.scripts.claim_guest_work).text(request);
        let call = call.arg(millis(terms.hold)).arg(terms.size).arg(millis(terms.early));
        let call = call.arg(terms.from.as_millis()).arg(millis(Store::TOMBSTONE));
        let call = call.arg(millis(WorkTerms::SPARE));
        let mut answer = call.run(&self.link).await?;
        let found = match answer.number()? {
            0 => FoundWork::Nothing,
            1 => {
                let (guest, kind) = (answer.guest()?, answer.text()?);
                let until = answer.timestamp()?;
                let free_until = (until.as_millis() != 0).then_some(until);
                let task = match kind.as_str() {
                    "j" => GuestTask::Join { until },
                    _ => GuestTask::Scrub { free_until, heir: read_heir(&mut answer)? },
                };
                FoundWork::Work(GuestWork { guest, claim: request, task })
            }
            _ => FoundWork::LookOn { from: answer.timestamp()? },
        };
        Ok(answer.dated(found))
    }

    pub(in crate::store) async fn finish_guest_work(
        &self,
        work: &GuestWork,
        done: WorkDone,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.guest_call(&self.scripts.finish_guest_work, work.guest);
        let (outcome, pause) = match done {
            WorkDone::Joined => ("joined", Duration::ZERO),
            WorkDone::Inherited => ("inherited", Duration::ZERO),
            WorkDone::Clean => ("clean", Duration::ZERO),
            WorkDone::Dirty => ("dirty", WorkTerms::PATIENCE),
            WorkDone::Failed { retry_after } => ("failed", retry_after),
        };
        let call = call.arg(work.guest).text(work.claim).arg(outcome).arg(millis(pause));
        let mut answer = call.run(&self.link).await?;
        let ours = answer.number()? == 1;
        Ok(answer.dated(ours))
    }

    pub(in crate::store) async fn describe_pool(&self) -> Result<Dated<PoolState>, Fault> {
        let mut answer = self.pool_call(&self.scripts.describe_pool).run(&self.link).await?;
        let state = PoolState {
            made: answer.guest()?,
            lent: answer.guest()?,
            cooling: answer.guest()?,
            scrubbing: answer.guest()?,
            stale: answer.guest()?,
            warm: answer.guest()?,
            cold: answer.guest()?,
            retired: answer.guest()?,
            doubtful: answer.guest()?,
            joining: answer.guest()?,
            active: answer.guest()?,
            month: Month::from_number(answer.guest()?),
            doubted: answer.maybe_timestamp()?,
            quarantine_ends: answer.maybe_timestamp()?,
        };
        Ok(answer.dated(state))
    }

    pub(in crate::store) async fn heed_doubt(
        &self,
        terms: &PoolTerms,
    ) -> Result<Dated<Option<Timestamp>>, Fault> {
        let known = self.pool.get();
        let call = self.pool_call(&self.scripts.heed_doubt).text(RequestId::unique());
        let call = call.arg(known.birth.as_deref().unwrap_or(""));
        let call = call.arg(&*known.history).arg(known.seen);
        let call = call.arg(known.month.number()).arg(known.active);
        let call = call.arg(millis(terms.first)).arg(millis(terms.token));
        let call = call.arg(millis(terms.cooldown)).arg(terms.size);
        let call = call.arg(millis(PoolTerms::MOST_LOST)).arg(PoolTerms::LARGEST);
        let mut answer = call.run(&self.link).await?;
        let (birth, history) = (answer.text()?, answer.text()?);
        let seen = answer.number()?;
        let doubted = answer.maybe_timestamp()?;
        let month = Month::from_number(answer.guest()?);
        let active = answer.number()?;
        // The same name again costs no more than a count.
        let birth = match known.birth {
            Some(known) if *known == *birth => known,
            _ => birth.into(),
        };
        self.pool.set(Pool { birth: Some(birth), history: history.into(), seen, month, active });
        Ok(answer.dated(doubted))
    }

    pub(in crate::store) async fn quarantine_guests(
        &self,
        terms: &PoolTerms,
    ) -> Result<Dated<Timestamp>, Fault> {
        let call = self.pool_call(&self.scripts.quarantine_guests).arg(millis(terms.token));
        let call = call.arg(millis(terms.cooldown)).arg(terms.size);
        let mut answer = call.run(&self.link).await?;
        let ends = answer.timestamp()?;
        Ok(answer.dated(ends))
    }

    /// A call about the pool as a whole.
    fn pool_call<'s>(&self, script: &'s Script) -> Call<'s> {
        script.call(1).arg(&self.pool_key)
    }

    /// A call about one of its guests.
    fn guest_call<'s>(&self, script: &'s Script, guest: u32) -> Call<'s> {
        script.call(2).arg(&self.pool_key).text(keys::guest(&self.pool_key, guest))
    }

    fn birth(&self) -> Arc<str> {
        self.pool.get().birth.unwrap_or_default()
    }
}

/// The server's history changes faster than we can look at it.
const RESTLESS: Fault = Fault::Corrupt("the pool is another one at each look");

fn read_lease(guest: u32, answer: &mut Answer) -> Result<Lease, Fault> {
    let (since, ends) = (answer.timestamp()?, answer.timestamp()?);
    Ok(Lease { guest, since, ends, token_ends: answer.timestamp()? })
}

/// Who is to have a guest's conversations, if anybody is.
fn read_heir(answer: &mut Answer) -> Result<Option<Heir>, Fault> {
    let until = answer.timestamp()?;
    let Some(text) = answer.maybe_text()? else { return Ok(None) };
    let identity = Identity::parse(&text);
    let identity = identity.map_err(|_| Fault::Corrupt("no identity where one belongs"))?;
    Ok(Some(Heir { identity, until }))
}

impl Answer {
    /// The next value, a guest's number or a number of guests.
    fn guest(&mut self) -> Result<u32, Fault> {
        u32::try_from(self.number()?).map_err(|_| Fault::Corrupt("a number beyond all guests"))
    }

    /// The next value, a time in milliseconds.
    fn millis(&mut self) -> Result<Duration, Fault> {
        self.number().map(Duration::from_millis)
    }

    /// The next value, a moment in milliseconds, 0 for none.
    fn maybe_timestamp(&mut self) -> Result<Option<Timestamp>, Fault> {
        let at = self.timestamp()?;
        Ok((at.as_millis() != 0).then_some(at))
    }
}
