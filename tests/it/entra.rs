//! A provider with many tenants, as Entra ID is one: people of the listed tenants sign in, each as somebody of their own tenant,
//! and nobody else does, whatever their tokens say.

use std::fmt::Write as _;
use std::io;
use std::process::Command;

use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::Config;

use crate::lies::{CLIENT_SECRET, Stage, claim, explanation};
use crate::process::configuration;
use crate::support::fake_provider::{FakeProvider, Registered, Signer, TENANTS, THUMBPRINT, Twist};

/// The tenant of everybody who has a personal account at Microsoft.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Entra ID's issuer for all tenants.
const ISSUER: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn keys() -> String {
    format!(
        "{CLIENT_SECRET}\nsubject_claim = \"oid\"\ntenants = [\"{}\", \"{}\"]",
        TENANTS[0], TENANTS[1]
    )
}

/// A service that lets in the first two tenants of a provider that has three.
async fn stage() -> Stage {
    Stage::with(FakeProvider::start_with_tenants().await, &keys()).await
}

/// The same, and the service has seen these keys of the provider.
async fn stage_with(twist: impl FnOnce(&FakeProvider) -> Twist) -> Stage {
    let provider = FakeProvider::start_with_tenants().await;
    provider.twist([twist(&provider)]);
    let stage = Stage::with(provider, &keys()).await;
    stage.visitor().get(&format!("{}/login/fake", stage.service.url)).await.location();
    stage
}

/// Lets the provider differ in these ways together; the login is refused because of `check`, and nothing more is asked.
async fn refused(stage: &Stage, twists: Vec<Twist>, check: &str) {
    let what = format!("{twists:?}");
    let endpoints = ["token", "userinfo", "elsewhere"];
    let before = endpoints.map(|endpoint| stage.provider.requests(endpoint));
    stage.provider.twist(twists);

    let (visitor, answer) = stage.sign_in().await;

    assert_eq!(answer.code(), "login_failed", "{what}");
    let log = explanation(&answer);
    assert!(log.contains(&format!("{check}: expected ")), "{what}: {log}");
    let more = endpoints.map(|endpoint| stage.provider.requests(endpoint));
    assert_eq!(more, [before[0] + 1, before[1], before[2]], "{what}");
    stage.is_nobody(visitor, &what).await;
    stage.provider.twist([]);
}

#[tokio::test]
async fn one_object_in_two_tenants_is_two_people() {
    let stage = stage().await;
    let identity = |tenant| {
        let issuer = stage.provider.issuer_of(tenant);
        let namespace = Uuid::new_v5(&Uuid::NAMESPACE_URL, issuer.as_bytes());
        Uuid::new_v5(&namespace, b"the object of alice").to_string()
    };
    assert_ne!(identity(TENANTS[0]), identity(TENANTS[1]));

    for tenant in [TENANTS[0], TENANTS[1], TENANTS[0]] {
        stage.provider.people_come_from(tenant);
        assert_eq!(stage.admits(tenant).await["identity"], identity(tenant));
    }
    // Nor does a `sub` that is the same in both make them one.
    let by_sub = keys().replace("\"oid\"", "\"sub\"");
    let stage = Stage::with(FakeProvider::start_with_tenants().await, &by_sub).await;
    let one = stage.admits("one").await;
    stage.provider.people_come_from(TENANTS[1]);
    assert_ne!(stage.admits("other").await["identity"], one["identity"]);
}

#[tokio::test]
async fn people_of_another_tenant_stay_outside_whatever_address_they_claim() {
    let stage = stage().await;
    stage.admits("before").await;

    for tenant in [TENANTS[2], CONSUMERS] {
        stage.provider.people_come_from(tenant);
        let victim = vec![
            claim("email", "alice@example.com".into()),
            claim("email_verified", true.into()),
            claim("xms_edov", true.into()),
            claim("oid", "the object of alice".into()),
            claim("sub", "alice".into()),
        ];
        refused(&stage, victim, "tid").await;
        // Nor by a name for themselves that is on the list, or an issuer that is.
        let issuer = stage.provider.issuer_of(TENANTS[0]);
        refused(&stage, vec![claim("tid", TENANTS[0].into())], "iss").await;
        refused(&stage, vec![claim("iss", issuer.into())], "tid").await;
    }
    let metrics = stage.metrics().await;
    let series = "vestibule_provider_failures_total{provider=\"fake\",cause=\"tid\"} 4";
    assert!(metrics.contains(series), "{metrics}");
}

#[tokio::test]
async fn a_tenant_and_its_issuer_are_what_the_list_says_and_nothing_like_it() {
    let stage = stage().await;
    let [ours, other, foreign] = TENANTS.map(|tenant| stage.provider.issuer_of(tenant));
    let template = stage.provider.issuer();

    stage.refuses(Twist::Claim("tid", None), "tid").await;
    for tid in [
        Value::Null,
        json!(0),
        json!(true),
        json!([TENANTS[0]]),
        json!({ TENANTS[0]: TENANTS[0] }),
        json!(""),
        json!("*"),
        json!("common"),
        json!("organizations"),
        json!("{tenantid}"),
        json!("../../x"),
        json!(TENANTS[0].to_uppercase()),
        json!(format!("{} ", TENANTS[0])),
        json!(format!("{}\u{0}", TENANTS[0])),
        json!(format!("{}/../{}", TENANTS[0], TENANTS[2])),
        json!(format!("{},{}", TENANTS[0], TENANTS[1])),
    ] {
        stage.refuses(claim("tid", tid.clone()), "tid").await;
        // An issuer that is made of it helps nothing.
        let made = template.replace("{tenantid}", tid.as_str().unwrap_or_default());
        refused(&stage, vec![claim("tid", tid), claim("iss", made.into())], "tid").await;
    }
    stage.refuses(Twist::Claim("iss", None), "iss").await;
    for iss in [
        other,
        foreign,
        template,
        ours.to_uppercase(),
        format!("{ours}/"),
        ours.replace("/v2.0", ""),
        ours.replace(TENANTS[0], "organizations"),
        ours.replace(TENANTS[0], &format!("{}/../{}", TENANTS[2], TENANTS[0])),
        format!("https://evil.example/{}/v2.0", TENANTS[0]),
    ] {
        stage.refuses(claim("iss", iss.into()), "iss").await;
    }
    stage.refuses(claim("iss", json!([ours])), "iss").await;
    stage.admits("afterwards").await;
}

/// The provider's only key, which says that it signs for this issuer.
fn key_for(key_issuer: impl Into<Value>) -> Twist {
    let mut jwk = Signer::Es256.jwk();
    jwk["issuer"] = key_issuer.into();
    Twist::Keys(vec![jwk])
}

#[tokio::test]
async fn a_key_of_one_tenant_does_not_speak_for_another() {
    let stage = stage_with(|provider| key_for(provider.issuer_of(TENANTS[1]))).await;
    refused(&stage, Vec::new(), "key").await;
    stage.provider.people_come_from(TENANTS[1]);
    stage.admits("its own").await;

    for other in [
        json!(ISSUER.replace("{tenantid}", CONSUMERS)),
        json!(ISSUER),
        json!(""),
        json!(7),
        Value::Null,
    ] {
        let stage = stage_with(|_| key_for(other)).await;
        refused(&stage, Vec::new(), "key").await;
    }
    let unbound = stage_with(|_| Twist::Keys(vec![Signer::Es256.jwk()])).await;
    unbound.admits("a key that does not say").await;
}

#[tokio::test]
async fn userinfo_under_a_key_of_another_tenant_is_not_believed() {
    let stage = stage_with(|provider| {
        let keys = [(Signer::Es256, TENANTS[0]), (Signer::Rs256, TENANTS[1])];
        let keys = keys.map(|(signer, tenant)| {
            let mut jwk = signer.jwk();
            jwk["issuer"] = provider.issuer_of(tenant).into();
            jwk
        });
        Twist::Keys(keys.to_vec())
    })
    .await;

    stage.refuses(Twist::SignedUserinfo(Signer::Rs256), "key").await;
    stage.provider.twist([Twist::SignedUserinfo(Signer::Es256)]);
    stage.admits("its own key").await;
    let iss = Twist::Userinfo("iss", Some(stage.provider.issuer_of(TENANTS[1]).into()));
    stage.provider.twist([Twist::SignedUserinfo(Signer::Es256), iss]);
    let (_, answer) = stage.sign_in().await;
    assert!(explanation(&answer).contains("iss: expected "), "{answer:?}");
}

#[tokio::test]
async fn an_issuer_in_the_authorization_response_is_the_tokens() {
    let stage = stage().await;
    let [ours, other, foreign] = TENANTS.map(|tenant| stage.provider.issuer_of(tenant));

    stage.provider.twist([Twist::Response("iss", Some(ours))]);
    stage.admits("the same").await;
    // One that the list does not have brings the code nowhere; one that it has waits for the token.
    for iss in [foreign, stage.provider.issuer(), String::new()] {
        stage.refuses(Twist::Response("iss", Some(iss)), "response_issuer").await;
    }
    refused(&stage, vec![Twist::Response("iss", Some(other))], "response_issuer").await;
}

#[tokio::test]
async fn claims_that_stand_elsewhere_are_not_fetched() {
    let stage = stage().await;
    let elsewhere = stage.provider.elsewhere();
    let overage = vec![
        Twist::Userinfo("email_verified", None),
        claim("hasgroups", true.into()),
        claim("_claim_names", json!({ "groups": "src1" })),
        claim("_claim_sources", json!({ "src1": { "endpoint": elsewhere } })),
        Twist::Userinfo("picture", Some(elsewhere.clone().into())),
        Twist::Userinfo("_claim_sources", Some(json!({ "src2": { "endpoint": elsewhere } }))),
    ];

    stage.provider.twist(overage);
    let session = stage.admits("too many groups").await;

    assert_eq!(session["friendly_name"], "Alice");
    assert_eq!(stage.provider.requests("elsewhere"), 0);
    stage.visitor().get(&elsewhere).await;
    assert_eq!(stage.provider.requests("elsewhere"), 1, "whoever asks there is seen");
}

#[tokio::test]
async fn the_object_names_the_subject_and_userinfo_still_speaks_of_the_tokens_sub() {
    let stage = stage().await;
    let before = stage.admits("before").await["identity"].clone();

    // The provider calls everybody something else for each client; the object stays.
    stage.provider.twist([
        claim("sub", "pairwise-2".into()),
        Twist::Userinfo("sub", Some("pairwise-2".into())),
    ]);
    assert_eq!(stage.admits("another client").await["identity"], before);
    for sub in [Some(json!("the object of alice")), Some(json!("pairwise-2")), None] {
        stage.refuses(Twist::Userinfo("sub", sub), "userinfo_sub").await;
    }
    stage.provider.twist([Twist::Userinfo("oid", Some("the object of mallory".into()))]);
    assert_eq!(stage.admits("userinfo replaces nothing").await["identity"], before);
}

#[tokio::test]
async fn an_assertion_is_for_the_token_endpoint_and_names_its_certificate() {
    let provider = FakeProvider::start_with_tenants().await;
    provider.register(Registered::PrivateKeyJwt(Signer::Rs256));
    let key = format!(
        "client_auth = \"private_key_jwt\"\nprivate_key_id = \"{THUMBPRINT}\"\nprivate_key = \"\"\"\n{}\"\"\"",
        Signer::Rs256.pem()
    );

    Stage::with(provider, &keys().replace(CLIENT_SECRET, &key)).await.admits("an assertion").await;
}

/// What is wrong with a configuration that has these keys in each of its providers.
fn faults(providers: &[String]) -> Vec<String> {
    let good = configuration("redis://127.0.0.1:1", "127.0.0.1:0", "");
    let mut text = good.split_once("[[provider]]").unwrap().0.to_owned();
    for (place, keys) in providers.iter().enumerate() {
        writeln!(text, "[[provider]]\nname = \"p{place}\"\n{CLIENT_SECRET}\n{keys}").unwrap();
        writeln!(text, "[provider.policy]\nallow = \"true\"").unwrap();
    }
    let faults = Config::parse(&text, [], &|_| Err(io::ErrorKind::NotFound.into()));
    faults.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn of_tenants(issuer: &str, tenants: &[&str]) -> String {
    format!("issuer = \"{issuer}\"\nclient_id = \"vestibule\"\ntenants = {tenants:?}")
}

#[test]
fn tenants_are_listed_with_the_placeholder_and_only_there() {
    let plain = ISSUER.replace("{tenantid}", TENANTS[0]);
    let without = of_tenants(ISSUER, &[]).replace("tenants = []", "");
    assert_eq!(faults(&[of_tenants(ISSUER, &TENANTS)]), [""; 0]);

    for (keys, fault) in [
        (without, "tenants is missing or empty, but the issuer has {tenantid}. List the ids"),
        (of_tenants(ISSUER, &[]), "tenants is missing or empty, but the issuer has {tenantid}. "),
        (of_tenants(&plain, &TENANTS), "tenants is of no use, for the issuer has no {tenantid}. "),
        (of_tenants(ISSUER, &[TENANTS[0], TENANTS[0]]), "tenants has a tenant twice. "),
        (of_tenants(ISSUER, &["common"]), "tenants[0] is a word for many tenants, and no tenant. "),
        (of_tenants(ISSUER, &[TENANTS[0], "*"]), "tenants[1] is not the id of a tenant: "),
        (of_tenants(ISSUER, &[CONSUMERS]), "tenants[0] is the tenant of personal accounts, "),
    ] {
        let told = faults(std::slice::from_ref(&keys));
        assert_eq!(told.len(), 1, "{keys}: {told:#?}");
        assert!(told[0].starts_with(&format!("provider[0].{fault}")), "{keys}: {told:#?}");
    }
}

#[test]
fn a_tenant_that_two_providers_share_is_one_issuer() {
    let [a, b, c] = TENANTS;
    let plain = |tenant: &str| {
        of_tenants(&ISSUER.replace("{tenantid}", tenant), &[]).replace("tenants = []", "")
    };

    for (other, count) in [
        (of_tenants(ISSUER, &[c]), 0),
        (plain(c), 0),
        (of_tenants(ISSUER, &[b, c]), 1),
        (plain(b), 1),
    ] {
        let told = faults(&[of_tenants(ISSUER, &[a, b]), other.clone()]);
        assert_eq!(told.len(), count, "{other}: {told:#?}");
        assert!(told.iter().all(|fault| fault.starts_with("provider[1].client_id is that of")));
    }
    let by_object =
        of_tenants(ISSUER, &[b]).replace("vestibule", "another") + "\nsubject_claim = \"oid\"";
    let told = faults(&[of_tenants(ISSUER, &[a, b]), by_object]);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("provider[1].subject_claim differs"), "{told:#?}");
}

#[tokio::test]
async fn check_says_whose_people_may_sign_in() {
    let provider = FakeProvider::start_with_tenants().await;
    let file = configuration("file:vestibule.db", "127.0.0.1:0", "").replace(
        "issuer = \"http://127.0.0.1:1\"",
        &format!("issuer = \"{}\"\ntenants = {:?}", provider.issuer(), &TENANTS[..2]),
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vestibule.toml"), file).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("check").current_dir(folder.path());
    let checked = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();

    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("tenants   {}, {}\n", TENANTS[0], TENANTS[1])), "{said}");
    assert!(said.contains(" usable"), "{said}");
}
