//! Twilio's REST API for tests: the stand-in, behind what can make it misbehave.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
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
        troubles.next.pop_front().or(troubles.always)
    };
    match trouble {
        None => next.run(request).await,
        Some(Trouble::Refused(status, code)) => {
            let document = json!({ "code": code, "message": "no", "status": status });
            (StatusCode::from_u16(status).unwrap(), Json(document)).into_response()
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
