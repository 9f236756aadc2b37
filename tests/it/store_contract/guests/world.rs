//! A store whose clock can be put forward, and short words for what the tests do with the pool.

use std::ops::Deref;
use std::time::{Duration, SystemTime};

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};
use tempfile::TempDir;
use vestibule::inside::store::{
    EndedLease, FoundWork, GuestTask, GuestWork, Lease, LeaseKey, LeaseTerms, Lent, PoolState,
    PoolTerms, Purpose, Store, UsedLease, WorkDone, WorkTerms,
};
use vestibule::inside::{Identity, Month, RequestId, Timestamp};

use super::super::{digest, file_store, redis_store};
use crate::support::redis::{Clock, RedisServer};

pub const MINUTE: Duration = Duration::from_mins(1);

pub const TERMS: PoolTerms = PoolTerms {
    size: 10,
    budget: None,
    first: Duration::from_mins(5),
    lease: Duration::from_mins(30),
    token: Duration::from_mins(20),
    max_stay: Duration::from_hours(12),
    cooldown: Duration::from_mins(10),
    joins: false,
};

pub const WORK: WorkTerms = WorkTerms {
    hold: MINUTE,
    size: 10,
    early: Duration::from_mins(10),
    from: Timestamp::from_millis(0),
};

/// A store whose clock can be put forward. It begins at noon on the tenth of a month.
pub struct World {
    store: Option<Store>,
    behind: Behind,
}

/// What is behind the store.
enum Behind {
    Redis(RedisServer),
    File(TempDir),
}

impl World {
    pub async fn on_redis() -> Self {
        let today = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let server = RedisServer::start_with_clock(Clock { begins: today, speed: 1.0 }, &[]);
        let store = Some(redis_store(&server.url()).await);
        Self { store, behind: Behind::Redis(server) }.begun().await
    }

    pub async fn in_a_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Some(file_store(&directory.path().join("store")).await);
        Self { store, behind: Behind::File(directory) }.begun().await
    }

    async fn begun(mut self) -> Self {
        // As each process does when it starts: what it lends with is known then.
        assert_eq!(self.heed_doubt(&TERMS).await.unwrap().value, None);
        let next = self.month_ends().await;
        self.forward_to(next.plus(Duration::from_hours(9 * 24 + 12))).await;
        self
    }

    /// Puts the clock forward. A file is opened anew for it, and goes on from what it promised.
    pub async fn forward(&mut self, by: Duration) {
        match &mut self.behind {
            Behind::Redis(server) => server.put_forward(by),
            Behind::File(directory) => {
                let path = directory.path().join("store");
                drop(self.store.take());
                let database = redb::Database::open(&path).unwrap();
                let write = database.begin_write().unwrap();
                let clock = redb::TableDefinition::<(), u64>::new("clock");
                let mut table = write.open_table(clock).unwrap();
                let us = table.get(()).unwrap().map_or(0, |promise| promise.value());
                table.insert((), us + u64::try_from(by.as_micros()).unwrap()).unwrap();
                drop(table);
                write.commit().unwrap();
                drop(database);
                self.store = Some(file_store(&path).await);
            }
        }
    }

    /// What is kept: of a file the tables and their rows, of a server the keys and how long they live, in seconds; -1 for ever.
    pub fn kept(&mut self) -> Vec<(String, i64)> {
        match &self.behind {
            Behind::Redis(server) => {
                let keys: Vec<String> = server.ask(&["KEYS", "*"]);
                keys.into_iter().map(|key| (key.clone(), server.ask(&["TTL", &key]))).collect()
            }
            Behind::File(directory) => {
                drop(self.store.take());
                let database = redb::Database::open(directory.path().join("store")).unwrap();
                let read = database.begin_read().unwrap();
                let rows = |table: redb::UntypedTableHandle| {
                    let name = redb::TableHandle::name(&table).to_owned();
                    let rows = read.open_untyped_table(table).unwrap().len().unwrap();
                    // Of this pool all tables are.
                    let name = name.strip_suffix(" of nobody").unwrap_or(&name).to_owned();
                    (name, i64::try_from(rows).unwrap())
                };
                read.list_tables().unwrap().map(rows).collect()
            }
        }
    }

    pub async fn forward_to(&mut self, at: Timestamp) {
        let by = self.now().await.until(at);
        self.forward(by).await;
    }

    pub async fn now(&self) -> Timestamp {
        self.read_time().await.unwrap().time.at()
    }

    pub async fn month_ends(&self) -> Timestamp {
        Month::of(self.now().await).ends()
    }

    pub async fn lend(&self, who: &str, terms: &PoolTerms) -> Lent {
        self.lend_guest(&digest(who), terms).await.unwrap().value
    }

    /// Lends a guest, which nothing hinders.
    pub async fn lent(&self, who: &str, terms: &PoolTerms) -> Lease {
        match self.lend(who, terms).await {
            Lent::Guest(lease) => lease,
            other => panic!("{who}: {other:?}"),
        }
    }

    /// Asks for a token, or for the guest itself.
    pub async fn ask(&self, key: &LeaseKey, terms: &PoolTerms, purpose: Purpose) -> UsedLease {
        let terms = LeaseTerms { pool: *terms, limit: None, purpose };
        self.use_lease(key, &terms, RequestId::unique()).await.unwrap().value
    }

    /// Asks for a token, which nothing hinders.
    pub async fn token(&self, key: &LeaseKey) -> Lease {
        live(self.ask(key, &TERMS, Purpose::Token).await)
    }

    pub async fn read(&self, key: &LeaseKey) -> Option<Lease> {
        self.read_lease(key).await.unwrap().value
    }

    pub async fn end(&self, key: &LeaseKey) -> bool {
        self.end_for(key, None).await == EndedLease::Now
    }

    /// Ends a lease, of somebody who is a member now if that is told.
    pub async fn end_for(&self, key: &LeaseKey, heir: Option<&Identity>) -> EndedLease {
        self.end_lease(key, heir, &TERMS, RequestId::unique()).await.unwrap().value
    }

    pub async fn claim(&self, terms: &WorkTerms) -> FoundWork {
        self.claim_guest_work(terms, RequestId::unique()).await.unwrap().value
    }

    /// Claims work, of which there is some.
    pub async fn work(&self) -> GuestWork {
        match self.claim(&WORK).await {
            FoundWork::Work(work) => work,
            other => panic!("{other:?}"),
        }
    }

    pub async fn finish(&self, work: &GuestWork, done: WorkDone) -> bool {
        self.finish_guest_work(work, done).await.unwrap().value
    }

    /// Does all work that there is now; answers the guests that it was about.
    pub async fn do_all_work(&self) -> Vec<u32> {
        let mut done = Vec::new();
        while let FoundWork::Work(work) = self.claim(&WORK).await {
            let end = match &work.task {
                GuestTask::Join { .. } => WorkDone::Joined,
                GuestTask::Scrub { heir, .. } => {
                    assert!(heir.is_none() || self.finish(&work, WorkDone::Inherited).await);
                    WorkDone::Clean
                }
            };
            assert!(self.finish(&work, end).await);
            done.push(work.guest);
            assert!(done.len() < 1000, "there is always more to do: {done:?}");
        }
        done
    }

    /// Lends `count` guests and lets them go, until they are idle, in the order of their numbers.
    pub async fn idle(&mut self, count: u32) {
        let terms = PoolTerms { size: count, ..TERMS };
        for number in 1..=count {
            assert_eq!(self.lent("gone", &terms).await.guest, number);
            // So that no two are idle since the same moment, and so in no order.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        self.forward(TERMS.first + TERMS.cooldown).await;
        let mut cleaned = self.do_all_work().await;
        cleaned.sort_unstable();
        assert_eq!(cleaned, (1..=count).collect::<Vec<_>>());
    }

    pub async fn pool(&self) -> PoolState {
        self.describe_pool().await.unwrap().value
    }
}

impl Deref for World {
    type Target = Store;

    fn deref(&self) -> &Store {
        self.store.as_ref().expect("it is there, but while its clock is put forward")
    }
}

pub fn key(lease: &Lease, who: &str) -> LeaseKey {
    LeaseKey { guest: lease.guest, id: digest(who) }
}

pub fn live(used: UsedLease) -> Lease {
    match used {
        UsedLease::Live(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// How long to wait for a guest, of which there is none.
pub fn wait(lent: Lent) -> Duration {
    match lent {
        Lent::Exhausted { after } => after,
        other => panic!("{other:?}"),
    }
}
