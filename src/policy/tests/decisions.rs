//! What each kind of rule may yield, and what a decision is made of.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NOW, allowing, corp, object, policy};
use crate::clock::Timestamp;
use crate::ids::{Identity, IdentityError};
use crate::policy::{
    AllowRule, Decision, Denial, ExplainedRule, Failure, Outcome, Policy, RuleResult, Rules,
    Wanted, Why,
};

fn decide(rules: Rules, claims: Value) -> Result<Decision, Denial> {
    policy(rules).decide(&object(claims), NOW)
}

fn why(rules: Rules, claims: Value) -> Why {
    decide(rules, claims).unwrap_err().why
}

/// The rules of the contract's example (§7).
fn contract() -> Rules {
    let some = |rule: &str| Some(rule.to_owned());
    Rules {
        allow: vec![AllowRule {
            rule: "claims.email_verified && domain(claims.email) == 'example.com'".to_owned(),
            message: some("Only verified staff of Example Corp."),
        }],
        friendly_name: some("claims.name"),
        role: some("'support' in claims.groups ? 'agent' : 'member'"),
        conversations: some("claims.groups.filter(g, g.startsWith('team-'))"),
        attributes: some("{'dept': claims.department}"),
        ..Rules::default()
    }
}

#[test]
fn the_contracts_example_decides() {
    let claims = json!({
        "sub": "1", "email": "alice@example.com", "email_verified": true, "name": "Alice", "department": "Sales",
        "groups": ["team-red", "support", "team-blue", "team-red"],
    });

    let decision = decide(contract(), claims.clone()).unwrap();

    assert_eq!(
        serde_json::to_value(&decision).unwrap(),
        json!({
            "identity": "default", "friendly_name": "Alice", "role": "agent",
            "conversations": ["team-blue", "team-red"], "attributes": { "dept": "Sales" }, "token_ttl": null,
        })
    );
    let mut stranger = claims;
    stranger["email"] = json!("alice@example.org");
    let denial = decide(contract(), stranger).unwrap_err();
    assert_eq!(denial.to_string(), "allow[0] says no");
    assert_eq!(denial.message.as_deref(), Some("Only verified staff of Example Corp."));
}

#[test]
fn the_first_allow_rule_that_does_not_hold_speaks() {
    let rules = |second: &str| {
        let rule = |rule: &str, message: &str| AllowRule {
            rule: rule.to_owned(),
            message: Some(message.to_owned()),
        };
        Rules {
            allow: vec![rule("true", "one"), rule(second, "two"), rule("claims.no", "three")],
            ..Rules::default()
        }
    };

    for (second, expected) in [
        ("false", Why::Refused),
        ("claims.mail == 'x'", Why::Failed(Failure::Missing(Some("mail".to_owned())))),
        ("claims.n", Why::WrongType { expected: "a bool", got: "int".to_owned() }),
    ] {
        let denial = decide(rules(second), json!({ "n": 1 })).unwrap_err();

        let message = Some("two".to_owned());
        assert_eq!(denial, Denial { rule: "allow[1]".to_owned(), why: expected, message });
    }
}

#[test]
fn an_identity_is_what_the_contract_lets_it_be() {
    let identity = |value: Value| {
        let rules = Rules { identity: Some("claims.id".to_owned()), ..allowing("true") };
        decide(rules, json!({ "id": value })).unwrap().identity.map_err(|denial| {
            assert_eq!((denial.rule.as_str(), denial.message), ("identity", None));
            denial.why
        })
    };
    let wrong = |got: &str| Err(Why::WrongType { expected: "a string", got: got.to_owned() });
    let invalid = |error| Err(Why::InvalidIdentity(error));
    let hex = "0123456789abcdef0123456789abcdef";

    for (value, expected) in [
        (json!("alice"), Ok(Wanted::Is(Identity::parse("alice").unwrap()))),
        (json!("a".repeat(256)), Ok(Wanted::Is(Identity::parse(&"a".repeat(256)).unwrap()))),
        (json!(""), invalid(IdentityError::Empty)),
        (json!(" "), invalid(IdentityError::Character { found: ' ' })),
        (json!("alice "), invalid(IdentityError::Character { found: ' ' })),
        (json!("a\0b"), invalid(IdentityError::Character { found: '\0' })),
        (json!("auth0|1"), invalid(IdentityError::Character { found: '|' })),
        (json!("a".repeat(257)), invalid(IdentityError::TooLong { characters: 257 })),
        (json!(format!("US{hex}")), invalid(IdentityError::LooksLikeSid)),
        (json!("guest-0001"), invalid(IdentityError::GuestNamespace)),
        (json!(null), wrong("null_type")),
        (json!(7), wrong("int")),
        (json!(["alice"]), wrong("list")),
        (json!({}), wrong("map")),
    ] {
        assert_eq!(identity(value.clone()), expected, "{value}");
    }
}

#[test]
fn a_failing_identity_rule_denies_nobody_who_is_bound() {
    let rules = Rules { identity: Some("claims.id".to_owned()), ..allowing("true") };

    let decision = decide(rules, json!({})).unwrap();

    let denial = decision.identity.unwrap_err();
    assert_eq!(denial.to_string(), "identity fails: id is missing");
}

#[test]
fn claims_that_only_the_identity_rule_cannot_be_run_on_deny_nobody_who_is_bound() {
    let by_groups = "'x' in claims.groups ? claims.id : claims.sub";
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let long = "x".repeat(40_000);
    for (identity, role, claims, expected) in [
        (by_groups, None, json!({ "hasgroups": true }), Some(Why::GroupsOverage)),
        ("claims.id", None, json!({ "id": deep }), Some(Why::ClaimsTooLarge)),
        ("claims.id", None, json!({ "id": vec![0; 9000] }), Some(Why::ClaimsTooLarge)),
        // Each is small enough alone, and both together are not.
        (
            "claims.long.substring(0, 3)",
            Some("claims.role.substring(0, 3)"),
            json!({ "long": long, "role": long }),
            None,
        ),
    ] {
        let rules = || Rules {
            identity: Some(identity.to_owned()),
            role: role.map(ToOwned::to_owned),
            ..allowing("true")
        };

        let decision = decide(rules(), claims.clone()).unwrap();

        let denied = decision.identity.clone().err();
        let told = denied.map(|denial| (denial.rule, denial.why));
        assert_eq!(told, expected.map(|why| ("identity".to_owned(), why)), "{identity}");
        let explanation = policy(rules()).explain(&object(claims), NOW);
        assert_eq!(explanation.outcome, Outcome::Allowed(json!(decision)));
        let is_run = |rule: &ExplainedRule| matches!(rule.result, RuleResult::Value(_));
        let identity = explanation.rules.iter().find(|rule| rule.rule == "identity").unwrap();
        assert_eq!(is_run(identity), decision.identity.is_ok(), "{identity:?}");
        assert!(explanation.rules.iter().all(|rule| rule.rule == "identity" || is_run(rule)));
    }
    let rules = Rules { identity: Some(by_groups.to_owned()), ..allowing("'x' in claims.groups") };
    let denial = decide(rules, json!({ "hasgroups": true })).unwrap_err();
    assert_eq!((denial.rule.as_str(), denial.why), ("allow[0]", Why::GroupsOverage));
}

#[test]
fn an_allow_list_is_bounded() {
    let rules = |count| Rules {
        allow: vec![AllowRule { rule: "claims.a".to_owned(), message: None }; count],
        ..Rules::default()
    };

    assert!(Policy::compile(&corp(), rules(32)).is_ok());
    let faults = Policy::compile(&corp(), rules(33)).unwrap_err();
    assert_eq!((faults[0].rule.as_str(), faults[0].problem), ("allow", "has more than 32 rules"));
}

#[test]
fn without_a_rule_the_claim_name_is_the_friendly_name() {
    for (name, expected) in [
        (json!("Alice"), Some("Alice".to_owned())),
        (json!("é".repeat(256)), Some("é".repeat(256))),
        (json!("é".repeat(257)), None),
        (json!(" "), None),
        (json!(7), None),
        (json!(null), None),
    ] {
        let without = decide(allowing("true"), json!({ "name": name })).unwrap();
        assert_eq!(without.friendly_name, expected, "{name}");
    }
    let rules = || Rules { friendly_name: Some("claims.nick".to_owned()), ..allowing("true") };
    let with = |nick: Value| decide(rules(), json!({ "name": "Alice", "nick": nick }));
    assert_eq!(with(json!("Al")).unwrap().friendly_name.as_deref(), Some("Al"));
    assert_eq!(with(json!("A".repeat(257))).unwrap().friendly_name, None);
    assert_eq!(with(json!(7)).unwrap_err().rule, "friendly_name");
}

#[test]
fn a_role_is_a_name() {
    let role = |value: Value| {
        let rules = Rules { role: Some("claims.role".to_owned()), ..allowing("true") };
        decide(rules, json!({ "role": value })).map(|decision| decision.role)
    };

    assert_eq!(role(json!("agent")), Ok(Some("agent".to_owned())));
    for (bad, expected) in [
        (json!(""), Why::OutOfBounds("is blank")),
        (json!(" \t"), Why::OutOfBounds("is blank")),
        (json!("a".repeat(257)), Why::OutOfBounds("is longer than 256 characters")),
        (json!("a\nb"), Why::OutOfBounds("holds a control character")),
        (json!(null), Why::WrongType { expected: "a string", got: "null_type".to_owned() }),
    ] {
        assert_eq!(role(bad.clone()).unwrap_err().why, expected, "{bad}");
    }
}

#[test]
fn conversations_are_names_sorted_none_twice() {
    let conversations = |value: Value| {
        let rules = Rules { conversations: Some("claims.c".to_owned()), ..allowing("true") };
        decide(rules, json!({ "c": value })).map(|decision| decision.conversations)
    };
    let numbered = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();

    assert_eq!(conversations(json!(["b", "a", "b"])).unwrap(), ["a", "b"]);
    assert_eq!(conversations(json!([])).unwrap(), [""; 0]);
    assert_eq!(conversations(json!(numbered(1000))).unwrap().len(), 1000);
    for (bad, expected) in [
        (json!(numbered(1001)), Why::OutOfBounds("has more than 1000 conversations")),
        (json!(["a", ""]), Why::OutOfBounds("is blank")),
        (json!(["a", 1]), Why::WrongType { expected: "a string", got: "int".to_owned() }),
        (json!("a"), Why::WrongType { expected: "a list of strings", got: "string".to_owned() }),
    ] {
        assert_eq!(conversations(bad).unwrap_err().why, expected);
    }
}

#[test]
fn attributes_are_a_small_object() {
    let attributes = |rule: &str, value: Value| {
        let rules = Rules { attributes: Some(rule.to_owned()), ..allowing("true") };
        decide(rules, json!({ "a": value })).map(|decision| decision.attributes.unwrap())
    };
    let bad = |rule: &str, value: Value| attributes(rule, value).unwrap_err().why;

    assert_eq!(
        Value::Object(attributes("{'x': claims.a, 'at': now}", json!([1, { "y": null }])).unwrap()),
        json!({ "x": [1, { "y": null }], "at": "2026-11-24T12:00:00Z" })
    );
    // {"x":"…"} is 8 characters around the text.
    assert!(attributes("{'x': claims.a}", json!("a".repeat(4087))).is_ok());
    let large = Why::OutOfBounds("has 4 KB of JSON or more");
    assert_eq!(bad("{'x': claims.a}", json!("a".repeat(4088))), large);
    assert_eq!(bad("{'x': claims.a}", json!("\0".repeat(700))), large);
    let formless = Why::OutOfBounds("JSON has no form for");
    assert_eq!(bad("{1: claims.a}", json!(1)), formless);
    assert_eq!(bad("{'x': claims.a / 0.0}", json!(0.5)), formless);
    assert_eq!(bad("{'x': [claims.?a]}", json!(1)), formless);
    assert!(matches!(bad("claims.a", json!([])), Why::WrongType { .. }));
}

#[test]
fn a_token_lives_a_minute_at_least() {
    let ttl = |value: &str| {
        let rules =
            Rules { token_ttl: Some("duration(claims.ttl)".to_owned()), ..allowing("true") };
        decide(rules, json!({ "ttl": value })).map(|decision| decision.token_ttl)
    };

    assert_eq!(ttl("60s"), Ok(Some(Duration::from_mins(1))));
    assert_eq!(ttl("2562047h"), Ok(Some(Duration::from_hours(2_562_047))));
    for bad in ["59.999s", "0s", "-1h"] {
        assert_eq!(
            ttl(bad).unwrap_err().why,
            Why::OutOfBounds("is shorter than a minute"),
            "{bad}"
        );
    }
    let rules = Rules { token_ttl: Some("claims.ttl".to_owned()), ..allowing("true") };
    assert!(matches!(why(rules, json!({ "ttl": 3600 })), Why::WrongType { .. }));
}

/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>: `hasgroups` in the implicit flow, else
/// `_claim_names` with `_claim_sources`.
#[test]
fn groups_that_were_left_out_are_never_no_groups() {
    let readers = [
        "'staff' in claims.groups",
        "!has(claims.groups)",
        "claims.?groups.orValue([]) == []",
        "!('groups' in claims)",
        "size(claims) > 0",
    ];
    let sources = json!({ "src1": { "endpoint": "https://graph.microsoft.com/v1.0/users/1/getMemberObjects" } });
    let left_out = [
        json!({ "_claim_names": { "groups": "src1" }, "_claim_sources": sources }),
        json!({ "_claim_names": { "groups": "src1" }, "groups": null }),
        json!({ "_claim_names": { "groups": "src1" }, "groups": [] }),
        json!({ "hasgroups": true }),
        json!({ "hasgroups": "true" }),
    ];

    for rule in readers {
        for claims in &left_out {
            let rules = Rules {
                allow: vec![
                    AllowRule { rule: "true".to_owned(), message: None },
                    AllowRule { rule: rule.to_owned(), message: None },
                ],
                ..Rules::default()
            };
            let denial = decide(rules, claims.clone()).unwrap_err();
            assert_eq!(
                (denial.rule.as_str(), &denial.why),
                ("allow[1]", &Why::GroupsOverage),
                "{rule} {claims}"
            );
            assert!(denial.to_string().contains("assigned to the application"), "{denial}");
        }
    }
    for claims in [
        json!({ "_claim_names": { "groups": "src1" }, "groups": ["staff"] }),
        json!({ "hasgroups": false, "groups": ["staff"] }),
        json!({ "_claim_names": { "address": "src1" }, "groups": ["staff"] }),
    ] {
        assert!(decide(allowing("'staff' in claims.groups"), claims.clone()).is_ok(), "{claims}");
    }
    assert!(decide(allowing("claims.ok"), json!({ "ok": true, "hasgroups": true })).is_ok());
}

#[test]
fn an_explanation_shows_every_rule_and_the_decision() {
    let rules = Rules { identity: Some("claims.id".to_owned()), ..contract() };
    let claims = object(json!({
        "email": "alice@example.org", "email_verified": "true", "groups": ["support"], "department": 7, "id": "a b",
    }));

    let explanation = policy(rules).explain(&claims, NOW);

    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(
        json,
        json!({
            "now": "2026-11-24T12:00:00Z",
            "rules": [
                { "rule": "allow[0]", "expression": contract().allow[0].rule, "value": false },
                { "rule": "identity", "expression": "claims.id", "value": "a b" },
                { "rule": "friendly_name", "expression": "claims.name", "error": "name is missing" },
                { "rule": "role", "expression": contract().role, "value": "agent" },
                { "rule": "conversations", "expression": contract().conversations, "value": [] },
                { "rule": "attributes", "expression": contract().attributes, "value": { "dept": 7 } },
            ],
            "outcome": { "denied": { "rule": "allow[0]", "why": "says no", "message": "Only verified staff of Example Corp." } },
        })
    );
    assert_eq!(serde_json::from_value::<super::super::Explanation>(json).unwrap(), explanation);
    let allowed = policy(allowing("true")).explain(&claims, NOW).outcome;
    let Outcome::Allowed(decision) = allowed else { panic!("{allowed:?}") };
    assert_eq!(decision["identity"], "default");
}

#[test]
fn a_denials_text_holds_no_claim() {
    let canary = "c4n4ry";
    for rule in [
        "claims[claims.x] == 1",
        "claims.map[claims.x] == 1",
        "domain(claims.x) == 'a'",
        "timestamp(claims.x) < now",
        "duration(claims.x) < duration('1s')",
        "now.getHours(claims.x) == 1",
        "int(claims.x) == 1",
        "bool(claims.x)",
        "uuid5(claims.x, 'a') == 'b'",
        "claims.x + 1 == 2",
        "claims.x < 1",
        "claims.list[claims.x]",
        "claims.x",
        "{claims.x: 1, claims.x: 2} == {}",
        "claims.x.exists(x, x)",
        "claims.x.y",
        "claims.x ? true : true",
        "1 in claims.x",
    ] {
        let claims = object(json!({ "x": canary, "list": [canary], "map": { "a": 1 } }));

        let denial = policy(allowing(rule)).decide(&claims, NOW).unwrap_err();

        assert!(!format!("{denial} {denial:?}").contains(canary), "{rule}: {denial:?}");
    }
    for identity in [format!("{canary}|"), format!("guest-{canary}"), canary.repeat(50)] {
        let rules = Rules { identity: Some("claims.x".to_owned()), ..allowing("true") };
        let denial = decide(rules, json!({ "x": identity })).unwrap().identity.unwrap_err();
        assert!(!denial.to_string().contains(canary), "{denial}");
        assert!(!denial.to_string().contains('|'), "{denial}");
    }
}

#[test]
fn only_what_rules_read_is_relevant() {
    let claims = object(json!({
        "a": 1, "b": 2, "c": 3, "name": "x", "groups": [], "hasgroups": true, "_claim_names": {}, "email_verified": true,
    }));
    let relevant =
        |rules: Rules| policy(rules).relevant(&claims).keys().cloned().collect::<Vec<_>>();
    let named =
        |rule: &str| Rules { friendly_name: Some("'x' + claims.a".to_owned()), ..allowing(rule) };

    assert_eq!(relevant(allowing("claims.a == 1")), ["a", "name"]);
    assert_eq!(relevant(named("claims['b'] == 1 && has(claims.c.d)")), ["a", "b", "c"]);
    assert_eq!(relevant(named("claims.?b.orValue(1) == 1 || 'c' in claims")), ["a", "b", "c"]);
    assert_eq!(
        relevant(named("'x' in claims.groups && claims.email_verified")),
        ["_claim_names", "a", "email_verified", "groups", "hasgroups"]
    );
    assert_eq!(relevant(named("claims.all(k, k != 'x')")).len(), claims.len());
    assert_eq!(relevant(named("claims[string(claims.a)] == 1")).len(), claims.len());
}

#[test]
fn a_policy_knows_whether_it_reads_the_time() {
    assert!(policy(allowing("now > timestamp(claims.iat)")).reads_now());
    let rules = Rules { attributes: Some("{'at': now}".to_owned()), ..allowing("true") };
    assert!(policy(rules).reads_now());
    assert!(!policy(allowing("claims.now == 'now'")).reads_now());
}

#[test]
fn a_fingerprint_changes_with_what_can_change_a_decision() {
    let other_provider = crate::ids::ProviderName::parse("other").unwrap();
    let base = || Rules { role: Some("'a'".to_owned()), ..contract() };
    let fingerprint = |rules: Rules| policy(rules).fingerprint().to_string();
    let mut different = vec![
        fingerprint(base()),
        Policy::compile(&other_provider, base()).unwrap().fingerprint().to_string(),
        fingerprint(Rules { role: None, ..base() }),
        fingerprint(Rules { role: None, friendly_name: Some("'a'".to_owned()), ..base() }),
        fingerprint(Rules { role: Some("'b'".to_owned()), ..base() }),
        fingerprint(Rules { string_email_verified: true, ..base() }),
        fingerprint(Rules { token_ttl: Some("duration('1h')".to_owned()), ..base() }),
        fingerprint(Rules { allow: [base().allow, base().allow].concat(), ..base() }),
    ];
    let mut reworded = base();
    reworded.allow[0].message = None;

    assert_eq!(fingerprint(reworded), different[0]);
    assert_eq!(fingerprint(base()), different[0]);
    let count = different.len();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), count);
}

#[test]
fn a_clock_beyond_cels_range_panics_nothing() {
    let policy =
        policy(allowing("now.getFullYear() == 9999 && string(now).startsWith('9999-12-31T')"));

    for millis in [253_402_300_800_000, 8_210_298_412_800_000, u64::MAX] {
        assert!(policy.decide(&object(json!({})), Timestamp::from_millis(millis)).is_ok());
    }
    assert!(policy.decide(&object(json!({})), Timestamp::from_millis(0)).is_err());
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn rules_that_cannot_be_meant_are_faults() {
    let rule = |rule: &str, message: Option<&str>| AllowRule {
        rule: rule.to_owned(),
        message: message.map(str::to_owned),
    };
    let some = |text: &str| Some(text.to_owned());
    for (rules, key, problem) in [
        (Rules::default(), "allow", "is empty"),
        (allowing("claims.email"), "allow[0].rule", "yields the wrong type"),
        (allowing("'true'"), "allow[0].rule", "yields the wrong type"),
        (allowing("1 / 0 == 1"), "allow[0].rule", "can never hold"),
        (allowing(&format!("'{}' == ''", "x".repeat(2048))), "allow[0].rule", "is longer than"),
        (
            Rules { allow: vec![rule("true", Some(" "))], ..Rules::default() },
            "allow[0].message",
            "is blank or",
        ),
        (
            Rules {
                allow: vec![rule("true", None), rule("true", Some("a\u{7}"))],
                ..Rules::default()
            },
            "allow[1].message",
            "is blank or",
        ),
        (
            Rules { identity: some("claims.exp"), ..allowing("true") },
            "identity",
            "yields the wrong type",
        ),
        (Rules { identity: some("'alice'"), ..allowing("true") }, "identity", "reads no claim"),
        (
            Rules { identity: some("provider + '-' + string(now)"), ..allowing("true") },
            "identity",
            "reads no claim",
        ),
        (
            Rules { role: some("claims.groups"), ..allowing("true") },
            "role",
            "yields the wrong type",
        ),
        (Rules { role: some("''"), ..allowing("true") }, "role", "can never hold"),
        (
            Rules { conversations: some("claims.email"), ..allowing("true") },
            "conversations",
            "yields the wrong type",
        ),
        (
            Rules { attributes: some("[claims.email]"), ..allowing("true") },
            "attributes",
            "yields the wrong type",
        ),
        (
            Rules { token_ttl: some("'1h'"), ..allowing("true") },
            "token_ttl",
            "yields the wrong type",
        ),
        (
            Rules { token_ttl: some("duration('1s')"), ..allowing("true") },
            "token_ttl",
            "can never hold",
        ),
    ] {
        let faults = Policy::compile(&corp(), rules.clone()).err().unwrap_or_default();
        let found =
            faults.iter().any(|fault| fault.rule == key && fault.problem.starts_with(problem));
        assert!(found, "{rules:?}: {faults:?}");
    }
    // What is missing in the sample may be there in the tokens.
    assert!(Policy::compile(&corp(), allowing("claims.clearance > 3")).is_ok());
    assert!(Policy::compile(&corp(), allowing("false")).is_ok());
}
