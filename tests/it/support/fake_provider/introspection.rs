//! Opaque access tokens, and what the provider says of them (RFC 7662).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{FakeProvider, Provider, keys};

/// What there is to say of tokens.
#[derive(Default)]
pub(super) struct Introspection {
    is_offered: bool,
    /// Whom the tokens speak for that userinfo takes.
    subjects: HashMap<String, String>,
    answers: HashMap<String, Value>,
    delay: Duration,
    under_way: usize,
    most_under_way: usize,
}

impl FakeProvider {
    /// From now on it has an introspection endpoint, which its metadata names.
    pub fn offer_introspection(&self) {
        self.state().introspection.is_offered = true;
    }

    /// An opaque access token, of which it says what `answer` holds; userinfo takes it where that names a `sub`.
    pub fn opaque_token(&self, answer: Value) -> String {
        let token = keys::random("canary-opaque-token");
        let mut state = self.state();
        if let Some(subject) = answer["sub"].as_str() {
            state.introspection.subjects.insert(token.clone(), subject.to_owned());
        }
        state.secrets.push(token.clone());
        state.introspection.answers.insert(token.clone(), answer);
        token
    }

    /// From now on it says this of a token, which userinfo takes as before.
    pub fn say_of(&self, token: &str, answer: Value) {
        self.state().introspection.answers.insert(token.to_owned(), answer);
    }

    /// From now on introspection takes this long.
    pub fn delay_introspection(&self, delay: Duration) {
        self.state().introspection.delay = delay;
    }

    /// How many introspections were under way at the same time, at most.
    pub fn most_introspections_at_once(&self) -> usize {
        self.state().introspection.most_under_way
    }
}

impl Introspection {
    /// Whom an opaque token speaks for.
    pub(super) fn subject_of(&self, token: &str) -> Option<&String> {
        self.subjects.get(token)
    }
}

impl Provider {
    /// The endpoint, where there is one.
    pub(super) fn introspection_endpoint(&self) -> Option<String> {
        let is_offered = self.state().introspection.is_offered;
        is_offered.then(|| format!("{}/introspect", self.origin))
    }

    /// What it says of the token in the form, to its client.
    pub(super) async fn introspect(
        self: Arc<Self>,
        form: HashMap<String, String>,
        authorization: Option<String>,
    ) -> Result<Value, &'static str> {
        let delay = {
            let introspection = &mut self.state().introspection;
            introspection.under_way += 1;
            introspection.most_under_way =
                introspection.most_under_way.max(introspection.under_way);
            introspection.delay
        };
        tokio::time::sleep(delay).await;
        let mut state = self.state();
        state.introspection.under_way -= 1;
        self.check_client(&state, &form, authorization.as_deref())?;
        if form.get("token_type_hint").is_none_or(|hint| hint != "access_token") {
            return Err("invalid_request");
        }
        let answer = form.get("token").and_then(|token| state.introspection.answers.get(token));
        Ok(answer.cloned().unwrap_or_else(|| json!({ "active": false })))
    }
}
