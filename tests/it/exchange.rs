//! `POST /oauth2/token`: a configured client exchanges a provider's token (RFC 8693) for the token that its subject would get.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::log;
use crate::support::policies::{Stage, on_record, says, store};
use crate::support::service::TestService;
use crate::support::visitor::Visitor;

const AUDIENCE: &str = "https://backend.example.com";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const SECRET: &str = "canary client+secret:0001%é";

const CLIENTS: &str = r#"
[[client]]
id = "back:end"
secret = "canary client+secret:0001%é"
audiences = ["https://backend.example.com"]

[[client]]
id = "other"
secret = "canary-client-secret-0002"
audiences = ["https://other.example.com"]
"#;

async fn service(stage: &Stage, policy: &str) -> TestService {
    let keys = "bearer_audiences = [\"https://chat.example.com\"]";
    stage.service_with(keys, &format!("{policy}\n{CLIENTS}")).await
}

/// An exchange as a client sends it, but for who it is.
fn form(token: &str) -> Vec<(&str, &str)> {
    vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        // Unknown here, and left out (RFC 6749 §3.2).
        ("unknown", "x"),
        ("actor_token", ""),
    ]
}

fn ask(service: &TestService, form: &[(&str, &str)]) -> RequestBuilder {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("{}/oauth2/token", service.url))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body)
}

/// Id and secret as RFC 6749 §2.3.1 has them in a header.
fn basic(id: &str, secret: &str) -> String {
    let encoded =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

async fn as_client(service: &TestService, form: &[(&str, &str)]) -> Response {
    ask(service, form).header(AUTHORIZATION, basic("back:end", SECRET)).send().await.unwrap()
}

async fn is_refused(response: Response, status: u16, error: &str, what: &str) -> Value {
    assert_eq!(response.status(), status, "{what}");
    assert_eq!(response.headers()["cache-control"], "no-store", "{what}");
    assert_eq!(response.headers()["content-type"], "application/json", "{what}");
    let challenged = response.headers().contains_key("www-authenticate");
    assert_eq!(challenged, error == "invalid_client", "{what}");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"], error, "{what}: {body}");
    assert!(!body["error_description"].as_str().unwrap().is_empty());
    body
}

#[tokio::test]
async fn a_client_gets_the_token_that_the_subject_would_get() {
    let stage = Stage::new().await;
    let service = service(&stage, "allow = \"true\"").await;
    let token = stage.provider.access_token("alice", AUDIENCE);

    for named in [ACCESS_TOKEN, JWT, "urn:ietf:params:oauth:token-type:id_token"] {
        let mut form = form(&token);
        form[2].1 = named;
        form.push(("requested_token_type", JWT));
        let response = as_client(&service, &form).await;

        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("set-cookie"));
        let reply: Value = response.json().await.unwrap();
        let identity = stage.default_identity("alice");
        let jwt = reply["access_token"].as_str().unwrap();
        let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(jwt).unwrap().claims;
        assert_eq!(claims["grants"]["identity"], identity.as_str());
        let line = log::lines_with(claims["jti"].as_str().unwrap()).concat();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            [&line["event"], &line["path"], &line["client"], &line["identity"]],
            ["mint", "exchange", "back:end", identity.as_str()]
        );
        assert_eq!(
            reply,
            json!({
                "access_token": jwt, "issued_token_type": JWT, "token_type": "N_A",
                "expires_in": 3600, "identity": identity,
            })
        );
    }
    let in_form = [form(&token), vec![("client_id", "back:end"), ("client_secret", SECRET)]];
    let response = ask(&service, &in_form.concat()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn each_client_brings_tokens_for_its_own_audiences_and_a_bearer_for_others() {
    let stage = Stage::new().await;
    let service = service(&stage, "allow = \"true\"").await;
    let ours = stage.provider.access_token("alice", AUDIENCE);
    let of_other = stage.provider.access_token("alice", "https://other.example.com");
    let of_bearers = stage.provider.access_token("alice", "https://chat.example.com");

    for (token, what) in [(&of_other, "another client's"), (&of_bearers, "a bearer's")] {
        let response = as_client(&service, &form(token)).await;
        let body = is_refused(response, 400, "invalid_request", what).await;
        assert_eq!(body["code"], "invalid_token");
    }
    let mut visitor = Visitor::of(&service);
    let url = format!("{}/token", service.url);
    let bearer = format!("Bearer {ours}");
    let answer = visitor.send(reqwest::Method::POST, &url, &[("authorization", &bearer)]).await;
    assert_eq!(answer.code(), "invalid_token", "what is listed for a client only");
    assert_eq!(as_client(&service, &form(&ours)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn whoever_is_no_client_is_told_so_and_nothing_else() {
    let stage = Stage::new().await;
    let service = service(&stage, "allow = \"true\"").await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    let plain = form(&token);
    let with = |more: &[(&'static str, &'static str)]| {
        ask(&service, &[plain.clone(), more.to_vec()].concat())
    };
    let unencoded = format!("Basic {}", STANDARD.encode(format!("back:end:{SECRET}")));

    for (request, error) in [
        (with(&[]), "invalid_client"),
        (with(&[("client_id", "back:end")]), "invalid_client"),
        (with(&[("client_secret", SECRET)]), "invalid_client"),
        (with(&[("client_id", "back:end"), ("client_secret", "wrong")]), "invalid_client"),
        (with(&[("client_id", "other"), ("client_secret", SECRET)]), "invalid_client"),
        (with(&[("client_id", "nobody"), ("client_secret", SECRET)]), "invalid_client"),
        (with(&[]).header(AUTHORIZATION, basic("back:end", "wrong")), "invalid_client"),
        (with(&[]).header(AUTHORIZATION, basic("back:end", "")), "invalid_client"),
        (with(&[]).header(AUTHORIZATION, unencoded), "invalid_client"),
        (with(&[]).header(AUTHORIZATION, format!("Bearer {token}")), "invalid_client"),
        (with(&[]).header(AUTHORIZATION, "Basic %"), "invalid_client"),
        (with(&[]).header(AUTHORIZATION, "Basi"), "invalid_client"),
        (
            with(&[("client_secret", SECRET)]).header(AUTHORIZATION, basic("back:end", SECRET)),
            "invalid_request",
        ),
        (
            with(&[("client_id", "other")]).header(AUTHORIZATION, basic("back:end", SECRET)),
            "invalid_request",
        ),
    ] {
        let what = format!("{request:?}");
        let status = if error == "invalid_client" { 401 } else { 400 };
        is_refused(request.send().await.unwrap(), status, error, &what).await;
    }
    assert_eq!(log::lines_with(SECRET), Vec::<String>::new());
}

#[tokio::test]
async fn a_faulty_request_is_refused_as_the_specification_has_it() {
    let stage = Stage::new().await;
    let service = service(&stage, "allow = \"true\"").await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    let but = |name: &str, value: Option<&'static str>| -> Vec<(String, String)> {
        let mut form: Vec<(String, String)> =
            form(&token).into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        form.retain(|(known, _)| known != name);
        form.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        form
    };

    for (faulty, error) in [
        (but("grant_type", None), "invalid_request"),
        (but("grant_type", Some("authorization_code")), "unsupported_grant_type"),
        (but("subject_token", None), "invalid_request"),
        (but("subject_token", Some("opaque")), "invalid_request"),
        (but("subject_token_type", None), "invalid_request"),
        (
            but("subject_token_type", Some("urn:ietf:params:oauth:token-type:saml2")),
            "invalid_request",
        ),
        (but("requested_token_type", Some(ACCESS_TOKEN)), "invalid_request"),
        (but("actor_token", Some("x")), "invalid_request"),
        (but("actor_token_type", Some(JWT)), "invalid_request"),
        (but("audience", Some("https://other.example.com")), "invalid_target"),
        (but("resource", Some("https://other.example.com")), "invalid_target"),
        ([but("", None), but("", None)].concat(), "invalid_request"),
        (
            but("subject_token", Some(Box::leak("x".repeat(200_000).into_boxed_str()))),
            "invalid_request",
        ),
    ] {
        let faulty: Vec<_> = faulty.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let what = format!("{:?}", faulty.iter().map(|(n, v)| (n, v.len())).collect::<Vec<_>>());
        is_refused(as_client(&service, &faulty).await, 400, error, &what).await;
    }
    let mut no_form =
        ask(&service, &[]).header(AUTHORIZATION, basic("back:end", SECRET)).build().unwrap();
    no_form.headers_mut().insert(CONTENT_TYPE, "application/json".parse().unwrap());
    let response = Client::builder().no_proxy().build().unwrap().execute(no_form).await.unwrap();
    is_refused(response, 400, "invalid_request", "no form").await;
}

#[tokio::test]
async fn a_denial_is_an_invalid_request_that_can_be_explained() {
    let stage = Stage::new().await;
    let policy =
        "allow = [{ rule = \"claims.?staff.orValue(false)\", message = \"Only staff may chat.\" }]";
    let service = service(&stage, policy).await;
    let token = stage.provider.access_token("alice", AUDIENCE);

    let body =
        is_refused(as_client(&service, &form(&token)).await, 400, "invalid_request", "").await;

    assert_eq!(body["error_description"], "Only staff may chat.");
    assert_eq!(body["code"], "access_denied");
    let record = on_record(&store(&stage.redis).await, body["reference"].as_str().unwrap()).await;
    assert_eq!(record["path"], "exchange");
    says(&stage.provider, vec![("staff", Some(json!(true)))]);
    let token = stage.provider.access_token("alice", AUDIENCE);
    assert_eq!(as_client(&service, &form(&token)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_clients_there_is_no_such_route() {
    let stage = Stage::new().await;
    let service = stage.service("allow = \"true\"").await;

    let answer = Visitor::of(&service).post(&format!("{}/oauth2/token", service.url)).await;

    assert_eq!((answer.status, answer.code()), (StatusCode::NOT_FOUND, "not_found".into()));
}

#[tokio::test]
async fn a_secret_is_taken_to_the_letter() {
    let stage = Stage::new().await;
    let secret = "c2VjcmV0/of+a=backend&more==";
    let clients =
        format!("[[client]]\nid = \"b&=e\"\nsecret = \"{secret}\"\naudiences = [\"{AUDIENCE}\"]");
    let service = stage.service_with("", &format!("allow = \"true\"\n{clients}")).await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    let form = form(&token);
    let status = async |authorization: String| {
        let request = ask(&service, &form).header(AUTHORIZATION, authorization);
        request.send().await.unwrap().status().as_u16()
    };

    assert_eq!(status(basic("b&=e", secret)).await, 200);
    for wrong in [
        format!("{secret}=x"),
        format!("{secret}&x"),
        format!("&{secret}"),
        secret.replace('+', " "),
    ] {
        assert_eq!(status(basic("b&=e", &wrong)).await, 401, "{wrong}");
    }
    let raw =
        |id: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    assert_eq!(status(raw("b%26%3De", &secret.replace('&', "%26").replace('+', "%2B"))).await, 200);
    assert_eq!(status(raw("b%26%3De", secret)).await, 401, "a bare & is not of this encoding");
}

#[tokio::test]
async fn a_form_that_does_not_come_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::new().await;
    let service = service(&stage, "allow = \"true\"").await;
    let address = service.url.strip_prefix("http://").unwrap();
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant_type="
    );

    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = connection.read_exact(&mut answer);
    tokio::time::timeout(std::time::Duration::from_secs(30), read).await.unwrap().unwrap();

    assert_eq!(answer, b"HTTP/1.1 400");
}

#[tokio::test]
async fn with_our_cookie_the_rule_of_origins_holds_here_too() {
    let stage = Stage::new().await;
    let service = service(&stage, "allow = \"true\"").await;
    let token = stage.provider.access_token("alice", AUDIENCE);
    let ask = || {
        ask(&service, &form(&token))
            .header(AUTHORIZATION, basic("back:end", SECRET))
            .header("cookie", "vestibule=x")
    };

    let refused = ask().header("origin", "https://evil.example.com").send().await.unwrap();
    is_refused(refused, 403, "origin_not_allowed", "another origin").await;
    is_refused(ask().send().await.unwrap(), 403, "origin_not_allowed", "no origin").await;
}
