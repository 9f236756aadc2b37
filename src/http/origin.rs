//! Which origins may call with cookies, and what a browser is told about it.

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue};
use url::Url;

use super::problem::{Code, Problem};

/// Our own origin and those of the allowed apps, compared exactly as browsers spell them.
pub(super) struct Origins {
    own: Url,
    allowed: Vec<String>,
}

impl Origins {
    /// `public_url`'s origin and `allowed`.
    pub(super) fn new(public_url: &Url, allowed: &[String]) -> Self {
        let own = public_url.origin().ascii_serialization();
        Self {
            own: public_url.clone(),
            allowed: [own].into_iter().chain(allowed.iter().cloned()).collect(),
        }
    }

    /// Our own URL.
    pub(super) fn own(&self) -> &Url {
        &self.own
    }

    /// The request's `Origin`, if it is one of ours: what CORS may answer.
    pub(super) fn allowed<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next()?;
        let known = self.allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
        (known && origins.next().is_none()).then_some(origin)
    }

    /// Whether `url` is at an allowed origin.
    pub(super) fn holds(&self, url: &Url) -> bool {
        let origin = url.origin();
        origin.is_tuple() && self.allowed.contains(&origin.ascii_serialization())
    }

    /// The rule for a POST or DELETE that carries a cookie of ours or would set one: a browser says where it comes from, and a
    /// program that does not is no browser, so it has no business with cookies (contract §5).
    ///
    /// # Errors
    ///
    /// `origin_not_allowed` when `Origin` is absent, doubled or not one of ours.
    pub(super) fn demand(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match self.allowed(headers) {
            Some(_) => Ok(()),
            None if headers.contains_key(ORIGIN) => {
                Err(Problem::new(Code::OriginNotAllowed, "origin"))
            }
            None => Err(Problem::new(Code::OriginNotAllowed, "no origin")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_ours_only_to_the_letter() {
        let public = Url::parse("https://chat-auth.example.com").unwrap();
        let origins = Origins::new(&public, &["https://app.example.com".to_owned()]);
        let allowed = |origin: &'static str| {
            let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))]);
            origins.demand(&headers).is_ok()
        };

        assert!(allowed("https://app.example.com"));
        assert!(allowed("https://chat-auth.example.com"));
        for origin in [
            "null",
            "",
            "*",
            "https://app.example.com.evil",
            "https://evil-app.example.com",
            "https://evil.app.example.com",
            "http://app.example.com",
            "https://app.example.com:443",
            "https://app.example.com:8443",
            "https://APP.example.com",
            "https://app.example.com/",
            "https://app.example.com, https://app.example.com",
        ] {
            assert!(!allowed(origin), "{origin}");
        }
        assert!(origins.demand(&HeaderMap::new()).is_err());
    }

    #[test]
    fn two_origins_are_none() {
        let public = Url::parse("https://a.example").unwrap();
        let mut headers = HeaderMap::new();
        headers.append(ORIGIN, HeaderValue::from_static("https://a.example"));
        headers.append(ORIGIN, HeaderValue::from_static("https://a.example"));

        assert!(Origins::new(&public, &[]).demand(&headers).is_err());
    }
}
