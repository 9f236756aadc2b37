//! The tables and what each step does to them: the same as the Redis store's scripts, field by field.
//!
//! A row that is over is as good as gone, whether the sweep has come by yet or not.

use std::time::Duration;

use redb::{
    Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};

use super::writer::Trouble;
use crate::clock::Timestamp;
use crate::ids::{Digest, Identity, ProviderName, RequestId, Subject, SubjectKey};
use crate::store::Store;
use crate::store::steps::{
    Allowance, Claim, Health, NewLogin, NewSession, Rate, Session, SessionKey, TakenLogin,
    UseTerms, UsedSession, millis,
};

/// Provider, binding, where the browser goes afterwards, the request that took it; first, when the row is over, ms.
pub(super) type Login = (u64, &'static str, &'static str, &'static str, Option<&'static str>);
/// Identity, provider, friendly name.
type Person = (&'static str, &'static str, Option<&'static str>);
/// When the row is over; whose; since, last used, ends; when the limit is untouched again, µs; the request that used it last,
/// empty for none; the request that ended it.
pub(super) type SessionRow =
    (u64, Person, (u64, u64, u64), u64, &'static str, Option<&'static str>);
/// When it is untouched again, µs; the request counted last.
pub(super) type Limit = (u64, &'static str);
/// Subject key, issuer, value of the subject claim.
type Owner = (&'static str, &'static str, &'static str);

/// By the digest of the state.
const LOGINS: TableDefinition<&str, Login> = TableDefinition::new("logins");
/// By subject key, a dot, and the digest of the session's secret.
const SESSIONS: TableDefinition<&str, SessionRow> = TableDefinition::new("sessions");
/// By bucket.
const LIMITS: TableDefinition<&str, Limit> = TableDefinition::new("limits");
/// By identity. For ever.
const CLAIMS: TableDefinition<&str, Owner> = TableDefinition::new("claims");
/// Identities by subject key. For ever.
const SUBJECTS: TableDefinition<&str, &str> = TableDefinition::new("subjects");
/// The clock's promise, µs.
const CLOCK: TableDefinition<(), u64> = TableDefinition::new("clock");

/// The tables in one transaction, at one time.
pub(super) struct Rows<'t> {
    pub(super) us: u64,
    ahead: Duration,
    written: bool,
    pub(super) logins: Table<'t, &'static str, Login>,
    pub(super) sessions: Table<'t, &'static str, SessionRow>,
    pub(super) limits: Table<'t, &'static str, Limit>,
    claims: Table<'t, &'static str, Owner>,
    subjects: Table<'t, &'static str, &'static str>,
    clock: Table<'t, (), u64>,
}

/// A session's row, taken out of the table.
struct Kept {
    session: Session,
    untouched_us: u64,
    used_by: String,
    ended_by: Option<String>,
}

impl<'t> Rows<'t> {
    /// The tables, made where they are not there yet, at `us` of a clock that is `ahead` of the machine's.
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        us: u64,
        ahead: Duration,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            us,
            ahead,
            written: false,
            logins: transaction.open_table(LOGINS)?,
            sessions: transaction.open_table(SESSIONS)?,
            limits: transaction.open_table(LIMITS)?,
            claims: transaction.open_table(CLAIMS)?,
            subjects: transaction.open_table(SUBJECTS)?,
            clock: transaction.open_table(CLOCK)?,
        })
    }

    /// The time of all steps in this transaction, in milliseconds.
    pub(super) fn ms(&self) -> u64 {
        self.us / 1000
    }

    /// Whether there is anything to commit.
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    pub(super) fn take_from_limit(
        &mut self,
        bucket: &str,
        rate: Rate,
        request: RequestId,
    ) -> Result<Allowance, Trouble> {
        let request = request.to_string();
        let kept = self.limits.get(bucket)?.map(|row| (row.value().0, row.value().1 == request));
        let kept = kept.filter(|(untouched_us, _)| *untouched_us > self.us);
        if matches!(kept, Some((_, true))) {
            return Ok(Allowance::Allowed);
        }
        match count(kept.map_or(0, |(untouched_us, _)| untouched_us), self.us, rate) {
            Ok(untouched_us) => {
                self.written = true;
                self.limits.insert(bucket, (untouched_us, request.as_str()))?;
                Ok(Allowance::Allowed)
            }
            Err(after) => Ok(Allowance::Refused { after }),
        }
    }

    pub(super) fn begin_login(&mut self, id: &Digest, login: &NewLogin) -> Result<(), Trouble> {
        let id = id.to_string();
        let now = self.ms();
        if self.logins.get(id.as_str())?.is_some_and(|row| row.value().0 >= now) {
            return Ok(());
        }
        let binding = login.binding.to_string();
        let over = now.saturating_add(millis(Store::LOGIN_PATIENCE));
        self.written = true;
        let row = (over, login.provider.as_str(), binding.as_str(), login.return_to.as_str(), None);
        self.logins.insert(id.as_str(), row)?;
        Ok(())
    }

    pub(super) fn take_login_once(
        &mut self,
        id: &Digest,
        binding: &Digest,
        provider: &ProviderName,
        request: RequestId,
    ) -> Result<TakenLogin, Trouble> {
        let (id, binding, request) = (id.to_string(), binding.to_string(), request.to_string());
        let (over, return_to) = {
            let Some(row) = self.logins.get(id.as_str())? else { return Ok(TakenLogin::Unknown) };
            let (over, begun_at, begun_by, return_to, taken_by) = row.value();
            if over < self.ms() {
                return Ok(TakenLogin::Unknown);
            } else if begun_by != binding {
                return Ok(TakenLogin::OtherBrowser { return_to: return_to.to_owned() });
            } else if begun_at != provider.as_str() {
                return Ok(TakenLogin::OtherProvider);
            } else if taken_by.is_some_and(|taken_by| taken_by != request) {
                return Ok(TakenLogin::AlreadyTaken);
            }
            (over, return_to.to_owned())
        };
        self.written = true;
        let row =
            (over, provider.as_str(), binding.as_str(), return_to.as_str(), Some(request.as_str()));
        self.logins.insert(id.as_str(), row)?;
        Ok(TakenLogin::Taken { return_to })
    }

    pub(super) fn find_identity(
        &mut self,
        subject: &SubjectKey,
    ) -> Result<Option<Identity>, Trouble> {
        let row = self.subjects.get(subject.to_string().as_str())?;
        row.map(|row| checked_identity(row.value())).transpose()
    }

    pub(super) fn claim_identity(
        &mut self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Claim, Trouble> {
        let key = subject.key().to_string();
        if let Some(row) = self.claims.get(identity.as_str())? {
            return Ok(if row.value().0 == key { Claim::Ours } else { Claim::Anothers });
        }
        self.written = true;
        self.claims.insert(identity.as_str(), (key.as_str(), subject.issuer(), subject.value()))?;
        Ok(Claim::Ours)
    }

    pub(super) fn open_session(&mut self, new: &NewSession) -> Result<Session, Trouble> {
        let name = session_name(&new.key);
        if let Some(kept) = self.kept(&name)? {
            return Ok(kept.session);
        }
        let identity = if let Some(bound) = self.find_identity(&new.key.subject)? {
            bound
        } else {
            self.subjects.insert(new.key.subject.to_string().as_str(), new.identity.as_str())?;
            new.identity.clone()
        };
        let now = Timestamp::from_millis(self.ms());
        let session = Session {
            identity,
            provider: new.provider.clone(),
            friendly_name: new.friendly_name.clone(),
            since: now,
            last_used: now,
            ends: now.plus(new.lifetime),
        };
        let kept = Kept { session, untouched_us: 0, used_by: String::new(), ended_by: None };
        self.keep(&name, kept.over(new.idle), &kept)?;
        Ok(kept.session)
    }

    pub(super) fn use_session(
        &mut self,
        key: &SessionKey,
        terms: &UseTerms,
        request: RequestId,
    ) -> Result<UsedSession, Trouble> {
        let name = session_name(key);
        let Some(mut kept) = self.kept(&name)?.filter(|kept| kept.lives(self.ms(), terms.idle))
        else {
            return Ok(UsedSession::Ended);
        };
        let request = request.to_string();
        if kept.used_by == request {
            return Ok(UsedSession::Live(kept.session));
        }
        let now = Timestamp::from_millis(self.ms());
        let stale = kept.session.last_used.until(now) >= terms.grain();
        if stale {
            kept.session.last_used = now;
        }
        if let Some(rate) = terms.limit {
            match count(kept.untouched_us, self.us, rate) {
                Ok(untouched_us) => kept.untouched_us = untouched_us,
                Err(after) => return Ok(UsedSession::Limited { after }),
            }
            kept.used_by = request;
        }
        if stale || terms.limit.is_some() {
            self.keep(&name, kept.over(terms.idle), &kept)?;
        }
        Ok(UsedSession::Live(kept.session))
    }

    pub(super) fn read_session(
        &mut self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Option<Session>, Trouble> {
        let kept = self.kept(&session_name(key))?.filter(|kept| kept.lives(self.ms(), idle));
        Ok(kept.map(|kept| kept.session))
    }

    pub(super) fn end_session(
        &mut self,
        key: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<bool, Trouble> {
        let name = session_name(key);
        let request = request.to_string();
        let Some(mut kept) = self.kept(&name)? else { return Ok(false) };
        if kept.ended_by.as_ref() == Some(&request) {
            return Ok(true);
        }
        if !kept.lives(self.ms(), idle) {
            return Ok(false);
        }
        kept.ended_by = Some(request);
        self.keep(&name, self.ms().saturating_add(millis(Store::TOMBSTONE)), &kept)?;
        Ok(true)
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

    /// A session's row, unless it is over.
    fn kept(&self, name: &str) -> Result<Option<Kept>, Trouble> {
        let Some(row) = self.sessions.get(name)? else { return Ok(None) };
        let (
            over,
            (identity, provider, friendly_name),
            (since, last_used, ends),
            untouched_us,
            used_by,
            ended_by,
        ) = row.value();
        if over < self.ms() {
            return Ok(None);
        }
        let provider = ProviderName::parse(provider)
            .ok_or(Trouble::Corrupt("no provider's name in a session"))?;
        let session = Session {
            identity: checked_identity(identity)?,
            provider,
            friendly_name: friendly_name.map(str::to_owned),
            since: Timestamp::from_millis(since),
            last_used: Timestamp::from_millis(last_used),
            ends: Timestamp::from_millis(ends),
        };
        let (used_by, ended_by) = (used_by.to_owned(), ended_by.map(str::to_owned));
        Ok(Some(Kept { session, untouched_us, used_by, ended_by }))
    }

    fn keep(&mut self, name: &str, over: u64, kept: &Kept) -> Result<(), Trouble> {
        let session = &kept.session;
        let person = (
            session.identity.as_str(),
            session.provider.as_str(),
            session.friendly_name.as_deref(),
        );
        let times =
            (session.since.as_millis(), session.last_used.as_millis(), session.ends.as_millis());
        let row = (
            over,
            person,
            times,
            kept.untouched_us,
            kept.used_by.as_str(),
            kept.ended_by.as_deref(),
        );
        self.written = true;
        self.sessions.insert(name, row)?;
        Ok(())
    }
}

impl Kept {
    /// When the row is over: at the session's end or when it has lain idle, whichever is first.
    fn over(&self, idle: Duration) -> u64 {
        self.session.ends.min(self.session.last_used.plus(idle)).as_millis()
    }

    fn lives(&self, now: u64, idle: Duration) -> bool {
        self.ended_by.is_none() && now < self.over(idle)
    }
}

/// One more time against a limit (GCRA): when it is untouched again, in µs, or how long until there is room.
fn count(untouched_us: u64, now_us: u64, rate: Rate) -> Result<u64, Duration> {
    let untouched_us = untouched_us.max(now_us).saturating_add(rate.interval_us());
    match (untouched_us - now_us).saturating_sub(rate.burst_us()) {
        0 => Ok(untouched_us),
        wait => Err(Duration::from_micros(wait)),
    }
}

fn session_name(key: &SessionKey) -> String {
    format!("{}.{}", key.subject, key.id)
}

fn checked_identity(text: &str) -> Result<Identity, Trouble> {
    Identity::parse(text).map_err(|_| Trouble::Corrupt("no identity where one belongs"))
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
