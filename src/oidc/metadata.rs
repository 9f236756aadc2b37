//! The provider's metadata (OpenID Connect Discovery §3), as far as it is needed, with every endpoint looked at.

use serde_json::{Map, Value};
use url::Url;

use super::cut;
use super::issuer::Issuer;

/// What the provider says about itself.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    /// Where authorization requests are pushed to (RFC 9126 §5); used wherever it is offered.
    pub(super) par_endpoint: Option<Url>,
    /// Whether it takes no other (§5).
    pub(super) requires_par: bool,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) jwks_uri: Url,
    /// Where people sign out (OpenID Connect RP-Initiated Logout §2.1).
    pub(super) end_session_endpoint: Option<Url>,
    /// Where tokens are taken back (RFC 7009 §2).
    pub(super) revocation_endpoint: Option<Url>,
    /// Where opaque tokens are asked about (RFC 7662 §2).
    pub(super) introspection_endpoint: Option<Url>,
    /// Whether its authorization responses carry `iss` (RFC 9207 §3).
    pub(super) sends_response_issuer: bool,
    /// For `check` only: what counts is configured, whatever is announced.
    pub(super) algorithms: Vec<String>,
    /// For `check` only; `client_secret_basic` where nothing is announced (OpenID Connect Discovery §3).
    pub(super) client_auth_methods: Vec<String>,
    /// For `check` only; empty where nothing is announced.
    pub(super) scopes: Vec<String>,
    /// For `check` only: whether it says that it sends logout tokens (OpenID Connect Back-Channel Logout §2.1).
    pub(super) sends_logout_tokens: bool,
}

impl Metadata {
    /// Reads and checks `document`; a reason, free of secrets, when it cannot be used. Members that a login does not need may
    /// be of any type.
    pub(super) fn read(document: &Map<String, Value>, issuer: &Issuer) -> Result<Self, String> {
        let said = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if said != issuer.text() {
            return Err(format!(
                "its issuer is {:?}, configured is {:?}",
                cut(said),
                issuer.text()
            ));
        }
        let endpoint = |name| read_endpoint(document, name, issuer);
        let says = |name| document.get(name) == Some(&Value::Bool(true));
        let requires_par = says("require_pushed_authorization_requests");
        let par_endpoint = match endpoint("pushed_authorization_request_endpoint") {
            // One that may not be used is worth no more than none, as long as there is another way.
            Err(_) if !requires_par => None,
            endpoint => endpoint?,
        };
        // A login needs none of these.
        let optional = |name| endpoint(name).ok().flatten();
        let required = |name| endpoint(name)?.ok_or_else(|| format!("it has no {name}"));
        Ok(Self {
            authorization_endpoint: required("authorization_endpoint")?,
            par_endpoint,
            requires_par,
            token_endpoint: required("token_endpoint")?,
            userinfo_endpoint: endpoint("userinfo_endpoint")?,
            jwks_uri: required("jwks_uri")?,
            end_session_endpoint: optional("end_session_endpoint"),
            revocation_endpoint: optional("revocation_endpoint"),
            introspection_endpoint: optional("introspection_endpoint"),
            sends_response_issuer: says("authorization_response_iss_parameter_supported"),
            algorithms: strings(document, "id_token_signing_alg_values_supported")
                .unwrap_or_default(),
            client_auth_methods: strings(document, "token_endpoint_auth_methods_supported")
                .unwrap_or_else(|| vec!["client_secret_basic".to_owned()]),
            scopes: strings(document, "scopes_supported").unwrap_or_default(),
            sends_logout_tokens: says("backchannel_logout_supported"),
        })
    }

    /// Whether an endpoint is missing that some providers name in their metadata as an authorization server only.
    pub(super) const fn lacks_oauth_endpoints(&self) -> bool {
        self.revocation_endpoint.is_none() || self.introspection_endpoint.is_none()
    }

    /// Takes those endpoints from `document`, metadata as RFC 8414 §2 has it, if it is this issuer's (§3.3).
    pub(super) fn complete(&mut self, document: &Map<String, Value>, issuer: &Issuer) {
        if document.get("issuer").and_then(Value::as_str) != Some(issuer.text()) {
            return;
        }
        let further = |name| read_endpoint(document, name, issuer).ok().flatten();
        self.keep(further("revocation_endpoint"), further("introspection_endpoint"));
    }

    /// Takes those endpoints from what was known before: whether the second document could be read just now changes nothing, and one
    /// that was withdrawn refuses us.
    pub(super) fn complete_from(&mut self, before: &Self) {
        self.keep(before.revocation_endpoint.clone(), before.introspection_endpoint.clone());
    }

    fn keep(&mut self, revocation: Option<Url>, introspection: Option<Url>) {
        self.revocation_endpoint = self.revocation_endpoint.take().or(revocation);
        self.introspection_endpoint = self.introspection_endpoint.take().or(introspection);
    }
}

fn read_endpoint(
    document: &Map<String, Value>,
    name: &str,
    issuer: &Issuer,
) -> Result<Option<Url>, String> {
    let text = match document.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(format!("its {name} is no string")),
    };
    let url = Url::parse(text).map_err(|_| format!("its {name} {:?} is no URL", cut(text)))?;
    if !issuer.admits(&url) {
        let rule =
            if issuer.is_https() { "https is required" } else { "https or loopback is required" };
        return Err(format!(
            "its {name} {:?} is refused: {rule}, and no address but the issuer's own",
            cut(text)
        ));
    }
    Ok(Some(url))
}

fn strings(document: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let values = document.get(name)?.as_array()?;
    Some(values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example.com/x";

    fn read(further: &Value) -> Metadata {
        let mut document = json!({
            "issuer": ISSUER, "authorization_endpoint": "https://id.example.com/a", "token_endpoint": "https://id.example.com/t",
            "jwks_uri": "https://id.example.com/k",
        });
        for (name, value) in further.as_object().unwrap() {
            document[name] = value.clone();
        }
        Metadata::read(document.as_object().unwrap(), &issuer()).unwrap()
    }

    fn issuer() -> Issuer {
        Issuer::parse(ISSUER, &[]).unwrap()
    }

    #[test]
    fn an_endpoint_that_no_login_needs_is_as_good_as_none_when_it_is_of_no_use() {
        for bad in [json!(null), json!(7), json!("no URL"), json!("http://169.254.169.254/x")] {
            let metadata = read(&json!({
                "end_session_endpoint": bad, "revocation_endpoint": bad, "introspection_endpoint": bad,
                "scopes_supported": bad, "backchannel_logout_supported": bad,
            }));

            assert_eq!(metadata.end_session_endpoint, None, "{bad}");
            assert!(metadata.lacks_oauth_endpoints(), "{bad}");
            assert!(!metadata.sends_logout_tokens && metadata.scopes.is_empty(), "{bad}");
        }
        let good = json!("https://id.example.com/end?tenant=1");
        let found = read(&json!({ "end_session_endpoint": good })).end_session_endpoint;
        assert_eq!(found.unwrap().as_str(), "https://id.example.com/end?tenant=1");
    }

    #[test]
    fn another_issuers_metadata_completes_nothing_and_what_was_said_stands() {
        let (first, other) = ("https://id.example.com/r1", "https://id.example.com/r2");
        let further = |issuer: &str| json!({ "issuer": issuer, "revocation_endpoint": other, "introspection_endpoint": other });
        let mut metadata = read(&json!({ "revocation_endpoint": first }));

        for stranger in ["", "https://id.example.com", "https://id.example.com/x/"] {
            metadata.complete(further(stranger).as_object().unwrap(), &issuer());
            assert_eq!(metadata.introspection_endpoint, None, "{stranger}");
        }
        metadata.complete(further(ISSUER).as_object().unwrap(), &issuer());

        assert_eq!(metadata.revocation_endpoint.as_ref().unwrap().as_str(), first);
        assert_eq!(metadata.introspection_endpoint.as_ref().unwrap().as_str(), other);
        // The next time only the first document can be read.
        let mut next = read(&json!({ "revocation_endpoint": other }));
        next.complete_from(&metadata);
        assert_eq!(next.revocation_endpoint.unwrap().as_str(), other);
        assert_eq!(next.introspection_endpoint, metadata.introspection_endpoint);
    }
}
