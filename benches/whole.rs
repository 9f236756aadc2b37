//! What a warm `POST /token` costs, on a session, for a bearer and for a guest, and a new guest, as a ratio to a bare axum route that answers JSON of the same size.
//!
//! `cargo bench --bench whole` starts a real Redis, the bare route and two Vestibules (limits off, limits on), each server on the
//! first core, load, Redis and who reads the log (`cat`, through a pipe) on the second, and lets `wrk` ask them in turn, five rounds; a bearer
//! brings an RS256 token of a provider in this process. It prints medians and ratios, then how soon a back-channel logout at one of the two
//! is heard by both, and what a start costs. `-- --seconds 2 --rounds 1` makes it quick, `--connections N` another load. Needs `redis-server`, `wrk` and `taskset`.

#![expect(clippy::print_stdout, reason = "what a bench finds is for whoever runs it")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};
use vestibule::inside::store::{
    self, Lent, NewSession, NewStanding, PoolTerms, SessionKey, Settings, Store, Verdict,
};
use vestibule::inside::{Digest, Identity, Metrics, ProviderName, Secret256, Subject, Timestamp};

/// How many signed-in devices ask in turn: enough that none comes near a limit of a thousand a second.
const SESSIONS: usize = 256;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, otherwise: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(otherwise)
    };
    if let Some(at) = arguments.iter().position(|argument| argument == "--bare") {
        return bare(arguments[at + 1].parse()?);
    }
    let rounds = number("--rounds", 5);
    let terms =
        Terms { seconds: number("--seconds", 8), connections: number("--connections", 256) };
    let folder = tempfile::tempdir()?;
    let redis = Server::redis()?;
    let bare =
        Server::start("bare axum", Command::new(std::env::current_exe()?).arg("--bare"), &[])?;
    let provider = Provider::start()?;
    let off = Server::vestibule(folder.path(), "limits off", &redis, &provider, "off")?;
    let on = Server::vestibule(folder.path(), "limits on", &redis, &provider, "60000/m")?;
    let sessions = folder.path().join("sessions.lua");
    let cookie = |cookie: &String| {
        format!("['Cookie'] = 'vestibule={cookie}', ['Origin'] = 'https://app.example.com'")
    };
    let cookies = cookies(&redis, &provider)?;
    fs::write(&sessions, load_script("/token", cookies.iter().map(cookie))?)?;
    let bearers = folder.path().join("bearers.lua");
    let bearer = |n| Ok(format!("['Authorization'] = 'Bearer {}'", provider.access_token(n)?));
    let brought = (0..SESSIONS).map(bearer).collect::<Outcome<Vec<_>>>()?;
    fs::write(&bearers, load_script("/token", brought)?)?;
    let (guests, visitors) = (folder.path().join("guests.lua"), folder.path().join("new.lua"));
    let bearer = |secret: &String| format!("['Authorization'] = 'Bearer vg_{secret}'");
    fs::write(&guests, load_script("/token", leases(&redis)?.iter().map(bearer))?)?;
    let anybody = "['Content-Type'] = 'application/json'".to_owned();
    fs::write(&visitors, load_script("/guest", [anybody])?)?;

    let ways = [
        (bare.name, &bare, &sessions),
        (off.name, &off, &sessions),
        (on.name, &on, &sessions),
        ("bearer", &off, &bearers),
        ("guest", &off, &guests),
        ("new guest", &off, &visitors),
    ];
    let mut loads = [const { Vec::new() }; 6];
    for _ in 0..rounds {
        for ((_, server, script), loads) in ways.iter().zip(&mut loads) {
            loads.push(server.load(script, &terms)?);
        }
    }
    let names = ways.map(|(name, ..)| name);
    tell(&terms, &names, &loads);
    log_out_all([&off, &on], &redis, &provider, &cookies)?;
    let binary = u32::try_from(fs::metadata(env!("CARGO_BIN_EXE_vestibule"))?.len())?;
    println!("binary {:.1} MB", f64::from(binary) / 1e6);
    let fresh = Server::vestibule(folder.path(), "fresh", &redis, &provider, "off")?;
    println!(
        "start to ready {:.0} ms, then {:.1} MB resident",
        fresh.ready.as_secs_f64() * 1e3,
        fresh.resident_mb()?
    );
    Ok(())
}

/// Medians of all rounds, each as a ratio to the first way.
fn tell(terms: &Terms, names: &[&str], loads: &[Vec<Load>]) {
    let rounds = loads[0].len();
    let Terms { seconds, connections } = *terms;
    println!("{rounds} alternating rounds of {seconds} s with {connections} connections, medians:");
    println!("requests a second, ratio, core used (all)");
    let yardstick = median(&loads[0], |load| load.rate);
    for (name, loads) in names.iter().zip(loads) {
        let rate = median(loads, |load| load.rate);
        let busy = median(loads, |load| load.busy) * 100.0;
        let all: Vec<_> = loads.iter().map(|load| format!("{:.1}", load.rate / 1e3)).collect();
        let (ratio, all) = (rate / yardstick, all.join(" "));
        println!("  {name:<10} {:>6.1} k  {ratio:.2}  {busy:>3.0} %  ({all})", rate / 1e3);
    }
}

/// Signs each person out by a logout token, and looks how soon both services refuse their session.
fn log_out_all(
    [told, other]: [&Server; 2],
    redis: &Server,
    provider: &Provider,
    cookies: &[String],
) -> Outcome<()> {
    let mut times = Vec::new();
    for (n, cookie) in cookies.iter().enumerate() {
        let token = provider.logout_token(&json!({ "sub": format!("person-{n}") }))?;
        let begun = Instant::now();
        told.log_out(&token)?;
        for server in [told, other] {
            while server.token_status(cookie)? != 401 {}
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!("logout to refusal on both: median {:.1} ms, p99 {:.1} ms", ms(50), ms(99));
    log_out_thousand(told, redis, provider)
}

/// One logout of somebody with 1,000 sessions, each of which is looked at: their logins named no session of the provider's.
fn log_out_thousand(told: &Server, redis: &Server, provider: &Provider) -> Outcome<()> {
    let cookies = cookies_of(redis, provider, &["person-of-many"; 1000])?;
    let token = provider.logout_token(&json!({ "sub": "person-of-many", "sid": "any" }))?;
    let begun = Instant::now();
    told.log_out(&token)?;
    println!("logout of 1,000 sessions: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    for cookie in [&cookies[0], &cookies[999]] {
        if told.token_status(cookie)? != 401 {
            return Err("a session is left".into());
        }
    }
    Ok(())
}

fn median(loads: &[Load], of: impl Fn(&Load) -> f64) -> f64 {
    let mut values: Vec<f64> = loads.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The yardstick: a route that answers what `/token` would, already made.
fn bare(port: u16) -> Outcome<()> {
    #[derive(Serialize)]
    struct Reply {
        identity: &'static str,
        kind: &'static str,
        token: &'static str,
        expires_in: u64,
        expires_at: &'static str,
    }
    // As long as a token of ours.
    let token: &'static str = Box::leak("x".repeat(560).into_boxed_str());
    let reply = async move || {
        Json(Reply {
            identity: "7d0c2a0e-0000-5000-8000-000000000000",
            kind: "member",
            token,
            expires_in: 3600,
            expires_at: "2026-11-24T12:00:00Z",
        })
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        Ok(axum::serve(listener, Router::new().route("/token", post(reply))).await?)
    })
}

/// How the servers are loaded.
struct Terms {
    seconds: u64,
    /// As many as there are devices, unless told otherwise.
    connections: u64,
}

/// What came of a load.
#[derive(Clone, Copy)]
struct Load {
    /// Requests a second.
    rate: f64,
    /// How much of its core the server used: near 1, or the load was the limit and the ratio flatters.
    busy: f64,
}

/// A process of ours, ended on drop.
struct Server {
    name: &'static str,
    address: SocketAddr,
    process: Child,
    ready: Duration,
}

impl Server {
    fn redis() -> Outcome<Self> {
        let port = free_port()?;
        let mut command = Command::new("taskset");
        command.args([
            "-c",
            "1",
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--port",
            &port.to_string(),
        ]);
        command.args(["--maxmemory-policy", "noeviction"]);
        Self::wait("redis", &mut command, port)
    }

    /// A server on the first core. It learns its port as the last argument, after what `arguments` says.
    fn start(name: &'static str, program: &mut Command, arguments: &[&str]) -> Outcome<Self> {
        let port = free_port()?;
        let mut command = Command::new("taskset");
        command
            .args(["-c", "0"])
            .arg(program.get_program())
            .args(program.get_args())
            .args(arguments);
        command.arg(port.to_string());
        Self::wait(name, &mut command, port)
    }

    fn vestibule(
        folder: &Path,
        name: &'static str,
        redis: &Self,
        provider: &Provider,
        limit: &str,
    ) -> Outcome<Self> {
        let (port, ops) = (free_port()?, free_port()?);
        let config = folder.join(format!("{port}.toml"));
        fs::write(&config, configuration([port, ops], redis.address, &provider.issuer, limit))?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0", env!("CARGO_BIN_EXE_vestibule"), "serve", "--config"]).arg(config);
        Self::wait(name, &mut command, port)
    }

    fn wait(name: &'static str, command: &mut Command, port: u16) -> Outcome<Self> {
        let begun = Instant::now();
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        // Whoever reads the log does it on the other core; it ends with the pipe.
        if let Some(log) = process.stderr.take() {
            Command::new("taskset")
                .args(["-c", "1", "cat"])
                .stdin(log)
                .stdout(Stdio::null())
                .spawn()?;
        }
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self { name, address, process, ready: Duration::ZERO };
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("{name} ended at once: {status}").into());
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("{name} does not answer").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        server.ready = begun.elapsed();
        Ok(server)
    }

    /// One load; any answer but 200 is an error.
    fn load(&self, script: &Path, load: &Terms) -> Outcome<Load> {
        let (begun, cpu_before) = (Instant::now(), self.cpu()?);
        let output = Command::new("taskset")
            .args([
                "-c",
                "1",
                "wrk",
                "--threads",
                "1",
                "--connections",
                &load.connections.to_string(),
            ])
            .args(["--duration", &format!("{}s", load.seconds), "--script"])
            .arg(script)
            .arg(format!("http://{}", self.address))
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        if text.contains("Non-2xx") || text.contains("Socket errors") {
            return Err(format!("{} does not answer well:\n{text}", self.name).into());
        }
        let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
        let rate: f64 = rate.ok_or("wrk gives no rate")?.trim().parse()?;
        let busy =
            self.cpu()?.saturating_sub(cpu_before).as_secs_f64() / begun.elapsed().as_secs_f64();
        Ok(Load { rate, busy })
    }

    /// Tells it of a logout.
    fn log_out(&self, token: &str) -> Outcome<()> {
        let head = "POST /logout/backchannel/corp HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
        match self.ask(head, &format!("logout_token={token}"))? {
            200 => Ok(()),
            status => Err(format!("a logout token is answered with {status}").into()),
        }
    }

    /// What the session's next token is answered with.
    fn token_status(&self, cookie: &str) -> Outcome<u16> {
        let head = format!(
            "POST /token HTTP/1.1\r\nOrigin: https://app.example.com\r\nCookie: vestibule={cookie}"
        );
        self.ask(&head, "")
    }

    /// A request over a connection of its own; the answer's status.
    fn ask(&self, head: &str, body: &str) -> Outcome<u16> {
        let mut stream = TcpStream::connect(self.address)?;
        let length = body.len();
        write!(
            stream,
            "{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1).ok_or("no status")?.parse()?)
    }

    /// How long the server has computed so far.
    fn cpu(&self) -> Outcome<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // User and system time are fields 14 and 15, in hundredths of a second; the name before them may hold spaces.
        let after_name = stat.rsplit_once(')').ok_or("no name")?.1;
        let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
    }

    fn resident_mb(&self) -> Outcome<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1000.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _already_gone = self.process.wait();
    }
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A provider that publishes one RSA key, and gives tokens to whoever asks in this process.
struct Provider {
    issuer: String,
    key: KeyPair,
}

impl Provider {
    fn start() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let key = KeyPair::generate(KeySize::Rsa2048)?;
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = key.public_key();
        let keys = json!({ "keys": [{
            "kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig",
            "n": part(public.modulus().big_endian_without_leading_zero()),
            "e": part(public.exponent().big_endian_without_leading_zero()),
        }] });
        let metadata = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
        });
        std::thread::spawn(move || {
            serve(listener, metadata, keys).map_err(|error| error.to_string())
        });
        Ok(Self { issuer, key })
    }

    /// An access token of the size that they have, good for an hour.
    fn access_token(&self, n: usize) -> Outcome<String> {
        #[expect(clippy::disallowed_methods, reason = "a provider has a clock of its own")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({
            "iss": self.issuer, "sub": format!("bearer-{n}"), "aud": "https://chat.example.com",
            "client_id": "app", "jti": format!("{n}"), "iat": now, "exp": now + 3600,
            "groups": ["staff", "support", "team-blue"], "filler": "x".repeat(400),
        });
        self.sign("at+jwt", claims)
    }

    /// A logout token about whom `named` names.
    fn logout_token(&self, named: &Value) -> Outcome<String> {
        #[expect(clippy::disallowed_methods, reason = "a provider has a clock of its own")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut claims = json!({
            "iss": self.issuer, "aud": "vestibule", "jti": Secret256::random().reveal(), "iat": now, "exp": now + 120,
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        for (name, value) in named.as_object().ok_or("an object")? {
            claims[name] = value.clone();
        }
        self.sign("logout+jwt", claims)
    }

    fn sign(&self, typ: &str, claims: Value) -> Outcome<String> {
        let header = json!({ "alg": "RS256", "typ": typ, "kid": "1" });
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = parts.join(".");
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn serve(listener: TcpListener, metadata: Value, keys: Value) -> Outcome<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(async || Json(metadata)))
            .route("/keys", get(async || Json(keys)));
        Ok(axum::serve(listener, routes).await?)
    })
}

/// A configuration as an operator writes it.
fn configuration([port, ops]: [u16; 2], redis: SocketAddr, issuer: &str, limit: &str) -> String {
    let sid = |prefix: &str, digit: &str| format!("{prefix}{}", digit.repeat(32));
    format!(
        r#"
[server]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
allowed_origins = ["https://app.example.com"]
[ops]
listen = "127.0.0.1:{ops}"
[store]
url = "redis://{redis}"
[twilio]
account_sid = "{}"
api_key_sid = "{}"
api_key_secret = "{}"
conversations_service_sid = "{}"
api_url = "http://127.0.0.1:1"
[guests]
size = 10000000
[[provider]]
name = "corp"
issuer = "{issuer}"
client_id = "vestibule"
client_auth = "none"
bearer_audiences = ["https://chat.example.com"]
bearer_max_age = "1h"
[provider.policy]
allow = "true"
[limits]
tokens = "{limit}"
guests = "off"
"#,
        sid("AC", "0"),
        sid("SK", "1"),
        Secret256::random().reveal(),
        sid("IS", "2"),
    )
}

/// The secrets of as many guests, which never came for a second token.
fn leases(redis: &Server) -> Outcome<Vec<String>> {
    let settings = Settings::Redis { url: format!("redis://{}", redis.address).into() };
    let minutes = Duration::from_mins;
    let terms = PoolTerms {
        size: 10_000_000,
        budget: None,
        first: minutes(5),
        lease: minutes(30),
        token: minutes(30),
        max_stay: minutes(12 * 60),
        cooldown: minutes(10),
        joins: false,
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let pool = format!("IS{}-guest-", "2".repeat(32));
        let store = Store::open_with_pool(&settings, &pool, &Metrics::new()?).await?;
        let mut leases = Vec::new();
        for _ in 0..SESSIONS {
            let secret = Secret256::random();
            let lent = store.lend_guest(&secret.digest(), &terms).await?;
            let Lent::Guest(lease) = lent.value else { return Err("no guest".into()) };
            leases.push(format!("{}.{}", lease.guest, secret.reveal()));
        }
        Ok(leases)
    })
}

/// Sessions of as many people.
fn cookies(redis: &Server, provider: &Provider) -> Outcome<Vec<String>> {
    let people: Vec<_> = (0..SESSIONS).map(|n| format!("person-{n}")).collect();
    cookies_of(redis, provider, &people)
}

/// A session of each of these, opened as a login would.
fn cookies_of(
    redis: &Server,
    provider: &Provider,
    people: &[impl AsRef<str>],
) -> Outcome<Vec<String>> {
    let settings = Settings::Redis { url: format!("redis://{}", redis.address).into() };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let store = Store::open(&settings, &Metrics::new()?).await?;
        let mut cookies = Vec::new();
        for person in people {
            let subject = Subject::new(&provider.issuer, person.as_ref())?;
            let secret = Secret256::random();
            let session = NewSession {
                key: SessionKey { subject: subject.key(), id: secret.digest() },
                identity: Identity::parse(&format!(
                    "{}-of-the-usual-length-of-36",
                    person.as_ref()
                ))?,
                found: store.find_identity(&subject.key(), None).await?.value,
                lifetime: Duration::from_hours(8),
                idle: Duration::from_hours(8),
                label: "Firefox on Windows".to_owned(),
                most: 10_000,
                begun: Timestamp::from_millis(0),
                sid: None,
                way: None,
                grant: None,
                standing: standing(subject.clone())?,
            };
            store.open_session(&session).await?;
            cookies.push(format!("{}.{}", subject.key(), secret.reveal()));
        }
        Ok(cookies)
    })
}

/// What a login at a provider of some size leaves of somebody.
fn standing(subject: Subject) -> Outcome<NewStanding> {
    // The first token of each is decided anew, for the mark is of no policy there is; those that follow find that decision.
    let claims = format!(r#"{{"sub":"{}","filler":"{}"}}"#, subject.value(), "x".repeat(2000));
    Ok(NewStanding {
        subject,
        provider: ProviderName::parse("corp").ok_or("a provider's name")?,
        claims,
        verdict: Verdict {
            mark: Digest::of(b"policy"),
            outcome: store::Outcome::Allowed { token_ttl: None },
        },
        decision: r#"{"friendly_name":"Alice Example"}"#.to_owned(),
        keep: Duration::from_hours(8),
    })
}

/// What `wrk` sends: each request is made once, before the load begins.
fn load_script(path: &str, headers: impl IntoIterator<Item = String>) -> Outcome<String> {
    let body = if path == "/guest" { r#"{"cookie":false}"# } else { "" };
    let mut script = format!("local path, body, headers = '{path}', '{body}', {{\n");
    for headers in headers {
        writeln!(script, "  {{ {headers} }},")?;
    }
    script += r"}
local requests, at = {}, 0
function init()
  for i, headers in ipairs(headers) do
    requests[i] = wrk.format('POST', path, headers, body)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
";
    Ok(script)
}
