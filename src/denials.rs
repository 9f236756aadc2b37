//! Why somebody was not let in: kept under the reference that the person was shown, for whoever is asked about it.
//!
//! Owns what is kept of a denial, and for how long. Does not own the decision (`policy`), nor what the person is told (`http`).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::Reference;
use crate::policy::Explanation;
use crate::store::{Store, StoreError};

/// How long denials are kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Too short, and nobody can say any more why; too long, and the claims of people who are not customers lie about.
    pub keep: Duration,
}

/// A denial as it is kept: everything that was known when it was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What the person was shown.
    pub reference: String,
    /// When last, RFC 3339.
    pub at: String,
    /// The public code of the answer.
    pub code: String,
    /// On which path last: `login`, `session`, `bearer` or `exchange`.
    pub path: String,
    /// Where the login was.
    pub provider: String,
    /// The issuer that vouches for the subject.
    pub issuer: String,
    /// The value of the subject claim; `None` when it names nobody.
    pub subject: Option<String>,
    /// The identity that the subject would have had, and another one has; only for `identity_conflict`.
    pub identity: Option<String>,
    /// The rule that denied, as `explain` names it; `subject_claim` or `identity` when it was not the policy.
    pub rule: String,
    /// Why, for operators.
    pub why: String,
    /// The operator's words for the person.
    pub message: Option<String>,
    /// The claims that rules read.
    pub claims: Map<String, Value>,
    /// Each rule with its value.
    pub explanation: Explanation,
}

/// Keeps and finds denials.
pub struct Denials {
    store: Arc<Store>,
    settings: Settings,
}

impl Denials {
    /// Denials kept in `store`.
    pub fn new(store: Arc<Store>, settings: Settings) -> Self {
        Self { store, settings }
    }

    /// Keeps a denial for [`Settings::keep`].
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn keep(&self, reference: &Reference, record: &Record) -> Result<(), StoreError> {
        // Plain fields and JSON: writing them cannot fail.
        let text = serde_json::to_string(record).unwrap_or_default();
        self.store.keep_denial(reference, &text, self.settings.keep).await?;
        Ok(())
    }

    /// The denial with this reference; `None` when there is none, or it is older than [`Settings::keep`], or another version
    /// wrote it in a way that this one cannot read.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn find(&self, reference: &Reference) -> Result<Option<Record>, StoreError> {
        let text = self.store.find_denial(reference).await?.value;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }
}
