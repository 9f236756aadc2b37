//! What one run of a rule may cost, counted in steps, none of which takes longer than a microsecond or so: one for each value and for
//! each sixteen bytes of text that it copies, compares or reads, and some for each element that a macro goes over.
//!
//! CEL has no such bound, and the claims come from outside: without it a rule like `claims.groups.map(g, claims.company + g)`
//! makes hundreds of megabytes of 64 KiB of claims. CEL's functions are plain functions without a place for a count, so that it
//! stands beside them, one for each thread; a rule runs on one thread from beginning to end.

use std::cell::Cell;

use cel::ExecutionError;
use cel::common::types::{CelBytes, CelList, CelMap, CelOptional, CelString};
use cel::common::value::Val;

/// A run over a thousand groups takes some thousands of steps.
pub(super) const MOST: usize = 100_000;
pub(super) const BYTES_A_STEP: usize = 16;
/// What a pattern is tried on takes longer.
pub(super) const MATCHED_BYTES_A_STEP: usize = 2;

thread_local! {
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// Runs `rule`; `None` when it took more steps than a run may, whatever came out.
pub(super) fn count<T>(rule: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(MOST);
    let value = rule();
    // `||` and `exists` pass over errors, this one too: what the run says after it counts for nothing.
    (LEFT.get() > 0).then_some(value)
}

/// Takes `steps` of what is left.
pub(super) fn spend(steps: usize) -> Result<(), ExecutionError> {
    let left = LEFT.get().saturating_sub(steps);
    LEFT.set(left);
    if left > 0 {
        return Ok(());
    }
    let (function, message) = ("@steps".to_owned(), String::new());
    Err(ExecutionError::FunctionError { function, message })
}

/// Takes what `bytes` of text cost.
pub(super) fn spend_bytes(bytes: usize) -> Result<(), ExecutionError> {
    spend(bytes / BYTES_A_STEP + 1)
}

/// Takes what a copy of `value` costs, with all that is in it, and says how much that was.
pub(super) fn spend_weight(value: &dyn Val) -> Result<usize, ExecutionError> {
    let before = LEFT.get();
    weigh(value)?;
    Ok(before - LEFT.get())
}

fn weigh(value: &dyn Val) -> Result<(), ExecutionError> {
    if let Some(text) = value.downcast_ref::<CelString>() {
        return spend_bytes(text.inner().len());
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        return spend_bytes(bytes.inner().len());
    }
    spend(1)?;
    if let Some(list) = value.downcast_ref::<CelList>() {
        return list.inner().iter().try_for_each(|item| weigh(item.as_ref()));
    }
    if let Some(map) = value.downcast_ref::<CelMap>() {
        return map.inner().iter().try_for_each(|(key, item)| {
            weigh(key.inner())?;
            weigh(item.as_ref())
        });
    }
    value.downcast_ref::<CelOptional>().and_then(CelOptional::option).map_or(Ok(()), weigh)
}
