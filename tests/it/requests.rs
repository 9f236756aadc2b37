//! Whatever a request looks like, the answer is clear and nothing breaks.

use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::setup::Setup;
use crate::support::visitor::Visitor;

#[tokio::test]
async fn a_post_with_our_cookie_needs_an_allowed_origin() {
    let setup = Setup::with("", "").await;
    let mut alice = setup.visitor();
    alice.sign_in(&setup.service).await;

    for path in ["/token", "/logout"] {
        let own = setup.service.url.clone();
        let bad = [
            "null",
            "https://evil.example",
            &format!("{own}.evil.example"),
            &format!("{own}/"),
            "",
        ];
        for origin in bad {
            let mut page = Visitor { origin: Some(origin.to_owned()), ..alice.clone() };
            let answer = page.post(&setup.url(path)).await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::FORBIDDEN, "origin_not_allowed".into())
            );
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
        let mut program = Visitor { origin: None, ..alice.clone() };
        assert_eq!(program.post(&setup.url(path)).await.code(), "origin_not_allowed");
    }
    assert_eq!(alice.post(&setup.url("/token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_request_without_our_cookies_is_never_refused_by_origin() {
    let setup = Setup::new().await;
    let mut stranger = Visitor { origin: Some("https://evil.example".into()), ..setup.visitor() };

    assert_eq!(stranger.post(&setup.url("/token")).await.code(), "login_required");
    assert_eq!(stranger.post(&setup.url("/logout")).await.code(), "login_required");
}

#[tokio::test]
async fn browsers_are_told_which_origins_may_call() {
    let setup = Setup::new().await;
    let mut page = setup.visitor();
    let asks = |origin: &str| {
        vec![
            ("origin".to_owned(), origin.to_owned()),
            ("access-control-request-method".to_owned(), "POST".to_owned()),
            ("access-control-request-headers".to_owned(), "content-type".to_owned()),
        ]
    };
    page.origin = None;

    let own = asks(&setup.service.url);
    let own: Vec<_> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let allowed = page.send(Method::OPTIONS, &setup.url("/token"), &own).await;
    let evil = asks("https://evil.example");
    let evil: Vec<_> = evil.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let refused = page.send(Method::OPTIONS, &setup.url("/token"), &evil).await;

    assert_eq!(allowed.status, StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers["access-control-allow-origin"], setup.service.url.as_str());
    assert_eq!(allowed.headers["access-control-allow-credentials"], "true");
    assert_eq!(allowed.headers["access-control-allow-methods"], "POST");
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
    assert!(refused.headers["vary"].to_str().unwrap().contains("Origin"));
}

#[tokio::test]
async fn return_to_leads_to_us_or_an_allowed_app_and_nowhere_else() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();

    let away = alice.get(&setup.url("/login/fake?return_to=/deep%3Fa%3Db")).await.location();
    let callback = alice.get(&away).await.location();
    assert_eq!(alice.get(&callback).await.location(), setup.url("/deep?a=b"));

    for evil in [
        "//evil.example",
        "https://evil.example/",
        "/%5Cevil.example",
        "javascript:alert(1)",
        "https:evil.example",
    ] {
        for path in ["/login", "/login/fake"] {
            let answer = alice.get(&setup.url(&format!("{path}?return_to={evil}"))).await;
            assert_eq!(answer.code(), "invalid_request", "{path} {evil}");
            assert!(!answer.body.contains("evil"));
        }
    }
    let doubled = alice.get(&setup.url("/login/fake?return_to=/a&return_to=/b")).await;
    assert_eq!(doubled.code(), "invalid_request");
}

#[tokio::test]
async fn nothing_is_built_from_the_request_s_own_headers() {
    let setup = Setup::new().await;
    let mut alice = setup.visitor();
    let headers = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example"),
    ];

    let away = alice.send(Method::GET, &setup.url("/login/fake"), &headers).await;

    assert!(!away.location().contains("evil.example"), "{away:?}");
    let callback = url::form_urlencoded::byte_serialize(setup.url("/callback/fake").as_bytes())
        .collect::<String>();
    assert!(away.location().contains(&format!("redirect_uri={callback}")), "{away:?}");
}

#[tokio::test]
async fn unknown_paths_methods_and_providers_are_problems_too() {
    let setup = Setup::new().await;
    let mut anybody = setup.visitor();

    for path in [
        "/nothing",
        "/login/",
        "/login/nobody",
        "/login/UPPER",
        "/login/%ff",
        "/callback/nobody?state=x&code=y",
        "//",
    ] {
        let answer = anybody.get(&setup.url(path)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::NOT_FOUND, "not_found".into()),
            "{path}"
        );
    }
    for (method, path, allow) in [
        (Method::GET, "/token", "POST"),
        (Method::DELETE, "/session", "GET,HEAD"),
        (Method::PUT, "/", "GET,HEAD"),
    ] {
        let answer = anybody.send(method, &setup.url(path), &[]).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed".into())
        );
        assert_eq!(answer.headers["allow"], allow, "{path}");
    }
}

#[tokio::test]
async fn a_person_reads_a_page_where_a_program_reads_a_problem() {
    let setup = Setup::new().await;
    let mut person = Visitor { accept: "text/html,*/*;q=0.8", ..setup.visitor() };

    let page = person
        .get(
            &setup.url("/callback/fake?state=x&error=%3Cscript%3E&error_description=%22onerror%3D"),
        )
        .await;

    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(!page.body.contains("script") && !page.body.contains("onerror"), "{}", page.body);
    assert!(page.body.contains("invalid_request"), "{}", page.body);
}

#[tokio::test]
async fn heads_that_are_no_http_or_too_big_are_answered_and_forgotten() {
    let setup = Setup::new().await;
    let address = setup.service.url.trim_start_matches("http://").to_owned();
    let host = format!("Host: {address}\r\n");
    let big =
        format!("GET /session HTTP/1.1\r\n{host}Cookie: vestibule={}\r\n\r\n", "A".repeat(65_536));
    let cases = [
        ("GET /session HTTP/1.1\r\n\r\n".to_owned(), "400"),
        (format!("GET /session HTTP/1.1\r\n{host}{host}\r\n"), "400"),
        ("GET /session HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), "400"),
        ("GET /session HTTP/1.1\r\nHost: \u{e9}\r\n\r\n".to_owned(), "400"),
        ("RUBBISH\r\n\r\n".to_owned(), "400"),
        (big, "431"),
        (format!("GET /session HTTP/1.1\r\n{host}\r\n"), "401"),
        (format!("GET http://evil.example/session HTTP/1.1\r\n{host}\r\n"), "401"),
        ("GET /session HTTP/1.0\r\n\r\n".to_owned(), "401"),
    ];

    for (request, status) in cases {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.contains(status), "{request:.60} → {first}");
    }
    let not_utf8 = [
        b"GET /session HTTP/1.1\r\n".as_slice(),
        host.as_bytes(),
        b"Cookie: x=\xff; vestibule=\xfe\xff\r\n\r\n",
    ]
    .concat();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(&not_utf8).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer[..length]).contains("session_expired"));
}

#[tokio::test]
async fn no_method_shows_anything_before_somebody_is_signed_in() {
    let setup = Setup::new().await;
    let mut stranger = setup.visitor();

    for method in [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
    ] {
        for path in ["/session", "/sessions", "/sessions/x", "/token"] {
            let answer = stranger.send(method.clone(), &setup.url(path), &[]).await;
            assert!(!answer.status.is_success(), "{method} {path}: {answer:?}");
            assert!(!answer.body.contains("identity"), "{method} {path}: {answer:?}");
        }
    }
}
