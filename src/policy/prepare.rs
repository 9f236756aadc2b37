//! From an expression as it is written to one that is run: what costs is counted, and patterns are compiled.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};

use super::counted;
use super::facts::Facts;
use super::functions::Pattern;
use super::reads::{children, literal};
use super::steps::BYTES_A_STEP;
use super::vet;

/// How many parts of what a macro asks of each element are a step.
pub(super) const PARTS_A_STEP: usize = 8;

/// `written` for running; its patterns go to the end of `patterns`.
pub(super) fn prepare(written: &IdedExpr, patterns: &mut Vec<Pattern>) -> IdedExpr {
    let mut prepared = written.clone();
    Preparing { patterns, macros: 0 }.expr(&mut prepared);
    prepared
}

struct Preparing<'p> {
    patterns: &'p mut Vec<Pattern>,
    /// How many macros are around.
    macros: usize,
}

impl Preparing<'_> {
    fn expr(&mut self, expr: &mut IdedExpr) {
        match &mut expr.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
            Expr::Select(select) => {
                self.expr(&mut select.operand);
                self.open(&mut select.operand);
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.kept(element)),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.kept(&mut entry.key);
                        self.kept(&mut entry.value);
                    }
                }
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn comprehension(&mut self, comprehension: &mut ComprehensionExpr) {
        let steps = steps_of_each(&comprehension.loop_step);
        self.expr(&mut comprehension.iter_range);
        wrap(&mut comprehension.iter_range, counted::ITEMS);
        if let Expr::Call(items) = &mut comprehension.iter_range.expr {
            let steps = i64::try_from(steps).unwrap_or(i64::MAX);
            items
                .args
                .push(IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Int(steps.into())) });
        }
        // Only `exists` and `all` ask; `map` and `filter` end with any error.
        if let Expr::Call(call) = &mut comprehension.loop_cond.expr
            && call.func_name == operators::NOT_STRICTLY_FALSE
        {
            counted::GO_ON.clone_into(&mut call.func_name);
        }
        self.macros += 1;
        self.expr(&mut comprehension.loop_step);
        self.macros -= 1;
    }

    fn kept(&mut self, element: &mut IdedExpr) {
        self.expr(element);
        keep(element);
    }

    /// An optional that is kept is an element of a macro, or in one.
    fn open(&self, operand: &mut IdedExpr) {
        if self.macros > 0 && !is_claim(operand) {
            wrap(operand, counted::OPEN);
        }
    }

    fn call(&mut self, call: &mut CallExpr) {
        call.target.iter_mut().for_each(|target| self.expr(target));
        call.args.iter_mut().for_each(|argument| self.expr(argument));
        match call.func_name.as_str() {
            // A macro adds to its own result, which the interpreter does in place.
            operators::ADD if !is_result(&call.args) => {
                counted::ADD.clone_into(&mut call.func_name);
            }
            operators::IN => counted::WITHIN.clone_into(&mut call.func_name),
            // What is written out is short.
            operators::EQUALS | operators::NOT_EQUALS if !call.args.iter().any(is_literal) => {
                equals(call);
            }
            operators::INDEX => match call.args.as_mut_slice() {
                [container, key] if is_literal(key) => self.open(container),
                _ => counted::INDEX.clone_into(&mut call.func_name),
            },
            operators::OPT_INDEX | operators::OPT_SELECT => {
                counted::PART.clone_into(&mut call.func_name);
            }
            // An error in any of these copies both sides.
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO => call.args.iter_mut().for_each(keep),
            "matches" => self.pattern(call),
            _ if call.target.as_ref().is_some_and(|target| vet::is_optional_namespace(target)) => {
                call.args.iter_mut().for_each(keep);
            }
            name if self.macros > 0 && name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let target = call.target.iter_mut().map(|target| &mut **target);
                target.chain(&mut call.args).for_each(|value| wrap(value, counted::READ));
            }
            _ => {}
        }
    }

    fn pattern(&mut self, call: &mut CallExpr) {
        let pattern = call.args.last().and_then(literal).and_then(Pattern::compile);
        if let (Some(pattern), Some(argument)) = (pattern, call.args.last_mut()) {
            argument.expr = Expr::Ident(Facts::pattern_variable(self.patterns.len()));
            self.patterns.push(pattern);
        }
    }
}

fn equals(call: &mut CallExpr) {
    let is_not = call.func_name == operators::NOT_EQUALS;
    counted::EQUALS.clone_into(&mut call.func_name);
    if is_not {
        let equals = IdedExpr { id: 0, expr: Expr::Call(std::mem::take(call)) };
        operators::LOGICAL_NOT.clone_into(&mut call.func_name);
        call.args = vec![equals];
    }
}

/// What `asked` takes for each element: what a macro inside it asks is counted by that one.
fn steps_of_each(asked: &IdedExpr) -> usize {
    1 + parts(asked) / PARTS_A_STEP
}

fn parts(expr: &IdedExpr) -> usize {
    match &expr.expr {
        Expr::Comprehension(inner) => 1 + parts(&inner.iter_range),
        Expr::Literal(LiteralValue::String(text)) => 1 + text.inner().len() / BYTES_A_STEP,
        _ => 1 + children(expr).into_iter().map(parts).sum::<usize>(),
    }
}

fn is_result(arguments: &[IdedExpr]) -> bool {
    matches!(arguments.first().map(|first| &first.expr), Some(Expr::Ident(name)) if name.starts_with('@'))
}

/// Whether it is `claims`, or a part of it.
fn is_claim(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Ident(name) => name == "claims",
        Expr::Select(select) => is_claim(&select.operand),
        Expr::Call(call) if call.func_name == operators::INDEX => {
            call.args.first().is_some_and(is_claim)
        }
        _ => false,
    }
}

fn is_literal(expr: &IdedExpr) -> bool {
    matches!(&expr.expr, Expr::Literal(value) if !matches!(value, LiteralValue::Double(_)))
}

fn keep(value: &mut IdedExpr) {
    if !matches!(value.expr, Expr::Literal(_)) {
        wrap(value, counted::KEEP);
    }
}

fn wrap(expr: &mut IdedExpr, function: &str) {
    let id = expr.id;
    let inner = std::mem::take(expr);
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![inner] };
    *expr = IdedExpr { id, expr: Expr::Call(call) };
}
