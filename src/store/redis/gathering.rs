//! Those who ask in one turn of the scheduler, gathered, so that they are served together.

use std::future::Future;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::timeout;

use crate::store::Store;

/// Those who wait for the end of this turn.
pub(super) struct Gathering<One> {
    waiting: Waiting<One>,
    most: usize,
}

type Waiting<One> = Arc<Mutex<Vec<One>>>;

impl<One> Gathering<One> {
    /// Nobody yet. As soon as they are `most` they are served, so that the server works on them while we go on.
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: Arc::default(), most }
    }

    /// Lets `one` wait with the others. The first of them has to serve them, and so has the one who makes them as many as can be.
    pub(super) fn join(&self, one: One) -> Option<Turn<One>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(one);
        match waiting.len() {
            1 => Some(Turn::First(self.waiting.clone())),
            count if count == self.most => Some(Turn::Full(mem::take(&mut *waiting))),
            _ => None,
        }
    }
}

/// Those whom one of them has to serve.
#[must_use = "others wait to be served"]
pub(super) enum Turn<One> {
    /// All who come until whoever is ready to run now has run.
    First(Waiting<One>),
    /// These.
    Full(Vec<One>),
}

impl<One: Send + 'static> Turn<One> {
    /// Has all of them served, for twice as long as a step may take: each of them has left by itself before, as one who met silence, and
    /// a silent connection is held for no longer.
    pub(super) fn serve<S>(self, serve: impl FnOnce(Vec<One>) -> S + Send + 'static)
    where
        S: Future<Output = ()> + Send,
    {
        let served = async move {
            let all = match self {
                Self::First(waiting) => {
                    tokio::task::yield_now().await;
                    mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner))
                }
                Self::Full(all) => all,
            };
            let _in_time = timeout(2 * Store::PATIENCE, serve(all)).await;
        };
        // A task of its own, because others wait for it when this one's request is given up.
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends within twice a step's patience, and nobody waits for it longer"
        )]
        tokio::spawn(served);
    }
}
