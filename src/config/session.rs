//! `[session]` and `[limits]`: how long, and how often.

use std::time::Duration;

use super::forms::{self, RATE};
use super::reader::{Form, Section};
use crate::store::Rate;
use crate::{denials, limits, mint, sessions};

const fn days(count: u64) -> Duration {
    Duration::from_hours(24 * count)
}

/// - `idle`: how long a session may lie unused. Default `7d`, from 5 minutes. Too short, and people sign in again after lunch; too
///   long, and a forgotten device stays signed in.
/// - `absolute`: how long it may last, used or not. Default `30d`, to 400 days, the longest that browsers keep a cookie. Too long,
///   and a stolen cookie that is kept in use is good for as long.
///
/// - `keep_claims`: how long a person's last claims are kept, at least as long as a session lives: what `what-if` tries a new policy
///   on. Default `30d`. Too short, and it knows only those who are signed in; too long, and claims of people who left lie about.
///
/// Beside the settings, `idle` alone, for those who look at it whatever else is wrong.
pub(super) fn read(
    session: &mut Section<'_, '_>,
) -> (Option<Duration>, Option<(sessions::Settings, mint::Settings)>) {
    let idle = session.optional("idle", &LIFETIME, days(7));
    let absolute = session.optional("absolute", &LIFETIME, days(30));
    let keep_claims = session.optional("keep_claims", &KEEP, days(30));
    let lifetimes = idle.zip(absolute);
    if lifetimes.is_some_and(|(idle, absolute)| idle > absolute) {
        session.fault::<()>(
            "idle",
            "is longer than session.absolute, so that it never counts",
            LIFETIME.mend,
        );
    }
    let settings = lifetimes.zip(keep_claims).map(|((idle, absolute), keep_claims)| {
        (sessions::Settings { idle, absolute }, mint::Settings { keep_claims })
    });
    (idle, settings)
}

/// - `logins`: logins begun from one client address (IPv6: one /64), all replicas together. Default `600/m`. Too low, and a company
///   behind one address cannot come to work; too high or `off`, and one machine can fill the store with logins.
/// - `guests`: new guests for one client address, likewise. Default `30/h`. Too low, and a school behind one address is turned away; too high
///   or `off`, and one machine can empty the pool.
/// - `tokens`: tokens for one session or lease. Default `120/m`. Too low, and an app with many tabs fails; too high, and a broken app that
///   asks in a loop is not stopped.
pub(super) fn read_limits(limits: &mut Section<'_, '_>) -> Option<limits::Settings> {
    let a_minute = |count| Some(Rate { count, per: Duration::from_mins(1) });
    let logins = limits.optional("logins", &RATE, a_minute(600));
    let an_hour = Some(Rate { count: 30, per: Duration::from_hours(1) });
    let guests = limits.optional("guests", &RATE, an_hour);
    let tokens = limits.optional("tokens", &RATE, a_minute(120));
    Some(limits::Settings { logins: logins?, guests: guests?, tokens: tokens? })
}

/// - `keep`: how long a denial can be looked up by its reference, with the claims that rules read. Default `30d`. Too short, and
///   nobody can say any more why; too long, and claims of people who were never let in lie about.
pub(super) fn read_denials(denials: &mut Section<'_, '_>) -> Option<denials::Settings> {
    Some(denials::Settings { keep: denials.optional("keep", &KEEP, days(30))? })
}

const KEEP: Form<Duration> = Form {
    read: |text| forms::duration_within(text, Duration::from_hours(1), days(400)),
    mend: "Write it like \"12h\" or \"30d\", from 1h to 400d.",
};

const LIFETIME: Form<Duration> = Form {
    read: |text| forms::duration_within(text, Duration::from_mins(5), days(400)),
    mend: "Write it like \"8h\" or \"30d\", from 5m to 400d, idle no longer than absolute.",
};
