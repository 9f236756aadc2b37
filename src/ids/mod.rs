//! Checked small types: what is inside one of these has been looked at.
//!
//! Owns the rules of a Conversations identity, a subject, random secrets and their digests, and the references that people
//! quote. Does not own where any of them is kept (`store`) or who gets which (`identity`, `sessions`).

mod conversations;
mod random;
mod subject;

use std::fmt;
use std::sync::Arc;

pub use conversations::{GUEST_PREFIX, Identity, IdentityError};
pub use random::{Digest, Handle, Reference, RequestId, Secret256};
pub use subject::{Subject, SubjectError, SubjectKey};

/// A provider's name as it stands in URLs: 1 to 32 of `[a-z0-9-]`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderName(Arc<str>);

impl ProviderName {
    /// Checks `raw`; `None` when it is no such name.
    pub fn parse(raw: &str) -> Option<Self> {
        let fits = (1..=32).contains(&raw.len())
            && !raw.starts_with('-')
            && raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(raw.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
