//! Tokens for guests, which stand on a lease and nothing else: no claim of anybody is looked at, and no member comes of it.

use std::time::Duration;

use super::{Mint, MintError, Minted, Path, SignedToken};
use crate::clock::Timestamp;
use crate::guests::{GuestError, Guests, Held, LeaseSecret, Visitor};
use crate::ids::{Identity, RequestId};
use crate::telemetry::AUDIT;
use crate::token::Grant;

/// A guest and a token for it.
#[derive(Debug)]
pub struct Lent {
    /// The guest's identity, and the token.
    pub minted: Minted,
    /// What the holder proves its lease with.
    pub secret: LeaseSecret,
    /// Whether the visitor had this guest before.
    pub kept: bool,
    /// When the lease ends unless it is renewed.
    pub ends: Timestamp,
    /// How long from now the holder can have it at the latest.
    pub latest: Duration,
}

impl Mint {
    /// The pool.
    ///
    /// # Errors
    ///
    /// [`GuestError::NoPool`].
    pub fn guests(&self) -> Result<&Guests, GuestError> {
        self.rooms.guests.as_deref().ok_or(GuestError::NoPool)
    }

    /// A guest for a visitor, its own again if it has one, and a token.
    ///
    /// # Errors
    ///
    /// [`MintError::Guest`], any.
    pub async fn lend(&self, visitor: &Visitor) -> Result<Lent, MintError> {
        let taken = self.guests()?.take(visitor).await?;
        let Held { lease, .. } = &taken.held;
        tracing::info!(
            target: AUDIT,
            event = if taken.kept { "guest_returned" } else { "guest_lent" },
            identity = taken.held.identity.as_str(),
            lease_ends = %lease.ends,
            "a visitor has a guest"
        );
        let ends = lease.ends;
        let max_stay = self.guests()?.settings().pool.max_stay;
        let latest = taken.held.now.until(lease.since.plus(max_stay));
        let minted = self.mint_on(taken.held, RequestId::unique())?;
        Ok(Lent { minted, secret: taken.secret, kept: taken.kept, ends, latest })
    }

    /// A token on a lease, which renews it: one round trip to the store. Beside it, when the lease ends now.
    ///
    /// # Errors
    ///
    /// [`MintError::Guest`], with [`GuestError::NoPool`], [`GuestError::Ended`], [`GuestError::Limited`] and [`GuestError::Store`].
    pub async fn mint_guest(&self, secret: &LeaseSecret) -> Result<(Minted, Timestamp), MintError> {
        let id = RequestId::unique();
        let held = self.guests()?.renew(secret, id).await?;
        let ends = held.lease.ends;
        Ok((self.mint_on(held, id)?, ends))
    }

    /// Ends the lease of somebody who has signed in as `member`. One that is over is left as it is.
    ///
    /// # Errors
    ///
    /// [`GuestError::Store`] when the store has no answer.
    pub async fn hand_over(
        &self,
        secret: &LeaseSecret,
        member: &Identity,
    ) -> Result<(), GuestError> {
        let Ok(guests) = self.guests() else { return Ok(()) };
        match guests.hand_over(secret, member).await {
            Ok(Some(guest)) => {
                tracing::info!(
                    target: AUDIT,
                    event = "guest_signed_in",
                    identity = member.as_str(),
                    guest = guest.as_str(),
                    "a guest has become a member"
                );
                Ok(())
            }
            Ok(None) | Err(GuestError::Ended) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn mint_on(&self, held: Held, id: RequestId) -> Result<Minted, GuestError> {
        let Held { identity, lease, now } = held;
        let token_ttl = self.guests()?.settings().pool.token;
        let (ground_ends, token_ttl) = (lease.token_ends, Some(token_ttl));
        let grant = Grant { identity: &identity, id, now, ground_ends, token_ttl };
        let token = SignedToken { path: Path::Guest, provider: None, client: None };
        let token = self.sign(&grant, token).map_err(|_| GuestError::Ended)?;
        Ok(Minted { identity, token })
    }
}
