//! Which identity a subject has, and which of its sessions still stand.

use std::fmt::{self, Display};

use crate::clock::Timestamp;
use crate::ids::Identity;

/// Which identity a subject has, and how often all its sessions were ended. A session is over when this is another than when it
/// began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// How often all its sessions were ended; never less than before, whatever the clock does.
    pub endings: u64,
    /// The identity that it is bound to; `None` before its first session, and after a move took it away.
    pub identity: Option<Identity>,
    /// Whether an operator blocked that identity: until it is unblocked, no session of the subject begins.
    pub blocked: bool,
}

/// What is found of a subject before it signs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its identity.
    pub binding: Binding,
    /// When its claims were obtained that are remembered at the provider; names them.
    pub obtained: Option<Timestamp>,
}

impl Binding {
    /// The same, bound to `identity`.
    pub(in crate::store) fn to(&self, identity: &Identity) -> Self {
        Self { endings: self.endings, identity: Some(identity.clone()), blocked: false }
    }

    /// The same with all sessions ended once more.
    pub(in crate::store) fn ended(self) -> Self {
        Self { endings: self.endings.saturating_add(1), ..self }
    }

    /// Reads what [`Display`] wrote; `None` for anything else.
    pub(in crate::store) fn read(text: &str) -> Option<Self> {
        let (endings, rest) = text.split_once(' ')?;
        let blocked = rest.strip_prefix(BLOCKED);
        let identity = match blocked.unwrap_or(rest) {
            "" if blocked.is_none() => None,
            identity => Some(Identity::parse(identity).ok()?),
        };
        Some(Self { endings: endings.parse().ok()?, identity, blocked: blocked.is_some() })
    }
}

/// Stands before an identity that is blocked, and is no character of one.
const BLOCKED: char = '!';

/// How both stores keep it: the endings, a space, the identity if there is one, with [`BLOCKED`] before it if it is.
impl Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.endings)?;
        if self.blocked {
            write!(f, "{BLOCKED}")?;
        }
        self.identity.iter().try_for_each(|identity| f.write_str(identity.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_read_as_it_was_written_and_nothing_else_is() {
        let alice = || Some(Identity::parse("alice").unwrap());
        for (identity, blocked) in [(None, false), (alice(), false), (alice(), true)] {
            let binding = Binding { endings: 12, identity, blocked };
            assert_eq!(Binding::read(&binding.to_string()), Some(binding));
        }
        for bad in [
            "",
            "12",
            "alice",
            "x alice",
            "-1 alice",
            "1 no/identity",
            "1  alice",
            "1 !",
            "1 !!alice",
        ] {
            assert_eq!(Binding::read(bad), None, "{bad}");
        }
    }
}
