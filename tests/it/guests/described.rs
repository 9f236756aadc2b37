//! A guest's whole life at Twilio keeps to Twilio's own description of its API.

use reqwest::{Method, StatusCode};
use url::Url;

use super::scrubbing::{QUICK, fast, until, until_lent};
use super::{come, identity};
use crate::support::prism::Prism;
use crate::support::setup::Setup;
use crate::support::twilio_api::{Trouble, TwilioApi};
use crate::support::visitor::Visitor;

/// The stand-in, which is reached through Prism.
async fn judged() -> (TwilioApi, Prism) {
    let mut api = TwilioApi::start().await;
    let prism = Prism::before(&api.url).await;
    api.stand_in.seem_to_be_at(Url::parse(&prism.url).unwrap());
    api.url.clone_from(&prism.url);
    (api, prism)
}

#[tokio::test]
async fn a_guests_life_holds_nothing_that_twilios_description_does_not_allow() {
    let (api, mut prism) = judged().await;
    let keys = "size = 1\nconversations = [\"lobby\", \"den\"]\nrole = \"channel admin\"\n";
    // Prism takes its time, and a lease has to last until the guest is in its rooms.
    let quick = QUICK.replace("\"1m\"", "\"3m\"").replace("\"2m\"", "\"3m\"");
    let (_redis, _provider, service) = fast(20.0, &api, &format!("{keys}{quick}")).await;
    let rooms = |of: &str| api.stand_in.conversations_of(of);

    // Lent, and given back with all that it left behind.
    let mut visitor = Visitor::of(&service);
    come(&mut visitor, &service.url).await;
    until("the rooms", || rooms("guest-1") == ["lobby", "den"]).await;
    api.stand_in.bind("guest-1");
    api.stand_in.name("guest-1", "Mallory", r#"{"color":"red"}"#);
    let gone = visitor.send(Method::DELETE, &format!("{}/guest", service.url), &[]).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    until("the end of it", || rooms("guest-1").is_empty() && !api.stand_in.is_marked("guest-1"))
        .await;

    // Seen clean, and lent again.
    until_lent(&service.url).await;
    until("the rooms", || rooms("guest-1") == ["lobby", "den"]).await;
    let asked = api.stand_in.requests();
    let kinds = ["GET", "POST", "DELETE"]
        .map(|kind| asked.iter().filter(|(method, _)| method.as_str() == kind).count());
    // Two rooms entered twice, two left, one device and one name.
    assert!(kinds[0] >= 8 && kinds[1] == 5 && kinds[2] == 3, "{asked:#?}");
    assert_eq!(prism.objections().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_member_inherits_is_taken_as_twilios_description_allows() {
    let (api, mut prism) = judged().await;
    let setup = Setup::with(&api.sections("size = 1"), "").await;
    let mut visitor = setup.visitor();
    let guest = identity(&come(&mut visitor, &setup.service.url).await);
    api.stand_in.join(&guest, "den");

    visitor.sign_in(&setup.service).await;

    let member = visitor.post(&setup.url("/token")).await.json();
    assert_eq!(member["kind"], "member");
    let member = member["identity"].as_str().unwrap();
    until("the member", || api.stand_in.conversations_of(member) == ["den"]).await;
    until("the guest's end", || api.stand_in.conversations_of(&guest).is_empty()).await;
    assert_eq!(prism.objections().await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_is_in_though_twilio_says_not_found_is_looked_for_as_described() {
    let (api, mut prism) = judged().await;
    let setup = Setup::with(&api.sections("size = 1\nconversations = [\"lobby\"]"), "").await;
    api.next([Trouble::Refused(404, 20404)]);

    come(&mut setup.visitor(), &setup.service.url).await;

    // It is not in, which the look says; the next try takes it in.
    let mut asked = Vec::new();
    until("the look", || {
        asked.extend(api.stand_in.requests());
        let look = "/Conversations/lobby/Participants/guest-1";
        asked.iter().any(|(method, path)| method == Method::GET && path.ends_with(look))
    })
    .await;
    assert_eq!(prism.objections().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_guest_in_more_than_a_page_leaves_all_of_it_as_described() {
    let (api, mut prism) = judged().await;
    let setup = Setup::with(&api.sections("size = 1"), "").await;
    let mut visitor = setup.visitor();
    let guest = identity(&come(&mut visitor, &setup.service.url).await);
    for number in 0..60 {
        let name = format!("room-{number}");
        api.stand_in.make_conversation(&name);
        api.stand_in.join(&guest, &name);
    }

    visitor.send(Method::DELETE, &setup.url("/guest"), &[]).await;

    until("the end of it", || api.stand_in.conversations_of(&guest).is_empty()).await;
    let asked = api.stand_in.requests();
    assert!(asked.iter().any(|(_, path)| path.contains("PageSize=50&Page=1")), "{asked:#?}");
    assert_eq!(prism.objections().await, Vec::<String>::new());
}
