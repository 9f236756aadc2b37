//! A stand-in for Twilio Conversations' REST API: what we ask of it, answered with Twilio's shapes and codes, from memory.
//!
//! Owns users, conversations, participants, roles and bindings while it runs, and counts what it was asked. Has no webhooks, no messages, no
//! limits.

mod http;
mod json;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::http::Method;
use secrecy::SecretString;
use url::Url;

/// Whose stand-in it is.
#[derive(Clone, Debug)]
pub struct Account {
    /// `AC…`.
    pub sid: String,
    /// `SK…`, which every request has to bring.
    pub api_key_sid: String,
    /// Its secret.
    pub api_key_secret: SecretString,
    /// `IS…`.
    pub service_sid: String,
}

/// The roles that each new service has, and where they count.
const ROLES: [(&str, &str); 4] = [
    ("service admin", "service"),
    ("service user", "service"),
    ("channel admin", "conversation"),
    ("channel user", "conversation"),
];

/// Places among them.
#[cfg(feature = "inside")]
const SERVICE_ADMIN: usize = 0;
const SERVICE_USER: usize = 1;
const CHANNEL_USER: usize = 3;

struct User {
    sid: String,
    friendly_name: Option<String>,
    attributes: String,
    role_sid: String,
}

struct Participant {
    sid: String,
    role_sid: String,
}

struct Conversation {
    sid: String,
    unique_name: Option<String>,
    participants: BTreeMap<String, Participant>,
}

/// What there is, and what was asked.
#[derive(Default)]
struct World {
    users: BTreeMap<String, User>,
    conversations: Vec<Conversation>,
    /// By SID, the identity of each push binding.
    bindings: BTreeMap<String, String>,
    requests: Vec<(Method, String)>,
    /// By method and SID, the conversations that nobody can be taken into or out of: status and code of the refusal.
    refusals: BTreeMap<(String, String), (u16, u32)>,
    /// The identities that a write has made active.
    written: BTreeSet<String>,
    sids: u64,
    /// Where it seems to be to whoever follows its links.
    base: Option<Url>,
}

impl World {
    fn sid(&mut self, prefix: &str) -> String {
        self.sids += 1;
        format!("{prefix}{:032x}", self.sids)
    }

    /// A conversation by its SID or unique name.
    fn conversation(&mut self, name: &str) -> Option<&mut Conversation> {
        let is = |it: &&mut Conversation| it.sid == name || it.unique_name.as_deref() == Some(name);
        self.conversations.iter_mut().find(is)
    }

    /// What is said to whoever does that in a conversation, if it is refused.
    fn refusal(&mut self, method: &Method, name: &str) -> Option<(u16, u32)> {
        let sid = self.conversation(name)?.sid.clone();
        self.refusals.get(&(method.to_string(), sid)).copied()
    }

    /// The identity of a user by its SID or identity.
    fn identity(&self, name: &str) -> Option<String> {
        let is = |(identity, user): &(&String, &User)| *identity == name || user.sid == name;
        self.users.iter().find(is).map(|(identity, _)| identity.clone())
    }

    /// A user, made if there is none: Twilio does so when one is taken into a conversation, or connects.
    fn make_user(&mut self, identity: &str) {
        if !self.users.contains_key(identity) {
            let sid = self.sid("US");
            let user = User {
                sid,
                friendly_name: None,
                attributes: "{}".to_owned(),
                role_sid: role_sid(SERVICE_USER),
            };
            self.users.insert(identity.to_owned(), user);
        }
    }
}

/// The stand-in. Clones are the same one.
#[derive(Clone)]
pub struct StandIn {
    account: Arc<Account>,
    world: Arc<Mutex<World>>,
}

impl StandIn {
    /// An empty service, but for its roles.
    pub fn new(account: Account) -> Self {
        Self { account: Arc::new(account), world: Arc::default() }
    }

    /// Its routes, all under `/v1/Services/IS…/`.
    pub fn routes(&self) -> Router {
        http::routes(self.clone())
    }

    /// Makes a conversation with a unique name.
    pub fn make_conversation(&self, unique_name: &str) {
        let mut world = self.world();
        let sid = world.sid("CH");
        let unique_name = Some(unique_name.to_owned());
        world.conversations.push(Conversation { sid, unique_name, participants: BTreeMap::new() });
    }

    /// The conversations that a user is in, by unique name.
    pub fn conversations_of(&self, identity: &str) -> Vec<String> {
        let world = self.world();
        let of = world.conversations.iter().filter(|it| it.participants.contains_key(identity));
        of.map(|it| it.unique_name.clone().unwrap_or_else(|| it.sid.clone())).collect()
    }

    /// A user joins a conversation, as with the SDK; one that is not there, nobody joins.
    pub fn join(&self, identity: &str, conversation: &str) {
        let mut world = self.world();
        world.make_user(identity);
        let participant = Participant { sid: world.sid("MB"), role_sid: role_sid(CHANNEL_USER) };
        if let Some(conversation) = world.conversation(conversation) {
            conversation.participants.entry(identity.to_owned()).or_insert(participant);
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What tests do with it, as people and apps would by other ways.
#[cfg(feature = "inside")]
impl StandIn {
    /// Links lead here from now on: something stands before it.
    pub fn seem_to_be_at(&self, base: Url) {
        self.world().base = Some(base);
    }

    /// A conversation refuses from now on that somebody is taken in (`POST`) or out (`DELETE`), with this status and code, or does not any more.
    pub fn refuse(&self, method: &Method, conversation: &str, refusal: Option<(u16, u32)>) {
        let mut world = self.world();
        let Some(sid) = world.conversation(conversation).map(|it| it.sid.clone()) else { return };
        let key = (method.to_string(), sid);
        match refusal {
            Some(refusal) => drop(world.refusals.insert(key, refusal)),
            None => drop(world.refusals.remove(&key)),
        }
    }

    /// A user's device asks for push notifications.
    pub fn bind(&self, identity: &str) {
        let mut world = self.world();
        world.make_user(identity);
        let sid = world.sid("BS");
        world.bindings.insert(sid, identity.to_owned());
    }

    /// A user gives itself a name and attributes.
    pub fn name(&self, identity: &str, friendly_name: &str, attributes: &str) {
        let mut world = self.world();
        world.make_user(identity);
        if let Some(user) = world.users.get_mut(identity) {
            user.friendly_name = Some(friendly_name.to_owned());
            attributes.clone_into(&mut user.attributes);
        }
    }

    /// A user is given the service's role for admins.
    pub fn make_admin(&self, identity: &str) {
        let mut world = self.world();
        world.make_user(identity);
        if let Some(user) = world.users.get_mut(identity) {
            user.role_sid = role_sid(SERVICE_ADMIN);
        }
    }

    /// Whether anything is known of a user that the next holder of its identity would have too.
    pub fn is_marked(&self, identity: &str) -> bool {
        let world = self.world();
        let named = world.users.get(identity).is_some_and(|user| {
            user.friendly_name.as_ref().is_some_and(|name| name != identity)
                || user.attributes != "{}"
                || user.role_sid != role_sid(SERVICE_USER)
        });
        named || world.bindings.values().any(|it| it == identity)
    }

    /// The role of a participant.
    pub fn role_in(&self, conversation: &str, identity: &str) -> Option<&'static str> {
        let mut world = self.world();
        let participant = world.conversation(conversation)?.participants.get(identity)?;
        (0..ROLES.len()).find(|it| role_sid(*it) == participant.role_sid).map(|it| ROLES[it].0)
    }

    /// What it was asked since this was asked last: method, and path behind the service.
    pub fn requests(&self) -> Vec<(Method, String)> {
        std::mem::take(&mut self.world().requests)
    }

    /// The identities that writes have made active since this was asked last.
    pub fn made_active(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.world().written)
    }
}

fn role_sid(place: usize) -> String {
    format!("RL{:032x}", place + 1)
}
