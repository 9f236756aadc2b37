//! Whom a provider means.

use std::fmt;

use aws_lc_rs::digest;

use super::Digest;

/// Whom a provider means: its issuer and the value of the claim that names a subject there. Both are compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    issuer: String,
    value: String,
}

impl Subject {
    /// The longest issuer or value, in bytes: far beyond the 255 characters of a `sub` (OpenID Connect Core §2).
    pub const LONGEST: usize = 1024;

    /// The subject `value` of `issuer`.
    ///
    /// # Errors
    ///
    /// [`SubjectError::Empty`] when either is empty or white space only; [`SubjectError::TooLong`] when either is longer
    /// than [`Subject::LONGEST`] bytes.
    pub fn new(issuer: &str, value: &str) -> Result<Self, SubjectError> {
        for part in [issuer, value] {
            if part.trim().is_empty() {
                return Err(SubjectError::Empty);
            }
            if part.len() > Self::LONGEST {
                return Err(SubjectError::TooLong);
            }
        }
        Ok(Self { issuer: issuer.to_owned(), value: value.to_owned() })
    }

    /// The provider's issuer, as its tokens spell it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The value of the subject claim.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The key under which everything about this subject is kept together.
    pub fn key(&self) -> SubjectKey {
        // The length goes first, so that ("a", "bc") and ("ab", "c") are two subjects.
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&(self.issuer.len() as u64).to_be_bytes());
        context.update(self.issuer.as_bytes());
        context.update(self.value.as_bytes());
        SubjectKey(Digest::from_output(&context.finish()))
    }
}

/// Why a claim's value names no subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The issuer or the value is empty or white space only.
    #[error("the subject is empty")]
    Empty,
    /// The issuer or the value is longer than [`Subject::LONGEST`] bytes.
    #[error("the subject is longer than {} bytes", Subject::LONGEST)]
    TooLong,
}

/// A subject's place in the store: SHA-256 over its issuer and value. In a Redis cluster it decides the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubjectKey(Digest);

impl SubjectKey {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        Digest::parse(text).map(Self)
    }
}

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_and_value_cannot_borrow_from_each_other() {
        let one = Subject::new("https://a", "bc").unwrap();
        let other = Subject::new("https://ab", "c").unwrap();

        assert_ne!(one.key(), other.key());
    }

    #[test]
    fn an_empty_subject_is_nobody() {
        for (issuer, value) in [("", "x"), ("https://a", ""), ("https://a", " \t")] {
            assert_eq!(Subject::new(issuer, value), Err(SubjectError::Empty));
        }
        assert_eq!(Subject::new("https://a", &"x".repeat(1025)), Err(SubjectError::TooLong));
    }
}
