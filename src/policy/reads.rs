//! What a rule reads, told from its syntax.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};

use super::Rule;

/// What an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// The top-level claims by name.
    pub(super) claims: BTreeSet<String>,
    /// `claims` in a way from which no name can be told: then all of them.
    pub(super) all_claims: bool,
    /// The time.
    pub(super) now: bool,
    /// The provider's name.
    pub(super) provider: bool,
}

impl Reads {
    /// What `expr` reads.
    pub(super) fn of(expr: &IdedExpr) -> Self {
        let mut reads = Self::default();
        reads.add(expr);
        reads
    }

    /// Whether the top-level claim `name` can make a difference.
    pub(super) fn claim(&self, name: &str) -> bool {
        self.all_claims || self.claims.contains(name)
    }

    /// Whether nothing outside the rule can make a difference.
    pub(super) fn nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What any of `rules` reads.
    pub(super) fn of_all<'a>(rules: impl Iterator<Item = &'a Rule>) -> Self {
        let mut all = Self::default();
        for Self { claims, all_claims, now, provider } in rules.map(|rule| rule.expression.reads())
        {
            all.claims.extend(claims.iter().cloned());
            all.all_claims |= all_claims;
            all.now |= now;
            all.provider |= provider;
        }
        all
    }

    fn add(&mut self, expr: &IdedExpr) {
        if let Some(name) = claim_of(expr) {
            self.claims.insert(name.to_owned());
            return;
        }
        match &expr.expr {
            Expr::Ident(name) => match name.as_str() {
                "claims" => self.all_claims = true,
                "now" => self.now = true,
                "provider" => self.provider = true,
                _ => {}
            },
            // Neither a target `optional` nor the name of a macro's variable is one of ours: the vetting sees to that.
            _ => children(expr).into_iter().for_each(|child| self.add(child)),
        }
    }
}

/// The top-level claim that `expr` is, or asks about: `claims.x`, `claims['x']`, `claims.?x`, `claims[?'x']`, `has(claims.x)`,
/// `'x' in claims`.
pub(super) fn claim_of(expr: &IdedExpr) -> Option<&str> {
    let is_claims = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if name == "claims");
    match &expr.expr {
        Expr::Select(select) if is_claims(&select.operand) => Some(&select.field),
        Expr::Call(call) if call.target.is_none() => {
            match (call.func_name.as_str(), call.args.as_slice()) {
                (
                    operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT,
                    [claims, name],
                )
                | (operators::IN, [name, claims])
                    if is_claims(claims) =>
                {
                    literal(name)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The text that `expr` is, literally.
pub(super) fn literal(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// The expressions directly in `expr`.
pub(super) fn children(expr: &IdedExpr) -> Vec<&IdedExpr> {
    match &expr.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
        Expr::Struct(made) => made.entries.iter().flat_map(|entry| parts(&entry.expr)).collect(),
        Expr::Comprehension(comprehension) => vec![
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ],
    }
}

fn parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}
