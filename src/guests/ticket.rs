//! Tickets: the platform's word that a visitor may be a guest.

use secrecy::SecretString;

use super::{GuestError, ticket_name};
use crate::ids::RequestId;
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
    /// Spends a ticket, on all replicas.
    ///
    /// # Errors
    ///
    /// [`GuestError::NoTicket`]; [`GuestError::BadTicket`] when a check of it fails, and then it is as before unless it was its dates;
    /// [`GuestError::SpentTicket`]; [`GuestError::Store`] when the store has no answer. No other.
    pub(super) async fn spend(
        &self,
        raw_ticket: Option<&SecretString>,
        store: &Store,
    ) -> Result<(), GuestError> {
        let raw_ticket = raw_ticket.ok_or(GuestError::NoTicket)?;
        let audiences = [self.audience.clone(), format!("{}/", self.audience)];
        let ticket = self.keys.verify_ticket(raw_ticket, &self.issuer, &audiences)?;
        let name = ticket_name(&self.issuer, ticket.jti());
        let spent = store.spend_once(&name, Ticket::MEMORY, RequestId::unique()).await?;
        // Judged by the time of the step that has spent it.
        ticket.check_dates(spent.time.at())?;
        if spent.value { Ok(()) } else { Err(GuestError::SpentTicket) }
    }
}
