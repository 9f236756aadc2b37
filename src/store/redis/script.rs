//! Scripts and their answers: how one is called in a single round trip, and how its answer is read without trusting it.

use std::fmt::{self, Display};
use std::io::Write;
use std::vec;

use redis::{Arg, Cmd, RedisWrite, ToRedisArgs, Value};

use super::away;
use super::link::{Link, When};
use crate::clock::{StoreTime, Timestamp};
use crate::store::{Dated, Fault};

/// A script of ours, known to the server by its SHA-1.
pub(super) struct Script {
    source: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        Self { source, hash: redis::Script::new(source).get_hash().to_owned() }
    }

    /// Begins a call with `keys` keys, which come first, then the arguments.
    pub(super) fn call(&self, keys: usize) -> Call<'_> {
        // Room for a session's key, its arguments and the head: the longest call that is made often.
        let mut command = Cmd::with_capacity(11, 448);
        command.arg("EVALSHA").arg(&self.hash).arg(keys);
        Call { script: self, command }
    }
}

/// What a value reads as, or nothing.
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T: Display> Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|value| value.fmt(f))
    }
}

/// A script with its keys and arguments.
pub(super) struct Call<'a> {
    script: &'a Script,
    command: Cmd,
}

impl Call<'_> {
    /// Adds a key or argument.
    pub(super) fn arg(mut self, value: impl ToRedisArgs) -> Self {
        self.command.arg(value);
        self
    }

    /// Adds what `value` reads as, straight into the command.
    pub(super) fn text(mut self, value: impl Display) -> Self {
        // The command's buffer grows as needed, and our own texts never refuse to be written.
        let _always_written = write!(self.command.writer_for_next_arg(), "{value}");
        self
    }

    /// Runs it. A server that does not know the script (new, restarted, `SCRIPT FLUSH`) gets its source, and runs it in the
    /// same breath.
    pub(super) async fn run(self, link: &Link) -> Result<Answer, Fault> {
        self.run_when(link, When::WithOthers).await
    }

    /// The same, for a script that serves many at once.
    pub(super) async fn run_for_many(self, link: &Link) -> Result<Answer, Fault> {
        self.run_when(link, When::Now).await
    }

    async fn run_when(self, link: &Link, when: When) -> Result<Answer, Fault> {
        let answer = match link.send(&self.command, when).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                link.send(&self.with_source(), when).await
            }
            answer => answer,
        };
        Answer::read(answer.map_err(away)?)
    }

    fn with_source(&self) -> Cmd {
        let mut whole = Cmd::new();
        whole.arg("EVAL").arg(self.script.source);
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                whole.arg(bytes);
            }
        }
        whole
    }
}

/// A script's answer: the server's milliseconds, then values, each read once and in order.
pub(super) struct Answer {
    at: Timestamp,
    values: vec::IntoIter<Value>,
}

impl Answer {
    fn read(value: Value) -> Result<Self, Fault> {
        let Value::Array(values) = value else {
            return Err(Fault::Corrupt("an answer that is no list"));
        };
        let mut answer = Self { at: Timestamp::from_millis(0), values: values.into_iter() };
        answer.at = answer.timestamp()?;
        Ok(answer)
    }

    /// The answer as a whole: `value`, dated.
    pub(super) fn dated<T>(self, value: T) -> Dated<T> {
        Dated { value, time: StoreTime::heard_now(self.at) }
    }

    /// The answer as a whole: `values`, each dated.
    pub(super) fn dated_each<T>(self, values: Vec<T>) -> Vec<Dated<T>> {
        let time = StoreTime::heard_now(self.at);
        values.into_iter().map(|value| Dated { value, time }).collect()
    }

    /// Whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.values.len() == 0
    }

    /// The next value, a whole number.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        match self.values.next() {
            Some(Value::Int(number)) => {
                u64::try_from(number).map_err(|_| Fault::Corrupt("a number below zero"))
            }
            _ => Err(Fault::Corrupt("no number where one belongs")),
        }
    }

    /// The next value, a moment in milliseconds.
    pub(super) fn timestamp(&mut self) -> Result<Timestamp, Fault> {
        self.number().map(Timestamp::from_millis)
    }

    /// The next value, a text, or `None` when there is none.
    pub(super) fn maybe_text(&mut self) -> Result<Option<String>, Fault> {
        match self.values.next() {
            None | Some(Value::Nil) => Ok(None),
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|_| Fault::Corrupt("a text that is not UTF-8")),
            Some(_) => Err(Fault::Corrupt("no text where one belongs")),
        }
    }

    /// The next value, a text.
    pub(super) fn text(&mut self) -> Result<String, Fault> {
        self.maybe_text()?.ok_or(Fault::Corrupt("no text where one belongs"))
    }
}
