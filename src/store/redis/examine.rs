//! How the server is set up, seen from what it tells about itself.

use redis::Cmd;

use super::Redis;
use crate::store::{Dated, Fault, Health};

/// The oldest version that is known to do what the scripts need.
const OLDEST: (u32, u32) = (6, 2);

/// Asks the server about itself; not a hot path, so a command after the other.
pub(super) async fn examine(redis: &Redis) -> Result<Dated<Health>, Fault> {
    let mut command = Cmd::new();
    command.arg("INFO");
    let info = Info(redis.ask(&command).await?);

    let mut command = Cmd::new();
    command.arg("CONFIG").arg("GET").arg("save");
    // Managed servers often forbid it; that is worth a word, not a fault.
    let snapshots = match redis.ask::<Vec<String>>(&command).await {
        Ok(pair) => pair.into_iter().nth(1),
        Err(_) => None,
    };
    let time = redis.read_time().await?.time;
    Ok(Dated { value: judge(&info, snapshots.as_deref()), time })
}

/// The answer to `INFO`: lines of `name:value`.
pub(super) struct Info(pub(super) String);

impl Info {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }
}

fn judge(info: &Info, snapshots: Option<&str>) -> Health {
    let redis_version = info.get("redis_version").unwrap_or("of unknown version");
    let what = match info.get("valkey_version") {
        Some(version) => format!("Valkey {version}"),
        None => format!("Redis {redis_version}"),
    };
    let mut faults = Vec::new();
    let mut warnings = Vec::new();

    // Valkey, too, says here with which Redis it goes.
    if !is_new_enough(redis_version) {
        faults.push(format!(
            "{what} is too old: use Redis {}.{} or newer, or Valkey",
            OLDEST.0, OLDEST.1
        ));
    }
    if info.get("cluster_enabled") == Some("1") {
        faults.push(
            "the server is part of a cluster: not yet supported, use a single server".to_owned(),
        );
    }
    if info.get("role").is_some_and(|role| role != "master") {
        faults.push("the server is a replica and takes no writes: use its primary".to_owned());
    }
    match info.get("maxmemory_policy") {
        Some("noeviction") => {}
        Some(policy) => faults.push(format!(
            "maxmemory-policy is {policy}: sessions and bindings would be thrown away when memory runs out; set it to noeviction"
        )),
        None => warnings.push("maxmemory-policy cannot be seen: make sure that it is noeviction".to_owned()),
    }
    match (info.get("aof_enabled"), snapshots) {
        (Some("1"), _) => {}
        (_, Some("")) => warnings.push(
            "the server keeps nothing on disk: a restart ends all sessions and forgets who has which identity and who is blocked; \
             set appendonly to yes"
                .to_owned(),
        ),
        (_, Some(_)) => warnings.push(
            "the server saves snapshots only: a crash forgets the last minutes; set appendonly to yes".to_owned(),
        ),
        (_, None) => warnings
            .push("whether the server keeps snapshots on disk cannot be seen: CONFIG is forbidden".to_owned()),
    }
    Health { what, faults, warnings }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "redis_version:7.0.15\r\ncluster_enabled:0\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1";

    fn judged(change: (&str, &str), snapshots: Option<&str>) -> Health {
        judge(&Info(GOOD.replace(change.0, change.1)), snapshots)
    }

    #[test]
    fn a_server_that_is_set_up_well_has_neither_faults_nor_warnings() {
        let health = judged(("", ""), None);

        assert_eq!(
            health,
            Health { what: "Redis 7.0.15".to_owned(), faults: vec![], warnings: vec![] }
        );
    }

    #[test]
    fn each_wrong_setting_is_a_fault_of_its_own() {
        for (change, word) in [
            (("7.0.15", "6.0.20"), "too old"),
            (("redis_version:7.0.15", ""), "too old"),
            (("cluster_enabled:0", "cluster_enabled:1"), "not yet"),
            (("role:master", "role:slave"), "replica"),
            (("noeviction", "allkeys-lru"), "allkeys-lru"),
        ] {
            let health = judged(change, None);

            assert_eq!(health.faults.len(), 1, "{change:?}: {health:?}");
            assert!(health.faults[0].contains(word), "{health:?}");
        }
    }

    #[test]
    fn what_may_be_lost_or_cannot_be_seen_is_a_warning() {
        for (change, snapshots, word) in [
            (("aof_enabled:1", "aof_enabled:0"), Some(""), "nothing on disk"),
            (("aof_enabled:1", "aof_enabled:0"), Some("3600 1"), "snapshots only"),
            (("aof_enabled:1", "aof_enabled:0"), None, "cannot be seen"),
            (("maxmemory_policy:noeviction", ""), None, "cannot be seen"),
        ] {
            let health = judged(change, snapshots);

            assert_eq!((health.faults.len(), health.warnings.len()), (0, 1), "{health:?}");
            assert!(health.warnings[0].contains(word), "{health:?}");
        }
    }

    #[test]
    fn valkey_is_called_by_its_name() {
        let health =
            judged(("redis_version:7.0.15", "redis_version:7.2.4\r\nvalkey_version:8.0.1"), None);

        assert_eq!(health.what, "Valkey 8.0.1");
    }
}
