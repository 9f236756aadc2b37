//! Commands that leave together: what all tasks that are ready to run give in one turn goes to the server in one write.
//!
//! The driver writes each command as soon as it has it. On a busy core that write costs more than anything else about a token,
//! and the server pays for it too; a turn later the same write takes what sixty requests have to say.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::store::Store;

/// The commands that wait for the end of this turn.
#[derive(Default)]
pub(super) struct Batch {
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

struct Waiting {
    command: Cmd,
    answer: oneshot::Sender<RedisResult<Value>>,
}

impl Batch {
    /// Sends `command` with all others of this turn, over the connection that the first of them brought, and gives the server's
    /// answer to it.
    pub(super) async fn send(
        &self,
        command: Cmd,
        connection: &MultiplexedConnection,
    ) -> RedisResult<Value> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(Waiting { command, answer });
            waiting.len() == 1
        };
        if is_first {
            let sending = send_all(self.waiting.clone(), connection.clone());
            // A task of its own, because others wait for it when the first one's request is given up.
            #[expect(
                clippy::disallowed_methods,
                reason = "it ends within a step's patience, and whoever waits for it notices"
            )]
            tokio::spawn(sending);
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_gone) => Err(RedisError::from((ErrorKind::Io, "the batch was given up"))),
        }
    }
}

async fn send_all(waiting: Arc<Mutex<Vec<Waiting>>>, mut connection: MultiplexedConnection) {
    // Whoever is ready to run now adds its command meanwhile.
    tokio::task::yield_now().await;
    let batch = mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
    let mut pipeline = Pipeline::with_capacity(batch.len());
    let mut answers = Vec::with_capacity(batch.len());
    for Waiting { command, answer } in batch {
        pipeline.add_command(command);
        answers.push(answer);
    }
    // After that nobody waits any more, and a silent connection must not be held for longer.
    let sent = connection.send_packed_commands(&pipeline, 0, answers.len());
    match timeout(Store::PATIENCE, sent).await {
        Ok(Ok(values)) => {
            for (answer, value) in answers.into_iter().zip(values) {
                let _nobody_waits = answer.send(Ok(value));
            }
        }
        Ok(Err(error)) => {
            for answer in answers {
                let _nobody_waits = answer.send(Err(error.clone()));
            }
        }
        Err(_elapsed) => {}
    }
}
