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

mod store_contract;
mod support;
