//! Sessions: what begins one, what is kept of it, and what using it answers.

use std::time::Duration;

use super::Rate;
use super::bindings::Found;
use super::revalidation::{Asked, Way};
use super::standings::{NewStanding, Verdict};
use crate::clock::Timestamp;
use crate::ids::{Digest, Handle, Identity, ProviderName, SubjectKey};

/// Names one session: whose, and the digest of its cookie's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Whose session; everything of one subject lies together.
    pub subject: SubjectKey,
    /// Digest of the secret in the cookie.
    pub id: Digest,
}

/// A session that begins, and what is known of its subject now.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its name, which nobody had before.
    pub key: SessionKey,
    /// The identity that the subject is bound to, or is to be bound to now.
    pub identity: Identity,
    /// What the caller found of the subject at the standing's provider. An identity among it is the one above; `None` when the
    /// caller has claimed that just now.
    pub found: Found,
    /// How long it may last, used or not.
    pub lifetime: Duration,
    /// How long it may lie unused.
    pub idle: Duration,
    /// What its owner knows the device by.
    pub label: String,
    /// How many sessions the subject may have, this one among them; at least 1. One more ends the one that would be
    /// over first, had none been used since it was last looked at.
    pub most: u32,
    /// What the login showed; of the key's subject.
    pub standing: NewStanding,
    /// When the login began: a logout since then is one of this login.
    pub begun: Timestamp,
    /// What the provider calls the login in its logout tokens; `None` when it did not say.
    pub sid: Option<Handle>,
    /// How the provider can be asked again; counts only beside a grant.
    pub way: Option<Way>,
    /// What the provider gave for that, sealed: a text that the store does not understand.
    pub grant: Option<String>,
}

impl NewSession {
    /// When the provider was asked about a session that begins at `now`, if it can be asked again.
    pub(in crate::store) fn asked(&self, now: Timestamp) -> Option<Asked> {
        self.way.filter(|_| self.grant.is_some()).map(|way| Asked { at: now, way })
    }
}

/// What came of opening a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenedSession {
    /// It is there.
    Opened(Session),
    /// Since [`NewSession::found`] the subject's sessions were ended, or its identity was moved, or another login has bound it to
    /// another one, or other claims of it were denied at the provider: nothing is written.
    Overtaken,
    /// Since [`NewSession::begun`] the provider has logged the subject out, or this login of it at any time: nothing is written.
    LoggedOut,
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The identity that its subject is bound to.
    pub identity: Identity,
    /// Where the login was.
    pub provider: ProviderName,
    /// When it began.
    pub since: Timestamp,
    /// When it was last used; up to [`UseTerms::grain`] earlier than that.
    pub last_used: Timestamp,
    /// When it ends, used or not.
    pub ends: Timestamp,
    /// When the provider was last asked about it; `None` when it cannot be asked again.
    pub asked: Option<Asked>,
}

/// A session among all those of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Which one: [`SessionKey::id`].
    pub id: Digest,
    /// What its owner knows the device by.
    pub label: String,
    /// The session.
    pub session: Session,
}

/// What came of ending a session for its owner, who asked with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedSession {
    /// It lived until now.
    Ended,
    /// The owner has no such session, or none that lives.
    NoSuch,
    /// The session that was asked with is itself no more: nothing is ended.
    AskerEnded,
}

/// What came of using a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsedSession {
    /// It lives, and its idle time begins anew. Beside it, what the policy said last of its subject at its provider.
    Live(Session, Verdict),
    /// It lives, but this use is over its limit and not counted; its idle time goes on.
    Limited {
        /// When it may be used again.
        after: Duration,
    },
    /// It is no more, or never was, or nothing is remembered of its subject.
    Ended,
}

/// How a session may be used.
#[derive(Clone, Copy, Debug)]
pub struct UseTerms {
    /// How long it may lie unused; judged against when it was last used.
    pub idle: Duration,
    /// How often it may be used; `None` for no limit.
    pub limit: Option<Rate>,
}

impl UseTerms {
    /// How old a last use may become before it is written again: a 128th of the idle time, which people cannot tell from all of it.
    /// So a token without a limit writes nothing, mostly, and one with a limit only that.
    pub fn grain(&self) -> Duration {
        self.idle / 128
    }
}
