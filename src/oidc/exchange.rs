//! The token request: a code or a refresh token becomes tokens (RFC 6749 §4.1.3, §6, OpenID Connect Core §3.1.3, §12).

use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::http::{Answer, Endpoint};
use super::{OidcError, Provider, Redemption, cut};
use crate::clock::Timestamp;

/// What the token endpoint gives. The ID token is unverified.
pub(super) struct Given {
    /// Whatever stands there in place of one, so that it fails where it is verified.
    pub(super) id_token: Option<SecretString>,
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    /// How long the access token lives, if the provider says so.
    pub(super) life: Option<Duration>,
}

impl Given {
    /// When the access token ends that was asked for `asked`, if the provider says so.
    pub(super) fn access_until(&self, asked: Timestamp) -> Option<Timestamp> {
        self.life.map(|life| asked.plus(life))
    }
}

/// Sends the code, once, with the client's credentials and the PKCE verifier.
///
/// # Errors
///
/// [`OidcError::Refused`] when the answer is an error of RFC 6749 §5.2; [`OidcError::Unavailable`] of `token` for any other answer,
/// or none. No other.
pub(super) async fn redeem_code(
    provider: &Provider,
    token_endpoint: &Url,
    redemption: &Redemption<'_>,
    deadline: Instant,
) -> Result<Given, OidcError> {
    #[expect(clippy::disallowed_methods, reason = "the token endpoint is who the code is for")]
    let code = redemption.code.expose_secret();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redemption.redirect_uri.as_str()),
        ("code_verifier", &redemption.pkce_verifier.reveal()),
    ];
    let at = (Endpoint::Token, token_endpoint);
    read(&post(provider, at, &form, redemption.time.now(), deadline).await?)
}

/// Sends the refresh token, once: where each is good for one use, a second try with the same one ends the whole grant (RFC 9700
/// §4.14.2).
///
/// # Errors
///
/// As [`redeem_code`].
pub(super) async fn redeem_refresh_token(
    provider: &Provider,
    token_endpoint: &Url,
    refresh_token: &SecretString,
    now: Timestamp,
    deadline: Instant,
) -> Result<Given, OidcError> {
    #[expect(clippy::disallowed_methods, reason = "the token endpoint is who it is for")]
    let refresh_token = refresh_token.expose_secret();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    read(&post(provider, (Endpoint::Token, token_endpoint), &form, now, deadline).await?)
}

/// The answer of an endpoint, at this URL, that takes a form from clients only.
///
/// # Errors
///
/// [`OidcError::Unavailable`] of the endpoint when there is no whole answer in time. No other.
pub(super) async fn post(
    provider: &Provider,
    (endpoint, url): (Endpoint, &Url),
    pairs: &[(&str, &str)],
    now: Timestamp,
    deadline: Instant,
) -> Result<Answer, OidcError> {
    let form = {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(pairs);
        provider.credentials.add_to_form(&mut form, url, now);
        form.finish()
    };
    let request = provider.credentials.add_to_headers(provider.http.post_form(url, form));
    provider.http.send(endpoint, request, deadline).await
}

fn read(answer: &Answer) -> Result<Given, OidcError> {
    let status = answer.status;
    if !(status == StatusCode::OK || status.is_client_error())
        || status == StatusCode::TOO_MANY_REQUESTS
    {
        return Err(Endpoint::Token.of_no_use(format!("status {}", status.as_u16())));
    }
    let mut members = answer.json_object()?;
    // Some providers say no with status 200.
    if let Some(Value::String(error)) = members.get("error") {
        return Err(OidcError::Refused { error: cut(error) });
    }
    if status != StatusCode::OK {
        return Err(
            Endpoint::Token.of_no_use(format!("status {} without an error code", status.as_u16()))
        );
    }
    let token_type = members.get("token_type").and_then(Value::as_str).unwrap_or_default();
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(
            Endpoint::Token.of_no_use(format!("a token_type of {:?}, not Bearer", cut(token_type)))
        );
    }
    let access_token = take_secret(&mut members, "access_token")
        .ok_or_else(|| Endpoint::Token.of_no_use("no access token that a header can carry"))?;
    let id_token = match members.remove("id_token") {
        None | Some(Value::Null) => None,
        Some(Value::String(token)) => Some(token).filter(|token| !token.is_empty()),
        Some(other) => Some(other.to_string()),
    };
    Ok(Given {
        id_token: id_token.map(Into::into),
        access_token,
        refresh_token: take_secret(&mut members, "refresh_token"),
        life: members.get("expires_in").and_then(life),
    })
}

/// A token of visible ASCII characters (RFC 6749 §A.12 allows spaces too, which no bearer token has, RFC 6750 §2.1): it can
/// stand in a header, and nothing can hide in it.
fn take_secret(members: &mut Map<String, Value>, name: &str) -> Option<SecretString> {
    match members.remove(name) {
        Some(Value::String(token))
            if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Some(token.into())
        }
        _ => None,
    }
}

/// A number of seconds (RFC 6749 §5.1), which some spell as a string.
fn life(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_life_is_seconds_however_they_are_spelled() {
        for (value, expected) in [
            (json!(300), Some(300)),
            (json!("300"), Some(300)),
            (json!(300.0), Some(300)),
            (json!(0), Some(0)),
            (json!(-1), None),
            (json!("soon"), None),
            (json!("inf"), None),
            (json!(1e300), None),
            (json!(null), None),
            (json!([300]), None),
        ] {
            assert_eq!(life(&value), expected.map(Duration::from_secs), "{value}");
        }
    }
}
