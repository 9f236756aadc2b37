//! The store's contract: what each step promises, held against both stores; then what breaks, on each in its own way.

mod alike;
mod blocks;
mod devices;
mod embedded_faults;
mod guests;
mod identities;
mod limits;
mod logins;
mod logouts;
mod moves;
mod redis_faults;
mod revalidation;
mod sessions;
mod standings;

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use vestibule::inside::store::{
    Found, NewSession, NewStanding, OpenedSession, Outcome, Rate, Session, SessionKey, Settings,
    Store, UseTerms, Verdict,
};
use vestibule::inside::{Digest, Identity, Metrics, ProviderName, Reference, Subject, Timestamp};

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
        a_taken_login_tells_when_it_was_begun,
    }
    identities {
        the_first_claim_wins_for_ever,
        twenty_claims_at_once_have_one_winner,
        a_subject_has_no_identity_before_its_first_session,
        a_binding_stays_when_the_rule_yields_another_identity,
        a_subject_is_bound_as_it_was_found_or_not_at_all,
        twenty_bindings_at_once_have_one_winner,
        whose_an_identity_is_can_be_asked,
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
        a_session_stands_on_the_standing_of_its_own_provider,
        every_answer_is_dated_and_time_goes_on,
    }
    devices {
        each_session_is_listed_as_it_was_opened,
        listing_uses_no_session,
        a_session_that_is_over_is_not_listed,
        sessions_that_an_operator_ended_are_not_listed,
        a_session_ends_another_and_itself,
        a_session_of_another_subject_cannot_be_ended,
        a_request_that_ends_a_session_twice_is_answered_the_same,
        all_others_end_for_good,
        a_session_opened_in_between_outlives_the_same_request,
        one_session_too_many_ends_the_one_that_would_lie_idle_first,
        a_thousand_sessions_are_listed_and_ended_at_once,
    }
    revalidation {
        a_session_tells_when_its_provider_was_asked_and_how_it_can_be_again,
        who_left_nothing_to_ask_with_is_not_asked_about,
        of_fifty_callers_one_asks,
        who_has_it_takes_it_anew_and_others_are_told_until_when,
        a_hold_that_is_over_passes_to_the_next_with_the_grant_kept_last,
        who_is_late_may_finish_while_nobody_took_it,
        what_the_provider_said_counts_from_then_on,
        claims_that_are_as_they_were_stay,
        a_session_whose_provider_cannot_be_asked_any_more_says_so,
        who_finished_has_it_no_more_and_may_say_so_twice,
        claims_denied_meanwhile_stay_and_others_do_not,
        nothing_is_written_for_a_session_that_is_no_more,
        a_session_that_has_lain_idle_is_not_asked_about,
        a_provider_that_is_away_is_left_alone_for_a_while,
        grants_of_sessions_that_are_no_more_come_out_once,
    }
    logouts {
        a_logout_names_everybody_who_has_joined,
        nobody_joins_what_was_logged_out_since,
        a_logout_ends_all_sessions_and_those_that_are_about_to_begin,
        a_logout_of_one_login_ends_its_sessions_only,
        a_logout_that_comes_twice_ends_nothing_that_began_in_between,
        a_logout_leaves_nothing_for_ever_of_somebody_who_was_never_here,
        the_grants_of_whom_a_logout_ends_come_out,
        whichever_comes_first_a_login_or_its_logout_nobody_is_left_signed_in,
        whenever_logins_and_a_logout_meet_nobody_is_left_signed_in,
        a_thousand_sessions_end_by_one_logout,
        what_counts_once_is_spent_by_one_and_forgotten_in_time,
        what_was_spent_for_nothing_can_be_spent_again_by_whoever_spent_it,
    }
    standings {
        a_standing_is_what_the_login_showed,
        using_a_session_tells_what_the_policy_said,
        newer_claims_take_the_place_of_older_ones_at_their_provider_only,
        a_denied_login_is_remembered_and_opens_nothing,
        a_verdict_is_kept_only_of_the_claims_it_is_about,
        no_two_claims_are_named_by_the_same_moment,
        of_twenty_decisions_about_two_claims_none_hits_the_wrong_one,
        a_session_opened_again_does_not_bring_old_claims_back,
        a_standing_is_kept_as_long_as_its_sessions_or_longer,
        every_standing_is_listed,
        listing_an_empty_store_is_one_empty_page,
        two_thousand_standings_are_listed_page_by_page,
        a_denial_is_kept_for_a_while,
    }
    moves {
        a_move_takes_the_identity_and_all_sessions_along,
        an_identity_on_its_way_is_nobodys_to_claim,
        a_move_begins_only_from_whose_it_is,
        a_move_ends_only_where_it_was_begun_to,
        each_step_of_a_move_may_come_twice,
        a_move_that_stopped_anywhere_is_finished_by_the_same_steps,
        a_login_that_a_move_overtakes_opens_nothing,
        a_claim_that_a_move_overtakes_opens_nothing,
        a_login_of_the_new_owner_that_the_move_overtakes_opens_nothing,
        a_second_device_may_sign_in_until_the_subject_is_retired,
        a_session_opened_right_after_an_ending_lives,
        of_two_sessions_around_an_ending_in_one_millisecond_only_the_later_lives,
        endings_are_counted_and_outlast_the_binding,
        a_login_that_a_denial_overtakes_opens_nothing,
        a_denial_overtakes_logins_at_its_own_provider_only,
        a_denial_of_the_claims_that_were_found_overtakes_nobody,
        a_bind_that_an_ending_overtakes_is_done_by_the_same_move_again,
        an_ending_is_remembered_where_nothing_was_before,
        a_bind_that_comes_after_the_next_move_binds_nobody,
        one_who_is_bound_to_another_identity_keeps_it,
        a_denied_login_brings_no_session_back,
        whenever_logins_and_a_move_meet_two_subjects_never_share,
    }
    blocks {
        a_block_ends_all_sessions_and_lets_none_begin,
        after_an_unblock_the_subject_signs_in_again_and_no_old_session_lives,
        an_identity_that_nobody_has_can_be_blocked,
        an_identity_that_is_claimed_and_not_bound_can_be_blocked,
        a_block_again_stays_one_and_an_unblock_again_ends_nothing,
        an_unblock_that_a_block_overtakes_undoes_nothing_of_it,
        each_step_of_a_block_may_come_twice,
        a_block_that_stopped_anywhere_keeps_out_and_is_finished_by_the_same_steps,
        a_login_that_a_block_overtakes_opens_nothing,
        a_blocked_identity_is_not_moved,
        a_block_in_the_middle_of_a_move_holds_and_the_move_is_made_after_it,
        an_end_of_all_sessions_lets_everybody_sign_in_again,
        whenever_blocks_and_their_ends_meet_both_marks_say_the_same,
        whenever_logins_and_a_block_meet_nobody_is_in_afterwards,
        a_store_without_replicas_waits_for_none,
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

/// What a login of `who` shows, allowed once and for all.
fn new_standing(who: &str) -> NewStanding {
    NewStanding {
        subject: subject(who),
        provider: provider("corp"),
        claims: format!(r#"{{"sub":"{who}","name":"Ünal, \"the\" name"}}"#),
        verdict: allowed("policy"),
        decision: format!(r#"{{"friendly_name":"{who}"}}"#),
        keep: HOUR,
    }
}

fn allowed(policy: &str) -> Verdict {
    Verdict { mark: digest(policy), outcome: Outcome::Allowed { token_ttl: None } }
}

/// The same, denied.
fn denied_standing(who: &str) -> NewStanding {
    NewStanding { verdict: denied(), decision: String::new(), ..new_standing(who) }
}

fn denied() -> Verdict {
    Verdict { mark: digest("policy"), outcome: Outcome::Denied { reference: Reference::random() } }
}

/// The identity that `who` is bound to.
async fn bound(store: &Store, who: &str) -> Option<Identity> {
    find(store, who).await.binding.identity
}

/// What a login of `who` at the provider finds.
async fn find(store: &Store, who: &str) -> Found {
    store.find_identity(&subject(who).key(), Some(&provider("corp"))).await.unwrap().value
}

/// A session of `who` that lasts for hours, on the device called `secret`, of a login that found nothing of the subject.
fn new_session(who: &str, secret: &str) -> NewSession {
    NewSession {
        key: session_key(who, secret),
        identity: identity(who),
        found: Found::default(),
        lifetime: Duration::from_hours(2),
        idle: HOUR,
        label: secret.to_owned(),
        most: 10_000,
        standing: new_standing(who),
        begun: Timestamp::from_millis(0),
        sid: None,
        way: None,
        grant: None,
    }
}

/// Opens it, which nothing hinders.
async fn open(store: &Store, new: &NewSession) -> Session {
    match store.open_session(new).await.unwrap().value {
        OpenedSession::Opened(session) => session,
        OpenedSession::Overtaken => panic!("it was overtaken"),
        OpenedSession::LoggedOut => panic!("it was logged out"),
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
