//! Sessions: what begins one, what is kept of it, and what using it answers.

use std::time::Duration;

use super::Rate;
use super::bindings::Found;
use super::standings::{NewStanding, Verdict};
use crate::clock::Timestamp;
use crate::ids::{Digest, Identity, ProviderName, SubjectKey};

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
}

/// What came of opening a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenedSession {
    /// It is there.
    Opened(Session),
    /// Since [`NewSession::found`] the subject's sessions were ended, or its identity was moved, or another login has bound it to
    /// another one, or other claims of it were denied at the provider: nothing is written.
    Overtaken,
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

/// What is remembered of the subject at the session's provider, in brief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What the policy said last.
    pub verdict: Verdict,
    /// When the claims were obtained that it said it of; names them in
    /// [`decide_standing`](crate::store::Store::decide_standing).
    pub obtained: Timestamp,
}

/// What came of using a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsedSession {
    /// It lives, and its idle time begins anew.
    Live(Session, Judged),
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
