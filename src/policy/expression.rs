//! One rule's expression: read, vetted, prepared, run.

use std::collections::BTreeSet;

use cel::common::ast::Expr;
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, IdedExpr, Value};

use super::functions::{ENVIRONMENT, Pattern};
use super::problem::Problem;
use super::reads::{Reads, children, literal};
use super::vet;
use super::{facts::Facts, prepare, steps, syntax};

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
        let prepared = prepare::prepare(&written, patterns);
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
