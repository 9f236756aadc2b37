//! What a rule may not be, found before it is ever run on somebody's claims.

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators,
};

use super::functions::Pattern;
use super::names::{GLOBALS, MEMBERS, OPTIONALS, TYPES, VARIABLES, is_known, meant, nearest};
use super::problem::Problem;
use super::reads::{children, literal};

/// The deepest syntax tree, in nodes. Each takes a stack frame of the interpreter.
pub(super) const DEEPEST: usize = 48;
/// The most macros in one rule: each may go over all elements of a claim.
pub(super) const MOST_MACROS: usize = 16;

/// Looks for everything that is wrong with `expr`, which `text` was read as.
///
/// # Errors
///
/// At least one problem, in the order of the text.
pub(super) fn vet(text: &str, expr: &IdedExpr, places: &SourceInfo) -> Result<(), Vec<Problem>> {
    if depth(expr) > DEEPEST {
        let mend = "Write it flatter: several allow rules instead of one, a list with `in` instead of many comparisons.";
        return Err(vec![Problem::new("is nested too deeply", mend)]);
    }
    let mut vetting = Vetting { text, places, scope: Vec::new(), macros: 0, found: Vec::new() };
    vetting.expr(expr);
    if vetting.macros > MOST_MACROS {
        let mend = "Write it with fewer of all, exists, exists_one, filter and map.";
        vetting.found.push((0, Problem::new("has more than 16 macros", mend)));
    }
    let mut found = vetting.found;
    found.sort_by_key(|(at, _)| *at);
    if found.is_empty() {
        Ok(())
    } else {
        Err(found.into_iter().map(|(_, problem)| problem).collect())
    }
}

fn depth(expr: &IdedExpr) -> usize {
    1 + children(expr).into_iter().map(depth).max().unwrap_or(0)
}

struct Vetting<'t> {
    text: &'t str,
    places: &'t SourceInfo,
    /// What the macros around call their elements, the innermost last.
    scope: Vec<String>,
    macros: usize,
    found: Vec<(usize, Problem)>,
}

impl Vetting<'_> {
    fn note(&mut self, expr: &IdedExpr, problem: &'static str, mend: &str) {
        // The parser counts bytes.
        let byte = self.places.offset_for(expr.id).map_or(0, |(start, _)| start as usize);
        let at = self.text.char_indices().take_while(|(place, _)| *place < byte).count();
        self.found.push((at, Problem::at(self.text, at, problem, mend)));
    }

    fn expr(&mut self, expr: &IdedExpr) {
        match &expr.expr {
            Expr::Ident(name) => self.variable(expr, name),
            Expr::Call(call) => self.call(expr, call),
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension),
            Expr::Struct(_) => self.note(
                expr,
                "builds a message, which there is not here",
                "Write a map, with its keys in quotes: {'key': value}.",
            ),
            Expr::Literal(LiteralValue::Bytes(_)) => {
                self.note(
                    expr,
                    "holds bytes, of which nothing here is made",
                    "Write text, without the b before it.",
                );
            }
            Expr::Unspecified => {
                self.note(expr, "is not an expression", "Something is missing there.");
            }
            Expr::Literal(_) | Expr::Select(_) | Expr::List(_) | Expr::Map(_) => {
                self.optional_entries(expr);
                for child in children(expr) {
                    self.expr(child);
                }
            }
        }
    }

    fn variable(&mut self, expr: &IdedExpr, name: &str) {
        let known = name.starts_with('@')
            || VARIABLES.contains(&name)
            || TYPES.contains(&name)
            || self.scope.iter().any(|known| known == name);
        if !known {
            let names = VARIABLES.into_iter().chain(self.scope.iter().map(String::as_str));
            let mend = match nearest(name, names) {
                Some(near) => format!("Did you mean {near}?"),
                None => "There are claims, provider and now; text stands in quotes, a claim is claims.name.".to_owned(),
            };
            self.note(expr, "uses a variable that there is not", &mend);
        }
    }

    /// A map of optional values has no JSON, and `{'a': claims.?b}` is meant to leave `a` out.
    fn optional_entries(&mut self, expr: &IdedExpr) {
        let Expr::Map(map) = &expr.expr else { return };
        for entry in &map.entries {
            if let EntryExpr::MapEntry(entry) = &entry.expr
                && !entry.optional
                && is_optional(&entry.value)
            {
                let key = literal(&entry.key).unwrap_or("key");
                let mend = format!(
                    "{key} holds an optional value. Write {{?'{key}': …}}, which leaves it out where there is none, or give a \
                     default: ….orValue('')."
                );
                self.note(&entry.value, "puts an optional value into a map", &mend);
            }
        }
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) {
        let is_operator = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.');
        let namespace = call.target.as_ref().filter(|target| is_optional_namespace(target));
        if let Some(target) = call.target.as_ref().filter(|_| namespace.is_none()) {
            self.expr(target);
        }
        let table = match (&call.target, namespace) {
            _ if call.func_name.contains(is_operator) => None,
            (None, _) => Some(GLOBALS),
            (Some(_), None) => Some(MEMBERS),
            (Some(_), Some(_)) => Some(OPTIONALS),
        };
        // A macro of another language: what it calls its elements is no slip besides.
        let elements = match (call.args.as_slice(), table) {
            ([name, _, ..], Some(MEMBERS)) if !is_known(MEMBERS, &call.func_name) => {
                match &name.expr {
                    Expr::Ident(name) => Some(name.clone()),
                    _ => None,
                }
            }
            _ => None,
        };
        let macros = self.scope.len();
        self.scope.extend(elements);
        call.args.iter().for_each(|argument| self.expr(argument));
        self.scope.truncate(macros);
        if let Some(table) = table {
            self.function(expr, call, table);
        }
    }

    fn function(&mut self, expr: &IdedExpr, call: &CallExpr, table: &[(&str, usize, usize)]) {
        let name = call.func_name.as_str();
        let Some((_, least, most)) = table.iter().find(|(known, ..)| *known == name) else {
            let near = meant(name).filter(|meant| is_known(table, meant));
            let near = near.or_else(|| nearest(name, table.iter().map(|(known, ..)| *known)));
            let mend = match near {
                _ if call.target.is_some() && is_known(GLOBALS, name) => {
                    format!("{name} is written before its argument: {name}(claims.x).")
                }
                _ if call.target.is_none() && is_known(MEMBERS, name) => {
                    format!("{name} is called on something: claims.x.{name}(…).")
                }
                Some(near) => format!("There is no {name}. Did you mean {near}?"),
                None => {
                    format!(
                        "There is no {name}; docs/POLICY.md lists the functions that there are."
                    )
                }
            };
            return self.note(expr, "calls a function that there is not", &mend);
        };
        // A macro whose arguments fit is no call any more.
        if !(*least..=*most).contains(&call.args.len()) {
            let mend = match (least, most) {
                (0, 0) => format!("{name} takes none."),
                (1, 1) => format!("{name} takes one."),
                (least, most) if least == most => format!("{name} takes {least}."),
                (least, most) => format!("{name} takes {least} or {most}."),
            };
            self.note(expr, "gives a function the wrong number of arguments", &mend);
        } else if name == "matches" {
            self.pattern(expr, call);
        }
    }

    fn pattern(&mut self, expr: &IdedExpr, call: &CallExpr) {
        let Some(text) = call.args.last().and_then(literal) else {
            return self.note(
                expr,
                "matches against a pattern that is not written out",
                "Write it in quotes: whoever sets a claim must not choose it.",
            );
        };
        if text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n')) {
            self.note(
                expr,
                "matches against a pattern that is not good",
                "It holds a control character: '\\b' is a backspace. Write a pattern as raw text, r'…'.",
            );
        } else if Pattern::compile(text).is_none() {
            self.note(
                expr,
                "matches against a pattern that is not good",
                "It is no regular expression (RE2's syntax, without look-around and back-references), or a very large one.",
            );
        }
    }

    fn comprehension(&mut self, expr: &IdedExpr, comprehension: &ComprehensionExpr) {
        self.macros += 1;
        // optMap and optFlatMap are written so by the parser.
        if comprehension.accu_var != "@result" {
            return self.note(
                expr,
                "uses optMap or optFlatMap, which there are not here",
                "Ask with has(claims.x) ? … : …, or give a default with claims.?x.orValue('').",
            );
        }
        let name = comprehension.iter_var.as_str();
        let taken = VARIABLES.contains(&name)
            || TYPES.contains(&name)
            || matches!(name, "optional")
            || name.starts_with('.')
            || self.scope.iter().any(|known| known == name);
        if taken {
            self.note(
                expr,
                "gives the elements of a macro a name that is taken",
                "Choose another, such as g.",
            );
        }
        if let Some(outer) = self.scope.last()
            && !comes_from(&comprehension.iter_range, outer)
        {
            self.note(
                expr,
                "goes over all of something for each element of something else",
                "Inside a macro go over what the element holds, as in claims.a.exists(x, x.b.exists(y, …)), or over a list written out; \
                 ask whether something is in a list with `in`.",
            );
        }
        self.expr(&comprehension.iter_range);
        self.scope.push(name.to_owned());
        self.expr(&comprehension.loop_step);
        self.scope.pop();
    }
}

/// Whether its value is an optional: `claims.?x`, what is within that, or `optional.of(…)`.
fn is_optional(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Select(select) => !select.test && is_optional(&select.operand),
        Expr::Call(call) => match (&call.target, call.func_name.as_str()) {
            (None, operators::OPT_SELECT | operators::OPT_INDEX) => true,
            (None, operators::INDEX) => call.args.first().is_some_and(is_optional),
            (Some(target), _) => is_optional_namespace(target),
            _ => false,
        },
        _ => false,
    }
}

/// Whether it is no value but a part of a function's name: `optional.of`.
pub(super) fn is_optional_namespace(target: &IdedExpr) -> bool {
    matches!(&target.expr, Expr::Ident(name) if name == "optional")
}

/// Whether what is gone over is a part of `outer`, or a list of literals: then the elements of all rounds together are not more
/// than `outer` has, times what is written out.
fn comes_from(range: &IdedExpr, outer: &str) -> bool {
    match &range.expr {
        Expr::Ident(name) => name == outer,
        Expr::Select(select) => comes_from(&select.operand, outer),
        Expr::List(_) => is_written_out(range),
        Expr::Comprehension(inner) => comes_from(&inner.iter_range, outer),
        Expr::Call(call) => match (&call.target, call.func_name.as_str()) {
            (Some(target), _) => comes_from(target, outer) && call.args.iter().all(is_written_out),
            (None, operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT) => {
                call.args.first().is_some_and(|container| comes_from(container, outer))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether it is a literal or a list of literals.
fn is_written_out(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Literal(_) => true,
        Expr::List(list) => {
            list.elements.iter().all(|element| matches!(element.expr, Expr::Literal(_)))
        }
        _ => false,
    }
}
