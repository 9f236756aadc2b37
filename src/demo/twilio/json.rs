//! Twilio's documents, as its own description of the API has them.

use serde_json::{Value, json};

use super::{Account, Conversation, Participant, ROLES, SERVICE_USER, User, role_sid};

/// When everything was made. Nothing of ours reads it.
const DATE: &str = "2026-01-01T00:00:00Z";

/// Where everything is; its documents say so.
pub(super) struct Place<'a> {
    pub(super) account: &'a Account,
    /// `http://…/v1/Services/IS…`.
    pub(super) base: String,
}

impl Place<'_> {
    pub(super) fn user(&self, identity: &str, user: &User) -> Value {
        let url = format!("{}/Users/{}", self.base, user.sid);
        json!({
            "sid": user.sid, "account_sid": self.account.sid, "chat_service_sid": self.account.service_sid,
            "role_sid": user.role_sid, "identity": identity, "friendly_name": user.friendly_name, "attributes": user.attributes,
            "is_online": null, "is_notifiable": null, "date_created": DATE, "date_updated": DATE, "url": url,
            "links": { "user_conversations": format!("{url}/Conversations") },
        })
    }

    pub(super) fn participant(
        &self,
        conversation: &str,
        identity: &str,
        it: &Participant,
    ) -> Value {
        json!({
            "account_sid": self.account.sid, "chat_service_sid": self.account.service_sid, "conversation_sid": conversation,
            "sid": it.sid, "identity": identity, "attributes": "{}", "messaging_binding": null, "role_sid": it.role_sid,
            "date_created": DATE, "date_updated": DATE, "last_read_message_index": null, "last_read_timestamp": null,
            "url": format!("{}/Conversations/{conversation}/Participants/{}", self.base, it.sid),
        })
    }

    pub(super) fn user_conversation(
        &self,
        user: &User,
        it: &Conversation,
        as_: &Participant,
    ) -> Value {
        let conversation = format!("{}/Conversations/{}", self.base, it.sid);
        json!({
            "account_sid": self.account.sid, "chat_service_sid": self.account.service_sid, "conversation_sid": it.sid,
            "participant_sid": as_.sid, "user_sid": user.sid, "unread_messages_count": null, "last_read_message_index": null,
            "friendly_name": it.unique_name, "conversation_state": "active", "timers": {}, "attributes": "{}",
            "date_created": DATE, "date_updated": DATE, "created_by": "system", "notification_level": "default",
            "unique_name": it.unique_name, "url": format!("{}/Users/{}/Conversations/{}", self.base, user.sid, it.sid),
            "links": { "participant": format!("{conversation}/Participants/{}", as_.sid), "conversation": conversation },
        })
    }

    pub(super) fn role(&self, place: usize) -> Value {
        let (name, kind) = ROLES[place];
        let sid = role_sid(place);
        json!({
            "account_sid": self.account.sid, "chat_service_sid": self.account.service_sid, "friendly_name": name, "type": kind,
            "permissions": ["sendMessage", "leaveConversation"], "date_created": DATE, "date_updated": DATE,
            "url": format!("{}/Roles/{sid}", self.base), "sid": sid,
        })
    }

    pub(super) fn binding(&self, sid: &str, identity: &str) -> Value {
        json!({
            "sid": sid, "account_sid": self.account.sid, "chat_service_sid": self.account.service_sid,
            "credential_sid": format!("CR{}", "0".repeat(32)), "date_created": DATE, "date_updated": DATE, "endpoint": "a device",
            "identity": identity, "binding_type": "fcm", "message_types": ["new_message"],
            "url": format!("{}/Bindings/{sid}", self.base),
        })
    }

    pub(super) fn configuration(&self) -> Value {
        json!({
            "chat_service_sid": self.account.service_sid, "default_conversation_creator_role_sid": role_sid(2),
            "default_conversation_role_sid": role_sid(3), "default_chat_service_role_sid": role_sid(SERVICE_USER),
            "url": format!("{}/Configuration", self.base),
            "links": { "notifications": format!("{}/Configuration/Notifications", self.base) }, "reachability_enabled": false,
        })
    }

    /// A page of `all`, which `path` asked for.
    pub(super) fn page(
        &self,
        list: &str,
        path: &str,
        all: &[Value],
        (number, size): (usize, usize),
    ) -> Value {
        let url = |page: usize| {
            let and = if path.contains('?') { '&' } else { '?' };
            format!("{}{path}{and}PageSize={size}&Page={page}", self.base)
        };
        let records = all.iter().skip(number * size).take(size).collect::<Vec<_>>();
        let next = ((number + 1) * size < all.len()).then(|| url(number + 1));
        let previous = number.checked_sub(1).map(url);
        json!({
            list: records,
            "meta": {
                "page": number, "page_size": size, "first_page_url": url(0), "previous_page_url": previous, "url": url(number),
                "next_page_url": next, "key": list,
            },
        })
    }
}

/// What Twilio says when it does not do it.
pub(super) fn refusal(status: u16, code: u32, message: &str) -> Value {
    json!({ "code": code, "message": message, "more_info": format!("https://www.twilio.com/docs/errors/{code}"), "status": status })
}
