//! A denial that is on record.

use super::super::terminal::Sheet;
use super::{claims_read, rules, said};
use crate::denials::Record;
use crate::login;
use crate::oidc::token_issuers;
use crate::policy::RuleResult;

/// When, where, who, why, by which rules over which claims, what the person was told, and what to change at these providers.
pub(super) fn sheet(record: &Record, providers: &[login::Settings]) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.title(&format!("Denial {}", record.reference));
    let who = record.subject.as_deref().unwrap_or("nobody: no claim names a subject");
    let place = match record.path.as_str() {
        "login" => "signing in",
        "session" => "asking for a token, signed in before",
        other => other,
    };
    let told = record.message.as_ref().map(|message| format!("\n{message}")).unwrap_or_default();
    let mut rows = vec![
        ("when", record.at.clone()),
        ("where", format!("{}, {place}", record.provider)),
        ("who", format!("{who}\nof {}", record.issuer)),
    ];
    if let Some(identity) = &record.identity {
        rows.push(("identity", identity.clone()));
    }
    rows.push(("told", format!("{}{told}", record.code)));
    let why = match record.code.as_str() {
        "identity_conflict" => record.why.clone(),
        _ => said(&record.rule, &record.why, &record.explanation, &record.claims),
    };
    rows.push(("why", why));
    sheet.rows(rows);
    claims_read(&mut sheet, &record.claims);
    sheet.title(&format!("Rules, as they were; now = {}", record.explanation.now));
    rules(&mut sheet, &record.explanation, &record.claims);
    sheet.title("What to change");
    sheet.words(&advice(record, providers));
    sheet
}

/// What a provider does that sends its bools as text.
const TEXT_THAT_IS_NO_BOOL: &str = "\nThe provider says email_verified as the text \"true\", which counts as false: if it always \
    does, as Amazon Cognito, set string_email_verified = true for it.";

/// The way on, by what denied.
fn advice(record: &Record, providers: &[login::Settings]) -> String {
    let Record { rule, provider, .. } = record;
    if record.code == "identity_conflict" {
        return advice_on_conflict(record, providers);
    }
    if rule == "subject_claim" {
        return format!(
            "Let the provider send the claim that subject_claim of provider {provider} names, as a string. Naming another claim \
             makes everybody somebody new."
        );
    }
    if record.code == "identity_invalid" {
        return format!(
            "Let provider {provider}'s identity rule yield 1 to 256 of A-Z a-z 0-9 . _ ~ -, outside the guests' names. uuid5 makes \
             an identity of any text."
        );
    }
    let explained = record.explanation.rules.iter().find(|explained| explained.rule == *rule);
    let is_text = record.claims.get("email_verified").is_some_and(|claim| *claim == "true");
    let change = match explained.map(|explained| &explained.result) {
        Some(RuleResult::Value(value)) if *value == false => format!(
            "{rule} is false for these claims. If this person should come in, change what the provider says of them, or the rule.{}",
            if is_text { TEXT_THAT_IS_NO_BOOL } else { "" }
        ),
        Some(RuleResult::Error(error)) if error.starts_with("not run: ") => {
            return "No rule was run. Do what stands beside \"why\"; a person whose groups are not known is never taken for one without.".to_owned();
        }
        Some(RuleResult::Error(_)) => format!(
            "{rule} cannot be computed over these claims. Let the provider send what it reads (scopes, mappers), or let the rule \
             allow for its absence, with has(claims.…)."
        ),
        _ => format!("Let {rule} yield what it must for these claims too."),
    };
    format!(
        "{change}\nTry it first: vestibule explain --provider {provider} claims.json says what it makes of claims, and vestibule \
         what-if NEW.toml whom else it changes."
    )
}

fn advice_on_conflict(record: &Record, providers: &[login::Settings]) -> String {
    let provider = record.provider.as_str();
    let identity = record.identity.as_deref().unwrap_or_default();
    let settings = providers.iter().map(|it| &it.provider).find(|it| it.name.as_str() == provider);
    let several = settings.is_some_and(|it| token_issuers(&it.issuer, &it.tenants).len() > 1);
    let issuer =
        if several { format!(" --issuer {}", quoted(&record.issuer)) } else { String::new() };
    let subject = quoted(record.subject.as_deref().unwrap_or_default());
    let command = format!(
        "vestibule move-identity {identity} --provider {provider}{issuer} --subject {subject}"
    );
    if record.explanation.rules.iter().any(|explained| explained.rule == "identity") {
        format!(
            "Another subject has {identity}; vestibule explain {identity} says which. If both are one person, move it:\n{command}\n\
             If not, let provider {provider}'s identity rule tell the two apart."
        )
    } else {
        format!(
            "{identity} is this subject's default identity, and an operator moved it to somebody else; vestibule explain {identity} \
             says to whom. If that was wrong, move it back:\n{command}"
        )
    }
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | ':' | '/');
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_for_the_shell() {
        for (text, expected) in [
            ("alice", "alice"),
            ("auth0|1", "'auth0|1'"),
            ("o'neil $x", r"'o'\''neil $x'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
