//! The names of the steps, and the series that count and time them.

use std::time::Duration;

use metrics::{Counter, Histogram};

use super::StoreError;
use crate::telemetry::Metrics;

const DURATION: &str = "vestibule_store_step_duration_seconds";
const FAILURES: &str = "vestibule_store_failures_total";

/// Each step once: the enum, the names and the list cannot differ.
macro_rules! steps {
    ($($name:ident),* $(,)?) => {
        /// A step, spelled as the method of [`Store`](super::Store) that takes it.
        #[derive(Clone, Copy, Debug)]
        #[expect(non_camel_case_types, reason = "a step has one name, its method's")]
        pub(super) enum Step {
            $($name),*
        }

        impl Step {
            const NAMES: &[&str] = &[$(stringify!($name)),*];
        }
    };
}

steps!(
    take_from_limit,
    begin_login,
    take_login_once,
    find_identity,
    find_subject,
    claim_identity,
    bind_identity,
    begin_move,
    retire_subject,
    finish_move,
    bind_subject,
    mark_identity,
    mark_subject,
    end_all_sessions,
    open_session,
    use_session,
    read_session,
    end_session,
    list_sessions,
    end_listed_session,
    end_other_sessions,
    begin_revalidation,
    keep_grant,
    finish_revalidation,
    pause_revalidation,
    take_grants,
    join_logout,
    log_out_handle,
    log_out_subject,
    was_spent,
    spend_once,
    unspend,
    lend_guest,
    use_lease,
    read_lease,
    end_lease,
    claim_guest_work,
    finish_guest_work,
    describe_pool,
    heed_doubt,
    quarantine_guests,
    keep_standing,
    read_standing,
    decide_standing,
    keep_denial,
    find_denial,
    list_standings,
    read_time,
    wait_for_replicas,
    examine,
);

impl Step {
    /// The step's name, in errors and as a metric's label.
    pub(super) const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// A histogram and the failure counters of each step.
pub(super) struct StepMetrics(Vec<Series>);

struct Series {
    duration: Histogram,
    failures: [Counter; StoreError::CAUSES.len()],
}

impl StepMetrics {
    /// Registers all series, so that a step which never failed shows a zero.
    pub(super) fn new(metrics: &Metrics) -> Self {
        metrics.describe(DURATION, "Store steps, from asking to the answer, whatever it is.");
        metrics.describe(FAILURES, "Store steps that failed, by cause.");
        let series = |step: &&str| Series {
            duration: metrics.histogram(DURATION, &[("step", step)]),
            failures: StoreError::CAUSES
                .map(|cause| metrics.counter(FAILURES, &[("step", step), ("cause", cause)])),
        };
        Self(Step::NAMES.iter().map(series).collect())
    }

    /// Records one step: how long it took, and why it failed if it did.
    pub(super) fn observe(&self, step: Step, took: Duration, failure: Option<&StoreError>) {
        let series = &self.0[step as usize];
        series.duration.record(took);
        if let Some(failure) = failure {
            series.failures[failure.cause_index()].increment(1);
        }
    }
}
