//! What Vestibule promises, seen from outside: one file a promise.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have their own servers, tasks and environment"
)]

mod architecture;
mod assertions;
mod attacks_a;
mod audit;
mod bearer;
mod blocks;
mod config;
mod denials;
mod devices;
mod e2e_bearer;
mod e2e_demo;
mod e2e_keycloak;
mod e2e_lifecycle;
mod e2e_oidc_provider;
mod e2e_policy;
mod entra;
mod events;
mod exchange;
mod explain;
mod guests;
mod identities;
mod lies;
mod logins;
mod logout_matrix;
mod logout_tokens;
mod logouts;
mod moves;
mod opaque;
mod operators;
mod ops;
mod outages;
mod plan_guests;
mod policy_changes;
mod process;
mod pushed;
mod recipes;
mod renewals;
mod replicas;
mod requests;
mod restarts;
mod revalidation;
mod secrets;
mod sessions;
mod skew;
mod store_contract;
mod support;
mod the_harness;
mod twilio;
mod what_if;
