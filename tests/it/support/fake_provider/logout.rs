//! How people sign out of the provider, and what it tells the client then.

use std::collections::HashMap;

use serde_json::{Value, json};
use url::Url;

use super::{FakeProvider, Provider, Twist, keys, set};

/// The event that a logout token tells of.
pub const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A request to the `end_session` endpoint.
#[derive(Clone, Debug)]
pub struct SignedOut {
    pub method: String,
    pub parameters: HashMap<String, String>,
}

impl FakeProvider {
    /// A logout token about this person, this session, or both, that differs from a good one in these ways: claims, header
    /// parameters, the signer, or what was changed afterwards.
    pub fn logout_token(&self, sub: Option<&str>, sid: Option<&str>, twists: &[Twist]) -> String {
        let state = self.state();
        let now = keys::now();
        let mut claims = json!({
            "iss": self.provider.token_issuer(&state),
            "aud": "vestibule",
            "iat": now,
            "exp": now + 120,
            "jti": keys::random("jti"),
            "events": { LOGOUT_EVENT: {} },
        });
        set(&mut claims, "sub", sub.map(Into::into));
        set(&mut claims, "sid", sid.map(Into::into));
        let typ = Twist::Header("typ", Some("logout+jwt".into()));
        super::sign(&state.signer, &mut claims, &[&[typ], twists].concat())
    }

    /// What its `end_session` endpoint was sent.
    pub fn signed_out(&self) -> Vec<SignedOut> {
        self.state().signed_out.clone()
    }
}

impl Provider {
    /// Signs a person out, and says where the browser goes then (OpenID Connect RP-Initiated Logout §3). What the hint says is not
    /// verified: it may have ended.
    pub(super) fn end_session(
        &self,
        method: &str,
        parameters: HashMap<String, String>,
    ) -> Option<Url> {
        let mut state = self.state();
        let hint = parameters.get("id_token_hint").and_then(|token| keys::payload(token));
        if let Some(who) = hint.as_ref().and_then(|claims| claims["sub"].as_str()) {
            state.end_grants_of(who);
        }
        let back = parameters.get("post_logout_redirect_uri").map(|uri| Url::parse(uri).unwrap());
        let back = back.map(|mut back| {
            let state_parameter = parameters.get("state").map(|value| ("state", value));
            back.query_pairs_mut().extend_pairs(state_parameter);
            back
        });
        state.signed_out.push(SignedOut { method: method.to_owned(), parameters });
        back
    }

    /// Metadata as an authorization server has it (RFC 8414), if there is any.
    pub(super) fn oauth_metadata(&self) -> Option<Value> {
        let mut metadata = json!({ "issuer": self.issuer() });
        let mut is_there = false;
        for twist in &self.state().twists {
            if let Twist::OauthMetadata(name, value) = twist {
                set(&mut metadata, name, value.clone());
                is_there = true;
            }
        }
        is_there.then_some(metadata)
    }
}
