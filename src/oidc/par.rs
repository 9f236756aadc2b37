//! Pushed authorization requests (RFC 9126): the provider learns what is asked for from us, and the browser carries a reference to it.

use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use super::http::Endpoint;
use super::{OidcError, Provider, cut};
use crate::clock::Timestamp;

/// Pushes `parameters` to the provider; the `request_uri` that stands for them.
///
/// # Errors
///
/// [`OidcError::Refused`] when the answer is an error of RFC 6749 §5.2; [`OidcError::Unavailable`] of `par` for any other answer,
/// or none. No other.
pub(super) async fn push(
    provider: &Provider,
    par_endpoint: &Url,
    parameters: &[(&str, &str)],
    now: Timestamp,
    deadline: Instant,
) -> Result<String, OidcError> {
    let form = form(provider, par_endpoint, parameters, now);
    let request = provider.credentials.add_to_headers(provider.http.post_form(par_endpoint, form));

    let answer = provider.http.send(Endpoint::Par, request, deadline).await?;
    let status = answer.status;
    let of_no_use = || Endpoint::Par.of_no_use(format!("status {}", status.as_u16()));
    if !(status.is_success() || status.is_client_error()) || status == StatusCode::TOO_MANY_REQUESTS
    {
        return Err(of_no_use());
    }
    let members = answer.json_object()?;
    if let Some(Value::String(error)) = members.get("error") {
        return Err(OidcError::Refused { error: cut(error) });
    }
    if !status.is_success() {
        return Err(of_no_use());
    }
    match members.get("request_uri") {
        Some(Value::String(uri)) if is_reference(uri) => Ok(uri.clone()),
        _ => Err(Endpoint::Par.of_no_use("no request_uri that a URL can carry")),
    }
}

/// The form, which names the client once, however it authenticates (§2.1).
fn form(
    provider: &Provider,
    par_endpoint: &Url,
    parameters: &[(&str, &str)],
    now: Timestamp,
) -> String {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(parameters);
    provider.credentials.add_to_form(&mut form, par_endpoint, now);
    if provider.credentials.stand_in_headers() {
        form.append_pair("client_id", &provider.settings.client_id);
    }
    form.finish()
}

/// Visible ASCII, and of a length that a browser's URL can carry with the rest.
fn is_reference(uri: &str) -> bool {
    (1..=2048).contains(&uri.len()) && uri.bytes().all(|byte| byte.is_ascii_graphic())
}
