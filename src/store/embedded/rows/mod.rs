//! The tables and what each step does to them: the same as the Redis store's scripts, field by field.
//!
//! A row that is over is as good as gone, whether the sweep has come by yet or not.

mod devices;
mod guests;
mod identities;
mod limits;
mod logins;
mod logouts;
mod revalidation;
mod sessions;
mod standings;

use std::time::Duration;

use redb::{Database, ReadableDatabase, Table, TableDefinition, TableError, WriteTransaction};

use super::writer::Trouble;
use crate::clock::Timestamp;
use crate::ids::{ProviderName, Subject};
use crate::store::steps::{Binding, Health, Verdict, read_brief};

/// Provider, binding, where the browser goes afterwards, the request that took it; first, when the row is over, ms.
pub(super) type Login = (u64, &'static str, &'static str, &'static str, Option<&'static str>);
/// When the row is over; its subject's binding when it began, the provider, and the label; since, last used, ends; when the limit is
/// untouched again, µs; the request that used it last and the one that ended all others, each empty for none; the request that ended it;
/// when the provider was asked about it and how it can be asked again, the handle of the provider's sid, each empty for none; who asks.
pub(super) type SessionRow = (
    u64,
    (&'static str, &'static str, &'static str),
    (u64, u64, u64),
    u64,
    (&'static str, &'static str),
    Option<&'static str>,
    (&'static str, &'static str, Holder),
);
/// The request that asks now, and until when it may, ms; `-` instead of a request when nobody asks until then; 0 instead of a moment
/// when it was the last to ask; empty for none.
type Holder = (&'static str, u64);
/// When the row is over; the grant, sealed.
pub(super) type Grant = (u64, &'static str);
/// When the row is over; what was logged out when, ms: `*` everything, `-` sessions without a sid, or the handle of a sid; and after
/// `+` each request that did so.
pub(super) type Logouts = (u64, Vec<(&'static str, u64)>);
/// When the row is over; when it was logged out, ms; the keys of the subjects that have joined.
pub(super) type Joined = (u64, Option<u64>, Vec<&'static str>);
/// When the row is over; the request that spent it.
pub(super) type Spent = (u64, &'static str);
/// When the row is over; issuer and value of the subject claim; the standings.
pub(super) type StandingsRow = (u64, (&'static str, &'static str), Vec<StandingRow>);
/// Provider, brief, claims, decision.
type StandingRow = (&'static str, &'static str, &'static str, &'static str);
/// When the row is over; the denial.
pub(super) type Denial = (u64, &'static str);
/// When it is untouched again, µs; the request counted last.
pub(super) type Limit = (u64, &'static str);
/// The first guest that was never lent; the cool-down asked for last and the longest ever, ms; when the store was found to have lost writes, 0 for never, until
/// when guests are kept back for it that are idle and that were lent, ms, and up to which guest also those that were never lent are
/// doubtful; leases that began before this moment are over, ms; the stale guest that is scrubbed for the next visitor, 0 for none, and since
/// when, ms.
type PoolRow = (u32, (u64, u64), (u64, u64, u64, u32), u64, (u32, u64));
/// How many guests are active in the month, and how many are idle that were last active in it; how many of these were seen clean before
/// the store was found to have lost writes, when that was, ms. All of them, if it was so later than the row says.
type MonthRow = (u32, u32, (u32, u64));
/// Digest of the holder's secret, empty for a guest that nobody has had; since, the lease's end, its last token's end, when it is ready, ms;
/// the last month that it is active in, 0 for none; whether it is confirmed, the request that ended the lease, and whether work on it has begun;
/// the member that its holder has become, and until when they may be written about, ms; the claim; when its limit is untouched again, µs, and the request counted last; since when it waits in the first
/// three queues.
type GuestRow = (
    &'static str,
    (u64, u64, u64, u64),
    u32,
    (bool, Option<&'static str>, bool),
    Option<(&'static str, u64)>,
    Option<ClaimRow>,
    (u64, &'static str),
    (Option<u64>, Option<u64>, Option<u64>),
);
/// The request that claimed it, when, until when, ms; whether it is to join.
type ClaimRow = (&'static str, u64, u64, bool);
/// When the row is over; the guest that the request got to work on.
pub(super) type GuestClaimRow = (u64, u32);
/// Subject key, issuer, value of the subject claim.
type Owner = (&'static str, &'static str, &'static str);

/// By the digest of the state.
const LOGINS: TableDefinition<&str, Login> = TableDefinition::new("logins");
/// By subject key, a dot, and the digest of the session's secret.
const SESSIONS: TableDefinition<&str, SessionRow> = TableDefinition::new("sessions");
/// By subject key, a dot, and the digest of the session's secret.
const GRANTS: TableDefinition<&str, Grant> = TableDefinition::new("grants");
/// By subject key.
const LOGOUTS: TableDefinition<&str, Logouts> = TableDefinition::new("logouts");
/// By handle.
const HANDLES: TableDefinition<&str, Joined> = TableDefinition::new("handles");
/// By digest.
const SPENT: TableDefinition<&str, Spent> = TableDefinition::new("spent");
/// By bucket.
const LIMITS: TableDefinition<&str, Limit> = TableDefinition::new("limits");
/// By subject key: all standings of one subject, for they end together.
const STANDINGS: TableDefinition<&str, StandingsRow> = TableDefinition::new("standings");
/// By reference.
const DENIALS: TableDefinition<&str, Denial> = TableDefinition::new("denials");
/// By identity. Whose it is on its way to; until then.
const MOVES: TableDefinition<&str, Owner> = TableDefinition::new("moves");
/// By identity. For ever; its row changes when it has been moved.
const CLAIMS: TableDefinition<&str, Owner> = TableDefinition::new("claims");
/// By identity: those that are blocked.
const BLOCKS: TableDefinition<&str, ()> = TableDefinition::new("blocks");
/// Bindings by subject key. For ever; its row changes when all sessions of the subject are ended.
const SUBJECTS: TableDefinition<&str, &str> = TableDefinition::new("subjects");
/// By `lend` or `claim`, a space, and the request.
const GUEST_CLAIMS: TableDefinition<&str, GuestClaimRow> = TableDefinition::new("guest_claims");
/// The clock's promise, µs.
const CLOCK: TableDefinition<(), u64> = TableDefinition::new("clock");

/// What the tables of a pool are called: each is what it is, and of which pool.
pub(super) struct PoolTables {
    /// The pool, but for its guests.
    pool: String,
    /// By month: twelve for each year since 0, and its place in the year from 0; 0 for guests that were never active. For ever.
    months: String,
    /// By number: guests that are neither idle, stale nor retired.
    guests: String,
    /// By the month active last, since when it is idle, ms, and number.
    idle: String,
    /// In the order of `Queue`. By when they are ready, ms, and number, guests that are lent or cool; by when they are to be, those to be scrubbed
    /// and to be taken into conversations; by number, those in something that is not worth a month's price; by the month in which they were
    /// active last, and number, those beyond the size.
    queues: [String; 5],
}

impl PoolTables {
    /// Those of the pool that has this name.
    pub(super) fn of(pool: &str) -> Self {
        let name = |table| format!("{table} of {pool}");
        Self {
            pool: name("pool"),
            months: name("months"),
            guests: name("guests"),
            idle: name("idle"),
            queues: ["busy", "work", "joins", "stale", "retired"].map(name),
        }
    }
}

/// The tables in one transaction, at one time.
pub(super) struct Rows<'t> {
    pub(super) us: u64,
    ahead: Duration,
    /// Whether there is anything to commit.
    pub(super) written: bool,
    pub(super) logins: Table<'t, &'static str, Login>,
    pub(super) sessions: Table<'t, &'static str, SessionRow>,
    pub(super) grants: Table<'t, &'static str, Grant>,
    pub(super) logouts: Table<'t, &'static str, Logouts>,
    pub(super) handles: Table<'t, &'static str, Joined>,
    pub(super) spent: Table<'t, &'static str, Spent>,
    pub(super) limits: Table<'t, &'static str, Limit>,
    pub(super) standings: Table<'t, &'static str, StandingsRow>,
    pub(super) denials: Table<'t, &'static str, Denial>,
    moves: Table<'t, &'static str, Owner>,
    claims: Table<'t, &'static str, Owner>,
    blocks: Table<'t, &'static str, ()>,
    subjects: Table<'t, &'static str, &'static str>,
    pool: Table<'t, (), PoolRow>,
    months: Table<'t, u32, MonthRow>,
    guests: Table<'t, u32, GuestRow>,
    idle: Table<'t, (u32, u64, u32), ()>,
    /// In the order of `Queue`.
    queues: [Table<'t, (u64, u32), ()>; 5],
    pub(super) guest_claims: Table<'t, &'static str, GuestClaimRow>,
    clock: Table<'t, (), u64>,
}

impl<'t> Rows<'t> {
    /// The tables, made where they are not there yet, at `us` of a clock that is `ahead` of the machine's.
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        pool: &PoolTables,
        us: u64,
        ahead: Duration,
    ) -> Result<Self, redb::Error> {
        let queue =
            |place: usize| transaction.open_table(TableDefinition::new(&pool.queues[place]));
        Ok(Self {
            us,
            ahead,
            written: false,
            logins: transaction.open_table(LOGINS)?,
            sessions: transaction.open_table(SESSIONS)?,
            grants: transaction.open_table(GRANTS)?,
            logouts: transaction.open_table(LOGOUTS)?,
            handles: transaction.open_table(HANDLES)?,
            spent: transaction.open_table(SPENT)?,
            limits: transaction.open_table(LIMITS)?,
            standings: transaction.open_table(STANDINGS)?,
            denials: transaction.open_table(DENIALS)?,
            moves: transaction.open_table(MOVES)?,
            claims: transaction.open_table(CLAIMS)?,
            blocks: transaction.open_table(BLOCKS)?,
            subjects: transaction.open_table(SUBJECTS)?,
            pool: transaction.open_table(TableDefinition::new(&pool.pool))?,
            months: transaction.open_table(TableDefinition::new(&pool.months))?,
            guests: transaction.open_table(TableDefinition::new(&pool.guests))?,
            idle: transaction.open_table(TableDefinition::new(&pool.idle))?,
            queues: [queue(0)?, queue(1)?, queue(2)?, queue(3)?, queue(4)?],
            guest_claims: transaction.open_table(GUEST_CLAIMS)?,
            clock: transaction.open_table(CLOCK)?,
        })
    }

    /// The time of all steps in this transaction, in milliseconds.
    pub(super) fn ms(&self) -> u64 {
        self.us / 1000
    }

    pub(super) fn examine(&self) -> Health {
        let mut warnings = Vec::new();
        if self.ahead > Duration::from_mins(1) {
            let seconds = self.ahead.as_secs();
            warnings.push(format!(
                "the store's clock is {seconds} s ahead of the machine's, which was set back: it never goes back itself, and \
                 waits at half speed"
            ));
        }
        Health { what: "embedded store, redb file".to_owned(), faults: Vec::new(), warnings }
    }

    /// Writes the clock's promise.
    pub(super) fn promise(&mut self, promise_us: u64) -> Result<(), redb::Error> {
        self.written = true;
        self.clock.insert((), promise_us)?;
        Ok(())
    }
}

fn checked_binding(text: &str) -> Result<Binding, Trouble> {
    Binding::read(text).ok_or(Trouble::Corrupt("no binding where one belongs"))
}

fn checked_subject(issuer: &str, value: &str) -> Result<Subject, Trouble> {
    Subject::new(issuer, value).map_err(|_| Trouble::Corrupt("no subject where one belongs"))
}

fn checked_provider(name: &str) -> Result<ProviderName, Trouble> {
    ProviderName::parse(name).ok_or(Trouble::Corrupt("no provider's name where one belongs"))
}

fn checked_brief(text: &str) -> Result<(Verdict, Timestamp), Trouble> {
    read_brief(text).ok_or(Trouble::Corrupt("no verdict where one belongs"))
}

/// The clock's promise; 0 in a new file.
pub(super) fn read_promise(database: &Database) -> Result<u64, redb::Error> {
    match database.begin_read()?.open_table(CLOCK) {
        Ok(clock) => Ok(clock.get(())?.map_or(0, |promise| promise.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Writes the clock's promise on its own, when no more steps come.
pub(super) fn write_promise(database: &Database, promise_us: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(CLOCK)?.insert((), promise_us)?;
    Ok(transaction.commit()?)
}
