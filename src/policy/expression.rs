//! One rule's expression: read, vetted, prepared, run.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, EntryExpr, Expr, operators};
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, IdedExpr, Value};

use super::functions::{self, ENVIRONMENT, Pattern};
use super::reads::{Reads, children, literal};
use super::syntax;
use super::vet::{self, Problem};
use super::{facts::Facts, steps};

/// The longest expression, in bytes. A rule that people can read is far shorter.
pub(super) const LONGEST: usize = 2048;

/// An expression that has passed the vetting.
#[derive(Clone)]
pub(super) struct Expression {
    text: String,
    /// As it is written: what lints look at.
    written: IdedExpr,
    /// As it is run: what costs is counted, and patterns are compiled.
    prepared: IdedExpr,
    reads: Reads,
    /// Every name and text that stands in it: what a log may show of an error.
    words: BTreeSet<String>,
}

impl Expression {
    /// Reads and vets `text`; its patterns go to the end of `patterns`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at least one [`Problem`].
    pub(super) fn compile(text: &str, patterns: &mut Vec<Pattern>) -> Result<Self, Vec<Problem>> {
        if text.trim().is_empty() {
            return Err(vec![Problem::new(
                "is empty",
                "Write an expression, or leave the key out.",
            )]);
        }
        if text.len() > LONGEST {
            let mend = "Write it shorter, or let the provider send what it computes.";
            return Err(vec![Problem::new("is longer than 2048 bytes", mend)]);
        }
        let (written, places) = syntax::parse(text).map_err(|problem| vec![problem])?;
        vet::vet(text, &written, &places)?;
        let mut prepared = written.clone();
        Preparing { patterns, macros: 0 }.expr(&mut prepared);
        let mut words = BTreeSet::new();
        collect_words(&written, &mut words);
        let reads = Reads::of(&written);
        Ok(Self { text: text.to_owned(), written, prepared, reads, words })
    }

    /// As the operator wrote it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Its syntax.
    pub(super) fn syntax(&self) -> &IdedExpr {
        &self.written
    }

    /// What it reads.
    pub(super) fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Whether `word` stands in it.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Runs it over `facts` and hands what comes out to `read`.
    ///
    /// # Errors
    ///
    /// CEL's error; `None` when the run took more steps than one may.
    pub(super) fn run<T>(
        &self,
        facts: &Facts<'_>,
        read: impl FnOnce(&dyn Val) -> T,
    ) -> Result<T, Option<ExecutionError>> {
        let mut context = Context::with_env(ENVIRONMENT.clone());
        context.set_variable_resolver(facts);
        let value: Result<CowVal<'_, '_>, _> =
            steps::count(|| Value::resolve_val(&self.prepared, &context)).ok_or(None)?;
        value.map(|value| read(value.as_ref())).map_err(Some)
    }
}

/// Puts our counted functions in the place of CEL's, and patterns where their text stood.
struct Preparing<'p> {
    patterns: &'p mut Vec<Pattern>,
    /// How many macros are around.
    macros: usize,
}

impl Preparing<'_> {
    fn expr(&mut self, expr: &mut IdedExpr) {
        match &mut expr.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
            Expr::Select(select) => self.expr(&mut select.operand),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.kept(element)),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.expr(&mut entry.key);
                        self.kept(&mut entry.value);
                    }
                }
            }
            Expr::Comprehension(comprehension) => {
                self.expr(&mut comprehension.iter_range);
                wrap(&mut comprehension.iter_range, functions::ITEMS);
                self.macros += 1;
                self.expr(&mut comprehension.loop_step);
                self.macros -= 1;
            }
        }
    }

    fn kept(&mut self, element: &mut IdedExpr) {
        self.expr(element);
        if !matches!(element.expr, Expr::Literal(_)) {
            wrap(element, functions::KEEP);
        }
    }

    fn call(&mut self, call: &mut CallExpr) {
        call.target.iter_mut().for_each(|target| self.expr(target));
        call.args.iter_mut().for_each(|argument| self.expr(argument));
        match call.func_name.as_str() {
            // A macro adds to its own result, which the interpreter does in place.
            operators::ADD if !is_result(&call.args) => {
                functions::ADD.clone_into(&mut call.func_name);
            }
            operators::IN => functions::WITHIN.clone_into(&mut call.func_name),
            operators::EQUALS if self.macros > 0 => {
                functions::EQUALS.clone_into(&mut call.func_name);
            }
            operators::NOT_EQUALS if self.macros > 0 => {
                functions::EQUALS.clone_into(&mut call.func_name);
                let equals = IdedExpr { id: 0, expr: Expr::Call(std::mem::take(call)) };
                operators::LOGICAL_NOT.clone_into(&mut call.func_name);
                call.args = vec![equals];
            }
            "matches" => self.pattern(call),
            name if self.macros > 0 && name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let target = call.target.iter_mut().map(|target| &mut **target);
                let read = target.filter(|target| !vet::is_optional_namespace(target));
                read.chain(&mut call.args).for_each(|value| wrap(value, functions::READ));
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

fn is_result(arguments: &[IdedExpr]) -> bool {
    matches!(arguments.first().map(|first| &first.expr), Some(Expr::Ident(name)) if name.starts_with('@'))
}

fn wrap(expr: &mut IdedExpr, function: &str) {
    let id = expr.id;
    let inner = std::mem::take(expr);
    let call = CallExpr { func_name: function.to_owned(), target: None, args: vec![inner] };
    *expr = IdedExpr { id, expr: Expr::Call(call) };
}

fn collect_words(expr: &IdedExpr, words: &mut BTreeSet<String>) {
    if let Some(text) = literal(expr) {
        words.insert(text.to_owned());
    }
    if let Expr::Select(select) = &expr.expr {
        words.insert(select.field.clone());
    }
    for child in children(expr) {
        collect_words(child, words);
    }
}
