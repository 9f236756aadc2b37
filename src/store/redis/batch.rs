//! Commands that leave together: what all tasks that are ready to run give in one turn goes to the server in one write.
//!
//! The driver writes each command as soon as it has it. On a busy core that write costs more than anything else about a token,
//! and the server pays for it too; a turn later the same write takes what sixty requests have to say.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::oneshot;

use super::gathering::Gathering;

/// The commands that wait for the end of this turn, however many they are.
pub(super) struct Batch {
    waiting: Gathering<Waiting>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { waiting: Gathering::new(usize::MAX) }
    }
}

struct Waiting {
    command: Cmd,
    answer: oneshot::Sender<RedisResult<Value>>,
}

impl Batch {
    /// Sends `command` with all others of this turn, over the connection that one of them brought, and gives the server's
    /// answer to it.
    pub(super) async fn send(
        &self,
        command: Cmd,
        connection: &MultiplexedConnection,
    ) -> RedisResult<Value> {
        let (answer, answered) = oneshot::channel();
        if let Some(turn) = self.waiting.join(Waiting { command, answer }) {
            let connection = connection.clone();
            turn.serve(|batch| send_all(batch, connection));
        }
        match answered.await {
            Ok(answer) => answer,
            Err(_gone) => Err(RedisError::from((ErrorKind::Io, "the batch was given up"))),
        }
    }
}

async fn send_all(batch: Vec<Waiting>, mut connection: MultiplexedConnection) {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    let mut answers = Vec::with_capacity(batch.len());
    for Waiting { command, answer } in batch {
        pipeline.add_command(command);
        answers.push(answer);
    }
    match connection.send_packed_commands(&pipeline, 0, answers.len()).await {
        Ok(values) => {
            for (answer, value) in answers.into_iter().zip(values) {
                let _nobody_waits = answer.send(Ok(value));
            }
        }
        Err(error) => {
            for answer in answers {
                let _nobody_waits = answer.send(Err(error.clone()));
            }
        }
    }
}
