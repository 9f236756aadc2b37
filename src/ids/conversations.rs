//! A Conversations identity.

use std::fmt;
use std::sync::Arc;

/// What the identities of guests begin with, and those of members never (contract §4).
pub const GUEST_PREFIX: &str = "guest-";

/// A Conversations identity within the rules of the contract, §4: 1 to 256 characters of `[A-Za-z0-9._~-]`, and nothing
/// that Twilio could take for a SID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(Arc<str>);

impl Identity {
    /// Checks `raw`; it is refused with its reason, never cut or cleaned.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], a variant for each rule.
    pub fn parse(raw: &str) -> Result<Self, IdentityError> {
        if raw.is_empty() {
            return Err(IdentityError::Empty);
        }
        if let Some(found) =
            raw.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-')))
        {
            return Err(IdentityError::Character { found });
        }
        if raw.len() > 256 {
            return Err(IdentityError::TooLong { characters: raw.len() });
        }
        // `/Users/{Sid}` takes a SID or an identity, so that one which looks like a SID names somebody else.
        let sid = raw.len() == 34 && (raw.starts_with("US") || raw.starts_with("MB"));
        if sid && raw[2..].bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IdentityError::LooksLikeSid);
        }
        Ok(Self(raw.into()))
    }

    /// Checks `raw` as [`parse`](Self::parse) does, and that it is no guest's: what a rule may make of claims.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], a variant for each rule.
    pub fn parse_member(raw: &str) -> Result<Self, IdentityError> {
        if raw.starts_with(GUEST_PREFIX) {
            return Err(IdentityError::GuestNamespace);
        }
        Self::parse(raw)
    }

    /// Whether it is a guest's, whoever has it.
    pub fn is_guest(&self) -> bool {
        self.0.starts_with(GUEST_PREFIX)
    }

    /// The identity as Twilio sees it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a string cannot be a Conversations identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is the empty string.
    #[error("an identity has at least one character")]
    Empty,
    /// It is longer than 256 characters.
    #[error("an identity has at most 256 characters, this one {characters}")]
    TooLong {
        /// How long it is.
        characters: usize,
    },
    /// It holds a character outside `[A-Za-z0-9._~-]`.
    #[error("an identity is made of A-Z a-z 0-9 . _ ~ -, not of {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
    /// It is `US` or `MB` followed by 32 hex digits.
    #[error("an identity must not look like a Twilio SID (US or MB and 32 hex digits)")]
    LooksLikeSid,
    /// It begins as guests' identities do.
    #[error("an identity that begins with {GUEST_PREFIX} is a guest's")]
    GuestNamespace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_refused_with_its_reason_and_never_cleaned() {
        assert_eq!(Identity::parse(""), Err(IdentityError::Empty));
        assert_eq!(Identity::parse(" alice"), Err(IdentityError::Character { found: ' ' }));
        assert_eq!(Identity::parse("auth0|1"), Err(IdentityError::Character { found: '|' }));
        assert_eq!(
            Identity::parse("\u{ff41}lice"),
            Err(IdentityError::Character { found: '\u{ff41}' })
        );
        assert_eq!(
            Identity::parse(&"a".repeat(257)),
            Err(IdentityError::TooLong { characters: 257 })
        );
        assert!(Identity::parse(&"a".repeat(256)).is_ok());
    }

    #[test]
    fn an_identity_never_looks_like_a_sid() {
        let hex = "0123456789abcdefABCDEF0123456789";

        assert_eq!(Identity::parse(&format!("US{hex}")), Err(IdentityError::LooksLikeSid));
        assert_eq!(Identity::parse(&format!("MB{hex}")), Err(IdentityError::LooksLikeSid));
        assert!(Identity::parse(&format!("us{hex}")).is_ok());
        assert!(Identity::parse(&format!("US{}", &hex[1..])).is_ok());
    }

    #[test]
    fn a_member_never_has_a_guests_identity() {
        for guest in ["guest-", "guest-0001", "guest-é"] {
            assert_eq!(Identity::parse_member(guest), Err(IdentityError::GuestNamespace));
        }
        for member in ["guest", "guest_1", "Guest-1", "my-guest-1"] {
            assert!(Identity::parse_member(member).is_ok(), "{member}");
        }
        assert_eq!(Identity::parse_member(""), Err(IdentityError::Empty));
        assert!(Identity::parse("guest-1").is_ok());
    }
}
