//! Asking the provider again, when what is known of somebody is too old for a token (contract §3.4).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::denied::Ground;
use super::{Case, Decided, Judge, Mint, MintError, Path, allowed};
use crate::ids::Subject;
use crate::oidc::{Claims, OidcError};
use crate::sessions::{Answer, Asking, Live, SessionError, Turn, alone};
use crate::store::{Outcome, SessionKey, Verdict};
use crate::telemetry::{AUDIT, explain};

/// How soon whoever waits for another's answer looks whether it is there; then half as often each time.
const FIRST_LOOK: Duration = Duration::from_millis(40);
const LAST_LOOK: Duration = Duration::from_millis(320);

/// What became of a session whose provider was to be asked.
enum Asked {
    /// Its word is fresh.
    Fresh,
    /// It is being asked by another.
    ByAnother,
    /// It is away, and is asked again `after`.
    Away { after: Duration },
    /// It cannot be asked here.
    ByNobody,
}

impl Mint {
    /// The session once its provider was asked again, by this caller or another, or is away within its grace.
    ///
    /// # Errors
    ///
    /// [`MintError::Away`] when the provider has been away for longer than that; [`MintError::Session`] with [`SessionError::Ended`]
    /// when it does not vouch any more, or the session ended meanwhile; [`MintError::Store`] when the store has no answer.
    pub(super) async fn renewed(
        self: &Arc<Self>,
        key: &SessionKey,
        live: Live<Verdict>,
    ) -> Result<Live<Verdict>, MintError> {
        let sessions = &self.rooms.sessions;
        let patience = Instant::now() + sessions.patience(&live.session.provider);
        let mut pause = FIRST_LOOK;
        let asked = loop {
            let (mint, key, live) = (self.clone(), *key, live.clone());
            // A caller who goes away must not take along what the refresh token was given for, nor the turn.
            let turn = alone(&self.rooms.tasks, async move { mint.take_turn(&key, &live).await });
            match turn.await? {
                Asked::ByAnother if Instant::now() < patience => {
                    sleep(pause).await;
                    pause = (2 * pause).min(LAST_LOOK);
                }
                Asked::ByAnother => break Asked::Away { after: LAST_LOOK },
                asked => break asked,
            }
        };
        let Live { session, now, until, is_due, with: (verdict, _) } =
            sessions.look_at(key).await?;
        let is_as_before = session.asked == live.session.asked;
        match asked {
            Asked::ByNobody if !sessions.goes_by_login(&session, now) => {
                return Err(SessionError::Ended.into());
            }
            Asked::Away { after } if is_as_before && !sessions.tolerates(&session, now) => {
                return Err(MintError::Away { after });
            }
            _ => {}
        }
        Ok(Live { session, now, until, is_due, with: verdict })
    }

    /// Asks the provider, if it is this caller's turn.
    async fn take_turn(&self, key: &SessionKey, live: &Live<Verdict>) -> Result<Asked, MintError> {
        match self.rooms.sessions.take_turn(key, &live.session).await? {
            Turn::Ours(asking) => match self.ask(*asking, live.with).await {
                // What another has kept by now counts, and else the provider is as good as away.
                Err(MintError::Session(SessionError::Overtaken)) => {
                    Ok(Asked::Away { after: LAST_LOOK })
                }
                asked => asked,
            },
            Turn::Anothers => Ok(Asked::ByAnother),
            Turn::Away { after } => Ok(Asked::Away { after }),
            Turn::Sealed => Ok(Asked::ByNobody),
            Turn::Done => Ok(Asked::Fresh),
        }
    }

    /// Asks the provider, decides about what it says, and keeps that.
    async fn ask(&self, mut asking: Asking, former: Verdict) -> Result<Asked, MintError> {
        let sessions = &self.rooms.sessions;
        let is_kept = match sessions.ask(&mut asking).await? {
            Answer::Claims(claims) => self.decide_renewed(&asking, &claims, former).await?,
            Answer::Nothing => sessions.finish_turn(&asking, None).await?,
            Answer::Away(error) => {
                let provider = asking.provider().settings().name.as_str();
                let why = explain(&error);
                tracing::warn!(provider, why, "the provider cannot be asked again about a session");
                return Ok(Asked::Away { after: sessions.pause_turn(&asking).await? });
            }
            Answer::Ended(error) => return Err(self.end(&asking, &error).await),
        };
        Ok(if is_kept { Asked::Fresh } else { Asked::Away { after: LAST_LOOK } })
    }

    async fn decide_renewed(
        &self,
        asking: &Asking,
        claims: &Claims,
        former: Verdict,
    ) -> Result<bool, MintError> {
        let judge = self.judge(&asking.provider().settings().name)?;
        let Claims { issuer, document } = claims;
        let subject = match judge.subject(issuer, document) {
            Ok(subject) if subject.key() == asking.key().subject => subject,
            // Userinfo alone may not know the claim that names people: then it says nothing of anybody whom we know.
            Err(_) if !asking.has_new_id_token() => {
                return Ok(self.rooms.sessions.finish_turn(asking, None).await?);
            }
            other => {
                let error = another_person(judge, other.ok().as_ref());
                return Err(self.end(asking, &error).await);
            }
        };
        let now = asking.now();
        let case = Case {
            judge,
            path: Path::Session,
            issuer,
            subject: Some(&subject),
            claims: document,
            now,
        };
        let (outcome, decided) = match judge.decide(document, now) {
            Ok(decision) => (allowed(&decision), Decided::of(&decision).to_text()),
            Err(denial) => {
                let denied = self.deny(case, Ground::Policy(denial)).await?;
                let outcome = Outcome::Denied { reference: denied.reference };
                if outcome != former.outcome {
                    denied.audit(case);
                }
                (outcome, String::new())
            }
        };
        let standing = self.standing(case, &subject, outcome, decided);
        Ok(self.rooms.sessions.finish_turn(asking, Some(standing)).await?)
    }

    /// Ends the session, whose provider does not vouch for it any more.
    async fn end(&self, asking: &Asking, why: &OidcError) -> MintError {
        match self.rooms.sessions.end(asking.key()).await {
            Ok(()) => {
                tracing::info!(
                    target: AUDIT,
                    event = "logout",
                    by = "provider",
                    identity = asking.identity().as_str(),
                    provider = asking.provider().settings().name.as_str(),
                    why = explain(why),
                    "the provider does not vouch for a session any more"
                );
                SessionError::Ended.into()
            }
            Err(error) => error.into(),
        }
    }
}

fn another_person(judge: &Judge, subject: Option<&Subject>) -> OidcError {
    OidcError::Untrusted {
        check: "sub",
        expected: format!("the same {}", judge.provider.settings().subject_claim),
        got: subject.map_or_else(|| "none".to_owned(), |subject| format!("{:?}", subject.value())),
    }
}
