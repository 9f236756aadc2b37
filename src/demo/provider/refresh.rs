//! Refresh tokens: each is good for one use, and what came of one login ends together (RFC 9700 §4.14.2).

use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use serde_json::Value;

use super::{Grant, Memory, Parameters, Provider, TokenError, random_text};

/// How long a refresh token waits for its use.
const REFRESH_LIFE: Duration = Duration::from_hours(24);

/// What a refresh token stands for.
pub(super) struct Refresh {
    grant: Grant,
    /// The code that it all began with.
    code: String,
    is_spent: bool,
    ends: Duration,
}

impl Provider {
    /// Redeems a refresh token for new tokens, another refresh token among them.
    ///
    /// # Errors
    ///
    /// [`TokenError::InvalidGrant`] when it was never given, has ended, or was used before: then whatever came of its login ends.
    /// [`TokenError::InvalidRequest`] and [`TokenError::Server`] too.
    pub(super) fn refresh(&self, form: &Parameters, now: Duration) -> Result<Value, TokenError> {
        let token = form.need("refresh_token").map_err(TokenError::InvalidRequest)?;
        let (code, grant) = self
            .memory()
            .take_refresh(token, now)
            .ok_or(TokenError::InvalidGrant("refresh_token"))?;
        self.issue(&code, &grant, now).map_err(|_| TokenError::Server)
    }

    /// Ends what came of the login that gave the form's `token` (RFC 7009 §2.1). Of one that is unknown, nothing is left to end.
    ///
    /// # Errors
    ///
    /// [`TokenError::InvalidClient`], [`TokenError::InvalidRequest`]. No other.
    pub(super) fn revoke(
        &self,
        authorization: Option<&str>,
        form: &Parameters,
    ) -> Result<(), TokenError> {
        self.check_client(authorization)?;
        let token = form.need("token").map_err(TokenError::InvalidRequest)?;
        let mut memory = self.memory();
        let of_refresh = memory.refreshes.get(token).map(|refresh| refresh.code.clone());
        let of_access = memory.accesses.get(token).map(|access| access.code.clone());
        if let Some(code) = of_refresh.or(of_access) {
            memory.end(&code);
        }
        Ok(())
    }

    /// A refresh token for what `code` began. Only the first ID token repeats the nonce (OpenID Connect Core §12.2).
    pub(super) fn give_refresh(
        &self,
        code: &str,
        grant: &Grant,
        now: Duration,
    ) -> Result<String, Unspecified> {
        let token = random_text()?;
        let mut grant = grant.clone();
        grant.request.nonce = None;
        let code = code.to_owned();
        let refresh = Refresh { grant, code, is_spent: false, ends: now + REFRESH_LIFE };
        let mut memory = self.memory();
        memory.refreshes.retain(|_, refresh| now < refresh.ends);
        memory.refreshes.insert(token.clone(), refresh);
        Ok(token)
    }
}

impl Memory {
    fn take_refresh(&mut self, token: &str, now: Duration) -> Option<(String, Grant)> {
        let refresh = self.refreshes.get_mut(token).filter(|refresh| now < refresh.ends)?;
        let code = refresh.code.clone();
        if refresh.is_spent {
            self.end(&code);
            return None;
        }
        refresh.is_spent = true;
        Some((code, refresh.grant.clone()))
    }

    /// Ends what came of a code.
    pub(super) fn end(&mut self, code: &str) {
        self.accesses.retain(|_, access| access.code != code);
        self.refreshes.retain(|_, refresh| refresh.code != code);
    }
}
