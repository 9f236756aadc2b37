//! Userinfo (OpenID Connect Core §5.3): further claims about the person whom the ID token names, and about nobody else.

use std::slice;

use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::http::{Answer, Endpoint};
use super::id_token;
use super::issuer::TokenIssuer;
use super::jws::Typ;
use super::provider::Verified;
use super::{OidcError, Provider, cut, untrusted};
use crate::clock::Timestamp;

/// What userinfo is asked with.
pub(super) struct Question<'a> {
    /// Who issued the tokens.
    pub(super) issuer: &'a TokenIssuer,
    pub(super) access_token: &'a SecretString,
    pub(super) now: Timestamp,
}

/// Asks once, about whom the access token speaks for. `None` when the endpoint answers 401 or 403: access tokens that are meant for
/// another audience are refused there, at each login alike, and what else is known of the person stands alone.
///
/// Any other failure refuses the login: policies speak of claims that may stand in userinfo only, and somebody who is admitted
/// without them while the provider is poorly may be taken for less, or more, than they are.
///
/// # Errors
///
/// [`OidcError::Unavailable`] of `userinfo` when it answers nothing in time, or with another status; [`OidcError::Untrusted`]
/// of `format` when the answer is neither a JSON object nor a signed JWT, and of the check that fails when it is a JWT. No
/// other.
pub(super) async fn fetch(
    provider: &Provider,
    userinfo_endpoint: &Url,
    question: &Question<'_>,
    deadline: Instant,
) -> Result<Option<Map<String, Value>>, OidcError> {
    #[expect(clippy::disallowed_methods, reason = "userinfo is read with it (RFC 6750 §2.1)")]
    let bearer = format!("Bearer {}", question.access_token.expose_secret());
    let request = provider.http.get(userinfo_endpoint).header(AUTHORIZATION, bearer);
    let answer = provider.http.send(Endpoint::Userinfo, request, deadline).await?;
    match answer.status {
        StatusCode::OK if answer.is("application/jwt") => {
            signed_claims(provider, answer, question, deadline).await.map(Some)
        }
        StatusCode::OK => {
            let claims = answer.json_object();
            claims.map(Some).map_err(|_| {
                untrusted("format", "userinfo in a JSON object or a signed JWT", "another")
            })
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
        status => Err(Endpoint::Userinfo.of_no_use(format!("status {}", status.as_u16()))),
    }
}

/// A signed answer: verified as an ID token is, and meant for us where it says for whom it is (§5.3.2, §5.3.4).
async fn signed_claims(
    provider: &Provider,
    answer: Answer,
    question: &Question<'_>,
    deadline: Instant,
) -> Result<Map<String, Value>, OidcError> {
    let raw_token = String::from_utf8(answer.body)
        .map_err(|_| untrusted("format", "a signed JWT", "no text"))?;
    let Verified { claims, key_issuer, .. } =
        provider.verified_payload(&raw_token.trim().to_owned().into(), Typ::Jwt, deadline).await?;
    id_token::check_key(key_issuer.as_ref(), question.issuer)?;
    if let Some(iss) = claims.get("iss") {
        question.issuer.check(Some(iss))?;
    }
    if let Some(aud) = claims.get("aud") {
        id_token::check_audience(aud, slice::from_ref(&provider.settings.client_id))?;
    }
    id_token::check_dates(&claims, question.now)?;
    Ok(claims)
}

/// The `sub` of userinfo is the ID token's, byte by byte (§5.3.2).
///
/// # Errors
///
/// [`OidcError::Untrusted`] of `userinfo_sub` when it is another, or none. No other.
pub(super) fn check_subject(userinfo: &Map<String, Value>, subject: &str) -> Result<(), OidcError> {
    match userinfo.get("sub") {
        Some(sub) if sub == subject => Ok(()),
        Some(Value::String(other)) => Err(untrusted(
            "userinfo_sub",
            format!("{:?}", cut(subject)),
            format!("{:?}", cut(other)),
        )),
        _ => Err(untrusted("userinfo_sub", format!("{:?}", cut(subject)), "no string")),
    }
}

/// An address, and the claim that says whether it was verified (§5.1).
const VERIFIED: [(&str, &str); 2] =
    [("email", "email_verified"), ("phone_number", "phone_number_verified")];

/// Adds what the ID token does not say. Whether an address was verified is not taken from a userinfo that speaks of another one.
pub(super) fn merge(claims: &mut Map<String, Value>, mut userinfo: Map<String, Value>) {
    for (address, verified) in VERIFIED {
        let said = claims.get(address);
        if said.is_some() && said != userinfo.get(address) {
            userinfo.remove(verified);
        }
    }
    for (name, value) in userinfo {
        claims.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_id_token_stands_and_nothing_vouches_for_an_address_that_it_never_spoke_of() {
        let merged = |token: Value, userinfo: Value| {
            let (Value::Object(mut claims), Value::Object(userinfo)) = (token, userinfo) else {
                panic!("two objects");
            };
            merge(&mut claims, userinfo);
            Value::Object(claims)
        };
        let verified = json!({ "email": "a@x", "email_verified": true, "name": "Other" });

        assert_eq!(merged(json!({}), verified.clone()), verified);
        assert_eq!(
            merged(json!({ "email": "a@x", "name": "A" }), verified.clone()),
            json!({ "email": "a@x", "email_verified": true, "name": "A" })
        );
        assert_eq!(
            merged(json!({ "email": "b@x", "name": "B" }), verified),
            json!({ "email": "b@x", "name": "B" })
        );
        assert_eq!(
            merged(json!({ "phone_number": "+1" }), json!({ "phone_number_verified": true })),
            json!({ "phone_number": "+1" })
        );
    }
}
