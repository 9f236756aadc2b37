//! Twilio's REST API for tests: the stand-in, behind what can make it misbehave.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use vestibule::inside::stand_in::{Account, StandIn};

/// How a request goes wrong.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// It is not done; this status and Twilio's code come back.
    Refused(u16, u32),
    /// It is not done; this status comes back, and a page of HTML.
    Broken(u16),
    /// It is not done, for Twilio has too much to do; and it says for how long it wants to be left alone.
    Busy(Duration),
    /// It is done, and the answer is lost.
    Lost,
    /// It is done, and the answer comes late.
    Late(Duration),
}

/// A stand-in of the account of `service::TWILIO`, gone when it is dropped.
pub struct TwilioApi {
    pub stand_in: StandIn,
    /// Where it is; without a slash at the end.
    pub url: String,
    troubles: Arc<Mutex<Troubles>>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Troubles {
    next: VecDeque<Trouble>,
    always: Option<Trouble>,
    at: Vec<(String, Trouble)>,
    writes: Vec<Instant>,
}

impl TwilioApi {
    /// With a conversation `lobby`, and one that is called `den`.
    pub async fn start() -> Self {
        let stand_in = StandIn::new(Account {
            sid: "AC00000000000000000000000000000000".to_owned(),
            api_key_sid: "SK11111111111111111111111111111111".to_owned(),
            api_key_secret: "canary-twilio-api-key-secret-0001".into(),
            service_sid: "IS22222222222222222222222222222222".to_owned(),
        });
        stand_in.make_conversation("lobby");
        stand_in.make_conversation("den");
        let troubles = Arc::<Mutex<Troubles>>::default();
        let routes =
            stand_in.routes().layer(middleware::from_fn_with_state(troubles.clone(), misbehave));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            axum::serve(listener, routes).with_graceful_shutdown(stopped).await.unwrap();
        });
        Self { stand_in, url, troubles, stop }
    }

    /// The next requests go wrong in these ways, one each.
    pub fn next(&self, troubles: impl IntoIterator<Item = Trouble>) {
        self.troubles.lock().unwrap().next.extend(troubles);
    }

    /// Every request goes wrong in this way, or none any more.
    pub fn always(&self, trouble: Option<Trouble>) {
        self.troubles.lock().unwrap().always = trouble;
    }

    /// Whatever is asked of a path with this in it goes wrong in this way, or not any more.
    pub fn at(&self, path: &str, trouble: Option<Trouble>) {
        let mut troubles = self.troubles.lock().unwrap();
        troubles.at.retain(|(at, _)| at != path);
        troubles.at.extend(trouble.map(|trouble| (path.to_owned(), trouble)));
    }

    /// When each write came since this was asked last, whatever became of it.
    pub fn writes(&self) -> Vec<Instant> {
        std::mem::take(&mut self.troubles.lock().unwrap().writes)
    }

    /// The further lines of `[twilio]` that lead here, and this `[guests]`; for `Setup::with`.
    pub fn sections(&self, guests: &str) -> String {
        format!("api_url = \"{}\"\n[guests]\n{guests}\n[limits]\nguests = \"off\"\n", self.url)
    }
}

impl Drop for TwilioApi {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn misbehave(
    State(troubles): State<Arc<Mutex<Troubles>>>,
    request: Request,
    next: Next,
) -> Response {
    let trouble = {
        let mut troubles = troubles.lock().unwrap();
        if request.method() != Method::GET {
            troubles.writes.push(Instant::now());
        }
        let at = troubles.at.iter().find(|(at, _)| request.uri().path().contains(at));
        let at = at.map(|(_, trouble)| *trouble);
        at.or_else(|| troubles.next.pop_front()).or(troubles.always)
    };
    match trouble {
        None => next.run(request).await,
        Some(Trouble::Refused(status, code)) => {
            let document = json!({ "code": code, "message": "no", "status": status });
            (StatusCode::from_u16(status).unwrap(), Json(document)).into_response()
        }
        Some(Trouble::Busy(after)) => {
            let document = json!({ "code": 20429, "message": "no", "status": 429 });
            let headers = [("retry-after", after.as_secs().to_string())];
            (StatusCode::TOO_MANY_REQUESTS, headers, Json(document)).into_response()
        }
        Some(Trouble::Broken(status)) => {
            (StatusCode::from_u16(status).unwrap(), "<html>broken</html>").into_response()
        }
        Some(Trouble::Lost) => {
            let _done = next.run(request).await;
            (StatusCode::BAD_GATEWAY, "lost").into_response()
        }
        Some(Trouble::Late(after)) => {
            let answer = next.run(request).await;
            tokio::time::sleep(after).await;
            answer
        }
    }
}
