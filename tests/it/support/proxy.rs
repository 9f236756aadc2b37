//! A TCP proxy that breaks the wire on purpose, and counts the requests that pass.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    /// Everything passes.
    Fair,
    /// New connections and requests are taken, and nothing ever comes back over them, whatever the weather later.
    Stalled,
    /// Connections are closed at once.
    Refusing,
    /// Whoever waits for a reply waits on.
    Holding,
}

/// A proxy before a server that speaks RESP. It ends with the runtime of its test.
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<Wire>,
}

struct Wire {
    server: SocketAddr,
    weather: watch::Sender<Weather>,
    /// What the weather changes to, after how many more replies.
    forecast: Mutex<Option<(usize, Weather)>>,
    requests: AtomicUsize,
    connections: AtomicUsize,
    replies_to_lose: AtomicUsize,
}

impl Proxy {
    /// A proxy on a free port, in fair weather.
    pub async fn before(server: SocketAddr) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let (weather, watched) = watch::channel(Weather::Fair);
        let wire = Arc::new(Wire {
            server,
            weather,
            forecast: Mutex::default(),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            replies_to_lose: AtomicUsize::new(0),
        });
        tokio::spawn(accept(listener, watched, Arc::clone(&wire)));
        Self { address, wire }
    }

    /// A Redis URL that goes through it.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// How many requests have passed to the server.
    pub fn requests(&self) -> usize {
        self.wire.requests.load(Ordering::SeqCst)
    }

    /// How many connections have been taken.
    pub fn connections(&self) -> usize {
        self.wire.connections.load(Ordering::SeqCst)
    }

    /// Cuts the connection in the middle of each of the next `count` replies: the server has done what it was asked.
    pub fn lose_replies(&self, count: usize) {
        self.wire.replies_to_lose.store(count, Ordering::SeqCst);
    }

    /// How many replies are still to be lost.
    pub fn replies_to_lose(&self) -> usize {
        self.wire.replies_to_lose.load(Ordering::SeqCst)
    }

    /// From now on nothing comes back; the connections of this time stay dead for good.
    pub fn stall(&self) {
        self.wire.weather.send_replace(Weather::Stalled);
    }

    /// Lets `count` more replies pass; in the middle of the next it stalls, when the server has done what it was asked.
    pub fn stall_after(&self, count: usize) {
        *self.wire.forecast.lock().unwrap() = Some((count, Weather::Stalled));
    }

    /// From now on every connection is closed at once.
    pub fn refuse(&self) {
        self.wire.weather.send_replace(Weather::Refusing);
    }

    /// Lets `count` more replies pass; in the middle of the next it refuses, when the server has done what it was asked.
    pub fn refuse_after(&self, count: usize) {
        *self.wire.forecast.lock().unwrap() = Some((count, Weather::Refusing));
    }

    /// Lets `count` more replies pass, and holds the next one back until it clears up. Returns when it has it.
    pub async fn hold_after(&self, count: usize) {
        *self.wire.forecast.lock().unwrap() = Some((count, Weather::Holding));
        let mut weather = self.wire.weather.subscribe();
        weather.wait_for(|now| *now == Weather::Holding).await.expect("the proxy lives");
    }

    /// From now on new connections work.
    pub fn clear_up(&self) {
        *self.wire.forecast.lock().unwrap() = None;
        self.wire.weather.send_replace(Weather::Fair);
    }
}

impl Wire {
    /// What the weather changes to in the middle of this reply, if it does.
    fn next_change(&self) -> Option<Weather> {
        let mut forecast = self.forecast.lock().unwrap();
        let (left, _) = forecast.as_mut()?;
        if let Some(less) = left.checked_sub(1) {
            *left = less;
            return None;
        }
        forecast.take().map(|(_, weather)| weather)
    }
}

async fn accept(listener: TcpListener, weather: watch::Receiver<Weather>, wire: Arc<Wire>) {
    while let Ok((client, _)) = listener.accept().await {
        wire.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(pump(client, weather.clone(), Arc::clone(&wire)));
    }
}

async fn pump(mut client: TcpStream, mut weather: watch::Receiver<Weather>, wire: Arc<Wire>) {
    let now = *weather.borrow_and_update();
    if !goes_on(now, &mut weather).await {
        return;
    }
    let Ok(mut server) = TcpStream::connect(wire.server).await else { return };
    // The second half of a command must not wait for an acknowledgement of the first.
    let _at_once = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up, mut down) = ([0; 16 * 1024], [0; 16 * 1024]);
    let mut commands = Commands::default();
    loop {
        tokio::select! {
            changed = weather.changed() => {
                let now = *weather.borrow_and_update();
                if changed.is_err() || !goes_on(now, &mut weather).await {
                    return;
                }
            }
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                wire.requests.fetch_add(commands.count(&up[..length]), Ordering::SeqCst);
                if server.write_all(&up[..length]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                let one_less = |left: usize| left.checked_sub(1);
                let lost = wire.replies_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
                let mut change = wire.next_change();
                if change.take_if(|change| *change == Weather::Holding).is_some() {
                    wire.weather.send_replace(Weather::Holding);
                    goes_on(Weather::Holding, &mut weather).await;
                }
                let passes = if lost || change.is_some() { length / 2 } else { length };
                if client.write_all(&down[..passes]).await.is_err() || lost {
                    return;
                }
                if let Some(change) = change {
                    wire.weather.send_replace(change);
                    goes_on(change, &mut weather).await;
                    return;
                }
            }
        }
    }
}

/// Whether a connection goes on in this weather; in a stall it neither does nor does it end.
async fn goes_on(now: Weather, weather: &mut watch::Receiver<Weather>) -> bool {
    match now {
        Weather::Holding => weather.wait_for(|now| *now != Weather::Holding).await.is_ok(),
        Weather::Fair => true,
        Weather::Refusing => false,
        Weather::Stalled => std::future::pending().await,
    }
}

/// Counts RESP commands in a stream of bytes: `*<n>\r\n`, then n times `$<length>\r\n<bytes>\r\n`.
#[derive(Default)]
struct Commands {
    rest: Vec<u8>,
}

impl Commands {
    /// How many commands end in `bytes`.
    fn count(&mut self, bytes: &[u8]) -> usize {
        self.rest.extend_from_slice(bytes);
        let mut ended = 0;
        while let Some(length) = command_length(&self.rest) {
            self.rest.drain(..length);
            ended += 1;
        }
        ended
    }
}

/// How long the command at the beginning of `bytes` is; `None` when it is not all there.
fn command_length(bytes: &[u8]) -> Option<usize> {
    let (words, mut at) = head(bytes, 0, b'*')?;
    for _ in 0..words {
        let (length, begin) = head(bytes, at, b'$')?;
        at = begin + length + 2;
    }
    (at <= bytes.len()).then_some(at)
}

/// Reads `<kind><number>\r\n` at `at`: the number, and where it ends.
fn head(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?;
    let end = line.iter().position(|&byte| byte == b'\n')?;
    assert_eq!(line[0], kind, "not RESP");
    let number =
        std::str::from_utf8(&line[1..end - 1]).expect("a number").parse().expect("a number");
    Some((number, at + end + 1))
}
