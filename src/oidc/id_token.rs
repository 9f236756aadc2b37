//! What an ID token's claims must say (OpenID Connect Core §3.1.3.7), once its signature is verified.

use std::slice;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::issuer::TokenIssuer;
use super::{Algorithm, OidcError, Tokens, cut, untrusted};
use crate::clock::Timestamp;
use crate::ids::Digest;

/// How far the provider's clock and the store's may be apart.
pub const LEEWAY: Duration = Duration::from_mins(1);

/// What a login expects its ID token to say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a TokenIssuer,
    /// What the authorization response named, if it named any.
    pub(super) response_issuer: Option<&'a str>,
    /// Whose tokens the key signs that verified it, if the key says so.
    pub(super) key_issuer: Option<&'a Value>,
    pub(super) client_id: &'a str,
    pub(super) occasion: Occasion<'a>,
    pub(super) access_token: &'a SecretString,
    /// What the token was signed with.
    pub(super) algorithm: Algorithm,
    pub(super) now: Timestamp,
}

/// What an ID token was given for.
pub(super) enum Occasion<'a> {
    /// A code.
    Login { nonce: &'a str, code: &'a SecretString },
    /// The refresh token of a login that gave these.
    Refresh(&'a Tokens),
}

/// Checks every claim that must be checked; the token's `sub`.
///
/// # Errors
///
/// [`OidcError::Untrusted`] of the first that fails: `iss`, `key` when that signs for another issuer, `response_issuer` when
/// the authorization response named another, `aud`, `azp`, `exp`, `iat`, `nbf`, `nonce`, `at_hash`, `c_hash` or `sub`; after a
/// refresh, `events` and `auth_time` too. No other.
pub(super) fn check(
    claims: &Map<String, Value>,
    expected: &Expected<'_>,
) -> Result<String, OidcError> {
    expected.issuer.check(claims.get("iss"))?;
    check_key(expected.key_issuer, expected.issuer)?;
    check_response_issuer(expected.response_issuer, expected.issuer)?;
    // A required claim that is absent fails as one that is wrong.
    let aud = claims.get("aud").unwrap_or(&Value::Null);
    let audiences = check_audience(aud, slice::from_ref(&expected.client_id))?;
    check_authorized_party(claims.get("azp"), audiences, expected.client_id)?;
    if date(claims, "exp")?.is_none() {
        return Err(untrusted("exp", "a date", "none"));
    }
    if date(claims, "iat")?.is_none() {
        return Err(untrusted("iat", "a date", "none"));
    }
    check_dates(claims, expected.now)?;
    match &expected.occasion {
        Occasion::Login { nonce, code } => {
            check_nonce(claims.get("nonce"), nonce)?;
            check_hash(claims, "c_hash", code, expected.algorithm)?;
        }
        Occasion::Refresh(first) => check_same_login(claims, expected.issuer, first)?,
    }
    check_hash(claims, "at_hash", expected.access_token, expected.algorithm)?;
    match claims.get("sub") {
        Some(Value::String(subject)) if !subject.trim().is_empty() => Ok(subject.clone()),
        other => Err(untrusted("sub", "a string that is not empty", kind(other))),
    }
}

/// The key signs for the issuer, so far as it says for whom.
pub(super) fn check_key(key_issuer: Option<&Value>, issuer: &TokenIssuer) -> Result<(), OidcError> {
    if issuer.is_signed_for_by(key_issuer) {
        return Ok(());
    }
    let got = key_issuer.and_then(Value::as_str).map(|other| format!("one of {:?}", cut(other)));
    let got = got.unwrap_or_else(|| "one of nobody".to_owned());
    Err(untrusted("key", format!("one of {:?}", issuer.text()), got))
}

/// The authorization response named the same issuer (RFC 9207 §2.4): where there are several, one that is accepted is not yet
/// the token's.
fn check_response_issuer(named: Option<&str>, issuer: &TokenIssuer) -> Result<(), OidcError> {
    match named {
        Some(other) if other != issuer.text() => Err(untrusted(
            "response_issuer",
            format!("{:?}", issuer.text()),
            format!("{:?}", cut(other)),
        )),
        _ => Ok(()),
    }
}

/// `aud` is one of `expected`, or a list of strings with one of them in it (step 3); how many it names.
pub(super) fn check_audience<S: AsRef<str>>(
    aud: &Value,
    expected: &[S],
) -> Result<usize, OidcError> {
    let audiences = match aud {
        Value::String(one) => Some(vec![one.as_str()]),
        Value::Array(many) => many.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let Some(audiences) = audiences else {
        return Err(untrusted("aud", "a string or strings", kind(Some(aud))));
    };
    if !expected.iter().any(|one| audiences.contains(&one.as_ref())) {
        let names = expected.iter().map(|one| format!("{:?}", one.as_ref())).collect::<Vec<_>>();
        return Err(untrusted("aud", names.join(" or "), cut(&format!("{audiences:?}"))));
    }
    Ok(audiences.len())
}

/// `azp` is us wherever it stands, and stands where several audiences do (steps 4 and 5): a token that another client asked
/// for is not ours because it lists us too.
fn check_authorized_party(
    azp: Option<&Value>,
    audiences: usize,
    client_id: &str,
) -> Result<(), OidcError> {
    match azp {
        Some(azp) if azp == client_id => Ok(()),
        None if audiences == 1 => Ok(()),
        Some(Value::String(other)) => {
            Err(untrusted("azp", format!("{client_id:?}"), format!("{:?}", cut(other))))
        }
        other => Err(untrusted("azp", format!("{client_id:?}"), kind(other))),
    }
}

/// `exp` is to come (step 9), `iat` and `nbf` have been (step 10, RFC 7519 §4.1.5), give or take a minute. Each may be absent
/// as far as this rule goes.
pub(super) fn check_dates(claims: &Map<String, Value>, now: Timestamp) -> Result<(), OidcError> {
    if let Some(exp) = date(claims, "exp")?.filter(|exp| now >= exp.plus(LEEWAY)) {
        return Err(untrusted("exp", format!("later than {now}, less a minute"), exp.to_string()));
    }
    for name in ["iat", "nbf"] {
        if let Some(future) = date(claims, name)?.filter(|begin| *begin > now.plus(LEEWAY)) {
            return Err(untrusted(
                name,
                format!("no later than {now} and a minute"),
                future.to_string(),
            ));
        }
    }
    Ok(())
}

/// A `NumericDate` (RFC 7519 §2) in whole seconds, as an integer or as a float without a fraction. A date of another type is
/// refused, never passed over as if it were absent.
pub(super) fn date(
    claims: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<Timestamp>, OidcError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_number().and_then(|number| {
        let text = number.to_string();
        text.strip_suffix(".0").unwrap_or(&text).parse::<u64>().ok()
    });
    match seconds {
        Some(seconds) => Ok(Some(Timestamp::from_millis(seconds.saturating_mul(1000)))),
        None if value.is_number() => {
            Err(untrusted(name, "whole seconds since 1970", value.to_string()))
        }
        None => Err(untrusted(name, "whole seconds since 1970", kind(Some(value)))),
    }
}

/// `nonce` is the one that was sent (step 11); always demanded.
fn check_nonce(nonce: Option<&Value>, sent: &str) -> Result<(), OidcError> {
    match nonce {
        Some(Value::String(nonce))
            if verify_slices_are_equal(nonce.as_bytes(), sent.as_bytes()).is_ok() =>
        {
            Ok(())
        }
        // Neither is quoted: a nonce is as good as its login.
        Some(Value::String(_)) => Err(untrusted("nonce", "the one that was sent", "another")),
        other => Err(untrusted("nonce", "the one that was sent", kind(other))),
    }
}

/// The token is of the login that gave `first` (OpenID Connect Core §12.2): the same issuer and `sub`, the same `nonce` if there is
/// one, and an `auth_time` that is not older. Without a nonce to tell them apart, it must not be a logout token.
fn check_same_login(
    claims: &Map<String, Value>,
    issuer: &TokenIssuer,
    first: &Tokens,
) -> Result<(), OidcError> {
    if issuer.text() != first.issuer {
        return Err(untrusted(
            "iss",
            format!("{:?}", first.issuer),
            format!("{:?}", issuer.text()),
        ));
    }
    if claims.contains_key("events") {
        return Err(untrusted("events", "none", "one"));
    }
    match claims.get("nonce") {
        None | Some(Value::Null) => {}
        Some(Value::String(nonce)) if Digest::of(nonce.as_bytes()) == first.nonce => {}
        other => return Err(untrusted("nonce", "the first one, or none", kind(other))),
    }
    if let (Some(first), Some(claim)) = (first.auth_time, claims.get("auth_time"))
        && whole_seconds(claim).is_none_or(|time| time < first)
    {
        return Err(untrusted("auth_time", format!("{first} or later"), cut(&claim.to_string())));
    }
    match claims.get("sub") {
        Some(Value::String(other)) if *other != first.sub => {
            Err(untrusted("sub", format!("{:?}", cut(&first.sub)), format!("{:?}", cut(other))))
        }
        _ => Ok(()),
    }
}

/// A number of seconds, its fraction cut off.
pub(super) fn whole_seconds(value: &Value) -> Option<u64> {
    let seconds = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    Some(seconds.as_secs())
}

/// The hash of `secret`, if there is one: base64url of the left half (OpenID Connect Core §3.1.3.6, §3.3.2.11).
fn check_hash(
    claims: &Map<String, Value>,
    name: &'static str,
    secret: &SecretString,
    algorithm: Algorithm,
) -> Result<(), OidcError> {
    let Some(hash) = claims.get(name) else { return Ok(()) };
    #[expect(clippy::disallowed_methods, reason = "only its hash is compared")]
    let digest = digest::digest(algorithm.hash(), secret.expose_secret().as_bytes());
    let (left_half, _) = digest.as_ref().split_at(digest.as_ref().len() / 2);
    if hash == &URL_SAFE_NO_PAD.encode(left_half) {
        return Ok(());
    }
    Err(untrusted(name, format!("the hash under {}", algorithm.name()), "another"))
}

/// The type of a value that is refused for it.
pub(super) fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "none",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::issuer::Issuer;

    const NOW: u64 = 1_700_000_000;

    /// A good token's claims with some of them set; the value "absent" takes one away.
    fn refusal(changes: &Value) -> Option<&'static str> {
        // The code of the example in OpenID Connect Core §A.3.
        let code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk".into();
        refusal_of(changes, Occasion::Login { nonce: "n", code: &code })
    }

    /// The same of a token that was refreshed.
    fn refusal_later(changes: &Value) -> Option<&'static str> {
        let first = Tokens {
            issuer: "https://id.example.com/o/".to_owned(),
            sub: "7".to_owned(),
            sid: None,
            nonce: Digest::of(b"n"),
            auth_time: Some(NOW - 300),
            id_token: "".into(),
            id_token_is_new: true,
            access_token: "".into(),
            access_until: None,
            refresh_token: None,
            answers_userinfo: false,
        };
        refusal_of(changes, Occasion::Refresh(&first))
    }

    fn refusal_of(changes: &Value, occasion: Occasion<'_>) -> Option<&'static str> {
        let mut claims = json!({
            "iss": "https://id.example.com/o/", "aud": "us", "sub": "7", "nonce": "n", "iat": NOW, "exp": NOW + 300,
        });
        for (name, value) in changes.as_object().unwrap() {
            if value == "absent" {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        let issuer = Issuer::parse("https://id.example.com/o/", &[]).unwrap();
        let expected = Expected {
            issuer: issuer.expected_of(claims.as_object().unwrap()).unwrap(),
            response_issuer: None,
            key_issuer: None,
            client_id: "us",
            occasion,
            // The token of the example in OpenID Connect Core §A.4.
            access_token: &"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y".to_owned().into(),
            algorithm: Algorithm::Rs256,
            now: Timestamp::from_millis(NOW * 1000),
        };
        match check(claims.as_object().unwrap(), &expected) {
            Ok(subject) => {
                assert_eq!(subject, "7");
                None
            }
            Err(OidcError::Untrusted { check, .. }) => Some(check),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_good_token_passes_however_it_spells_what_we_do_not_need() {
        for claims in [
            json!({}),
            json!({ "aud": ["us"], "azp": "us", "nbf": NOW }),
            json!({ "exp": 1_700_000_300.0, "iat": 1_700_000_000.0, "auth_time": 0.5 }),
            json!({ "email_verified": "true", "address": "here", "picture": 7, "name": null, "updated_at": "now" }),
        ] {
            assert_eq!(refusal(&claims), None, "{claims}");
        }
    }

    #[test]
    fn the_issuer_is_compared_byte_by_byte() {
        for iss in [
            json!("absent"),
            json!(null),
            json!("https://id.example.com/o"),
            json!("https://ID.example.com/o/"),
            json!("https://id.example.com/o/\u{0}"),
            json!(["https://id.example.com/o/"]),
        ] {
            assert_eq!(refusal(&json!({ "iss": iss })), Some("iss"), "{iss}");
        }
    }

    #[test]
    fn with_tenants_the_tenant_and_its_own_issuer_are_demanded() {
        let tenants = ["a".to_owned(), "b".to_owned()];
        let issuer = Issuer::parse("https://id.example.com/{tenantid}/v2.0", &tenants).unwrap();
        let refusal = |claims: Value| {
            let claims = claims.as_object().unwrap();
            let checked =
                issuer.expected_of(claims).and_then(|issuer| issuer.check(claims.get("iss")));
            match checked {
                Ok(()) => None,
                Err(OidcError::Untrusted { check, .. }) => Some(check),
                Err(other) => panic!("{other}"),
            }
        };
        let of = |tenant: &str| format!("https://id.example.com/{tenant}/v2.0");

        assert_eq!(refusal(json!({ "tid": "a", "iss": of("a") })), None);
        assert_eq!(refusal(json!({ "tid": "b", "iss": of("b") })), None);
        for tid in
            [json!("c"), json!("A"), json!("a "), json!(""), json!(null), json!(["a"]), json!(0)]
        {
            assert_eq!(refusal(json!({ "tid": tid, "iss": of("a") })), Some("tid"), "{tid}");
        }
        assert_eq!(refusal(json!({ "iss": of("a") })), Some("tid"));
        for iss in [
            json!(of("b")),
            json!(of("{tenantid}")),
            json!(of("../a")),
            json!(null),
            json!([of("a")]),
        ] {
            assert_eq!(refusal(json!({ "tid": "a", "iss": iss })), Some("iss"), "{iss}");
        }
        assert_eq!(refusal(json!({ "tid": "a" })), Some("iss"));
    }

    #[test]
    fn the_audience_is_us_and_of_several_we_asked() {
        for aud in [
            json!("absent"),
            json!(null),
            json!("US"),
            json!([]),
            json!(["us", 7]),
            json!({ "us": 1 }),
            json!(7),
        ] {
            assert_eq!(refusal(&json!({ "aud": aud })), Some("aud"), "{aud}");
        }
        assert_eq!(refusal(&json!({ "aud": ["us", "evil"] })), Some("azp"));
        assert_eq!(refusal(&json!({ "aud": ["us", "other"], "azp": "us" })), None);
        for azp in [json!("evil"), json!(null), json!(["us"])] {
            assert_eq!(refusal(&json!({ "azp": azp })), Some("azp"), "{azp}");
        }
    }

    #[test]
    fn dates_have_a_minute_of_leeway_and_no_more() {
        for (claims, refused) in [
            (json!({ "exp": NOW - 59 }), None),
            (json!({ "exp": NOW - 60 }), Some("exp")),
            (json!({ "iat": NOW + 60 }), None),
            (json!({ "iat": NOW + 61 }), Some("iat")),
            (json!({ "nbf": NOW + 60 }), None),
            (json!({ "nbf": NOW + 61 }), Some("nbf")),
            (json!({ "exp": u64::MAX }), None),
        ] {
            assert_eq!(refusal(&claims), refused, "{claims}");
        }
    }

    #[test]
    fn a_date_of_another_type_is_refused_and_not_absent() {
        for date in [
            json!(null),
            json!("1700000300"),
            json!("never"),
            json!([1]),
            json!(1e300),
            json!(-1),
            json!(1_700_000_300.5),
            json!(true),
        ] {
            for name in ["exp", "iat", "nbf"] {
                assert_eq!(refusal(&json!({ name: date })), Some(name), "{name} {date}");
            }
        }
        assert_eq!(refusal(&json!({ "exp": "absent" })), Some("exp"));
        assert_eq!(refusal(&json!({ "iat": "absent" })), Some("iat"));
    }

    #[test]
    fn the_nonce_is_always_demanded_and_never_quoted() {
        for nonce in [json!("absent"), json!(null), json!("N"), json!(""), json!(["n"])] {
            assert_eq!(refusal(&json!({ "nonce": nonce })), Some("nonce"), "{nonce}");
        }
        let error = check_nonce(Some(&json!("canary-1")), "canary-2").unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn a_refreshed_token_is_of_the_same_login() {
        for good in [
            json!({}),
            json!({ "nonce": "absent" }),
            json!({ "nonce": null, "auth_time": "absent" }),
            json!({ "auth_time": NOW - 300 }),
            json!({ "auth_time": 1_699_999_700.5, "c_hash": "of no code" }),
            json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ" }),
        ] {
            assert_eq!(refusal_later(&good), None, "{good}");
        }
        for (name, bad) in [
            ("iss", json!("https://id.example.com/other/")),
            ("sub", json!("8")),
            ("sub", json!("absent")),
            ("sub", json!(7)),
            ("nonce", json!("another")),
            ("nonce", json!("")),
            ("nonce", json!(["n"])),
            ("auth_time", json!(NOW - 301)),
            ("auth_time", json!("now")),
            ("auth_time", json!(null)),
            ("auth_time", json!(-1)),
            ("aud", json!(["us", "evil"])),
            ("aud", json!("them")),
            ("exp", json!(NOW - 60)),
            ("iat", json!("absent")),
            ("at_hash", json!("")),
            ("events", json!({})),
        ] {
            let check = if name == "aud" && bad.is_array() { "azp" } else { name };
            assert_eq!(refusal_later(&json!({ name: bad })), Some(check), "{name} {bad}");
        }
    }

    #[test]
    fn hashes_are_checked_where_they_stand() {
        // Values of the same examples.
        let good =
            json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "c_hash": "LDktKdoQak3Pk0cnXxCltA" });
        assert_eq!(refusal(&good), None);

        for name in ["at_hash", "c_hash"] {
            for hash in [
                json!(null),
                json!(""),
                json!("77QmUPtjPfzWtF2AnpK9Rq"),
                json!("77QmUPtjPfzWtF2AnpK9RQ=="),
            ] {
                assert_eq!(refusal(&json!({ name: hash })), Some(name), "{name} {hash}");
            }
        }
    }

    #[test]
    fn a_subject_is_a_string_with_something_in_it() {
        for sub in [json!("absent"), json!(null), json!(7), json!(""), json!(" \t"), json!({})] {
            assert_eq!(refusal(&json!({ "sub": sub })), Some("sub"), "{sub}");
        }
    }
}
