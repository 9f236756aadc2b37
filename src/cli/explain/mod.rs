//! `vestibule explain`: what a policy makes of claims, why somebody was not let in, who an identity is.

mod claims;
mod denial;
mod identity;

use std::io::{self, Write as _};

use super::access::Access;
use super::terminal::{Sheet, escaped, print_json, shown};
use super::{Exit, Explain, Trouble, answer, complain, files, list};
use crate::config::Config;
use crate::ids::{Identity, Reference};
use crate::mint::Decided;
use crate::policy::{Explanation, RuleResult};

/// What everybody is told who sees a role, conversations or attributes.
const NOT_WRITTEN: &str = "Role, conversations and attributes are decided and shown only: writing them to Twilio comes with a later version.";

pub(super) fn run(arguments: &Explain) -> Exit {
    let file = arguments.file.config.as_deref();
    if let Some(provider) = &arguments.provider {
        return match files::review(file) {
            Ok(review) => {
                let path = std::path::Path::new(&arguments.what);
                claims::explain(&review.providers, provider, path, arguments.json)
                    .unwrap_or_else(|Trouble { exit, text }| complain(&text, exit))
            }
            Err(faults) => list(&faults, io::stderr()),
        };
    }
    let what = arguments.what.to_str().unwrap_or_default();
    let asked = Asked { reference: Reference::parse(what), identity: Identity::parse(what).ok() };
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
            denial::sheet(&record).print();
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

/// Each rule with its value or error.
fn rules(sheet: &mut Sheet, explanation: &Explanation) {
    sheet.rows(explanation.rules.iter().map(|rule| {
        let result = match &rule.result {
            RuleResult::Value(value) => format!("→ {}", shown(value)),
            // Why none is run is said once, where the decision is.
            RuleResult::Error(error) if error.starts_with("not run: ") => "→ not run".to_owned(),
            RuleResult::Error(error) => format!("→ error: {}", super::terminal::shortened(error)),
        };
        (rule.rule.as_str(), format!("{}\n{result}", rule.expression.trim()))
    }));
}

/// Why, in a sentence: what a rule says begins with its name.
fn said(rule: &str, why: &str, explanation: &Explanation) -> String {
    if explanation.rules.iter().any(|explained| explained.rule == rule) {
        format!("{rule} {why}")
    } else {
        why.to_owned()
    }
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
