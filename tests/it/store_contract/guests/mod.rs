//! The pool of guests: each rule of it, on both stores, with a clock that is put forward instead of waited for.

#![expect(clippy::unchecked_time_subtraction, reason = "a test whose times do not fit has failed")]

mod doubt;
mod faults;
mod leases;
mod lending;
mod losses;
mod model;
mod months;
mod optimum;
mod stale;
mod waiting;
mod work;
mod world;

/// Runs each case on a Redis of its own and on a file of its own.
macro_rules! in_both_worlds {
    ($($room:ident { $($case:ident),* $(,)? })*) => {
        mod on_redis {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$room::$case(&mut super::world::World::on_redis().await).await;
                }
            )*)*
        }

        mod in_a_file {
            $($(
                #[tokio::test]
                async fn $case() {
                    super::$room::$case(&mut super::world::World::in_a_file().await).await;
                }
            )*)*
        }
    };
}

in_both_worlds! {
    lending {
        a_guest_is_lent_for_a_first_short_while,
        twenty_at_once_get_ten_guests_and_each_another,
        the_guest_idle_longest_is_lent_first,
        a_guest_that_is_active_already_is_lent_before_one_that_never_was,
        a_guest_is_lent_again_only_when_it_has_cooled_and_was_seen_clean,
        who_finds_no_guest_is_told_when_one_comes_back,
        the_budget_stops_only_what_would_cost,
        of_twenty_at_once_the_budget_lets_its_number_through,
        at_once_what_is_active_already_goes_first_and_the_budget_counts_the_rest,
        what_is_lent_outlives_a_smaller_size_and_is_put_aside,
        a_pool_that_grows_again_lends_what_was_put_aside,
        what_was_put_aside_comes_last_in_another_month,
        two_sizes_at_once_count_nobody_twice,
        many_beyond_the_size_are_put_aside_a_few_at_a_time,
    }
    stale {
        a_stale_guest_is_scrubbed_when_nothing_else_is_left,
        a_stale_guest_waits_for_a_budget,
        a_stale_guest_beyond_the_size_is_left_alone,
        stale_guests_beyond_the_size_hide_none_within_it,
        nobody_is_paid_for_when_the_month_is_all_but_over,
        what_was_paid_for_and_not_scrubbed_is_paid_once_a_month,
        a_dirty_guest_that_is_paid_for_is_scrubbed_again,
        a_stale_guest_that_fails_holds_up_no_other,
    }
    waiting {
        a_guest_given_back_is_back_when_it_has_cooled,
        a_guest_beyond_the_size_is_nobodys,
        a_doubt_keeps_back_what_is_lent_and_what_is_not,
        a_doubtful_guest_is_there_in_a_moment_once_the_doubt_is_over,
        a_budget_waits_for_what_is_paid_for_or_for_the_month,
    }
    leases {
        the_first_use_confirms_a_lease,
        to_come_back_confirms_nothing,
        tokens_of_a_young_lease_are_short,
        a_lease_is_renewed_and_written_a_little_ahead,
        ends_are_moved_in_steps_of_what_the_lease_lasts,
        a_guest_cools_as_long_as_was_asked_when_its_end_was_written,
        nobody_stays_longer_than_the_longest_stay,
        a_lease_is_its_holders_alone,
        a_lease_that_is_over_is_back_until_it_is_ready,
        a_lease_does_not_come_back_once_work_has_begun,
        a_lease_does_not_come_back_once_it_was_given_back,
        what_leaves_too_little_is_over,
        uses_are_counted_against_a_limit,
        of_uses_at_once_each_has_its_own_answer,
        a_guest_given_back_cools_from_its_last_tokens_end,
        a_lease_ends_once_and_says_so_again,
        an_ended_lease_cannot_take_the_guest_from_its_next_holder,
        of_an_end_and_twenty_uses_nothing_lives_on,
        every_answer_is_dated_now,
    }
    work {
        a_guest_that_is_lent_joins_once,
        a_hold_that_is_over_passes_the_work_on,
        the_same_request_gets_the_same_work,
        of_twenty_workers_each_gets_another_guest,
        nobody_joins_when_the_lease_is_over,
        who_comes_back_joins_what_it_had_not_joined,
        a_join_begins_only_while_there_is_time_for_it,
        whichever_is_due_longest_comes_first,
        a_scrub_waits_for_a_join_that_is_under_way,
        a_join_that_fails_after_its_guest_was_given_back_leaves_the_scrub,
        work_that_failed_comes_again_after_a_while,
        an_heir_comes_before_the_scrub,
        what_was_seen_clean_too_early_is_seen_again,
        a_dirty_guest_is_stale_once_nothing_of_it_is_alive,
        work_is_finished_by_its_claim_alone,
        the_pool_tells_where_its_guests_are,
    }
    months {
        a_guest_is_active_in_each_month_in_which_a_token_lives,
        a_guest_renewed_over_the_months_end_counts_in_both,
        the_months_guests_are_lent_before_those_of_earlier_ones,
        of_earlier_months_the_earliest_comes_first,
        the_budget_begins_anew_with_the_month,
        scrubbing_is_free_until_the_month_ends,
        guests_that_cool_into_the_next_month_are_scrubbed_before,
        looking_for_early_scrubs_goes_on_where_it_stopped,
        looking_for_early_scrubs_passes_over_what_is_lent,
        a_doubtful_guest_that_waits_over_the_months_end_stops_no_work,
        a_stale_guest_is_paid_once_for_scrub_and_lend,
        nobody_joins_in_a_month_in_which_its_guest_is_not_active,
    }
    doubt {
        a_store_that_lost_nothing_has_no_doubt,
        a_quarantine_ends_every_lease,
        a_quarantine_keeps_every_guest_back_until_it_is_seen_clean_again,
        what_was_lent_before_a_doubt_is_seen_clean_after_the_longest_token,
        a_scrub_that_a_doubt_overtakes_is_done_again,
        a_guest_put_aside_before_a_doubt_is_doubtful_too,
        a_stale_guest_on_its_way_when_a_doubt_came_waits_too,
        an_heir_of_a_lease_that_a_doubt_ended_inherits_nothing,
        of_doubtful_guests_the_latest_months_are_seen_first,
        what_is_put_aside_and_doubtful_keeps_its_month,
        guests_made_after_a_doubt_are_lent_when_it_is_over,
        a_second_doubt_keeps_back_anew,
        nobody_hurries_to_look_through_guests_that_were_never_lent,
    }
}
