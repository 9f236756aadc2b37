//! Introspection (RFC 7662): what the provider says now about an access token that says nothing itself.
//!
//! A good answer counts for a while, so that the provider is not asked at each mint; that the token is worth nothing is asked anew each
//! time. Of a token only its digest is kept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use url::Url;
use url::form_urlencoded::Serializer;

use super::bearer::{self, Undated, Vouched};
use super::http::{Answer, Endpoint};
use super::id_token::{self, date, kind};
use super::{Claims, OidcError, Provider, cut, redemption, untrusted, userinfo};
use crate::clock::{StoreTime, Timestamp};
use crate::ids::Digest;

/// The most requests to one provider at the same time. Anybody can make up tokens, and each that is not known is asked about.
const AT_ONCE: usize = 16;

/// How long one waits for its turn, when so many are under way.
const TURN: Duration = Duration::from_secs(1);

/// The longest token that is asked about, in bytes.
const LONGEST: usize = 8 * 1024;

/// What all answers that are kept may weigh, in bytes: some ten thousand of the usual size.
const MOST_KEPT: usize = 16 * 1024 * 1024;

/// What an answer weighs beside its claims.
const OWN_WEIGHT: usize = 512;

/// What speaks of the token, or of userinfo's answer, and not of the person: userinfo has no say in it.
const OF_THE_TOKEN: [&str; 12] = [
    "active",
    "aud",
    "azp",
    "client_id",
    "cnf",
    "exp",
    "iat",
    "iss",
    "jti",
    "nbf",
    "scope",
    "token_type",
];

/// A token, and for whom it has to be meant.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The token. It is shown to the provider.
    pub raw_token: &'a SecretString,
    /// For whom it may be meant.
    pub audiences: &'a [String],
}

impl Question<'_> {
    /// Whether this can be anybody's access token (RFC 6749 §A.12) at all, of at most 8 KiB.
    pub fn makes_sense(&self) -> bool {
        #[expect(clippy::disallowed_methods, reason = "only its characters are looked at")]
        let token = self.raw_token.expose_secret();
        (1..=LONGEST).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// What an answer is kept under: it counts for this token and these audiences.
    fn digest(&self) -> Digest {
        #[expect(clippy::disallowed_methods, reason = "only a digest is kept")]
        let token = Digest::of(self.raw_token.expose_secret().as_bytes());
        // JSON, so that what ends one part cannot begin the next.
        let parts = Value::from([&[token.to_string()], self.audiences].concat());
        Digest::of(parts.to_string().as_bytes())
    }
}

/// What has been asked of one provider, and what is being asked.
pub(super) struct Introspections {
    turns: Semaphore,
    kept: Mutex<Answers>,
}

impl Default for Introspections {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), kept: Mutex::default() }
    }
}

impl Introspections {
    /// Never held across an await. What a panic left behind is whole: each change is one call.
    fn kept(&self) -> MutexGuard<'_, Answers> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provider {
    /// Whether it can be asked about tokens. Waits for metadata when there is none yet.
    ///
    /// # Errors
    ///
    /// [`OidcError::Unavailable`] of `discovery` or `keys`. No other.
    pub async fn introspects(&self) -> Result<bool, OidcError> {
        let known = self.known(self.deadline()).await?;
        Ok(known.snapshot.metadata.introspection_endpoint.is_some())
    }

    /// What the provider said of this token a while ago, if that still counts.
    pub fn introspected(&self, question: &Question<'_>) -> Option<Undated> {
        let claims = self.introspections.kept().find(&question.digest(), Instant::now())?;
        Some(Undated::new(claims, Vouched::ByItsAnswer))
    }

    /// Asks the provider about a token (RFC 7662 §2.1), and userinfo about whom it speaks for, so that policies see what they see at a
    /// login. The answer counts for `keep` from the question on, and never past the token's end.
    ///
    /// Checks, in order: `active`; `tid`, where there are tenants; `iss`, if it is there; `aud`, or without one `client_id`; `exp`,
    /// `iat` and `nbf`, if they are there; that it is bound to no key (`cnf`); `sub`, which must not be a client's own; that it is an
    /// access token (`token_type`, `token_use`); userinfo's `sub`.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] when a check fails; [`OidcError::Unavailable`] of `introspection` when the provider answers nothing that
    /// its protocol knows or is asked too much already, of `userinfo`, `discovery` or `keys`. No other.
    pub async fn introspect(
        &self,
        question: &Question<'_>,
        keep: Duration,
        time: StoreTime,
    ) -> Result<Undated, OidcError> {
        let answer = self.introspect_in_turn(question, keep, time).await;
        answer.inspect_err(|error| {
            if matches!(error, OidcError::Unavailable { .. }) {
                self.count(error);
            }
        })
    }

    async fn introspect_in_turn(
        &self,
        question: &Question<'_>,
        keep: Duration,
        time: StoreTime,
    ) -> Result<Undated, OidcError> {
        let too_many = || Endpoint::Introspection.of_no_use("asked too much already");
        let turn = timeout(TURN, self.introspections.turns.acquire()).await;
        let _turn = turn.map_err(|_| too_many())?.map_err(|_| too_many())?;
        // Whoever came with the same token before may have been told meanwhile.
        if let Some(known) = self.introspected(question) {
            return Ok(known);
        }
        let asked = Instant::now();
        let claims = self.ask_about(question, time).await?;
        let weight = serde_json::to_string(&claims.document).map_or(0, |text| text.len());
        let now = time.now();
        let keep = date(&claims.document, "exp")?.map_or(keep, |exp| keep.min(now.until(exp)));
        let answer = Kept { claims: claims.clone(), until: asked + keep, weight };
        self.introspections.kept().keep(question.digest(), answer, Instant::now());
        Ok(Undated::new(claims, Vouched::ByItsAnswer))
    }

    async fn ask_about(
        &self,
        question: &Question<'_>,
        time: StoreTime,
    ) -> Result<Claims, OidcError> {
        let deadline = self.deadline();
        let known = self.known(deadline).await?;
        let metadata = &known.snapshot.metadata;
        let none = || Endpoint::Introspection.of_no_use("it has none");
        let endpoint = metadata.introspection_endpoint.as_ref().ok_or_else(none)?;
        let form = form(self, endpoint, question.raw_token, time.now());
        let request = self.credentials.add_to_headers(self.http.post_form(endpoint, form));
        let answer = self.http.send(Endpoint::Introspection, request, deadline).await?;
        let mut document = active(&answer)?;

        let issuer = self.issuer.expected_of(&document)?;
        if let Some(iss) = document.get("iss") {
            issuer.check(Some(iss))?;
        }
        check(&mut document, question.audiences, time.now())?;
        let subject = bearer::check_subject(&document)?;
        let access_token = question.raw_token;
        let asking = userinfo::Question { issuer, access_token, now: time.now() };
        let further = match &metadata.userinfo_endpoint {
            Some(endpoint) => userinfo::fetch(self, endpoint, &asking, deadline).await?,
            None => None,
        };
        check_kind(&document, further.is_some())?;
        if let Some(mut further) = further {
            userinfo::check_subject(&further, subject)?;
            further.retain(|name, _| !OF_THE_TOKEN.contains(&name.as_str()));
            userinfo::merge(&mut further, document);
            document = further;
        }
        let iss = || issuer.text().into();
        document.entry("iss").or_insert_with(iss);
        Ok(Claims { issuer: issuer.text().to_owned(), document: redemption::settled(document)? })
    }
}

fn form(
    provider: &Provider,
    introspection_endpoint: &Url,
    raw_token: &SecretString,
    now: Timestamp,
) -> String {
    let mut form = Serializer::new(String::new());
    #[expect(clippy::disallowed_methods, reason = "the provider is to say what it is worth")]
    let token = raw_token.expose_secret();
    form.append_pair("token", token).append_pair("token_type_hint", "access_token");
    provider.credentials.add_to_form(&mut form, introspection_endpoint, now);
    form.finish()
}

/// The answer's members, when it says that the token counts.
fn active(answer: &Answer) -> Result<Map<String, Value>, OidcError> {
    let of_no_use = |what: &str| {
        let status = answer.status.as_u16();
        Endpoint::Introspection.of_no_use(format!("status {status}{what}"))
    };
    match answer.status {
        StatusCode::OK => {}
        // Some refuse to speak of a token whose form they do not like. About us they say it in a word of RFC 6749 §5.2.
        StatusCode::BAD_REQUEST => {
            let error = answer.json_object()?.remove("error");
            return match error.as_ref().and_then(Value::as_str) {
                Some("invalid_request" | "invalid_token" | "unsupported_token_type") => {
                    Err(untrusted("active", "true", "a token that it does not speak of"))
                }
                Some(error) => Err(of_no_use(&format!(", {}", cut(error)))),
                None => Err(of_no_use("")),
            };
        }
        _ => return Err(of_no_use("")),
    }
    let document = answer.json_object()?;
    match document.get("active") {
        Some(Value::Bool(true)) => Ok(document),
        Some(Value::Bool(false)) => Err(untrusted("active", "true", "false")),
        other => Err(untrusted("active", "true", kind(other))),
    }
}

/// Whom it is meant for, its dates, and that it is not bound to a key that its bearer would have to show (RFC 7800 §3.1). Dates may
/// have fractions in this answer, which are cut off.
fn check(
    document: &mut Map<String, Value>,
    audiences: &[String],
    now: Timestamp,
) -> Result<(), OidcError> {
    match (document.get("aud"), document.get("client_id")) {
        (Some(aud), _) => _ = id_token::check_audience(aud, audiences)?,
        // One without an audience is meant for whom it was given to.
        (None, client @ Some(Value::String(_))) => {
            id_token::check_audience(client.unwrap_or(&Value::Null), audiences)?;
        }
        (None, other) => return Err(untrusted("aud", "one, or a client_id", kind(other))),
    }
    for name in ["exp", "iat", "nbf"] {
        if let Some(value) = document.get_mut(name) {
            cut_off_fraction(value);
        }
    }
    id_token::check_dates(document, now)?;
    if document.contains_key("cnf") {
        return Err(untrusted("cnf", "none", "one"));
    }
    Ok(())
}

fn cut_off_fraction(value: &mut Value) {
    let text = value.as_number().map(ToString::to_string);
    let parts = text.as_deref().and_then(|text| text.split_once('.'));
    // A number with an exponent stays, and is no date.
    if let Some((whole, fraction)) = parts
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(seconds) = whole.parse::<u64>()
    {
        *value = seconds.into();
    }
}

/// That it is an access token that whoever brings it may use (RFC 6750). Refresh tokens are introspected too (RFC 7662 §2.1), and
/// whoever stole one could do nothing with it at the provider without its client's secret. An answer that does not say what it speaks of
/// counts if userinfo took the token, which takes no others.
fn check_kind(document: &Map<String, Value>, answered: bool) -> Result<(), OidcError> {
    let is = |value: &Value, name: &str| {
        value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(name))
    };
    let expected = "an access token of type Bearer";
    match document.get("token_use") {
        Some(usage) if !(is(usage, "access_token") || is(usage, "access")) => {
            return Err(untrusted("token_type", expected, "a token for another use"));
        }
        _ => {}
    }
    match document.get("token_type") {
        Some(token_type) if is(token_type, "bearer") => Ok(()),
        None if answered || document.contains_key("token_use") => Ok(()),
        None => Err(untrusted("token_type", expected, "none, and userinfo does not take it")),
        Some(Value::String(other)) => {
            Err(untrusted("token_type", expected, format!("{:?}", cut(other))))
        }
        other => Err(untrusted("token_type", expected, kind(other))),
    }
}

/// Good answers, for as long as they count.
#[derive(Default)]
struct Answers {
    by_question: HashMap<Digest, Kept>,
    /// Of all of them together.
    weight: usize,
}

struct Kept {
    claims: Claims,
    until: Instant,
    /// The claims as JSON, in bytes.
    weight: usize,
}

impl Answers {
    fn find(&self, question: &Digest, now: Instant) -> Option<Claims> {
        let kept = self.by_question.get(question).filter(|kept| now < kept.until)?;
        Some(kept.claims.clone())
    }

    /// Keeps one more. Those that are over go, and when that makes too little room, those that end first.
    fn keep(&mut self, question: Digest, answer: Kept, now: Instant) {
        self.by_question.insert(question, answer);
        self.by_question.retain(|_, kept| now < kept.until);
        let weight = |kept: &Kept| kept.weight + OWN_WEIGHT;
        self.weight = self.by_question.values().map(weight).sum();
        while self.weight > MOST_KEPT {
            let first = self.by_question.iter().min_by_key(|(_, kept)| kept.until);
            let Some((&first, kept)) = first else { break };
            self.weight -= weight(kept);
            self.by_question.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("{value}") };
        object
    }

    fn refusal<T>(answer: Result<T, OidcError>) -> Option<&'static str> {
        match answer {
            Ok(_) => None,
            Err(OidcError::Untrusted { check, .. }) => Some(check),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_token_is_meant_for_a_listed_audience_or_given_to_a_listed_client() {
        let audiences = ["chat".to_owned(), "app".to_owned()];
        let now = Timestamp::from_millis(NOW * 1000);
        for (document, expected) in [
            (json!({ "aud": "chat" }), None),
            (json!({ "aud": ["x", "app"], "client_id": "y" }), None),
            (json!({ "client_id": "app" }), None),
            (json!({}), Some("aud")),
            (json!({ "client_id": "y" }), Some("aud")),
            (json!({ "client_id": ["app"] }), Some("aud")),
            (json!({ "client_id": null }), Some("aud")),
            (json!({ "aud": "x", "client_id": "app" }), Some("aud")),
            (json!({ "aud": [], "client_id": "app" }), Some("aud")),
            (json!({ "aud": null, "client_id": "app" }), Some("aud")),
            (json!({ "aud": ["app", 7], "client_id": "app" }), Some("aud")),
        ] {
            let checked = check(&mut object(document.clone()), &audiences, now);
            assert_eq!(refusal(checked), expected, "{document}");
        }
    }

    #[test]
    fn dates_are_numbers_whose_fraction_does_not_count() {
        let now = Timestamp::from_millis(NOW * 1000);
        let audiences = ["chat".to_owned()];
        for (dates, expected) in [
            (json!({}), None),
            (json!({ "exp": NOW + 1, "iat": NOW, "nbf": NOW }), None),
            (json!({ "exp": 1_700_000_000.75, "iat": 1_700_000_000.5 }), None),
            (json!({ "exp": 1_699_999_940.5 }), Some("exp")),
            (json!({ "exp": 1_699_999_941.5 }), None),
            (json!({ "exp": NOW - 60 }), Some("exp")),
            (json!({ "exp": null }), Some("exp")),
            (json!({ "exp": "1700000300" }), Some("exp")),
            (json!({ "exp": 1e300 }), Some("exp")),
            (json!({ "exp": -1 }), Some("exp")),
            (json!({ "exp": -1.5 }), Some("exp")),
            (json!({ "iat": NOW + 61 }), Some("iat")),
            (json!({ "iat": 1_700_000_060.9 }), None),
            (json!({ "nbf": NOW + 61 }), Some("nbf")),
            (json!({ "nbf": [NOW] }), Some("nbf")),
            (json!({ "cnf": {} }), Some("cnf")),
        ] {
            let mut document = object(dates.clone());
            document.insert("aud".to_owned(), "chat".into());
            assert_eq!(refusal(check(&mut document, &audiences, now)), expected, "{dates}");
        }
    }

    #[test]
    fn what_is_no_access_token_for_bearers_is_refused() {
        for (document, answered, expected) in [
            (json!({ "token_type": "Bearer" }), false, None),
            (json!({ "token_type": "bearer", "token_use": "access_token" }), false, None),
            (json!({ "token_use": "access" }), false, None),
            (json!({}), true, None),
            (json!({}), false, Some("token_type")),
            (json!({ "token_type": "DPoP" }), true, Some("token_type")),
            (json!({ "token_type": null }), true, Some("token_type")),
            (json!({ "token_type": "refresh_token" }), true, Some("token_type")),
            (
                json!({ "token_type": "Bearer", "token_use": "refresh_token" }),
                true,
                Some("token_type"),
            ),
            (json!({ "token_type": "Bearer", "token_use": 7 }), true, Some("token_type")),
        ] {
            assert_eq!(refusal(check_kind(&object(document.clone()), answered)), expected);
        }
    }

    fn question(token: &str, audiences: &[&str]) -> Digest {
        let (raw_token, audiences) = (token.to_owned().into(), audiences.to_vec());
        let audiences: Vec<_> = audiences.into_iter().map(str::to_owned).collect();
        Question { raw_token: &raw_token, audiences: &audiences }.digest()
    }

    #[test]
    fn an_answer_counts_for_its_token_and_its_audiences_until_it_is_over() {
        let now = Instant::now();
        let mut answers = Answers::default();
        let claims = Claims { issuer: "i".to_owned(), document: Map::new() };
        let answer = |seconds, weight| {
            let until = now + Duration::from_secs(seconds);
            Kept { claims: claims.clone(), until, weight }
        };
        let asked = question("t", &["a", "b"]);

        answers.keep(asked, answer(300, 100), now);

        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(answers.find(&asked, after(299)).is_some());
        assert!(answers.find(&asked, after(300)).is_none());
        for other in [question("t", &["a"]), question("t", &["a,b"]), question("T", &["a", "b"])] {
            assert!(answers.find(&other, now).is_none());
        }
        answers.keep(question("u", &[]), answer(0, 100), now);
        assert_eq!(answers.by_question.len(), 1, "what is over is not kept");
        assert_eq!(answers.weight, 100 + OWN_WEIGHT);
        answers.keep(question("v", &[]), answer(600, 100), after(301));
        assert_eq!(answers.by_question.len(), 1, "what is over makes room");
    }

    #[test]
    fn answers_that_end_first_make_room_for_others() {
        let now = Instant::now();
        let mut answers = Answers::default();
        let claims = Claims { issuer: "i".to_owned(), document: Map::new() };
        let half = MOST_KEPT / 2 - OWN_WEIGHT;
        let (early, late, new) = (question("1", &[]), question("2", &[]), question("3", &[]));
        for (question, seconds) in [(late, 300), (early, 100), (new, 200)] {
            let until = now + Duration::from_secs(seconds);
            answers.keep(question, Kept { claims: claims.clone(), until, weight: half }, now);
        }

        assert!(answers.find(&early, now).is_none());
        assert!(answers.find(&late, now).is_some() && answers.find(&new, now).is_some());
        assert_eq!(answers.weight, MOST_KEPT);
    }

    #[test]
    fn a_token_is_of_visible_ascii_and_not_endless() {
        let makes_sense =
            |token: String| Question { raw_token: &token.into(), audiences: &[] }.makes_sense();

        assert!(makes_sense("a.b/c+d~e_f-g==".to_owned()));
        assert!(makes_sense("x".repeat(LONGEST)));
        for bad in [String::new(), "a b".to_owned(), "é".to_owned(), "x".repeat(LONGEST + 1)] {
            assert!(!makes_sense(bad));
        }
    }
}
