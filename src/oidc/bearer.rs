//! A provider's token as a bearer brings it (RFC 6750): a JWT access token (RFC 9068), or an ID token that was meant for the
//! bearer's own client.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::id_token::{self, LEEWAY, check_dates, check_key, date, kind};
use super::jws::Typ;
use super::provider::Verified;
use super::{Claims, LARGEST_DOCUMENT, OidcError, Provider, untrusted};
use crate::clock::Timestamp;

/// What an unverified token says of where it belongs: good for choosing a provider, and for nothing else.
#[derive(Debug, Deserialize)]
pub struct UnverifiedOrigin {
    /// Who it says has issued it.
    #[serde(rename = "iss")]
    pub issuer: String,
    #[serde(rename = "aud", default)]
    audiences: Value,
}

impl UnverifiedOrigin {
    /// Reads it out of a JWT, or of what only looks like one; `None` when it does not say who has issued it.
    pub fn of(raw_token: &SecretString) -> Option<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the token is looked at here and shown to nobody"
        )]
        let raw_token = raw_token.expose_secret();
        let mut parts = raw_token.split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        if payload.len() / 4 * 3 > LARGEST_DOCUMENT {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    /// Whether it says that it is meant for one of `audiences`.
    pub fn is_meant_for(&self, audiences: &[String]) -> bool {
        id_token::check_audience(&self.audiences, audiences).is_ok()
    }
}

/// Claims that the provider vouches for, so far as their dates are good, which are yet to be judged.
#[derive(Debug)]
pub struct Undated {
    claims: Claims,
    vouched: Vouched,
}

/// How the provider vouches for claims, and so which dates they must have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vouched {
    /// It signed them once.
    ByItsSignature,
    /// It was asked a moment ago.
    ByItsAnswer,
}

impl Undated {
    pub(super) const fn new(claims: Claims, vouched: Vouched) -> Self {
        Self { claims, vouched }
    }

    /// The issuer as the token names it.
    pub fn issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// The claims, to find out whom they mean. What they are worth is known after [`Undated::dated`].
    pub fn unjudged(&self) -> &Map<String, Value> {
        &self.claims.document
    }

    /// The claims, if the token is valid at `now`; of one that the provider signed, if it was issued at most `max_age` ago, give or take
    /// a minute.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `exp`, `iat` or `nbf` when one of them is missing (`nbf` may, and of an introspected token each), no
    /// date, or too far off; of `age` when the token is older than that. No other.
    pub fn dated(self, now: Timestamp, max_age: Duration) -> Result<Claims, OidcError> {
        let Self { claims, vouched } = self;
        check_dates(&claims.document, now)?;
        if matches!(vouched, Vouched::ByItsSignature) {
            check_age(&claims.document, now, max_age)?;
        }
        Ok(claims)
    }
}

/// It says until when it counts, and was issued at most `max_age` before `now`, give or take a minute.
fn check_age(
    claims: &Map<String, Value>,
    now: Timestamp,
    max_age: Duration,
) -> Result<(), OidcError> {
    if date(claims, "exp")?.is_none() {
        return Err(untrusted("exp", "a date", "none"));
    }
    let issued = date(claims, "iat")?.ok_or_else(|| untrusted("iat", "a date", "none"))?;
    if now >= issued.plus(max_age).plus(LEEWAY) {
        let limit = format!("issued at most {} s ago", max_age.as_secs());
        return Err(untrusted("age", limit, issued.to_string()));
    }
    Ok(())
}

impl Provider {
    /// Verifies a bearer's JWT, all but its dates.
    ///
    /// Checks, in order: header and signature (RFC 7515 §5.2), its `typ` among them (RFC 9068 §4, RFC 8725 §3.11); `tid`, where
    /// there are tenants; `iss`, and whether the key signs for it; `aud`; that it is no event (`events`, RFC 8417 §2.2), and
    /// bound to no key that the bearer would have to show (`cnf`, RFC 7800 §3.1); `sub`, which must not be a client's own.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] when a check fails; [`OidcError::Unavailable`] of `discovery` or `keys`. No other.
    pub async fn verify_bearer(
        &self,
        raw_token: &SecretString,
        audiences: &[String],
    ) -> Result<Undated, OidcError> {
        let Verified { claims: mut document, key_issuer, .. } =
            self.verified_payload(raw_token, Typ::Bearer, self.deadline()).await?;
        let issuer = self.issuer.expected_of(&document)?;
        issuer.check(document.get("iss"))?;
        check_key(key_issuer.as_ref(), issuer)?;
        id_token::check_audience(document.get("aud").unwrap_or(&Value::Null), audiences)?;
        for name in ["events", "cnf"] {
            if document.contains_key(name) {
                return Err(untrusted(name, "none", "one"));
            }
        }
        check_subject(&document)?;
        super::forget_login(&mut document);
        let claims = Claims { issuer: issuer.text().to_owned(), document };
        Ok(Undated::new(claims, Vouched::ByItsSignature))
    }
}

/// Its `sub`, which is not the client that the token was given to: a machine that is called as a person is would be that person
/// (RFC 9068 §5).
pub(super) fn check_subject(claims: &Map<String, Value>) -> Result<&str, OidcError> {
    let subject = match claims.get("sub") {
        Some(Value::String(subject)) if !subject.trim().is_empty() => subject.as_str(),
        other => return Err(untrusted("sub", "a string that is not empty", kind(other))),
    };
    let is_client = |name| claims.get(name).is_some_and(|client| client == subject);
    // Entra ID says so in a claim of its own, for its clients have other subjects.
    let is_app = claims.get("idtyp").is_some_and(|kind| kind == "app");
    if ["client_id", "azp"].into_iter().any(is_client) || is_app {
        return Err(untrusted("sub", "a person", "a client"));
    }
    Ok(subject)
}
