//! Guests: identities of a pool, lent to visitors who bring no login.
//!
//! Owns what a holder's secret says, who may have a guest, and the work at Twilio that a guest needs before it is lent again. Does not
//! own which one is lent, which is a step of `store`, nor the token (`mint`).

mod roles;
mod tasks;
mod ticket;
mod work;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Notify;

use crate::clock::Timestamp;
use crate::ids::{Digest, Identity, RequestId, Secret256};
use crate::limits::{LimitError, Limits};
use crate::oidc::OidcError;
use crate::store::{
    Dated, EndedLease, Lease, LeaseKey, LeaseTerms, Lent, PoolState, PoolTerms, Purpose, Rate,
    Store, StoreError, UsedLease,
};
use crate::telemetry::Metrics;
use crate::twilio::Twilio;
use roles::Roles;
pub use ticket::Tickets;

/// How guests are lent.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What a guest's identity begins with; its number follows.
    pub prefix: String,
    /// How many there are, and for how long they are lent.
    pub pool: PoolTerms,
    /// Conversations that each guest is taken into, by SID or unique name.
    pub conversations: Vec<String>,
    /// The friendly name of the conversation role that it has there; Twilio's default without one.
    pub role: Option<String>,
    /// Whether a guest that signs in takes its conversations along.
    pub carry_over: bool,
    /// Who says which visitors may be guests; everybody may without one.
    pub tickets: Option<Tickets>,
}

impl Settings {
    /// Names the pool in the store: guests of another service, or that are called otherwise, are others, whatever their numbers.
    pub fn pool_name(&self, service_sid: &str) -> String {
        format!("{service_sid}-{}", self.prefix)
    }
}

/// A holder's secret: which guest, and what only the holder knows.
#[derive(Clone, Debug)]
pub struct LeaseSecret {
    guest: u32,
    secret: Secret256,
}

impl LeaseSecret {
    /// What a secret begins with that is no cookie, so that it is told from a provider's token.
    pub const PREFIX: &str = "vg_";

    /// Reads what [`LeaseSecret::reveal`] wrote; `None` for anything else.
    pub fn parse(raw: &str) -> Option<Self> {
        let (guest, secret) = raw.split_once('.')?;
        let number: u32 = guest.parse().ok()?;
        // One spelling only: numbers parse with a sign and with zeros in front.
        (number > 0 && number.to_string() == guest)
            .then_some(Self { guest: number, secret: Secret256::parse(secret)? })
    }

    /// Its text, for the holder alone.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.guest, self.secret.reveal())
    }

    fn key(&self) -> LeaseKey {
        LeaseKey { guest: self.guest, id: self.secret.digest() }
    }
}

/// A lease that lives now.
#[derive(Debug)]
pub struct Held {
    /// The guest's identity.
    pub identity: Identity,
    /// The lease as it is kept.
    pub lease: Lease,
    /// The store's clock.
    pub now: Timestamp,
}

/// A guest that a visitor has now.
#[derive(Debug)]
pub struct Taken {
    /// The lease.
    pub held: Held,
    /// What the holder proves it with.
    pub secret: LeaseSecret,
    /// Whether it is the one that the visitor had.
    pub kept: bool,
}

/// A visitor who asks for a guest.
#[derive(Debug)]
pub struct Visitor {
    /// What it holds of a lease, if anything.
    pub former: Option<LeaseSecret>,
    /// What it was given by the platform.
    pub raw_ticket: Option<SecretString>,
    /// Whence it comes.
    pub address: IpAddr,
}

/// Why there is no guest, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// There is no pool.
    #[error("no guests are configured")]
    NoPool,
    /// The lease is over, or never was.
    #[error("the lease is over")]
    Ended,
    /// The lease was used too often; it may be used again `after`.
    #[error("the lease is over its limit")]
    Limited {
        /// How long to wait.
        after: Duration,
    },
    /// Guests need a ticket here, and there is none.
    #[error("guests need a ticket")]
    NoTicket,
    /// The ticket is not one that counts.
    #[error("the ticket does not count")]
    BadTicket(#[from] OidcError),
    /// The ticket came before.
    #[error("the ticket came before")]
    SpentTicket,
    /// Every guest is lent or cooling; one may be free in `after`.
    #[error("all guests are lent or cooling")]
    Exhausted {
        /// How long to wait.
        after: Duration,
    },
    /// The month's budget is used up; a guest that costs nothing more may be free in `after`.
    #[error("the month's guest budget is used up")]
    BudgetReached {
        /// How long to wait.
        after: Duration,
    },
    /// Too many guests for one address.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The store has no answer; a guest that was lent all the same is nobody's, and comes back by itself.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What guests are lent with.
pub struct Rooms {
    /// Where the pool is kept.
    pub store: Arc<Store>,
    /// How many guests one address may ask for.
    pub limits: Arc<Limits>,
    /// Where guests are in conversations.
    pub twilio: Arc<Twilio>,
}

/// Lends guests.
pub struct Guests {
    rooms: Rooms,
    settings: Settings,
    limit: Option<Rate>,
    /// Wakes what works on guests.
    work: Notify,
    roles: Roles,
    waits: work::Waits,
    series: work::Series,
}

impl Guests {
    /// A pool of these guests, each used by its holder at most as often as `limit` says.
    pub fn new(rooms: Rooms, settings: Settings, limit: Option<Rate>, metrics: &Metrics) -> Self {
        let series = work::Series::new(metrics);
        let (work, roles, waits) = (Notify::new(), Roles::default(), work::Waits::default());
        Self { rooms, settings, limit, work, roles, waits, series }
    }

    /// The visitor's own guest again, if it has one that may still be its own, else another one. A ticket is spent on another one only, and
    /// when there is none, it is good for another try. A ticket that does not count is told from one that does before the visitor's
    /// address is counted, for whoever sends it may share that with many.
    ///
    /// # Errors
    ///
    /// [`GuestError`], but for [`GuestError::NoPool`] and [`GuestError::Ended`].
    pub async fn take(&self, visitor: &Visitor) -> Result<Taken, GuestError> {
        if let Some(former) = &visitor.former {
            match self.use_once(former, Purpose::Return, RequestId::unique()).await {
                Ok(held) => return Ok(Taken { held, secret: former.clone(), kept: true }),
                Err(GuestError::Ended) => {}
                Err(error) => return Err(error),
            }
        }
        let verify = |tickets: &Tickets| tickets.verify(visitor.raw_ticket.as_ref());
        let ticket = self.settings.tickets.as_ref().map(verify).transpose()?;
        self.rooms.limits.count_guest(visitor.address).await?;
        let Some(ticket) = ticket else { return self.lend().await };
        let spent = ticket.spend(&self.rooms.store).await?;
        let taken = self.lend().await;
        if taken.is_err() {
            spent.take_back(&self.rooms.store).await;
        }
        taken
    }

    /// Another guest.
    async fn lend(&self) -> Result<Taken, GuestError> {
        let secret = Secret256::random();
        let (id, terms) = (secret.digest(), &self.settings.pool);
        let Dated { value, time } = self.rooms.store.lend_guest(&id, terms).await?;
        match value {
            Lent::Guest(lease) => {
                if terms.joins {
                    self.work.notify_one();
                }
                let held = self.held(lease, time.at())?;
                let secret = LeaseSecret { guest: lease.guest, secret };
                Ok(Taken { held, secret, kept: false })
            }
            Lent::Exhausted { after } => {
                self.work.notify_one();
                Err(GuestError::Exhausted { after })
            }
            Lent::BudgetReached { after } => Err(GuestError::BudgetReached { after }),
        }
    }

    /// Uses a lease for another token: one round trip to the store. The same `request` again is the same use.
    ///
    /// # Errors
    ///
    /// [`GuestError::Ended`], [`GuestError::Limited`]; [`GuestError::Store`] when the store has no answer.
    pub async fn renew(
        &self,
        secret: &LeaseSecret,
        request: RequestId,
    ) -> Result<Held, GuestError> {
        self.use_once(secret, Purpose::Token, request).await
    }

    async fn use_once(
        &self,
        secret: &LeaseSecret,
        purpose: Purpose,
        request: RequestId,
    ) -> Result<Held, GuestError> {
        let terms = LeaseTerms { pool: self.settings.pool, limit: self.limit, purpose };
        let Dated { value, time } =
            self.rooms.store.use_lease(&secret.key(), &terms, request).await?;
        match value {
            UsedLease::Live(lease) => self.held(lease, time.at()),
            UsedLease::Limited { after } => Err(GuestError::Limited { after }),
            UsedLease::Ended => Err(GuestError::Ended),
        }
    }

    /// Looks at a lease, which does not renew it.
    ///
    /// # Errors
    ///
    /// [`GuestError::Ended`]; [`GuestError::Store`] when the store has no answer.
    pub async fn look_at(&self, secret: &LeaseSecret) -> Result<Held, GuestError> {
        let Dated { value, time } = self.rooms.store.read_lease(&secret.key()).await?;
        self.held(value.ok_or(GuestError::Ended)?, time.at())
    }

    /// Ends a lease: no further tokens, and the guest is taken out of everything soon. `None` when that was done before.
    ///
    /// # Errors
    ///
    /// [`GuestError::Ended`] when it is over by itself, or never was; [`GuestError::Store`] when the store has no answer.
    pub async fn give_back(&self, secret: &LeaseSecret) -> Result<Option<Identity>, GuestError> {
        self.end(secret, None).await
    }

    /// Ends the lease of a holder who is `member` now, who gets the guest's conversations if the settings say so.
    ///
    /// # Errors
    ///
    /// As [`Guests::give_back`].
    pub async fn hand_over(
        &self,
        secret: &LeaseSecret,
        member: &Identity,
    ) -> Result<Option<Identity>, GuestError> {
        self.end(secret, Some(member).filter(|_| self.settings.carry_over)).await
    }

    async fn end(
        &self,
        secret: &LeaseSecret,
        heir: Option<&Identity>,
    ) -> Result<Option<Identity>, GuestError> {
        let (store, pool) = (&self.rooms.store, &self.settings.pool);
        match store.end_lease(&secret.key(), heir, pool, RequestId::unique()).await?.value {
            EndedLease::Now => {
                self.work.notify_one();
                self.identity(secret.guest).map(Some)
            }
            EndedLease::Before => Ok(None),
            EndedLease::Over => Err(GuestError::Ended),
        }
    }

    /// The pool now.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn describe(&self) -> Result<Dated<PoolState>, StoreError> {
        self.rooms.store.describe_pool().await
    }

    /// How guests are lent.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn held(&self, lease: Lease, now: Timestamp) -> Result<Held, GuestError> {
        Ok(Held { identity: self.identity(lease.guest)?, lease, now })
    }

    /// The identity of a guest. A prefix and a number are always one, as `config` checks the prefix.
    fn identity(&self, guest: u32) -> Result<Identity, GuestError> {
        Identity::parse(&format!("{}{guest}", self.settings.prefix)).map_err(|_| GuestError::Ended)
    }
}

/// What a ticket is remembered by.
fn ticket_name(issuer: &str, jti: &str) -> Digest {
    // JSON, so that what ends one part cannot begin the next. No other kind of name begins so.
    Digest::of(serde_json::json!(["guest_ticket", issuer, jti]).to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_one_spelling() {
        let secret = LeaseSecret { guest: 17, secret: Secret256::random() };
        let text = secret.reveal();

        assert_eq!(LeaseSecret::parse(&text).unwrap().key(), secret.key());
        let rest = &text[2..];
        for bad in [
            "",
            ".",
            "17",
            rest,
            &format!("+17{rest}"),
            &format!("017{rest}"),
            &format!("0{rest}"),
            &format!("4294967296{rest}"),
            &format!("{text}="),
        ] {
            assert!(LeaseSecret::parse(bad).is_none(), "{bad}");
        }
    }
}
