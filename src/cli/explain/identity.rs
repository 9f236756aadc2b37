//! Who an identity is, and what was decided about that subject last.

use std::time::Duration;

use super::super::terminal::{Sheet, spelled};
use super::{NOT_WRITTEN, is_not_written, profile};
use crate::ops::{Known, Stood};

/// The subject, and where it stands at each provider.
pub(super) fn sheet(known: &Known) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.title(&format!("Identity {}", known.identity));
    let mut rows = match &known.subject {
        Some(subject) => {
            vec![("subject", subject.value.clone()), ("issuer", subject.issuer.clone())]
        }
        None => vec![("subject", "nobody".to_owned())],
    };
    if known.blocked {
        let told = "yes: nobody comes in with it. vestibule unblock lets them sign in again.";
        rows.push(("blocked", told.to_owned()));
    }
    if let Some(to) = &known.moving_to {
        let told = format!(
            "{} of {}\nThe move stopped half way, and nobody can use the identity. The same command again finishes it.",
            to.value, to.issuer
        );
        rows.push(("moving to", told));
    }
    sheet.rows(rows);
    for stood in &known.standings {
        standing(&mut sheet, stood, &known.identity);
    }
    if known.subject.is_some() && known.standings.is_empty() {
        sheet.title("Standings");
        sheet.words("none: the subject never signed in here, or so long ago that its claims are kept no more.");
    }
    if known.standings.iter().any(|stood| is_not_written(&stood.decision)) {
        sheet.line("");
        sheet.line(NOT_WRITTEN);
    }
    sheet
}

fn standing(sheet: &mut Sheet, stood: &Stood, identity: &str) {
    sheet.title(&format!("At provider {}", stood.provider));
    let last = match &stood.reference {
        _ if stood.allowed => "let in".to_owned(),
        Some(reference) => format!("denied, see vestibule explain {reference}"),
        None => "denied".to_owned(),
    };
    let mut rows = vec![("last decision", last)];
    if stood.identity.as_deref() != Some(identity) {
        let told = stood.identity.as_ref().map_or_else(
            || {
                let why = if stood.endings == 0 {
                    "was never let in"
                } else {
                    "has not come in since an operator's move or an end of all its sessions"
                };
                format!("none: the identity is reserved for the subject, which {why}")
            },
            |other| {
                format!("{other}: the subject has that one, and {identity} stays reserved for it")
            },
        );
        rows.push(("bound to", told));
    }
    if stood.allowed {
        rows.extend(profile(&stood.decision));
        if let Some(seconds) = stood.token_ttl {
            rows.push(("token", format!("{} at most", spelled(Duration::from_secs(seconds)))));
        }
    }
    rows.push(("claims of", stood.obtained().to_string()));
    sheet.rows(rows);
}
