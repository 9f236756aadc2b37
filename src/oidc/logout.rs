//! A logout token (OpenID Connect Back-Channel Logout 1.0 §2.4): the provider says that somebody has signed out.
//!
//! Anybody can send one. What it says is looked at before the provider is asked for anything, so that only a token that might be
//! genuine can make us fetch keys.

use std::slice;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::id_token::{self, LEEWAY, check_dates, date, kind};
use super::issuer::TokenIssuer;
use super::jws::{Jws, Typ};
use super::{OidcError, Provider, cut, untrusted};
use crate::clock::Timestamp;

/// The event that a logout token tells of (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How long after `iat` a token without `exp` counts: an older draft knew none, and it is sent at once.
const LIFE_WITHOUT_EXP: Duration = Duration::from_mins(10);

/// How long after `iat` any token counts, whatever its `exp`: so long its `jti` has to be remembered.
const LONGEST_LIFE: Duration = Duration::from_hours(24);

/// A logout that the provider vouches for, so far as the token's dates are good, which are yet to be judged.
#[derive(Debug)]
pub struct UndatedLogout {
    claims: Map<String, Value>,
    issuer: String,
    sub: Option<String>,
    sid: Option<String>,
    jti: String,
}

/// Who has signed out, by the provider's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logout {
    /// The issuer as the token names it.
    pub issuer: String,
    /// The person; all sessions where there is no `sid`.
    pub sub: Option<String>,
    /// The provider's session.
    pub sid: Option<String>,
    /// The token's own name: a second one of that name counts no more (§2.6 step 8).
    pub jti: String,
    /// How long the token counts, and its name must be remembered.
    pub valid_until: Timestamp,
}

impl UndatedLogout {
    /// The logout, if the token counts at `now`.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `exp`, `iat` or `nbf` when it has ended or not begun, give or take a minute; of `age` when it has no
    /// `exp` and was issued more than ten minutes ago, or a day ago with one. No other.
    pub fn dated(self, now: Timestamp) -> Result<Logout, OidcError> {
        check_dates(&self.claims, now)?;
        let issued = issued(&self.claims)?;
        let life = match date(&self.claims, "exp")? {
            None => LIFE_WITHOUT_EXP,
            Some(exp) => issued.until(exp).min(LONGEST_LIFE),
        };
        let valid_until = issued.plus(life).plus(LEEWAY);
        if now >= valid_until {
            let limit = format!("issued at most {} s ago", life.as_secs());
            return Err(untrusted("age", limit, issued.to_string()));
        }
        let Self { issuer, sub, sid, jti, .. } = self;
        Ok(Logout { issuer, sub, sid, jti, valid_until })
    }
}

impl Provider {
    /// Verifies a logout token, all but its dates and whether its `jti` is new.
    ///
    /// Checks, in order (§2.6): the header; `iss`, `aud`, `events`, that there is no `nonce`, `jti`, `iat`, `exp`, and `sub` or `sid`;
    /// and only then the signature, and whether its key signs for that issuer. Nothing is asked of the provider before that.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] when a check fails; [`OidcError::Unavailable`] of `discovery` or `keys` when the provider cannot say
    /// now which keys it has. No other.
    pub async fn verify_logout_token(
        &self,
        raw_token: &SecretString,
    ) -> Result<UndatedLogout, OidcError> {
        let jws = Jws::read(raw_token, Typ::Logout, &self.settings.algorithms)?;
        let claims = jws.payload()?;
        let issuer = self.logout_issuer(claims.get("iss"))?;
        let undated = read(claims, issuer, &self.settings.client_id)?;
        let key_issuer = self.verify(&jws, Typ::Logout, self.deadline()).await?;
        id_token::check_key(key_issuer.as_ref(), issuer)?;
        Ok(undated)
    }

    /// The issuer that a logout token names, one of ours. It need not name the tenant beside it, as an ID token does.
    fn logout_issuer(&self, iss: Option<&Value>) -> Result<&TokenIssuer, OidcError> {
        let found = self.issuer.of_tokens().iter().find(|issuer| issuer.check(iss).is_ok());
        found.ok_or_else(|| {
            let got = iss.and_then(Value::as_str).map(|other| format!("{:?}", cut(other)));
            let got = got.unwrap_or_else(|| kind(iss).to_owned());
            untrusted("iss", format!("{:?}", self.settings.issuer), got)
        })
    }
}

/// Reads what a token by `issuer` for `client_id` says, in the shape that §2.4 gives it.
fn read(
    claims: Map<String, Value>,
    issuer: &TokenIssuer,
    client_id: &String,
) -> Result<UndatedLogout, OidcError> {
    let aud = claims.get("aud").unwrap_or(&Value::Null);
    id_token::check_audience(aud, slice::from_ref(client_id))?;
    check_event(claims.get("events"))?;
    if claims.contains_key("nonce") {
        return Err(untrusted("nonce", "none", "one"));
    }
    let jti = text(&claims, "jti")?.ok_or_else(|| untrusted("jti", "a string", "none"))?;
    issued(&claims)?;
    date(&claims, "exp")?;
    let (sub, sid) = (text(&claims, "sub")?, text(&claims, "sid")?);
    if sub.is_none() && sid.is_none() {
        return Err(untrusted("sub", "a sub or a sid", "neither"));
    }
    Ok(UndatedLogout { claims, issuer: issuer.text().to_owned(), sub, sid, jti })
}

/// The one event is a logout: with another beside it, the token may be another's business.
fn check_event(events: Option<&Value>) -> Result<(), OidcError> {
    let Some(Value::Object(events)) = events else {
        return Err(untrusted("events", "an object", kind(events)));
    };
    let logout = events.get(EVENT);
    if logout.is_some_and(Value::is_object) && events.len() == 1 {
        return Ok(());
    }
    let names = events.keys().map(String::as_str).collect::<Vec<_>>();
    Err(untrusted("events", format!("{EVENT:?} alone, an object"), cut(&names.join(" "))))
}

fn issued(claims: &Map<String, Value>) -> Result<Timestamp, OidcError> {
    date(claims, "iat")?.ok_or_else(|| untrusted("iat", "a date", "none"))
}

/// A string that is not empty, or none: some write `null` for that.
fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, OidcError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        other => Err(untrusted(name, "a string that is not empty", kind(other))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oidc::issuer::Issuer;

    const NOW: u64 = 1_700_000_000;

    /// A good token's claims with some of them set; the value "absent" takes one away.
    fn claims(changes: &Value) -> Map<String, Value> {
        let mut claims = json!({
            "iss": "https://id.example.com", "aud": "us", "sub": "7", "sid": "s", "jti": "j", "iat": NOW, "exp": NOW + 120,
            "events": { EVENT: {} },
        });
        for (name, value) in changes.as_object().unwrap() {
            if value == "absent" {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        serde_json::from_value(claims).unwrap()
    }

    fn undated(changes: &Value) -> Result<UndatedLogout, &'static str> {
        let issuer = Issuer::parse("https://id.example.com", &[]).unwrap();
        read(claims(changes), &issuer.of_tokens()[0], &"us".to_owned()).map_err(|e| check_of(&e))
    }

    fn dated(changes: &Value, now: u64) -> Result<Logout, &'static str> {
        undated(changes)?.dated(Timestamp::from_millis(now * 1000)).map_err(|e| check_of(&e))
    }

    fn check_of(error: &OidcError) -> &'static str {
        match error {
            OidcError::Untrusted { check, .. } => check,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn whoever_is_named_has_signed_out() {
        let said = |changes| {
            let logout = dated(&changes, NOW).unwrap();
            (logout.sub, logout.sid)
        };
        let person = || Some("7".to_owned());
        let session = || Some("s".to_owned());

        assert_eq!(said(json!({})), (person(), session()));
        assert_eq!(said(json!({ "sid": "absent" })), (person(), None));
        assert_eq!(said(json!({ "sid": null })), (person(), None));
        assert_eq!(said(json!({ "sub": "absent" })), (None, session()));
        assert_eq!(said(json!({ "sub": null })), (None, session()));
        let more = json!({ "sid": null, "trace_id": 7, "aud": ["x", "us"] });
        assert_eq!(said(more), (person(), None));
        let logout = dated(&json!({}), NOW).unwrap();
        assert_eq!((logout.issuer.as_str(), logout.jti.as_str()), ("https://id.example.com", "j"));
    }

    #[test]
    fn what_is_not_shaped_as_a_logout_is_none() {
        let faults: [(&'static str, &[Value]); 8] = [
            ("aud", &[json!("absent"), json!("them"), json!(["them"]), json!(null), json!(7)]),
            (
                "events",
                &[
                    json!("absent"),
                    json!(null),
                    json!(EVENT),
                    json!([EVENT]),
                    json!({}),
                    json!({ EVENT: null }),
                    json!({ EVENT: true }),
                    json!({ EVENT: [] }),
                    json!({ "http://schemas.openid.net/event/backchannel-logout/": {} }),
                    json!({ "https://schemas.openid.net/event/backchannel-logout": {} }),
                    json!({ EVENT: {}, "https://schemas.openid.net/secevent/caep/x": {} }),
                ],
            ),
            ("nonce", &[json!("n"), json!(""), json!(null)]),
            ("jti", &[json!("absent"), json!(null), json!(""), json!(7)]),
            ("iat", &[json!("absent"), json!(null), json!("now"), json!(-1), json!([NOW])]),
            ("exp", &[json!(null), json!("never"), json!(1e300), json!(-1)]),
            ("sub", &[json!(7), json!(""), json!(["7"]), json!({})]),
            ("sid", &[json!(7), json!(""), json!(["s"]), json!(true)]),
        ];
        for (name, values) in faults {
            for value in values {
                let refused = undated(&json!({ name: value })).map(|_| ());
                assert_eq!(refused, Err(name), "{name} {value}");
            }
        }
        for neither in [json!("absent"), json!(null)] {
            let refused = undated(&json!({ "sub": neither, "sid": neither })).map(|_| ());
            assert_eq!(refused, Err("sub"));
        }
    }

    #[test]
    fn a_token_counts_until_it_ends_and_its_name_is_remembered_as_long() {
        let day = 24 * 3600;
        for (changes, now, expected) in [
            (json!({}), NOW, Ok(NOW + 180)),
            (json!({}), NOW + 179, Ok(NOW + 180)),
            (json!({}), NOW + 180, Err("exp")),
            (json!({ "iat": NOW + 60 }), NOW, Ok(NOW + 180)),
            (json!({ "iat": NOW + 61 }), NOW, Err("iat")),
            (json!({ "nbf": NOW + 61 }), NOW, Err("nbf")),
            (json!({ "exp": "absent" }), NOW + 659, Ok(NOW + 660)),
            (json!({ "exp": "absent" }), NOW + 660, Err("age")),
            (json!({ "exp": NOW + day }), NOW + day, Ok(NOW + day + 60)),
            (json!({ "exp": u64::MAX }), NOW + day + 59, Ok(NOW + day + 60)),
            (json!({ "exp": u64::MAX }), NOW + day + 60, Err("age")),
            (json!({ "exp": NOW - 30 }), NOW, Ok(NOW + 60)),
        ] {
            let until = dated(&changes, now).map(|logout| logout.valid_until.as_seconds());
            assert_eq!(until, expected, "{changes} at {now}");
        }
    }
}
