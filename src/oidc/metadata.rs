//! The provider's metadata (OpenID Connect Discovery §3), as far as a login needs it, with every endpoint looked at.

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
    /// Whether its authorization responses carry `iss` (RFC 9207 §3).
    pub(super) sends_response_issuer: bool,
    /// For `check` only: what counts is configured, whatever is announced.
    pub(super) algorithms: Vec<String>,
    /// For `check` only; `client_secret_basic` where nothing is announced (OpenID Connect Discovery §3).
    pub(super) client_auth_methods: Vec<String>,
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
        let requires_par =
            document.get("require_pushed_authorization_requests") == Some(&Value::Bool(true));
        let par_endpoint = match endpoint("pushed_authorization_request_endpoint") {
            // One that may not be used is worth no more than none, as long as there is another way.
            Err(_) if !requires_par => None,
            endpoint => endpoint?,
        };
        let required = |name| endpoint(name)?.ok_or_else(|| format!("it has no {name}"));
        Ok(Self {
            authorization_endpoint: required("authorization_endpoint")?,
            par_endpoint,
            requires_par,
            token_endpoint: required("token_endpoint")?,
            userinfo_endpoint: endpoint("userinfo_endpoint")?,
            jwks_uri: required("jwks_uri")?,
            sends_response_issuer: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
            algorithms: strings(document, "id_token_signing_alg_values_supported")
                .unwrap_or_default(),
            client_auth_methods: strings(document, "token_endpoint_auth_methods_supported")
                .unwrap_or_else(|| vec!["client_secret_basic".to_owned()]),
        })
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
