//! What a provider's policy makes of claims in a file: no store, no network.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use chrono::Utc;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::terminal::{Sheet, escaped, print_json, spelled};
use super::super::{Exit, Trouble, provider_named};
use super::{NOT_WRITTEN, is_not_written, profile, rules, said};
use crate::clock::Timestamp;
use crate::identity::default_identity;
use crate::ids::Subject;
use crate::login;
use crate::mint::{Decided, DenialCode, NoSubject, subject_of};
use crate::oidc::token_issuers;
use crate::ops::Whom;
use crate::policy::{Decision, Denial, Explanation, Wanted};

/// The largest file of claims, in bytes: what a token and userinfo may bring together.
const LARGEST: u64 = 64 * 1024;

/// What comes out, for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    provider: &'a str,
    /// `None` when the claims name nobody.
    subject: Option<Whom>,
    /// What it would be bound to if it has none yet.
    identity: Option<String>,
    allowed: bool,
    denied: Option<Denied>,
    explanation: Explanation,
}

#[derive(Serialize)]
struct Denied {
    code: &'static str,
    rule: String,
    why: String,
    message: Option<String>,
}

/// Prints what the policy of the provider with this name makes of the claims in `file`.
pub(super) fn explain(
    providers: &[login::Settings],
    name: &str,
    file: &Path,
    json: bool,
) -> Result<Exit, Trouble> {
    let settings = provider_named(name, providers)?;
    let claims = read(file)?;
    // Only here: there is no store to ask for its time.
    let now =
        Timestamp::from_millis(u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default());
    let found = Found::of(settings, &claims, now);
    let outcome = found.outcome(settings, settings.policy.explain(&claims, now));
    let exit = if outcome.allowed { Exit::Done } else { Exit::No };
    if json {
        print_json(&outcome);
    } else {
        sheet(&outcome, &found, file).print();
    }
    Ok(exit)
}

/// Whom the claims mean, and what is decided.
struct Found {
    subject: Result<Subject, NoSubject>,
    /// The issuer that the claims name, when it is none of the provider's.
    strange_issuer: Option<String>,
    decision: Result<Decision, Denial>,
}

impl Found {
    fn of(settings: &login::Settings, claims: &Map<String, Value>, now: Timestamp) -> Self {
        let provider = &settings.provider;
        let issuers = token_issuers(&provider.issuer, &provider.tenants);
        let named = claims.get("iss").and_then(Value::as_str);
        let ours = named.filter(|iss| issuers.iter().any(|issuer| issuer == iss));
        let issuer = ours.or(issuers.first().map(String::as_str)).unwrap_or_default();
        Self {
            subject: subject_of(&provider.subject_claim, issuer, claims),
            strange_issuer: named.filter(|_| ours.is_none()).map(str::to_owned),
            decision: settings.policy.decide(claims, now),
        }
    }

    /// The order is the mint's: without a subject no rule is asked, and the identity's denial comes last.
    fn outcome<'a>(&self, settings: &'a login::Settings, explanation: Explanation) -> Outcome<'a> {
        let denial = |denial: &Denial| Denied {
            code: DenialCode::of(denial).as_str(),
            rule: denial.rule.clone(),
            why: denial.why.to_string(),
            message: denial.message.clone(),
        };
        let (identity, denied) = match (&self.subject, &self.decision) {
            (Err(why), _) => {
                let denied = Denied {
                    code: DenialCode::IdentityInvalid.as_str(),
                    rule: "subject_claim".to_owned(),
                    why: why.to_string(),
                    message: None,
                };
                (None, Some(denied))
            }
            (_, Err(why)) => (None, Some(denial(why))),
            (Ok(subject), Ok(decision)) => match &decision.identity {
                Ok(Wanted::Default) => (Some(default_identity(subject).to_string()), None),
                Ok(Wanted::Is(identity)) => (Some(identity.to_string()), None),
                Err(why) => (None, Some(denial(why))),
            },
        };
        Outcome {
            provider: settings.provider.name.as_str(),
            subject: self.subject.as_ref().ok().map(Whom::from),
            identity,
            allowed: denied.is_none(),
            denied,
            explanation,
        }
    }
}

fn sheet(outcome: &Outcome<'_>, found: &Found, file: &Path) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.title(&format!("Provider {} on {}", outcome.provider, file.display()));
    let mut rows = vec![("now", outcome.explanation.now.clone())];
    match &outcome.subject {
        Some(Whom { issuer, value }) => rows.push(("subject", format!("{value}\nof {issuer}"))),
        None => rows.push(("subject", "nobody".to_owned())),
    }
    if let Some(issuer) = &found.strange_issuer {
        let told = format!(
            "{issuer} is none of this provider's: a token of it is refused before any rule runs"
        );
        rows.push(("iss", told));
    }
    sheet.rows(rows);
    sheet.title("Rules");
    rules(&mut sheet, &outcome.explanation);
    sheet.title("Decision");
    if let Some(Denied { code, why, message, rule }) = &outcome.denied {
        let told = message.as_ref().map(|message| format!("\n{message}")).unwrap_or_default();
        let why = said(rule, why, &outcome.explanation);
        sheet.rows([("denied", why), ("told", format!("{code}{told}"))]);
        if rule == "identity" {
            sheet.words("Somebody who has an identity already comes in all the same: the rule is not asked again.");
        }
        return sheet;
    }
    if let Ok(decision) = &found.decision {
        sheet.rows(decided(outcome, decision));
        if is_not_written(&Decided::of(decision)) {
            sheet.line("");
            sheet.line(NOT_WRITTEN);
        }
    }
    sheet
}

fn decided(outcome: &Outcome<'_>, decision: &Decision) -> Vec<(&'static str, String)> {
    let origin = match decision.identity {
        Ok(Wanted::Is(_)) => "by the rule",
        _ => "by default",
    };
    let identity = outcome.identity.as_deref().unwrap_or_default();
    let identity = format!("{identity} ({origin}; somebody who has one keeps it)");
    let mut rows = vec![("let in", "yes".to_owned()), ("identity", identity)];
    rows.extend(profile(&Decided::of(decision)));
    if let Some(ttl) = decision.token_ttl {
        rows.push(("token", format!("{} at most", spelled(ttl))));
    }
    rows
}

/// The claims in a file.
fn read(file: &Path) -> Result<Map<String, Value>, Trouble> {
    let name = || escaped(&file.display().to_string());
    let usage = |what: String| Trouble::new(Exit::Usage, what);
    let mut bytes = Vec::new();
    let opened = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    opened.map_err(|error| usage(format!("{} cannot be read: {error}", name())))?;
    if bytes.len() as u64 > LARGEST {
        return Err(usage(format!("{} is larger than 64 KiB, as no claims are", name())));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(claims)) => Ok(claims),
        Ok(_) => Err(usage(format!(
            "{} is JSON, but not an object: write the claims as {{ \"sub\": \"…\" }}",
            name()
        ))),
        Err(error) => Err(usage(format!(
            "{} is not JSON (line {}, column {}): write the claims as {{ \"sub\": \"…\" }}",
            name(),
            error.line(),
            error.column()
        ))),
    }
}
