//! The routes of the stand-in.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::Value;
use url::form_urlencoded;

use super::json::{Place, refusal};
use super::{CHANNEL_USER, Participant, ROLES, StandIn, World, role_sid};

type Answer = Result<Response, Response>;

/// The largest page of each list.
const LARGEST_PAGE: usize = 50;

pub(super) fn routes(stand_in: StandIn) -> Router {
    let stand_in = Arc::new(stand_in);
    let service = format!("/v1/Services/{}", stand_in.account.service_sid);
    let routes = Router::new()
        .route("/Configuration", get(configuration))
        .route("/Roles", get(roles))
        .route("/Users/{user}", get(user).post(update_user))
        .route("/Users/{user}/Conversations", get(conversations))
        .route("/Conversations/{conversation}/Participants", post(add))
        .route(
            "/Conversations/{conversation}/Participants/{participant}",
            get(participant).delete(remove),
        )
        .route("/Bindings", get(bindings))
        .route("/Bindings/{binding}", axum::routing::delete(unbind))
        .layer(middleware::from_fn_with_state(stand_in.clone(), admit))
        .with_state(stand_in);
    Router::new().nest(&service, routes)
}

/// Lets in whoever has the key, and counts.
async fn admit(State(stand_in): State<Arc<StandIn>>, request: Request, next: Next) -> Response {
    #[expect(clippy::disallowed_methods, reason = "it is compared with what a request brings")]
    let secret = stand_in.account.api_key_secret.expose_secret();
    let key = STANDARD.encode(format!("{}:{secret}", stand_in.account.api_key_sid));
    let brought = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if brought != Some(&format!("Basic {key}")) {
        return no(StatusCode::UNAUTHORIZED, 20003, "Authenticate");
    }
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    stand_in.world().requests.push((request.method().clone(), path));
    next.run(request).await
}

fn no(status: StatusCode, code: u32, message: &str) -> Response {
    (status, Json(refusal(status.as_u16(), code, message))).into_response()
}

fn no_user() -> Response {
    no(StatusCode::NOT_FOUND, 50200, "User not found")
}

fn no_conversation() -> Response {
    no(StatusCode::NOT_FOUND, 50350, "Conversation not found")
}

/// What is said to whoever does that in a conversation which refuses it.
fn refused(world: &mut World, method: &Method, conversation: &str) -> Option<Response> {
    let (status, code) = world.refusal(method, conversation)?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    Some(no(status, code, "The conversation refuses it"))
}

impl StandIn {
    fn place(&self, headers: &HeaderMap) -> Place<'_> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let base = match &self.world().base {
            Some(base) => base.origin().ascii_serialization(),
            None => format!("http://{host}"),
        };
        let base = format!("{base}/v1/Services/{}", self.account.service_sid);
        Place { account: &self.account, base }
    }
}

fn page_of(query: &HashMap<String, String>) -> (usize, usize) {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    (number("Page").unwrap_or(0), number("PageSize").unwrap_or(LARGEST_PAGE).clamp(1, LARGEST_PAGE))
}

fn json(status: StatusCode, document: Value) -> Response {
    (status, Json(document)).into_response()
}

async fn configuration(State(stand_in): State<Arc<StandIn>>, headers: HeaderMap) -> Answer {
    Ok(json(StatusCode::OK, stand_in.place(&headers).configuration()))
}

async fn roles(
    State(stand_in): State<Arc<StandIn>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let place = stand_in.place(&headers);
    let roles = (0..ROLES.len()).map(|it| place.role(it)).collect::<Vec<_>>();
    Ok(json(StatusCode::OK, place.page("roles", "/Roles", &roles, page_of(&query))))
}

async fn user(
    State(stand_in): State<Arc<StandIn>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let place = stand_in.place(&headers);
    let world = stand_in.world();
    let identity = world.identity(&name).ok_or_else(no_user)?;
    Ok(json(StatusCode::OK, place.user(&identity, &world.users[&identity])))
}

async fn update_user(
    State(stand_in): State<Arc<StandIn>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Answer {
    let place = stand_in.place(&headers);
    let mut world = stand_in.world();
    let identity = world.identity(&name).ok_or_else(no_user)?;
    world.written.insert(identity.clone());
    let user = world.users.get_mut(&identity).ok_or_else(no_user)?;
    for (name, value) in form_urlencoded::parse(body.as_bytes()) {
        match &*name {
            // Whether Twilio takes that for "none" is not documented: here it is no change.
            "FriendlyName" if value.is_empty() => {}
            "FriendlyName" => user.friendly_name = Some(value.into_owned()),
            "Attributes" => user.attributes = value.into_owned(),
            "RoleSid" => user.role_sid = value.into_owned(),
            _ => {}
        }
    }
    Ok(json(StatusCode::OK, place.user(&identity, user)))
}

async fn conversations(
    State(stand_in): State<Arc<StandIn>>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let place = stand_in.place(&headers);
    let world = stand_in.world();
    let identity = world.identity(&name).ok_or_else(no_user)?;
    let user = &world.users[&identity];
    let of =
        world.conversations.iter().filter_map(|it| Some((it, it.participants.get(&identity)?)));
    let all = of.map(|(it, as_)| place.user_conversation(user, it, as_)).collect::<Vec<_>>();
    let path = format!("/Users/{}/Conversations", user.sid);
    Ok(json(StatusCode::OK, place.page("conversations", &path, &all, page_of(&query))))
}

async fn add(
    State(stand_in): State<Arc<StandIn>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Answer {
    let place = stand_in.place(&headers);
    let form = form_urlencoded::parse(body.as_bytes()).collect::<HashMap<_, _>>();
    let missing = || no(StatusCode::BAD_REQUEST, 50434, "Identity is missing");
    let identity = form.get("Identity").ok_or_else(missing)?.to_string();
    let mut world = stand_in.world();
    if world.conversation(&name).is_none() {
        return Err(no_conversation());
    }
    if let Some(refusal) = refused(&mut world, &Method::POST, &name) {
        return Err(refusal);
    }
    world.make_user(&identity);
    let role_sid = form.get("RoleSid").map_or_else(|| role_sid(CHANNEL_USER), ToString::to_string);
    let participant = Participant { sid: world.sid("MB"), role_sid };
    let conversation = world.conversation(&name).ok_or_else(no_conversation)?;
    if conversation.participants.contains_key(&identity) {
        return Err(no(StatusCode::CONFLICT, 50433, "Participant already exists"));
    }
    let document = place.participant(&conversation.sid, &identity, &participant);
    conversation.participants.insert(identity.clone(), participant);
    world.written.insert(identity);
    Ok(json(StatusCode::CREATED, document))
}

async fn remove(
    State(stand_in): State<Arc<StandIn>>,
    Path((name, participant)): Path<(String, String)>,
) -> Answer {
    let mut world = stand_in.world();
    if let Some(refusal) = refused(&mut world, &Method::DELETE, &name) {
        return Err(refusal);
    }
    let participants = &mut world.conversation(&name).ok_or_else(no_conversation)?.participants;
    let is = |(identity, it): &(&String, &Participant)| {
        **identity == participant || it.sid == participant
    };
    let Some(identity) = participants.iter().find(is).map(|(identity, _)| identity.clone()) else {
        return Err(no(StatusCode::NOT_FOUND, 50432, "Participant not found"));
    };
    participants.remove(&identity);
    world.written.insert(identity);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn participant(
    State(stand_in): State<Arc<StandIn>>,
    Path((name, participant)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let place = stand_in.place(&headers);
    let mut world = stand_in.world();
    let conversation = world.conversation(&name).ok_or_else(no_conversation)?;
    let is = |(identity, it): &(&String, &Participant)| {
        **identity == participant || it.sid == participant
    };
    match conversation.participants.iter().find(is) {
        Some((identity, it)) => {
            Ok(json(StatusCode::OK, place.participant(&conversation.sid, identity, it)))
        }
        None => Err(no(StatusCode::NOT_FOUND, 50432, "Participant not found")),
    }
}

async fn bindings(
    State(stand_in): State<Arc<StandIn>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let place = stand_in.place(&headers);
    let world = stand_in.world();
    let wanted = query.get("Identity");
    let of = world.bindings.iter().filter(|(_, it)| wanted.is_none_or(|wanted| wanted == *it));
    let all = of.map(|(sid, identity)| place.binding(sid, identity)).collect::<Vec<_>>();
    let query_of = |wanted| {
        form_urlencoded::Serializer::new(String::new()).append_pair("Identity", wanted).finish()
    };
    let path = wanted
        .map_or_else(|| "/Bindings".to_owned(), |wanted| format!("/Bindings?{}", query_of(wanted)));
    Ok(json(StatusCode::OK, place.page("bindings", &path, &all, page_of(&query))))
}

async fn unbind(State(stand_in): State<Arc<StandIn>>, Path(sid): Path<String>) -> Answer {
    match stand_in.world().bindings.remove(&sid) {
        Some(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        None => Err(no(StatusCode::NOT_FOUND, 20404, "The requested resource was not found")),
    }
}
