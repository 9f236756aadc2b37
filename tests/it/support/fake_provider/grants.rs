//! What codes and refresh tokens are worth, and for how long.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Login, Provider, State, Twist, keys, set};

/// What came of one login.
pub(super) struct Grant {
    login: Login,
    /// The one that is good.
    refresh_token: String,
    /// Those that were.
    spent: Vec<String>,
    /// Whether it is over: revoked, or one of its refresh tokens was used twice.
    is_over: bool,
}

impl Provider {
    /// The tokens for a code or a refresh token, or an error of RFC 6749 §5.2.
    pub(super) fn redeem(
        &self,
        form: &HashMap<String, String>,
        authorization: Option<&str>,
    ) -> Result<Value, &'static str> {
        let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let mut state = self.state();
        for secret in
            ["code_verifier", "client_assertion"].into_iter().filter_map(|name| form.get(name))
        {
            state.secrets.push(secret.clone());
        }
        self.check_client(&state, form, authorization)?;
        let (place, is_new) = match given("grant_type") {
            "authorization_code" => (state.open_grant(form)?, true),
            "refresh_token" => state.renew_grant(given("refresh_token"))?,
            _ => return Err("unsupported_grant_type"),
        };
        Ok(self.answer(&mut state, place, is_new))
    }

    /// Whoever asks is the client.
    pub(super) fn check_client(
        &self,
        state: &State,
        form: &HashMap<String, String>,
        authorization: Option<&str>,
    ) -> Result<(), &'static str> {
        let issuer = self.issuer();
        let token_endpoint = format!("{}/token", self.origin);
        let reader = if self.has_tenants() {
            keys::Reader::EntraId { token_endpoint: &token_endpoint }
        } else {
            keys::Reader::Issuer(&issuer)
        };
        if keys::is_client(&state.registered, form, authorization, &reader) {
            Ok(())
        } else {
            Err("invalid_client")
        }
    }

    /// Tokens for a grant, with a refresh token where that is new.
    fn answer(&self, state: &mut State, place: usize, has_refresh_token: bool) -> Value {
        let access_token = keys::random("canary-access-token");
        state.access_tokens.insert(access_token.clone(), place);
        let grant = &state.grants[place];
        let id_token = self.id_token(state, &grant.login, &access_token, "vestibule");
        let refresh_token = has_refresh_token.then(|| grant.refresh_token.clone());
        state.secrets.extend([access_token.clone(), id_token.clone()]);
        state.secrets.extend(refresh_token.clone());
        let mut answer = json!({
            // In lower case, as some spell it.
            "token_type": "bearer",
            "access_token": access_token,
            "expires_in": "3600",
            "id_token": id_token,
        });
        set(&mut answer, "refresh_token", refresh_token.map(Into::into));
        for twist in &state.twists {
            match twist {
                Twist::TokenMember(name, value) => set(&mut answer, name, value.clone()),
                Twist::IdToken(text) => set(&mut answer, "id_token", Some(text.clone().into())),
                _ => {}
            }
        }
        answer
    }

    /// Revokes a token, known or not (RFC 7009 §2.2).
    pub(super) fn revoke(
        &self,
        form: &HashMap<String, String>,
        authorization: Option<&str>,
    ) -> Result<(), &'static str> {
        let mut state = self.state();
        self.check_client(&state, form, authorization)?;
        let token = form.get("token").ok_or("invalid_request")?;
        state.revoked.push(token.clone());
        for grant in state.grants.iter_mut().filter(|grant| grant.has_had(token)) {
            grant.is_over = true;
        }
        Ok(())
    }
}

impl State {
    /// The grant of a code, which is good for one use.
    fn open_grant(&mut self, form: &HashMap<String, String>) -> Result<usize, &'static str> {
        let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let login = self.codes.remove(given("code")).ok_or("invalid_grant")?;
        if login.redirect_uri != given("redirect_uri")
            || login.challenge != keys::challenge(given("code_verifier"))
        {
            return Err("invalid_grant");
        }
        let refresh_token = keys::random("canary-refresh-token");
        self.grants.push(Grant { login, refresh_token, spent: Vec::new(), is_over: false });
        Ok(self.grants.len() - 1)
    }

    /// The grant of a refresh token, which is good for one use if it rotates, and whether it has got another. A second use ends the
    /// grant.
    fn renew_grant(&mut self, refresh_token: &str) -> Result<(usize, bool), &'static str> {
        self.count("refresh");
        let found = self.grants.iter().position(|grant| grant.has_had(refresh_token));
        let place = found.ok_or("invalid_grant")?;
        if self.grants[place].refresh_token != refresh_token {
            self.grants[place].is_over = true;
            self.count("replay");
        }
        if !self.is_good(place) {
            return Err("invalid_grant");
        }
        if self.rotates {
            self.grants[place].rotate();
        }
        Ok((place, self.rotates))
    }

    /// Whoever an access token speaks for.
    pub(super) fn login_of(&self, access_token: &str) -> Option<&Login> {
        let place = *self.access_tokens.get(access_token)?;
        self.is_good(place).then(|| &self.grants[place].login)
    }

    /// Ends all grants of a person.
    pub(super) fn end_grants_of(&mut self, who: &str) {
        for grant in self.grants.iter_mut().filter(|grant| grant.login.subject == who) {
            grant.is_over = true;
        }
    }

    fn is_good(&self, place: usize) -> bool {
        let grant = &self.grants[place];
        !grant.is_over && !self.disabled.contains(&grant.login.subject)
    }
}

impl Grant {
    fn has_had(&self, refresh_token: &str) -> bool {
        self.refresh_token == refresh_token || self.spent.iter().any(|spent| spent == refresh_token)
    }

    fn rotate(&mut self) {
        let next = keys::random("canary-refresh-token");
        self.spent.push(std::mem::replace(&mut self.refresh_token, next));
    }
}
