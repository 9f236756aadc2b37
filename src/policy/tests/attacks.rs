//! What went wrong elsewhere, as tables.

use serde_json::{Value, json};

use super::{NOW, allowing, object, policy};
use crate::policy::{Decision, Denial, Rules, Wanted};

fn decide(rules: Rules, claims: Value) -> Result<Decision, Denial> {
    policy(rules).decide(&object(claims), NOW)
}

fn identity(rule: &str, claims: Value) -> Option<String> {
    let rules = Rules { identity: Some(rule.to_owned()), ..allowing("true") };
    match decide(rules, claims).unwrap().identity {
        Ok(Wanted::Is(identity)) => Some(identity.to_string()),
        Ok(Wanted::Default) => panic!("there is a rule"),
        Err(_) => None,
    }
}

/// Coder CVE-2026-55076, Nhost CVE-2026-41574: whatever is not JSON true, or is not there, is not verified.
#[test]
fn only_json_true_verifies_an_email() {
    let unverified = [
        Some(json!(false)),
        Some(json!(null)),
        Some(json!("false")),
        Some(json!("True")),
        Some(json!("TRUE")),
        Some(json!(" true")),
        Some(json!("1")),
        Some(json!("yes")),
        Some(json!(0)),
        Some(json!(1)),
        Some(json!(1.0)),
        Some(json!([])),
        Some(json!([true])),
        Some(json!({})),
        Some(json!({ "value": true })),
        None,
    ];
    let ways = [
        "claims.email_verified",
        "claims['email_verified']",
        "claims.?email_verified.orValue(true)",
        "has(claims.email_verified) && claims.email_verified",
        "!has(claims.email_verified) || claims.email_verified",
        "claims.email_verified == true",
        "claims.exists(k, k == 'email_verified' && claims[k])",
    ];
    let with = |value: Option<Value>| {
        let mut claims = json!({ "email": "victim@example.com" });
        if let Some(value) = value {
            claims["email_verified"] = value;
        }
        claims
    };

    for way in ways {
        for as_string in [false, true] {
            let rules = || Rules { string_email_verified: as_string, ..allowing(way) };
            for value in &unverified {
                assert!(decide(rules(), with(value.clone())).is_err(), "{way}: {value:?}");
            }
            assert!(decide(rules(), with(Some(json!(true)))).is_ok(), "{way}");
            let text = decide(rules(), with(Some(json!("true"))));
            assert_eq!(text.is_ok(), as_string, "{way}");
        }
    }
}

/// oauth2-proxy CVE-2026-40574, Coder CVE-2024-27918: an address that ends like one of ours is not one of ours.
#[test]
fn another_domain_never_passes_for_ours() {
    let rule = "domain(claims.email) == 'company.com'";

    assert!(decide(allowing(rule), json!({ "email": "Alice@Company.com" })).is_ok());
    for email in [
        json!("attacker@evil.com@company.com"),
        json!("\"a@evil.com\"@company.com"),
        json!("a@company.com."),
        json!("a@company.com\0"),
        json!("a@company.com\0.evil.com"),
        json!(" a@company.com"),
        json!("a@company.com "),
        json!("a@company.com.evil.com"),
        json!("a@evilcompany.com"),
        json!("a@notcompany.com"),
        json!("a@sub.company.com"),
        json!("a@evil.com\u{ff20}company.com"),
        json!("a\u{fe6b}company.com"),
        json!("a@c\u{43e}mpany.com"),
        json!("company.com"),
        json!("@company.com"),
        json!(""),
        json!(null),
        json!(["a@company.com"]),
        json!({ "address": "a@company.com" }),
    ] {
        assert!(decide(allowing(rule), json!({ "email": email.clone() })).is_err(), "{email}");
    }
    assert!(decide(allowing(rule), json!({})).is_err());
}

/// Flux Operator CVE-2026-23990: nothing is nobody, also when it is hashed.
#[test]
fn an_empty_claim_is_nobody() {
    for rule in [
        "claims.id",
        "lower(claims.id)",
        "claims.id.trim()",
        "uuid5('url', claims.id)",
        "uuid5(uuid5('url', claims.iss), claims.id)",
        "sha256(claims.id)",
    ] {
        for id in [json!(""), json!(" "), json!("\t\n"), json!("\u{a0}"), json!(null)] {
            let claims = json!({ "iss": "https://a", "id": id });
            assert_eq!(identity(rule, claims), None, "{rule} {id}");
        }
        assert_eq!(identity(rule, json!({ "iss": "https://a" })), None, "{rule}");
        assert!(identity(rule, json!({ "iss": "https://a", "id": "x" })).is_some(), "{rule}");
    }
}

/// Grafana CVE-2022-31107: what ends one part never begins the next.
#[test]
fn hashed_parts_cannot_borrow_from_each_other() {
    let rule = "uuid5(uuid5('url', claims.a), claims.b)";
    let of = |a: &str, b: &str| identity(rule, json!({ "a": a, "b": b })).unwrap();

    for (one, other) in [
        (("a", "b:c"), ("a:b", "c")),
        (("a", "bc"), ("ab", "c")),
        (("https://a", "/b"), ("https://a/", "b")),
    ] {
        assert_ne!(of(one.0, one.1), of(other.0, other.1));
    }
    assert_ne!(of("x", "Alice"), of("x", "alice"));
    assert_ne!(of("x", "alice "), of("x", "alice"));
}

/// No rule makes a guest.
#[test]
fn nobody_is_mapped_among_the_guests() {
    for (rule, id) in [
        ("claims.id", "guest-0001"),
        ("claims.id", "guest-"),
        ("'guest-' + claims.id", "0001"),
        ("'gue' + claims.id", "st-1"),
        ("lower(claims.id)", "GUEST-1"),
        ("claims.id.replace('_', '-')", "guest_1"),
        ("claims.id.substring(1)", "xguest-1"),
    ] {
        assert_eq!(identity(rule, json!({ "id": id })), None, "{rule} {id}");
    }
    assert_eq!(identity("claims.id", json!({ "id": "guest" })).as_deref(), Some("guest"));
    assert_eq!(identity("claims.id", json!({ "id": "Guest-1" })).as_deref(), Some("Guest-1"));
}
