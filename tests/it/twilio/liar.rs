//! A server that answers as it is told, whatever it is asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use futures_util::stream;
use serde_json::{Value, json};

/// What comes back.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// Nothing, ever.
    Silence,
    /// A body that goes on for ever, a byte at a time.
    Trickle,
    /// A body of so many bytes.
    Flood(usize),
}

impl Reply {
    pub fn json(status: u16, document: &Value) -> Self {
        Self::text(status, "application/json", &document.to_string())
    }

    /// Twilio's way to say no.
    pub fn refusal(status: u16, code: u32) -> Self {
        Self::json(status, &json!({ "status": status, "code": code, "message": "no" }))
    }

    pub fn html(status: u16) -> Self {
        Self::text(status, "text/html", "<html>Sorry</html>")
    }

    fn text(status: u16, kind: &str, body: &str) -> Self {
        let headers = vec![("content-type", kind.to_owned())];
        Self::Answer { status, headers, body: body.to_owned() }
    }

    /// The same with a further header.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Method and target, as on the request line.
    pub line: String,
    pub authorization: Option<String>,
    pub body: String,
    pub at: Instant,
}

/// The server. It ends with the runtime of its test.
pub struct Liar {
    /// Where it is; without a slash at the end.
    pub url: String,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    replies: Mutex<VecDeque<Reply>>,
    heard: Mutex<Vec<Heard>>,
}

impl Liar {
    /// It gives these replies, and the last one again and again.
    pub async fn with(replies: impl IntoIterator<Item = Reply>) -> Self {
        let told = Arc::<Told>::default();
        told.replies.lock().unwrap().extend(replies);
        let routes = Router::new().fallback(answer).with_state(told.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, told }
    }

    /// From now on it gives these.
    pub fn tell(&self, replies: impl IntoIterator<Item = Reply>) {
        *self.told.replies.lock().unwrap() = replies.into_iter().collect();
    }

    /// What it was asked since this was asked last.
    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.told.heard.lock().unwrap())
    }
}

async fn answer(State(told): State<Arc<Told>>, request: Request) -> Response<Body> {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    told.heard.lock().unwrap().push(Heard {
        line: format!("{} {}", head.method, head.uri),
        authorization: head.headers.get("authorization").map(|it| it.to_str().unwrap().to_owned()),
        body: String::from_utf8(body.to_vec()).unwrap(),
        at,
    });
    let reply = {
        let mut replies = told.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    };
    match reply.expect("it is told something") {
        Reply::Silence => std::future::pending().await,
        Reply::Trickle => {
            let drops = stream::unfold((), async |()| {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b" ")), ()))
            });
            Response::new(Body::from_stream(drops))
        }
        Reply::Flood(bytes) => Response::new(Body::from(vec![b' '; bytes])),
        Reply::Answer { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
    }
}
