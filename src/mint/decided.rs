//! A decision as it is remembered beside the claims that it was made over.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::Decision;

/// What the policy decided about somebody who was let in. The identity is not among it: that is bound once, and a decision has no
/// say in it afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decided {
    /// What the person is called.
    pub friendly_name: Option<String>,
    /// The name of a role at Twilio.
    pub role: Option<String>,
    /// The conversations that the person belongs to, sorted.
    pub conversations: Vec<String>,
    /// What Twilio is to keep beside the user.
    pub attributes: Option<Map<String, Value>>,
}

impl Decided {
    /// What of `decision` is remembered.
    pub fn of(decision: &Decision) -> Self {
        Self {
            friendly_name: decision.friendly_name.clone(),
            role: decision.role.clone(),
            conversations: decision.conversations.clone(),
            attributes: decision.attributes.clone(),
        }
    }

    /// Reads what [`Decided::to_text`] wrote; `None` for anything else: after a denial it is empty.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// It as JSON.
    pub fn to_text(&self) -> String {
        // Plain fields and JSON: writing them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
