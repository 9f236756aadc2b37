//! What roles are called at Twilio: asked for once, and again when what was told seems to be so no more.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Timestamp;
use crate::twilio::TwilioError;

/// How long an answer is taken for true, whatever speaks against it.
const AGAIN: Duration = Duration::from_mins(1);

/// The roles that guests have, each by its SID.
#[derive(Default)]
pub(super) struct Roles {
    /// Of a new user.
    pub(super) user: Remembered,
    /// Of a guest in the guests' conversations.
    pub(super) guest: Remembered,
}

/// A role's SID as Twilio told it last, or that there is none.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Option<Told>>);

struct Told {
    sid: Option<String>,
    at: Timestamp,
    is_doubted: bool,
}

impl Remembered {
    /// The role. It is asked for when nothing is known, and when the last answer is a minute old and was doubted, or was that there is
    /// none. One caller asks, and the others wait.
    ///
    /// # Errors
    ///
    /// Those of `ask`, after which nothing is remembered that was not before.
    pub(super) async fn get<F>(
        &self,
        now: Timestamp,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<String>, TwilioError>
    where
        F: Future<Output = Result<Option<String>, TwilioError>>,
    {
        let mut told = self.0.lock().await;
        if let Some(told) = &*told
            && ((told.sid.is_some() && !told.is_doubted) || now < told.at.plus(AGAIN))
        {
            return Ok(told.sid.clone());
        }
        let sid = ask().await?;
        *told = Some(Told { sid: sid.clone(), at: now, is_doubted: false });
        Ok(sid)
    }

    /// It may be another by now: Twilio refused this one, or somebody new has another.
    pub(super) async fn doubt(&self, sid: &str) {
        if let Some(told) = self.0.lock().await.as_mut()
            && told.sid.as_deref() == Some(sid)
        {
            told.is_doubted = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_role_is_asked_for_again_when_it_is_doubted_or_missing_but_not_at_once() {
        let role = Remembered::default();
        let get = async |seconds: u64, told: Option<&str>| {
            let mut asked = false;
            let ask = async || {
                asked = true;
                Ok(told.map(str::to_owned))
            };
            let sid = role.get(Timestamp::from_millis(seconds * 1000), ask).await.unwrap();
            (asked, sid)
        };
        let is = |sid: &str| Some(sid.to_owned());

        assert_eq!(get(0, None).await, (true, None));
        assert_eq!(get(59, Some("RL1")).await, (false, None));
        assert_eq!(get(60, Some("RL1")).await, (true, is("RL1")));
        assert_eq!(get(9999, Some("RL2")).await, (false, is("RL1")));
        role.doubt("RL0").await;
        assert_eq!(get(9999, Some("RL2")).await, (false, is("RL1")));
        role.doubt("RL1").await;
        assert_eq!(get(119, Some("RL2")).await, (false, is("RL1")));
        assert_eq!(get(9999, Some("RL2")).await, (true, is("RL2")));
        assert_eq!(get(99_999, Some("RL3")).await, (false, is("RL2")));
    }
}
