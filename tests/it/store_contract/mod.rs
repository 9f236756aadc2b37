//! The store's contract: what each step promises, held against both stores; then what breaks, on each in its own way.

mod alike;
mod embedded_faults;
mod identities;
mod limits;
mod logins;
mod redis_faults;
mod sessions;

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use vestibule::inside::store::{NewSession, Rate, SessionKey, Settings, Store, UseTerms};
use vestibule::inside::{Digest, Identity, Metrics, ProviderName, Subject};

/// Runs each case on a Redis of its own and on a file of its own.
macro_rules! on_both_stores {
    ($($room:ident { $($case:ident),* $(,)? })*) => {
        mod on_redis {
            $($(
                #[tokio::test]
                async fn $case() {
                    let server = crate::support::redis::RedisServer::start();

                    super::$room::$case(&super::redis_store(&server.url()).await).await;
                }
            )*)*
        }

        mod on_a_file {
            $($(
                #[tokio::test]
                async fn $case() {
                    let directory = tempfile::tempdir().unwrap();

                    super::$room::$case(&super::file_store(&directory.path().join("store")).await).await;
                }
            )*)*
        }
    };
}

on_both_stores! {
    limits {
        a_limit_allows_its_whole_count_at_once_and_then_says_when,
        a_limit_refills_evenly,
        a_time_that_is_refused_is_not_counted,
        a_request_that_comes_twice_in_a_row_is_counted_once,
        buckets_do_not_share,
        fifty_at_once_get_no_more_than_the_limit,
    }
    logins {
        a_login_is_taken_once,
        a_login_taken_by_twenty_at_once_is_taken_by_one,
        another_browser_finds_nothing_to_take,
        another_provider_finds_nothing_to_take,
        a_login_that_was_never_begun_is_unknown,
        a_login_begun_twice_stays_the_first,
        a_taken_login_cannot_be_begun_again,
    }
    identities {
        the_first_claim_wins_for_ever,
        twenty_claims_at_once_have_one_winner,
        a_subject_has_no_identity_before_its_first_session,
        a_binding_stays_when_the_rule_yields_another_identity,
    }
    sessions {
        a_session_is_what_was_opened,
        a_session_opened_twice_is_one,
        a_session_ends_when_it_lies_idle,
        a_session_that_is_used_does_not_lie_idle,
        a_session_ends_though_it_is_used,
        a_use_is_written_once_the_last_is_a_grain_old,
        a_shorter_idle_time_counts_for_sessions_that_are_there,
        reading_a_session_does_not_use_it,
        a_use_over_the_limit_is_not_counted_and_does_not_renew,
        a_limit_of_a_session_refills,
        a_request_that_uses_a_session_twice_in_a_row_is_counted_once,
        a_session_ends_once_and_for_good,
        an_ended_session_is_not_brought_back_by_what_comes_late,
        ending_what_never_was_is_answered_no,
        a_session_is_found_by_its_whole_name_only,
        ten_sessions_of_one_subject_have_one_identity,
        every_answer_is_dated_and_time_goes_on,
    }
}

/// A store on a Redis.
async fn redis_store(url: &str) -> Store {
    let settings = Settings::Redis { url: SecretString::from(url) };
    Store::open(&settings, &Metrics::new().unwrap()).await.unwrap()
}

/// A store in a file.
async fn file_store(path: &Path) -> Store {
    let settings = Settings::Embedded { path: path.to_owned() };
    Store::open(&settings, &Metrics::new().unwrap()).await.unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn identity(text: &str) -> Identity {
    Identity::parse(text).unwrap()
}

fn provider(name: &str) -> ProviderName {
    ProviderName::parse(name).unwrap()
}

fn subject(value: &str) -> Subject {
    Subject::new("https://id.example.com", value).unwrap()
}

fn session_key(who: &str, secret: &str) -> SessionKey {
    SessionKey { subject: subject(who).key(), id: digest(secret) }
}

/// A session of `who` that lasts for hours.
fn new_session(who: &str, secret: &str) -> NewSession {
    NewSession {
        key: session_key(who, secret),
        identity: identity(who),
        provider: provider("corp"),
        friendly_name: Some("Ünal, \"the\" name".to_owned()),
        lifetime: Duration::from_hours(2),
        idle: HOUR,
    }
}

const HOUR: Duration = Duration::from_hours(1);

/// Without a limit, and with much time.
const AT_EASE: UseTerms = UseTerms { idle: HOUR, limit: None };

/// `count` an hour: what is used up stays used up while a test lasts.
fn hourly(count: u32) -> Rate {
    Rate { count, per: HOUR }
}

/// The outcomes of `count` futures that run at the same time.
async fn all_at_once<F: Future>(count: usize, mut make: impl FnMut() -> F) -> Vec<F::Output> {
    let mut running = (0..count).map(|_| Box::pin(make())).collect::<Vec<_>>();
    let mut done = (0..count).map(|_| None).collect::<Vec<_>>();
    std::future::poll_fn(|context| {
        for (future, outcome) in running.iter_mut().zip(&mut done) {
            if outcome.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *outcome = Some(value);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
