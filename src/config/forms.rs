//! How the values are written that more than one section has.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::Form;
use crate::oidc::is_loopback;
use crate::store::Rate;

/// Secrets of at least this many characters; what is shorter can be guessed from a token that it signed.
const SECRET_CHARACTERS: usize = 16;

/// The stand-ins for secrets in our own documents, which everybody knows. A test holds it against the documents.
pub(super) const PUBLISHED_SECRETS: [&str; 5] = [
    "the-token-that-only-operators-have",
    "the-secret-that-twilio-showed-once",
    "the-secret-that-the-provider-showed",
    "the-secret-that-the-backend-knows",
    "bm90IGEga2V5LCBvbmx5IHRoZSBsb29rIG9mIGl0ISE=",
];

/// Some text.
pub(super) const TEXT: Form<String> = Form { read: text, mend: "Write some text." };

/// An address to listen on.
pub(super) const ADDRESS: Form<std::net::SocketAddr> = Form {
    read: |text| text.parse().map_err(|_| "is not an IP address with a port"),
    mend: "Write it like \"127.0.0.1:8080\" or \"[::]:8080\".",
};

/// How often something may happen.
pub(super) const RATE: Form<Option<Rate>> = Form {
    read: rate,
    mend: "Write it like \"10/s\", \"600/m\", \"30/h\" or \"5/d\", or \"off\" for no limit. The most there is: \"1000/s\", \"60000/m\", \
           \"3600000/h\" or \"86400000/d\".",
};

/// Printable text that is not empty.
pub(super) fn text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("is empty");
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character");
    }
    Ok(text.to_owned())
}

/// A secret on one line.
pub(super) fn secret(text: &str) -> Result<SecretString, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err("begins or ends with white space, or holds a control character");
    }
    if text.chars().count() < SECRET_CHARACTERS {
        return Err("is shorter than 16 characters");
    }
    if PUBLISHED_SECRETS.contains(&text) {
        return Err("stands in Vestibule's own documents, where everybody can read it");
    }
    Ok(text.into())
}

/// A duration between two others, both included.
pub(super) fn duration_within(
    text: &str,
    least: Duration,
    most: Duration,
) -> Result<Duration, &'static str> {
    let duration = duration(text).ok_or("is not a duration")?;
    if duration < least {
        return Err("is too short");
    }
    if duration > most {
        return Err("is too long");
    }
    Ok(duration)
}

/// Reads `15s`, `5m`, `8h`, `7d`, or several of these from the longest unit to the shortest: `23h55m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0_u64;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let unit = unit(after.get(..1)?)?;
        if unit >= last_unit {
            return None;
        }
        seconds = number.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(seconds)?;
        last_unit = unit;
        rest = &after[1..];
    }
    (last_unit < u64::MAX).then(|| Duration::from_secs(seconds))
}

fn rate(text: &str) -> Result<Option<Rate>, &'static str> {
    if text == "off" {
        return Ok(None);
    }
    let (count, per) = text.split_once('/').ok_or("is not a rate")?;
    let per = unit(per).map(Duration::from_secs).ok_or("is not a rate")?;
    let digits = count.bytes().all(|b| b.is_ascii_digit());
    let count = count.parse::<u32>().ok().filter(|_| digits).ok_or("is not a rate")?;
    match count {
        0 => Err("allows nothing"),
        // The store spaces the times by whole microseconds, rounded up. Up to here that takes a thousandth off the rate at most,
        // beyond it up to a half.
        _ if u128::from(count) > per.as_millis() => Err("is more than once a millisecond"),
        _ => Ok(Some(Rate { count, per })),
    }
}

/// Seconds in a unit of time.
fn unit(name: &str) -> Option<u64> {
    match name {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    }
}

/// An http or https URL, written as a URL parser writes it: what it would mend or leave out in silence is refused, so that what
/// is asked later is what stands in the file. Three ways to write one that mean the same are let be, because there are issuers
/// that spell themselves so and are compared byte by byte: a host in upper case, the scheme's own port, an origin without a slash.
pub(super) fn web_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is not an http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment");
    }
    if !is_written_so(&url, text) {
        return Err("is not written as a URL parser writes it");
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(
            "is http on a host that is not loopback, so that anybody on the way can read and change it",
        );
    }
    Ok(url)
}

/// Whether `text` is `url` as the parser writes it, but for what [`web_url`] lets be.
fn is_written_so(url: &Url, text: &str) -> bool {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    [host.to_owned(), format!("{host}:{port}")].into_iter().any(|authority| {
        let origin = format!("{}://{authority}", url.scheme());
        // The parser keeps the case of a path, so that only that of scheme and host can differ.
        let is = |written: &str| text.eq_ignore_ascii_case(written);
        is(&format!("{origin}{}", url.path())) || url.path() == "/" && is(&origin)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_numbers_with_units_longest_first() {
        let second = Duration::from_secs;
        for (text, expected) in [
            ("15s", Some(second(15))),
            ("5m", Some(second(300))),
            ("23h55m", Some(second(86_100))),
            ("1d2h3m4s", Some(second(93_784))),
            ("0s", Some(second(0))),
            ("", None),
            ("15", None),
            ("s", None),
            ("5m5m", None),
            ("5m1h", None),
            ("-5m", None),
            ("+5m", None),
            ("5 m", None),
            ("1.5h", None),
            ("5w", None),
            ("5é", None),
            ("99999999999999999999s", None),
            ("999999999999999999d", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn a_duration_has_both_its_bounds() {
        let (least, most) = (Duration::from_mins(5), Duration::from_mins(10));
        let within = |text| duration_within(text, least, most).map(|d| d.as_secs());

        assert_eq!(within("4m59s"), Err("is too short"));
        assert_eq!(within("5m"), Ok(300));
        assert_eq!(within("10m"), Ok(600));
        assert_eq!(within("10m1s"), Err("is too long"));
    }

    #[test]
    fn a_rate_is_a_number_a_unit_or_off() {
        let rate_of = |count, seconds| Ok(Some(Rate { count, per: Duration::from_secs(seconds) }));
        for (text, expected) in [
            ("600/m", rate_of(600, 60)),
            ("1000/s", rate_of(1000, 1)),
            ("30/h", rate_of(30, 3600)),
            ("5/d", rate_of(5, 86_400)),
            ("off", Ok(None)),
            ("1001/s", Err("is more than once a millisecond")),
            ("0/m", Err("allows nothing")),
            ("600", Err("is not a rate")),
            ("600/", Err("is not a rate")),
            ("/m", Err("is not a rate")),
            ("+6/m", Err("is not a rate")),
            ("600/min", Err("is not a rate")),
            ("99999999999/d", Err("is not a rate")),
        ] {
            assert_eq!(rate(text), expected, "{text}");
        }
    }

    #[test]
    fn a_weak_secret_is_refused_with_its_reason() {
        assert_eq!(secret("").unwrap_err(), "is empty");
        assert_eq!(secret("fifteen-letters").unwrap_err(), "is shorter than 16 characters");
        assert_eq!(secret(&"é".repeat(15)).unwrap_err(), "is shorter than 16 characters");
        assert!(secret("sixteen--letters").is_ok());
        assert!(secret(" sixteen--letters").unwrap_err().starts_with("begins or ends"));
        assert!(secret("sixteen--\nletters").unwrap_err().starts_with("begins or ends"));
        assert!(
            secret(PUBLISHED_SECRETS[0])
                .unwrap_err()
                .starts_with("stands in Vestibule's own documents")
        );
    }

    #[test]
    fn a_url_says_nothing_that_a_parser_would_leave_out() {
        for (text, problem) in [
            ("https://id.example.com/realms/x", None),
            ("http://localhost:3000", None),
            ("http://127.9.9.9/", None),
            ("http://[::1]:80/", None),
            ("http://id.localhost", None),
            ("http://[::ffff:7f00:1]/", None),
            ("https://ID.example.com/realms/X", None),
            ("https://id.example.com:443/realms/x", None),
            ("https://id.example.com:443", None),
            ("https://id.example.com:8443", None),
            ("https://id.example.com/%2e%2E%2f/a%C3%A9", None),
            ("http://id.example.com", Some("is http on")),
            ("http://127.0.0.1.example.com", Some("is http on")),
            ("http://localhost.example.com", Some("is http on")),
            ("ftp://id.example.com", Some("is not an http")),
            ("javascript:alert(1)", Some("is not an http")),
            ("id.example.com", Some("is not a URL")),
            ("https://", Some("is not a URL")),
            ("https://a@id.example.com", Some("holds a user name")),
            ("https://:b@id.example.com", Some("holds a user name")),
            ("https://id.example.com/?", Some("has a query")),
            ("https://id.example.com/#x", Some("has a query")),
            ("https://id.example.com/ ", Some("is not written")),
            (" https://id.example.com/", Some("is not written")),
            ("https://id.exa\tmple.com/", Some("is not written")),
            ("https:\\\\id.example.com", Some("is not written")),
            ("https:id.example.com", Some("is not written")),
            ("https:/id.example.com", Some("is not written")),
            ("https:///id.example.com", Some("is not written")),
            ("https://@id.example.com", Some("is not written")),
            ("https://id.example.com:", Some("is not written")),
            ("https://id.example.com:0443", Some("is not written")),
            ("https://id.example.com/a/../b", Some("is not written")),
            ("https://id.example.com/./", Some("is not written")),
            ("https://id.example.com/a b", Some("is not written")),
            ("https://bücher.example", Some("is not written")),
            ("https://%69d.example.com", Some("is not written")),
            ("http://127.1", Some("is not written")),
            ("http://2130706433", Some("is not written")),
        ] {
            let answer = web_url(text);
            match (problem, answer) {
                (None, Ok(_)) => {}
                (Some(problem), Err(got)) => assert!(got.starts_with(problem), "{text}: {got}"),
                (problem, answer) => panic!("{text}: expected {problem:?}, got {answer:?}"),
            }
        }
    }
}
