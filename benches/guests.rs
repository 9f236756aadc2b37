//! What a lend costs the store, in a pool of a thousand and of a million guests, and what a guest takes of its memory.
//!
//! `cargo bench --bench guests` starts a real Redis for each size, makes that many guests idle, as they are after a holder each, and lends some of
//! them. Redis' own time for each script is what counts; each size is measured in turn, five rounds, and medians are told. Needs `redis-server`.

#![expect(clippy::print_stdout, reason = "what a bench finds is for whoever runs it")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use vestibule::inside::store::{LeaseKey, LeaseTerms, Lent, PoolTerms, Purpose, Settings, Store};
use vestibule::inside::{Digest, Metrics, RequestId};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How many are lent in a round.
const LENDS: u32 = 500;

const POOL: &str = "vestibule:guests:{nobody}";

/// A server, killed on drop.
struct Server {
    process: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl Server {
    fn start() -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .stdout(Stdio::null())
            .spawn()?;
        let server = Self { process, url: format!("redis://127.0.0.1:{port}") };
        while server.ask::<String>(&["PING"]).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Outcome<T> {
        let mut connection = redis::Client::open(&*self.url)?.get_connection()?;
        let mut command = redis::Cmd::new();
        command.arg(words);
        Ok(command.query(&mut connection)?)
    }

    fn used(&self) -> Outcome<f64> {
        let info: String = self.ask(&["INFO", "memory"])?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(used.ok_or("no memory")?.parse()?)
    }

    /// Microseconds of the server for each script since this was asked last.
    fn script_us(&self) -> Outcome<f64> {
        let info: String = self.ask(&["INFO", "commandstats"])?;
        let of =
            info.lines().find(|line| line.starts_with("cmdstat_evalsha:")).ok_or("no script")?;
        let per_call = of.split(',').find_map(|part| part.strip_prefix("usec_per_call="));
        let per_call = per_call.ok_or("no time")?.parse()?;
        self.forget_stats()?;
        Ok(per_call)
    }

    fn forget_stats(&self) -> Outcome<()> {
        let _ok: String = self.ask(&["CONFIG", "RESETSTAT"])?;
        Ok(())
    }
}

fn terms(size: u32) -> PoolTerms {
    let minutes = Duration::from_mins;
    PoolTerms {
        size,
        budget: None,
        first: minutes(5),
        lease: minutes(30),
        token: minutes(30),
        max_stay: minutes(12 * 60),
        cooldown: minutes(10),
        joins: false,
    }
}

/// As many guests as after a holder each: idle, and active this month.
const FILL: &str = r"
local time = redis.call('TIME')
for guest = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('ZADD', KEYS[1] .. ':idle:' .. ARGV[3], time[1] * 1000 - 1 - guest % 1000, guest)
end
redis.call('ZADD', KEYS[1] .. ':months', ARGV[3], ARGV[3])
redis.call('HSET', KEYS[1], 'n', ARGV[2] + 1)
return 1";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut costs = Vec::new();
    for size in [1_000_u32, 1_000_000] {
        let server = Server::start()?;
        let store =
            Store::open(&Settings::Redis { url: server.url.clone().into() }, &Metrics::new()?)
                .await?;
        store.heed_doubt(&terms(size)).await?;
        let month = store.describe_pool().await?.value.month.number().to_string();
        let empty = server.used()?;
        for first in (1..=size).step_by(50_000) {
            let last = size.min(first + 49_999);
            let _one: u32 = server.ask(&[
                "EVAL",
                FILL,
                "1",
                POOL,
                &first.to_string(),
                &last.to_string(),
                &month,
            ])?;
        }
        let idle = (server.used()? - empty) / f64::from(size);
        let (mut lends, mut tokens) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let mut leases = Vec::new();
            server.forget_stats()?;
            for _ in 0..LENDS / 5 {
                let id = Digest::of(&rand());
                let lent = store.lend_guest(&id, &terms(size)).await?.value;
                let Lent::Guest(lease) = lent else { return Err(format!("{lent:?}").into()) };
                leases.push(LeaseKey { guest: lease.guest, id });
            }
            lends.push(server.script_us()?);
            for key in &leases {
                let terms = LeaseTerms { pool: terms(size), limit: None, purpose: Purpose::Token };
                store.use_lease(key, &terms, RequestId::unique()).await?;
            }
            for key in &leases {
                let terms = LeaseTerms { pool: terms(size), limit: None, purpose: Purpose::Token };
                store.use_lease(key, &terms, RequestId::unique()).await?;
            }
            tokens.push(server.script_us()?);
        }
        let lend = median(&mut lends);
        println!(
            "{size:>9} guests: a lend {lend:.1} µs, a token {:.1} µs, {idle:.0} bytes an idle guest",
            median(&mut tokens)
        );
        costs.push(lend);
    }
    println!("ratio {:.2}", costs[1] / costs[0]);
    memory().await
}

/// What a lent guest takes, over 100,000 of them.
async fn memory() -> Outcome<()> {
    let server = Server::start()?;
    let store =
        Store::open(&Settings::Redis { url: server.url.clone().into() }, &Metrics::new()?).await?;
    store.heed_doubt(&terms(1)).await?;
    let empty = server.used()?;
    for _ in 0..100_000 {
        store.lend_guest(&Digest::of(&rand()), &terms(100_000)).await?;
    }
    let lent = server.used()? - empty;
    println!("a lent guest {:.0} bytes in its first minute", lent / 1e5);
    tokio::time::sleep(Duration::from_secs(61)).await;
    // What is over goes when it is met, and otherwise by and by.
    while server.ask::<usize>(&["DBSIZE"])? > 100_100 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("a lent guest {:.0} bytes after it", (server.used()? - empty) / 1e5);
    Ok(())
}

/// Bytes that did not come before.
fn rand() -> Vec<u8> {
    RequestId::unique().to_string().into_bytes()
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
