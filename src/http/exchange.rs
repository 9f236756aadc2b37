//! `POST /oauth2/token`: token exchange (RFC 8693) for backends that are configured as clients.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::login::{Bringer, Client};
use crate::mint::Minted;

use super::problem::{Code, Problem};
use super::token::json;
use super::{App, form};

/// The largest form that is read, in bytes: a token of 64 KiB of claims, and the rest.
const LARGEST_FORM: usize = 128 * 1024;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a subject token may be called (RFC 8693 §3).
const SUBJECT_TOKEN_TYPES: [&str; 3] =
    [JWT, ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:id_token"];

/// The parameters that count, each at most once (RFC 6749 §3.2).
#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    subject_token: Option<SecretString>,
    subject_token_type: Option<String>,
    requested_token_type: Option<String>,
    /// Who acts for the subject: nobody can.
    names_actor: bool,
    /// Another service that the token is to be for: ours are for Twilio's alone.
    names_target: bool,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    client_assertion_type: Option<String>,
    client_assertion: Option<SecretString>,
}

/// RFC 8693 §2.2.1; `identity` is our extension.
#[derive(Serialize)]
struct Reply<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    identity: &'a str,
}

/// Mints a token for whom the subject token means. Errors are RFC 6749 §5.2's: the gate spells them for this route.
pub(super) async fn exchange(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    if !app.rooms.login.has_clients() {
        return Err(Problem::new(Code::NotFound, "no clients"));
    }
    let (head, body) = request.into_parts();
    if app.cookies.any(&head.headers) {
        app.origins.demand(&head.headers)?;
    }
    let form = Form::read(&head.headers, body).await?;
    let client = client(&app, &head.headers, &form).await?;
    match form.grant_type.as_deref() {
        Some(EXCHANGE) => {}
        Some(_) => return Err(Problem::new(Code::UnsupportedGrantType, "grant type")),
        None => return Err(Problem::new(Code::InvalidRequest, "no grant_type")),
    }
    let of = |cause| Problem::new(Code::InvalidRequest, cause);
    if form.names_actor {
        return Err(of("an actor"));
    }
    if form.names_target {
        return Err(Problem::new(Code::InvalidTarget, "another target"));
    }
    if form.requested_token_type.is_some_and(|wanted| wanted != JWT) {
        return Err(of("requested_token_type"));
    }
    let named = form.subject_token_type.ok_or(of("no subject_token_type"))?;
    if !SUBJECT_TOKEN_TYPES.contains(&named.as_str()) {
        return Err(of("subject_token_type"));
    }
    let raw_token = form.subject_token.ok_or(of("no subject_token"))?;

    let bringer = Bringer::Client { client, may_be_opaque: named == ACCESS_TOKEN };
    let vouched = app.rooms.login.vouch(&raw_token, bringer).await?;
    let Minted { identity, token } = app.rooms.mint.mint_for(vouched).await?;
    #[expect(clippy::disallowed_methods, reason = "the token goes to whom the client acts for")]
    let access_token = token.jwt.expose_secret();
    Ok(json(&Reply {
        access_token,
        issued_token_type: JWT,
        // It is no OAuth token: Twilio's SDK takes it (RFC 8693 §2.2.1).
        token_type: "N_A",
        expires_in: token.expires_in,
        identity: identity.as_str(),
    }))
}

impl Form {
    async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let of = |cause| Problem::new(Code::InvalidRequest, cause);
        let body = form::read(headers, body, LARGEST_FORM).await?;
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(&body) {
            // Without a value it is as if it were left out (RFC 6749 §3.2).
            if value.is_empty() {
                continue;
            }
            let value = value.into_owned();
            let stood_before = match name.as_ref() {
                "grant_type" => form.grant_type.replace(value).is_some(),
                "subject_token" => form.subject_token.replace(value.into()).is_some(),
                "subject_token_type" => form.subject_token_type.replace(value).is_some(),
                "requested_token_type" => form.requested_token_type.replace(value).is_some(),
                "actor_token" | "actor_token_type" => {
                    form.names_actor = true;
                    false
                }
                "audience" | "resource" => {
                    form.names_target = true;
                    false
                }
                "client_id" => form.client_id.replace(value).is_some(),
                "client_secret" => form.client_secret.replace(value.into()).is_some(),
                "client_assertion_type" => form.client_assertion_type.replace(value).is_some(),
                "client_assertion" => form.client_assertion.replace(value.into()).is_some(),
                _ => false,
            };
            if stood_before {
                return Err(of("doubled parameter"));
            }
        }
        Ok(form)
    }
}

/// The client that asks: by its secret in the header or in the form, or by an assertion, never in two of these ways (RFC 6749 §2.3).
///
/// # Errors
///
/// `invalid_client` when it is none, or does not prove it; `invalid_request` when it authenticates in two ways; `store_unavailable` when
/// nobody knows whether its assertion is spent.
async fn client<'a>(app: &'a App, headers: &HeaderMap, form: &Form) -> Result<&'a Client, Problem> {
    let unknown = |cause| Problem::new(Code::InvalidClient, cause);
    let malformed = |cause| Problem::new(Code::InvalidRequest, cause);
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let by_header = match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(line), None) => Some(basic(line.as_bytes()).ok_or(unknown("scheme"))?),
        _ => return Err(malformed("two authorizations")),
    };
    let by_assertion = form.client_assertion_type.is_some() || form.client_assertion.is_some();
    let (id, secret) = match (by_header, &form.client_secret, by_assertion) {
        (Some(_), Some(_), _) | (Some(_), _, true) | (_, Some(_), true) => {
            return Err(malformed("two authentications"));
        }
        (Some((id, _)), ..) if form.client_id.as_ref().is_some_and(|named| *named != id) => {
            return Err(malformed("two clients"));
        }
        (Some(by_header), ..) => by_header,
        (None, Some(secret), _) => {
            (form.client_id.clone().ok_or(unknown("no client_id"))?, secret.clone())
        }
        (None, None, true) => {
            if form.client_assertion_type.as_deref() != Some(JWT_BEARER) {
                return Err(unknown("client_assertion_type"));
            }
            let assertion = form.client_assertion.as_ref().ok_or(unknown("no assertion"))?;
            let id = form.client_id.as_deref();
            return Ok(app.rooms.login.client_by_assertion(assertion, id).await?);
        }
        (None, None, false) => return Err(unknown("no authentication")),
    };
    app.rooms.login.client_by_secret(&id, &secret).ok_or(unknown("credentials"))
}

/// Id and secret of a `Basic` header, each form-encoded before (RFC 6749 §2.3.1).
fn basic(line: &[u8]) -> Option<(String, SecretString)> {
    let (scheme, credentials) = line.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let credentials = Zeroizing::new(STANDARD.decode(credentials.trim_ascii()).ok()?);
    let (id, secret) = std::str::from_utf8(&credentials).ok()?.split_once(':')?;
    let decoded = |text: &str| {
        let pair = Zeroizing::new(format!("={text}"));
        let mut values = form_urlencoded::parse(pair.as_bytes());
        let (_, value) = values.next()?;
        // An `&` is encoded, or it is none of this.
        values.next().is_none().then(|| value.into_owned())
    };
    Some((decoded(id)?, decoded(secret)?.into()))
}
