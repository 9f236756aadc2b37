//! What a policy may do and is dangerous: told with its reason, until the operator says that it is meant.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::Expr;

use super::problem::Problem;
use super::reads::{children, claim_of, literal};
use super::shape::{Fixed, Shape};
use super::{Acknowledged, Policy, Rule};

/// Something dangerous in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// What it is called where it is acknowledged.
    pub name: &'static str,
    /// Where: `allow[0]`, `identity`.
    pub rule: String,
    /// What is dangerous about it.
    pub why: String,
    /// What to write instead.
    pub mend: &'static str,
    /// The operator's reason for having it so.
    pub acknowledged: Option<String>,
}

const CHANGEABLE_IDENTITY: &str = "changeable_identity";
const EMAIL_ENDING: &str = "email_ending";
const GUEST_NAMESPACE: &str = "guest_namespace";
const MEETING_IDENTITIES: &str = "meeting_identities";
const UNVERIFIED_EMAIL: &str = "unverified_email";

/// All lints, by name.
pub(super) const NAMES: [&str; 5] =
    [CHANGEABLE_IDENTITY, EMAIL_ENDING, GUEST_NAMESPACE, MEETING_IDENTITIES, UNVERIFIED_EMAIL];

/// Claims that people or their admins can change, and that pass to somebody else then (OpenID Connect Core §5.7; Entra ID's docs
/// say the same of upn and `unique_name`).
const CHANGEABLE: [&str; 20] = [
    "displayName",
    "display_name",
    "email",
    "emails",
    "family_name",
    "given_name",
    "login",
    "login_hint",
    "mail",
    "middle_name",
    "mobile",
    "name",
    "nickname",
    "phone",
    "phone_number",
    "preferred_username",
    "unique_name",
    "upn",
    "username",
    "verified_primary_email",
];

/// Claims that hold an e-mail address of which `email_verified` speaks.
const EMAILS: [&str; 3] = ["email", "emails", "mail"];
/// Claims that hold what looks like one.
const ADDRESSES: [&str; 9] = [
    "email",
    "emails",
    "mail",
    "preferred_username",
    "unique_name",
    "upn",
    "username",
    "verified_primary_email",
    "verified_secondary_email",
];
/// What takes an address apart where only its whole domain says anything.
const TAKE_APART: [&str; 5] = ["contains", "endsWith", "matches", "split", "substring"];

impl Policy {
    /// What is dangerous in this policy, acknowledged or not.
    pub fn lints(&self) -> &[Lint] {
        &self.lints
    }

    /// The lints of this policy by itself.
    pub(super) fn find_lints(&self) -> Vec<Lint> {
        let mut found = Vec::new();
        if let Some(identity) = &self.identity {
            found.extend(self.changeable_identity(identity));
            found.extend(self.guest_namespace(identity));
        }
        for rule in self.rules() {
            if takes_an_address_apart(rule.expression.syntax(), &mut BTreeSet::new()) {
                let why = "takes an e-mail address apart: attacker@evil.example@example.com and user@notexample.com end like one of \
                           example.com";
                let mend = "Compare the whole domain: domain(claims.email) == 'example.com'.";
                found.push(self.lint(EMAIL_ENDING, &rule.name, why.to_owned(), mend));
            }
        }
        found.extend(self.unverified_email());
        found
    }

    fn lint(&self, name: &'static str, rule: &str, why: String, mend: &'static str) -> Lint {
        Lint { name, rule: rule.to_owned(), why, mend, acknowledged: self.reason_for(name) }
    }

    fn reason_for(&self, lint: &str) -> Option<String> {
        let acknowledged = self.acknowledged.iter().find(|acknowledged| acknowledged.lint == lint);
        acknowledged.map(|acknowledged| acknowledged.reason.clone())
    }

    fn changeable_identity(&self, identity: &Rule) -> Option<Lint> {
        let reads = identity.expression.reads();
        let changeable = CHANGEABLE.into_iter().filter(|claim| reads.claims.contains(*claim));
        let changeable = changeable.map(|claim| format!("claims.{claim}")).collect::<Vec<_>>();
        let on = match (reads.all_claims, changeable.as_slice()) {
            (false, []) => return None,
            (true, []) => "claims as a whole".to_owned(),
            _ => changeable.join(" and "),
        };
        let why = format!(
            "is built on {on}, which people or their admins can change: whoever gets the old value next gets into the old one's \
             identity, or is kept out by it"
        );
        let mend = "Build it on what never changes: claims.sub, claims.oid (Entra ID) or an employee number; or leave it out.";
        Some(self.lint(CHANGEABLE_IDENTITY, &identity.name, why, mend))
    }

    fn guest_namespace(&self, identity: &Rule) -> Option<Lint> {
        let fixed = Fixed { provider: self.provider.as_str(), issuer: None };
        let shapes = Shape::of(identity.expression.syntax(), fixed);
        if !shapes.iter().any(Shape::can_be_a_guest) {
            return None;
        }
        let why = "could begin with guest-, as the identities of guests do: such people are denied"
            .to_owned();
        let mend = "Begin it with text of your own, 'corp-' + …, or hash it: uuid5(uuid5('url', claims.iss), …).";
        Some(self.lint(GUEST_NAMESPACE, &identity.name, why, mend))
    }

    fn unverified_email(&self) -> Option<Lint> {
        let is_checked = |rule: &Rule| rule.expression.reads().claims.contains("email_verified");
        if self.allow.iter().any(is_checked) {
            return None;
        }
        let deciding = [&self.identity, &self.role, &self.conversations];
        let mut deciding = self.allow.iter().chain(deciding.into_iter().flatten());
        let rule = deciding.find(|rule| {
            EMAILS.into_iter().any(|claim| rule.expression.reads().claims.contains(claim))
        })?;
        let why = "trusts an e-mail address, and no allow rule asks whether it is verified: anybody can claim anybody's".to_owned();
        let mend = "Add an allow rule: claims.email_verified.";
        Some(self.lint(UNVERIFIED_EMAIL, &rule.name, why, mend))
    }

    /// What is wrong with the acknowledgements, by place.
    pub(super) fn check_acknowledgements(&self) -> Vec<(String, Problem)> {
        let mut problems = Vec::new();
        for (place, Acknowledged { lint, reason }) in self.acknowledged.iter().enumerate() {
            let mut note = |key: &str, problem, mend: &str| {
                problems.push((format!("acknowledge[{place}].{key}"), Problem::new(problem, mend)));
            };
            if !NAMES.contains(&lint.as_str()) {
                note(
                    "lint",
                    "is not a lint that there is",
                    &format!("There are {}.", NAMES.join(", ")),
                );
            } else if self.acknowledged[..place].iter().any(|before| before.lint == *lint) {
                note("lint", "is acknowledged before it", "Remove one of the two.");
            } else if lint != MEETING_IDENTITIES
                && self.lints.iter().all(|found| found.name != lint)
            {
                note(
                    "lint",
                    "is a lint that finds nothing here",
                    "Remove it, so that it cannot hide what comes later.",
                );
            }
            if reason.trim().is_empty() || reason.chars().any(char::is_control) {
                note(
                    "reason",
                    "is blank or holds a control character",
                    "Write one line that says why it is no harm here.",
                );
            }
        }
        problems
    }

    /// Whether two providers' identities were acknowledged to be able to meet.
    pub fn acknowledges_meeting(&self) -> bool {
        self.reason_for(MEETING_IDENTITIES).is_some()
    }

    fn shapes(&self, issuer: &str) -> Vec<Shape> {
        let fixed = Fixed { provider: self.provider.as_str(), issuer: Some(issuer) };
        match &self.identity {
            None => vec![Shape::default_identity(issuer)],
            Some(rule) => Shape::of(rule.expression.syntax(), fixed),
        }
    }
}

/// The pairs of providers whose identities could meet, each policy with its provider's issuer: where two subjects want one
/// identity, the first to come has it for ever, and the other is kept out.
///
/// A lint stands under the identity rule of the later of the two; it is acknowledged when either policy does.
pub fn lint_together(policies: &[(&Policy, &str)]) -> Vec<Lint> {
    let mut found = Vec::new();
    for (place, (later, issuer)) in policies.iter().enumerate() {
        for (earlier, other_issuer) in &policies[..place] {
            let same_rule = later.identity_text() == earlier.identity_text();
            // Their subjects are the same subjects, then, and have the same identities by right.
            if same_rule && (issuer == other_issuer || later.identity.is_none()) {
                continue;
            }
            let (shapes, others) = (later.shapes(issuer), earlier.shapes(other_issuer));
            if !shapes.iter().any(|shape| others.iter().any(|other| shape.can_equal(other))) {
                continue;
            }
            let why = format!(
                "could yield an identity for somebody at {} that is somebody else's at {}: whoever comes first has it for ever, and \
                 keeps the other out",
                later.provider, earlier.provider
            );
            let mend = "Begin each provider's identities with text of its own, provider + '.' + …, or hash them over claims.iss: \
                        uuid5(uuid5('url', claims.iss), …).";
            let reason = || earlier.reason_for(MEETING_IDENTITIES);
            let lint = later.lint(MEETING_IDENTITIES, "identity", why, mend);
            found.push(Lint { acknowledged: lint.acknowledged.clone().or_else(reason), ..lint });
        }
    }
    found
}

/// Whether something is asked of an address, or of a part of one, that only its whole domain can answer. `addresses` holds what
/// macros call the elements of one.
fn takes_an_address_apart(expr: &IdedExpr, addresses: &mut BTreeSet<String>) -> bool {
    match &expr.expr {
        Expr::Call(call) if TAKE_APART.contains(&call.func_name.as_str()) => {
            let whole = call.target.as_deref().or(call.args.first());
            if whole.is_some_and(|whole| {
                holds_address(whole, addresses) && !is_ending_of_a_domain(whole, call.args.first())
            }) {
                return true;
            }
        }
        Expr::Comprehension(comprehension) => {
            if takes_an_address_apart(&comprehension.iter_range, addresses) {
                return true;
            }
            let name = comprehension.iter_var.clone();
            let is_new = holds_address(&comprehension.iter_range, addresses)
                && addresses.insert(name.clone());
            let found = takes_an_address_apart(&comprehension.loop_step, addresses);
            if is_new {
                addresses.remove(&name);
            }
            return found;
        }
        _ => {}
    }
    children(expr).into_iter().any(|child| takes_an_address_apart(child, addresses))
}

fn holds_address(expr: &IdedExpr, addresses: &BTreeSet<String>) -> bool {
    match &expr.expr {
        _ if claim_of(expr).is_some_and(|claim| ADDRESSES.contains(&claim)) => true,
        Expr::Ident(name) => addresses.contains(name),
        _ => children(expr).into_iter().any(|child| holds_address(child, addresses)),
    }
}

/// `domain(claims.email).endsWith('.example.com')`, which only domains below example.com are.
fn is_ending_of_a_domain(whole: &IdedExpr, ending: Option<&IdedExpr>) -> bool {
    let is_domain = matches!(&whole.expr, Expr::Call(call) if call.func_name == "domain");
    is_domain && ending.and_then(literal).is_some_and(|ending| ending.starts_with('.'))
}
