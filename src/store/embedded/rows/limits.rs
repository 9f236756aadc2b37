//! How often something may happen.

use std::time::Duration;

use redb::ReadableTable;

use super::Rows;
use crate::ids::RequestId;
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{Allowance, Rate};

impl Rows<'_> {
    pub(in crate::store::embedded) fn take_from_limit(
        &mut self,
        bucket: &str,
        rate: Rate,
        request: RequestId,
    ) -> Result<Allowance, Trouble> {
        let request = request.to_string();
        let kept = self.limits.get(bucket)?.map(|row| (row.value().0, row.value().1 == request));
        let kept = kept.filter(|(untouched_us, _)| *untouched_us > self.us);
        if matches!(kept, Some((_, true))) {
            return Ok(Allowance::Allowed);
        }
        match count(kept.map_or(0, |(untouched_us, _)| untouched_us), self.us, rate) {
            Ok(untouched_us) => {
                self.written = true;
                self.limits.insert(bucket, (untouched_us, request.as_str()))?;
                Ok(Allowance::Allowed)
            }
            Err(after) => Ok(Allowance::Refused { after }),
        }
    }
}

/// One more time against a limit (GCRA): when it is untouched again, in µs, or how long until there is room.
pub(super) fn count(untouched_us: u64, now_us: u64, rate: Rate) -> Result<u64, Duration> {
    let untouched_us = untouched_us.max(now_us).saturating_add(rate.interval_us());
    match (untouched_us - now_us).saturating_sub(rate.burst_us()) {
        0 => Ok(untouched_us),
        wait => Err(Duration::from_micros(wait)),
    }
}
