//! The configured issuer: where its metadata is, which endpoints may be its own, and what its tokens spell it.
//!
//! An issuer with a placeholder stands for the issuers of several tenants, as Entra ID has them: its tokens name one of those,
//! and say whose in `tid`.

use serde_json::{Map, Value};
use url::{Host, Url};

use super::id_token::kind;
use super::{OidcError, cut, untrusted};

/// Stands where a tenant's id stands in the issuer of its tokens.
pub const TENANT: &str = "{tenantid}";

/// Stands there when a provider is asked for what it says about all of its tenants: Entra ID's word for everybody with a work
/// or school account.
const ALL_TENANTS: &str = "organizations";

/// What the tokens of a provider may name as their issuer: `issuer`, or where that has the placeholder, one for each tenant.
pub fn token_issuers(issuer: &str, tenants: &[String]) -> Vec<String> {
    if issuer.contains(TENANT) {
        tenants.iter().map(|tenant| issuer.replace(TENANT, tenant)).collect()
    } else {
        vec![issuer.to_owned()]
    }
}

/// A configured issuer: an https URL, or an http URL of a loopback host for development.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    text: String,
    url: Url,
    of_tokens: Vec<TokenIssuer>,
}

/// An issuer as a token names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenIssuer {
    text: String,
    /// Whose it is, where the configured one stands for several.
    tenant: Option<String>,
}

impl Issuer {
    /// Checks `text`, and `tenants`, which are needed with the placeholder and of no use without; the reason completes "the
    /// issuer …".
    pub(super) fn parse(text: &str, tenants: &[String]) -> Result<Self, &'static str> {
        let has_tenants = text.contains(TENANT);
        match (has_tenants, tenants.is_empty()) {
            (true, true) => return Err("has a placeholder and no tenants"),
            (false, false) => return Err("has tenants and no placeholder"),
            _ => {}
        }
        let url = Url::parse(&text.replace(TENANT, ALL_TENANTS)).map_err(|_| "is no URL")?;
        if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
            return Err("is neither an https URL nor an http URL of a loopback host");
        }
        if url.query().is_some() || url.fragment().is_some() || has_credentials(&url) {
            return Err("has a query, a fragment or credentials");
        }
        if has_tenants && !url.path().split('/').any(|step| step == ALL_TENANTS) {
            return Err("has a placeholder that is no step of its path");
        }
        let of_tokens = token_issuers(text, tenants).into_iter().enumerate();
        let of_tokens = of_tokens
            .map(|(place, text)| TokenIssuer { text, tenant: tenants.get(place).cloned() })
            .collect();
        Ok(Self { text: text.to_owned(), url, of_tokens })
    }

    /// As it is configured, and as its metadata spells it, placeholder and all.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn has_tenants(&self) -> bool {
        self.text.contains(TENANT)
    }

    /// What its tokens may name as their issuer.
    pub(super) fn of_tokens(&self) -> &[TokenIssuer] {
        &self.of_tokens
    }

    /// Whether a token may name `issuer`.
    pub(super) fn accepts(&self, issuer: &str) -> bool {
        self.of_tokens.iter().any(|accepted| accepted.text == issuer)
    }

    /// The issuer that a token with these claims has to name: where there are tenants, that of its `tid`.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `tid` when there are tenants and it is none of them. No other.
    pub(super) fn expected_of(
        &self,
        claims: &Map<String, Value>,
    ) -> Result<&TokenIssuer, OidcError> {
        let tid = claims.get("tid");
        let expected = self.of_tokens.iter().find(|issuer| match &issuer.tenant {
            None => true,
            Some(tenant) => tid.and_then(Value::as_str) == Some(tenant),
        });
        expected.ok_or_else(|| {
            let got = tid.and_then(Value::as_str).map(|tid| format!("{:?}", cut(tid)));
            untrusted("tid", "one of the tenants", got.unwrap_or_else(|| kind(tid).to_owned()))
        })
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

    /// Where its metadata as an authorization server is (RFC 8414 §3.1): the well-known place comes before the path.
    pub(super) fn oauth_metadata_url(&self) -> Url {
        let mut url = self.url.clone();
        let path =
            format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    }

    /// Whether credentials and trust may go to `endpoint`: over https, or http on loopback under an http issuer; and to an
    /// address only if it is the issuer's own, so that metadata cannot turn us against what stands in our network.
    pub(super) fn admits(&self, endpoint: &Url) -> bool {
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

impl TokenIssuer {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// `iss` is this one, byte by byte (OpenID Connect Core §3.1.3.7 step 2).
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `iss` when it is another, or no string. No other.
    pub(super) fn check(&self, iss: Option<&Value>) -> Result<(), OidcError> {
        let got = match iss {
            Some(Value::String(iss)) if *iss == self.text => return Ok(()),
            Some(Value::String(other)) => format!("{:?}", cut(other)),
            other => kind(other).to_owned(),
        };
        Err(untrusted("iss", format!("{:?}", self.text), got))
    }

    /// Whether a key with this `issuer` signs for it: one for all tenants or for this one, or one that does not say. Where a
    /// provider publishes the keys of all its tenants together, each says whose it is, and one tenant's must not speak for
    /// another ("Validate the signing key issuer" in Entra ID's documents). Elsewhere all keys are the one issuer's, and the
    /// member means nothing.
    pub(super) fn is_signed_for_by(&self, key_issuer: Option<&Value>) -> bool {
        match (&self.tenant, key_issuer) {
            (None, _) | (_, None) => true,
            (Some(tenant), Some(issuer)) => {
                issuer.as_str().is_some_and(|issuer| issuer.replace(TENANT, tenant) == self.text)
            }
        }
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
            assert!(Issuer::parse(good, &[]).is_ok(), "{good}");
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
            assert!(Issuer::parse(bad, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn metadata_lies_below_the_issuers_path_with_or_without_its_slash() {
        for issuer in ["https://a.example/realms/x", "https://a.example/realms/x/"] {
            let found = Issuer::parse(issuer, &[]).unwrap().metadata_url();
            assert_eq!(
                found.as_str(),
                "https://a.example/realms/x/.well-known/openid-configuration"
            );
        }
        let found = Issuer::parse("https://a.example", &[]).unwrap().metadata_url();
        assert_eq!(found.as_str(), "https://a.example/.well-known/openid-configuration");
    }

    #[test]
    fn an_authorization_servers_metadata_lies_before_the_issuers_path() {
        for (issuer, expected) in [
            ("https://a.example/x", "https://a.example/.well-known/oauth-authorization-server/x"),
            ("https://a.example/x/", "https://a.example/.well-known/oauth-authorization-server/x"),
            ("https://a.example", "https://a.example/.well-known/oauth-authorization-server"),
        ] {
            let found = Issuer::parse(issuer, &[]).unwrap().oauth_metadata_url();
            assert_eq!(found.as_str(), expected);
        }
    }

    #[test]
    fn an_https_issuer_has_no_endpoint_on_http_or_inside_our_network() {
        let issuer = Issuer::parse("https://id.example.com", &[]).unwrap();

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
        let issuer = Issuer::parse("http://127.0.0.1:4000", &[]).unwrap();

        assert!(issuer.admits(&url("http://127.0.0.1:4001/token")));
        assert!(issuer.admits(&url("http://localhost:4001/token")));
        assert!(!issuer.admits(&url("http://id.example.com/token")));
        assert!(!issuer.admits(&url("http://169.254.169.254/latest")));
        assert!(!issuer.admits(&url("https://169.254.169.254/latest")));
    }

    #[test]
    fn an_issuer_that_is_an_address_may_have_its_endpoints_there() {
        let issuer = Issuer::parse("https://10.1.2.3:8443/realms/x", &[]).unwrap();

        assert!(issuer.admits(&url("https://10.1.2.3:8443/realms/x/token")));
        assert!(!issuer.admits(&url("https://10.1.2.4:8443/realms/x/token")));
    }

    #[test]
    fn a_placeholder_stands_for_the_tenants_and_is_asked_about_all() {
        let tenants = ["a".to_owned(), "b".to_owned()];
        let issuer = Issuer::parse("https://id.example.com/{tenantid}/v2.0", &tenants).unwrap();

        assert_eq!(
            issuer.metadata_url().as_str(),
            "https://id.example.com/organizations/v2.0/.well-known/openid-configuration"
        );
        assert!(issuer.accepts("https://id.example.com/a/v2.0"));
        assert!(issuer.accepts("https://id.example.com/b/v2.0"));
        for other in [
            "https://id.example.com/c/v2.0",
            "https://id.example.com/{tenantid}/v2.0",
            "https://id.example.com/organizations/v2.0",
            "https://id.example.com/a/v2.0/",
            "https://id.example.com/A/v2.0",
        ] {
            assert!(!issuer.accepts(other), "{other}");
        }
        let plain = Issuer::parse("https://id.example.com", &[]).unwrap();
        assert!(plain.accepts("https://id.example.com"));
        assert!(!plain.accepts("https://id.example.com/"));
    }

    #[test]
    fn a_placeholder_goes_with_tenants_and_never_into_the_host() {
        let one = ["a".to_owned()];
        for (issuer, tenants) in [
            ("https://id.example.com/{tenantid}/v2.0", &[][..]),
            ("https://id.example.com/v2.0", &one),
            ("https://{tenantid}/v2.0", &one),
            ("https://{tenantid}.example.com/v2.0", &one),
            ("https://id.example.com/x{tenantid}", &one),
            ("https://{tenantid}@id.example.com/", &one),
            ("https://id.example.com/{tenantid}?tenant={tenantid}", &one),
        ] {
            assert!(Issuer::parse(issuer, tenants).is_err(), "{issuer} {tenants:?}");
        }
    }
}
