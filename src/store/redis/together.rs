//! Steps that leave together: what all tasks that are ready to run ask of the pool in one turn is one script, so that most of what a
//! script costs is paid once for all of them.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::gathering::Gathering;
use crate::store::Fault;

/// How many one script serves at most: it holds the server for a quarter of a millisecond.
const MOST: usize = 32;

/// The askers who wait for the end of this turn.
pub(super) struct Together<Terms, Ask, Answer> {
    waiting: Gathering<Waiting<Terms, Ask, Answer>>,
}

struct Waiting<Terms, Ask, Answer> {
    terms: Terms,
    ask: Ask,
    answer: oneshot::Sender<Result<Answer, Fault>>,
}

impl<Terms, Ask, Answer> Default for Together<Terms, Ask, Answer> {
    fn default() -> Self {
        Self { waiting: Gathering::new(MOST) }
    }
}

impl<Terms, Ask, Answer> Together<Terms, Ask, Answer>
where
    Terms: Copy + PartialEq + Send + 'static,
    Ask: Copy + Send + 'static,
    Answer: Send + 'static,
{
    /// Asks with all others of this turn who ask on the same terms, and gives the answer to this one. `run` answers as many as it is
    /// given, in their order; the one who serves brings it.
    pub(super) async fn ask<R>(
        &self,
        terms: Terms,
        ask: Ask,
        run: impl Fn(Terms, Vec<Ask>) -> R + Send + Sync + 'static,
    ) -> Result<Answer, Fault>
    where
        R: Future<Output = Result<Vec<Answer>, Fault>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        if let Some(turn) = self.waiting.join(Waiting { terms, ask, answer }) {
            turn.serve(|all| ask_for(all, run));
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_gone) => Err(Fault::Away(Arc::new(GivenUp))),
        }
    }
}

async fn ask_for<Terms, Ask, Answer, R>(
    mut waiting: Vec<Waiting<Terms, Ask, Answer>>,
    run: impl Fn(Terms, Vec<Ask>) -> R,
) where
    Terms: Copy + PartialEq,
    Ask: Copy,
    R: Future<Output = Result<Vec<Answer>, Fault>>,
{
    // Nobody is lent a guest who does not wait for one any more.
    waiting.retain(|one| !one.answer.is_closed());
    // All have the same terms, but for those who come back for a guest.
    while let Some(Waiting { terms, .. }) = waiting.first() {
        let terms = *terms;
        let (alike, others) = waiting.into_iter().partition(|one| one.terms == terms);
        waiting = others;
        ask_for_group(alike, &run).await;
    }
}

async fn ask_for_group<Terms, Ask, Answer, R>(
    mut group: Vec<Waiting<Terms, Ask, Answer>>,
    run: &impl Fn(Terms, Vec<Ask>) -> R,
) where
    Terms: Copy,
    Ask: Copy,
    R: Future<Output = Result<Vec<Answer>, Fault>>,
{
    let terms = group[0].terms;
    let asks: Vec<_> = group.iter().map(|one| one.ask).collect();
    let all_have_left = async {
        for one in &mut group {
            one.answer.closed().await;
        }
    };
    let answers = tokio::select! {
        answers = run(terms, asks) => answers,
        // Then it is not sent again.
        () = all_have_left => return,
    };
    match answers {
        Ok(answers) => {
            for (Waiting { answer, .. }, told) in group.into_iter().zip(answers) {
                let _nobody_waits = answer.send(Ok(told));
            }
        }
        // One of them is damaged, and the others are not to suffer for it.
        Err(Fault::Corrupt(_)) if group.len() > 1 => {
            for Waiting { terms, ask, answer } in group {
                let told = run(terms, vec![ask]).await;
                if let Some(told) = told.map(|mut answers| answers.pop()).transpose() {
                    let _nobody_waits = answer.send(told);
                }
            }
        }
        Err(fault) => {
            for Waiting { answer, .. } in group {
                let _nobody_waits = answer.send(Err(fault.clone()));
            }
        }
    }
}

/// What those are told whose question took too long.
#[derive(Debug, thiserror::Error)]
#[error("the question was given up")]
struct GivenUp;
