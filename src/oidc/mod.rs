//! One configured OpenID provider, as a relying party meets it: metadata and keys, the way to its login page, what its answer
//! proves, and what it says about the person later.
//!
//! Owns discovery, keys, client authentication, every request to the provider, and every check of OpenID Connect Core §3.1.3.7 and
//! §12.2. Does not own the login under way (`login`), where tokens are kept, nor what the claims are worth (`mint`).

mod algorithm;
mod assertion;
mod bearer;
mod client_auth;
mod exchange;
mod http;
mod id_token;
mod introspection;
mod issuer;
mod jws;
mod keys;
mod logout;
mod metadata;
mod par;
mod provider;
mod redemption;
mod renewal;
mod revocation;
mod snapshot;
mod ticket;
mod tokens;
mod userinfo;

use std::fmt::Write as _;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use crate::clock::StoreTime;
use crate::ids::{ProviderName, Secret256};

pub use algorithm::Algorithm;
pub use assertion::{Assertion, ClientKeys};
pub use bearer::{Undated, UnverifiedOrigin};
pub use client_auth::ClientAuth;
pub use id_token::LEEWAY;
pub use introspection::Question;
pub use issuer::{TENANT, is_loopback, token_issuers};
#[cfg(feature = "inside")]
pub use logout::Logout;
pub use provider::Provider;
pub use ticket::Ticket;
pub use tokens::Tokens;

/// The largest claims document that a login carries on, in bytes of JSON: what the policy can be asked about.
const LARGEST_DOCUMENT: usize = 64 * 1024;

/// How one provider is met.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in URLs.
    pub name: ProviderName,
    /// What people read on its button.
    pub title: String,
    /// Its issuer, compared byte by byte with what its metadata and tokens say. It may have the placeholder [`TENANT`] as a step
    /// of its path: then it stands for those of `tenants`, and a token names that of its `tid`.
    pub issuer: String,
    /// Whose people may sign in, by the ids of their tenants: with the placeholder at least one, else none.
    pub tenants: Vec<String>,
    /// What it calls us.
    pub client_id: String,
    /// How we prove that we are this client.
    pub client_auth: ClientAuth,
    /// What we ask for; `openid` is sent whether it is among them or not.
    pub scopes: Vec<String>,
    /// The claim that names a subject; `sub` by default.
    pub subject_claim: String,
    /// The signature algorithms that count, all asymmetric.
    pub algorithms: Vec<Algorithm>,
    /// How long the provider may take over one step of a login, all its answers together, or over one refresh of its
    /// metadata and keys. Too small refuses logins at a provider that is merely slow; too big lets people wait at one that is
    /// away.
    pub timeout: Duration,
}

/// What the way to the provider's login page is made of.
#[derive(Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// Our callback.
    pub redirect_uri: &'a Url,
    /// Comes back with the answer (RFC 6749 §4.1.1).
    pub state: &'a str,
    /// Comes back inside the ID token (OpenID Connect Core §3.1.2.1).
    pub nonce: &'a str,
    /// Only its S256 challenge is sent (RFC 7636 §4.3).
    pub pkce_verifier: &'a Secret256,
    /// The store's clock.
    pub time: StoreTime,
}

/// What a code is redeemed with.
#[derive(Clone, Copy)]
pub struct Redemption<'a> {
    /// The provider's code.
    pub code: &'a SecretString,
    /// The callback that the code was sent to.
    pub redirect_uri: &'a Url,
    /// What the code was asked for with.
    pub nonce: &'a str,
    /// Answers the challenge.
    pub pkce_verifier: &'a Secret256,
    /// What the authorization response named as its issuer (RFC 9207 §2), if it named any.
    pub response_issuer: Option<&'a str>,
    /// The store's clock, against which the token is dated.
    pub time: StoreTime,
}

/// Claims that the provider vouches for: every check has passed.
#[derive(Clone, Debug)]
pub struct Claims {
    /// The issuer as the ID token names it: where there are tenants, that of the person's.
    pub issuer: String,
    /// The ID token's payload, with what only userinfo says merged in. A claim of the ID token is never replaced. At most
    /// 64 KiB of JSON.
    pub document: Map<String, Value>,
}

/// What a code is worth.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// What the provider says about the person.
    pub claims: Claims,
    /// What it gave, to ask again with.
    pub tokens: Tokens,
}

/// What a provider says about itself when it is asked now.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// Where people log in.
    pub authorization_endpoint: Url,
    /// Where authorization requests are pushed to, if anywhere.
    pub par_endpoint: Option<Url>,
    /// Where codes are redeemed.
    pub token_endpoint: Url,
    /// Where further claims are read, if anywhere.
    pub userinfo_endpoint: Option<Url>,
    /// Where its keys are published.
    pub jwks_uri: Url,
    /// Where people sign out of it, if anywhere.
    pub end_session_endpoint: Option<Url>,
    /// Where tokens are taken back, if anywhere.
    pub revocation_endpoint: Option<Url>,
    /// Where opaque tokens are asked about, if anywhere.
    pub introspection_endpoint: Option<Url>,
    /// Whether it says that it sends logout tokens. Some send them and do not say so.
    pub sends_logout_tokens: bool,
    /// The algorithms that it says it signs ID tokens with; empty when it does not say.
    pub algorithms: Vec<String>,
    /// How many of its keys can verify a token under the configured algorithms.
    pub usable_keys: usize,
    /// What will or may go wrong at a login, a sentence each.
    pub warnings: Vec<String>,
}

/// Why a provider's answer proves nothing. Every text here is for the operator's log, never for the person.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be reached, is too slow, or answers nothing that its protocol knows; another try may help.
    #[error("the provider's {endpoint} is of no use: {what}")]
    Unavailable {
        /// Which endpoint: `discovery`, `keys`, `par`, `token`, `userinfo`, `introspection`, `revocation`; also a metric's label.
        endpoint: &'static str,
        /// What happened, without anything secret.
        what: String,
    },
    /// The provider says no (RFC 6749 §5.2).
    #[error("the provider refused: {error}")]
    Refused {
        /// The provider's `error`, cut to 64 printable ASCII characters.
        error: String,
    },
    /// A check of the answer failed.
    #[error("{check}: expected {expected}, got {got}")]
    Untrusted {
        /// Which check, one of [`CHECKS`]; also a metric's label.
        check: &'static str,
        /// What would have passed.
        expected: String,
        /// What came, cut, without anything secret: never a token, nonce or code.
        got: String,
    },
}

/// The names of all checks that an answer must pass.
pub const CHECKS: [&str; 28] = [
    "response_issuer",
    "format",
    "algorithm",
    "crit",
    "typ",
    "key",
    "signature",
    "tid",
    "iss",
    "aud",
    "azp",
    "exp",
    "iat",
    "nbf",
    "nonce",
    "at_hash",
    "c_hash",
    "sub",
    "auth_time",
    "sid",
    "jti",
    "events",
    "cnf",
    "active",
    "token_type",
    "age",
    "userinfo_sub",
    "size",
];

/// Why a provider cannot be spoken to as configured.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The issuer is neither an https URL nor an http URL of a loopback host, has a query, a fragment or credentials, or has a
    /// placeholder without tenants or the other way round.
    #[error("the issuer {0}")]
    Issuer(&'static str),
    /// The private key is no PKCS#8 PEM of an RSA key (2048 bits or more), P-256, P-384 or Ed25519 key.
    #[error(
        "the private key is no PKCS#8 PEM of an RSA (2048 bits or more), P-256, P-384 or Ed25519 key"
    )]
    PrivateKey,
    /// The HTTP client cannot be built, for want of trusted certificates for instance.
    #[error("the HTTP client cannot be built")]
    Http(#[from] reqwest::Error),
}

fn untrusted(
    check: &'static str,
    expected: impl Into<String>,
    got: impl Into<String>,
) -> OidcError {
    OidcError::Untrusted { check, expected: expected.into(), got: got.into() }
}

/// The first 64 characters of what came from outside, those that are not printable ASCII escaped, so that a log line stays
/// one line.
fn cut(raw_text: &str) -> String {
    let mut text = String::new();
    for character in raw_text.chars().take(64) {
        match character {
            ' '..='~' => text.push(character),
            other => drop(write!(text, "{}", other.escape_unicode())),
        }
    }
    if raw_text.chars().nth(64).is_some() {
        text.push_str("...");
    }
    text
}

/// Takes out what speaks of one login and its tokens, not of the person.
fn forget_login(claims: &mut Map<String, Value>) {
    for name in ["nonce", "at_hash", "c_hash"] {
        claims.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_stays_short_and_on_one_line() {
        assert_eq!(cut("a\r\nb\u{202e}"), "a\\u{d}\\u{a}b\\u{202e}");
        assert_eq!(cut(&"x".repeat(65)), format!("{}...", "x".repeat(64)));
        assert_eq!(cut(&"x".repeat(64)), "x".repeat(64));
    }
}
