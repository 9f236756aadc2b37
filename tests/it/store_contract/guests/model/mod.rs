//! Random lives of a pool, on both stores side by side: each answer is the other store's too, and breaks no promise.

mod ledger;

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use vestibule::inside::store::{
    Dated, FoundWork, GuestTask, GuestWork, Lease, LeaseKey, LeaseTerms, Lent, PoolTerms, Purpose,
    UsedLease, WorkDone, WorkTerms,
};
use vestibule::inside::{RequestId, Timestamp};

use super::super::{all_at_once, digest, identity};
use super::world::{MINUTE, TERMS, WORK, World};
use ledger::Ledger;

/// What is done, spelled with small numbers: which of the leases or claims so far is meant counts from the last one.
#[derive(Clone, Debug)]
pub enum Step {
    Lend { size: u32, budget: Option<u32>, joins: bool, holders: usize },
    Use { lease: usize, returns: bool, stranger: bool },
    Read { lease: usize },
    End { lease: usize, heir: bool },
    Claim,
    Finish { claim: usize, done: u8 },
    Forward { by: Duration },
    ToMonthsEnd { before: Duration },
    Quarantine { size: u32 },
}

/// What the next step can be about.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    leases: usize,
    claims: usize,
}

impl ReferenceStateMachine for Plan {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(plan: &Self) -> BoxedStrategy<Step> {
        let minutes = |count| Duration::from_mins(count);
        let seconds = |count| Duration::from_secs(count);
        let budget = proptest::option::weighted(0.3, 0..4_u32);
        let lend = (1..5_u32, budget, any::<bool>(), 0..6_usize).prop_map(
            |(size, budget, joins, more)| Step::Lend {
                size,
                budget,
                joins,
                holders: 1 + more.saturating_sub(3),
            },
        );
        let by = prop::sample::select(vec![
            seconds(20),
            minutes(1),
            minutes(2),
            minutes(5),
            minutes(10),
            minutes(15),
            minutes(31),
            minutes(45),
        ]);
        let before = prop::sample::select(vec![minutes(26), minutes(8), minutes(3), minutes(0)]);
        let (leases, claims) = (plan.leases.clamp(1, 6), plan.claims.clamp(1, 4));
        let of_lease = u32::from(plan.leases > 0);
        let of_claim = u32::from(plan.claims > 0);
        let uses = (0..leases, any::<bool>(), 0..8_u8).prop_map(|(lease, returns, stranger)| {
            Step::Use { lease, returns, stranger: stranger == 0 }
        });
        prop_oneof![
            6 => lend,
            6 * of_lease => uses,
            of_lease => (0..leases).prop_map(|lease| Step::Read { lease }),
            2 * of_lease => (0..leases, any::<bool>()).prop_map(|(lease, heir)| Step::End { lease, heir }),
            7 => Just(Step::Claim),
            8 * of_claim => (0..claims, 0..12_u8).prop_map(|(claim, done)| Step::Finish { claim, done }),
            6 => by.prop_map(|by| Step::Forward { by }),
            1 => before.prop_map(|before| Step::ToMonthsEnd { before }),
            1 => (1..5_u32).prop_map(|size| Step::Quarantine { size }),
        ]
        .boxed()
    }

    fn apply(mut plan: Self, step: &Step) -> Self {
        match step {
            Step::Lend { holders, .. } => plan.leases += holders,
            Step::Claim => plan.claims += 1,
            _ => {}
        }
        plan
    }
}

/// A store, what was got from it, and what it has promised.
struct Side {
    world: World,
    /// One for each lend: the guest, or none.
    leases: Vec<Option<LeaseKey>>,
    /// One for each claim.
    claims: Vec<Option<GuestWork>>,
    /// The times of the last answer, from now on.
    times: Vec<Duration>,
    ledger: Ledger,
}

impl Side {
    fn new(world: World) -> Self {
        Self {
            world,
            leases: Vec::new(),
            claims: Vec::new(),
            times: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    /// Takes a step, holds its answer against what was promised, and tells it, times aside.
    async fn take(&mut self, step: &Step) -> String {
        // No two things happen in one millisecond: which of them was first would be anybody's guess.
        tokio::time::sleep(Duration::from_millis(4)).await;
        self.times.clear();
        let before = self.world.pool().await;
        let told = match *step {
            Step::Lend { size, budget, joins, holders } => {
                self.lend(&PoolTerms { size, budget, joins, ..TERMS }, holders).await
            }
            Step::Use { lease, returns, stranger } => self.use_it(lease, returns, stranger).await,
            Step::Read { lease } => {
                let Some(key) = self.lease(lease) else { return "none".to_owned() };
                let read = self.world.read_lease(&key).await.unwrap();
                self.ledger.read(&key, read.value, read.time.at());
                format!("{}", read.value.is_some())
            }
            Step::End { lease, heir } => {
                let Some(key) = self.lease(lease) else { return "none".to_owned() };
                let heir = heir.then(|| identity("member"));
                let request = RequestId::unique();
                let ended =
                    self.world.end_lease(&key, heir.as_ref(), &TERMS, request).await.unwrap();
                self.ledger.end(&key, heir.is_some(), ended.value, ended.time.at());
                format!("{:?}", ended.value)
            }
            Step::Claim => self.claim().await,
            Step::Finish { claim, done } => self.finish(claim, done).await,
            // Taken with both at once.
            Step::Forward { .. } | Step::ToMonthsEnd { .. } => String::new(),
            Step::Quarantine { size } => {
                let terms = PoolTerms { size, ..TERMS };
                let until = self.world.quarantine_guests(&terms).await.unwrap();
                self.ledger.quarantine(size, until.value, until.time.at());
                String::new()
            }
        };
        let after = self.world.pool().await;
        self.ledger.check(step, &before, &after);
        let told_pool = (after.made, after.stale, after.warm, after.cold, after.retired);
        format!("{told} {told_pool:?} {} {}", after.active, after.doubtful)
    }

    /// Lends to as many who ask at once. Of those who come away empty only the first one is told of: what it is told holds for the
    /// others too on Redis, while in a file each is told how things are after the one before.
    async fn lend(&mut self, terms: &PoolTerms, holders: usize) -> String {
        let secrets: Vec<_> =
            (0..holders).map(|more| digest(&(self.leases.len() + more).to_string())).collect();
        let mut asking = secrets.iter();
        let ask = || self.world.lend_guest(asking.next().unwrap(), terms);
        let all = all_at_once(holders, ask).await;
        let (mut told, mut refused) = (Vec::new(), None);
        for (id, answer) in secrets.into_iter().zip(all) {
            let Dated { value, time } = answer.unwrap();
            let key = if let Lent::Guest(lease) = value {
                assert!(refused.is_none(), "lent after somebody came away empty");
                let key = LeaseKey { guest: lease.guest, id };
                self.tell(&lease, time.at());
                self.ledger.lend(key, lease, terms, time.at());
                told.push(format!("lent {}", lease.guest));
                Some(key)
            } else {
                refused.get_or_insert(value);
                None
            };
            self.leases.push(key);
        }
        let (what, after) = match refused {
            Some(Lent::Exhausted { after }) => ("exhausted", after),
            Some(Lent::BudgetReached { after }) => ("budget reached", after),
            _ => return told.join(" "),
        };
        assert!(after >= Duration::from_secs(1), "{after:?}");
        self.times.push(after);
        told.push(what.to_owned());
        told.join(" ")
    }

    async fn use_it(&mut self, lease: usize, returns: bool, stranger: bool) -> String {
        let Some(mut key) = self.lease(lease) else { return "none".to_owned() };
        if stranger {
            key.id = digest("stranger");
        }
        let purpose = if returns { Purpose::Return } else { Purpose::Token };
        let terms = LeaseTerms { pool: TERMS, limit: None, purpose };
        let used = self.world.use_lease(&key, &terms, RequestId::unique()).await.unwrap();
        self.ledger.use_it(&key, purpose, used.value, used.time.at());
        match used.value {
            UsedLease::Live(lease) => {
                self.tell(&lease, used.time.at());
                "live".to_owned()
            }
            other => format!("{other:?}"),
        }
    }

    async fn claim(&mut self) -> String {
        let terms = WorkTerms { size: 4, ..WORK };
        let found = self.world.claim_guest_work(&terms, RequestId::unique()).await.unwrap();
        let (work, told) = match found.value {
            FoundWork::Work(work) => {
                self.ledger.claim(&work, found.time.at());
                let free = matches!(work.task, GuestTask::Scrub { free_until: Some(_), .. });
                let told = format!(
                    "{} {} {free}",
                    work.guest,
                    matches!(work.task, GuestTask::Join { .. })
                );
                (Some(work), told)
            }
            other => {
                self.ledger.claim_none(found.time.at());
                (None, format!("{other:?}"))
            }
        };
        self.claims.push(work);
        told
    }

    async fn finish(&mut self, claim: usize, done: u8) -> String {
        let at = self.claims.len().checked_sub(claim + 1);
        let Some(work) = at.and_then(|at| self.claims[at].clone()) else {
            return "none".to_owned();
        };
        let done = match (done, &work.task) {
            (0, _) => WorkDone::Failed { retry_after: MINUTE },
            (_, GuestTask::Join { .. }) => WorkDone::Joined,
            (1, _) => WorkDone::Dirty,
            (2..5, GuestTask::Scrub { heir: Some(_), .. }) => WorkDone::Inherited,
            _ => WorkDone::Clean,
        };
        let finished = self.world.finish_guest_work(&work, done).await.unwrap();
        self.ledger.finish(&work, done, finished.value, finished.time.at());
        format!("{done:?} {}", finished.value)
    }

    fn tell(&mut self, lease: &Lease, now: Timestamp) {
        self.times.extend([lease.ends, lease.token_ends].map(|at| now.until(at)));
    }

    fn lease(&self, lease: usize) -> Option<LeaseKey> {
        let at = self.leases.len().checked_sub(lease + 1)?;
        self.leases[at]
    }

    /// Lets everything end, and does all that is to be done: then each guest is where it can be lent from, or stale.
    async fn let_end(&mut self) {
        for _ in 0..4 {
            self.world.forward(Duration::from_hours(1)).await;
            self.world.do_all_work().await;
        }
        let pool = self.world.pool().await;
        assert_eq!((pool.lent, pool.cooling, pool.scrubbing, pool.joining), (0, 0, 0, 0));
        let there = pool.stale + pool.warm + pool.cold + pool.retired + pool.doubtful;
        assert_eq!(there, pool.made, "{pool:?}");
    }
}

/// Both stores.
pub struct Both {
    runtime: tokio::runtime::Runtime,
    sides: Cell<Option<[Side; 2]>>,
}

/// How far apart the times may be that the stores tell: the file's clock stands while it is opened anew, and the least step in which an end
/// is moved is more than two seconds.
const APART: Duration = Duration::from_millis(1500);

/// Puts both clocks forward, if that is the step, to the same time.
async fn forward(step: &Step, redis: &mut Side, file: &mut Side) {
    match *step {
        Step::Forward { by } => redis.world.forward(by).await,
        Step::ToMonthsEnd { before } => {
            let end = redis.world.month_ends().await;
            let at = end.as_millis() - u64::try_from(before.as_millis()).unwrap();
            redis.world.forward_to(Timestamp::from_millis(at)).await;
        }
        _ => return,
    }
    let now = redis.world.now().await;
    file.world.forward_to(now).await;
}

impl StateMachineTest for Both {
    type SystemUnderTest = Self;
    type Reference = Plan;

    fn init_test(_: &Plan) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sides = runtime.block_on(async {
            [Side::new(World::on_redis().await), Side::new(World::in_a_file().await)]
        });
        Self { runtime, sides: Cell::new(Some(sides)) }
    }

    fn apply(mut both: Self, _: &Plan, step: Step) -> Self {
        let [redis, file] = both.sides.get_mut().as_mut().unwrap();
        both.runtime.block_on(forward(&step, redis, file));
        let (on_redis, in_file) =
            both.runtime.block_on(async { tokio::join!(redis.take(&step), file.take(&step)) });
        assert_eq!(on_redis, in_file, "{step:?}: on Redis, and in the file");
        for (on_redis, in_file) in redis.times.iter().zip(&file.times) {
            let apart = on_redis.abs_diff(*in_file);
            assert!(apart < APART, "{step:?}: {on_redis:?} on Redis, {in_file:?} in the file");
        }
        both
    }

    fn teardown(both: Self, _: Plan) {
        let Some([mut redis, mut file]) = both.sides.take() else { return };
        both.runtime.block_on(async {
            redis.let_end().await;
            file.let_end().await;
        });
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_keeps_its_promises_whatever_happens(sequential 10..60 => Both);
}
