//! `[provider.policy]`: who may come in, as whom, with what.

use std::sync::Arc;

use super::forms;
use super::reader::{Form, Section};
use crate::ids::ProviderName;
use crate::policy::{Acknowledged, AllowRule, Lint, Policy, Rules, lint_together};

/// - `allow`: one expression, or a list of `{ rule, message }` that must all hold; the first that does not gives its message to the
///   person. Compulsory, so that nobody lets everybody in by forgetting it.
/// - `identity`: an expression that yields a string, or `"default"`, the default, which any backend can compute. Changed later, it
///   changes nobody who has an identity already.
/// - `friendly_name`: a string. Default the claim `name`.
/// - `role`: a string. `conversations`: a list of strings. `attributes`: a map. Default none.
/// - `token_ttl`: a duration of a minute or more, by which a token's life can be made shorter than `twilio.token_ttl`, never longer.
/// - `acknowledge`: a list of `{ lint, reason }`: what the operator knows to be no harm here, and is not warned about.
pub(super) fn read(
    policy: &mut Section<'_, '_>,
    provider: Option<&ProviderName>,
    string_email_verified: bool,
) -> Option<Arc<Policy>> {
    let is_one = !policy.is_list("allow");
    let allow = if is_one {
        let rule = policy.required("allow", &ALLOW);
        rule.map(|rule| vec![AllowRule { rule, message: None }])
    } else {
        let mend = "Write { rule = \"…\" }; a message for the person may stand beside it.";
        policy.each_as("allow", mend, |one| {
            let rule = one.required("rule", &ALLOW);
            let message = one.optional("message", &MESSAGE, None);
            Some(AllowRule { rule: rule?, message: message? })
        })
    };
    let mut expression = |key| policy.optional(key, &RULE, None);
    let (identity, friendly_name, role) =
        (expression("identity"), expression("friendly_name"), expression("role"));
    let (conversations, attributes, token_ttl) =
        (expression("conversations"), expression("attributes"), expression("token_ttl"));
    let acknowledge = policy.each("acknowledge", |one| {
        let lint = one.required("lint", &forms::TEXT);
        let reason = one.required("reason", &forms::TEXT);
        Some(Acknowledged { lint: lint?, reason: reason? })
    });
    let rules = Rules {
        allow: allow?,
        identity: identity?.filter(|rule| rule != "default"),
        friendly_name: friendly_name?,
        role: role?,
        conversations: conversations?,
        attributes: attributes?,
        token_ttl: token_ttl?,
        string_email_verified,
        acknowledge: acknowledge?,
    };
    // A provider without a good name is refused anyway; what is wrong with its rules is told all the same.
    let nameless = ProviderName::parse("nameless");
    match Policy::compile(provider.or(nameless.as_ref())?, rules) {
        Ok(policy) => Some(Arc::new(policy)),
        Err(faults) => {
            for fault in faults {
                let key =
                    if is_one { fault.rule.replace("allow[0].rule", "allow") } else { fault.rule };
                // The one value that faults show: what is plainly a rule is no secret.
                let mut mend = fault.mend;
                for line in fault.excerpt.iter().flat_map(|excerpt| excerpt.lines()) {
                    mend += "\n      ";
                    mend += line;
                }
                policy.fault::<()>(&key, fault.problem, &mend);
            }
            None
        }
    }
}

/// Says what is dangerous in the providers' policies, by themselves and together, and what this version does not do with what they
/// decide. Each policy comes with its provider's issuer.
pub(super) fn warn(root: &mut Section<'_, '_>, policies: &[(&Policy, &str)]) {
    for (place, (policy, issuer)) in policies.iter().enumerate() {
        let at = |rule: &str| format!("provider[{place}].policy.{rule}");
        policy.lints().iter().for_each(|lint| warn_of(root, &at(&lint.rule), lint));
        let mut meets = false;
        for (other_place, other) in policies.iter().enumerate().filter(|(other, _)| *other != place)
        {
            let pair = if other_place < place {
                [*other, (*policy, *issuer)]
            } else {
                [(*policy, *issuer), *other]
            };
            for lint in lint_together(&pair) {
                meets = true;
                if other_place < place {
                    warn_of(root, &at(&lint.rule), &lint);
                }
            }
        }
        if policy.acknowledges_meeting() && !meets {
            root.fault::<()>(
                &at("acknowledge"),
                "acknowledges meeting_identities, which finds nothing here",
                "Remove it, so that it cannot hide what comes later.",
            );
        }
        for rule in policy.rules_for_nobody() {
            root.warn(&at(rule), "is false for everybody: it lets in nobody.");
        }
        let rules = policy.rules_for_twilio().collect::<Vec<_>>().join(", ");
        if !rules.is_empty() {
            let told = format!("decides {rules}: kept and shown, but not yet written to Twilio.");
            root.warn(&format!("provider[{place}].policy"), &told);
        }
    }
}

fn warn_of(root: &mut Section<'_, '_>, place: &str, lint: &Lint) {
    if lint.acknowledged.is_none() {
        let Lint { name, why, mend, .. } = lint;
        root.warn(
            &format!("{name}  {place}"),
            &format!("{why}. {mend} If it is no harm here, acknowledge {name} with a reason."),
        );
    }
}

const ALLOW: Form<String> = Form {
    read: |text| Ok(text.to_owned()),
    mend: "Say who may come in, as in \"claims.email_verified\"; \"true\" lets in everybody whom the provider signs in.",
};

const RULE: Form<Option<String>> = Form {
    read: |text| Ok(Some(text.to_owned())),
    mend: "Write an expression in quotes, as in \"claims.name\".",
};

const MESSAGE: Form<Option<String>> = Form {
    read: |text| Ok(Some(text.to_owned())),
    mend: "Write one line for the person to read, or leave it out.",
};

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::policy::Policy;

    const BEFORE: &str = r#"
        [server]
        public_url = "https://chat.example.com"
        [store]
        url = "redis://127.0.0.1"
        [[seal.keys]]
        id = "test"
        key = "dGhpcnR5LXR3byBieXRlcywgb25lIGZvciBhbGwuLi4="
        [twilio]
        account_sid = "AC00000000000000000000000000000000"
        api_key_sid = "SK00000000000000000000000000000000"
        api_key_secret = "sixteen--letters"
        conversations_service_sid = "IS00000000000000000000000000000000"
    "#;

    fn provider(name: &str, policy: &str) -> String {
        format!(
            r#"
            [[provider]]
            name = "{name}"
            issuer = "https://{name}.example.com"
            client_id = "v"
            client_auth = "none"
            [provider.policy]
            {policy}
            "#
        )
    }

    fn parse(policies: &[&str], environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let providers = policies.iter().zip(["corp", "partner"]);
        let providers = providers.map(|(policy, name)| provider(name, policy)).collect::<String>();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(&format!("{BEFORE}{providers}"), environment, &|_| unreachable!())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    fn rules(config: &Config) -> Vec<String> {
        let rules = |policy: &Policy| {
            policy.texts().map(|(name, text)| format!("{name}: {text}")).collect::<Vec<_>>()
        };
        config.providers.iter().flat_map(|provider| rules(&provider.policy)).collect()
    }

    #[test]
    fn allow_is_one_expression_or_a_list() {
        let one = parse(&["allow = \"claims.email_verified\""], &[]).unwrap();
        assert_eq!(rules(&one), ["allow[0]: claims.email_verified"]);

        let two = "allow = [{ rule = \"claims.a\", message = \"No.\" }, { rule = \"claims.b\" }]\nidentity = \"default\"\nrole = \"claims.r\"";
        let two = parse(&[two], &[]).unwrap();
        assert_eq!(rules(&two), ["allow[0]: claims.a", "allow[1]: claims.b", "role: claims.r"]);

        let environment = [("VESTIBULE__PROVIDER__0__POLICY__ALLOW", "claims.c")];
        let replaced = parse(&["allow = [{ rule = \"claims.a\" }]"], &environment).unwrap();
        assert_eq!(rules(&replaced), ["allow[0]: claims.c"]);

        let environment = [("VESTIBULE__PROVIDER__0__POLICY__ALLOW__0__RULE", "claims.d")];
        assert_eq!(rules(&parse(&[""], &environment).unwrap()), ["allow[0]: claims.d"]);
    }

    #[test]
    fn every_fault_names_its_key_and_shows_a_rule_at_most() {
        let faults = parse(&["allow = \"hunter2 = claims.secret\"\nidentity = \"hunter2\"\nrole = \"claims.exp\"\ntoken_ttl = \"duration('1s')\""], &[]).unwrap_err();
        assert_eq!(
            faults,
            [
                "provider[0].policy.allow is not an expression. At character 9: Write == to compare.\n      hunter2 = claims.secret\n              ^",
                "provider[0].policy.identity uses a variable that there is not. At character 1: There are claims, provider and now; text stands in quotes, a claim is claims.name.",
                "provider[0].policy.role yields the wrong type. It must be a string; over ordinary claims it is of type int.",
                "provider[0].policy.token_ttl can never hold. It reads no claim, and always yields a value that is shorter than a minute.",
            ]
        );
        for (policy, expected) in [
            ("", "provider[0].policy.allow is missing."),
            ("allow = []", "provider[0].policy.allow is empty."),
            ("allow = true", "provider[0].policy.allow is not a string."),
            ("allow = \"\"", "provider[0].policy.allow is empty."),
            (
                "allow = [\"hunter2\"]",
                "provider[0].policy.allow[0] is not a table. Write { rule = \"…\" }; a message for the person may stand beside it.",
            ),
            (
                "allow = [{ rule = \"true\" }, { message = \"x\" }]",
                "provider[0].policy.allow[1].rule is missing.",
            ),
            (
                "allow = [{ rule = \"true\" }, { rule = \"x\" }]",
                "provider[0].policy.allow[1].rule uses a variable",
            ),
            (
                "allow = [{ rule = \"true\", mesage = \"x\" }]",
                "provider[0].policy.allow[0].mesage is not a key of this version. Did you mean message?",
            ),
            (
                "allow = [{ rule = \"true\", message = \"\" }]",
                "provider[0].policy.allow[0].message is blank",
            ),
            ("allow = \"true\"\nrole = 7", "provider[0].policy.role is not a string."),
            (
                "allow = \"true\"\nacknowledge = [{ lint = \"x\", reason = \"y\" }]",
                "provider[0].policy.acknowledge[0].lint is not a lint",
            ),
            (
                "allow = \"true\"\nacknowledge = [{ lint = \"guest_namespace\" }]",
                "provider[0].policy.acknowledge[0].reason is missing.",
            ),
            (
                "allow = \"true\"\nacknowledge = [{ lint = \"meeting_identities\", reason = \"x\" }]",
                "provider[0].policy.acknowledge acknowledges meeting_identities",
            ),
        ] {
            let faults = parse(&[policy], &[]).err().unwrap_or_default();
            assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{policy}: {faults:?}");
        }
        let environment = [("VESTIBULE__PROVIDER__0__POLICY__ALLOW__0__RULE", "claim.d")];
        let faults = parse(&[""], &environment).unwrap_err();
        assert!(faults[0].starts_with("provider[0].policy.allow[0].rule (VESTIBULE__PROVIDER__0__POLICY__ALLOW__0__RULE) uses"), "{faults:?}");
    }

    #[test]
    fn a_lint_is_a_warning_until_it_is_acknowledged() {
        let by_id = "allow = \"true\"\nidentity = \"claims.id\"";
        let acknowledged = format!(
            "{by_id}\nacknowledge = [{{ lint = \"guest_namespace\", reason = \"Ids are numbers.\" }}, {{ lint = \"meeting_identities\", reason = \"One directory.\" }}]"
        );
        let warnings = |policies: &[&str]| parse(policies, &[]).unwrap().warnings;

        let alone = warnings(&[by_id]);
        assert_eq!(alone.len(), 1, "{alone:?}");
        assert!(
            alone[0].starts_with(
                "guest_namespace  provider[0].policy.identity could begin with guest-"
            ),
            "{alone:?}"
        );
        assert!(
            alone[0].ends_with("If it is no harm here, acknowledge guest_namespace with a reason."),
            "{alone:?}"
        );
        let together = warnings(&["allow = \"true\"", by_id]);
        assert_eq!(together.len(), 2, "{together:?}");
        assert!(
            together[1].starts_with(
                "meeting_identities  provider[1].policy.identity could yield an identity for somebody at partner"
            ),
            "{together:?}"
        );
        assert_eq!(warnings(&["allow = \"true\"", &acknowledged]), [""; 0]);
        assert_eq!(warnings(&[&acknowledged, "allow = \"true\""]), [""; 0]);
    }

    #[test]
    fn what_is_not_written_to_twilio_yet_is_said() {
        let policy = "allow = \"true\"\nrole = \"claims.r\"\nattributes = \"{'a': claims.a}\"\nfriendly_name = \"claims.n\"";

        let warnings = parse(&[policy], &[]).unwrap().warnings;

        assert_eq!(
            warnings,
            [
                "provider[0].policy decides role, attributes: kept and shown, but not yet written to Twilio."
            ]
        );
    }

    #[test]
    fn a_rule_that_lets_in_nobody_is_said_to() {
        let warnings = |policy: &str| parse(&[policy], &[]).unwrap().warnings;

        let one = warnings("allow = [{ rule = \"claims.a\" }, { rule = \"1 == 2\" }]");
        assert_eq!(one, ["provider[0].policy.allow[1] is false for everybody: it lets in nobody."]);
        assert_eq!(warnings("allow = \"true\""), [""; 0]);
        assert_eq!(warnings("allow = \"claims.a\""), [""; 0]);
    }

    #[test]
    fn a_double_quote_in_a_rule_is_one_fault_that_says_so() {
        let faults = |policy: &str| parse(&[policy], &[]).unwrap_err();
        let hint = "CEL's text stands in single quotes, '…', inside TOML's double ones.";

        for policy in [
            "allow = \"claims.a == \"x\"\"",
            "allow = [\n{ rule = \"claims.a == \"x\" && \"y\" in claims.b\" },\n]",
        ] {
            let told = faults(policy);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].ends_with(hint), "{told:?}");
        }
        let elsewhere = faults("allow = \"true\"\n[session]\nidle = \"a\"b\"");
        assert!(!elsewhere[0].contains(hint), "{elsewhere:?}");
    }
}
