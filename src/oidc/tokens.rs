//! What a provider has given for a person: kept, to ask again and to say goodbye with.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::exchange::Given;
use crate::clock::Timestamp;
use crate::ids::Digest;

/// A provider's tokens for one login, and what every later ID token of the same login has to agree with (OpenID Connect Core
/// §12.2).
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The first ID token's, as it names it.
    pub(super) issuer: String,
    /// The first ID token's.
    pub(super) sub: String,
    /// The provider's session, if the first ID token names it.
    pub(super) sid: Option<String>,
    /// Of the first ID token.
    pub(super) nonce: Digest,
    /// The first ID token's, in seconds since 1970, if it says so.
    pub(super) auth_time: Option<u64>,
    pub(super) id_token: SecretString,
    /// Whether the ID token came with the last answer, and nobody has looked at it yet. It is not kept.
    pub(super) id_token_is_new: bool,
    pub(super) access_token: SecretString,
    /// When the access token ends, if the provider says so.
    pub(super) access_until: Option<Timestamp>,
    pub(super) refresh_token: Option<SecretString>,
    /// Whether userinfo told something at the login.
    pub(super) answers_userinfo: bool,
}

/// How they are spelled where they are kept.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    iss: Cow<'a, str>,
    sub: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<Cow<'a, str>>,
    nonce: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
    id: Cow<'a, str>,
    access: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    userinfo: bool,
}

impl Kept<'_> {
    fn to_text(&self, room: usize) -> Zeroizing<String> {
        let mut text = Vec::with_capacity(room);
        #[expect(
            clippy::expect_used,
            reason = "strings, numbers and a boolean are JSON, which is UTF-8"
        )]
        let text = {
            serde_json::to_writer(&mut text, self).expect("it is JSON");
            String::from_utf8(text).expect("JSON is UTF-8")
        };
        Zeroizing::new(text)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a field by reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Tokens {
    /// Themselves as compact JSON, which is as secret as they are.
    pub fn to_text(&self) -> Zeroizing<String> {
        #[expect(clippy::disallowed_methods, reason = "they are written where they are sealed")]
        let [id, access] = [&self.id_token, &self.access_token].map(ExposeSecret::expose_secret);
        #[expect(clippy::disallowed_methods, reason = "so is this one")]
        let refresh = self.refresh_token.as_ref().map(ExposeSecret::expose_secret);
        let kept = Kept {
            iss: self.issuer.as_str().into(),
            sub: self.sub.as_str().into(),
            sid: self.sid.as_deref().map(Into::into),
            nonce: self.nonce.to_string().into(),
            auth_time: self.auth_time,
            id: id.into(),
            access: access.into(),
            until_ms: self.access_until.map(Timestamp::as_millis),
            refresh: refresh.map(Into::into),
            userinfo: self.answers_userinfo,
        };
        // Room for all of it, so that no part stays behind where the text has grown out of.
        let room = id.len() + access.len() + refresh.map_or(0, str::len) + 1024;
        kept.to_text(room)
    }

    /// Reads what [`Tokens::to_text`] wrote; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let kept: Kept<'_> = serde_json::from_str(text).ok()?;
        let secret = |text: Cow<'_, str>| SecretString::from(text.into_owned());
        Some(Self {
            issuer: kept.iss.into_owned(),
            sub: kept.sub.into_owned(),
            sid: kept.sid.map(Cow::into_owned),
            nonce: Digest::parse(&kept.nonce)?,
            auth_time: kept.auth_time,
            id_token: secret(kept.id),
            id_token_is_new: false,
            access_token: secret(kept.access),
            access_until: kept.until_ms.map(Timestamp::from_millis),
            refresh_token: kept.refresh.map(secret),
            answers_userinfo: kept.userinfo,
        })
    }

    /// The issuer as the first ID token names it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whom the first ID token is about.
    pub fn sub(&self) -> &str {
        &self.sub
    }

    /// The provider's name for its own session, if the first ID token has one (OpenID Connect Front-Channel Logout §3): what its logout
    /// tokens name.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Whether there is a refresh token.
    pub const fn can_refresh(&self) -> bool {
        self.refresh_token.is_some()
    }

    /// Until when userinfo can be asked instead of refreshing: while the access token lives. `None` when there is a refresh token, when
    /// userinfo told nothing at the login, or when the provider did not say how long the access token lives.
    pub fn userinfo_until(&self) -> Option<Timestamp> {
        self.access_until.filter(|_| self.answers_userinfo && !self.can_refresh())
    }

    /// Whether the provider's last answer brought an ID token.
    pub const fn id_token_is_new(&self) -> bool {
        self.id_token_is_new
    }

    /// The last ID token, to be the hint of a logout (OpenID Connect RP-Initiated Logout §2). It may have ended.
    pub const fn id_token(&self) -> &SecretString {
        &self.id_token
    }

    /// These tokens once the provider has given others in their place. A refresh token stays good until another one comes (RFC 6749
    /// §6); so does an ID token as a hint.
    pub(super) fn renewed(&self, given: Given, now: Timestamp) -> Self {
        let access_until = given.access_until(now);
        let old = self.clone();
        Self {
            id_token_is_new: given.id_token.is_some(),
            id_token: given.id_token.unwrap_or(old.id_token),
            access_token: given.access_token,
            access_until,
            refresh_token: given.refresh_token.or(old.refresh_token),
            ..old
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens {
            issuer: "https://id.example.com/\"".to_owned(),
            sub: "7\u{e9}\\".to_owned(),
            sid: Some("s".to_owned()),
            nonce: Digest::of(b"n"),
            auth_time: Some(1_700_000_000),
            id_token: "canary-id".into(),
            id_token_is_new: true,
            access_token: "canary-access\"\\".into(),
            access_until: Some(Timestamp::from_millis(1_700_000_300_500)),
            refresh_token: Some("canary-refresh".into()),
            answers_userinfo: true,
        }
    }

    fn given(id_token: Option<&str>, refresh_token: Option<&str>) -> Given {
        Given {
            id_token: id_token.map(Into::into),
            access_token: "canary-new-access".into(),
            refresh_token: refresh_token.map(Into::into),
            life: None,
        }
    }

    #[test]
    fn what_was_written_reads_the_same_but_an_id_token_is_new_only_once() {
        let bare = Tokens {
            sid: None,
            auth_time: None,
            access_until: None,
            refresh_token: None,
            answers_userinfo: false,
            ..tokens()
        };

        for tokens in [tokens(), bare] {
            let text = tokens.to_text();
            let read = Tokens::read(&text).unwrap();

            assert_eq!(*read.to_text(), *text);
            assert_eq!(read.sub, tokens.sub);
            assert_eq!(read.sid, tokens.sid);
            assert_eq!(read.nonce, tokens.nonce);
            assert_eq!(read.access_until, tokens.access_until);
            assert_eq!(read.can_refresh(), tokens.can_refresh());
            assert!(!read.id_token_is_new);
        }
        let text = tokens().to_text();
        for bad in ["", "{}", "7", &text[1..], &text.replace("\"nonce\":\"", "\"nonce\":\"x")] {
            assert!(Tokens::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        assert!(!format!("{:?}", tokens()).contains("canary"));
    }

    #[test]
    fn what_is_not_renewed_stays() {
        let now = Timestamp::from_millis(0);
        let kept = tokens().renewed(given(None, None), now).to_text();
        let replaced = tokens().renewed(given(Some("canary-2"), Some("canary-3")), now);

        assert!(kept.contains("\"canary-id\"") && kept.contains("\"canary-refresh\""), "{kept:?}");
        assert!(!kept.contains("canary-access") && !kept.contains("until_ms"), "{kept:?}");
        assert!(!tokens().renewed(given(None, None), now).id_token_is_new);
        assert!(replaced.id_token_is_new);
        let replaced = replaced.to_text();
        assert!(replaced.contains("\"canary-2\"") && replaced.contains("\"canary-3\""));
        assert!(replaced.contains(&Digest::of(b"n").to_string()));
    }

    #[test]
    fn userinfo_stands_in_for_a_refresh_token_while_the_access_token_lives() {
        let without = || Tokens { refresh_token: None, ..tokens() };

        assert_eq!(tokens().userinfo_until(), None);
        assert_eq!(without().userinfo_until(), tokens().access_until);
        assert_eq!(Tokens { answers_userinfo: false, ..without() }.userinfo_until(), None);
        assert_eq!(Tokens { access_until: None, ..without() }.userinfo_until(), None);
    }
}
