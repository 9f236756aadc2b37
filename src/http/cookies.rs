//! Our cookies in a request and a response.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::guests::LeaseSecret;
use crate::ids::Secret256;
use crate::sessions::SessionCookie;

use super::guest::LEASE_OVER;
use super::problem::{Code, Problem};

/// How our cookies are called and set. On plain http, which only a loopback host may speak, browsers would refuse the prefix and
/// `Secure`, so both are left off.
pub(super) struct Cookies {
    session: &'static str,
    guest: &'static str,
    login: &'static str,
    secure: &'static str,
}

impl Cookies {
    /// The names for https, or for development without it.
    pub(super) const fn new(https: bool) -> Self {
        if https {
            Self {
                session: "__Host-vestibule",
                guest: "__Host-vestibule-guest",
                login: "__Host-vestibule-login",
                secure: "; Secure",
            }
        } else {
            Self {
                session: "vestibule",
                guest: "vestibule-guest",
                login: "vestibule-login",
                secure: "",
            }
        }
    }

    /// Whether the request carries any cookie of ours, good or bad.
    pub(super) fn any(&self, headers: &HeaderMap) -> bool {
        let ours = [self.session, self.guest, self.login];
        pairs(headers).any(|(name, _)| ours.iter().any(|ours| name == ours.as_bytes()))
    }

    /// The session cookie; `None` when there is none.
    ///
    /// # Errors
    ///
    /// `session_expired` when there is one that we never wrote, or two that differ: whose word would count?
    pub(super) fn session(&self, headers: &HeaderMap) -> Result<Option<SessionCookie>, Problem> {
        sole(headers, self.session, SessionCookie::parse)
    }

    /// The guest cookie; `None` when there is none.
    ///
    /// # Errors
    ///
    /// As [`Cookies::session`].
    pub(super) fn guest(&self, headers: &HeaderMap) -> Result<Option<LeaseSecret>, Problem> {
        sole(headers, self.guest, LeaseSecret::parse).map_err(|problem| problem.saying(&LEASE_OVER))
    }

    /// The login cookie's secret, if there is one that we wrote.
    pub(super) fn login(&self, headers: &HeaderMap) -> Option<Secret256> {
        values(headers, self.login)
            .find_map(|value| Secret256::parse(std::str::from_utf8(value).ok()?))
    }

    /// Sets the session cookie for as long as the session can last. The store knows when it ends before that.
    pub(super) fn set_session(&self, cookie: &SessionCookie, seconds: u64) -> HeaderValue {
        self.set(self.session, &cookie.reveal(), seconds)
    }

    /// Makes the browser forget its session cookie.
    pub(super) fn forget_session(&self) -> HeaderValue {
        self.set(self.session, "", 0)
    }

    /// Sets the guest cookie for as long as its holder can have the guest. The store knows when the lease ends before that.
    pub(super) fn set_guest(&self, secret: &LeaseSecret, seconds: u64) -> HeaderValue {
        self.set(self.guest, &secret.reveal(), seconds)
    }

    /// Makes the browser forget its guest cookie.
    pub(super) fn forget_guest(&self) -> HeaderValue {
        self.set(self.guest, "", 0)
    }

    /// Sets the login cookie.
    pub(super) fn set_login(&self, binding: &Secret256, seconds: u64) -> HeaderValue {
        self.set(self.login, &binding.reveal(), seconds)
    }

    #[expect(clippy::expect_used, reason = "names, base64url and digits are visible ASCII")]
    fn set(&self, name: &str, value: &str, seconds: u64) -> HeaderValue {
        let text = format!(
            "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{}",
            self.secure
        );
        let mut header = HeaderValue::try_from(text).expect("a cookie of ours is ASCII");
        header.set_sensitive(true);
        header
    }
}

/// The one value of the cookie `name`, read by `parse`.
fn sole<T>(
    headers: &HeaderMap,
    name: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let mut values = values(headers, name);
    let Some(first) = values.next() else { return Ok(None) };
    let ambiguous = values.any(|other| other != first);
    match std::str::from_utf8(first).ok().and_then(parse) {
        Some(cookie) if !ambiguous => Ok(Some(cookie)),
        _ => Err(Problem::new(
            Code::SessionExpired,
            if ambiguous { "two cookies" } else { "bad cookie" },
        )),
    }
}

/// Each value of the cookie `name`.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    pairs(headers).filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

/// Names and values of all cookies, as bytes: a neighbour's cookie may hold anything.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|b| *b == b';'))
        .filter_map(|pair| {
            let pair = pair.trim_ascii();
            let equals = pair.iter().position(|b| *b == b'=')?;
            Some((&pair[..equals], &pair[equals + 1..]))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_bytes(cookie).unwrap());
        }
        headers
    }

    #[test]
    fn a_neighbours_cookie_hides_nothing() {
        let secret = Secret256::random();
        let ours = format!("a=\u{ff}; vestibule-login={} ;b", secret.reveal());
        let found =
            Cookies::new(false).login(&headers(&[b"x=\xff\xfe;;=;", ours.as_bytes()])).unwrap();

        assert_eq!(found.digest(), secret.digest());
    }

    #[test]
    fn a_cookie_without_the_prefix_is_not_ours_on_https() {
        let cookies = Cookies::new(true);
        let headers = headers(&[b"vestibule=x; vestibule-login=y; __Host-vestibule2=z"]);

        assert!(!cookies.any(&headers));
        assert!(cookies.session(&headers).unwrap().is_none());
    }

    #[test]
    fn a_cookie_on_https_is_secure_http_only_lax_and_for_this_host() {
        let text = Cookies::new(true).forget_session();

        assert_eq!(text, "__Host-vestibule=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
        assert!(text.is_sensitive());
    }
}
