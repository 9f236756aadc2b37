//! What a platform's backend signs to say that its visitor may be a guest: a JWT (RFC 7519) of its own making, read and verified here with
//! the keys that its issuer is configured with.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::assertion::ClientKeys;
use super::id_token::{self, LEEWAY, check_dates, date, kind};
use super::jws::Typ;
use super::{OidcError, untrusted};
use crate::clock::Timestamp;

/// How long a ticket may count: it is made for a visitor who is about to come.
const LONGEST_LIFE: Duration = Duration::from_mins(5);

impl ClientKeys {
    /// Verifies a ticket of `issuer`, all but that it is valid now and the first with its `jti`.
    ///
    /// Checks, in order: header and signature (RFC 7515 §5.2), its `typ` among them; `iss`; `aud`, which is one of `audiences` or has it
    /// among others; `jti`; that `iat` and `exp` are dates and no more than five minutes apart.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] when a check fails. No other.
    pub fn verify_ticket(
        &self,
        raw_ticket: &SecretString,
        issuer: &str,
        audiences: &[String],
    ) -> Result<Ticket, OidcError> {
        let claims = self.verified(raw_ticket, Typ::Jwt)?;
        if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(untrusted("iss", "the tickets' issuer", "another"));
        }
        id_token::check_audience(claims.get("aud").unwrap_or(&Value::Null), audiences)?;
        Ticket::read(claims)
    }
}

/// A ticket that its issuer has signed.
#[derive(Debug)]
pub struct Ticket {
    jti: String,
    claims: Map<String, Value>,
}

impl Ticket {
    fn read(claims: Map<String, Value>) -> Result<Self, OidcError> {
        let jti = match claims.get("jti") {
            Some(Value::String(jti)) if !jti.is_empty() => jti.clone(),
            other => return Err(untrusted("jti", "a string that is not empty", kind(other))),
        };
        let required = |name| date(&claims, name)?.ok_or_else(|| untrusted(name, "a date", "none"));
        let (begins, ends) = (required("iat")?, required("exp")?);
        let latest = begins.plus(LONGEST_LIFE);
        if ends > latest {
            return Err(untrusted("exp", format!("no later than {latest}"), ends.to_string()));
        }
        Ok(Self { jti, claims })
    }

    /// How long the `jti` of a ticket must be remembered that passes [`Ticket::check_dates`]: as long as it could come again.
    pub const MEMORY: Duration = LONGEST_LIFE.saturating_add(LEEWAY).saturating_add(LEEWAY);

    /// Its name, which may come once.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// Checks that it is valid at `now`, give or take a minute.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `exp`, `iat` or `nbf` when it is too far off, the last also when it is no date. No other.
    pub fn check_dates(&self, now: Timestamp) -> Result<(), OidcError> {
        check_dates(&self.claims, now)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ticket_lives_five_minutes_at_most() {
        const NOW: u64 = 1_700_000_000;
        let refusal = |claims: Value| {
            let Value::Object(mut claims) = claims else { panic!("{claims}") };
            claims.insert("jti".to_owned(), "1".into());
            let now = Timestamp::from_millis(NOW * 1000);
            match Ticket::read(claims).and_then(|ticket| ticket.check_dates(now)) {
                Ok(()) => None,
                Err(OidcError::Untrusted { check, .. }) => Some(check),
                Err(other) => panic!("{other}"),
            }
        };
        for (claims, expected) in [
            (json!({ "iat": NOW, "exp": NOW + 300 }), None),
            (json!({ "iat": NOW - 350, "exp": NOW - 59 }), None),
            (json!({ "iat": NOW + 60, "exp": NOW + 360 }), None),
            (json!({ "iat": NOW, "exp": NOW + 301 }), Some("exp")),
            (json!({ "iat": NOW - 350, "exp": NOW - 60 }), Some("exp")),
            (json!({ "iat": NOW + 61, "exp": NOW + 120 }), Some("iat")),
            (json!({ "exp": NOW + 60 }), Some("iat")),
            (json!({ "iat": NOW }), Some("exp")),
            (json!({ "iat": NOW, "exp": NOW + 60, "nbf": NOW + 61 }), Some("nbf")),
        ] {
            assert_eq!(refusal(claims.clone()), expected, "{claims}");
        }
        assert_eq!(Ticket::MEMORY, Duration::from_mins(7));
    }
}
