//! What an answer means, whatever it is, and where our key goes.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vestibule::inside::twilio::TwilioError;

use super::liar::{Liar, Reply};
use super::{Client, PATIENCE, SECRET, SERVICE, client, identity, measured_client};
use crate::support::log;

/// A page of a user's conversations, and where the next is.
fn page(sids: &[&str], next: Option<&str>) -> Reply {
    let records = sids.iter().map(|sid| json!({ "conversation_sid": sid })).collect::<Vec<_>>();
    Reply::json(
        200,
        &json!({ "conversations": records, "meta": { "next_page_url": next, "key": "conversations" } }),
    )
}

async fn conversations(twilio: &Client) -> Result<Vec<String>, TwilioError> {
    twilio.conversations_of(&identity("guest-1")).await
}

/// A name for what was answered to a caller.
fn outcome<T>(result: &Result<T, TwilioError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(TwilioError::Refused { .. }) => "refused",
        Err(TwilioError::NotUnderstood { .. }) => "not understood",
        Err(TwilioError::Unaddressable) => "unaddressable",
        Err(TwilioError::NoConversation) => "no conversation",
        Err(TwilioError::Away { .. } | TwilioError::Busy { .. }) => "away",
        Err(TwilioError::TooLate) => "too late",
        Err(TwilioError::Store(_)) => "no store",
    }
}

#[tokio::test]
async fn each_call_is_one_request_as_twilio_documents_it() {
    let liar = Liar::with([Reply::refusal(400, 20001)]).await;
    let twilio = client(&liar.url, PATIENCE).await;
    let guest = identity("Guest~1.x_y-z");

    let _ = twilio.conversations_of(&guest).await;
    let _ = twilio.add_participant("CH1", &guest, Some("RL1"), None).await;
    let _ = twilio.add_participant("a/b ?#%2F&ü..", &guest, None, None).await;
    let _ = twilio.remove_participant("a+b", &guest, None).await;
    let _ = twilio.user(&guest).await;
    let _ = twilio.reset_user(&guest, "RL1", None).await;
    let _ = twilio.bindings_of(&guest).await;
    let _ = twilio.delete_binding("BS1").await;
    let _ = twilio.roles().await;
    let _ = twilio.default_user_role().await;

    let heard = liar.heard();
    let basic = STANDARD.encode(format!("SK11111111111111111111111111111111:{SECRET}"));
    for request in &heard {
        assert_eq!(request.authorization, Some(format!("Basic {basic}")), "{}", request.line);
    }
    let said = heard.iter().map(|it| format!("{} {}", it.line.replace(SERVICE, "…"), it.body));
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            "GET …/Users/Guest~1.x_y-z/Conversations?PageSize=50 ",
            "POST …/Conversations/CH1/Participants Identity=Guest%7E1.x_y-z&RoleSid=RL1",
            "POST …/Conversations/a%2Fb%20%3F%23%252F%26%C3%BC../Participants Identity=Guest%7E1.x_y-z",
            "DELETE …/Conversations/a%2Bb/Participants/Guest~1.x_y-z ",
            "GET …/Users/Guest~1.x_y-z ",
            "POST …/Users/Guest~1.x_y-z FriendlyName=Guest%7E1.x_y-z&Attributes=%7B%7D&RoleSid=RL1",
            "GET …/Bindings?Identity=Guest%7E1.x_y-z&PageSize=50 ",
            "DELETE …/Bindings/BS1 ",
            "GET …/Roles?PageSize=50 ",
            "GET …/Configuration ",
        ]
    );
}

/// `DELETE …/Participants/..` would delete the conversation.
#[tokio::test]
async fn what_no_url_can_name_is_never_asked_about() {
    let liar = Liar::with([Reply::json(200, &json!({}))]).await;
    let twilio = client(&liar.url, PATIENCE).await;

    for name in [".", ".."] {
        let odd = identity(name);
        assert_eq!(outcome(&twilio.remove_participant("CH1", &odd, None).await), "unaddressable");
        assert_eq!(outcome(&twilio.user(&odd).await), "unaddressable");
        assert_eq!(outcome(&twilio.conversations_of(&odd).await), "unaddressable");
        assert_eq!(outcome(&twilio.reset_user(&odd, "RL1", None).await), "unaddressable");
    }
    for name in ["", ".", ".."] {
        let guest = identity("guest-1");
        assert_eq!(
            outcome(&twilio.add_participant(name, &guest, None, None).await),
            "unaddressable"
        );
        assert_eq!(outcome(&twilio.remove_participant(name, &guest, None).await), "unaddressable");
        assert_eq!(outcome(&twilio.delete_binding(name).await), "unaddressable");
    }

    assert_eq!(liar.heard().len(), 0);
}

#[tokio::test]
async fn what_is_so_already_is_done_and_nothing_else_is() {
    let guest = identity("guest-1");
    for code in [20404, 50200, 50201, 50207, 50350, 50432, 50433] {
        let liar = Liar::with([Reply::refusal(404, code)]).await;
        let twilio = client(&liar.url, PATIENCE).await;
        let done = |codes: &[u32]| if codes.contains(&code) { "done" } else { "refused" };

        let added = twilio.add_participant("CH1", &guest, None, None).await;
        let nobody = [20404, 50350, 50432].contains(&code);
        assert_eq!(
            outcome(&added),
            if nobody { "no conversation" } else { done(&[50433]) },
            "{code}"
        );
        let removed = twilio.remove_participant("CH1", &guest, None).await;
        assert_eq!(outcome(&removed), done(&[20404, 50350, 50432]), "{code}");
        let found = twilio.user(&guest).await;
        assert!(!matches!(found, Ok(Some(_))));
        assert_eq!(outcome(&found), done(&[20404, 50200]), "{code}");
        assert_eq!(outcome(&conversations(&twilio).await), done(&[20404, 50200]), "{code}");
        assert_eq!(
            outcome(&twilio.reset_user(&guest, "RL1", None).await),
            done(&[20404, 50200]),
            "{code}"
        );
        assert_eq!(outcome(&twilio.delete_binding("BS1").await), done(&[20404]), "{code}");
        // These are about no one who could be gone.
        assert_eq!(outcome(&twilio.bindings_of(&guest).await), "refused", "{code}");
        assert_eq!(outcome(&twilio.roles().await), "refused", "{code}");
        assert_eq!(outcome(&twilio.default_user_role().await), "refused", "{code}");
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page_to_its_end() {
    let liar = Liar::with([]).await;
    let twilio = client(&liar.url, PATIENCE).await;
    let next = |at: u32| format!("{}{SERVICE}/Users/US1/Conversations?PageToken={at}", liar.url);
    liar.tell([
        page(&["CH1", "CH2"], Some(&next(1))),
        page(&[], Some(&next(2))),
        page(&["CH3"], None),
    ]);

    assert_eq!(conversations(&twilio).await.unwrap(), ["CH1", "CH2", "CH3"]);
    let lines = liar.heard().into_iter().map(|it| it.line).collect::<Vec<_>>();
    assert_eq!(lines[2], format!("GET {SERVICE}/Users/US1/Conversations?PageToken=2"));

    // A page that cannot be had is no end.
    liar.tell([page(&["CH1"], Some(&next(1))), Reply::refusal(400, 20001)]);
    assert_eq!(outcome(&conversations(&twilio).await), "refused");
    liar.tell([page(&["CH1"], Some(&next(1)))]);
    liar.heard();
    assert_eq!(outcome(&conversations(&twilio).await), "not understood");
    assert_eq!(liar.heard().len(), 100);
}

#[tokio::test]
async fn the_key_goes_to_twilios_origin_and_service_only() {
    let elsewhere = Liar::with([page(&["CH2"], None)]).await;
    let liar = Liar::with([]).await;
    let twilio = client(&liar.url, PATIENCE).await;
    let host = liar.url.strip_prefix("http://").unwrap();

    for next in [
        format!("{}{SERVICE}/Users/US1/Conversations", elsewhere.url),
        format!("{}@{}{SERVICE}/", liar.url, elsewhere.url.strip_prefix("http://").unwrap()),
        format!("https://{host}{SERVICE}/Users/US1/Conversations"),
        format!("{}/v1/Services/IS33333333333333333333333333333333/Users", liar.url),
        format!("{}{SERVICE}/../../Accounts", liar.url),
        format!("{}{SERVICE}/%2e%2e/%2E%2E/Accounts", liar.url),
        format!("{SERVICE}/Users/US1/Conversations"),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        liar.tell([page(&["CH1"], Some(&next)), page(&["CH2"], None)]);
        assert_eq!(outcome(&conversations(&twilio).await), "not understood", "{next}");
        assert_eq!(liar.heard().len(), 1, "{next}");
    }
    for status in [300, 301, 302, 303, 307, 308] {
        let away = format!("{}{SERVICE}/Users/US1/Conversations", elsewhere.url);
        liar.tell([Reply::html(status).with("location", &away)]);
        assert_eq!(outcome(&conversations(&twilio).await), "refused", "{status}");
        assert_eq!(liar.heard().len(), 1, "{status}");
    }

    assert_eq!(elsewhere.heard().len(), 0);
}

#[tokio::test]
async fn what_is_not_as_described_is_not_taken_for_an_answer() {
    let (liar, guest) = (Liar::with([]).await, identity("guest-1"));
    let (twilio, metrics) = measured_client(&liar.url, PATIENCE).await;
    let meta = json!({ "next_page_url": null });

    for document in [
        json!({}),
        json!([]),
        json!({ "conversations": [] }),
        json!({ "meta": meta }),
        json!({ "conversations": null, "meta": meta }),
        json!({ "conversations": {}, "meta": meta }),
        json!({ "conversations": [{ "sid": "CH1" }], "meta": meta }),
        json!({ "conversations": [{ "conversation_sid": 1 }], "meta": meta }),
        json!({ "conversations": [], "meta": null }),
        json!({ "conversations": [], "meta": { "next_page_url": 1 } }),
        json!({ "users": [], "meta": meta }),
    ] {
        liar.tell([Reply::json(200, &document)]);
        assert_eq!(outcome(&conversations(&twilio).await), "not understood", "{document}");
    }
    for text in [Reply::html(200), Reply::Flood(0), Reply::Flood(1 << 20)] {
        liar.tell([text.clone()]);
        assert_eq!(outcome(&conversations(&twilio).await), "not understood", "{text:?}");
        assert_eq!(outcome(&twilio.user(&guest).await), "not understood", "{text:?}");
        assert_eq!(outcome(&twilio.default_user_role().await), "not understood", "{text:?}");
        assert_eq!(outcome(&twilio.bindings_of(&guest).await), "not understood", "{text:?}");
        assert_eq!(outcome(&twilio.roles().await), "not understood", "{text:?}");
    }

    assert_eq!(twilio.state().trouble, Some("not_understood"));
    let counted = metrics.render();
    for (endpoint, count) in
        [("user_conversations", 14), ("user", 3), ("bindings", 3), ("roles", 3)]
    {
        let series = format!(
            "vestibule_twilio_failures_total{{endpoint=\"{endpoint}\",cause=\"not_understood\"}} {count}\n"
        );
        assert!(counted.contains(&series), "{series}{counted}");
    }
    liar.tell([page(&[], None)]);
    conversations(&twilio).await.unwrap();
    assert_eq!(twilio.state().trouble, None);
}

#[tokio::test]
async fn another_users_devices_are_left_alone_whatever_the_filter_did() {
    let binding = |sid: &str, identity: Value| json!({ "sid": sid, "identity": identity });
    let bindings = [
        binding("BS1", "guest-1".into()),
        binding("BS2", "guest-11".into()),
        binding("BS3", "Guest-1".into()),
        binding("BS4", Value::Null),
    ];
    let document = json!({ "bindings": bindings, "meta": { "next_page_url": null } });
    let liar = Liar::with([Reply::json(200, &document)]).await;

    let found = client(&liar.url, PATIENCE).await.bindings_of(&identity("guest-1")).await.unwrap();

    assert_eq!(found, ["BS1"]);
}

/// A Twilio that says back to us what we said, in every way that it can say anything.
#[tokio::test]
async fn the_keys_secret_is_in_no_error_no_metric_and_no_log() {
    log::start();
    let basic = STANDARD.encode(format!("SK11111111111111111111111111111111:{SECRET}"));
    let echo = json!({ "code": 20003, "message": SECRET, "more_info": basic, "meta": SECRET });
    let liar = Liar::with([]).await;
    let (twilio, metrics) = measured_client(&liar.url, PATIENCE).await;
    let mut said = String::new();

    for reply in [
        Reply::json(401, &echo),
        Reply::json(200, &echo),
        Reply::json(503, &echo).with("retry-after", "20"),
        Reply::json(307, &echo).with("location", &format!("http://{SECRET}.example/{basic}")),
        page(&[], Some(&format!("http://{SECRET}.example/"))),
    ] {
        liar.tell([reply]);
        let error = conversations(&twilio).await.unwrap_err();
        writeln!(said, "{error} {error:?} {:?}", twilio.state()).unwrap();
    }
    said += &metrics.render();

    assert!(said.contains("20003") && said.contains("vestibule_twilio_call_duration_seconds"));
    for secret in [SECRET, &basic] {
        assert!(!said.contains(secret), "{said}");
        assert_eq!(log::lines_with(secret), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_user_that_is_there_but_has_no_list_is_not_taken_for_one_that_is_in_nothing() {
    let user =
        json!({ "sid": "US1", "role_sid": "RL1", "attributes": "{}", "friendly_name": null });
    let liar = Liar::with([Reply::refusal(404, 20404), Reply::json(200, &user)]).await;
    assert_eq!(outcome(&conversations(&client(&liar.url, PATIENCE).await).await), "not understood");

    let liar = Liar::with([Reply::refusal(404, 20404)]).await;
    assert_eq!(conversations(&client(&liar.url, PATIENCE).await).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_list_that_does_not_say_whether_it_goes_on_is_not_taken_for_all_of_it() {
    let page = json!({ "conversations": [], "meta": { "key": "conversations" } });
    let liar = Liar::with([Reply::json(200, &page)]).await;

    assert_eq!(outcome(&conversations(&client(&liar.url, PATIENCE).await).await), "not understood");
}

#[tokio::test]
async fn who_is_in_though_twilio_says_not_found_is_in() {
    let add = async |second: Reply| {
        let liar = Liar::with([Reply::refusal(404, 20404), second]).await;
        outcome(
            &client(&liar.url, PATIENCE)
                .await
                .add_participant("CH1", &identity("guest-1"), None, None)
                .await,
        )
    };

    assert_eq!(add(Reply::json(200, &json!({ "sid": "MB1" }))).await, "done");
    assert_eq!(add(Reply::refusal(404, 50432)).await, "no conversation");
}

#[tokio::test]
async fn a_refusal_that_the_look_up_turns_into_a_success_is_no_failure() {
    let add = async |second: Reply| {
        let liar = Liar::with([Reply::refusal(404, 20404), second]).await;
        let (twilio, metrics) = measured_client(&liar.url, PATIENCE).await;
        let _outcome = twilio.add_participant("CH1", &identity("guest-1"), None, None).await;
        let counted = metrics.render();
        let failure = |line: &&str| {
            line.starts_with("vestibule_twilio_failures_total{") && !line.ends_with(" 0")
        };
        counted.lines().filter(failure).map(str::to_owned).collect::<Vec<_>>()
    };

    assert_eq!(add(Reply::json(200, &json!({ "sid": "MB1" }))).await, [""; 0]);
    assert_eq!(
        add(Reply::refusal(404, 50432)).await,
        [r#"vestibule_twilio_failures_total{endpoint="add_participant",cause="refused"} 1"#]
    );
}

#[tokio::test]
async fn what_is_refused_to_us_is_told_apart_from_what_one_conversation_refuses() {
    for (status, code, is_ours) in [
        (401, 1, true),
        (400, 20003, true),
        (403, 20005, true),
        (403, 20403, true),
        (403, 70051, true),
        (403, 50000, false),
        (403, 50430, false),
        (400, 50300, false),
    ] {
        let liar = Liar::with([Reply::refusal(status, code)]).await;
        let twilio = client(&liar.url, PATIENCE).await;

        let added = twilio.add_participant("CH1", &identity("guest-1"), None, None).await;

        let error = added.unwrap_err();
        assert_eq!((error.refuses_us(), error.is_about_twilio()), (is_ours, is_ours), "{code}");
        assert_eq!(twilio.state().trouble, is_ours.then_some("refused"), "{code}");
    }
}

#[tokio::test]
async fn what_we_must_be_able_to_do_and_may_not_is_said_until_it_is_done() {
    let (liar, guest) = (Liar::with([]).await, identity("guest-1"));
    let twilio = client(&liar.url, PATIENCE).await;
    let meta = json!({ "next_page_url": null });
    let trouble = || twilio.state().trouble;

    // As for a key that may not, and for a service that is not there.
    for refusal in [Reply::refusal(403, 20001), Reply::refusal(404, 20404)] {
        liar.tell([refusal]);
        assert_eq!(outcome(&twilio.bindings_of(&guest).await), "refused");
        assert_eq!(trouble(), Some("refused"));
        liar.tell([page(&[], None)]);
        conversations(&twilio).await.unwrap();
        assert_eq!(trouble(), Some("refused"), "another success hides it");
        liar.tell([Reply::Flood(1)]);
        assert_eq!(outcome(&conversations(&twilio).await), "not understood");
        assert_eq!(trouble(), Some("not_understood"), "what happens now is said first");
        liar.tell([page(&[], None)]);
        conversations(&twilio).await.unwrap();
        assert_eq!(trouble(), Some("refused"));
        liar.tell([Reply::json(200, &json!({ "bindings": [], "meta": meta }))]);
        twilio.bindings_of(&guest).await.unwrap();
        assert_eq!(trouble(), None);
    }
    liar.tell([Reply::refusal(403, 20001)]);
    assert_eq!(outcome(&twilio.roles().await), "refused");
    assert_eq!(outcome(&twilio.default_user_role().await), "refused");
    assert_eq!(trouble(), Some("refused"));
}
