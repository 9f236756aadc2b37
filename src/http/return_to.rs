//! Where a browser goes after a login: to a path of ours or a page of an allowed app, and nowhere else.

use url::Url;

use super::origin::Origins;
use super::problem::{Code, Problem};

/// The longest `return_to` that is kept while a login is under way, in bytes.
const LONGEST: usize = 2048;

/// Reads `return_to` as a browser would, and gives it as an absolute URL that no browser can read otherwise.
///
/// # Errors
///
/// `invalid_request` when it is neither a path nor a URL of an allowed origin, holds a user name, a backslash or a control
/// character, or is too long.
pub(super) fn check(raw: &str, origins: &Origins) -> Result<Url, Problem> {
    let refused = || Problem::new(Code::InvalidRequest, "return_to");
    // Browsers drop some of these and turn others into slashes: two parsers that disagree are an open redirect.
    if raw.len() > LONGEST || raw.contains(|c: char| c.is_control() || c == '\\' || c == ' ') {
        return Err(refused());
    }
    let absolute = raw.starts_with("https://") || raw.starts_with("http://");
    let path = raw.starts_with('/') && !raw.starts_with("//");
    if !absolute && !path {
        return Err(refused());
    }
    let url = origins.own().join(raw).map_err(|_| refused())?;
    let anonymous = url.username().is_empty() && url.password().is_none();
    if anonymous && origins.holds(&url) { Ok(url) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(raw: &str) -> Option<String> {
        let public = Url::parse("https://chat-auth.example.com").unwrap();
        let origins = Origins::new(&public, &["https://app.example.com".to_owned()]);
        check(raw, &origins).ok().map(String::from)
    }

    #[test]
    fn paths_and_pages_of_allowed_apps_pass() {
        assert_eq!(checked("/").unwrap(), "https://chat-auth.example.com/");
        assert_eq!(checked("/a?b=c#d").unwrap(), "https://chat-auth.example.com/a?b=c#d");
        assert_eq!(checked("https://app.example.com/x").unwrap(), "https://app.example.com/x");
        assert_eq!(checked("https://app.example.com").unwrap(), "https://app.example.com/");
        assert_eq!(checked("https://app.example.com:443/x").unwrap(), "https://app.example.com/x");
    }

    #[test]
    fn what_passes_always_stays_on_an_allowed_origin() {
        for raw in [
            "/%09/evil.example",
            "/%5cevil.example",
            "/.evil.example",
            "/%0d%0aSet-Cookie:x",
            "/..;/x",
            "/%2e%2e/x",
            "/@evil",
        ] {
            let url = checked(raw).unwrap();
            assert!(url.starts_with("https://chat-auth.example.com/"), "{raw} → {url}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("/{}", "a".repeat(8192));
        for raw in [
            "",
            "evil",
            "/\\evil.example",
            "\\\\evil.example",
            "//evil.example",
            "///evil.example",
            "/\t/evil.example",
            "/a\r\nb",
            "/a\0",
            "https:evil.example",
            "https:/evil.example",
            "https:app.example.com",
            "https://evil.example",
            "https://app.example.com.evil.example",
            "https://evil-app.example.com",
            "https://evil.app.example.com",
            "https://app.example.com@evil.example",
            "https://good@app.example.com",
            "https://a@b@app.example.com",
            "https://good%2f@evil.example",
            "https://app.example.com:8443/",
            "https://app.example.com./",
            "https://app.ex\u{430}mple.com/",
            "http://app.example.com/",
            "HTTPS://app.example.com/",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,x",
            " https://app.example.com",
            &long,
        ] {
            assert!(checked(raw).is_none(), "{raw}");
        }
    }
}
