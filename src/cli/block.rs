//! `vestibule block`, `unblock` and `end-sessions`: somebody is kept out, let in again, or has to sign in anew.

use std::io;
use std::time::Duration;

use super::access::Access;
use super::terminal::{Sheet, escaped, spelled};
use super::{Exit, OneIdentity, Trouble, answer, files, list};
use crate::config::Config;
use crate::ids::Identity;
use crate::ops::{Changed, Whom};
use crate::telemetry::{self, Settings};

/// Which of the commands it is.
#[derive(Clone, Copy)]
pub(super) enum What {
    Block,
    Unblock,
    EndSessions,
}

pub(super) fn run(what: What, arguments: &OneIdentity) -> Exit {
    let config = match files::load(arguments.file.config.as_deref()) {
        Ok(config) => config,
        Err(faults) => return list(&faults, io::stderr()),
    };
    // The line of the audit log is this process' to write when the change is; whatever the filter, it is written. Without a log the
    // change is made all the same, and said below.
    let filter = "warn".to_owned();
    let _no_log = telemetry::start_log(&Settings { filter, ..config.log.clone() });
    answer(change(what, &arguments.identity, &config))
}

async fn change(what: What, raw_identity: &str, config: &Config) -> Result<Exit, Trouble> {
    let identity = Identity::parse(raw_identity).map_err(|error| {
        let text = format!("{} is nobody's identity: {error}", escaped(raw_identity));
        Trouble::new(Exit::Usage, text)
    })?;
    let access = Access::open(config).await?;
    let changed = match what {
        What::Block => access.set_blocked(&identity, true).await,
        What::Unblock => access.set_blocked(&identity, false).await,
        What::EndSessions => access.end_sessions(&identity).await,
    };
    let changed = changed.map_err(|trouble| {
        let again = "The same command again goes on where this one stopped.";
        Trouble { text: format!("{}. {again}", trouble.text), ..trouble }
    })?;
    let (exit, told) = tell(what, &identity, changed.as_ref(), config.twilio.ttl);
    let mut sheet = Sheet::default();
    for sentence in &told {
        sheet.line(sentence);
    }
    sheet.print();
    Ok(exit)
}

/// Why nothing is done to a guest's name, and what helps instead.
const GUESTS: [&str; 3] = [
    "Names that begin with guest- are for guests, so that nothing was changed.",
    "A visitor has one for a while only, and then somebody else: a block would meet nobody, or the wrong one.",
    "What helps: a lower limits.guests, tickets (guests.ticket), or vestibule guests --quarantine, which ends all leases.",
];

/// What an operator should know of how it ended.
fn tell(
    what: What,
    identity: &Identity,
    changed: Option<&Changed>,
    token_ttl: Duration,
) -> (Exit, Vec<String>) {
    let nobodys = "Is it spelled right? Identities are case-sensitive.";
    let Some(Changed { subject, was_blocked, .. }) = changed else {
        if identity.is_guest() {
            return (Exit::No, GUESTS.map(str::to_owned).to_vec());
        }
        return (Exit::No, vec![format!("Nobody has the identity {identity}. {nobodys}")]);
    };
    let named = |Whom { issuer, value }: &Whom| format!("{value} of {issuer}");
    let theirs = match subject {
        Some(whom) => format!("It is that of {}.", named(whom)),
        None => format!("Nobody has it. {nobodys}"),
    };
    let out = format!(
        "Access tokens that are out already live on, up to {} (twilio.token_ttl): Twilio cannot revoke them.",
        spelled(token_ttl)
    );
    let out = subject.is_some().then_some(out);
    let mut told = match what {
        What::Block => vec![
            format!(
                "The identity {identity} is blocked{}.",
                if *was_blocked { ", as before" } else { "" }
            ),
            theirs,
            if out.is_some() {
                "All their sessions have ended, and nobody comes in with it on any path.".to_owned()
            } else {
                "Whoever would get it does not come in.".to_owned()
            },
        ],
        What::Unblock => vec![
            format!(
                "The identity {identity} is {}.",
                if *was_blocked { "blocked no more" } else { "not blocked" }
            ),
            theirs,
            if out.is_some() {
                "They can sign in again: what a block has ended does not come back.".to_owned()
            } else {
                "Whoever would get it can come in.".to_owned()
            },
        ],
        What::EndSessions => vec![
            format!("All sessions of whoever has the identity {identity} have ended."),
            theirs,
            if *was_blocked {
                "It is blocked: they cannot sign in again.".to_owned()
            } else {
                format!("They can sign in again: vestibule block {identity} would keep them out.")
            },
        ],
    };
    if !matches!(what, What::Unblock) {
        told.extend(out);
    }
    (Exit::Done, told)
}
