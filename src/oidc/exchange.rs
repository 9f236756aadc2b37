//! The token request: a code becomes tokens (RFC 6749 §4.1.3, OpenID Connect Core §3.1.3).

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::http::{Answer, Endpoint};
use super::{OidcError, Provider, Redemption, cut, untrusted};

/// What a code is worth. The ID token is unverified.
pub(super) struct Tokens {
    pub(super) id_token: SecretString,
    pub(super) access_token: SecretString,
}

/// Sends the code, once, with the client's credentials and the PKCE verifier.
///
/// # Errors
///
/// [`OidcError::Refused`] when the answer is an error of RFC 6749 §5.2; [`OidcError::Untrusted`] of `format` when it has no ID
/// token; [`OidcError::Unavailable`] of `token` for any other answer, or none. No other.
pub(super) async fn redeem_code(
    provider: &Provider,
    token_endpoint: &Url,
    redemption: &Redemption<'_>,
    deadline: Instant,
) -> Result<Tokens, OidcError> {
    let form = form(provider, token_endpoint, redemption);
    let request =
        provider.credentials.add_to_headers(provider.http.post_form(token_endpoint, form));

    let answer = provider.http.send(Endpoint::Token, request, deadline).await?;
    read_tokens(&answer)
}

fn form(provider: &Provider, token_endpoint: &Url, redemption: &Redemption<'_>) -> String {
    let mut form = Serializer::new(String::new());
    #[expect(clippy::disallowed_methods, reason = "the token endpoint is who the code is for")]
    let code = redemption.code.expose_secret();
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", redemption.redirect_uri.as_str())
        .append_pair("code_verifier", &redemption.pkce_verifier.reveal());
    provider.credentials.add_to_form(&mut form, token_endpoint, redemption.time.now());
    form.finish()
}

fn read_tokens(answer: &Answer) -> Result<Tokens, OidcError> {
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
    let id_token = take_secret(&mut members, "id_token")
        .ok_or_else(|| untrusted("format", "an ID token", "none"))?;
    Ok(Tokens { id_token, access_token })
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
