//! A panic anywhere in the service fails the run, though the task that it ends has nobody who waits for it.

use std::panic;
use std::sync::{Mutex, Once};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts to watch, once for the process. What tests and their own libraries panic at is their way to fail, and not meant here.
pub fn watch() {
    static START: Once = Once::new();
    START.call_once(|| {
        let otherwise = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let at = info.location().map(ToString::to_string).unwrap_or_default();
            let is_a_tests = ["tests/", "insta-", "proptest-"].iter().any(|part| at.contains(part));
            if !is_a_tests {
                SEEN.lock().unwrap().push(at);
            }
            otherwise(info);
        }));
    });
}

/// Fails when the service has panicked since the process began, in this test or another.
pub fn none() {
    if !std::thread::panicking() {
        let seen = SEEN.lock().unwrap().clone();
        assert!(seen.is_empty(), "the service panicked at {seen:?}");
    }
}
