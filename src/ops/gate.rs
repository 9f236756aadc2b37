//! What every request to the API passes on its way in: its `Host`, then its token.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::Counter;
use secrecy::{ExposeSecret, SecretString};

use super::problem::{Code, Problem};
use crate::telemetry::Metrics;

/// What the gate compares with: SHA-256 of the token, so that what is compared has one length.
pub(super) struct Gate {
    token: Option<[u8; 32]>,
    wrong_tokens: Counter,
}

impl Gate {
    /// A gate that opens to `token`, or never.
    pub(super) fn new(token: Option<&SecretString>, metrics: &Metrics) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "its digest is what requests are held against"
        )]
        let token = token.map(|token| digest_of(token.expose_secret().as_bytes()));
        let labels = [("code", Code::InvalidToken.as_str()), ("cause", "ops")];
        Self { token, wrong_tokens: metrics.counter("vestibule_failures_total", &labels) }
    }

    /// Tells of who tries what they may not: guesses a token, or comes by another name.
    fn refused(&self, code: Code) {
        if code == Code::InvalidToken {
            self.wrong_tokens.increment(1);
        }
        if matches!(code, Code::InvalidToken | Code::WrongHost) {
            tracing::info!(code = code.as_str(), "a request to /api was refused");
        }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Code> {
        let token = self.token.as_ref().ok_or(Code::ApiOff)?;
        // A page in an operator's browser can have its own name lead to this listener (DNS rebinding), but not an address.
        if !one(headers, HOST).is_some_and(is_an_address) {
            return Err(Code::WrongHost);
        }
        if !headers.contains_key(AUTHORIZATION) {
            return Err(Code::LoginRequired);
        }
        let given =
            one(headers, AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        let given = digest_of(given.ok_or(Code::InvalidToken)?.as_bytes());
        verify_slices_are_equal(&given, token).map_err(|_| Code::InvalidToken)
    }
}

/// Answers requests that may not come in, and lets no answer be kept.
pub(super) async fn pass(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let mut response = match gate.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(code) => {
            gate.refused(code);
            Problem::new(code).into_response()
        }
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A header that stands once.
fn one(headers: &HeaderMap, name: axum::http::HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a `Host` is an IP address or `localhost`, with a port or without.
fn is_an_address(host: &HeaderValue) -> bool {
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port_is_one = match authority.as_str().strip_prefix(host) {
        Some(rest) => rest.is_empty() || authority.port_u16().is_some(),
        // Before it stands somebody's name.
        None => false,
    };
    port_is_one && (host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok())
}

/// The token of `Bearer <token>`; the scheme in any case (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

fn digest_of(bytes: &[u8]) -> [u8; 32] {
    let mut copy = [0; 32];
    copy.copy_from_slice(digest(&SHA256, bytes).as_ref());
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "operators-know-this-one";

    fn admitted(lines: &[(&'static str, &str)]) -> Result<(), Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Gate::new(Some(&TOKEN.into()), &Metrics::new().unwrap()).admit(&headers)
    }

    #[test]
    fn a_host_is_an_address_or_localhost() {
        let with =
            |host| admitted(&[("host", host), ("authorization", "Bearer operators-know-this-one")]);

        for good in
            ["127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "localhost", "LocalHost:9090", "10.1.2.3"]
        {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in [
            "vestibule.example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:9090",
            "x@127.0.0.1",
            "localhost.",
            "127.0.0.1:x",
            "[::1",
            "",
        ] {
            assert_eq!(with(bad), Err(Code::WrongHost), "{bad}");
        }
        let bearer = ("authorization", "Bearer operators-know-this-one");
        assert_eq!(admitted(&[bearer]), Err(Code::WrongHost));
        let twice = [("host", "127.0.0.1"), ("host", "evil.example.com"), bearer];
        assert_eq!(admitted(&twice), Err(Code::WrongHost));
    }

    #[test]
    fn only_the_token_opens() {
        let with = |value| admitted(&[("host", "127.0.0.1"), ("authorization", value)]);

        assert_eq!(with("Bearer operators-know-this-one"), Ok(()));
        assert_eq!(with("bearer  operators-know-this-one"), Ok(()));
        for bad in [
            "Bearer operators-know-this-on",
            "Bearer operators-know-this-one ",
            "Bearer operators-know-this-one,x",
            "Bearer ",
            "Bearer",
            "Basic operators-know-this-one",
            "operators-know-this-one",
            "",
        ] {
            assert_eq!(with(bad), Err(Code::InvalidToken), "{bad}");
        }
        assert_eq!(admitted(&[("host", "127.0.0.1")]), Err(Code::LoginRequired));
        let bearer = ("authorization", "Bearer operators-know-this-one");
        let twice = [("host", "127.0.0.1"), bearer, bearer];
        assert_eq!(admitted(&twice), Err(Code::InvalidToken));
    }

    #[test]
    fn without_a_token_it_never_opens() {
        let mut headers = HeaderMap::new();
        headers.append("host", "127.0.0.1".parse().unwrap());
        headers.append("authorization", "Bearer ".parse().unwrap());

        assert_eq!(Gate::new(None, &Metrics::new().unwrap()).admit(&headers), Err(Code::ApiOff));
    }
}
