//! `vestibule explain`: what a policy makes of claims, why somebody was not let in, who an identity is.

mod claims;
mod denial;
mod identity;

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, Value};

use super::access::Access;
use super::terminal::{Sheet, escaped, print_json, shown};
use super::{Exit, Explain, Trouble, answer, complain, files, list};
use crate::config::Config;
use crate::ids::{Identity, Reference};
use crate::mint::Decided;
use crate::policy::{Explanation, RuleResult};

/// How standard input is named.
const STANDARD_INPUT: &str = "-";

/// What everybody is told who sees a role, conversations or attributes.
const NOT_WRITTEN: &str = "Role, conversations and attributes are decided and shown only: writing them to Twilio comes with a later version.";

pub(super) fn run(arguments: &Explain) -> Exit {
    let file = arguments.file.config.as_deref();
    if let Some(provider) = &arguments.provider {
        return match files::review(file) {
            Ok(review) => {
                let path = Path::new(&arguments.what);
                claims::explain(&review.providers, provider, path, arguments.json)
                    .unwrap_or_else(|Trouble { exit, text }| complain(&text, exit))
            }
            Err(faults) => list(&faults, io::stderr()),
        };
    }
    let what = arguments.what.to_str().unwrap_or_default();
    let asked = Asked { reference: Reference::parse(what), identity: Identity::parse(what).ok() };
    if let Some(text) = claims_without_a_provider(&arguments.what) {
        return complain(&text, Exit::Usage);
    }
    if asked.reference.is_none() && asked.identity.is_none() {
        let text = format!(
            "{} is neither a denial's reference, like 7K3M9-QX2TB, nor an identity; a file of claims needs --provider",
            escaped(&arguments.what.to_string_lossy())
        );
        return complain(&text, Exit::Usage);
    }
    match files::load(file) {
        Ok(config) => answer(look_up(what, asked, arguments.json, config)),
        Err(faults) => list(&faults, io::stderr()),
    }
}

/// What is said when claims are named and not whose policy is to look at them.
fn claims_without_a_provider(what: &OsStr) -> Option<String> {
    if what == STANDARD_INPUT {
        return Some("Claims on standard input: say whose policy, with --provider".to_owned());
    }
    let name = escaped(&what.to_string_lossy());
    Path::new(what).is_file().then(|| {
        format!(
            "{name} is a file: say whose policy, with --provider; if you mean the identity, ask in another folder"
        )
    })
}

/// What ten symbols can be: a denial's reference, an identity, or both.
struct Asked {
    reference: Option<Reference>,
    identity: Option<Identity>,
}

/// Looks it up; what is on record as a denial is one.
async fn look_up(what: &str, asked: Asked, json: bool, config: Config) -> Result<Exit, Trouble> {
    let Asked { reference, identity } = asked;
    let access = Access::open(&config).await?;
    if let Some(reference) = reference
        && let Some(record) = access.denial(&reference).await?
    {
        if json {
            print_json(&record);
        } else {
            denial::sheet(&record, &config.providers).print();
        }
        return Ok(Exit::Done);
    }
    if let Some(identity) = identity
        && let Some(known) = access.identity(&identity).await?
    {
        if reference.is_some() {
            note(&format!("{what} is no denial's reference, and was taken as an identity"));
        }
        if json {
            print_json(&known);
        } else {
            identity::sheet(&known).print();
        }
        return Ok(Exit::Done);
    }
    Ok(complain(&not_found(what, reference.as_ref(), &config), Exit::No))
}

fn not_found(what: &str, reference: Option<&Reference>, config: &Config) -> String {
    match reference {
        Some(reference) => format!(
            "no denial has the reference {reference}, nor does anybody have the identity {what}: is it spelled right? Denials are \
             kept for {} (denials.keep); what the reference of a sign-in that did not work stands for is in the service's log",
            super::terminal::spelled(config.denials.keep)
        ),
        None => format!(
            "nobody has the identity {what}: is it spelled right? Identities are case-sensitive"
        ),
    }
}

/// Says on standard error what is worth knowing beside the answer.
fn note(what: &str) {
    let _nobody_reads = writeln!(io::stderr().lock(), "vestibule: {what}");
}

/// Those of the claims that can make a difference.
fn claims_read(sheet: &mut Sheet, claims: &Map<String, Value>) {
    sheet.title("Claims that rules read");
    if claims.is_empty() {
        sheet.words("none");
    }
    sheet.rows(claims.iter().map(|(name, value)| (name.as_str(), shown(value))));
}

/// Each rule with its value or error over `claims`.
fn rules(sheet: &mut Sheet, explanation: &Explanation, claims: &Map<String, Value>) {
    sheet.rows(explanation.rules.iter().map(|rule| {
        let result = match &rule.result {
            RuleResult::Value(value) => format!("→ {}", shown(value)),
            // Why none is run is said once, where the decision is.
            RuleResult::Error(error) if error.starts_with("not run: ") => "→ not run".to_owned(),
            RuleResult::Error(error) => {
                format!("→ error: {}{}", super::terminal::shortened(error), instead(error, claims))
            }
        };
        (rule.rule.as_str(), format!("{}\n{result}", rule.expression.trim()))
    }));
}

/// Why, in a sentence: what a rule says begins with its name.
fn said(rule: &str, why: &str, explanation: &Explanation, claims: &Map<String, Value>) -> String {
    if explanation.rules.iter().any(|explained| explained.rule == rule) {
        format!("{rule} {why}{}", instead(why, claims))
    } else {
        why.to_owned()
    }
}

/// What is there when an error says that a claim is missing, and one has nearly its name: misspelled, or behind a prefix as some
/// providers have them (`cognito:groups`, `https://example.com/groups`).
fn instead(error: &str, claims: &Map<String, Value>) -> String {
    let missing = error.strip_suffix(" is missing").map(|error| {
        let name = error.strip_prefix("fails: ").unwrap_or(error);
        (name, name.to_lowercase(), name.chars().count() / 3)
    });
    let Some((missing, lower, far)) = missing else { return String::new() };
    let distance = |name: &str| {
        if name.strip_suffix(missing).is_some_and(|prefix| prefix.ends_with([':', '/'])) {
            return 0;
        }
        strsim::osa_distance(&lower, &name.to_lowercase())
    };
    let near = claims.keys().filter(|name| *name != missing).map(|name| (distance(name), name));
    let nearest = near.filter(|(distance, _)| *distance <= far).min();
    nearest.map(|(_, name)| format!("; there is {name}")).unwrap_or_default()
}

/// What comes with an identity.
fn profile(decided: &Decided) -> Vec<(&'static str, String)> {
    let none = || "none".to_owned();
    let text = |value: &Option<String>| value.clone().unwrap_or_else(none);
    let conversations = match decided.conversations.as_slice() {
        [] => none(),
        names => names.join("\n"),
    };
    let attributes = decided.attributes.clone().map_or_else(none, |map| shown(&map.into()));
    vec![
        ("friendly name", text(&decided.friendly_name)),
        ("role", text(&decided.role)),
        ("conversations", conversations),
        ("attributes", attributes),
    ]
}

/// Whether something is decided that is not written to Twilio.
fn is_not_written(decided: &Decided) -> bool {
    decided.role.is_some() || !decided.conversations.is_empty() || decided.attributes.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_that_is_missing_may_be_there_under_another_name() {
        let names = ["email_verified", "cognito:groups", "https://id.example.com/roles", "sub"];
        let claims = names.map(|name| (name.to_owned(), json!(true))).into_iter().collect();

        for (error, expected) in [
            ("email_verfied is missing", "; there is email_verified"),
            ("fails: Email_Verified is missing", "; there is email_verified"),
            ("fails: groups is missing", "; there is cognito:groups"),
            ("roles is missing", "; there is https://id.example.com/roles"),
            ("sub is missing", ""),
            ("department is missing", ""),
            ("a key that the rule computes is missing", ""),
            ("+ takes no (string, int)", ""),
        ] {
            assert_eq!(instead(error, &claims), expected, "{error}");
        }
    }
}
