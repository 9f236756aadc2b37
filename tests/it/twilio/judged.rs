//! Prism holds what we say to Twilio, and what the stand-in says to us, against Twilio's own description.

use reqwest::{Client, Method, StatusCode};
use url::Url;
use vestibule::inside::twilio::{RoleKind, TwilioError};

use super::{PATIENCE, SECRET, SERVICE, client, identity};
use crate::support::prism::Prism;
use crate::support::twilio_api::{Trouble, TwilioApi};

/// A client, Prism, and the stand-in behind it.
async fn stage() -> (super::Client, Prism, TwilioApi) {
    let api = TwilioApi::start().await;
    let prism = Prism::before(&api.url).await;
    api.stand_in.seem_to_be_at(Url::parse(&prism.url).unwrap());
    (client(&prism.url, PATIENCE).await, prism, api)
}

#[tokio::test]
async fn every_request_of_ours_and_every_answer_of_the_stand_in_is_as_described() {
    let (twilio, mut prism, api) = stage().await;
    let (guest, nobody) = (identity("guest-1"), identity("guest-2"));
    let odd = "team/1 & a half? #ü%2F..";
    api.stand_in.make_conversation(odd);

    // Where there is nothing yet.
    assert_eq!(twilio.user(&nobody).await.unwrap(), None);
    assert_eq!(twilio.conversations_of(&nobody).await.unwrap(), Vec::<String>::new());
    assert_eq!(twilio.bindings_of(&nobody).await.unwrap(), Vec::<String>::new());
    twilio.remove_participant("lobby", &nobody, None).await.unwrap();
    let nowhere = twilio.add_participant("nowhere", &nobody, None, None).await;
    assert!(matches!(nowhere, Err(TwilioError::NoConversation)), "{nowhere:?}");
    twilio.delete_binding("BS00000000000000000000000000000000").await.unwrap();

    // Roles.
    let roles = twilio.roles().await.unwrap();
    let names = roles.iter().map(|it| &*it.friendly_name).collect::<Vec<_>>();
    assert_eq!(names, ["service admin", "service user", "channel admin", "channel user"]);
    let admin = roles.iter().find(|it| it.friendly_name == "channel admin").unwrap();
    assert_eq!(admin.kind, RoleKind::Conversation);
    let user_role = twilio.default_user_role().await.unwrap();
    assert_eq!(user_role, roles[1].sid);

    // In, twice.
    for _ in 0..2 {
        twilio.add_participant("lobby", &guest, Some(&admin.sid), None).await.unwrap();
        twilio.add_participant(odd, &guest, None, None).await.unwrap();
    }
    assert_eq!(api.stand_in.role_in("lobby", "guest-1"), Some("channel admin"));
    assert_eq!(api.stand_in.conversations_of("guest-1"), ["lobby", odd]);
    api.stand_in.bind("guest-1");
    api.stand_in.name("guest-1", "Mallory", r#"{"a":1}"#);
    let user = twilio.user(&guest).await.unwrap().unwrap();
    assert_eq!(
        (user.friendly_name.as_deref(), &*user.attributes, user.role_sid),
        (Some("Mallory"), r#"{"a":1}"#, user_role.clone())
    );

    // And out, twice.
    let conversations = twilio.conversations_of(&guest).await.unwrap();
    assert_eq!(conversations.len(), 2);
    let bindings = twilio.bindings_of(&guest).await.unwrap();
    assert_eq!(bindings.len(), 1);
    for _ in 0..2 {
        for sid in &conversations {
            twilio.remove_participant(sid, &guest, None).await.unwrap();
        }
        twilio.delete_binding(&bindings[0]).await.unwrap();
        twilio.reset_user(&guest, &user_role, None).await.unwrap();
    }
    assert!(api.stand_in.conversations_of("guest-1").is_empty());
    assert!(!api.stand_in.is_marked("guest-1"));

    assert_eq!(prism.objections().await, Vec::<String>::new());
}

#[tokio::test]
async fn lists_are_followed_to_their_end_as_described() {
    let (twilio, mut prism, api) = stage().await;
    let guest = identity("guest-1");
    for number in 0..120 {
        let name = format!("room-{number}");
        api.stand_in.make_conversation(&name);
        api.stand_in.join("guest-1", &name);
        api.stand_in.bind("guest-1");
    }
    api.stand_in.bind("guest-11");

    let conversations = twilio.conversations_of(&guest).await.unwrap();
    let bindings = twilio.bindings_of(&guest).await.unwrap();

    let different = |mut sids: Vec<String>| {
        sids.sort();
        sids.dedup();
        sids.len()
    };
    assert_eq!((different(conversations), different(bindings)), (120, 120));
    let asked = api.stand_in.requests();
    assert_eq!(asked.iter().filter(|(method, _)| method == Method::GET).count(), 6, "{asked:?}");
    assert_eq!(prism.objections().await, Vec::<String>::new());
}

/// What would be wrong does not pass, so that what passes means something.
#[tokio::test]
async fn what_is_not_as_described_is_refused() {
    let (twilio, mut prism, api) = stage().await;
    let key = ("SK11111111111111111111111111111111", Some(SECRET));
    let send = async |method: Method, path: &str, form: &[(&str, &str)]| {
        let url = format!("{}{SERVICE}{path}", prism.url);
        let mut request = Client::new().request(method, url).basic_auth(key.0, key.1);
        if !form.is_empty() {
            let body =
                url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            request =
                request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        request.send().await.unwrap().status()
    };

    let (get, post) = (|| Method::GET, || Method::POST);
    for (method, path, form) in [
        (get(), "/Users/guest-1/Conversations?PageSize=51", &[][..]),
        (get(), "/Bindings?BindingType=pigeon", &[]),
        (post(), "/Users/guest-1", &[("RoleSid", "channel admin")]),
        (post(), "/Conversations/lobby/Participants", &[("RoleSid", "RL1")]),
        (Method::DELETE, "/Bindings/1", &[]),
    ] {
        let status = send(method, path, form).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path} {form:?}");
    }
    assert_eq!(send(get(), "/Guests", &[]).await, StatusCode::NOT_FOUND);
    assert_eq!(send(Method::PUT, "/Users/guest-1", &[]).await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(api.stand_in.requests(), Vec::new());

    api.always(Some(Trouble::Broken(200)));
    assert_eq!(send(get(), "/Users/guest-1", &[]).await, StatusCode::INTERNAL_SERVER_ERROR);
    api.always(None);
    // Nor what a bug of the client would send.
    assert!(twilio.reset_user(&identity("guest-1"), "not a SID", None).await.is_err());

    let objections = prism.objections().await;
    assert_eq!(objections.len(), 9, "{objections:#?}");
}
