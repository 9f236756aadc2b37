//! Tickets: the platform's word that a visitor may be a guest.

use secrecy::SecretString;

use super::{GuestError, ticket_name};
use crate::ids::{Digest, RequestId};
use crate::oidc::{ClientKeys, Ticket};
use crate::store::Store;

/// Whose tickets count.
#[derive(Clone, Debug)]
pub struct Tickets {
    /// The `iss` of each.
    pub issuer: String,
    /// The issuer's public keys.
    pub keys: ClientKeys,
    /// The `aud` of each: our public URL.
    pub audience: String,
}

impl Tickets {
    /// Verifies a ticket, all but its dates and that it never came before: what it costs is one signature, and no store step.
    ///
    /// # Errors
    ///
    /// [`GuestError::NoTicket`]; [`GuestError::BadTicket`] when a check of it fails. No other.
    pub(super) fn verify(&self, raw_ticket: Option<&SecretString>) -> Result<Genuine, GuestError> {
        let raw_ticket = raw_ticket.ok_or(GuestError::NoTicket)?;
        let audiences = [self.audience.clone(), format!("{}/", self.audience)];
        let ticket = self.keys.verify_ticket(raw_ticket, &self.issuer, &audiences)?;
        Ok(Genuine { name: ticket_name(&self.issuer, ticket.jti()), ticket })
    }
}

/// A ticket that its issuer has signed for us.
pub(super) struct Genuine {
    name: Digest,
    ticket: Ticket,
}

impl Genuine {
    /// Spends the ticket, on all replicas.
    ///
    /// # Errors
    ///
    /// [`GuestError::SpentTicket`]; [`GuestError::BadTicket`] of its dates, and then it is spent all the same; [`GuestError::Store`] when
    /// the store has no answer. No other.
    pub(super) async fn spend(self, store: &Store) -> Result<Spent, GuestError> {
        let Self { name, ticket } = self;
        let by = RequestId::unique();
        let spent = store.spend_once(&name, Ticket::MEMORY, by).await?;
        // Judged by the time of the step that has spent it.
        ticket.check_dates(spent.time.at())?;
        if spent.value { Ok(Spent { name, by }) } else { Err(GuestError::SpentTicket) }
    }
}

/// A ticket that was spent.
pub(super) struct Spent {
    name: Digest,
    by: RequestId,
}

impl Spent {
    /// Makes it good again, for a visitor who got no guest for it. Without an answer of the store it stays spent.
    pub(super) async fn take_back(self, store: &Store) {
        let _or_spent_for_nothing = store.unspend(&self.name, self.by).await;
    }
}
