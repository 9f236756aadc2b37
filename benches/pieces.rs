//! What the pieces of a token cost: `cargo bench --bench pieces`. The whole is measured by `whole`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use vestibule::inside::store::{NewSession, SessionKey, Settings, Store, UseTerms};
use vestibule::inside::token::{self, Grant, Signer};
use vestibule::inside::{
    Identity, Metrics, ProviderName, RequestId, Secret256, Subject, Timestamp,
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
            black_box(signer.sign(&Grant { identity: &identity, id, now, ground_ends }))
        });
    });
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
        let key = SessionKey {
            subject: Subject::new("https://id.example.com", "alice")?.key(),
            id: Secret256::random().digest(),
        };
        let session = NewSession {
            key,
            identity: Identity::parse("alice")?,
            provider: ProviderName::parse("corp").ok_or("a provider's name")?,
            friendly_name: None,
            lifetime: Duration::from_hours(8),
            idle: Duration::from_hours(8),
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

criterion_group! {
    name = pieces;
    config = Criterion::default().sample_size(50).measurement_time(Duration::from_secs(4));
    targets = sign, find, use_session
}
criterion_main!(pieces);
