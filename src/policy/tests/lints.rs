//! What is told as dangerous, and what is not.

use super::{allowing, corp};
use crate::ids::ProviderName;
use crate::policy::{Acknowledged, Policy, Rules, lint_together};

const VERIFIED: &str = "claims.email_verified";

fn names(rules: Rules) -> Vec<(&'static str, String)> {
    let policy = Policy::compile(&corp(), rules).unwrap_or_else(|faults| panic!("{faults:?}"));
    policy.lints().iter().map(|lint| (lint.name, lint.rule.clone())).collect()
}

fn has(rules: Rules, lint: &str) -> bool {
    names(rules).iter().any(|(name, _)| *name == lint)
}

fn identity(rule: &str) -> Rules {
    Rules { identity: Some(rule.to_owned()), ..allowing(VERIFIED) }
}

#[test]
fn an_identity_is_not_built_on_what_changes() {
    for bad in [
        "'a.' + claims.email.replace('@', '.')",
        "'a.' + claims['preferred_username']",
        "uuid5('url', claims.upn)",
        "sha256(lower(claims.name))",
        "has(claims.oid) ? 'a.' + claims.oid : 'a.' + claims.?nickname.orValue('x')",
        "'a.' + claims[claims.which]",
    ] {
        assert!(has(identity(bad), "changeable_identity"), "{bad}");
    }
    for good in ["'a.' + claims.sub", "uuid5('url', claims.oid)", "'a.' + claims.employee_id"] {
        assert!(names(identity(good)).is_empty(), "{good}");
    }
}

#[test]
fn an_address_is_not_taken_apart() {
    for bad in [
        "claims.email.endsWith('@example.com')",
        "lower(claims.email).endsWith('@example.com')",
        "claims.?email.orValue('').endsWith('@example.com')",
        "claims['email'].matches('example.com$')",
        "matches(claims.upn, 'example.com$')",
        "claims.email.contains('@example.com')",
        "claims.preferred_username.split('@')[1] == 'example.com'",
        "claims.emails.exists(e, e.endsWith('@example.com'))",
        "claims.emails.filter(e, e != '').exists(e, e.endsWith('@example.com'))",
        "domain(claims.email).endsWith('example.com')",
        "claims.email_verified && !claims.email.endsWith('@example.com')",
    ] {
        assert!(has(allowing(bad), "email_ending"), "{bad}");
    }
    for good in [
        "domain(claims.email) == 'example.com'",
        "domain(claims.email).endsWith('.example.com')",
        "claims.groups.exists(g, g.endsWith('-staff')) && claims.email == 'a@example.com'",
        "claims.hd.endsWith('example.com')",
    ] {
        assert!(!has(allowing(good), "email_ending"), "{good}");
    }
    let rules = Rules {
        role: Some("claims.email.endsWith('@example.com') ? 'a' : 'b'".to_owned()),
        ..allowing(VERIFIED)
    };
    assert_eq!(names(rules), [("email_ending", "role".to_owned())]);
}

#[test]
fn an_email_is_not_trusted_unverified() {
    let by_email = "domain(claims.email) == 'example.com'";
    let lint = "unverified_email";

    assert!(has(allowing(by_email), lint));
    assert!(!has(allowing(&format!("claims.email_verified && {by_email}")), lint));
    let role = |allow: &str| Rules {
        role: Some(format!("{by_email} ? 'agent' : 'member'")),
        ..allowing(allow)
    };
    assert_eq!(names(role("true")), [(lint, "role".to_owned())]);
    assert!(!has(role(VERIFIED), lint));
    let conversations =
        Rules { conversations: Some("[claims.email]".to_owned()), ..allowing("true") };
    assert!(has(conversations, lint));
    let attributes =
        Rules { attributes: Some("{'mail': claims.email}".to_owned()), ..allowing("true") };
    assert!(names(attributes).is_empty());
}

#[test]
fn an_identity_stays_clear_of_guests() {
    for bad in [
        "claims.id",
        "'g' + claims.id",
        "'guest-' + claims.id",
        "'guest-1-' + claims.id",
        "'' + claims.id",
        "claims.id + 'x'",
        "lower('GUEST-' + claims.id)",
        "claims.a ? 'corp-' + claims.id : claims.id",
        "('gu' + claims.id) + 'x'",
    ] {
        assert!(has(identity(bad), "guest_namespace"), "{bad}");
    }
    for good in [
        "'corp-' + claims.id",
        "provider + claims.id",
        "provider + '.' + claims.id",
        "lower('CORP-' + claims.id)",
        "uuid5('url', claims.id)",
        "sha256(claims.id)",
        "claims.a ? 'a-' + claims.id : uuid5('url', claims.id)",
        "'guest' + 's-' + claims.id",
        "'guest_' + claims.id",
    ] {
        assert!(!has(identity(good), "guest_namespace"), "{good}");
    }
}

#[test]
fn two_providers_identities_do_not_meet() {
    let meets = |one: Option<&str>, other: Option<&str>| {
        let compile = |name: &str, rule: Option<&str>| {
            let rules = Rules { identity: rule.map(str::to_owned), ..allowing("true") };
            Policy::compile(&ProviderName::parse(name).unwrap(), rules).unwrap()
        };
        let (one, other) = (compile("corp", one), compile("corp2", other));
        let lints = lint_together(&[(&one, "https://a.example"), (&other, "https://b.example")]);
        assert!(
            lints
                .iter()
                .all(|lint| lint.name == "meeting_identities" && lint.acknowledged.is_none())
        );
        !lints.is_empty()
    };
    let default_hash = "uuid5(uuid5('url', claims.iss), claims.sub)";

    for (one, other) in [
        (None, None),
        (Some("'a-' + claims.id"), Some("'b-' + claims.id")),
        (Some("provider + '.' + claims.id"), Some("provider + '.' + claims.id")),
        (Some(default_hash), Some(default_hash)),
        (Some(default_hash), None),
        (Some("uuid5(uuid5('url', claims.iss), claims.id)"), None),
        (
            Some("uuid5('url', provider + ':' + claims.id)"),
            Some("uuid5('url', provider + ':' + claims.id)"),
        ),
        (
            Some("sha256(claims.iss + ' ' + claims.id)"),
            Some("sha256(claims.iss + ' ' + claims.id)"),
        ),
        (Some("uuid5('url', claims.id)"), Some("sha256(claims.id)")),
        (Some("uuid5('url', claims.id)"), Some("uuid5('dns', claims.id)")),
        (Some("uuid5('url', claims.id)"), None),
        (Some("'corp-' + claims.id"), None),
        (Some("sha256(claims.id)"), None),
    ] {
        assert!(!meets(one, other), "{one:?} {other:?}");
        assert!(!meets(other, one), "{other:?} {one:?}");
    }
    for (one, other) in [
        (Some("claims.id"), Some("claims.id")),
        (Some("claims.id"), None),
        (Some("'a' + claims.id"), None),
        (Some("'a' + claims.id"), Some("'ab' + claims.id")),
        (Some("'a-' + claims.id"), Some("claims.b ? 'b-' + claims.id : 'a-' + claims.id")),
        (Some("provider + claims.id"), Some("provider + claims.id")),
        (Some("uuid5('url', claims.id)"), Some("uuid5('url', claims.id)")),
        (Some("uuid5('url', provider + claims.id)"), Some("uuid5('url', provider + claims.id)")),
        (Some("sha256(claims.id)"), Some("sha256(claims.id)")),
        (Some("uuid5(claims.ns, claims.id)"), None),
        (Some("uuid5('url', claims.id)"), Some("claims.id")),
    ] {
        assert!(meets(one, other), "{one:?} {other:?}");
        assert!(meets(other, one), "{other:?} {one:?}");
    }
}

#[test]
fn tenants_of_one_issuer_are_told_apart_by_what_differs() {
    let rules = |rule: &str| Rules { identity: Some(rule.to_owned()), ..allowing("true") };
    let compile = |name: &str, rule: &str| {
        Policy::compile(&ProviderName::parse(name).unwrap(), rules(rule)).unwrap()
    };
    let rule = "uuid5(uuid5('url', claims.iss), claims.oid)";
    let (many, one) = (compile("many", rule), compile("one", rule));

    let templated = "https://login.example/{tenantid}/v2.0";
    assert_eq!(
        lint_together(&[(&many, templated), (&one, "https://login.example/t/v2.0")]).len(),
        1
    );
    assert_eq!(lint_together(&[(&many, templated), (&one, "https://other.example/")]).len(), 0);
    // One issuer, one rule: the same subjects, by right.
    assert_eq!(lint_together(&[(&many, templated), (&one, templated)]).len(), 0);
}

#[test]
fn an_acknowledgement_says_why_and_is_needed() {
    let acknowledge = |lint: &str, reason: &str| {
        vec![Acknowledged { lint: lint.to_owned(), reason: reason.to_owned() }]
    };
    let rules = |lint: &str, reason: &str| Rules {
        acknowledge: acknowledge(lint, reason),
        ..allowing("claims.email.endsWith('@example.com') && claims.email_verified")
    };
    let fault = |rules: Rules| {
        Policy::compile(&corp(), rules)
            .err()
            .map(|faults| (faults[0].rule.clone(), faults[0].problem))
    };

    let policy =
        Policy::compile(&corp(), rules("email_ending", "The provider checks it.")).unwrap();
    assert_eq!(policy.lints()[0].acknowledged.as_deref(), Some("The provider checks it."));
    assert_eq!(
        fault(rules("email_ending", " ")),
        Some(("acknowledge[0].reason".to_owned(), "is blank or holds a control character"))
    );
    assert_eq!(
        fault(rules("email_endin", "x")),
        Some(("acknowledge[0].lint".to_owned(), "is not a lint that there is"))
    );
    assert_eq!(
        fault(rules("guest_namespace", "x")),
        Some(("acknowledge[0].lint".to_owned(), "is a lint that finds nothing here"))
    );
    let twice = Rules {
        acknowledge: [acknowledge("email_ending", "x"), acknowledge("email_ending", "y")].concat(),
        ..rules("email_ending", "x")
    };
    assert_eq!(fault(twice), Some(("acknowledge[1].lint".to_owned(), "is acknowledged before it")));
}
