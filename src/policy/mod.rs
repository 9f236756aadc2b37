//! Claims → decision: who may come in, as whom, with what. The rules are CEL over `claims`, `provider` and `now`.
//!
//! Owns the rules: their vetting, their lints, and the one function that decides. Does not own the order in which a decision
//! becomes an identity and a token (`mint`), nor where claims and denials are kept (`store`, `denials`). Pure: no store, no
//! network, and the time comes as a value.

#[expect(clippy::needless_pass_by_value, reason = "the library hands arguments over by value")]
mod counted;
mod decision;
mod email;
mod explanation;
mod expression;
mod facts;
#[expect(clippy::needless_pass_by_value, reason = "the library hands arguments over by value")]
mod functions;
mod lints;
mod names;
mod prepare;
mod problem;
mod reads;
mod rules;
mod sample;
mod shape;
mod steps;
mod syntax;
mod vet;

#[cfg(test)]
mod tests;

use std::time::Duration;
use std::{fmt, iter};

use cel::common::value::Val;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::ids::{Digest, ProviderName};

pub use decision::{Decision, Denial, Failure, Wanted, Why};
pub use explanation::{ExplainedRule, Explanation, Outcome, RuleResult};
use expression::Expression;
use facts::Facts;
use functions::Pattern;
pub use lints::{Lint, lint_together};
use reads::Reads;
pub use rules::{Acknowledged, AllowRule, Rules};

/// The claims by which Entra ID says that it left the groups out, and the one that it left out.
/// <https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference>
const GROUPS: &str = "groups";
const CLAIM_NAMES: &str = "_claim_names";
const HAS_GROUPS: &str = "hasgroups";
/// What is a friendly name when there is no rule for it.
const NAME: &str = "name";

/// A rule that has passed the vetting.
#[derive(Clone)]
struct Rule {
    name: String,
    expression: Expression,
    message: Option<String>,
}

/// The rules of one provider.
#[derive(Clone)]
pub struct Policy {
    provider: ProviderName,
    allow: Vec<Rule>,
    identity: Option<Rule>,
    friendly_name: Option<Rule>,
    role: Option<Rule>,
    conversations: Option<Rule>,
    attributes: Option<Rule>,
    token_ttl: Option<Rule>,
    string_email_verified: bool,
    patterns: Vec<Pattern>,
    acknowledged: Vec<Acknowledged>,
    lints: Vec<Lint>,
    reads: Reads,
    fingerprint: Digest,
}

impl Policy {
    /// Decides about the subject of whom a provider says `claims`. The same claims at the same time get the same decision.
    ///
    /// # Errors
    ///
    /// A [`Denial`] that names the first rule that is false, fails, or yields what it may not. The identity's is not among
    /// them: it stands in [`Decision::identity`], because a subject that is bound already does not need the rule.
    pub fn decide(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Decision, Denial> {
        self.decide_on(&self.sight(claims, now), claims)
    }

    /// Decides as [`decide`](Self::decide) does and tells what each rule said, also those that it does not come to.
    pub fn explain(&self, claims: &Map<String, Value>, now: Timestamp) -> Explanation {
        let sight = self.sight(claims, now);
        let is_identity = |rule: &Rule| {
            self.identity.as_ref().is_some_and(|identity| std::ptr::eq(identity, rule))
        };
        let result = |rule: &Rule| {
            let facts = if is_identity(rule) { sight.of_identity() } else { sight.of_rules() };
            let result = match facts {
                Err(denial) => {
                    RuleResult::Error(format!("not run: {} {}", denial.rule, denial.why))
                }
                Ok(facts) => match rule.expression.run(facts, facts::shown) {
                    Ok(value) => RuleResult::Value(explanation::told(value)),
                    Err(error) => {
                        RuleResult::Error(Failure::of(error.as_ref(), |_| true).to_string())
                    }
                },
            };
            let expression = rule.expression.text().to_owned();
            ExplainedRule { rule: rule.name.clone(), expression, result }
        };
        let outcome = match self.decide_on(&sight, claims) {
            Ok(decision) => Outcome::Allowed(serde_json::json!(decision)),
            Err(Denial { rule, why, message }) => {
                Outcome::Denied { rule, why: why.to_string(), message }
            }
        };
        Explanation { now: now.to_string(), rules: self.rules().map(result).collect(), outcome }
    }

    fn decide_on(
        &self,
        sight: &Sight<'_>,
        claims: &Map<String, Value>,
    ) -> Result<Decision, Denial> {
        let facts = sight.of_rules()?;
        for rule in &self.allow {
            rule.ask(facts, decision::allowed)?;
        }
        let identity = match &self.identity {
            None => Ok(Wanted::Default),
            Some(rule) => sight
                .of_identity()
                .and_then(|facts| rule.ask(facts, decision::identity))
                .map(Wanted::Is),
        };
        let friendly_name = match &self.friendly_name {
            None => claims.get(NAME).and_then(Value::as_str).and_then(decision::fitting_name),
            Some(rule) => rule.ask(facts, decision::friendly_name)?,
        };
        Ok(Decision {
            identity,
            friendly_name,
            role: ask(self.role.as_ref(), facts, decision::role)?,
            conversations: ask(self.conversations.as_ref(), facts, decision::conversations)?
                .unwrap_or_default(),
            attributes: ask(self.attributes.as_ref(), facts, decision::attributes)?,
            token_ttl: ask::<Duration>(self.token_ttl.as_ref(), facts, decision::token_ttl)?,
        })
    }

    /// A digest of everything that can change a decision: the rules, what they are told of the provider, and how this version
    /// understands them.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// Whether a rule reads `now`, so that its answer can change while claims and rules do not.
    pub fn reads_now(&self) -> bool {
        self.reads.now
    }

    /// Those of the top-level `claims` that can make a difference to the decision.
    pub fn relevant(&self, claims: &Map<String, Value>) -> Map<String, Value> {
        let relevant = claims.iter().filter(|(name, _)| self.is_relevant(name));
        relevant.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Each rule's name and text, in the order in which they are run.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules().map(|rule| (rule.name.as_str(), rule.expression.text()))
    }

    /// The names of those `allow` rules that read nothing and are false.
    pub fn rules_for_nobody(&self) -> impl Iterator<Item = &str> {
        let is_false = |rule: &&Rule| {
            let (none, reads) = (Map::new(), rule.expression.reads());
            let facts = self.facts(iter::empty(), reads, &none, sample::NOW);
            reads.nothing() && facts.is_ok_and(|facts| rule.ask(&facts, decision::allowed).is_err())
        };
        self.allow.iter().filter(is_false).map(|rule| rule.name.as_str())
    }

    /// The names of those rules whose values belong at Twilio.
    pub fn rules_for_twilio(&self) -> impl Iterator<Item = &str> {
        let rules = [&self.role, &self.conversations, &self.attributes];
        rules.into_iter().flatten().map(|rule| rule.name.as_str())
    }

    fn is_relevant(&self, name: &str) -> bool {
        self.reads.claim(name)
            || self.friendly_name.is_none() && name == NAME
            || self.reads.claim(GROUPS) && matches!(name, CLAIM_NAMES | HAS_GROUPS)
    }

    /// What the rules see. Claims that only the identity rule cannot be run on keep nobody out: the subject may have its identity.
    fn sight<'a>(&'a self, claims: &'a Map<String, Value>, now: Timestamp) -> Sight<'a> {
        let all = self.facts(self.rules(), &self.reads, claims, now);
        match &self.identity {
            Some(identity) if all.is_err() => {
                let others = self.rules_but_identity();
                let rules = self.facts(others.clone(), &Reads::of_all(others), claims, now);
                let reads = identity.expression.reads();
                Sight {
                    rules,
                    identity: Some(self.facts(iter::once(identity), reads, claims, now)),
                }
            }
            _ => Sight { rules: all, identity: None },
        }
    }

    /// The facts for `rules`, which read what is in `reads`; a denial is in the name of the first that reads the claim.
    fn facts<'a>(
        &'a self,
        mut rules: impl Iterator<Item = &'a Rule>,
        reads: &Reads,
        claims: &'a Map<String, Value>,
        now: Timestamp,
    ) -> Result<Facts<'a>, Denial> {
        let mut denial = |claim: &str, why| {
            let rule = rules.find(|rule| rule.expression.reads().claim(claim));
            let rule = rule.map_or_else(String::new, |rule| rule.name.clone());
            Denial { rule, why, message: None }
        };
        if reads.claim(GROUPS) && lacks_groups(claims) {
            return Err(denial(GROUPS, Why::GroupsOverage));
        }
        let claims = facts::claims(claims, |name| reads.claim(name), self.string_email_verified)
            .map_err(|claim| denial(claim, Why::ClaimsTooLarge))?;
        Ok(Facts::new(claims, self.provider.as_str(), now, &self.patterns))
    }

    fn identity_text(&self) -> Option<&str> {
        self.identity.as_ref().map(|rule| rule.expression.text())
    }

    /// All rules, in the order in which they are run.
    fn rules(&self) -> impl Iterator<Item = &Rule> + Clone {
        self.allow.iter().chain(&self.identity).chain(self.rules_after_identity())
    }

    fn rules_but_identity(&self) -> impl Iterator<Item = &Rule> + Clone {
        self.allow.iter().chain(self.rules_after_identity())
    }

    fn rules_after_identity(&self) -> impl Iterator<Item = &Rule> + Clone {
        let rules = [
            &self.friendly_name,
            &self.role,
            &self.conversations,
            &self.attributes,
            &self.token_ttl,
        ];
        rules.into_iter().flatten()
    }
}

/// What the rules of a policy see of one person's claims, or whom it denies because there is nothing that they may be run on.
struct Sight<'a> {
    rules: Result<Facts<'a>, Denial>,
    /// What the identity rule sees where that is not the same.
    identity: Option<Result<Facts<'a>, Denial>>,
}

impl<'a> Sight<'a> {
    fn of_rules(&self) -> Result<&Facts<'a>, Denial> {
        self.rules.as_ref().map_err(Clone::clone)
    }

    fn of_identity(&self) -> Result<&Facts<'a>, Denial> {
        self.identity.as_ref().unwrap_or(&self.rules).as_ref().map_err(Clone::clone)
    }
}

/// The rules as they are written.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, string_email_verified, acknowledged, .. } = self;
        f.debug_struct("Policy")
            .field("provider", provider)
            .field("rules", &self.texts().collect::<Vec<_>>())
            .field("string_email_verified", string_email_verified)
            .field("acknowledged", acknowledged)
            .finish_non_exhaustive()
    }
}

impl Rule {
    fn ask<T>(&self, facts: &Facts<'_>, read: fn(&dyn Val) -> Result<T, Why>) -> Result<T, Denial> {
        let why = match self.expression.run(facts, read) {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(why)) => why,
            Err(error) => {
                let may_name = |name: &str| self.expression.has_word(name);
                Why::Failed(Failure::of(error.as_ref(), may_name))
            }
        };
        Err(Denial { rule: self.name.clone(), why, message: self.message.clone() })
    }
}

fn ask<T>(
    rule: Option<&Rule>,
    facts: &Facts<'_>,
    read: fn(&dyn Val) -> Result<T, Why>,
) -> Result<Option<T>, Denial> {
    rule.map(|rule| rule.ask(facts, read)).transpose()
}

/// Whether the provider says that there are groups, and that it did not send them. An empty list counts as not sent: it must
/// never be taken for "no groups".
fn lacks_groups(claims: &Map<String, Value>) -> bool {
    let left_out = match claims.get(GROUPS) {
        None | Some(Value::Null) => true,
        Some(Value::Array(groups)) => groups.is_empty(),
        Some(_) => false,
    };
    let elsewhere = claims.get(CLAIM_NAMES).is_some_and(|names| names.get(GROUPS).is_some());
    let has = claims.get(HAS_GROUPS).is_some_and(|has| *has == true || has == "true");
    left_out && (elsewhere || has)
}
