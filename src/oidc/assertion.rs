//! What a client of ours signs to say that it is itself, `private_key_jwt` (RFC 7523 §2.2, §3; OpenID Connect Core §9): read, verified and
//! judged here, with the keys that it is configured with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::bearer::UnverifiedOrigin;
use super::id_token::{self, LEEWAY, check_dates, date, kind};
use super::jws::{Jws, Typ};
use super::keys::{KeySet, Verdict};
use super::{Algorithm, OidcError, untrusted};
use crate::clock::Timestamp;

/// How long an assertion may count. It is made for one request: a longer one is another's to steal.
const LONGEST_LIFE: Duration = Duration::from_mins(10);

/// The members of a JWK that only its owner may know (RFC 7518 §6.2.2, §6.3.2; RFC 8037 §2), and that of a symmetric key (§6.4.1).
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv", "k"];

/// A client's public keys.
#[derive(Clone)]
pub struct ClientKeys(Arc<KeySet>);

impl ClientKeys {
    /// Reads a JWK set (RFC 7517 §5). Keys that sign nothing are passed over.
    ///
    /// # Errors
    ///
    /// What is wrong with it, to be read after its name: it is no JWK set, holds what nobody but the client may know, or no key that
    /// can verify a signature.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let no_set = "is not a JWK set in JSON";
        let document: Map<String, Value> = serde_json::from_str(text).map_err(|_| no_set)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(no_set)?;
        let is_private = |key: &Value| {
            PRIVATE.iter().any(|member| key.get(member).is_some())
                || key.get("kty") == Some(&"oct".into())
        };
        if keys.iter().any(is_private) {
            return Err("holds a private or a symmetric key");
        }
        let keys = KeySet::read(&document).ok_or(no_set)?;
        if keys.is_empty() {
            return Err("holds no key that can verify a signature");
        }
        Ok(Self(Arc::new(keys)))
    }

    /// Verifies an assertion of the client `id`, all but its dates and that it is the first with its `jti`.
    ///
    /// Checks, in order: header and signature (RFC 7515 §5.2), its `typ` among them; `iss` and `sub`, which are the client (RFC 7523 §3
    /// items 1 and 2); `aud`, which is one of `audiences` or has it among others (item 3); `jti`.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] when a check fails. No other.
    pub fn verify(
        &self,
        raw_assertion: &SecretString,
        id: &str,
        audiences: &[String],
    ) -> Result<Assertion, OidcError> {
        let claims = self.verified(raw_assertion, Typ::ClientAssertion)?;
        for name in ["iss", "sub"] {
            if claims.get(name).and_then(Value::as_str) != Some(id) {
                return Err(untrusted(name, "the client", "another"));
            }
        }
        id_token::check_audience(claims.get("aud").unwrap_or(&Value::Null), audiences)?;
        match claims.get("jti") {
            Some(Value::String(jti)) if !jti.is_empty() => {
                Ok(Assertion { jti: jti.clone(), claims })
            }
            other => Err(untrusted("jti", "a string that is not empty", kind(other))),
        }
    }

    /// The payload of a JWS that may call itself `typ` and that one of these keys has signed.
    pub(super) fn verified(
        &self,
        raw_token: &SecretString,
        typ: Typ,
    ) -> Result<Map<String, Value>, OidcError> {
        let jws = Jws::read(raw_token, typ, &Algorithm::ALL)?;
        match self.0.verify(&jws) {
            Verdict::Genuine { .. } => jws.payload(),
            Verdict::NoKeyFits => {
                Err(untrusted("key", "a key that is configured", jws.describe_key()))
            }
            Verdict::Forged | Verdict::NoKeyVerifies => {
                Err(untrusted("signature", "one by a key that is configured", "another"))
            }
        }
    }
}

/// Says how many there are.
impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKeys({})", self.0.len())
    }
}

/// An assertion that its client has signed.
#[derive(Debug)]
pub struct Assertion {
    jti: String,
    claims: Map<String, Value>,
}

impl Assertion {
    /// How long the `jti` of an assertion must be remembered that passes [`Assertion::check_dates`]: as long as it could come again.
    pub const MEMORY: Duration = LONGEST_LIFE.saturating_add(LEEWAY).saturating_add(LEEWAY);

    /// The client that an unverified assertion speaks of: good for choosing its keys, and for nothing else.
    pub fn unverified_client(raw_assertion: &SecretString) -> Option<String> {
        UnverifiedOrigin::of(raw_assertion).map(|origin| origin.issuer)
    }

    /// Its name, which may come once.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// Checks that it is valid at `now` (RFC 7523 §3 items 4 to 6), give or take a minute, and ends ten minutes from now at the latest.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `exp`, `iat` or `nbf` when one of them is missing (the last two may), no date, or too far off. No
    /// other.
    pub fn check_dates(&self, now: Timestamp) -> Result<(), OidcError> {
        let exp = date(&self.claims, "exp")?.ok_or_else(|| untrusted("exp", "a date", "none"))?;
        check_dates(&self.claims, now)?;
        let latest = now.plus(LONGEST_LIFE).plus(LEEWAY);
        if exp > latest {
            return Err(untrusted("exp", format!("no later than {latest}"), exp.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn parsed(keys: &str) -> Result<usize, &'static str> {
        ClientKeys::parse(&format!(r#"{{"keys":[{keys}]}}"#)).map(|keys| keys.0.len())
    }

    #[test]
    fn a_clients_keys_are_public_and_can_verify() {
        let with = |members: &str| format!("{},{members}}}", PUBLIC.trim_end_matches('}'));
        let encrypts = with(r#""use":"enc""#);

        assert_eq!(parsed(PUBLIC), Ok(1));
        assert_eq!(parsed(&format!("{PUBLIC},{encrypts},7,{{}}")), Ok(1));
        assert_eq!(parsed(&encrypts), Err("holds no key that can verify a signature"));
        assert_eq!(parsed(""), Err("holds no key that can verify a signature"));
        for secret in [
            with(r#""d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#),
            with(r#""d":null"#),
            with(r#""p":"AQ""#),
            r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(),
            r#"{"kty":"oct"}"#.to_owned(),
            r#"{"kty":"AKP","alg":"ML-DSA-44","pub":"AA","priv":"AA"}"#.to_owned(),
        ] {
            let refused = Err("holds a private or a symmetric key");
            assert_eq!(parsed(&secret), refused, "{secret}");
            assert_eq!(parsed(&format!("{PUBLIC},{secret}")), refused, "{secret}");
        }
        for text in ["", "[]", "7", PUBLIC, r#"{"keys":{}}"#, "-----BEGIN PUBLIC KEY-----"] {
            assert!(ClientKeys::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_assertion_lives_ten_minutes_at_most() {
        const NOW: u64 = 1_700_000_000;
        let refusal = |claims: Value| {
            let Value::Object(claims) = claims else { panic!("{claims}") };
            let assertion = Assertion { jti: "1".to_owned(), claims };
            match assertion.check_dates(Timestamp::from_millis(NOW * 1000)) {
                Ok(()) => None,
                Err(OidcError::Untrusted { check, .. }) => Some(check),
                Err(other) => panic!("{other}"),
            }
        };
        for (claims, expected) in [
            (serde_json::json!({ "exp": NOW + 60 }), None),
            (serde_json::json!({ "exp": NOW - 59, "iat": NOW - 120, "nbf": NOW - 120 }), None),
            (serde_json::json!({ "exp": NOW + 660, "iat": NOW + 60 }), None),
            (serde_json::json!({}), Some("exp")),
            (serde_json::json!({ "exp": "1700000060" }), Some("exp")),
            (serde_json::json!({ "exp": NOW - 60 }), Some("exp")),
            (serde_json::json!({ "exp": NOW + 661 }), Some("exp")),
            (serde_json::json!({ "exp": NOW + 60, "iat": NOW + 61 }), Some("iat")),
            (serde_json::json!({ "exp": NOW + 60, "nbf": NOW + 61 }), Some("nbf")),
        ] {
            assert_eq!(refusal(claims.clone()), expected, "{claims}");
        }
        assert_eq!(Assertion::MEMORY, Duration::from_mins(12));
    }
}
