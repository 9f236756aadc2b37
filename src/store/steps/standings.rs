//! Standings: what is remembered of a subject at a provider, and what the policy said of it.

use std::fmt::{self, Display};
use std::time::Duration;

use super::bindings::Binding;
use crate::clock::Timestamp;
use crate::ids::{Digest, ProviderName, Reference, Subject, SubjectKey};

/// What a policy said of somebody, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which policy said it: a digest over all that it depends on.
    pub mark: Digest,
    /// What it said.
    pub outcome: Outcome,
}

/// Whether somebody may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Allowed {
        /// How long a token may last at most, in whole seconds; `None` when the policy does not say.
        token_ttl: Option<Duration>,
    },
    /// No.
    Denied {
        /// Under which the denial is kept, and which the person quotes.
        reference: Reference,
    },
}

/// What a login shows of a subject.
#[derive(Clone, Debug)]
pub struct NewStanding {
    /// Whose standing.
    pub subject: Subject,
    /// Where.
    pub provider: ProviderName,
    /// The claims, as JSON.
    pub claims: String,
    /// What the policy said of them.
    pub verdict: Verdict,
    /// What was decided, as JSON; empty when denied.
    pub decision: String,
    /// How long it is kept at least.
    pub keep: Duration,
}

/// A standing as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose standing.
    pub subject: Subject,
    /// Where.
    pub provider: ProviderName,
    /// The claims last obtained, as JSON.
    pub claims: String,
    /// When they were kept. No two claims of one standing have the same, so that it names them.
    pub obtained: Timestamp,
    /// What the policy said of them last.
    pub verdict: Verdict,
    /// What was decided, as JSON; empty when denied.
    pub decision: String,
}

/// Some of all standings, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Each with its subject's identity. May be empty while there are more pages.
    pub standings: Vec<(Standing, Binding)>,
    /// What stands among them and cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

/// Damage, or another program's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The store's key of it.
    pub key: String,
    /// What was found where; never a value.
    pub what: &'static str,
}

/// Where a page of standings begins. Only the store that gave it can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub(in crate::store) Place);

/// A place among all standings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Place {
    /// As `SCAN` calls it.
    Scan(u64),
    /// Behind this subject.
    Behind(SubjectKey),
}

impl Cursor {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if digits {
            return text.parse().ok().map(|place| Self(Place::Scan(place)));
        }
        SubjectKey::parse(text).map(|subject| Self(Place::Behind(subject)))
    }
}

impl Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Place::Scan(place) => write!(f, "{place}"),
            Place::Behind(subject) => write!(f, "{subject}"),
        }
    }
}

/// How both stores keep a verdict: the mark, a space, then `a` with the seconds that a token may last, if the policy says, or `d`
/// with the reference.
impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.mark)?;
        match self.outcome {
            Outcome::Allowed { token_ttl: None } => f.write_str("a"),
            Outcome::Allowed { token_ttl: Some(ttl) } => write!(f, "a{}", ttl.as_secs()),
            Outcome::Denied { reference } => write!(f, "d{reference}"),
        }
    }
}

/// A verdict and when the claims were obtained, as both stores keep them: the verdict, a space, milliseconds.
pub(in crate::store) fn brief(verdict: &Verdict, obtained: Timestamp) -> String {
    format!("{verdict} {}", obtained.as_millis())
}

/// Reads a [`brief`]; `None` for anything else.
pub(in crate::store) fn read_brief(text: &str) -> Option<(Verdict, Timestamp)> {
    let mut parts = text.splitn(3, ' ');
    let mark = Digest::parse(parts.next()?)?;
    let outcome = parts.next()?;
    let outcome = match (outcome.strip_prefix('a'), outcome.strip_prefix('d')) {
        (Some(""), _) => Outcome::Allowed { token_ttl: None },
        (Some(seconds), _) => {
            Outcome::Allowed { token_ttl: Some(Duration::from_secs(seconds.parse().ok()?)) }
        }
        (_, Some(reference)) => Outcome::Denied { reference: Reference::parse(reference)? },
        _ => return None,
    };
    let obtained = Timestamp::from_millis(parts.next()?.parse().ok()?);
    Some((Verdict { mark, outcome }, obtained))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_is_read_as_it_was_written_and_nothing_else_is() {
        let obtained = Timestamp::from_millis(1_795_521_600_123);
        let outcomes = [
            Outcome::Allowed { token_ttl: None },
            Outcome::Allowed { token_ttl: Some(Duration::from_hours(1)) },
            Outcome::Denied { reference: Reference::random() },
        ];

        for outcome in outcomes {
            let verdict = Verdict { mark: Digest::of(b"policy"), outcome };
            assert_eq!(read_brief(&brief(&verdict, obtained)), Some((verdict, obtained)));
        }
        let mark = Digest::of(b"policy");
        for bad in ["", "m a 1", &mark.to_string(), &format!("{mark} a"), &format!("{mark} x 1")] {
            assert_eq!(read_brief(bad), None, "{bad}");
        }
        for bad in ["d", "ax", "dX"].map(|outcome| format!("{mark} {outcome} 1")) {
            assert_eq!(read_brief(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let subject = Subject::new("https://a", "alice").unwrap().key();

        for place in [Place::Scan(0), Place::Scan(u64::MAX), Place::Behind(subject)] {
            assert_eq!(Cursor::parse(&Cursor(place).to_string()), Some(Cursor(place)));
        }
        for bad in ["", "-1", "+1", "x", "99999999999999999999", &format!("{subject}0")] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
