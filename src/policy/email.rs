//! The domain of an e-mail address, or why there is none that one could trust.

/// The domain of `address` in lower case. Stricter than RFC 5321, for who comes in hangs on it: one `@`, none that only looks like
/// one, nothing invisible, and a domain name written in full (RFC 1123 §2.1).
pub(super) fn domain(address: &str) -> Result<String, &'static str> {
    if address.chars().any(|c| c.is_whitespace() || c.is_control() || is_invisible(c)) {
        return Err("the address holds white space or an invisible character");
    }
    // What normalises to @ (NFKC), by which others could read another domain than we do.
    if address.contains(['\u{ff20}', '\u{fe6b}']) {
        return Err("the address holds a character that looks like @");
    }
    let (local, domain) = address.split_once('@').ok_or("the address has no @")?;
    if domain.contains('@') {
        return Err("the address has more than one @");
    }
    if local.is_empty() {
        return Err("nothing stands before the @");
    }
    if domain.is_empty() || domain.len() > 253 || !domain.split('.').all(is_label) {
        return Err("what stands behind the @ is no domain name");
    }
    Ok(domain.to_ascii_lowercase())
}

/// Letters, digits and hyphens, with neither end a hyphen (RFC 1123 §2.1; the length is of RFC 1035 §2.3.4).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Unicode's characters of format: zero-width ones, and those that turn the direction of writing.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_what_stands_behind_the_only_at_sign() {
        for (address, expected) in [
            ("alice@example.com", "example.com"),
            ("Alice@EXAMPLE.Com", "example.com"),
            ("a+b.c@sub.example.com", "sub.example.com"),
            ("jürgen@example.com", "example.com"),
            ("a@xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("a@localhost", "localhost"),
            ("user@notexample.com", "notexample.com"),
            ("user@example.com.evil.com", "example.com.evil.com"),
        ] {
            assert_eq!(domain(address).as_deref(), Ok(expected), "{address}");
        }
    }

    #[test]
    fn the_second_at_sign_is_what_is_told() {
        let more = Err("the address has more than one @");

        assert_eq!(domain("attacker@evil.com@example.com"), more);
        assert_eq!(domain("alice"), Err("the address has no @"));
    }

    /// The first is oauth2-proxy's CVE-2026-40574; the others are its neighbours.
    #[test]
    fn an_address_that_others_could_read_otherwise_has_no_domain() {
        let long_label = format!("a@{}.com", "x".repeat(64));
        let long = format!("a@{}com", "x.".repeat(126));
        for address in [
            "",
            "@",
            "alice",
            "@example.com",
            "alice@",
            "attacker@evil.com@example.com",
            "\"a@evil.com\"@example.com",
            "alice@@example.com",
            "alice@example.com.",
            "alice@.example.com",
            "alice@example..com",
            "alice@-example.com",
            "alice@example-.com",
            "alice@exam_ple.com",
            "alice@[127.0.0.1]",
            "alice@example.com:25",
            "alice@example.com\0",
            "alice\0@example.com",
            " alice@example.com",
            "alice@example.com ",
            "alice@example.com\n",
            "al ice@example.com",
            "alice@exam ple.com",
            "alice\u{a0}@example.com",
            "alice\u{3000}@example.com",
            "alice\u{ff20}example.com",
            "alice\u{fe6b}example.com",
            "alice@evil.com\u{ff20}example.com",
            "alice\u{ff20}evil.com@example.com",
            "alice@bücher.example",
            "alice@ex\u{430}mple.com",
            "alice@example\u{3002}com",
            "alice@\u{202e}example.com",
            "ali\u{200b}ce@example.com",
            "\u{feff}alice@example.com",
            &long_label,
            &long,
        ] {
            assert!(domain(address).is_err(), "{address:?}");
        }
    }
}
