//! No guest has two holders: seen from outside, while everything around the pool breaks.
//!
//! Each token that anybody got is kept, with its `iat` and `exp`, which are the store's time. What they say about the guests is judged at the
//! end. The store's clock runs so fast that a guest comes round in a blink.
//!
//! `VESTIBULE_TEST_LENDS` says how many lends there are to be, ten thousand without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::scrubbing::QUICK;
use crate::process::Service;
use crate::support::fake_provider::{FakeProvider, payload};
use crate::support::policies::PUBLIC_URL;
use crate::support::proxy::Proxy;
use crate::support::redis::{Clock, RedisServer};
use crate::support::service::TWILIO;
use crate::support::setup::provider_section;
use crate::support::twilio_api::Trouble;
use crate::support::twilio_api::TwilioApi;

/// The cool-down of [`QUICK`], in seconds.
const COOLDOWN: u64 = 60;

/// How many seconds of the store's pass in one of ours.
const SPEED: f64 = 400.0;

/// A token as its holder saw it.
#[derive(Clone, Debug)]
struct Seen {
    lease: String,
    identity: String,
    iat: u64,
    exp: u64,
}

/// What is wrong with these tokens, guest by guest: two leases of one guest whose tokens overlap, or follow each other within the
/// cool-down.
fn faults(seen: &[Seen]) -> Vec<String> {
    let mut leases = BTreeMap::<(&str, &str), (u64, u64)>::new();
    for token in seen {
        let (from, to) = leases.entry((&token.identity, &token.lease)).or_insert((token.iat, 0));
        (*from, *to) = ((*from).min(token.iat), (*to).max(token.exp));
    }
    let mut guests = BTreeMap::<&str, Vec<(u64, u64)>>::new();
    for ((identity, _), interval) in leases {
        guests.entry(identity).or_default().push(interval);
    }
    let mut faults = Vec::new();
    for (identity, mut intervals) in guests {
        intervals.sort_unstable();
        for pair in intervals.windows(2) {
            if pair[1].0 < pair[0].1 + COOLDOWN {
                faults.push(format!("{identity}: {:?} and {:?}", pair[0], pair[1]));
            }
        }
    }
    faults
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let token = |lease: &str, iat, exp| Seen {
        lease: lease.to_owned(),
        identity: "guest-1".to_owned(),
        iat,
        exp,
    };
    let first = [token("a", 100, 160), token("a", 130, 190)];

    let with = |next| faults(&[&first[..], &[next]].concat()).len();

    assert_eq!(with(token("b", 250, 310)), 0);
    assert_eq!(with(token("b", 249, 310)), 1);
    assert_eq!(with(token("b", 150, 160)), 1);
    assert_eq!(with(token("a", 200, 260)), 0, "the same holder");
}

/// Chance that comes again with the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// What the clients share.
struct Stage {
    client: Client,
    urls: Mutex<Vec<String>>,
    seen: Mutex<Vec<Seen>>,
    lends: AtomicUsize,
    wanted: usize,
    api: TwilioApi,
    /// What the store's clock showed when it was asked last, in milliseconds, and when that was.
    clock: Mutex<(f64, Instant)>,
    unclean: Mutex<BTreeSet<String>>,
    over: AtomicBool,
    requests: AtomicU64,
}

impl Stage {
    fn store_time(&self) -> f64 {
        let (shown, when) = *self.clock.lock().unwrap();
        shown + when.elapsed().as_secs_f64() * SPEED
    }

    async fn call(
        &self,
        chance: &mut Chance,
        method: Method,
        path: &str,
        secret: Option<&str>,
    ) -> Option<(StatusCode, Value)> {
        let url = {
            let urls = self.urls.lock().unwrap();
            urls[usize::try_from(chance.below(urls.len() as u64)).unwrap()].clone()
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut request = self.client.request(method, format!("{url}{path}"));
        if path == "/guest" {
            request = request.header("content-type", "application/json").body("{\"cookie\":false}");
        }
        if let Some(secret) = secret {
            request = request.bearer_auth(secret);
        }
        let response = request.send().await.ok()?;
        let status = response.status();
        let body = response.json().await.unwrap_or(Value::Null);
        if let Some(token) = body["token"].as_str() {
            let claims = payload(token).unwrap();
            let secret = secret.or(body["lease_secret"].as_str()).unwrap().to_owned();
            // Another one than it had.
            let lease = if status == StatusCode::CREATED {
                body["lease_secret"].as_str().unwrap().to_owned()
            } else {
                secret
            };
            self.seen.lock().unwrap().push(Seen {
                lease,
                identity: claims["grants"]["identity"].as_str().unwrap().to_owned(),
                iat: claims["iat"].as_u64().unwrap(),
                exp: claims["exp"].as_u64().unwrap(),
            });
        }
        Some((status, body))
    }

    /// One visitor after the other, from one client.
    async fn visit(&self, seed: u64) {
        let mut chance = Chance(seed * 0x9e37_79b9 + 1);
        let mut former: Option<String> = None;
        while self.lends.load(Ordering::Relaxed) < self.wanted && !self.over.load(Ordering::Relaxed)
        {
            let came = self.call(&mut chance, Method::POST, "/guest", former.as_deref()).await;
            let Some((StatusCode::CREATED | StatusCode::OK, body)) = &came else {
                tokio::time::sleep(Duration::from_millis(150 + chance.below(200))).await;
                continue;
            };
            let identity = body["identity"].as_str().unwrap();
            let secret = body["lease_secret"].as_str().map(str::to_owned).or(former.take());
            let secret = secret.unwrap();
            if matches!(came, Some((StatusCode::CREATED, _))) {
                self.lends.fetch_add(1, Ordering::Relaxed);
                let rooms = self.api.stand_in.conversations_of(identity);
                if !rooms.is_empty() {
                    self.unclean.lock().unwrap().insert(format!("{identity} in {rooms:?}"));
                }
            }
            let ends = payload(body["token"].as_str().unwrap()).unwrap()["exp"].as_u64().unwrap();
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact")]
            let alive = self.store_time() < ends as f64 - 20.0;
            if alive && chance.below(3) == 0 {
                self.api.stand_in.join(identity, "den");
            }
            for _ in 0..chance.below(3) {
                tokio::time::sleep(Duration::from_millis(chance.below(120))).await;
                self.call(&mut chance, Method::POST, "/token", Some(&secret)).await;
            }
            match chance.below(4) {
                0 => drop(self.call(&mut chance, Method::DELETE, "/guest", Some(&secret)).await),
                1 => {
                    tokio::time::sleep(Duration::from_millis(chance.below(500))).await;
                    former = Some(secret);
                }
                _ => {}
            }
        }
    }
}

fn wanted() -> usize {
    std::env::var("VESTIBULE_TEST_LENDS").map_or(10_000, |text| text.parse().unwrap())
}

fn service(
    store: &str,
    api: &TwilioApi,
    provider: &FakeProvider,
    environment: &[(&str, &str)],
) -> Service {
    let configuration = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC_URL}\"\n[ops]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{store}\"\n[log]\nfilter = \"info,vestibule::audit=off\"\n{TWILIO}{}{}",
        api.sections(&format!("size = 150\n{QUICK}")),
        provider_section(provider, ""),
    );
    Service::serving_under(&configuration, environment)
}

/// What breaks, again and again, until it is over.
async fn run(stage: Arc<Stage>, mut disturb: impl AsyncFnMut(u64)) -> Arc<Stage> {
    let clients = join_all((0..200).map(|seed| {
        let stage = stage.clone();
        tokio::spawn(async move { stage.visit(seed + 1).await })
    }));
    let disturbing = async {
        for round in 0.. {
            tokio::time::sleep(Duration::from_millis(700)).await;
            disturb(round).await;
        }
    };
    let patience = Duration::from_secs(60 + u64::try_from(stage.wanted).unwrap() / 20);
    tokio::select! {
        ended = clients => ended.into_iter().for_each(|it| it.unwrap()),
        () = disturbing => {}
        () = tokio::time::sleep(patience) => panic!("{} lends only", stage.lends.load(Ordering::Relaxed)),
    }
    stage
}

fn judge(stage: &Stage) {
    let seen = stage.seen.lock().unwrap();
    let faults = faults(&seen);
    assert!(
        faults.is_empty(),
        "{} faults in {} tokens: {:#?}",
        faults.len(),
        seen.len(),
        &faults[..faults.len().min(10)]
    );
    assert!(stage.unclean.lock().unwrap().is_empty(), "{:?}", stage.unclean.lock().unwrap());
    let lends = stage.lends.load(Ordering::Relaxed);
    let identities = seen.iter().map(|it| &it.identity).collect::<BTreeSet<_>>().len();
    #[expect(clippy::print_stdout, reason = "whoever runs it by hand wants to know")]
    {
        println!(
            "{lends} lends, {} tokens, {identities} guests, {} requests",
            seen.len(),
            stage.requests.load(Ordering::Relaxed)
        );
    }
    assert!(lends >= stage.wanted && identities <= 150);
}

fn stage(urls: Vec<String>, api: TwilioApi, wanted: usize, shown: f64) -> Arc<Stage> {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    Arc::new(Stage {
        client,
        urls: Mutex::new(urls),
        seen: Mutex::default(),
        lends: AtomicUsize::new(0),
        wanted,
        api,
        clock: Mutex::new((shown, Instant::now())),
        unclean: Mutex::default(),
        over: AtomicBool::new(false),
        requests: AtomicU64::new(0),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_guest_has_two_holders_whatever_breaks() {
    let clock = Clock { begins: 1_794_312_000.0, speed: SPEED };
    let mut redis =
        RedisServer::start_with_clock(clock, &["--appendonly", "yes", "--appendfsync", "always"]);
    let proxy = Proxy::before(redis.address()).await;
    let (api, provider) = (TwilioApi::start().await, FakeProvider::start().await);
    let library = crate::skew::library();
    let late = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME", "+5m"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let start = |place: usize| match place {
        0 => service(&redis.url(), &api, &provider, &[]),
        1 => service(&proxy.url(), &api, &provider, &[]),
        _ => service(&redis.url(), &api, &provider, &late),
    };
    let url = |service: &Service| format!("http://{}", service.public);
    let store = redis.url();
    let mut services = (0..3).map(start).collect::<Vec<_>>();
    let urls = services.iter().map(url).collect();
    let proxied = proxy.url();
    let stage = stage(urls, api, wanted(), redis.time());

    let stage = run(stage.clone(), async |round| match round % 10 {
        1 | 5 => proxy.lose_replies(3),
        3 | 7 => {
            stage.api.next([Trouble::Lost, Trouble::Broken(503), Trouble::Refused(429, 20429)]);
        }
        8 => {
            let place = usize::try_from(round / 10 % 3).unwrap();
            services[place].tell("KILL");
            let environment = if place == 2 { &late[..] } else { &[] };
            let store = if place == 1 { &proxied } else { &store };
            services[place] = service(store, &stage.api, &provider, environment);
            stage.urls.lock().unwrap()[place] = url(&services[place]);
        }
        9 if round / 10 % 3 == 0 => {
            redis.stop();
            redis.start_again();
            *stage.clock.lock().unwrap() = (redis.time(), Instant::now());
        }
        _ => {}
    })
    .await;

    judge(&stage);
}

/// What makes a process' own clock begin at a moment and run fast. Time-outs go by the other clock, which goes on as it is.
fn fast_from(begins: f64) -> [(&'static str, String); 5] {
    let begins = std::time::UNIX_EPOCH + Duration::from_secs_f64(begins);
    let begins = chrono::DateTime::<chrono::Utc>::from(begins);
    [
        ("LD_PRELOAD", crate::skew::library().to_str().unwrap().to_owned()),
        ("FAKETIME", format!("@{} x{SPEED}", begins.format("%Y-%m-%d %H:%M:%S"))),
        ("TZ", "UTC".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_guest_of_a_file_has_two_holders_however_often_its_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file:{}", folder.path().join("store").display());
    let (api, provider) = (TwilioApi::start().await, FakeProvider::start().await);
    let start = |api: &TwilioApi, begins: f64| {
        let environment = fast_from(begins);
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        service(&store, api, &provider, &environment)
    };
    let url = |service: &Service| format!("http://{}", service.public);
    let begins = 1_794_312_000.0;
    let mut process = start(&api, begins);
    let stage = stage(vec![url(&process)], api, wanted() / 5, begins);

    let stage = run(stage.clone(), async |round| match round % 6 {
        1 => stage.api.next([Trouble::Lost, Trouble::Broken(503), Trouble::Refused(429, 20429)]),
        4 => {
            process.tell("KILL");
            process.wait();
            // Its clock goes on, from a moment that it has not shown yet.
            let begins = stage.store_time() + 1.0;
            process = start(&stage.api, begins);
            *stage.clock.lock().unwrap() = (begins, Instant::now());
            *stage.urls.lock().unwrap() = vec![url(&process)];
        }
        _ => {}
    })
    .await;

    judge(&stage);
}
