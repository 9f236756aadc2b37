use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use url::form_urlencoded;

use super::*;

const ISSUER: &str = "http://127.0.0.1:8080/provider";
const CALLBACK: &str = "http://127.0.0.1:8081/callback/demo";
const SIGNED_OUT: &str = "http://127.0.0.1:8081/logout/done";
const SECRET: &str = "the-secret-of-this-test";
const VERIFIER: &str = "a-verifier-of-this-test-of-43-characters-ok";
const START: Duration = Duration::from_hours(498_756);

fn provider() -> Provider {
    let redirect_uri = Url::parse(CALLBACK).unwrap();
    let post_logout_redirect_uri = Url::parse(SIGNED_OUT).unwrap();
    let client = Client {
        id: "vestibule".to_owned(),
        secret: SECRET.into(),
        redirect_uri,
        post_logout_redirect_uri,
    };
    Provider::new(ISSUER.to_owned(), client).unwrap()
}

fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

fn parameters(pairs: &[(&str, &str)]) -> Parameters {
    Parameters::parse(&form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

/// A good authorization request, except that `changed` stands in place of its own parameters of those names.
fn asking(changed: &[(&str, &str)]) -> Parameters {
    let challenge = challenge(VERIFIER);
    let good = [
        ("response_type", "code"),
        ("client_id", "vestibule"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile email"),
        ("state", "s-1"),
        ("nonce", "n-1"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let kept = good.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    parameters(&kept.chain(changed.iter().copied()).collect::<Vec<_>>())
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

fn redeeming(code: &str) -> Parameters {
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    parameters(&pairs)
}

fn query(location: &Url) -> HashMap<String, String> {
    location.query_pairs().into_owned().collect()
}

fn code_for(provider: &Provider, login: &str) -> String {
    let request = provider.authorize(&asking(&[])).unwrap();
    let location = provider.sign_in(request, login, START).unwrap();
    query(&location).remove("code").unwrap()
}

/// The `error` that a refused authorization request takes to the client.
fn refusal(provider: &Provider, changed: &[(&str, &str)]) -> HashMap<String, String> {
    match provider.authorize(&asking(changed)) {
        Err(AuthorizeError::Refused { location }) => {
            assert!(location.as_str().starts_with(CALLBACK), "{location}");
            query(&location)
        }
        other => panic!("{changed:?} gives {other:?}"),
    }
}

#[test]
fn a_login_gives_a_signed_token_and_claims_about_the_person() {
    let provider = provider();
    let request = provider.authorize(&asking(&[])).unwrap();

    let location = provider.sign_in(request, "alice", START).unwrap();
    let answer = query(&location);
    let body = provider
        .redeem(Some(&basic("vestibule", SECRET)), &redeeming(&answer["code"]), START)
        .unwrap();

    assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("s-1", ISSUER));
    let access_token = body["access_token"].as_str().unwrap();
    let claims = verified(&provider, body["id_token"].as_str().unwrap());
    let at_hash = URL_SAFE_NO_PAD
        .encode(&digest::digest(&digest::SHA256, access_token.as_bytes()).as_ref()[..16]);
    let expected = json!({
        "iss": ISSUER, "sub": "demo-1", "aud": "vestibule", "nonce": "n-1", "at_hash": at_hash,
        "iat": START.as_secs(), "auth_time": START.as_secs(), "exp": START.as_secs() + 300,
    });
    assert_eq!(claims, expected);
    let told = provider.userinfo(&format!("Bearer {access_token}"), START).unwrap();
    let expected = json!({
        "sub": "demo-1", "name": "Alice Archer", "preferred_username": "alice", "email": "alice@example.com",
        "email_verified": true, "groups": ["staff", "support"],
    });
    assert_eq!(told, expected);
}

/// The claims of a token whose signature the published key set proves.
fn verified(provider: &Provider, id_token: &str) -> Value {
    let keys: JwkSet = serde_json::from_value(provider.key.public.clone()).unwrap();
    let id = jsonwebtoken::decode_header(id_token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&id).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&["vestibule"]);
    // The test's clock stands still.
    rules.validate_exp = false;
    jsonwebtoken::decode(id_token, &key, &rules).unwrap().claims
}

#[test]
fn only_the_registered_client_and_callback_are_ever_answered() {
    let provider = provider();
    let wrong = [
        ("client_id", "another"),
        ("client_id", ""),
        ("redirect_uri", "http://127.0.0.1:8081/callback/demo/"),
        ("redirect_uri", "http://127.0.0.1:8081/callback/demo?x"),
        ("redirect_uri", "http://localhost:8081/callback/demo"),
        ("redirect_uri", "HTTP://127.0.0.1:8081/callback/demo"),
        ("redirect_uri", ""),
    ];

    for (name, value) in wrong {
        let error = provider.authorize(&asking(&[(name, value)])).unwrap_err();
        assert_eq!(error, AuthorizeError::Untrusted(name), "{value}");
    }
    let twice = asking(&[("redirect_uri", CALLBACK), ("redirect_uri", CALLBACK)]);
    assert_eq!(provider.authorize(&twice).unwrap_err(), AuthorizeError::Untrusted("redirect_uri"));
}

#[test]
fn a_faulty_request_is_refused_at_the_callback() {
    let provider = provider();
    let challenge = challenge(VERIFIER);
    let faults: [(&[(&str, &str)], &str); 12] = [
        (&[("response_type", "token")], "unsupported_response_type"),
        (&[("response_type", "")], "invalid_request"),
        (&[("scope", "profile openid2")], "invalid_scope"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge_method", "")], "invalid_request"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge", "c2hvcnQ")], "invalid_request"),
        (&[("nonce", "1"), ("nonce", "2")], "invalid_request"),
        (&[("code_challenge", &challenge), ("code_challenge", &challenge)], "invalid_request"),
        (&[("request", "eyJ")], "request_not_supported"),
        (&[("request_uri", "https://x")], "request_uri_not_supported"),
        (&[("prompt", "none")], "login_required"),
    ];

    for (changed, error) in faults {
        let answer = refusal(&provider, changed);
        assert_eq!(answer["error"], error, "{changed:?}");
        assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("s-1", ISSUER));
    }
}

#[test]
fn mallory_is_sent_back_without_a_code() {
    let provider = provider();
    let request = provider.authorize(&asking(&[])).unwrap();

    let answer = query(&provider.sign_in(request, "mallory", START).unwrap());

    assert_eq!(answer["error"], "access_denied");
    assert_eq!((answer["state"].as_str(), answer["iss"].as_str()), ("s-1", ISSUER));
    assert!(!answer.contains_key("code"));
}

#[test]
fn nobody_else_has_an_account() {
    let provider = provider();

    for login in ["", "Alice", "alice ", "demo-1", "root"] {
        let request = provider.authorize(&asking(&[])).unwrap();
        assert_eq!(provider.sign_in(request, login, START), None, "{login}");
    }
}

#[test]
fn another_verifier_does_not_redeem_and_burns_the_code() {
    let provider = provider();
    let code = code_for(&provider, "bob");
    let right = basic("vestibule", SECRET);
    let mut wrong = redeeming(&code);
    wrong.0.retain(|(name, _)| name != "code_verifier");
    // What a client that sends the challenge in plain would send.
    wrong.0.push(("code_verifier".to_owned(), challenge(VERIFIER)));

    assert_eq!(
        provider.redeem(Some(&right), &wrong, START),
        Err(TokenError::InvalidGrant("code_verifier"))
    );
    let again = provider.redeem(Some(&right), &redeeming(&code), START);
    assert_eq!(again, Err(TokenError::InvalidGrant("code")));
}

#[test]
fn a_code_works_once_and_its_reuse_ends_what_came_of_it() {
    let provider = provider();
    let right = basic("vestibule", SECRET);
    let (code, other) = (code_for(&provider, "alice"), code_for(&provider, "bob"));
    let bearer = |code: &str| {
        let body = provider.redeem(Some(&right), &redeeming(code), START).unwrap();
        format!("Bearer {}", body["access_token"].as_str().unwrap())
    };
    let (alices, bobs) = (bearer(&code), bearer(&other));
    assert!(provider.userinfo(&alices, START).is_some());

    let again = provider.redeem(Some(&right), &redeeming(&code), START);

    assert_eq!(again, Err(TokenError::InvalidGrant("code")));
    assert_eq!(provider.userinfo(&alices, START), None);
    assert!(provider.userinfo(&bobs, START).is_some());
}

#[test]
fn a_code_is_good_for_a_minute_and_an_access_token_for_five() {
    let provider = provider();
    let right = basic("vestibule", SECRET);
    let (early, late) = (code_for(&provider, "alice"), code_for(&provider, "alice"));
    let before = |end: Duration| end.checked_sub(Duration::from_millis(1)).unwrap();
    let last = before(START + CODE_LIFE);

    let body = provider.redeem(Some(&right), &redeeming(&early), last).unwrap();
    let too_late = provider.redeem(Some(&right), &redeeming(&late), START + CODE_LIFE);

    assert_eq!(too_late, Err(TokenError::InvalidGrant("code")));
    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    let ends = last + TOKEN_LIFE;
    assert!(provider.userinfo(&bearer, before(ends)).is_some());
    assert_eq!(provider.userinfo(&bearer, ends), None);
}

#[test]
fn a_client_without_the_right_secret_is_refused_and_the_code_stays() {
    let provider = provider();
    let code = code_for(&provider, "alice");
    let right = basic("vestibule", SECRET);
    let wrong = [
        basic("vestibule", "another-secret-of-this-test"),
        basic("another", SECRET),
        basic("vestibule", ""),
        right.replace("Basic", "Bearer"),
        SECRET.to_owned(),
    ];

    assert_eq!(provider.redeem(None, &redeeming(&code), START), Err(TokenError::InvalidClient));
    for authorization in wrong {
        let answer = provider.redeem(Some(&authorization), &redeeming(&code), START);
        assert_eq!(answer, Err(TokenError::InvalidClient), "{authorization}");
    }
    assert!(provider.redeem(Some(&right), &redeeming(&code), START).is_ok());
}

#[test]
fn a_token_request_names_the_callback_that_the_code_went_to() {
    let provider = provider();
    let code = code_for(&provider, "alice");
    let mut form = redeeming(&code);
    form.0.retain(|(name, _)| name != "redirect_uri");
    form.0.push(("redirect_uri".to_owned(), format!("{CALLBACK}/")));

    let answer = provider.redeem(Some(&basic("vestibule", SECRET)), &form, START);

    assert_eq!(answer, Err(TokenError::InvalidGrant("redirect_uri")));
}

#[test]
fn a_token_request_without_its_parameters_is_refused_by_name() {
    let provider = provider();
    let right = basic("vestibule", SECRET);

    for missing in ["grant_type", "code", "redirect_uri", "code_verifier"] {
        let mut form = redeeming("never-given");
        form.0.retain(|(name, _)| name != missing);
        let answer = provider.redeem(Some(&right), &form, START);
        assert_eq!(answer, Err(TokenError::InvalidRequest(missing)));
    }
    let refresh = parameters(&[("grant_type", "refresh_token")]);
    let answer = provider.redeem(Some(&right), &refresh, START);
    assert_eq!(answer, Err(TokenError::InvalidRequest("refresh_token")));
    let other = parameters(&[("grant_type", "password")]);
    let answer = provider.redeem(Some(&right), &other, START);
    assert_eq!(answer, Err(TokenError::UnsupportedGrantType));
}

#[test]
fn userinfo_tells_what_the_scope_allows_to_bearers_only() {
    let provider = provider();
    let request = provider.authorize(&asking(&[("scope", "openid email")])).unwrap();
    let code = query(&provider.sign_in(request, "bob", START).unwrap()).remove("code").unwrap();
    let body =
        provider.redeem(Some(&basic("vestibule", SECRET)), &redeeming(&code), START).unwrap();
    let token = body["access_token"].as_str().unwrap();

    let told = provider.userinfo(&format!("bearer {token}"), START).unwrap();

    assert_eq!(
        told,
        json!({ "sub": "demo-2", "email": "bob@example.com", "email_verified": true })
    );
    for wrong in
        [token.to_owned(), format!("Basic {token}"), "Bearer x".to_owned(), "Bearer ".to_owned()]
    {
        assert_eq!(provider.userinfo(&wrong, START), None, "{wrong}");
    }
}

/// Redeems a code of alice's; the refresh token.
fn refresh_token(provider: &Provider) -> String {
    let right = basic("vestibule", SECRET);
    let code = code_for(provider, "alice");
    let body = provider.redeem(Some(&right), &redeeming(&code), START).unwrap();
    body["refresh_token"].as_str().unwrap().to_owned()
}

fn refresh(provider: &Provider, token: &str, now: Duration) -> Result<Value, TokenError> {
    let form = parameters(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
    provider.redeem(Some(&basic("vestibule", SECRET)), &form, now)
}

#[test]
fn a_refresh_token_gives_another_and_tokens_of_the_same_login() {
    let provider = provider();
    let later = START + Duration::from_hours(1);

    let body = refresh(&provider, &refresh_token(&provider), later).unwrap();

    let claims = verified(&provider, body["id_token"].as_str().unwrap());
    assert_eq!((claims["sub"].as_str(), claims["nonce"].as_str()), (Some("demo-1"), None));
    assert_eq!(
        (claims["iat"].as_u64(), claims["auth_time"].as_u64()),
        (Some(later.as_secs()), Some(START.as_secs()))
    );
    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    assert_eq!(provider.userinfo(&bearer, later).unwrap()["name"], "Alice Archer");
    assert!(refresh(&provider, body["refresh_token"].as_str().unwrap(), later).is_ok());
}

#[test]
fn a_refresh_token_that_is_used_twice_ends_what_came_of_its_login() {
    let provider = provider();
    let (first, other) = (refresh_token(&provider), refresh_token(&provider));
    let body = refresh(&provider, &first, START).unwrap();
    let invalid = Err(TokenError::InvalidGrant("refresh_token"));

    assert_eq!(refresh(&provider, &first, START), invalid);
    assert_eq!(refresh(&provider, body["refresh_token"].as_str().unwrap(), START), invalid);
    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    assert_eq!(provider.userinfo(&bearer, START), None);
    assert_eq!(refresh(&provider, &other, START + Duration::from_hours(24)), invalid);
    assert!(refresh(&provider, &other, START).is_ok());
}

#[test]
fn a_revoked_token_ends_what_came_of_its_login_and_only_the_client_revokes() {
    let provider = provider();
    let (token, other) = (refresh_token(&provider), refresh_token(&provider));
    let form = parameters(&[("token", &token)]);
    assert_eq!(provider.revoke(None, &form), Err(TokenError::InvalidClient));
    let right = basic("vestibule", SECRET);

    assert_eq!(provider.revoke(Some(&right), &form), Ok(()));
    assert_eq!(provider.revoke(Some(&right), &form), Ok(()));

    assert!(refresh(&provider, &token, START).is_err());
    let body = refresh(&provider, &other, START).unwrap();
    let access = parameters(&[("token", body["access_token"].as_str().unwrap())]);
    assert_eq!(provider.revoke(Some(&right), &access), Ok(()));
    assert!(refresh(&provider, body["refresh_token"].as_str().unwrap(), START).is_err());
}

#[test]
fn who_signs_out_goes_where_the_client_has_registered_and_nowhere_else() {
    let provider = provider();
    let ends = |pairs: &[(&str, &str)]| {
        let back = provider.end_session(&parameters(pairs));
        back.map(|back| back.map(String::from))
    };
    let back = ("post_logout_redirect_uri", SIGNED_OUT);

    assert_eq!(ends(&[]), Ok(None));
    assert_eq!(ends(&[back]), Ok(Some(SIGNED_OUT.to_owned())));
    let all = [("client_id", "vestibule"), back, ("state", "a&b"), ("id_token_hint", "eyJ")];
    assert_eq!(ends(&all), Ok(Some(format!("{SIGNED_OUT}?state=a%26b"))));
    for other in
        ["http://127.0.0.1:8081/logout/done/", "https://evil.example", "javascript:alert(1)"]
    {
        let name = "post_logout_redirect_uri";
        assert_eq!(ends(&[(name, other)]), Err(name), "{other}");
    }
    assert_eq!(ends(&[back, back]), Err("post_logout_redirect_uri"));
    assert_eq!(ends(&[("client_id", "another"), back]), Err("client_id"));
}
