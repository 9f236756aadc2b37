//! What holds for all claims.

use std::sync::LazyLock;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

use super::{NOW, allowing, object, policy};
use crate::clock::Timestamp;
use crate::ids::Identity;
use crate::policy::{AllowRule, Decision, Denial, Policy, Rules, Wanted};

/// Rules over few claims, so that arbitrary claims often hit them.
pub(super) static POLICIES: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let some = |text: &str| Some(text.to_owned());
    let allow = |rules: &[&str]| {
        rules
            .iter()
            .map(|rule| AllowRule { rule: (*rule).to_owned(), message: None })
            .collect::<Vec<_>>()
    };
    [
        Rules { identity: some("claims.a"), ..allowing("has(claims.a)") },
        Rules { identity: some("lower(claims.a) + claims.b"), ..allowing("true") },
        Rules { identity: some("uuid5(uuid5('url', claims.a), claims.b)"), ..allowing("true") },
        Rules {
            identity: some("claims.a.trim().replace('@', '.')"),
            ..allowing("claims.email_verified")
        },
        Rules { identity: some("claims.map(k, k)[0]"), ..allowing("size(claims) > 0") },
        Rules {
            allow: allow(&["claims.email_verified", "domain(claims.email) == 'example.com'"]),
            identity: some("sha256(claims.a)"),
            friendly_name: some("claims.name"),
            role: some("'staff' in claims.groups ? 'agent' : claims.?b.orValue('member')"),
            conversations: some(
                "claims.groups.filter(g, g.startsWith('t')).map(g, g.substring(1))",
            ),
            attributes: some("{'a': claims.a, 'b': [claims.?b]}"),
            token_ttl: some("duration(claims.c)"),
            ..Rules::default()
        },
        Rules {
            conversations: some("claims.a.map(x, string(x))"),
            attributes: some("claims.b"),
            token_ttl: some("now - timestamp(claims.c)"),
            ..allowing(
                "claims.a == claims.b || claims.a < claims.b || claims.a in claims.b || true",
            )
        },
    ]
    .into_iter()
    .map(policy)
    .collect()
});

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9._~-]{0,40}",
        "\\PC{0,20}",
        any::<String>(),
        Just("a@example.com".to_owned()),
        Just("a\u{ff20}example.com".to_owned()),
        Just("a@b@example.com".to_owned()),
        Just("\0".to_owned()),
        Just("\u{202e}moc.elpmaxe@a".to_owned()),
        Just("guest-1".to_owned()),
        Just(format!("US{}", "0".repeat(32))),
        Just("true".to_owned()),
        Just("1h".to_owned()),
        Just("-9223372036854775808s".to_owned()),
        Just("9999-12-31T23:59:60Z".to_owned()),
        Just("2026-02-29T00:00:00Z".to_owned()),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        Just(json!(i64::MIN)),
        Just(json!(253_402_300_799_i64)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number(),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(40, 200, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            btree_map(text(), inner, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "email", "email_verified", "groups", "name", "hasgroups", "_claim_names"])
            .prop_map(str::to_owned),
        1 => text(),
    ];
    let value = prop_oneof![20 => value(), 1 => Just(json!("x".repeat(60_000)))];
    btree_map(name, value, 0..10).prop_map(|entries| entries.into_iter().collect())
}

fn outcome(policy: &Policy, claims: &Map<String, Value>) -> Result<Decision, Denial> {
    policy.decide(claims, NOW)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_same_claims_get_the_same_decision(claims in claims()) {
        for policy in POLICIES.iter() {
            let again = claims.iter().rev().map(|(name, value)| (name.clone(), value.clone())).collect();
            prop_assert_eq!(outcome(policy, &claims), outcome(policy, &again));
            prop_assert_eq!(outcome(policy, &claims), outcome(policy, &policy.relevant(&claims)));
        }
    }

    #[test]
    fn an_identity_is_always_within_the_contract(claims in claims(), now in any::<u64>()) {
        for policy in POLICIES.iter() {
            if let Ok(Decision { identity: Ok(Wanted::Is(identity)), .. }) = policy.decide(&claims, Timestamp::from_millis(now)) {
                prop_assert!(Identity::parse_member(identity.as_str()).is_ok());
                let fits = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
                prop_assert!((1..=256).contains(&identity.as_str().len()) && identity.as_str().chars().all(fits));
                prop_assert!(!identity.as_str().starts_with("guest-"));
            }
        }
    }

    #[test]
    fn an_explanation_says_what_is_decided(claims in claims()) {
        for policy in POLICIES.iter() {
            let explanation = policy.explain(&claims, NOW);
            let expected = match outcome(policy, &claims) {
                Ok(decision) => json!({ "allowed": decision }),
                Err(denial) => json!({ "denied": { "rule": denial.rule, "why": denial.why.to_string(), "message": null } }),
            };
            prop_assert_eq!(serde_json::to_value(&explanation.outcome).unwrap(), expected);
            let text = serde_json::to_string(&explanation).unwrap();
            prop_assert_eq!(serde_json::from_str::<super::super::Explanation>(&text).unwrap(), explanation);
        }
    }

    #[test]
    fn a_claim_that_no_rule_reads_changes_nothing(claims in claims(), name in text(), value in value()) {
        for policy in POLICIES.iter() {
            let mut more = claims.clone();
            more.insert(name.clone(), value.clone());
            if policy.relevant(&more) == policy.relevant(&claims) {
                prop_assert_eq!(outcome(policy, &claims), outcome(policy, &more));
            }
        }
    }
}

#[test]
fn an_unread_claim_is_not_even_looked_at() {
    let policy = policy(allowing("claims.a == 1"));
    let few = object(json!({ "a": 1 }));

    for other in [json!(null), json!(u64::MAX), json!(vec![0; 20_000]), json!("x".repeat(100_000))]
    {
        let mut more = few.clone();
        more.insert("b".to_owned(), other);
        assert_eq!(policy.decide(&more, NOW), policy.decide(&few, NOW));
    }
}
