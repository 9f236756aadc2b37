//! `vestibule move-identity`: an identity becomes another subject's, as only an operator may have it.

use std::io;
use std::time::Duration;

use super::access::Access;
use super::terminal::{Sheet, escaped, spelled};
use super::{Exit, MoveIdentity, Trouble, answer, files, list, provider_named};
use crate::config::Config;
use crate::ids::{Identity, Subject};
use crate::oidc;
use crate::ops::{Given, Moved, Whom};
use crate::telemetry::{self, Settings};

pub(super) fn run(arguments: &MoveIdentity) -> Exit {
    let config = match files::load(arguments.file.config.as_deref()) {
        Ok(config) => config,
        Err(faults) => return list(&faults, io::stderr()),
    };
    // The line of the audit log is this process' to write when the move is; whatever the filter, it is written. Without a log the
    // move is made all the same, and said below.
    let filter = "warn".to_owned();
    let _no_log = telemetry::start_log(&Settings { filter, ..config.log.clone() });
    answer(move_it(arguments, &config))
}

async fn move_it(arguments: &MoveIdentity, config: &Config) -> Result<Exit, Trouble> {
    let identity = Identity::parse(&arguments.identity).map_err(|error| {
        let text = format!("{} is nobody's identity: {error}", escaped(&arguments.identity));
        Trouble::new(Exit::Usage, text)
    })?;
    let to = subject(arguments, config)?;
    let moved =
        Access::open(config).await?.move_identity(&identity, &to).await.map_err(|trouble| {
            let again = "The same command again goes on where this one stopped.";
            Trouble { text: format!("{}. {again}", trouble.text), ..trouble }
        })?;
    let (exit, told) = tell(&identity, &Whom::from(&to), &moved, config.twilio.ttl);
    let mut sheet = Sheet::default();
    for sentence in &told {
        sheet.line(sentence);
    }
    sheet.print();
    Ok(exit)
}

/// The subject that the arguments mean: of the provider's issuer, or of the one that is named where there are many.
fn subject(arguments: &MoveIdentity, config: &Config) -> Result<Subject, Trouble> {
    let usage = |text: String| Trouble::new(Exit::Usage, text);
    let provider = &provider_named(&arguments.provider, &config.providers)?.provider;
    let issuers = oidc::token_issuers(&provider.issuer, &provider.tenants);
    let issuer = match (&arguments.issuer, issuers.as_slice()) {
        (Some(issuer), _) if issuers.contains(issuer) => issuer,
        (None, [only]) => only,
        (given, _) => {
            let what = if given.is_some() { "has no such issuer" } else { "has several issuers" };
            let text = format!(
                "the provider {} {what}: name one with --issuer:\n  {}",
                provider.name,
                issuers.join("\n  ")
            );
            return Err(usage(text));
        }
    };
    Subject::new(issuer, &arguments.subject).map_err(|error| usage(error.to_string()))
}

/// What an operator should know of how it ended.
fn tell(identity: &Identity, to: &Whom, moved: &Moved, token_ttl: Duration) -> (Exit, Vec<String>) {
    match moved {
        Moved::Done(given) => (Exit::Done, tell_given(identity, given, token_ttl)),
        Moved::Theirs => {
            (Exit::Done, vec![format!("The identity {identity} is that of {} already.", named(to))])
        }
        Moved::Guests => (
            Exit::No,
            vec![
                format!("Nobody has the identity {identity}, so that nothing was moved."),
                "Names that begin with guest- are for guests: nobody else can be given one."
                    .to_owned(),
            ],
        ),
        Moved::UnderWay { to: other } => (
            Exit::No,
            vec![
                format!(
                    "The identity {identity} is on its way to {}: nothing was moved.",
                    named(other)
                ),
                "Finish that move first, with the command that began it; then move it on."
                    .to_owned(),
            ],
        ),
        Moved::Blocked { identity: blocked } => (
            Exit::No,
            vec![
                if *blocked == identity.as_str() {
                    format!("The identity {identity} is blocked: nothing was moved.")
                } else {
                    format!(
                        "{} is blocked, as the identity {blocked}: nothing was moved.",
                        named(to)
                    )
                },
                format!(
                    "Whoever may come in again is unblocked first: vestibule unblock {blocked}"
                ),
            ],
        ),
        Moved::Overtaken => (
            Exit::No,
            vec![
                format!(
                    "At the same time somebody else moved the identity {identity}, or ended all sessions of {}.",
                    named(to)
                ),
                format!("See whose it is now: vestibule explain {identity}"),
                "If it is theirs, the same command again finishes the move.".to_owned(),
            ],
        ),
    }
}

/// What an operator should know of a move that is done.
fn tell_given(identity: &Identity, given: &Given, token_ttl: Duration) -> Vec<String> {
    let mut told = vec![format!("The identity {identity} is now that of {}.", named(&given.to))];
    told.push(match &given.from {
        Some(from) => format!("It was that of {}.", named(from)),
        None if given.was_nobodys => {
            "Nobody had it. Is it spelled right? Identities are case-sensitive.".to_owned()
        }
        None => "It was reserved for them before.".to_owned(),
    });
    told.extend(given.had.as_ref().map(|had| {
        format!("They had the identity {had}, which stays reserved for them and is no one else's.")
    }));
    if !given.is_known {
        told.push(
            "Nobody has signed in here as them, as far as is known. Is the subject spelled right?"
                .to_owned(),
        );
    }
    let whose = if given.from.is_some() { "All sessions of both" } else { "All their sessions" };
    told.push(format!("{whose} have ended."));
    told.extend(given.from.as_ref().map(|from| {
        format!(
            "{} comes in again only with another identity: one that they have, or that the policy yields for them. While it \
             yields {identity}, they are not let in (identity_conflict), unless this command gives them another one.",
            named(from)
        )
    }));
    told.push(format!(
        "Access tokens that are out already live on, up to {} (twilio.token_ttl): Twilio cannot revoke them.",
        spelled(token_ttl)
    ));
    told
}

fn named(whom: &Whom) -> String {
    format!("{} of {}", whom.value, whom.issuer)
}
