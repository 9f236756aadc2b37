//! What a device is called: a few words for the person who looks for one that is not theirs.

use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderValue};

/// How much of a header is read, in bytes: browsers send less than half of it, and what names them stands early or at the end of that.
const MOST: usize = 1024;

const UNKNOWN: &str = "Unknown device";

/// What tells a browser or program, first match wins: those that also name another one's, to be served like it, stand before that.
const BROWSERS: [(&str, &[&str]); 12] = [
    ("Bot", &["+http", "bot/", "Bot/", "spider", "Spider", "crawler", "Crawler"]),
    ("curl", &["curl/"]),
    ("Wget", &["Wget/"]),
    ("App", &["; wv)", "Electron/", "Dalvik/", "okhttp/", "CFNetwork/"]),
    ("Edge", &["Edg/", "EdgA/", "EdgiOS/", "Edge/"]),
    ("Opera", &["OPR/", "OPiOS/", "OPT/"]),
    ("Samsung Internet", &["SamsungBrowser/"]),
    ("Firefox", &["Firefox/", "FxiOS/"]),
    ("Chrome", &["Chrome/", "CriOS/"]),
    ("Internet Explorer", &["Trident/", "MSIE "]),
    // On Apple's systems alone, see below.
    (SAFARI, &["Safari/"]),
    (BROWSER, &["Mozilla/"]),
];

const SAFARI: &str = "Safari";

const BROWSER: &str = "Browser";

/// What tells a system, first match wins: a telephone says which computer's it is like.
const SYSTEMS: [(&str, &[&str]); 7] = [
    ("iPhone", &["iPhone", "iPod"]),
    ("iPad", &["iPad"]),
    ("Android", &["Android"]),
    ("Windows", &["Windows"]),
    ("ChromeOS", &["CrOS"]),
    ("macOS", &["Macintosh"]),
    ("Linux", &["Linux", "X11"]),
];

/// "Firefox on Windows": what `User-Agent` says of browser and system, or "Unknown device". Of the header's own text none is in it, so
/// that it is short and harmless whatever that is.
pub(super) fn label(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    let agent = &agent[..agent.len().min(MOST)];
    let system = find(agent, &SYSTEMS);
    let browser = match find(agent, &BROWSERS) {
        Some(BROWSER) if matches!(system, Some("iPhone" | "iPad")) => Some("App"),
        // An old Android's own browser calls itself that too.
        Some(SAFARI) if !matches!(system, Some("iPhone" | "iPad" | "macOS")) => Some(BROWSER),
        browser => browser,
    };
    match (browser, system) {
        (Some(BROWSER) | None, None) => UNKNOWN.to_owned(),
        (Some(browser), None) => browser.to_owned(),
        (browser, Some(system)) => format!("{} on {system}", browser.unwrap_or("App")),
    }
}

fn find(agent: &[u8], names: &[(&'static str, &[&str])]) -> Option<&'static str> {
    let says = |word: &&str| agent.windows(word.len()).any(|part| part == word.as_bytes());
    names.iter().find(|(_, words)| words.iter().any(says)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(agent: &[u8]) -> String {
        let agent = HeaderValue::from_bytes(agent).unwrap();
        label(&HeaderMap::from_iter([(USER_AGENT, agent)]))
    }

    #[test]
    fn browsers_and_programs_are_called_what_people_call_them() {
        const WEBKIT: &str = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
        const BLINK: &str = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0";
        const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
        const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)";
        const LINUX: &str = "Mozilla/5.0 (X11; Linux x86_64";
        const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)";
        const IPAD: &str = "Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X)";
        const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K";
        for (agent, expected) in [
            (format!("{WINDOWS} {BLINK} Safari/537.36"), "Chrome on Windows"),
            (format!("{MAC} {BLINK} Safari/537.36"), "Chrome on macOS"),
            (format!("{ANDROID}) {BLINK} Mobile Safari/537.36"), "Chrome on Android"),
            (format!("{IPHONE} {WEBKIT} CriOS/131.0 Mobile/15E148 Safari/604.1"), "Chrome on iPhone"),
            (format!("{LINUX}) {}", BLINK.replace("Chrome", "HeadlessChrome")), "Chrome on Linux"),
            (
                format!("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {BLINK} Safari/537.36"),
                "Chrome on ChromeOS",
            ),
            (format!("{WINDOWS} {BLINK} Safari/537.36 Edg/131.0"), "Edge on Windows"),
            (format!("{ANDROID}) {BLINK} Mobile Safari/537.36 EdgA/131.0"), "Edge on Android"),
            (format!("{IPHONE} {WEBKIT} Version/18.0 EdgiOS/131.0 Safari/604.1"), "Edge on iPhone"),
            (format!("{WINDOWS} {BLINK} Safari/537.36 OPR/116.0"), "Opera on Windows"),
            (
                format!("{ANDROID}) AppleWebKit/537.36 SamsungBrowser/27.0 Chrome/125.0 Safari/537.36"),
                "Samsung Internet on Android",
            ),
            ("Mozilla/5.0 (Windows NT 10.0; rv:133.0) Gecko/20100101 Firefox/133.0".into(), "Firefox on Windows"),
            (format!("{LINUX}; rv:133.0) Gecko/20100101 Firefox/133.0"), "Firefox on Linux"),
            ("Mozilla/5.0 (Android 15; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0".into(), "Firefox on Android"),
            (format!("{IPHONE} {WEBKIT} FxiOS/133.0 Mobile/15E148 Safari/604.1"), "Firefox on iPhone"),
            (format!("{MAC} {WEBKIT} Version/18.1 Safari/605.1.15"), "Safari on macOS"),
            (format!("{IPHONE} {WEBKIT} Version/18.1 Mobile/15E148 Safari/604.1"), "Safari on iPhone"),
            (format!("{IPAD} {WEBKIT} Version/18.1 Mobile/15E148 Safari/604.1"), "Safari on iPad"),
            ("Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko".into(), "Internet Explorer on Windows"),
            (format!("{ANDROID}; wv) {BLINK} Mobile Safari/537.36"), "App on Android"),
            (format!("{IPHONE} {WEBKIT} Mobile/15E148"), "App on iPhone"),
            (format!("{WINDOWS} {BLINK} Electron/33.2.0 Safari/537.36"), "App on Windows"),
            ("Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8)".into(), "App on Android"),
            ("okhttp/4.12.0".into(), "App"),
            ("Chat/7 CFNetwork/1498.700.2 Darwin/23.6.0".into(), "App"),
            ("Mozilla/5.0 (Linux; U; Android 4.0) AppleWebKit/534.30 Version/4.0 Mobile Safari/534.30".into(), "Browser on Android"),
            (format!("{LINUX})"), "Browser on Linux"),
            ("Chat/7 (Windows NT 10.0)".into(), "App on Windows"),
            ("curl/8.5.0".into(), "curl"),
            ("Wget/1.21.4".into(), "Wget"),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)".into(), "Bot"),
            (format!("{ANDROID}) {BLINK} Mobile Safari/537.36 (compatible; Googlebot/2.1)"), "Bot on Android"),
            ("Mozilla/5.0 (compatible; Baiduspider/2.0)".into(), "Bot"),
        ] {
            assert_eq!(of(agent.as_bytes()), expected, "{agent}");
        }
    }

    #[test]
    fn what_says_nothing_is_an_unknown_device() {
        assert_eq!(label(&HeaderMap::new()), UNKNOWN);
        for agent in
            ["", " ", "Mozilla/5.0", "-", "python-requests/2.32", "<script>alert(1)</script>"]
        {
            assert_eq!(of(agent.as_bytes()), UNKNOWN, "{agent}");
        }
    }

    #[test]
    fn a_label_holds_nothing_of_the_header_and_is_short() {
        let long = format!("Mozilla/5.0 (Windows NT 10.0) Firefox/{}", "9".repeat(10_000));
        assert_eq!(of(long.as_bytes()), "Firefox on Windows");
        let late = format!("{} Firefox/133.0", "x".repeat(10_000));
        assert_eq!(of(late.as_bytes()), UNKNOWN, "only the beginning is read");
        assert_eq!(of(b"Firefox/\xff\xfe\t\"<b>' (Windows"), "Firefox on Windows");

        let longest = |names: &[(&str, &[&str])]| names.iter().map(|(name, _)| name.len()).max();
        let longest = longest(&BROWSERS).unwrap() + " on ".len() + longest(&SYSTEMS).unwrap();
        assert!(longest < 64, "{longest}: then Redis would keep each session in a larger form");
    }

    #[test]
    fn of_two_headers_the_first_counts() {
        let mut headers = HeaderMap::new();
        headers.append(USER_AGENT, HeaderValue::from_static("curl/8.5.0"));
        headers.append(USER_AGENT, HeaderValue::from_static("Wget/1.21.4"));

        assert_eq!(label(&headers), "curl");
    }
}
