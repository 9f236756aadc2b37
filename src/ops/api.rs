//! `/api`: what operators' programs ask and change, behind the gate.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Json, Router, middleware};
use serde::Serialize;

use super::gate::{self, Gate};
use super::problem::{Code, Problem};
use super::records::{Changed, Moved, Records, Whom};
use crate::ids::{Identity, Reference, Subject};
use crate::oidc::Provider;
use crate::sessions::Sessions;
use crate::store::Cursor;

/// The largest body that is read, in bytes: a subject of the longest issuer and value, each character escaped.
const LARGEST_BODY: usize = 16 * 1024;

type Answer = Result<Response, Problem>;
type RawPath = Result<Path<String>, PathRejection>;

struct Api {
    records: Records,
    providers: Vec<Arc<Provider>>,
    sessions: Arc<Sessions>,
}

impl Api {
    /// Has providers forget what they gave for sessions that an operator ended.
    fn give_back(&self, changed: &Changed) {
        let subject = changed.subject.as_ref().and_then(|whom| Subject::try_from(whom).ok());
        if let Some(subject) = subject {
            self.sessions.give_back_later(subject.key());
        }
    }
}

/// The routes below `/api`.
pub(super) fn router<S>(
    records: Records,
    providers: Vec<Arc<Provider>>,
    sessions: Arc<Sessions>,
    gate: Gate,
) -> Router<S> {
    let nothing = async || Problem::new(Code::NotFound);
    let no_method = async || Problem::new(Code::MethodNotAllowed);
    Router::new()
        .route("/denials/{reference}", get(denial))
        .route("/identities/{identity}", get(identity))
        .route("/identities/{identity}/subject", get(subject).put(move_identity))
        .route("/identities/{identity}/block", put(block).delete(unblock))
        .route("/identities/{identity}/sessions", delete(end_sessions))
        .route("/standings", get(standings))
        .route("/guests", get(pool))
        .route("/guests/quarantine", put(quarantine))
        .method_not_allowed_fallback(no_method)
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::new(gate), gate::pass))
        .with_state(Arc::new(Api { records, providers, sessions }))
}

async fn denial(State(api): State<Arc<Api>>, raw_reference: RawPath) -> Answer {
    let reference = Reference::parse(&path(raw_reference)?).ok_or(Problem::new(Code::Unknown))?;
    found(api.records.denial(&reference).await?)
}

async fn identity(State(api): State<Arc<Api>>, raw_identity: RawPath) -> Answer {
    found(api.records.identity(&named(raw_identity)?).await?)
}

async fn subject(State(api): State<Arc<Api>>, raw_identity: RawPath) -> Answer {
    found(api.records.owner(&named(raw_identity)?).await?)
}

async fn standings(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Answer {
    let invalid = || Problem::new(Code::InvalidRequest);
    let query = query.unwrap_or_default();
    let mut after =
        url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "after");
    let cursor = match (after.next(), after.next()) {
        (None, _) => None,
        (Some((_, raw_cursor)), None) => Some(Cursor::parse(&raw_cursor).ok_or_else(invalid)?),
        (Some(_), Some(_)) => return Err(invalid()),
    };
    Ok(Json(api.records.standings(cursor).await?).into_response())
}

async fn pool(State(api): State<Arc<Api>>) -> Answer {
    found(api.records.pool().await?)
}

async fn quarantine(State(api): State<Arc<Api>>) -> Answer {
    found(api.records.quarantine().await?)
}

async fn move_identity(
    State(api): State<Arc<Api>>,
    raw_identity: RawPath,
    raw_to: Result<Bytes, BytesRejection>,
) -> Answer {
    let invalid = || Problem::new(Code::InvalidRequest);
    let identity = named(raw_identity)?;
    let to: Whom =
        serde_json::from_slice(&raw_to.map_err(|_| invalid())?).map_err(|_| invalid())?;
    let subject = Subject::try_from(&to).map_err(|_| invalid())?;
    // A slip in the issuer would make the identity a subject's whom no provider can mean.
    if !api.providers.iter().any(|provider| provider.accepts_issuer(subject.issuer())) {
        return Err(invalid());
    }
    match api.records.move_identity(&identity, &subject).await? {
        Moved::Done(given) => Ok(Json(given).into_response()),
        Moved::Guests => Err(Problem::new(Code::Unknown)),
        Moved::Theirs => Err(Problem::new(Code::AlreadyTheirs)),
        Moved::UnderWay { to } => Err(Problem::new(Code::MoveUnderWay).moving_to(to)),
        Moved::Blocked { identity } => Err(Problem::new(Code::Blocked).blocked(identity)),
        Moved::Overtaken => Err(Problem::new(Code::Overtaken)),
    }
}

async fn block(State(api): State<Arc<Api>>, raw_identity: RawPath) -> Answer {
    let identity = named(raw_identity)?;
    let blocked = api.records.set_blocked(&identity, true).await?;
    let blocked = blocked.ok_or_else(|| nobodys(&identity))?;
    api.give_back(&blocked);
    settled(blocked)
}

async fn unblock(State(api): State<Arc<Api>>, raw_identity: RawPath) -> Answer {
    let identity = named(raw_identity)?;
    let unblocked = api.records.set_blocked(&identity, false).await?;
    settled(unblocked.ok_or_else(|| nobodys(&identity))?)
}

async fn end_sessions(State(api): State<Arc<Api>>, raw_identity: RawPath) -> Answer {
    let identity = named(raw_identity)?;
    let ended = api.records.end_sessions(&identity).await?;
    let ended = ended.ok_or_else(|| nobodys(&identity))?;
    api.give_back(&ended);
    settled(ended)
}

/// Why nothing was done to an identity that nobody has.
fn nobodys(identity: &Identity) -> Problem {
    let unknown = Problem::new(Code::Unknown);
    if identity.is_guest() { unknown.saying(GUESTS) } else { unknown }
}

/// What helps against a guest, whose name is another visitor's soon.
const GUESTS: &str = "That is a guest's name, which a visitor has for a while only. What helps: limits.guests, guests.ticket, or vestibule guests --quarantine.";

/// What is done counts as done once no failover can forget it.
fn settled(changed: Changed) -> Answer {
    match changed.behind {
        0 => Ok(Json(changed).into_response()),
        _ => Err(Problem::new(Code::ReplicasBehind)),
    }
}

fn path(raw: RawPath) -> Result<String, Problem> {
    raw.map(|Path(text)| text).map_err(|_| Problem::new(Code::InvalidRequest))
}

/// The identity in a path. What can be none is nobody's.
fn named(raw_identity: RawPath) -> Result<Identity, Problem> {
    Identity::parse(&path(raw_identity)?).map_err(|_| Problem::new(Code::Unknown))
}

fn found(what: Option<impl Serialize>) -> Answer {
    what.map(|what| Json(what).into_response()).ok_or(Problem::new(Code::Unknown))
}
