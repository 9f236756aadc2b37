//! How a provider is asked again about a session: by one caller at a time, with what the login left for that.

use std::fmt::{self, Display};

use super::standings::NewStanding;
use crate::clock::Timestamp;
use crate::ids::Digest;

/// How a provider can be asked again about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the refresh grant (RFC 6749 §6).
    Refresh,
    /// By userinfo, while the access token lives.
    Userinfo {
        /// When that is over.
        until: Timestamp,
    },
}

/// When a provider was last asked about a session, and how it can be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// When it was asked; the login counts.
    pub at: Timestamp,
    /// How it can be asked again.
    pub way: Way,
}

impl Asked {
    /// Reads what [`Display`] wrote; `None` for anything else.
    pub(in crate::store) fn read(text: &str) -> Option<Self> {
        let moment = |text: &str| text.parse().ok().map(Timestamp::from_millis);
        Some(match text.split_once(' ') {
            Some((at, until)) => {
                Self { at: moment(at)?, way: Way::Userinfo { until: moment(until)? } }
            }
            None => Self { at: moment(text)?, way: Way::Refresh },
        })
    }
}

/// How both stores keep it: when, in milliseconds; and where userinfo is the way, a space, and until when. A number alone takes the
/// least room, and most sessions have that.
impl Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at.as_millis())?;
        match self.way {
            Way::Refresh => Ok(()),
            Way::Userinfo { until } => write!(f, " {}", until.as_millis()),
        }
    }
}

/// What came of wanting to ask a provider about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BegunRevalidation {
    /// The caller is to ask, and nobody else does until the hold is over, or the caller finishes or pauses. The moment of this answer
    /// is what the provider's is to be dated by.
    Yours {
        /// What the provider gave the last time, sealed.
        grant: String,
        /// When the claims were obtained that are remembered at the session's provider; names them.
        obtained: Option<Timestamp>,
    },
    /// Another caller asks.
    Anothers {
        /// When its hold is over, unless it finishes or pauses before.
        until: Timestamp,
    },
    /// The provider was away when it was asked last.
    Paused {
        /// Until then it is not asked.
        until: Timestamp,
    },
    /// The provider was asked since, or cannot be asked any more.
    Done,
    /// The session is no more.
    Ended,
}

/// What a provider said when it was asked again.
#[derive(Clone, Debug)]
pub struct Revalidated {
    /// When it was asked, and how it can be the next time; `None` when it cannot.
    pub asked: Option<Asked>,
    /// What it showed; of the session's subject, at the session's provider. `None` to leave the claims as they were.
    pub standing: Option<NewStanding>,
    /// When the claims were obtained that were remembered when the caller [began](BegunRevalidation::Yours).
    pub obtained: Option<Timestamp>,
}

/// What providers gave for a subject's sessions that are no more, and with which of theirs the others go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenGrants {
    /// Each comes once.
    pub taken: Vec<TakenGrant>,
    /// Of each session that lives and has a grant, in no order: the handle of the provider's session, as text; empty for none.
    pub living: Vec<String>,
}

/// What a provider gave for a session that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenGrant {
    /// Which session: [`SessionKey::id`](super::SessionKey::id).
    pub id: Digest,
    /// The grant, as it was kept.
    pub sealed: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_somebody_was_asked_is_read_as_it_was_written_and_nothing_else_is() {
        let moment = Timestamp::from_millis;
        for way in [Way::Refresh, Way::Userinfo { until: moment(1_795_521_660_000) }] {
            let asked = Asked { at: moment(1_795_521_600_123), way };
            assert_eq!(Asked::read(&asked.to_string()), Some(asked));
        }
        for bad in ["", "1 ", " ", " 1", "x", "x 1", "1 x", "1 2 ", "1 2 3", "-1", "1 -1"] {
            assert_eq!(Asked::read(bad), None, "{bad}");
        }
    }
}
