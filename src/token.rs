//! Grants become a signed access token, in the one shape that the Conversations SDK accepts (contract §4).
//!
//! Owns the token's header, payload, life and signature. Does not own whether anybody may have one (`mint`).

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Timestamp;
use crate::ids::{Identity, RequestId};

/// Whose tokens we sign, with what, for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Twilio account, `AC…`: the token's `sub`.
    pub account_sid: String,
    /// The API key, `SK…`: the token's `iss`.
    pub api_key_sid: String,
    /// The API key's secret: its bytes are the HMAC key.
    pub api_key_secret: SecretString,
    /// The Conversations service, `IS…`.
    pub conversations_service_sid: String,
    /// The push credential, `CR…`, if any.
    pub push_credential_sid: Option<String>,
    /// How long a token lives, from 5 minutes to 23 hours 55 minutes.
    pub ttl: Duration,
}

/// The longest life of a token: Twilio rejects an `exp` more than 24 hours ahead by its own clock, so five minutes are left
/// for that clock to be slow.
pub const LONGEST: Duration = Duration::from_mins(23 * 60 + 55);

/// The shortest life worth handing out: below it the SDK would be asking again before it had connected.
pub const SHORTEST: Duration = Duration::from_mins(1);

/// What a token is signed for.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// Who may connect with it.
    pub identity: &'a Identity,
    /// The token's `jti`: unique for each, because the SDK ignores a token equal to the one it has.
    pub id: RequestId,
    /// The store's clock.
    pub now: Timestamp,
    /// When the ground that it stands on ends.
    pub ground_ends: Timestamp,
    /// How long the policy lets it live; it can only shorten what is configured.
    pub token_ttl: Option<Duration>,
}

/// A signed token and its end.
#[derive(Debug)]
pub struct AccessToken {
    /// The JWT, for its owner only.
    pub jwt: SecretString,
    /// Its `exp`, RFC 3339: written once, for the reply and for the log.
    pub expires_at: String,
    /// From now to its `exp`, in whole seconds.
    pub expires_in: u64,
}

/// Signs tokens for one Conversations service.
pub struct Signer {
    settings: Settings,
    key: hmac::Key,
    /// The encoded header and its dot: the same in every token.
    header: String,
}

impl Signer {
    /// A signer for these settings, which `config` has checked.
    pub fn new(settings: Settings) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the secret becomes the signing key, here and nowhere else"
        )]
        let key =
            hmac::Key::new(hmac::HMAC_SHA256, settings.api_key_secret.expose_secret().as_bytes());
        let header =
            URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256","cty":"twilio-fpa;v=1"}"#) + ".";
        Self { settings, key, header }
    }

    /// Signs a token that ends at the earliest of `now` + `ttl`, what the policy allows, the end of its ground and [`LONGEST`];
    /// `None` when that leaves less than [`SHORTEST`].
    pub fn sign(&self, grant: &Grant<'_>) -> Option<AccessToken> {
        let life = grant.token_ttl.unwrap_or(LONGEST).min(self.settings.ttl).min(LONGEST);
        let expires = grant.now.plus(life).min(grant.ground_ends);
        if grant.now.until(expires) < SHORTEST {
            return None;
        }
        let (iat, exp) = (grant.now.as_seconds(), expires.as_seconds());
        let mut jwt = String::with_capacity(768);
        jwt.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(self.payload(grant, iat, exp), &mut jwt);
        let signature = hmac::sign(&self.key, jwt.as_bytes());
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut jwt);
        Some(AccessToken {
            jwt: jwt.into(),
            expires_at: Timestamp::from_millis(exp * 1000).to_string(),
            expires_in: exp - iat,
        })
    }

    /// The payload of contract §4, without a serializer: SIDs, identities and request ids have no character that JSON escapes. No
    /// `nbf`, since a fast clock of ours would make the token "not yet valid".
    fn payload(&self, grant: &Grant<'_>, iat: u64, exp: u64) -> String {
        let Settings { account_sid, api_key_sid, conversations_service_sid, .. } = &self.settings;
        let Grant { identity, id, .. } = grant;
        let push = match &self.settings.push_credential_sid {
            Some(sid) => format!(r#","push_credential_sid":"{sid}""#),
            None => String::new(),
        };
        format!(
            r#"{{"jti":"{id}","iss":"{api_key_sid}","sub":"{account_sid}","iat":{iat},"exp":{exp},"grants":{{"identity":"{identity}","chat":{{"service_sid":"{conversations_service_sid}"{push}}}}}}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What both of Twilio's helper libraries were given when they made the tokens below.
    const NOW: u64 = 1_700_000_000;

    /// `alice` for an hour without push, by Twilio's Node library 6.2.0.
    const NODE: &str = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImN0eSI6InR3aWxpby1mcGE7dj0xIn0.eyJqdGkiOiJTSzExMTExMTExMTExMTExMTExMTExMTExMTEx",
        "MTExMTExLTE3MDAwMDAwMDAiLCJncmFudHMiOnsiaWRlbnRpdHkiOiJhbGljZSIsImNoYXQiOnsic2VydmljZV9zaWQiOiJJUzIyMjIyMjIyMjIyMjIy",
        "MjIyMjIyMjIyMjIyMjIyMjIyIn19LCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMzYwMCwiaXNzIjoiU0sxMTExMTExMTExMTExMTExMTExMTEx",
        "MTExMTExMTExMSIsInN1YiI6IkFDMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAifQ.nJbo60xbANVFPaux_9SSUvmq66YNTGK-HuJ91AqQm9o",
    );

    /// `alice` for an hour without `nbf`, by Twilio's Python library 9.13.0.
    const PYTHON: &str = concat!(
        "eyJhbGciOiJIUzI1NiIsImN0eSI6InR3aWxpby1mcGE7dj0xIiwidHlwIjoiSldUIn0.eyJqdGkiOiJTSzExMTExMTExMTExMTExMTExMTExMTExMTEx",
        "MTExMTExLTE3MDAwMDAwMDAiLCJncmFudHMiOnsiY2hhdCI6eyJzZXJ2aWNlX3NpZCI6IklTMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIi",
        "fSwiaWRlbnRpdHkiOiJhbGljZSJ9LCJpc3MiOiJTSzExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExIiwiZXhwIjoxNzAwMDAzNjAwLCJzdWIi",
        "OiJBQzAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwIn0.pCANYzdaPD3aCQsXUjWPiSEoxGLEhcDD7dxrunWbQ-U",
    );

    fn signer(push: Option<&str>, ttl: Duration) -> Signer {
        Signer::new(Settings {
            account_sid: format!("AC{}", "0".repeat(32)),
            api_key_sid: format!("SK{}", "1".repeat(32)),
            api_key_secret: "s".repeat(32).into(),
            conversations_service_sid: format!("IS{}", "2".repeat(32)),
            push_credential_sid: push.map(str::to_owned),
            ttl,
        })
    }

    fn sign(signer: &Signer, ground: Duration) -> Option<AccessToken> {
        sign_within(signer, ground, None)
    }

    fn sign_within(
        signer: &Signer,
        ground: Duration,
        token_ttl: Option<Duration>,
    ) -> Option<AccessToken> {
        let now = Timestamp::from_millis(NOW * 1000 + 999);
        let identity = Identity::parse("alice").unwrap();
        let id = RequestId::unique();
        signer.sign(&Grant {
            identity: &identity,
            id,
            now,
            ground_ends: now.plus(ground),
            token_ttl,
        })
    }

    fn decode(jwt: &str) -> (Value, Value) {
        let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
        (next(), next())
    }

    #[expect(clippy::disallowed_methods, reason = "the test looks at what it has signed")]
    fn decode_ours(token: &AccessToken) -> (Value, Value) {
        decode(token.jwt.expose_secret())
    }

    /// Leaves what the two libraries and we share: every field but `jti`, which must differ.
    fn shared((header, mut payload): (Value, Value)) -> (Value, Value) {
        let jti = payload.as_object_mut().unwrap().remove("jti").unwrap();
        assert!(jti.is_string());
        (header, payload)
    }

    #[test]
    fn the_content_is_that_of_twilios_own_libraries() {
        let ours = sign(&signer(None, Duration::from_hours(1)), Duration::from_hours(9)).unwrap();

        let (header, payload) = shared(decode_ours(&ours));
        assert_eq!((header.clone(), payload.clone()), shared(decode(NODE)));
        let (python_header, mut python) = shared(decode(PYTHON));
        python["iat"] = json!(NOW);
        assert_eq!((header, payload), (python_header, python));
    }

    #[test]
    fn the_signature_is_what_twilio_verifies() {
        let key = signer(None, Duration::from_hours(1)).key;
        let ours = sign(&signer(None, Duration::from_hours(1)), Duration::from_hours(9)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test looks at what it has signed")]
        let ours = ours.jwt.expose_secret();

        for jwt in [NODE, PYTHON, ours] {
            let (signed, signature) = jwt.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(hmac::verify(&key, signed.as_bytes(), &signature).is_ok(), "{jwt}");
        }
    }

    #[test]
    fn push_is_granted_only_where_it_is_configured() {
        let push = format!("CR{}", "3".repeat(32));
        let with =
            sign(&signer(Some(&push), Duration::from_hours(1)), Duration::from_hours(9)).unwrap();
        let without =
            sign(&signer(None, Duration::from_hours(1)), Duration::from_hours(9)).unwrap();

        assert_eq!(decode_ours(&with).1["grants"]["chat"]["push_credential_sid"], json!(push));
        assert!(decode_ours(&without).1["grants"]["chat"].get("push_credential_sid").is_none());
    }

    #[test]
    fn a_token_never_outlives_its_ground_its_ttl_or_twilios_patience() {
        let ends = |ttl, ground| {
            let token = sign(&signer(None, ttl), ground).unwrap();
            let payload = decode_ours(&token).1;
            let exp = Timestamp::from_millis(payload["exp"].as_u64().unwrap() * 1000);
            assert_eq!(exp.to_string(), token.expires_at);
            assert_eq!(payload["exp"].as_u64().unwrap() - NOW, token.expires_in);
            token.expires_in
        };

        assert_eq!(ends(Duration::from_hours(1), Duration::from_hours(9)), 3600);
        assert_eq!(ends(Duration::from_hours(1), Duration::from_mins(7)), 7 * 60);
        assert_eq!(ends(Duration::from_hours(99), Duration::from_hours(99)), 86_100);
    }

    #[test]
    fn a_policy_shortens_a_tokens_life_and_never_lengthens_it() {
        let signer = signer(None, Duration::from_hours(1));
        let lives =
            |ttl| sign_within(&signer, Duration::from_hours(9), Some(ttl)).unwrap().expires_in;

        assert_eq!(lives(Duration::from_mins(20)), 20 * 60);
        assert_eq!(lives(Duration::from_hours(2)), 3600);
    }

    #[test]
    fn a_token_that_would_live_for_less_than_a_minute_is_none() {
        let signer = signer(None, Duration::from_hours(1));

        assert!(sign(&signer, Duration::from_millis(59_999)).is_none());
        assert!(sign(&signer, Duration::from_mins(1)).is_some());
        assert!(sign(&signer, Duration::ZERO).is_none());
    }

    #[test]
    fn two_tokens_of_one_moment_differ() {
        let signer = signer(None, Duration::from_hours(1));
        let [one, other] =
            [(); 2].map(|()| decode_ours(&sign(&signer, Duration::from_hours(9)).unwrap()).1);

        assert_ne!(one["jti"], other["jti"]);
    }
}
