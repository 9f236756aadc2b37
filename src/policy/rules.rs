//! From what an operator writes to a [`Policy`].

use cel::common::value::Val;
use serde_json::json;

use super::expression::Expression;
use super::facts::{self, Facts};
use super::functions::Pattern;
use super::problem::Problem;
use super::reads::Reads;
use super::{Policy, Rule, Why, decision, sample};
use crate::ids::{Digest, ProviderName};

/// How this version understands rules: counted up when the same rules may decide otherwise over the same claims, as after a
/// change of CEL's library that changes a golden test.
const SEMANTICS: u32 = 2;

/// The most rules under `allow`. All of them are run to explain a denial, each with steps of its own.
pub(super) const MOST_ALLOW: usize = 32;

/// What an operator writes; each rule a CEL expression over `claims`, `provider` and `now`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Bools that must all be true; at least one.
    pub allow: Vec<AllowRule>,
    /// A string, the identity; `None` for the default one.
    pub identity: Option<String>,
    /// A string, what others see; `None` for the claim `name`.
    pub friendly_name: Option<String>,
    /// A string, a role's friendly name.
    pub role: Option<String>,
    /// A list of strings, conversations' unique names.
    pub conversations: Option<String>,
    /// A map.
    pub attributes: Option<String>,
    /// A duration, how long a token may live at most.
    pub token_ttl: Option<String>,
    /// Whether the string "true" says that an e-mail is verified, as Cognito sends it.
    pub string_email_verified: bool,
    /// The lints that the operator knows about.
    pub acknowledge: Vec<Acknowledged>,
}

/// What must hold for somebody to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowRule {
    /// A bool.
    pub rule: String,
    /// What the person reads when it does not hold.
    pub message: Option<String>,
}

/// A lint that the operator has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its name.
    pub lint: String,
    /// Why it is no harm here.
    pub reason: String,
}

/// One thing that is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    /// Where: `allow[1].rule`, `identity`.
    pub rule: String,
    /// What is wrong: `is not an expression`.
    pub problem: &'static str,
    /// What to do about it, a sentence.
    pub mend: String,
    /// The rule around the place, and on a second line a mark below it; of what is plainly a rule, for that is no secret.
    pub excerpt: Option<String>,
}

impl Policy {
    /// Reads and vets the rules of `provider`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, at least one [`RuleFault`].
    pub fn compile(provider: &ProviderName, rules: Rules) -> Result<Self, Vec<RuleFault>> {
        let fingerprint = fingerprint(provider, &rules);
        let mut compiler = Compiler { provider, patterns: Vec::new(), faults: Vec::new() };
        let allow = compiler.allow(rules.allow);
        let identity = compiler.optional("identity", rules.identity, decision::identity);
        compiler.refuse_one_identity_for_all(identity.as_ref());
        let mut policy = Self {
            provider: provider.clone(),
            allow,
            identity,
            friendly_name: compiler.optional(
                "friendly_name",
                rules.friendly_name,
                decision::friendly_name,
            ),
            role: compiler.optional("role", rules.role, decision::role),
            conversations: compiler.optional(
                "conversations",
                rules.conversations,
                decision::conversations,
            ),
            attributes: compiler.optional("attributes", rules.attributes, decision::attributes),
            token_ttl: compiler.optional("token_ttl", rules.token_ttl, decision::token_ttl),
            string_email_verified: rules.string_email_verified,
            patterns: compiler.patterns,
            acknowledged: rules.acknowledge,
            lints: Vec::new(),
            reads: Reads::default(),
            fingerprint,
        };
        // What else is found, in rules that are half there, would be noise.
        if !compiler.faults.is_empty() {
            return Err(compiler.faults);
        }
        policy.reads = Reads::of_all(policy.rules());
        policy.lints = policy.find_lints();
        let problems = policy.check_acknowledgements().into_iter();
        let faults = problems
            .map(|(rule, Problem { what, mend, excerpt })| RuleFault {
                rule,
                problem: what,
                mend,
                excerpt,
            })
            .collect::<Vec<_>>();
        if faults.is_empty() { Ok(policy) } else { Err(faults) }
    }
}

struct Compiler<'p> {
    provider: &'p ProviderName,
    patterns: Vec<Pattern>,
    faults: Vec<RuleFault>,
}

impl Compiler<'_> {
    fn fault(&mut self, rule: &str, Problem { what, mend, excerpt }: Problem) {
        self.faults.push(RuleFault { rule: rule.to_owned(), problem: what, mend, excerpt });
    }

    fn allow(&mut self, rules: Vec<AllowRule>) -> Vec<Rule> {
        if rules.is_empty() {
            let mend =
                "Say who may come in; \"true\" lets in everybody whom the provider signs in.";
            self.fault("allow", Problem::new("is empty", mend));
        }
        if rules.len() > MOST_ALLOW {
            let mend =
                "Write several of them as one, with &&; the rules of one message belong together.";
            self.fault("allow", Problem::new("has more than 32 rules", mend));
        }
        let mut allow = Vec::new();
        for (place, AllowRule { rule, message }) in rules.into_iter().enumerate() {
            let name = format!("allow[{place}]");
            let is_bad =
                |text: &String| text.trim().is_empty() || text.chars().any(char::is_control);
            if message.as_ref().is_some_and(is_bad) {
                let mend = "Write one line for the person to read, or leave it out.";
                let problem = Problem::new("is blank or holds a control character", mend);
                self.fault(&format!("{name}.message"), problem);
            }
            let rule = self.rule(&name, &format!("{name}.rule"), &rule, decision::allowed);
            allow.extend(rule.map(|rule| Rule { message, ..rule }));
        }
        allow
    }

    fn optional<T>(
        &mut self,
        name: &str,
        text: Option<String>,
        read: fn(&dyn Val) -> Result<T, Why>,
    ) -> Option<Rule> {
        self.rule(name, name, &text?, read)
    }

    fn rule<T>(
        &mut self,
        name: &str,
        key: &str,
        text: &str,
        read: fn(&dyn Val) -> Result<T, Why>,
    ) -> Option<Rule> {
        match Expression::compile(text, &mut self.patterns) {
            Ok(expression) => {
                let rule = Rule { name: name.to_owned(), expression, message: None };
                if let Err(problem) = self.try_on_sample(&rule, read) {
                    self.fault(key, problem);
                }
                Some(rule)
            }
            Err(problems) => {
                for problem in problems {
                    self.fault(key, problem);
                }
                None
            }
        }
    }

    /// Runs the rule over ordinary claims. What it says of them means nothing, but its type does; and what reads nothing says
    /// the same of everybody.
    fn try_on_sample<T>(
        &self,
        rule: &Rule,
        read: fn(&dyn Val) -> Result<T, Why>,
    ) -> Result<(), Problem> {
        let Ok(claims) = facts::claims(&sample::CLAIMS, |_| true, false) else { return Ok(()) };
        let facts = Facts::new(claims, self.provider.as_str(), sample::NOW, &self.patterns);
        let why = match rule.ask(&facts, read) {
            Ok(_) => return Ok(()),
            Err(denial) => denial.why,
        };
        match why {
            Why::WrongType { expected, got } => {
                let mend =
                    format!("It must be {expected}; over ordinary claims it is of type {got}.");
                Err(Problem::new("yields the wrong type", &mend))
            }
            Why::Refused => Ok(()),
            why if rule.expression.reads().nothing() => {
                let mend = format!("It reads no claim, and always {why}.");
                Err(Problem::new("can never hold", &mend))
            }
            _ => Ok(()),
        }
    }

    fn refuse_one_identity_for_all(&mut self, identity: Option<&Rule>) {
        let reads_claims = |reads: &Reads| reads.all_claims || !reads.claims.is_empty();
        if identity.is_some_and(|rule| !reads_claims(rule.expression.reads())) {
            let mend = "Build it on a claim that never changes, such as claims.sub, or leave it out for the default identity.";
            self.fault(
                "identity",
                Problem::new("reads no claim, and is the same for everybody", mend),
            );
        }
    }
}

/// JSON, so that what ends one text cannot begin the next. What only words a denial is left out.
fn fingerprint(provider: &ProviderName, rules: &Rules) -> Digest {
    let Rules {
        allow,
        identity,
        friendly_name,
        role,
        conversations,
        attributes,
        token_ttl,
        string_email_verified,
        acknowledge: _,
    } = rules;
    let allow = allow.iter().map(|rule| rule.rule.as_str()).collect::<Vec<_>>();
    let everything = json!([
        SEMANTICS,
        provider.as_str(),
        allow,
        identity,
        friendly_name,
        role,
        conversations,
        attributes,
        token_ttl,
        string_email_verified,
    ]);
    Digest::of(everything.to_string().as_bytes())
}
