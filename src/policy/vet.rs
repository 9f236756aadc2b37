//! What a rule may not be, found before it is ever run on somebody's claims.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SourceInfo, operators};

use super::functions::Pattern;
use super::reads::{children, literal};

/// What is wrong with an expression, and what to do. Never quotes it, as no fault of the configuration quotes a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) problem: &'static str,
    pub(super) mend: String,
}

impl Problem {
    /// A problem of the whole expression.
    pub(super) fn new(problem: &'static str, mend: &str) -> Self {
        Self { problem, mend: mend.to_owned() }
    }

    /// A problem at the character `at` of `text`, counted from 0.
    pub(super) fn at(text: &str, at: usize, problem: &'static str, mend: &str) -> Self {
        let before = text.chars().take(at).collect::<String>();
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let place = if text.contains('\n') {
            format!("line {}, character {column}", before.matches('\n').count() + 1)
        } else {
            format!("character {column}")
        };
        Self { problem, mend: format!("At {place}: {mend}") }
    }
}

/// The deepest syntax tree, in nodes. Each takes a stack frame of the interpreter.
pub(super) const DEEPEST: usize = 48;
/// The most macros in one rule: each may go over all elements of a claim.
pub(super) const MOST_MACROS: usize = 16;

const VARIABLES: [&str; 3] = ["claims", "now", "provider"];
const TYPES: [&str; 10] = [
    "bool",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
    "optional_type",
];

/// Global functions with the fewest and the most arguments that they take.
pub(super) const GLOBALS: &[(&str, usize, usize)] = &[
    ("bool", 1, 1),
    ("domain", 1, 1),
    ("double", 1, 1),
    ("duration", 1, 1),
    ("dyn", 1, 1),
    ("has", 1, 1),
    ("int", 1, 1),
    ("lower", 1, 1),
    ("matches", 2, 2),
    ("sha256", 1, 1),
    ("size", 1, 1),
    ("string", 1, 1),
    ("timestamp", 1, 1),
    ("type", 1, 1),
    ("uint", 1, 1),
    ("uuid5", 2, 2),
];

/// Those that are called on something.
pub(super) const MEMBERS: &[(&str, usize, usize)] = &[
    ("all", 2, 2),
    ("contains", 1, 1),
    ("endsWith", 1, 1),
    ("exists", 2, 2),
    ("exists_one", 2, 2),
    ("filter", 2, 2),
    ("getDate", 0, 1),
    ("getDayOfMonth", 0, 1),
    ("getDayOfWeek", 0, 1),
    ("getDayOfYear", 0, 1),
    ("getFullYear", 0, 1),
    ("getHours", 0, 1),
    ("getMilliseconds", 0, 1),
    ("getMinutes", 0, 1),
    ("getMonth", 0, 1),
    ("getSeconds", 0, 1),
    ("hasValue", 0, 0),
    ("join", 0, 1),
    ("lowerAscii", 0, 0),
    ("map", 2, 3),
    ("matches", 1, 1),
    ("or", 1, 1),
    ("orValue", 1, 1),
    ("replace", 2, 2),
    ("size", 0, 0),
    ("split", 1, 1),
    ("startsWith", 1, 1),
    ("substring", 1, 2),
    ("trim", 0, 0),
    ("value", 0, 0),
];

/// Those of the namespace `optional`.
pub(super) const OPTIONALS: &[(&str, usize, usize)] =
    &[("none", 0, 0), ("of", 1, 1), ("ofNonZeroValue", 1, 1)];

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

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) {
        let is_operator = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.');
        let namespace = call.target.as_ref().filter(|target| is_optional_namespace(target));
        if let Some(target) = call.target.as_ref().filter(|_| namespace.is_none()) {
            self.expr(target);
        }
        call.args.iter().for_each(|argument| self.expr(argument));
        if !call.func_name.contains(is_operator) {
            let table = match (&call.target, namespace) {
                (None, _) => GLOBALS,
                (Some(_), None) => MEMBERS,
                (Some(_), Some(_)) => OPTIONALS,
            };
            self.function(expr, call, table);
        }
    }

    fn function(&mut self, expr: &IdedExpr, call: &CallExpr, table: &[(&str, usize, usize)]) {
        let name = call.func_name.as_str();
        let Some((_, least, most)) = table.iter().find(|(known, ..)| *known == name) else {
            let elsewhere =
                |table: &[(&str, usize, usize)]| table.iter().any(|(known, ..)| *known == name);
            let mend = match nearest(name, table.iter().map(|(known, ..)| *known)) {
                _ if call.target.is_some() && elsewhere(GLOBALS) => {
                    "It is written before its argument: lower(claims.x).".to_owned()
                }
                _ if call.target.is_none() && elsewhere(MEMBERS) => {
                    "It is called on something: claims.x.startsWith('y').".to_owned()
                }
                Some(near) => format!("Did you mean {near}?"),
                None => "docs/POLICY.md lists the functions that there are.".to_owned(),
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
        if Pattern::compile(text).is_none() {
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

/// The known name that `unknown` is probably a slip of.
fn nearest<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let far = (unknown.chars().count() / 3).max(1);
    let distance =
        |known: &str| strsim::osa_distance(&unknown.to_lowercase(), &known.to_lowercase());
    let known =
        known.map(|known| (distance(known), known)).filter(|(distance, _)| *distance <= far);
    known.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}
