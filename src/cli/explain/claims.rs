//! What a provider's policy makes of claims in a file: no store, no network.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use chrono::Utc;
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::terminal::{Sheet, escaped, print_json, shortened, shown, spelled};
use super::super::{Exit, Trouble, provider_named};
use super::{NOT_WRITTEN, STANDARD_INPUT, claims_read, is_not_written, profile, rules, said};
use crate::clock::Timestamp;
use crate::ids::{Identity, Subject};
use crate::login;
use crate::mint::{Decided, DenialCode, NoSubject, identity_of, subject_of};
use crate::oidc::{self, token_issuers};
use crate::ops::Whom;
use crate::policy::{Decision, Denial, Explanation, Outcome, Wanted};

/// The largest file of claims, in bytes: what a token and userinfo may bring together.
const LARGEST: u64 = 64 * 1024;

/// What comes out, for programs.
#[derive(Serialize)]
struct Document<'a> {
    provider: &'a str,
    /// `None` when the claims name nobody of this provider.
    subject: Option<Whom>,
    /// What it would be bound to if it has none yet.
    identity: Option<String>,
    allowed: bool,
    denied: Option<Denied>,
    /// The claims that rules read.
    claims: Map<String, Value>,
    explanation: Explanation,
}

#[derive(Serialize)]
struct Denied {
    code: &'static str,
    rule: String,
    why: String,
    message: Option<String>,
}

impl Denied {
    /// What is decided before any rule is asked.
    fn before_rules(code: &'static str, rule: &str, why: String) -> Self {
        Self { code, rule: rule.to_owned(), why, message: None }
    }
}

impl From<Denial> for Denied {
    fn from(denial: Denial) -> Self {
        let code = DenialCode::of(&denial).as_str();
        let Denial { rule, why, message } = denial;
        Self { code, rule, why: why.to_string(), message }
    }
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
    let found = find(settings, &claims, now);
    let document = document(settings, &claims, now, &found);
    let exit = if document.allowed { Exit::Done } else { Exit::No };
    if json {
        print_json(&document);
    } else {
        sheet(&document, &found, &claims, &called(file)).print();
    }
    Ok(exit)
}

/// Whom the claims mean, when they mean somebody of this provider, and what is decided.
struct Found {
    subject: Option<Subject>,
    /// The claim without which nobody is meant.
    missing: Option<String>,
    decided: Result<(Identity, Decision), Denied>,
}

/// The order is a login's: who vouches, for whom, the rules, and the identity last.
fn find(settings: &login::Settings, claims: &Map<String, Value>, now: Timestamp) -> Found {
    let provider = &settings.provider;
    let subject = issuer_of(provider, claims).and_then(|issuer| {
        subject_of(&provider.subject_claim, &issuer, claims).map_err(|error| no_subject(&error))
    });
    let subject = match subject {
        Ok(subject) => subject,
        Err(denied) => {
            let needed = match denied.rule.as_str() {
                "tid" => Some("tid"),
                "subject_claim" => Some(provider.subject_claim.as_str()),
                _ => None,
            };
            let missing = needed.filter(|name| !claims.contains_key(*name)).map(str::to_owned);
            return Found { subject: None, missing, decided: Err(denied) };
        }
    };
    let decided = settings.policy.decide(claims, now).and_then(|decision| {
        let identity = identity_of(&decision, &subject, None)?;
        Ok((identity, decision))
    });
    Found { subject: Some(subject), missing: None, decided: decided.map_err(Denied::from) }
}

/// The issuer of a token with these claims. A file without `iss` is one of the provider's; whose, a provider of several tenants
/// says in `tid`.
fn issuer_of(provider: &oidc::Settings, claims: &Map<String, Value>) -> Result<String, Denied> {
    let refused = |rule, why: String| Denied::before_rules("login_failed", rule, why);
    let issuers = token_issuers(&provider.issuer, &provider.tenants);
    let name = &provider.name;
    let mut place = Some(0);
    if !provider.tenants.is_empty() {
        let Some(tid) = claims.get("tid") else {
            let why =
                format!("tid is missing: it says which of provider {name}'s tenants is meant");
            return Err(refused("tid", why));
        };
        place = provider.tenants.iter().position(|tenant| tid == tenant);
        if place.is_none() {
            let why = format!("tid is {}, which is none of provider {name}'s tenants", bare(tid));
            return Err(refused("tid", why));
        }
    }
    let issuer = place.and_then(|place| issuers.into_iter().nth(place)).unwrap_or_default();
    match claims.get("iss") {
        Some(iss) if *iss != issuer => {
            let whose = if provider.tenants.is_empty() {
                format!("none of provider {name}'s")
            } else {
                format!("not the one of this tid at provider {name}")
            };
            let why = format!("iss is {}, which is {whose}", bare(iss));
            Err(refused("issuer", why))
        }
        _ => Ok(issuer),
    }
}

fn no_subject(error: &NoSubject) -> Denied {
    Denied::before_rules(DenialCode::IdentityInvalid.as_str(), "subject_claim", error.to_string())
}

/// Text as it is, anything else as JSON.
fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| shown(value), shortened)
}

fn document<'a>(
    settings: &'a login::Settings,
    claims: &Map<String, Value>,
    now: Timestamp,
    found: &Found,
) -> Document<'a> {
    let mut explanation = settings.policy.explain(claims, now);
    let (identity, denied) = match &found.decided {
        Ok((identity, _)) => (Some(identity.to_string()), None),
        Err(Denied { code, rule, why, message }) => {
            let (rule, why, message) = (rule.clone(), why.clone(), message.clone());
            (None, Some(Denied { code, rule, why, message }))
        }
    };
    if let (None, Some(Denied { rule, why, .. })) = (&found.subject, &denied) {
        // Whatever the rules would say of nobody.
        explanation.outcome =
            Outcome::Denied { rule: rule.clone(), why: why.clone(), message: None };
    }
    Document {
        provider: settings.provider.name.as_str(),
        subject: found.subject.as_ref().map(Whom::from),
        identity,
        allowed: denied.is_none(),
        denied,
        claims: settings.policy.relevant(claims),
        explanation,
    }
}

fn sheet(document: &Document<'_>, found: &Found, claims: &Map<String, Value>, file: &str) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.title(&format!("Provider {} on {file}", document.provider));
    let subject = match &document.subject {
        Some(Whom { issuer, value }) => format!("{value}\nof {issuer}"),
        None => "nobody".to_owned(),
    };
    sheet.rows([("now", document.explanation.now.clone()), ("subject", subject)]);
    claims_read(&mut sheet, &document.claims);
    sheet.title("Rules");
    rules(&mut sheet, &document.explanation, claims);
    sheet.title("Decision");
    match &found.decided {
        Ok((identity, decision)) => {
            sheet.rows(decided(identity, decision));
            if is_not_written(&Decided::of(decision)) {
                sheet.line("");
                sheet.line(NOT_WRITTEN);
            }
        }
        Err(Denied { code, rule, why, message }) => {
            let told = message.as_ref().map(|message| format!("\n{message}")).unwrap_or_default();
            let why = said(rule, why, &document.explanation, claims);
            sheet.rows([("denied", why), ("told", format!("{code}{told}"))]);
            if rule == "identity" {
                sheet.words("Somebody who has an identity already comes in all the same: the rule is not asked again.");
            }
            if let Some(missing) = &found.missing {
                sheet.words(&format!(
                    "{file} has no {missing}: copy the whole payload of the token."
                ));
            }
        }
    }
    sheet
}

fn decided(identity: &Identity, decision: &Decision) -> Vec<(&'static str, String)> {
    let origin = match decision.identity {
        Ok(Wanted::Is(_)) => "by the rule",
        _ => "by default",
    };
    let identity = format!("{identity} ({origin}; somebody who has one keeps it)");
    let mut rows = vec![("let in", "yes".to_owned()), ("identity", identity)];
    rows.extend(profile(&Decided::of(decision)));
    if let Some(ttl) = decision.token_ttl {
        rows.push(("token", format!("{} at most", spelled(ttl))));
    }
    rows
}

/// The claims in a file, or on standard input.
fn read(file: &Path) -> Result<Map<String, Value>, Trouble> {
    let name = || escaped(&called(file));
    let usage = |what: String| Trouble::new(Exit::Usage, what);
    let mut bytes = Vec::new();
    let opened = if file == Path::new(STANDARD_INPUT) {
        io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    };
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

/// What people call the file.
fn called(file: &Path) -> String {
    if file == Path::new(STANDARD_INPUT) {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}
