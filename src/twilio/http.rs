//! Requests to Twilio: bounded in size and time, tried again where that makes sense, and observed.

use std::sync::{Arc, Mutex, PoisonError};
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
use crate::clock::Timestamp;
use crate::ids::RequestId;
use crate::store::{Allowance, Dated, Rate, Store};
use crate::telemetry::Metrics;

/// The largest answer that is read, in bytes: a page of 50 conversations, each with 16 KB of attributes whose every sign is escaped.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// How often something is tried, and how long all tries and the pauses between them take at most; waiting for a turn is not counted.
const TRIES: u32 = 4;
const BUDGET: Duration = Duration::from_secs(12);

/// The first pause between two tries; each further one is twice as long, and up to half is left to chance, so that replicas which were
/// refused together do not come again together.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Shorter than servers keep theirs, so that a write is seldom sent into a connection that is being closed.
const KEEP_CONNECTION: Duration = Duration::from_secs(10);

/// How often we write, each try, all replicas together: Twilio's limit is 30 a second. No second has more than 25 turns and a burst of 2;
/// the rest is for turns that travel for different times.
pub const WRITES: Rate = Rate { count: 2, per: Duration::from_millis(80) };

/// How long before its deadline a write is not begun any more: longer than a try can take.
const MARGIN: Duration = Duration::from_secs(15);

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

    /// Whether a refusal may turn out to be none: whoever asked looks again, and has it counted.
    const fn is_in_question(self, error: &TwilioError) -> bool {
        matches!((self, error), (Self::AddParticipant, TwilioError::Refused { status: 404, .. }))
    }

    /// Whether it is there in each service, so that a refusal speaks of our key or our service.
    const fn is_the_services(self) -> bool {
        matches!(self, Self::Bindings | Self::Roles | Self::Configuration)
    }
}

/// The causes of failures, as a metric's label.
const CAUSES: [&str; 4] = ["away", "busy", "refused", "not_understood"];

/// What is asked.
pub(super) struct Request<'a> {
    endpoint: Endpoint,
    method: Method,
    url: Url,
    form: &'a [(&'a str, &'a str)],
    until: Option<Timestamp>,
}

impl<'a> Request<'a> {
    pub(super) const fn get(endpoint: Endpoint, url: Url) -> Self {
        Self { endpoint, method: Method::GET, url, form: &[], until: None }
    }

    pub(super) const fn post(endpoint: Endpoint, url: Url, form: &'a [(&'a str, &'a str)]) -> Self {
        Self { endpoint, method: Method::POST, url, form, until: None }
    }

    pub(super) const fn delete(endpoint: Endpoint, url: Url) -> Self {
        Self { endpoint, method: Method::DELETE, url, form: &[], until: None }
    }

    /// The same, but it has to arrive until then.
    pub(super) const fn until(mut self, until: Option<Timestamp>) -> Self {
        self.until = until;
        self
    }
}

struct Series {
    duration: Histogram,
    failures: [Counter; CAUSES.len()],
}

/// The place of a cause that lasts.
const REFUSED: usize = 2;

/// How long Twilio counts as refusing us after it did, unless the same is asked again before, and done.
const REFUSAL_LASTS: Duration = Duration::from_mins(10);

/// How Twilio answers.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Why it did not the last time, if it did not, or that it refuses what we must be able to do; one of a few.
    pub trouble: Option<&'static str>,
    /// Its clock, seconds since 1970, and when we heard it.
    pub date: Option<(u64, Instant)>,
    /// Whether it was ever called.
    pub called: bool,
}

/// What was heard of Twilio.
#[derive(Default)]
struct Heard {
    /// Why it did not answer the last time; a refusal is kept apart.
    trouble: Option<&'static str>,
    /// When each endpoint refused us, if it did the last time.
    refused: [Option<Instant>; Endpoint::NAMES.len()],
    date: Option<(u64, Instant)>,
    called: bool,
}

/// The HTTP client. Follows no redirect: one would carry our credentials to a host that nobody configured. Uses no proxy of the
/// environment.
pub(super) struct Http {
    client: Client,
    key: (String, SecretString),
    timeout: Duration,
    store: Arc<Store>,
    /// What the turns of writes are counted under.
    bucket: String,
    series: Vec<Series>,
    heard: Mutex<Heard>,
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
    /// Another try makes sense.
    Again(TwilioError),
}

impl Http {
    pub(super) fn new(
        settings: &Settings,
        store: Arc<Store>,
        metrics: &Metrics,
    ) -> Result<Self, BuildError> {
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
            store,
            bucket: format!("twilio:{}", settings.service_sid),
            series: series.collect(),
            heard: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> State {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = |at: &Instant| at.elapsed() < REFUSAL_LASTS;
        let refused = heard.refused.iter().flatten().any(lasts).then_some(CAUSES[REFUSED]);
        State { trouble: heard.trouble.or(refused), date: heard.date, called: heard.called }
    }

    /// Sends a request, again and again where another try makes sense: each of ours may be done twice. Each try of a write takes its
    /// turn among those of all replicas.
    ///
    /// # Errors
    ///
    /// [`TwilioError`], any but [`TwilioError::NoConversation`].
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Reply, TwilioError> {
        let endpoint = request.endpoint;
        let (mut spent, mut pause, mut tries) = (Duration::ZERO, FIRST_PAUSE, 1);
        loop {
            if request.method != Method::GET {
                self.take_turn(request.until).await?;
            }
            let asked = Instant::now();
            let patience = self.timeout.min(BUDGET.saturating_sub(spent));
            let ended = timeout(patience, self.try_once(request)).await;
            self.series[endpoint as usize].duration.record(asked.elapsed());
            spent += asked.elapsed();
            let late = |_| Try::Again(away("no whole answer in time"));
            let error = match ended.unwrap_or_else(late) {
                Try::Done(reply) => {
                    self.note(endpoint, None);
                    return Ok(reply);
                }
                Try::Failed(error) if endpoint.is_in_question(&error) => return Err(error),
                Try::Failed(error) => return Err(self.failed(endpoint, error)),
                Try::Again(error) => error,
            };
            // Whoever is told the same moment is not to come at the same moment.
            let wait = error.after().saturating_add(jittered(pause));
            // It may be told to wait for longer than there is time.
            if tries == TRIES || spent.saturating_add(wait) > BUDGET {
                return Err(self.failed(endpoint, error));
            }
            sleep(wait).await;
            spent += wait;
            pause *= 2;
            tries += 1;
        }
    }

    /// Waits until one more write keeps within Twilio's limit, if it can still be done in time.
    async fn take_turn(&self, until: Option<Timestamp>) -> Result<(), TwilioError> {
        loop {
            let taken = self.store.take_from_limit(&self.bucket, WRITES, RequestId::unique());
            let Dated { value, time } = taken.await?;
            if until.is_some_and(|until| time.now().plus(MARGIN) >= until) {
                return Err(TwilioError::TooLate);
            }
            match value {
                Allowance::Allowed => return Ok(()),
                Allowance::Refused { after } => sleep(after).await,
            }
        }
    }

    async fn try_once(&self, request: &Request<'_>) -> Try {
        let (status, after, body) = match self.exchange(request).await {
            Ok(answer) => answer,
            Err(ended) => return ended,
        };
        if status.is_success() {
            return Try::Done(Reply(body));
        }
        let code = serde_json::from_slice::<Refusal>(&body).ok().and_then(|refusal| refusal.code);
        let busy =
            code.is_some_and(|code| code == code::TOO_MANY || code::CONFLICT.contains(&code));
        if busy || status == StatusCode::TOO_MANY_REQUESTS {
            Try::Again(TwilioError::Busy { after })
        } else if status.is_server_error() {
            Try::Again(TwilioError::Away { what: format!("status {}", status.as_u16()), after })
        } else {
            Try::Failed(TwilioError::Refused { status: status.as_u16(), code })
        }
    }

    async fn exchange(
        &self,
        request: &Request<'_>,
    ) -> Result<(StatusCode, Duration, Vec<u8>), Try> {
        let Request { method, url, form, .. } = request;
        #[expect(clippy::disallowed_methods, reason = "Twilio is to know it: it made it")]
        let secret = self.key.1.expose_secret();
        let mut request = self
            .client
            .request(method.clone(), url.clone())
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .basic_auth(&self.key.0, Some(secret));
        if *method == Method::POST {
            let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(*form).finish();
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
        Ok((response.status(), after.unwrap_or_default(), body))
    }

    /// What was made of an answer; counted when it came to nothing.
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
            TwilioError::Busy { .. } => 1,
            TwilioError::Refused { code: Some(code), .. } if endpoint.answers().contains(code) => {
                self.note(endpoint, None);
                return error;
            }
            TwilioError::Refused { .. } | TwilioError::NoConversation => REFUSED,
            TwilioError::NotUnderstood { .. } | TwilioError::Unaddressable => 3,
            // Twilio has no part in it.
            TwilioError::TooLate | TwilioError::Store(_) => return error,
        };
        // A refusal that is about one conversation says nothing of Twilio; one of our key says everything, and so does one of what is
        // the service's own.
        let is_about_one = cause == REFUSED && !error.refuses_us() && !endpoint.is_the_services();
        self.note(endpoint, (!is_about_one).then_some(cause));
        self.series[endpoint as usize].failures[cause].increment(1);
        error
    }

    fn note(&self, endpoint: Endpoint, trouble: Option<usize>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.called = true;
        heard.trouble = trouble.filter(|cause| *cause != REFUSED).map(|cause| CAUSES[cause]);
        heard.refused[endpoint as usize] = (trouble == Some(REFUSED)).then(Instant::now);
    }

    fn hear(&self, date: Option<&HeaderValue>) {
        let date = date.and_then(|value| value.to_str().ok());
        let Some(date) = date.and_then(|text| chrono::DateTime::parse_from_rfc2822(text).ok())
        else {
            return;
        };
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.date = u64::try_from(date.timestamp()).ok().map(|seconds| (seconds, Instant::now()));
    }
}

fn away(what: impl Into<String>) -> TwilioError {
    TwilioError::Away { what: what.into(), after: Duration::ZERO }
}

/// A connection that did not hold.
fn broken(error: &reqwest::Error) -> Try {
    Try::Again(away(describe(error)))
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
