//! Twilio's answers, as far as we read them. Each field may be null, says its description.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::TwilioError;
use super::http::Reply;

/// What stands in a list.
pub(super) trait Record {
    /// The name of the list.
    const LIST: &str;
}

macro_rules! records {
    ($($(#[$doc:meta])* $name:ident in $list:literal { $($(#[$attribute:meta])* $field:ident),* })*) => {
        $(
            $(#[$doc])*
            #[derive(Deserialize)]
            pub(super) struct $name {
                $($(#[$attribute])* pub(super) $field: Option<String>),*
            }

            impl Record for $name {
                const LIST: &str = $list;
            }
        )*
    };
}

records! {
    /// A conversation that a user is in.
    UserConversation in "conversations" { conversation_sid }
    /// A user.
    UserRecord in "users" { friendly_name, attributes, role_sid }
    /// A role.
    RoleRecord in "roles" { sid, friendly_name, #[serde(rename = "type")] kind }
    /// A push binding.
    Binding in "bindings" { sid, identity }
    /// The service's configuration, which is in no list.
    Configuration in "" { default_chat_service_role_sid }
}

/// A page of a list.
pub(super) struct Page<T> {
    pub(super) records: Vec<T>,
    pub(super) meta: Meta,
}

/// Where a list goes on.
#[derive(Deserialize)]
pub(super) struct Meta {
    /// Null on the last page. Were it left out, the list might go on.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) next_page_url: Option<String>,
}

impl<T: Record + DeserializeOwned> Page<T> {
    /// # Errors
    ///
    /// [`TwilioError::NotUnderstood`] when it is none.
    pub(super) fn read(reply: &Reply) -> Result<Self, TwilioError> {
        let none = TwilioError::NotUnderstood { what: "no page of a list" };
        let mut page: Map<String, Value> = reply.read()?;
        let (Some(records), Some(meta)) = (page.remove(T::LIST), page.remove("meta")) else {
            return Err(none);
        };
        match (serde_json::from_value(records), serde_json::from_value(meta)) {
            (Ok(records), Ok(meta)) => Ok(Self { records, meta }),
            _ => Err(none),
        }
    }
}

/// What Twilio says when it does not do it.
#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) code: Option<u32>,
}
