//! Twilio Conversations' REST API, v1, as far as we need it: a user's conversations, participants, bindings, roles.
//!
//! Owns how it is asked, what is tried again, what counts as done, and how often it is written to: within Twilio's limit, 30 writes a
//! second, all replicas together, which take their turns in `store`. Every write of ours may come twice: where Twilio says that it is so
//! already, it is done. A write that makes an identity active may have a deadline, by the store's clock; whoever writes says which.

mod http;
mod records;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use crate::clock::Timestamp;
use crate::ids::Identity;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
pub use http::{BuildError, State, WRITES};
use http::{Endpoint, Http, Request};
use records::{Binding, Configuration, Page, Record, RoleRecord, UserConversation, UserRecord};

/// How Twilio's API is met.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is: an origin.
    pub api_url: Url,
    /// The Conversations service, `IS…`.
    pub service_sid: String,
    /// The API key, `SK…`, that we call it with.
    pub api_key_sid: String,
    /// The API key's secret.
    pub api_key_secret: SecretString,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// How many pages of a list are read at most. 50 a page: the 1,000 conversations that an identity can be in, five times.
const MOST_PAGES: usize = 100;

/// Twilio's codes, by which its answers are told apart; which HTTP status comes with which is not documented.
mod code {
    pub const NOT_FOUND: u32 = 20404;
    pub const TOO_MANY: u32 = 20429;
    pub const CONFLICT: [u32; 2] = [50213, 20162];
    pub const USER_NOT_FOUND: u32 = 50200;
    pub const CONVERSATION_NOT_FOUND: u32 = 50350;
    pub const PARTICIPANT_NOT_FOUND: u32 = 50432;
    pub const PARTICIPANT_EXISTS: u32 = 50433;
    /// When somebody is to be taken in: where to is gone, or it is said so.
    pub const GONE_FOR_ADDING: [u32; 3] =
        [NOT_FOUND, CONVERSATION_NOT_FOUND, PARTICIPANT_NOT_FOUND];
    /// Of our key or our account, whatever was asked: it does not count, is suspended, or may not do this.
    pub const REFUSES_US: [u32; 5] = [20003, 20005, 20006, 20403, 70051];
}

/// Why Twilio did not do it.
#[derive(Debug, thiserror::Error)]
pub enum TwilioError {
    /// It did not answer in time, or only with failures of its own.
    #[error("Twilio is away: {what}")]
    Away {
        /// What happened last.
        what: String,
        /// For how long it said to leave it alone; zero when it said nothing.
        after: Duration,
    },
    /// It has more to do than it takes, for longer than we wait.
    #[error("Twilio takes no more requests for now")]
    Busy {
        /// For how long it said to leave it alone; zero when it said nothing.
        after: Duration,
    },
    /// There is no such conversation.
    #[error("Twilio has no such conversation")]
    NoConversation,
    /// It said no.
    #[error("Twilio refused: status {status}, code {}", Maybe(*code))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its own code.
        code: Option<u32>,
    },
    /// What is meant is called `.`, `..` or nothing, which no URL can say; nothing was asked.
    #[error("no URL leads to what is called so")]
    Unaddressable,
    /// It said what we do not understand.
    #[error("Twilio's answer is not understood: {what}")]
    NotUnderstood {
        /// What.
        what: &'static str,
    },
    /// It could not have been done before its deadline; it was not begun, or not once more.
    #[error("it is too late to write at Twilio")]
    TooLate,
    /// The store has no answer, which gives out the turns to write; it was not begun, or not once more.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TwilioError {
    /// For how long Twilio said to leave it alone; zero when it said nothing.
    pub const fn after(&self) -> Duration {
        match self {
            Self::Away { after, .. } | Self::Busy { after } => *after,
            _ => Duration::ZERO,
        }
    }

    /// Whether it refuses our key or our account, and not what was asked. The status of a code is not documented, but for 401, which
    /// says so itself.
    pub fn refuses_us(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. }) || self.says(&code::REFUSES_US)
    }

    /// Whether it was refused with one of these codes.
    fn says(&self, codes: &[u32]) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if codes.contains(code))
    }

    /// Whether something else would fare no better now.
    pub fn is_about_twilio(&self) -> bool {
        matches!(self, Self::Away { .. } | Self::Busy { .. }) || self.refuses_us()
    }
}

struct Maybe(Option<u32>);

impl fmt::Display for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(code) => code.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// A user of the Conversations service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What others see.
    pub friendly_name: Option<String>,
    /// JSON, as text.
    pub attributes: String,
    /// Its service role.
    pub role_sid: String,
}

/// Where a role counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// In a conversation.
    Conversation,
    /// In the whole service.
    Service,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `RL…`.
    pub sid: String,
    /// What people call it.
    pub friendly_name: String,
    /// Where it counts.
    pub kind: RoleKind,
}

/// Twilio's API.
pub struct Twilio {
    http: Http,
    /// `…/v1/Services/IS…/`.
    service: Url,
}

impl Twilio {
    /// A client whose writes take their turns in `store`, and that registers its series in `metrics`. Nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the URL cannot be one of an API, or no HTTP client can be built.
    pub fn new(
        settings: &Settings,
        store: Arc<Store>,
        metrics: &Metrics,
    ) -> Result<Self, BuildError> {
        let path = format!("/v1/Services/{}/", settings.service_sid);
        let service = settings.api_url.join(&path).map_err(|_| BuildError::Url)?;
        Ok(Self { http: Http::new(settings, store, metrics)?, service })
    }

    /// The SIDs of the conversations that a user is in; none for a user that is none.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn conversations_of(&self, identity: &Identity) -> Result<Vec<String>, TwilioError> {
        let first =
            self.url(&["Users", identity.as_str(), "Conversations"], &[("PageSize", "50")])?;
        let found = self.list::<UserConversation>(Endpoint::UserConversations, first).await;
        let Some(found) = found_or(found, Endpoint::UserConversations)? else {
            // Twilio says the same of what is not there and of what it does not understand: the second must not pass for "in nothing".
            let gone = match self.user(identity).await? {
                None => Ok(Vec::new()),
                Some(_) => Err(TwilioError::NotUnderstood { what: "a user without a list" }),
            };
            return self.http.counted(Endpoint::UserConversations, gone);
        };
        let sids = found.into_iter().map(|it| known(it.conversation_sid)).collect();
        self.http.counted(Endpoint::UserConversations, sids)
    }

    /// Takes a user into a conversation, a SID or a unique name, with a role or with Twilio's default. One who is in it is left as it is.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any; [`TwilioError::NoConversation`] only here.
    pub async fn add_participant(
        &self,
        conversation: &str,
        identity: &Identity,
        role_sid: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<(), TwilioError> {
        let url = self.url(&["Conversations", conversation, "Participants"], &[])?;
        let role = role_sid.map(|sid| ("RoleSid", sid));
        let form = [("Identity", identity.as_str())].into_iter().chain(role).collect::<Vec<_>>();
        let request = Request::post(Endpoint::AddParticipant, url, &form).until(until);
        let added = self.http.send(&request).await;
        match found_or(added, Endpoint::AddParticipant) {
            // Who was taken out before and comes in again has been seen to get this answer, and to be in.
            Err(error @ TwilioError::Refused { status: 404, .. }) => {
                if self.participant(conversation, identity).await? {
                    return Ok(());
                }
                let gone = error.says(&code::GONE_FOR_ADDING);
                let error = if gone { TwilioError::NoConversation } else { error };
                self.http.counted(Endpoint::AddParticipant, Err(error))
            }
            added => added.map(drop),
        }
    }

    /// Whether a user is in a conversation.
    async fn participant(
        &self,
        conversation: &str,
        identity: &Identity,
    ) -> Result<bool, TwilioError> {
        let participants = ["Conversations", conversation, "Participants", identity.as_str()];
        let url = self.url(&participants, &[])?;
        let found = self.http.send(&Request::get(Endpoint::Participant, url)).await;
        Ok(found_or(found, Endpoint::Participant)?.is_some())
    }

    /// Takes a user out of a conversation. Who is not in it, and what is gone, is done.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn remove_participant(
        &self,
        conversation: &str,
        identity: &Identity,
        until: Option<Timestamp>,
    ) -> Result<(), TwilioError> {
        let participants = ["Conversations", conversation, "Participants", identity.as_str()];
        let url = self.url(&participants, &[])?;
        let request = Request::delete(Endpoint::RemoveParticipant, url).until(until);
        let removed = self.http.send(&request).await;
        found_or(removed, Endpoint::RemoveParticipant).map(drop)
    }

    /// A user; `None` when there is none with the identity.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn user(&self, identity: &Identity) -> Result<Option<User>, TwilioError> {
        let url = self.url(&["Users", identity.as_str()], &[])?;
        let found = self.http.send(&Request::get(Endpoint::User, url)).await;
        let Some(reply) = found_or(found, Endpoint::User)? else { return Ok(None) };
        let user = reply.read().and_then(|user: UserRecord| {
            Ok(User {
                friendly_name: user.friendly_name,
                attributes: user.attributes.unwrap_or_default(),
                role_sid: known(user.role_sid)?,
            })
        });
        self.http.counted(Endpoint::User, user).map(Some)
    }

    /// Calls a user by its identity, takes away its attributes, and gives it a role.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn reset_user(
        &self,
        identity: &Identity,
        role_sid: &str,
        until: Option<Timestamp>,
    ) -> Result<(), TwilioError> {
        let url = self.url(&["Users", identity.as_str()], &[])?;
        // Whether an empty name clears it or leaves it as it is, is not documented.
        let name = identity.as_str();
        let form = [("FriendlyName", name), ("Attributes", "{}"), ("RoleSid", role_sid)];
        let request = Request::post(Endpoint::ResetUser, url, &form).until(until);
        let reset = self.http.send(&request).await;
        found_or(reset, Endpoint::ResetUser).map(drop)
    }

    /// The SIDs of a user's push bindings.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn bindings_of(&self, identity: &Identity) -> Result<Vec<String>, TwilioError> {
        let query = [("Identity", identity.as_str()), ("PageSize", "50")];
        let first = self.url(&["Bindings"], &query)?;
        let bindings = self.list::<Binding>(Endpoint::Bindings, first).await?;
        // Never trusted to the filter alone: another's device would be made silent.
        let own =
            bindings.into_iter().filter(|it| it.identity.as_deref() == Some(identity.as_str()));
        self.http.counted(Endpoint::Bindings, own.map(|it| known(it.sid)).collect())
    }

    /// Deletes a push binding. One that is gone is done.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn delete_binding(&self, sid: &str) -> Result<(), TwilioError> {
        let url = self.url(&["Bindings", sid], &[])?;
        let deleted = self.http.send(&Request::delete(Endpoint::DeleteBinding, url)).await;
        found_or(deleted, Endpoint::DeleteBinding).map(drop)
    }

    /// All roles of the service.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn roles(&self) -> Result<Vec<Role>, TwilioError> {
        let first = self.url(&["Roles"], &[("PageSize", "50")])?;
        let roles = self.list::<RoleRecord>(Endpoint::Roles, first).await?;
        let read = |role: RoleRecord| {
            let kind = match role.kind.as_deref() {
                Some("conversation") => RoleKind::Conversation,
                Some("service") => RoleKind::Service,
                _ => return None,
            };
            Some(Role {
                sid: role.sid?,
                friendly_name: role.friendly_name.unwrap_or_default(),
                kind,
            })
        };
        Ok(roles.into_iter().filter_map(read).collect())
    }

    /// The service role of a new user.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub async fn default_user_role(&self) -> Result<String, TwilioError> {
        let url = self.url(&["Configuration"], &[])?;
        let reply = self.http.send(&Request::get(Endpoint::Configuration, url)).await?;
        let role =
            reply.read().and_then(|it: Configuration| known(it.default_chat_service_role_sid));
        self.http.counted(Endpoint::Configuration, role)
    }

    /// How it answered last.
    pub fn state(&self) -> State {
        self.http.state()
    }

    /// All records of a list, page after page.
    async fn list<T: Record + DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        first: Url,
    ) -> Result<Vec<T>, TwilioError> {
        let (mut url, mut records) = (first, Vec::new());
        for _ in 0..MOST_PAGES {
            let reply = self.http.send(&Request::get(endpoint, url)).await?;
            let page = Page::<T>::read(&reply)
                .and_then(|page| Ok((page.records, self.following(page.meta.next_page_url)?)));
            let (more, next) = self.http.counted(endpoint, page)?;
            records.extend(more);
            match next {
                Some(next) => url = next,
                None => return Ok(records),
            }
        }
        let endless = TwilioError::NotUnderstood { what: "a list without an end" };
        self.http.counted(endpoint, Err(endless))
    }

    /// Where the next page is, if there is one: on the same origin and in the same service, for our credentials go there.
    fn following(&self, text: Option<String>) -> Result<Option<Url>, TwilioError> {
        let Some(text) = text else { return Ok(None) };
        let ours = |url: &Url| {
            url.origin() == self.service.origin() && url.path().starts_with(self.service.path())
        };
        let url = Url::parse(&text).ok().filter(ours);
        url.map(Some).ok_or(TwilioError::NotUnderstood { what: "a next page somewhere else" })
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, TwilioError> {
        /// All but the characters that stand for themselves anywhere (RFC 3986 §2.3).
        const UNRESERVED: &AsciiSet =
            &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        // A URL that holds `..`, encoded or not, means what is one step up: the conversation instead of a participant. An identity may be
        // called so.
        if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
            return Err(TwilioError::Unaddressable);
        }
        let encoded = path.iter().map(|part| utf8_percent_encode(part, UNRESERVED).to_string());
        let path = encoded.collect::<Vec<_>>().join("/");
        let mut url = self.service.clone();
        url.set_path(&format!("{}{path}", self.service.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

/// What was sent for, or `None` when Twilio answers with one of the codes that are an answer there.
fn found_or<T>(
    reply: Result<T, TwilioError>,
    endpoint: Endpoint,
) -> Result<Option<T>, TwilioError> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(TwilioError::Refused { code: Some(code), .. })
            if endpoint.answers().contains(&code) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn known<T>(value: Option<T>) -> Result<T, TwilioError> {
    value.ok_or(TwilioError::NotUnderstood { what: "a record without its SID" })
}
