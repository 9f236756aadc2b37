//! Requests to Twilio: bounded in size and time, tried again where that makes sense, and observed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, Histogram};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use url::{Url, form_urlencoded};

use super::records::Refusal;
use super::{Settings, TwilioError, code};
use crate::telemetry::Metrics;

/// The largest answer that is read, in bytes: a page of 50 conversations, each with 16 KB of attributes whose every sign is escaped.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// How often something is tried, and how long all tries and the pauses between them take at most.
const TRIES: u32 = 4;
const BUDGET: Duration = Duration::from_secs(12);

/// The first pause between two tries; each further one is twice as long, and up to half is left to chance, so that replicas which were
/// refused together do not come again together.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Shorter than servers keep theirs, so that a write is seldom sent into a connection that is being closed.
const KEEP_CONNECTION: Duration = Duration::from_secs(10);

const DURATION: &str = "vestibule_twilio_call_duration_seconds";
const FAILURES: &str = "vestibule_twilio_failures_total";

/// Why Twilio cannot be met as configured.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The URL cannot be one of an API.
    #[error("twilio.api_url cannot be an API's")]
    Url,
    /// There is no HTTP client.
    #[error("no HTTP client can be built")]
    Client(#[from] reqwest::Error),
}

/// What is asked of Twilio; also a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    UserConversations,
    AddParticipant,
    Participant,
    RemoveParticipant,
    User,
    ResetUser,
    Bindings,
    DeleteBinding,
    Roles,
    Configuration,
}

impl Endpoint {
    const NAMES: [&str; 10] = [
        "user_conversations",
        "add_participant",
        "participant",
        "remove_participant",
        "user",
        "reset_user",
        "bindings",
        "delete_binding",
        "roles",
        "configuration",
    ];

    /// Twilio's codes that are an answer there, and no failure: it is so already.
    pub(super) const fn answers(self) -> &'static [u32] {
        match self {
            Self::AddParticipant => &[code::PARTICIPANT_EXISTS],
            Self::RemoveParticipant | Self::Participant => {
                &[code::PARTICIPANT_NOT_FOUND, code::CONVERSATION_NOT_FOUND, code::NOT_FOUND]
            }
            Self::UserConversations | Self::User | Self::ResetUser => {
                &[code::USER_NOT_FOUND, code::NOT_FOUND]
            }
            Self::DeleteBinding => &[code::NOT_FOUND],
            Self::Bindings | Self::Roles | Self::Configuration => &[],
        }
    }
}

/// The causes of failures, as a metric's label.
const CAUSES: [&str; 4] = ["away", "busy", "refused", "not_understood"];

struct Series {
    duration: Histogram,
    failures: [Counter; CAUSES.len()],
}

/// How Twilio answered last.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Why it did not, if it did not; one of a few.
    pub trouble: Option<&'static str>,
    /// Its clock, seconds since 1970, and when we heard it.
    pub date: Option<(u64, Instant)>,
    /// Whether it was ever called.
    pub called: bool,
}

/// The HTTP client. Follows no redirect: one would carry our credentials to a host that nobody configured. Uses no proxy of the
/// environment.
pub(super) struct Http {
    client: Client,
    key: (String, SecretString),
    timeout: Duration,
    series: Vec<Series>,
    state: Mutex<State>,
}

/// An answer that says yes.
#[derive(Debug)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    /// # Errors
    ///
    /// [`TwilioError::NotUnderstood`] when it is something else.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, TwilioError> {
        serde_json::from_slice(&self.0).map_err(|_| TwilioError::NotUnderstood {
            what: "not the JSON that its description promises",
        })
    }
}

/// How one try ended.
enum Try {
    Done(Reply),
    /// For good.
    Failed(TwilioError),
    /// Another try makes sense, after so long if Twilio says so.
    Again(TwilioError, Option<Duration>),
}

impl Http {
    pub(super) fn new(settings: &Settings, metrics: &Metrics) -> Result<Self, BuildError> {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_idle_timeout(KEEP_CONNECTION)
            .https_only(settings.api_url.scheme() == "https")
            .user_agent(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .build()?;
        metrics
            .describe(DURATION, "Requests to Twilio, each try, from asking to the whole answer.");
        metrics.describe(FAILURES, "What Twilio did not do, after all tries, by cause.");
        let series = Endpoint::NAMES.iter().map(|endpoint| Series {
            duration: metrics.histogram(DURATION, &[("endpoint", endpoint)]),
            failures: CAUSES.map(|cause| {
                metrics.counter(FAILURES, &[("endpoint", endpoint), ("cause", cause)])
            }),
        });
        Ok(Self {
            client,
            key: (settings.api_key_sid.clone(), settings.api_key_secret.clone()),
            timeout: settings.timeout,
            series: series.collect(),
            state: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, again and again where another try makes sense: each of ours may be done twice.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any.
    pub(super) async fn send(
        &self,
        endpoint: Endpoint,
        method: Method,
        url: Url,
        form: &[(&str, &str)],
    ) -> Result<Reply, TwilioError> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let asked = Instant::now();
            let patience = self.timeout.min(BUDGET.saturating_sub(begun.elapsed()));
            let ended = timeout(patience, self.try_once(&method, &url, form)).await;
            self.series[endpoint as usize].duration.record(asked.elapsed());
            let late = |_| Try::Again(away("no whole answer in time"), None);
            let (error, after) = match ended.unwrap_or_else(late) {
                Try::Done(reply) => {
                    self.note(None);
                    return Ok(reply);
                }
                Try::Failed(error) => return Err(self.failed(endpoint, error)),
                Try::Again(error, after) => (error, after),
            };
            let wait = after.unwrap_or_default().max(jittered(pause));
            // It may be told to wait for longer than there is time.
            if tries == TRIES || begun.elapsed().saturating_add(wait) > BUDGET {
                return Err(self.failed(endpoint, error));
            }
            sleep(wait).await;
            pause *= 2;
            tries += 1;
        }
    }

    async fn try_once(&self, method: &Method, url: &Url, form: &[(&str, &str)]) -> Try {
        let (status, after, body) = match self.exchange(method, url, form).await {
            Ok(answer) => answer,
            Err(ended) => return ended,
        };
        if status.is_success() {
            return Try::Done(Reply(body));
        }
        let code = serde_json::from_slice::<Refusal>(&body).ok().and_then(|refusal| refusal.code);
        match code {
            Some(code::TOO_MANY) => Try::Again(TwilioError::Busy, after),
            Some(code) if code::CONFLICT.contains(&code) => Try::Again(TwilioError::Busy, after),
            _ if status == StatusCode::TOO_MANY_REQUESTS => Try::Again(TwilioError::Busy, after),
            _ if status.is_server_error() => {
                Try::Again(away(format!("status {}", status.as_u16())), after)
            }
            _ => Try::Failed(TwilioError::Refused { status: status.as_u16(), code }),
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        url: &Url,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Option<Duration>, Vec<u8>), Try> {
        #[expect(clippy::disallowed_methods, reason = "Twilio is to know it: it made it")]
        let secret = self.key.1.expose_secret();
        let mut request = self
            .client
            .request(method.clone(), url.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .basic_auth(&self.key.0, Some(secret));
        if *method == Method::POST {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        }
        let mut response = request.send().await.map_err(|error| broken(&error))?;
        self.hear(response.headers().get(DATE));
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Try::Failed(TwilioError::NotUnderstood {
                    what: "too large an answer",
                }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), after, body))
    }

    /// What was read of an answer; counted when it was not understood.
    ///
    /// # Errors
    ///
    /// `read`'s own.
    pub(super) fn counted<T>(
        &self,
        endpoint: Endpoint,
        read: Result<T, TwilioError>,
    ) -> Result<T, TwilioError> {
        read.map_err(|error| self.failed(endpoint, error))
    }

    fn failed(&self, endpoint: Endpoint, error: TwilioError) -> TwilioError {
        let cause = match &error {
            TwilioError::Away { .. } => 0,
            TwilioError::Busy => 1,
            TwilioError::Refused { code: Some(code), .. } if endpoint.answers().contains(code) => {
                self.note(None);
                return error;
            }
            TwilioError::Refused { .. } | TwilioError::NoConversation => 2,
            TwilioError::NotUnderstood { .. } | TwilioError::Unaddressable => 3,
        };
        self.series[endpoint as usize].failures[cause].increment(1);
        // A refusal that is about one conversation says nothing of Twilio; one of our key says everything.
        match error {
            TwilioError::Refused { status, .. } if status != 401 => self.note(None),
            _ => self.note(Some(CAUSES[cause])),
        }
        error
    }

    fn note(&self, trouble: Option<&'static str>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.trouble, state.called) = (trouble, true);
    }

    fn hear(&self, date: Option<&HeaderValue>) {
        let date = date.and_then(|value| value.to_str().ok());
        let Some(date) = date.and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok())
        else {
            return;
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.date = u64::try_from(date.timestamp()).ok().map(|seconds| (seconds, Instant::now()));
    }
}

fn away(what: impl Into<String>) -> TwilioError {
    TwilioError::Away { what: what.into() }
}

/// A connection that did not hold.
fn broken(error: &reqwest::Error) -> Try {
    Try::Again(away(describe(error)), None)
}

/// Between half of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without chance it is the whole pause.
    let chance = aws_lc_rs::rand::fill(&mut byte).map_or(255, |()| u32::from(byte[0]));
    pause / 2 + pause * chance / 510
}

/// The innermost cause, which says most ("Connection refused") and quotes no URL.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if std::ptr::addr_eq(cause, error) {
        "the request failed".to_owned()
    } else {
        cause.to_string()
    }
}
