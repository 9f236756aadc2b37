//! A logout token (OpenID Connect Back-Channel Logout §2.6): what it must be before it ends anything, and that nothing is asked of
//! the provider for one that is not.

use secrecy::SecretString;
use serde_json::{Value, json};
use vestibule::inside::oidc::{Logout, OidcError};

use crate::lies::claim;
use crate::renewals::{Meeting, check_of, now};
use crate::support::fake_provider::{
    FakeProvider, LOGOUT_EVENT, Signer, TENANTS, Twist, public_bytes,
};

async fn verify(meeting: &Meeting, token: String) -> Result<Logout, OidcError> {
    let undated = meeting.provider.verify_logout_token(&SecretString::from(token)).await?;
    undated.dated(now().now())
}

async fn refusal(meeting: &Meeting, twists: &[Twist]) -> &'static str {
    let token = meeting.fake.logout_token(Some("alice"), Some("s"), twists);
    check_of(&verify(meeting, token).await.unwrap_err())
}

fn in_seconds(seconds: i64) -> Value {
    now().now().as_seconds().checked_add_signed(seconds).unwrap().into()
}

#[tokio::test]
async fn a_good_one_names_a_person_a_session_or_both() {
    let meeting = Meeting::new().await;
    for (sub, sid) in [(Some("alice"), Some("s")), (Some("alice"), None), (None, Some("s"))] {
        let null: &[_] = if sub.is_none() { &[claim("sub", json!(null))] } else { &[] };
        for twists in [&[], null] {
            let logout =
                verify(&meeting, meeting.fake.logout_token(sub, sid, twists)).await.unwrap();
            assert_eq!((logout.sub.as_deref(), logout.sid.as_deref()), (sub, sid));
            assert_eq!(logout.issuer, meeting.fake.issuer());
        }
    }
    for twists in [
        [Twist::Header("typ", None)],
        [Twist::Header("typ", Some("JWT".into()))],
        [Twist::Header("typ", Some("application/logout+jwt".into()))],
        [Twist::Signer(Signer::Rs512)],
        [claim("aud", json!(["other", "vestibule"]))],
        [Twist::Claim("exp", None)],
        [claim("trace_id", 7.into())],
    ] {
        let token = meeting.fake.logout_token(Some("alice"), None, &twists);
        assert!(verify(&meeting, token).await.is_ok(), "{twists:?}");
    }
}

#[tokio::test]
async fn one_that_fails_its_shape_asks_nothing_of_the_provider() {
    let meeting = Meeting::new().await;
    meeting.sign_in().await;
    let stranger = Twist::Signer(Signer::Stranger(Box::new(Signer::Es256)));
    let unknown = Twist::Header("kid", Some("unknown".into()));
    let asked = meeting.fake.requests("keys");
    for (twist, check) in [
        (Twist::Signer(Signer::Nothing("none")), "algorithm"),
        (Twist::Signer(Signer::Nothing("None")), "algorithm"),
        (Twist::Signer(Signer::Hmac(b"canary-client-secret-0001".to_vec())), "algorithm"),
        (Twist::Signer(Signer::Hmac(public_bytes(&Signer::Es256).remove(0))), "algorithm"),
        (Twist::Header("typ", Some("at+jwt".into())), "typ"),
        (Twist::Header("typ", Some("secevent+jwt".into())), "typ"),
        (Twist::Header("crit", Some(json!(["exp"]))), "crit"),
        (claim("iss", "https://other.example".into()), "iss"),
        (Twist::Claim("iss", None), "iss"),
        (claim("aud", "other".into()), "aud"),
        (Twist::Claim("aud", None), "aud"),
        (Twist::Claim("events", None), "events"),
        (claim("events", json!({ "https://other.example/event": {} })), "events"),
        (claim("events", json!({ LOGOUT_EVENT: true })), "events"),
        (claim("nonce", "n".into()), "nonce"),
        (Twist::Claim("jti", None), "jti"),
        (Twist::Claim("iat", None), "iat"),
        (claim("exp", "never".into()), "exp"),
        (claim("sub", 7.into()), "sub"),
    ] {
        let what = format!("{twist:?}");
        let twists = match &twist {
            Twist::Signer(_) => vec![twist, unknown.clone()],
            _ => vec![stranger.clone(), unknown.clone(), twist],
        };
        assert_eq!(refusal(&meeting, &twists).await, check, "{what}");
    }
    for garbage in ["", "a.b.c", "e30.e30.", &"x".repeat(100_000), "....."] {
        assert!(verify(&meeting, garbage.to_owned()).await.is_err());
    }
    let nobody = meeting.fake.logout_token(None, None, &[]);
    assert_eq!(check_of(&verify(&meeting, nobody).await.unwrap_err()), "sub");
    assert_eq!(meeting.fake.requests("keys"), asked);
}

#[tokio::test]
async fn a_forged_one_makes_us_ask_for_keys_once_and_takes_nothing_from_logins() {
    let meeting = Meeting::new().await;
    let good = meeting.fake.logout_token(Some("alice"), None, &[]);
    verify(&meeting, good.clone()).await.unwrap();
    let asked = meeting.fake.requests("keys");

    let forged = Twist::Signer(Signer::Stranger(Box::new(Signer::Es256)));
    assert_eq!(refusal(&meeting, std::slice::from_ref(&forged)).await, "signature");
    assert_eq!(
        refusal(&meeting, &[Twist::ChangedAfterwards("sub", "bob".into())]).await,
        "signature"
    );
    assert_eq!(meeting.fake.requests("keys"), asked, "the key that is named is known");
    for number in 0..50 {
        let unknown = Twist::Header("kid", Some(format!("invented-{number}").into()));
        assert_eq!(refusal(&meeting, &[forged.clone(), unknown]).await, "key");
    }
    assert_eq!(meeting.fake.requests("keys"), asked + 1);

    // The flood has used up its own budget, not that of the logins: a login under a new key is understood.
    meeting.fake.rotate_to(Signer::NextEs256);
    meeting.sign_in().await;
    assert_eq!(meeting.fake.requests("keys"), asked + 2);
    assert_eq!(check_of(&verify(&meeting, good).await.unwrap_err()), "key");
}

#[tokio::test]
async fn it_counts_until_it_ends_or_for_ten_minutes() {
    let meeting = Meeting::new().await;
    for (claims, check) in [
        (vec![claim("exp", in_seconds(-61))], "exp"),
        (vec![claim("iat", in_seconds(70))], "iat"),
        (vec![claim("iat", in_seconds(-670)), Twist::Claim("exp", None)], "age"),
        (vec![claim("iat", in_seconds(-90_000)), claim("exp", in_seconds(90_000))], "age"),
    ] {
        assert_eq!(refusal(&meeting, &claims).await, check, "{claims:?}");
    }
    let token = meeting.fake.logout_token(Some("alice"), None, &[Twist::Claim("exp", None)]);
    let logout = verify(&meeting, token).await.unwrap();
    let left = now().now().until(logout.valid_until).as_secs();
    assert!((655..=660).contains(&left), "{left}");
}

#[tokio::test]
async fn no_other_token_of_the_provider_is_one_and_it_is_no_other() {
    let meeting = Meeting::new().await;
    let redeemed = meeting.sign_in().await;
    let id_token = redeemed.tokens.id_token().clone();
    let refused = meeting.provider.verify_logout_token(&id_token).await.map(|_| ());
    assert_eq!(check_of(&refused.unwrap_err()), "events");

    for typ in [None, Some("JWT".into()), Some("logout+jwt".into())] {
        let expected = if typ == Some("logout+jwt".into()) { "typ" } else { "events" };
        let twists = [Twist::Header("typ", typ)];
        let token = meeting.fake.logout_token(Some("alice"), None, &twists);
        let audiences = ["vestibule".to_owned()];
        let bearer = meeting.provider.verify_bearer(&token.clone().into(), &audiences).await;
        assert_eq!(check_of(&bearer.unwrap_err()), expected);

        let tokens = meeting.sign_in().await.tokens;
        meeting.fake.twist([Twist::IdToken(token)]);
        let renewed = meeting.provider.refresh(&tokens, now()).await.unwrap();
        let as_id_token = meeting.provider.renewed_claims(&renewed, now()).await;
        meeting.fake.twist([]);
        assert_eq!(check_of(&as_id_token.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn of_several_tenants_each_speaks_for_its_own_people() {
    let fake = FakeProvider::start_with_tenants().await;
    let meeting = Meeting::of_tenants(fake, &TENANTS[..2]);
    for (tenant, is_ours) in [(TENANTS[0], true), (TENANTS[1], true), (TENANTS[2], false)] {
        meeting.fake.people_come_from(tenant);
        let logout = verify(&meeting, meeting.fake.logout_token(Some("alice"), None, &[])).await;

        match logout {
            Ok(logout) => {
                assert_eq!((is_ours, logout.issuer), (true, meeting.fake.issuer_of(tenant)));
            }
            Err(error) => assert_eq!((is_ours, check_of(&error)), (false, "iss")),
        }
    }
}
