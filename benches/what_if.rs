//! How long `vestibule what-if` takes over many people, and in how much memory: `cargo bench --bench what_if`.
//!
//! Fills a real Redis and a file with 10,000 and then 100,000 people of 1.5 KB of claims, and tries a changed policy on them: by the
//! command alone, and for the file also through the service that has it open. `-- --people 5000` for another number, `--unbound 100`
//! for how many in a hundred have no identity yet, each of which costs a question more. Needs `redis-server`.

#![expect(clippy::print_stdout, reason = "what a bench finds is for whoever runs it")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use vestibule::inside::store::{
    self, Found, NewSession, NewStanding, SessionKey, Settings, Store, StoreError, Verdict,
};
use vestibule::inside::{
    Digest, Identity, Metrics, ProviderName, Reference, Secret256, Subject, Timestamp,
};

const TODAY: &str = r#"
allow = [{ rule = "claims.email_verified && domain(claims.email) == 'example.com'", message = "Only verified staff." }]
identity = "'staff-' + claims.employee_id"
role = "'support' in claims.groups ? 'agent' : 'member'"
conversations = "claims.groups.filter(g, g.startsWith('team-'))"
attributes = "{'dept': claims.department}"
"#;

type Tried<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Tried<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| -> Option<u32> {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    let unbound = number("--unbound").unwrap_or(10);
    let sizes = number("--people").map_or_else(|| vec![10_000, 100_000], |people| vec![people]);
    println!(
        "people   store            time     peak memory  (of 100 people {unbound} have no identity yet)"
    );
    for people in sizes {
        let folder = tempfile::tempdir()?;
        let port = free_port()?;
        let _redis = Process::start(
            Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction"])
                .args(["--port", &port.to_string()]),
            port,
        )?;
        let redis = format!("redis://127.0.0.1:{port}");
        fill(&Settings::Redis { url: redis.clone().into() }, people, unbound)?;
        report(people, "Redis", &what_if(folder.path(), &redis, 1)?);

        let path = folder.path().join("vestibule.db");
        fill(&Settings::Embedded { path: path.clone() }, people, unbound)?;
        let file = format!("file:{}", path.display());
        report(people, "file", &what_if(folder.path(), &file, 1)?);

        let (public, ops) = (free_port()?, free_port()?);
        let config = folder.path().join("serve.toml");
        fs::write(&config, configuration(&file, public, ops, TODAY))?;
        let mut serve = Command::new(env!("CARGO_BIN_EXE_vestibule"));
        let _service = Process::start(serve.args(["serve", "--config"]).arg(config), public)?;
        report(people, "file of a service", &what_if(folder.path(), &file, ops)?);
    }
    Ok(())
}

fn report(people: u32, store: &str, run: &Run) {
    let (seconds, mb) = (run.took.as_secs_f64(), f64::from(run.peak_kb) / 1000.0);
    println!("{people:<8} {store:<17} {seconds:>4.1} s  {mb:>8.1} MB     {}", run.sums);
}

/// What a run took and found.
struct Run {
    took: Duration,
    peak_kb: u32,
    sums: String,
}

fn what_if(folder: &Path, store: &str, ops: u16) -> Tried<Run> {
    let (today, new) = (folder.join("today.toml"), folder.join("new.toml"));
    fs::write(&today, configuration(store, 8080, ops, TODAY))?;
    let changed = TODAY.replace("claims.email_verified", "claims.department != 'd7'");
    fs::write(&new, configuration(store, 8080, ops, &changed.replace("'member'", "'guest'")))?;
    let told = folder.join("told.txt");
    let begun = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .arg("what-if")
        .arg(new)
        .arg("--config")
        .arg(today)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&told)?)
        .spawn()?;
    let mut peak_kb = 0;
    let status = loop {
        // Its highest so far, which the kernel keeps for as long as the process is there.
        peak_kb = high_water_kb(command.id()).unwrap_or(peak_kb);
        if let Some(status) = command.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = begun.elapsed();
    let told = fs::read_to_string(told)?;
    if !matches!(status.code(), Some(0 | 1)) {
        return Err(format!("it ended with {status}").into());
    }
    let sums = told.rsplit("\n\n").next().unwrap_or_default();
    let sums = sums.lines().filter(|line| line.contains("  ")).map(|line| {
        let words = line.split_whitespace().take_while(|word| !word.starts_with("who"));
        words.take(3).collect::<Vec<_>>().join(" ")
    });
    Ok(Run { took, peak_kb, sums: sums.collect::<Vec<_>>().join(", ") })
}

fn high_water_kb(id: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// People as logins leave them; many at a time, so that a file writes them together.
fn fill(settings: &Settings, people: u32, unbound: u32) -> Tried<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let store = &Store::open(settings, &Metrics::new()?).await?;
        let people = stream::iter(0..people);
        let people = people.map(|person| async move { remember(store, person, unbound).await });
        people.buffer_unordered(128).try_collect::<()>().await
    })
}

async fn remember(store: &Store, person: u32, unbound: u32) -> Tried<()> {
    let subject = Subject::new("https://id.example.com", &format!("person-{person}"))?;
    let is_bound = person % 100 >= unbound;
    let outcome = if is_bound {
        store::Outcome::Allowed { token_ttl: None }
    } else {
        store::Outcome::Denied { reference: Reference::random() }
    };
    let claims = json!({
        "iss": "https://id.example.com",
        "sub": subject.value(),
        "name": format!("Person {person}"),
        "email": format!("person-{person}@example.com"),
        "email_verified": is_bound,
        "employee_id": person.to_string(),
        "department": format!("d{}", person % 20),
        "groups": ["everybody", "team-red", if person.is_multiple_of(8) { "team-blue" } else { "support" }],
        "filler": "x".repeat(1200),
    });
    let standing = NewStanding {
        subject: subject.clone(),
        provider: ProviderName::parse("corp").ok_or("a provider's name")?,
        claims: claims.to_string(),
        verdict: Verdict { mark: Digest::of(b"policy"), outcome },
        decision: String::new(),
        keep: Duration::from_hours(8),
    };
    if !is_bound {
        patiently(async || store.keep_standing(&standing).await.map(drop)).await?;
        return Ok(());
    }
    let identity = Identity::parse(&format!("staff-{person}"))?;
    patiently(async || store.claim_identity(&identity, &subject).await.map(drop)).await?;
    let session = NewSession {
        key: SessionKey { subject: subject.key(), id: Secret256::random().digest() },
        identity,
        found: Found::default(),
        lifetime: Duration::from_hours(8),
        idle: Duration::from_hours(8),
        label: "Firefox on Windows".to_owned(),
        most: 10_000,
        begun: Timestamp::from_millis(0),
        sid: None,
        way: None,
        grant: None,
        standing,
    };
    patiently(async || store.open_session(&session).await.map(drop)).await
}

/// Takes a step again that a busy disk let time out; the same one again changes nothing.
async fn patiently(step: impl AsyncFn() -> Result<(), StoreError>) -> Tried<()> {
    for _ in 0..20 {
        if step().await.is_ok() {
            return Ok(());
        }
    }
    Ok(step().await?)
}

/// A process of ours, ended on drop.
struct Process(Child);

impl Process {
    fn start(command: &mut Command, port: u16) -> Tried<Self> {
        let begun = Instant::now();
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Self(quiet.spawn()?);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if process.0.try_wait()?.is_some() || begun.elapsed() > Duration::from_secs(30) {
                return Err("a server does not start".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _already_gone = self.0.wait();
    }
}

fn free_port() -> Tried<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn configuration(store: &str, public: u16, ops: u16, policy: &str) -> String {
    let sid = |prefix: &str, digit: &str| format!("{prefix}{}", digit.repeat(32));
    format!(
        r#"
[server]
listen = "127.0.0.1:{public}"
public_url = "http://127.0.0.1:{public}"
[ops]
listen = "127.0.0.1:{ops}"
token = "a-token-that-only-this-bench-has"
[store]
url = "{store}"
[twilio]
account_sid = "{}"
api_key_sid = "{}"
api_key_secret = "a-secret-that-only-this-bench-has"
conversations_service_sid = "{}"
[[provider]]
name = "corp"
issuer = "https://id.example.com"
client_id = "vestibule"
client_auth = "none"
[provider.policy]
{policy}
"#,
        sid("AC", "0"),
        sid("SK", "1"),
        sid("IS", "2"),
    )
}
