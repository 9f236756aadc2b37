//! A form as the body of a POST.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use super::problem::{Code, Problem};

/// How long one may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// A form of at most `largest` bytes, unparsed.
///
/// # Errors
///
/// `invalid_request` when the body is of another media type, larger, broken, or slow.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    largest: usize,
) -> Result<Bytes, Problem> {
    let of = |cause| Problem::new(Code::InvalidRequest, cause);
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(of("no form"));
    }
    let body = tokio::time::timeout(PATIENCE, to_bytes(body, largest)).await;
    body.map_err(|_| of("form too slow"))?.map_err(|_| of("form unreadable"))
}
