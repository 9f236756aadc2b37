//! The one connection to Redis: made when a step needs it, shared by all steps, given up when it no longer answers.
//!
//! The driver's own manager is not used, for three things it does: after an answer that never came it keeps the connection
//! until TCP gives up, many minutes later; after an outage the first caller still gets the error of the last attempt; and
//! while the server is away each caller waits through its back-off.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisResult,
    ServerErrorKind, Value,
};

use super::batch::Batch;
use crate::store::Store;

/// How long a connection may take to be made, TLS and `AUTH` included: room for a few round trips across a continent, and less
/// than half of a step's patience, so that a step can tell that the server is away.
const CONNECT_PATIENCE: Duration = Duration::from_millis(400);

/// For how long one failed attempt to connect answers for all who ask, so that an outage is not met with a flood of attempts.
const FAILURE_IS_NEWS: Duration = Duration::from_millis(50);

/// How many batches may wait for the connection's writer before callers wait in line.
const LINE: usize = 1024;

/// When a command leaves.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// With all others of this turn.
    WithOthers,
    /// By itself: it serves many already.
    Now,
}

pub(super) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    current: RwLock<Option<Current>>,
    batch: Batch,
    /// One attempt to connect at a time; holds how the last one failed, and when.
    connecting: tokio::sync::Mutex<Option<(Instant, RedisError)>>,
}

#[derive(Clone)]
struct Current {
    connection: MultiplexedConnection,
    since: Instant,
}

impl Link {
    /// A link to the server that `client` knows; nothing is sent yet.
    pub(super) fn new(client: Client) -> Self {
        // The step's patience ends a wait for an answer; the driver's own time-out would be a second clock for the same thing.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_PATIENCE))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(LINE);
        Self {
            client,
            config,
            current: RwLock::default(),
            batch: Batch::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Sends `command` and gives the server's answer. When the connection breaks it is sent once more over a new one, so that
    /// an idle connection cut by the network, or a restart of the server, is noticed by nobody: whatever is sent must be safe
    /// to send twice.
    pub(super) async fn send(&self, command: &Cmd, when: When) -> RedisResult<Value> {
        match self.send_once(command, when).await {
            // When there was no connecting at all, the second attempt is answered by the first one's failure.
            Err(error) if error.is_unrecoverable_error() => self.send_once(command, when).await,
            answer => answer,
        }
    }

    /// Sends `commands` in one write and gives the server's answers in their order, an error of one of them as a value. Sent once
    /// more like [`Link::send`], so that they must be safe to send twice.
    pub(super) async fn send_all(&self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        match self.send_all_once(commands).await {
            Err(error) if error.is_unrecoverable_error() => self.send_all_once(commands).await,
            answers => answers,
        }
    }

    async fn send_all_once(&self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        let Current { mut connection, since } = self.connection().await?;
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let answers = connection.send_packed_commands(&pipeline, 0, commands.len()).await;
        answers.inspect_err(|error| {
            if error.is_unrecoverable_error() {
                self.give_up(|current| current == since);
            }
        })
    }

    /// A connection for the caller alone, which ends with it.
    pub(super) async fn another(&self) -> RedisResult<MultiplexedConnection> {
        self.client.get_multiplexed_async_connection_with_config(&self.config).await
    }

    /// Gives the connection up after a step that had no answer in time, so that the next step makes a new one: the peer may
    /// have vanished without a word. A connection younger than half of that step stays: another step made it meanwhile.
    pub(super) fn suspect(&self) {
        self.give_up(|since| since.elapsed() > Store::PATIENCE / 2);
    }

    async fn send_once(&self, command: &Cmd, when: When) -> RedisResult<Value> {
        let mut current = self.connection().await?;
        let answer = match when {
            When::WithOthers => self.batch.send(command.clone(), &current.connection).await,
            When::Now => current.connection.send_packed_command(command).await,
        };
        let answer = match answer {
            Ok(Value::ServerError(error)) => Err(RedisError::from(error)),
            answer => answer,
        };
        answer.inspect_err(|error| {
            // A server that has become a replica stays one: the name may lead to the new primary by now.
            let demoted = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
            if demoted || error.is_unrecoverable_error() {
                self.give_up(|since| since == current.since);
            }
        })
    }

    /// The connection; made now if there is none.
    async fn connection(&self) -> RedisResult<Current> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut last_failure = self.connecting.lock().await;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if let Some((when, error)) = &*last_failure
            && when.elapsed() < FAILURE_IS_NEWS
        {
            return Err(error.clone());
        }
        match self.client.get_multiplexed_async_connection_with_config(&self.config).await {
            Ok(connection) => {
                let current = Current { connection, since: Instant::now() };
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(current.clone());
                Ok(current)
            }
            Err(error) => {
                *last_failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn current(&self) -> Option<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Steps under way on the connection keep it until they are done.
    fn give_up(&self, which: impl Fn(Instant) -> bool) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| which(current.since)) {
            *current = None;
        }
    }
}
