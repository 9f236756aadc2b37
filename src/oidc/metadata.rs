//! The provider's metadata (OpenID Connect Discovery §3), as far as a login needs it, with every endpoint looked at.

use serde_json::{Map, Value};
use url::{Host, Url};

use super::cut;

/// A configured issuer: an https URL, or an http URL of a loopback host for development.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// Checks `text`; the reason completes "the issuer …".
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is no URL")?;
        if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
            return Err("is neither an https URL nor an http URL of a loopback host");
        }
        if url.query().is_some() || url.fragment().is_some() || has_credentials(&url) {
            return Err("has a query, a fragment or credentials");
        }
        Ok(Self { text: text.to_owned(), url })
    }

    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Where its metadata is (OpenID Connect Discovery §4.1): a final slash of the issuer is dropped, its path kept.
    pub(super) fn metadata_url(&self) -> Url {
        let mut url = self.url.clone();
        let path = format!("{}/.well-known/openid-configuration", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    /// Whether credentials and trust may go to `endpoint`: over https, or http on loopback under an http issuer; and to an
    /// address only if it is the issuer's own, so that metadata cannot turn us against what stands in our network.
    fn admits(&self, endpoint: &Url) -> bool {
        let scheme = endpoint.scheme() == "https"
            || endpoint.scheme() == "http" && !self.is_https() && is_loopback(endpoint);
        let host = match endpoint.host() {
            Some(Host::Domain(_)) => !is_loopback(endpoint) || is_loopback(&self.url),
            _ => {
                endpoint.host() == self.url.host()
                    || is_loopback(endpoint) && is_loopback(&self.url)
            }
        };
        scheme && host && !has_credentials(endpoint) && endpoint.fragment().is_none()
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether what is sent to a URL stays on this machine: `localhost` with whatever stands below it (RFC 6761 §6.3), 127.0.0.0/8
/// and `::1`, an IPv4 address mapped into IPv6 too.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// What the provider says about itself.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
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
        if said != issuer.text {
            return Err(format!("its issuer is {:?}, configured is {:?}", cut(said), issuer.text));
        }
        let endpoint = |name| read_endpoint(document, name, issuer);
        let required = |name| endpoint(name)?.ok_or_else(|| format!("it has no {name}"));
        Ok(Self {
            authorization_endpoint: required("authorization_endpoint")?,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn an_issuer_is_https_or_loopback_and_nothing_but_a_place() {
        for good in [
            "https://id.example.com",
            "https://id.example.com/realms/x/",
            "http://127.0.0.1:4",
            "http://localhost/o",
        ] {
            assert!(Issuer::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "id.example.com",
            "http://id.example.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "https://id.example.com?x=1",
            "https://id.example.com#x",
            "https://me@id.example.com",
        ] {
            assert!(Issuer::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn metadata_lies_below_the_issuers_path_with_or_without_its_slash() {
        for issuer in ["https://a.example/realms/x", "https://a.example/realms/x/"] {
            let found = Issuer::parse(issuer).unwrap().metadata_url();
            assert_eq!(
                found.as_str(),
                "https://a.example/realms/x/.well-known/openid-configuration"
            );
        }
        let found = Issuer::parse("https://a.example").unwrap().metadata_url();
        assert_eq!(found.as_str(), "https://a.example/.well-known/openid-configuration");
    }

    #[test]
    fn an_https_issuer_has_no_endpoint_on_http_or_inside_our_network() {
        let issuer = Issuer::parse("https://id.example.com").unwrap();

        assert!(issuer.admits(&url("https://id.example.com/token")));
        assert!(issuer.admits(&url("https://keys.example.net/token?tenant=1")));
        for inside in [
            "http://id.example.com/token",
            "http://127.0.0.1/token",
            "https://127.0.0.1/token",
            "https://localhost/token",
            "https://localhost./token",
            "https://a.localhost/token",
            "https://169.254.169.254/latest",
            "https://2852039166/latest",
            "https://0x7f.1/token",
            "https://[::1]/token",
            "https://[::ffff:10.0.0.1]/token",
            "https://10.0.0.1/token",
            "https://me:pass@id.example.com/token",
            "file:///etc/passwd",
        ] {
            assert!(!issuer.admits(&url(inside)), "{inside}");
        }
    }

    #[test]
    fn an_http_issuer_on_loopback_keeps_http_on_loopback() {
        let issuer = Issuer::parse("http://127.0.0.1:4000").unwrap();

        assert!(issuer.admits(&url("http://127.0.0.1:4001/token")));
        assert!(issuer.admits(&url("http://localhost:4001/token")));
        assert!(!issuer.admits(&url("http://id.example.com/token")));
        assert!(!issuer.admits(&url("http://169.254.169.254/latest")));
        assert!(!issuer.admits(&url("https://169.254.169.254/latest")));
    }

    #[test]
    fn an_issuer_that_is_an_address_may_have_its_endpoints_there() {
        let issuer = Issuer::parse("https://10.1.2.3:8443/realms/x").unwrap();

        assert!(issuer.admits(&url("https://10.1.2.3:8443/realms/x/token")));
        assert!(!issuer.admits(&url("https://10.1.2.4:8443/realms/x/token")));
    }
}
