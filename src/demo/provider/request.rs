use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::parameters::Parameters;

/// An authorization request that passed every check (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// `scope`, with `openid` in it
    pub scope: String,
    /// `state`
    pub state: Option<String>,
    /// `nonce`
    pub nonce: Option<String>,
    /// `code_challenge`, an S256 one
    pub code_challenge: String,
}

impl Request {
    /// The request behind `client_id` and `redirect_uri`, checked.
    ///
    /// # Errors
    ///
    /// An `error` of RFC 6749 §4.1.2.1 or OpenID Connect Core §3.1.2.6.
    pub(super) fn read(parameters: &Parameters) -> Result<Self, &'static str> {
        let get = |name| parameters.get(name).map_err(|_| "invalid_request");
        if get("request")?.is_some() {
            return Err("request_not_supported");
        }
        if get("request_uri")?.is_some() {
            return Err("request_uri_not_supported");
        }
        if get("response_type")?.ok_or("invalid_request")? != "code" {
            return Err("unsupported_response_type");
        }
        let scope = get("scope")?.unwrap_or_default();
        if !scope.split(' ').any(|one| one == "openid") {
            return Err("invalid_scope");
        }
        let code_challenge = get("code_challenge")?.ok_or("invalid_request")?;
        // An S256 challenge is 32 bytes; plain, the method when none is named, is not to be had (RFC 7636 §4.3).
        let is_digest = URL_SAFE_NO_PAD.decode(code_challenge).is_ok_and(|bytes| bytes.len() == 32);
        if get("code_challenge_method")? != Some("S256") || !is_digest {
            return Err("invalid_request");
        }
        if get("prompt")? == Some("none") {
            return Err("login_required");
        }
        Ok(Self {
            scope: scope.to_owned(),
            state: get("state")?.map(str::to_owned),
            nonce: get("nonce")?.map(str::to_owned),
            code_challenge: code_challenge.to_owned(),
        })
    }
}
