//! Whether the server's replicas have what was written: until they do, a failover forgets it.

use std::time::{Duration, Instant};

use redis::Cmd;

use super::examine::Info;
use super::{Redis, away, keys};
use crate::clock::{StoreTime, Timestamp};
use crate::store::steps::{Replicas, millis};
use crate::store::{Dated, Fault, Store};

/// What is left of a step's patience for the answer to come back.
const WAY_BACK: Duration = Duration::from_millis(250);

impl Redis {
    /// Over a connection of its own, because `WAIT` holds up whatever else is sent over the same one. It waits for what its own
    /// connection wrote, so that something is written first: replicas get everything in order, and have all that went before it.
    pub(in crate::store) async fn wait_for_replicas(&self) -> Result<Dated<Replicas>, Fault> {
        let begun = Instant::now();
        let mut connection = self.link.another().await.map_err(away)?;
        let mut write = redis::pipe();
        write.cmd("TIME").cmd("SET").arg(keys::REPLICAS).arg("").arg("EX").arg(60).ignore();
        write.cmd("INFO").arg("replication");
        let (time, info): ((u64, u64), String) =
            write.query_async(&mut connection).await.map_err(away)?;
        let at = Timestamp::from_millis(time.0.saturating_mul(1000).saturating_add(time.1 / 1000));
        let there = Info(info).get("connected_slaves").and_then(|count| count.parse().ok());
        let there: u64 = there.ok_or(Fault::Corrupt("no number of replicas where one belongs"))?;
        let left = Store::PATIENCE.saturating_sub(begun.elapsed() + WAY_BACK);
        let mut wait = Cmd::new();
        // No time would be all the time.
        wait.arg("WAIT").arg(there).arg(millis(left).max(1));
        let have_it = wait.query_async(&mut connection).await.map_err(away)?;
        Ok(Dated { value: Replicas { there, have_it }, time: StoreTime::heard_now(at) })
    }
}
