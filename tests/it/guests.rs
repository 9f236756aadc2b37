//! A guest is an identity of the pool, lent to one visitor at a time.

mod described;
mod doubt;
mod floods;
mod holders;
mod inheriting;
mod lending;
mod months;
mod never_twice;
mod operators;
mod outages;
mod pages;
mod refused;
mod scrubbing;
mod tickets;
mod upgrades;

use reqwest::{Method, RequestBuilder};

pub use scrubbing::until;

use crate::support::setup::Setup;
use crate::support::visitor::{Answer, Visitor};

/// The pool's key in the store.
const POOL: &str = "vestibule:guests:{IS22222222222222222222222222222222-guest-}";

/// `[guests]` with these further keys.
fn guests(keys: &str) -> String {
    format!("[guests]\n{keys}\n[limits]\nguests = \"off\"\n")
}

/// A service with a pool of `size`.
async fn with_pool(size: u32) -> Setup {
    Setup::with(&guests(&format!("size = {size}")), "").await
}

/// Asks for a guest with a cookie.
async fn come(visitor: &mut Visitor, service: &str) -> Answer {
    visitor.post(&format!("{service}/guest")).await
}

/// Asks for one with a lease secret in the body, or with one that there is.
async fn come_without_cookie(service: &str, secret: Option<&str>) -> Answer {
    let mut visitor = Visitor::on_a_page_of(service);
    visitor.origin = None;
    send(&mut visitor, service, secret, r#"{"cookie":false}"#).await
}

async fn send(visitor: &mut Visitor, service: &str, secret: Option<&str>, body: &str) -> Answer {
    let mut request = visitor.client.post(format!("{service}/guest"));
    request = request.header("content-type", "application/json").body(body.to_owned());
    if let Some(secret) = secret {
        request = request.bearer_auth(secret);
    }
    answer(request).await
}

/// Asks for one as somebody of whom a proxy says that they come from there.
async fn come_from(service: &str, address: &str, body: &str) -> Answer {
    let request = Visitor::on_a_page_of(service).client.post(format!("{service}/guest"));
    let request =
        request.header("x-forwarded-for", address).header("content-type", "application/json");
    answer(request.body(body.to_owned())).await
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// Calls with a lease secret.
async fn with_secret(method: Method, url: &str, secret: &str) -> Answer {
    let mut visitor = Visitor::on_a_page_of("http://nowhere.example");
    visitor.origin = None;
    visitor.send(method, url, &[("authorization", &format!("Bearer {secret}"))]).await
}

fn identity(answer: &Answer) -> String {
    answer.json()["identity"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}
