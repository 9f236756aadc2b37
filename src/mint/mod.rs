//! The one way to a token: decide → identity → sign.
//!
//! Owns the order of the steps, so that no path has a shortcut of its own. Does not own any of them. Who proved what is
//! `login`'s and `sessions`' business; here it becomes a member, and a member's session becomes a token.

mod decided;
mod denied;
mod guests;
mod judge;
mod revalidate;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::task::TaskTracker;

use crate::clock::Timestamp;
use crate::denials::Denials;
use crate::guests::{GuestError, Guests};
use crate::identity::Bindings;
use crate::ids::{Identity, ProviderName, RequestId, Subject};
use crate::login::{Proven, Vouched};
use crate::oidc::{Claims, OidcError};
use crate::policy::Decision;
use crate::sessions::{Live, Member, SessionCookie, SessionError, Sessions};
use crate::store::{
    Binding, Claim, Dated, NewStanding, Outcome, SessionKey, Store, StoreError, Verdict,
};
use crate::telemetry::AUDIT;
use crate::token::{AccessToken, Grant, LONGEST, Signer};

pub use decided::Decided;
pub use denied::{DenialCode, Denied};
use denied::{Ground, blocked};
pub use guests::Lent;
pub use judge::{Judge, NoSubject, Stale, identity_of, still_means, subject_of};

/// How often a login looks which identity the subject has, when it is overtaken by other logins or by what operators do.
const LOOKS: u32 = 3;

/// What is kept of people.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a subject's last claims are kept beyond its sessions, for `what-if`.
    pub keep_claims: Duration,
}

/// Why somebody whom a provider vouches for may not come in, or get a token.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// It was decided so.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An operator blocked the identity that they have, or would get.
    #[error("the identity {identity} is blocked")]
    Blocked {
        /// The identity.
        identity: Identity,
    },
    /// There is no session to mint on.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is no guest to mint for.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// The provider has not been reached for longer than its grace; another try makes sense `after`.
    #[error("the provider cannot be asked whether it still vouches for the person")]
    Away {
        /// How long to wait.
        after: Duration,
    },
    /// The token that stands for somebody is too old, or not valid now.
    #[error(transparent)]
    Token(#[from] OidcError),
    /// The store has no answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token and whose it is.
#[derive(Debug)]
pub struct Minted {
    /// The member's or the guest's identity.
    pub identity: Identity,
    /// The token.
    pub token: AccessToken,
}

/// Somebody who has come in.
#[derive(Debug)]
pub struct SignedIn {
    /// Whom the provider means.
    pub subject: Subject,
    /// For the device.
    pub cookie: SessionCookie,
    /// The new session.
    pub live: Live<()>,
}

/// Where a decision was asked for.
#[derive(Clone, Copy)]
enum Path {
    Login,
    Session,
    Bearer,
    Exchange,
    Guest,
}

impl Path {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Session => "session",
            Self::Bearer => "bearer",
            Self::Exchange => "exchange",
            Self::Guest => "guest",
        }
    }
}

/// How a token comes to be signed, for the audit log.
#[derive(Clone, Copy)]
struct SignedToken<'a> {
    path: Path,
    provider: Option<&'a ProviderName>,
    client: Option<&'a str>,
}

/// What a decision is about.
#[derive(Clone, Copy)]
struct Case<'a> {
    judge: &'a Judge,
    path: Path,
    issuer: &'a str,
    subject: Option<&'a Subject>,
    claims: &'a Map<String, Value>,
    now: Timestamp,
}

/// The rooms that the mint goes through.
pub struct Rooms {
    /// What is remembered of subjects.
    pub store: Arc<Store>,
    /// Who has which identity.
    pub bindings: Bindings,
    /// Who is signed in.
    pub sessions: Arc<Sessions>,
    /// The pool of guests, if there is one.
    pub guests: Option<Arc<Guests>>,
    /// Who was not let in.
    pub denials: Denials,
    /// Signs tokens.
    pub signer: Signer,
    /// What goes on after its caller has gone.
    pub tasks: TaskTracker,
}

/// Makes members of the proven, and tokens for members.
pub struct Mint {
    judges: HashMap<ProviderName, Judge>,
    rooms: Rooms,
    settings: Settings,
}

impl Mint {
    /// A mint that decides by these judges.
    pub fn new(judges: Vec<Judge>, rooms: Rooms, settings: Settings) -> Self {
        let by_name = |judge: Judge| (judge.provider.settings().name.clone(), judge);
        Self { judges: judges.into_iter().map(by_name).collect(), rooms, settings }
    }

    /// Decides whether somebody proven may come in, and as whom, and opens a session on the device called `label`. A denial is on
    /// record before this returns, and counts for the subject's other sessions at their next token.
    ///
    /// # Errors
    ///
    /// [`MintError::Denied`] when the claims name no subject, the policy says no, or the subject can have no identity;
    /// [`MintError::Blocked`]; [`MintError::Session`] with [`SessionError::Ended`] when the provider is none of ours, and with
    /// [`SessionError::LoggedOut`], and with [`SessionError::Overtaken`] when another login of the subject was denied meanwhile, or
    /// operators ended its sessions or moved its identity again and again;
    /// [`MintError::Store`] when the store has no answer.
    pub async fn sign_in(&self, proven: &Proven, label: &str) -> Result<SignedIn, MintError> {
        let mut looks = 1;
        let mut first = None;
        loop {
            let mut member = self.admit(proven).await?;
            // A denial that came after the first look is of claims that may be newer than these, however often one looks again.
            member.found.obtained = *first.get_or_insert(member.found.obtained);
            match self.rooms.sessions.open(&member, label).await {
                // Who was proven is proven still; whose the identity is may be another matter by now.
                Err(SessionError::Overtaken) if looks < LOOKS => looks += 1,
                opened => {
                    let (cookie, live) = opened?;
                    return Ok(SignedIn { subject: member.standing.subject, cookie, live });
                }
            }
        }
    }

    /// Decides whether somebody proven may come in, and as whom.
    async fn admit<'a>(&self, proven: &'a Proven) -> Result<Member<'a>, MintError> {
        let judge = self.judge(&proven.provider.settings().name)?;
        let Claims { issuer, document: claims } = &proven.redeemed.claims;
        let now = proven.time.now();
        let mut case = Case { judge, path: Path::Login, issuer, subject: None, claims, now };
        let subject = match judge.subject(issuer, claims) {
            Ok(subject) => subject,
            Err(error) => return Err(self.turn_away(case, Ground::NoSubject(error)).await?.into()),
        };
        case.subject = Some(&subject);
        let provider = &judge.provider.settings().name;
        let found = self.rooms.bindings.find(&subject, Some(provider)).await?.value;
        let (decision, identity) = match self.decide(case, &subject, &found.binding).await? {
            Ok(decided) => decided,
            Err(ground) => return Err(self.turn_away(case, ground).await?.into()),
        };
        let decided = Decided::of(&decision).to_text();
        let standing = self.standing(case, &subject, allowed(&decision), decided);
        let (begun, redeemed) = (proven.begun, &proven.redeemed);
        Ok(Member { identity, found, standing, begun, redeemed })
    }

    /// Mints a token for a bearer, or for whom a client brings. No session is made, and what the token says is remembered of nobody:
    /// a login's claims may say more. The policy decides each time.
    ///
    /// # Errors
    ///
    /// [`MintError::Token`] when the token's dates are not good by the store's clock; [`MintError::Denied`] when it names no
    /// subject, the policy says no, or the subject can have no identity; [`MintError::Blocked`]; [`MintError::Session`] with
    /// [`SessionError::Ended`] when the provider is none of ours, and with [`SessionError::Overtaken`] when operators moved the
    /// identity again and again meanwhile; [`MintError::Store`] when the store has no answer.
    pub async fn mint_for(&self, vouched: Vouched) -> Result<Minted, MintError> {
        let Vouched { provider, token, max_age, client } = vouched;
        let name = &provider.settings().name;
        let judge = self.judge(name)?;
        let subject = judge.subject(token.issuer(), token.unjudged());
        let (found, now) = match &subject {
            Ok(subject) => {
                let Dated { value, time } = self.rooms.bindings.find(subject, None).await?;
                (value.binding, time.at())
            }
            Err(_) => (Binding::default(), self.rooms.store.read_time().await?.time.at()),
        };
        let Claims { issuer, document } = token.dated(now, max_age)?;
        let path = if client.is_some() { Path::Exchange } else { Path::Bearer };
        let case = Case {
            judge,
            path,
            issuer: &issuer,
            subject: subject.as_ref().ok(),
            claims: &document,
            now,
        };
        let decided = match &subject {
            Ok(subject) => self.decide_and_bind(case, subject, found).await?,
            Err(error) => Err(Ground::NoSubject(error.clone())),
        };
        let (decision, identity) = match decided {
            Ok(decided) => decided,
            Err(ground) => {
                let denied = self.deny(case, ground).await?;
                denied.audit(case);
                return Err(denied.into());
            }
        };
        // When the provider's token ends does not matter: it proves who comes, now (contract §3.3, §3.4).
        let (ground_ends, token_ttl) = (now.plus(LONGEST), decision.token_ttl);
        let id = RequestId::unique();
        let grant = Grant { identity: &identity, id, now, ground_ends, token_ttl };
        let token = self
            .sign(&grant, SignedToken { path, provider: Some(name), client: client.as_deref() })?;
        Ok(Minted { identity, token })
    }

    /// What is decided about a subject that makes no session, which is bound to its identity now.
    async fn decide_and_bind(
        &self,
        case: Case<'_>,
        subject: &Subject,
        mut found: Binding,
    ) -> Result<Result<(Decision, Identity), Ground>, MintError> {
        for _ in 0..LOOKS {
            let decided = self.decide(case, subject, &found).await?;
            let Ok((_, identity)) = &decided else { return Ok(decided) };
            if found.identity.is_some()
                || self.rooms.bindings.bind(subject, &found, identity).await?
            {
                return Ok(decided);
            }
            found = self.rooms.bindings.find(subject, None).await?.value.binding;
        }
        Err(SessionError::Overtaken.into())
    }

    /// What is decided about a subject of whom `found` was found, and which identity it has or gets, claimed for it now.
    ///
    /// Whether that identity is blocked is asked last: which one somebody gets the policy has to say, and a denial of its counts when
    /// they are unblocked. Sessions ask nothing of this, for a block ends them.
    async fn decide(
        &self,
        case: Case<'_>,
        subject: &Subject,
        found: &Binding,
    ) -> Result<Result<(Decision, Identity), Ground>, MintError> {
        let decision = match case.judge.decide(case.claims, case.now) {
            Ok(decision) => decision,
            Err(denial) => return Ok(Err(Ground::Policy(denial))),
        };
        let identity = match &found.identity {
            Some(identity) if found.blocked => return Err(blocked(case, identity.clone())),
            Some(identity) => Ok(identity.clone()),
            None => self.new_identity(case, &decision, subject).await?,
        };
        Ok(identity.map(|identity| (decision, identity)))
    }

    /// Mints a token on a session, which counts as using it. The provider is asked again when its word is too old. While the policy
    /// that decided is today's and reads no `now`, it does not run again.
    ///
    /// # Errors
    ///
    /// [`MintError::Away`] when the provider's word is too old, and older than its grace;
    /// [`MintError::Session`] with [`SessionError::Ended`] when the session is over, ends within
    /// [`SHORTEST`](crate::token::SHORTEST), or was opened at a provider that is none any more; [`MintError::Denied`] when
    /// today's policy says no; [`MintError::Store`] when the store has no answer.
    pub async fn mint(self: &Arc<Self>, key: &SessionKey) -> Result<Minted, MintError> {
        let id = RequestId::unique();
        let mut live = self.rooms.sessions.use_once(key, id).await?;
        if live.is_due {
            // In a box, so that each warm token does not carry the room for it.
            live = Box::pin(self.renewed(key, live)).await?;
        }
        let token_ttl = self.token_ttl(key, &live).await?;
        let Live { session, now, until, .. } = live;
        let grant = Grant { identity: &session.identity, id, now, ground_ends: until, token_ttl };
        let token = self.sign(
            &grant,
            SignedToken { path: Path::Session, provider: Some(&session.provider), client: None },
        )?;
        Ok(Minted { identity: session.identity, token })
    }

    fn sign(&self, grant: &Grant<'_>, how: SignedToken<'_>) -> Result<AccessToken, SessionError> {
        let token = self.rooms.signer.sign(grant).ok_or(SessionError::Ended)?;
        tracing::info!(
            target: AUDIT,
            event = "mint",
            identity = grant.identity.as_str(),
            provider = how.provider.map(ProviderName::as_str),
            path = how.path.as_str(),
            client = how.client,
            jti = %grant.id,
            expires = token.expires_at,
            "token minted"
        );
        Ok(token)
    }

    fn judge(&self, provider: &ProviderName) -> Result<&Judge, SessionError> {
        self.judges.get(provider).ok_or(SessionError::Ended)
    }

    /// The identity of a subject that has none: the rule's, or the default one, claimed for it now.
    async fn new_identity(
        &self,
        case: Case<'_>,
        decision: &Decision,
        subject: &Subject,
    ) -> Result<Result<Identity, Ground>, MintError> {
        let identity = match identity_of(decision, subject, None) {
            Ok(identity) => identity,
            Err(denial) => return Ok(Err(Ground::Policy(denial))),
        };
        match self.rooms.bindings.claim(&identity, subject).await? {
            Claim::Ours => Ok(Ok(identity)),
            Claim::Anothers => Ok(Err(Ground::Conflict(identity))),
            Claim::Blocked => Err(blocked(case, identity)),
        }
    }

    /// How long a token on this session may live, as today's policy has it.
    async fn token_ttl(
        &self,
        key: &SessionKey,
        live: &Live<Verdict>,
    ) -> Result<Option<Duration>, MintError> {
        let judge = self.judge(&live.session.provider)?;
        let verdict = &live.with;
        match verdict.outcome {
            Outcome::Allowed { token_ttl }
                if verdict.mark == judge.mark && !judge.policy.reads_now() =>
            {
                Ok(token_ttl)
            }
            _ => {
                let token_ttl = self.decide_anew(judge, key, live).await?;
                // That took a few steps, in which an operator may have ended the session.
                self.rooms.sessions.look_at(key).await?;
                Ok(token_ttl)
            }
        }
    }

    /// Decides again over what was last known of the subject, and remembers that. The identity rule has no say: a subject with a
    /// session is bound.
    async fn decide_anew(
        &self,
        judge: &Judge,
        key: &SessionKey,
        live: &Live<Verdict>,
    ) -> Result<Option<Duration>, MintError> {
        let provider = &live.session.provider;
        loop {
            let standing = self.rooms.store.read_standing(&key.subject, provider).await?.value;
            let standing = standing.ok_or(SessionError::Ended)?;
            let claims = serde_json::from_str(&standing.claims).map_err(|_| SessionError::Ended)?;
            if !judge.still_means(&standing.subject, &claims) {
                return Err(SessionError::Ended.into());
            }
            let case = Case {
                judge,
                path: Path::Session,
                issuer: standing.subject.issuer(),
                subject: Some(&standing.subject),
                claims: &claims,
                now: live.now,
            };
            let (outcome, decided, answer) = match judge.decide(&claims, live.now) {
                Ok(decision) => {
                    let outcome = allowed(&decision);
                    (outcome, Decided::of(&decision).to_text(), Ok(decision.token_ttl))
                }
                Err(denial) => {
                    let denied = self.deny(case, Ground::Policy(denial)).await?;
                    let outcome = Outcome::Denied { reference: denied.reference };
                    (outcome, String::new(), Err(denied))
                }
            };
            let verdict = Verdict { mark: judge.mark, outcome };
            let is_known = (verdict, &decided) == (standing.verdict, &standing.decision);
            let step = self.rooms.store.decide_standing(
                &key.subject,
                provider,
                standing.obtained,
                &verdict,
                &decided,
            );
            // Otherwise there are newer claims, and they count instead.
            if is_known || step.await?.value {
                return answer.map_err(|denied: Denied| {
                    // An app that asks in a loop is told each time, and the log once.
                    if !is_known {
                        denied.audit(case);
                    }
                    denied.into()
                });
            }
        }
    }

    fn standing(
        &self,
        case: Case<'_>,
        subject: &Subject,
        outcome: Outcome,
        decision: String,
    ) -> NewStanding {
        NewStanding {
            subject: subject.clone(),
            provider: case.judge.provider.settings().name.clone(),
            // A document that was parsed can be written.
            claims: serde_json::to_string(case.claims).unwrap_or_default(),
            verdict: Verdict { mark: case.judge.mark, outcome },
            decision,
            keep: self.settings.keep_claims,
        }
    }
}

fn allowed(decision: &Decision) -> Outcome {
    Outcome::Allowed { token_ttl: decision.token_ttl }
}
