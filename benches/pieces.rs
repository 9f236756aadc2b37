//! What the pieces of a token cost: `cargo bench --bench pieces`. The whole is measured by `whole`.

use std::hint::black_box;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt;
use vestibule::inside::store::{
    self, Found, NewSession, NewStanding, SessionKey, Settings, Store, UseTerms, Verdict,
};
use vestibule::inside::token::{self, Grant, Signer};
use vestibule::inside::{
    AUDIT, Digest, Identity, JsonLines, Metrics, ProviderName, RequestId, Secret256, Subject,
    Timestamp,
};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn sign(criterion: &mut Criterion) {
    let signer = Signer::new(token::Settings {
        account_sid: format!("AC{}", "0".repeat(32)),
        api_key_sid: format!("SK{}", "1".repeat(32)),
        api_key_secret: Secret256::random().reveal().into(),
        conversations_service_sid: format!("IS{}", "2".repeat(32)),
        push_credential_sid: None,
        ttl: Duration::from_hours(1),
    });
    let Ok(identity) = Identity::parse("7d0c2a0e-0000-5000-8000-000000000000") else { return };
    let now = Timestamp::from_millis(1_795_521_600_000);
    let ground_ends = now.plus(Duration::from_hours(8));
    criterion.bench_function("sign a token", |bencher| {
        bencher.iter(|| {
            let id = RequestId::unique();
            let grant = Grant { identity: &identity, id, now, ground_ends, token_ttl: None };
            black_box(signer.sign(&grant))
        });
    });
}

/// A decision by rules like those of the example: the claims become CEL's values, and six rules run over them.
fn decide(criterion: &mut Criterion) {
    use vestibule::inside::policy::{AllowRule, Policy, Rules};

    let rule = |text: &str| Some(text.to_owned());
    let rules = Rules {
        allow: vec![AllowRule {
            rule: "claims.email_verified && domain(claims.email) == 'example.com'".to_owned(),
            message: rule("Only verified staff of Example Corp."),
        }],
        identity: rule("uuid5(uuid5('url', claims.iss), claims.sub)"),
        friendly_name: rule("claims.name"),
        role: rule("'support' in claims.groups ? 'agent' : 'member'"),
        conversations: rule("claims.groups.filter(g, g.startsWith('team-'))"),
        attributes: rule("{'dept': claims.department}"),
        ..Rules::default()
    };
    let Some(corp) = ProviderName::parse("corp") else { return };
    let Ok(policy) = Policy::compile(&corp, rules) else { return };
    let now = Timestamp::from_millis(1_795_521_600_000);
    for groups in [8, 200] {
        let names = (0..groups).map(|n| format!("{}-{n}", ["team", "room"][n % 2]));
        let claims = serde_json::json!({
            "iss": "https://id.example.com/realms/corp", "sub": "f81d4fae-7dec-41d0-a765-00a0c91e6bf6", "aud": "vestibule",
            "iat": 1_795_521_500, "exp": 1_795_525_100, "auth_time": 1_795_521_500, "sid": "b1946ac9", "acr": "1",
            "name": "Alice Example", "email": "alice@example.com", "email_verified": true, "department": "Sales",
            "groups": names.collect::<Vec<_>>(), "realm_access": { "roles": ["offline_access", "uma_authorization"] },
        });
        let Some(claims) = claims.as_object() else { return };
        if policy.decide(claims, now).is_err() {
            return;
        }
        criterion.bench_function(&format!("decide, {groups} groups"), |bencher| {
            bencher.iter(|| black_box(policy.decide(black_box(claims), now)));
        });
    }
}

criterion_group! {
    name = rules;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(4));
    targets = decide
}

fn find(criterion: &mut Criterion) {
    let cookie = Secret256::random().reveal();
    criterion.bench_function("find the digest of a cookie's secret", |bencher| {
        bencher
            .iter(|| black_box(Secret256::parse(black_box(&cookie)).map(|secret| secret.digest())));
    });
    criterion.bench_function("name a request", |bencher| bencher.iter(RequestId::unique));
}

/// A durable step of the embedded store, alone: the flush to disk is most of it, and is shared by steps that come together.
fn use_session(criterion: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    let Ok(folder) = tempfile::tempdir() else { return };
    let path = folder.path().join("bench.db");
    let opened: Outcome<_> = runtime.block_on(async {
        let store = Store::open(&Settings::Embedded { path }, &Metrics::new()?).await?;
        let subject = Subject::new("https://id.example.com", "alice")?;
        let key = SessionKey { subject: subject.key(), id: Secret256::random().digest() };
        let session = NewSession {
            key,
            identity: Identity::parse("alice")?,
            found: Found::default(),
            lifetime: Duration::from_hours(8),
            idle: Duration::from_hours(8),
            label: "Firefox on Windows".to_owned(),
            most: 10_000,
            begun: Timestamp::from_millis(0),
            sid: None,
            way: None,
            grant: None,
            standing: NewStanding {
                subject,
                provider: ProviderName::parse("corp").ok_or("a provider's name")?,
                claims: format!(r#"{{"filler":"{}"}}"#, "x".repeat(2000)),
                verdict: Verdict {
                    mark: Digest::of(b"policy"),
                    outcome: store::Outcome::Allowed { token_ttl: None },
                },
                decision: "{}".to_owned(),
                keep: Duration::from_hours(8),
            },
        };
        store.open_session(&session).await?;
        Ok((store, key))
    });
    let Ok((store, key)) = opened else { return };
    let terms = UseTerms { idle: Duration::from_hours(8), limit: None };
    criterion.bench_function("use a session, embedded store", |bencher| {
        bencher.iter(|| runtime.block_on(store.use_session(&key, &terms, RequestId::unique())));
    });
}

/// One line of the audit log, into a pipe that is read, beside what tracing-subscriber's own format makes of it.
fn log(criterion: &mut Criterion) {
    let Ok(identity) = Identity::parse("7d0c2a0e-0000-5000-8000-000000000000") else { return };
    let mut mint = |name: &str| {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                tracing::info!(
                    target: AUDIT,
                    event = "mint",
                    identity = identity.as_str(),
                    provider = "corp",
                    path = "session",
                    jti = %RequestId::unique(),
                    expires = %Timestamp::from_millis(1_795_521_600_000),
                    "token minted"
                );
            });
        });
    };
    let (Ok(out), Ok(stock)) = (read_pipe(), read_pipe()) else { return };
    let Ok(lines) = JsonLines::start(out) else { return };
    with_default(tracing_subscriber::registry().with(lines), || mint("log a token"));
    let stock = tracing_subscriber::fmt().json().flatten_event(true).with_writer(Mutex::new(stock));
    with_default(stock.finish(), || mint("log a token, stock format"));
}

/// A pipe whose other end is read and forgotten.
fn read_pipe() -> io::Result<io::PipeWriter> {
    let (mut reader, out) = io::pipe()?;
    std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    Ok(out)
}

criterion_group! {
    name = pieces;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(4));
    targets = sign, find, log, use_session
}
criterion_main!(rules, pieces);
