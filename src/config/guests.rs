//! `[guests]`: visitors without a login.

use std::time::Duration;

use super::forms::{self, TEXT};
use super::reader::{Form, Section};
use crate::guests::{Settings, Tickets};
use crate::ids::{GUEST_PREFIX, Identity};
use crate::oidc::ClientKeys;
use crate::store::PoolTerms;
use crate::{http, token};

/// The most guests that one pool can have.
pub(crate) const MOST: u32 = PoolTerms::LARGEST;

/// The conversations that a guest can be taken into.
const MOST_CONVERSATIONS: usize = 16;

/// - `size`: how many guests there are, to 10,000,000. Compulsory. The most that guests can cost in a month. Too small, and visitors are turned
///   away; too big, and nothing, for a guest that nobody needs costs nothing.
/// - `prefix`: what their identities begin with. Default `guest-`; another one begins with that. Those of another prefix are
///   another pool: all leases end, and the month's count begins anew.
/// - `first_token_ttl`: how long a guest is held for a visitor who never comes back for a second token, from 1 minute. Default `5m`, or
///   `token_ttl` if that is shorter. Too short, and slow clients lose it; too long, and a loop of `POST /guest` empties the pool.
/// - `token_ttl`: how long its tokens live from then on. No longer than `lease` and `twilio.token_ttl`; default `30m`, or the shortest of these.
/// - `lease`: how long a guest is held after each token. Default `30m`, or `max_stay` if that is shorter. Too long, and guests wait for
///   visitors who have left.
/// - `max_stay`: how long one visitor may hold one, however often it comes. Default `12h`, to 30 days.
/// - `cooldown`: how long after its last token's end a guest goes to nobody else. Default `10m`, from 1 second. Too short, and what its last
///   holder's friends still write reaches the next; too long, and more guests are needed.
/// - `monthly_budget`: how many guests may become active in a month, which is what Twilio bills. Default all.
/// - `conversations`: rooms that every guest is taken into, by SID or unique name; every guest can read their history. Default none.
/// - `role`: the friendly name of its conversation role there. Default Twilio's.
/// - `on_login`: `carry_over` takes a guest's conversations along when it signs in, `leave` does not. Default `carry_over`.
/// - `ticket`: who says which visitors may be guests. Default nobody has to.
///
/// `None` inside when there is no such table.
#[expect(
    clippy::option_option,
    reason = "the outer is a fault, as in every getter; the inner is absence"
)]
pub(super) fn read(
    root: &mut Section<'_, '_>,
    server: Option<&http::Settings>,
    twilio: Option<&token::Settings>,
) -> Option<Option<Settings>> {
    if !root.has("guests") {
        // Asked for all the same, so that it is a known name.
        root.within("guests", |_| ());
        return Some(None);
    }
    root.within("guests", |guests| {
        let pool = read_pool(guests, twilio);
        let prefix = guests.optional("prefix", &PREFIX, GUEST_PREFIX.to_owned());
        let conversations = guests.list("conversations", &CONVERSATION, &[]);
        if conversations.as_ref().is_some_and(|all| all.len() > MOST_CONVERSATIONS) {
            guests.fault::<()>("conversations", "are more than 16", CONVERSATION.mend);
        }
        let role = guests.optional("role", &ROLE, None);
        let carry_over = guests.optional("on_login", &ON_LOGIN, true);
        let tickets = read_tickets(guests, server);
        let (conversations, role) = (conversations?, role?);
        if role.is_some() && conversations.is_empty() {
            guests.warn("role", "is for guests.conversations, and there are none.");
        }
        let pool = PoolTerms { joins: !conversations.is_empty(), ..pool? };
        let (prefix, carry_over, tickets) = (prefix?, carry_over?, tickets?);
        Some(Some(Settings { prefix, pool, conversations, role, carry_over, tickets }))
    })
}

fn read_pool(guests: &mut Section<'_, '_>, twilio: Option<&token::Settings>) -> Option<PoolTerms> {
    let before = guests.faults();
    let size = guests.required_number("size", 1..=MOST, SIZE);
    let budget = guests.optional_number("monthly_budget", 1..=MOST, BUDGET);
    if budget.flatten().zip(size).is_some_and(|(budget, size)| budget > size) {
        let problem = "is more than guests.size, so that it never counts";
        guests.fault::<()>("monthly_budget", problem, BUDGET);
    }
    let lives = read_lives(guests, twilio.map(|twilio| twilio.ttl));
    let cooldown = guests.optional("cooldown", &COOLDOWN, Duration::from_mins(10));
    let (size, budget, cooldown) = (size?, budget?, cooldown?);
    let [first, token, lease, max_stay] = lives?;
    let joins = false;
    let terms = PoolTerms { size, budget, first, lease, token, max_stay, cooldown, joins };
    (guests.faults() == before).then_some(terms)
}

/// `first_token_ttl`, `token_ttl`, `lease` and `max_stay`, none of which may be longer than the next. What is not written is never a fault:
/// a default gives way to what is.
fn read_lives(guests: &mut Section<'_, '_>, longest: Option<Duration>) -> Option<[Duration; 4]> {
    let minutes = Duration::from_mins;
    let within = |usual: Duration, bound: Option<Duration>| bound.map_or(usual, |it| it.min(usual));
    let max_stay = guests.optional("max_stay", &STAY, minutes(12 * 60));
    let lease = guests.optional("lease", &LIFE, within(minutes(30), max_stay));
    let usual = within(within(minutes(30), lease), longest);
    let token = guests.optional("token_ttl", &LIFE, usual);
    let first = guests.optional("first_token_ttl", &LIFE, within(minutes(5), token));
    for (key, one, other, problem) in [
        (
            "token_ttl",
            token,
            lease,
            "is longer than guests.lease, so that a token outlives its lease",
        ),
        ("first_token_ttl", first, token, "is longer than guests.token_ttl"),
        ("lease", lease, max_stay, "is longer than guests.max_stay, so that it never counts"),
        ("token_ttl", token, longest, "is longer than twilio.token_ttl, so that it never counts"),
    ] {
        // Where one of the two is a fault itself, nothing can be said of both.
        if one.zip(other).is_some_and(|(one, other)| one > other) {
            guests.fault::<()>(key, problem, LIFE.mend);
        }
    }
    if first.is_some_and(|first| first < minutes(5)) {
        guests.warn(
            "first_token_ttl",
            "is under 5 minutes, below which Twilio says that tokens do not work reliably.",
        );
    }
    Some([first?, token?, lease?, max_stay?])
}

/// - `issuer`: the `iss` of its tickets. Compulsory.
/// - `jwks` or `jwks_file`: its public keys, a JWK set in JSON. Compulsory.
#[expect(
    clippy::option_option,
    reason = "the outer is a fault, as in every getter; the inner is absence"
)]
fn read_tickets(
    guests: &mut Section<'_, '_>,
    server: Option<&http::Settings>,
) -> Option<Option<Tickets>> {
    if !guests.has("ticket") {
        guests.within("ticket", |_| ());
        return Some(None);
    }
    guests.within("ticket", |ticket| {
        let issuer = ticket.required("issuer", &TEXT);
        let keys = ticket.required_secret("jwks", &JWKS);
        let (issuer, keys) = (issuer?, keys?);
        let audience = server?.public_url.origin().ascii_serialization();
        Some(Some(Tickets { issuer, keys, audience }))
    })
}

const SIZE: &str = "Write how many guests there are, from 1 to 10000000, without quotes; `vestibule plan-guests` tells how many are needed.";

const BUDGET: &str =
    "Write how many guests may become active in a month, from 1 to guests.size, without quotes.";

const PREFIX: Form<String> = Form {
    read: |text| {
        if !text.starts_with(GUEST_PREFIX) {
            return Err("does not begin with guest-, by which guests are told from members");
        }
        // With room for a number.
        match Identity::parse(&format!("{text}{MOST}")) {
            Ok(_) if !text.ends_with(|last: char| last.is_ascii_digit()) => Ok(text.to_owned()),
            Ok(_) => Err("ends with a digit, as if it were part of the guest's number"),
            Err(_) => Err("makes no Conversations identity"),
        }
    },
    mend: "Write it like \"guest-\" or \"guest-shop-\": A-Z a-z 0-9 . _ ~ - only.",
};

const LIFE: Form<Duration> = Form {
    read: |text| {
        forms::duration_within(text, Duration::from_mins(1), Duration::from_mins(23 * 60 + 55))
    },
    mend: "Write it like \"5m\" or \"30m\", from 1m to 23h55m: first_token_ttl no longer than token_ttl, that no longer than lease and twilio.token_ttl, lease no longer than max_stay.",
};

const STAY: Form<Duration> = Form {
    read: |text| {
        forms::duration_within(text, Duration::from_mins(1), Duration::from_hours(30 * 24))
    },
    mend: "Write it like \"12h\", from 1m to 30d.",
};

const COOLDOWN: Form<Duration> = Form {
    read: |text| forms::duration_within(text, Duration::from_secs(1), Duration::from_hours(24)),
    mend: "Write it like \"10m\", from 1s to 24h.",
};

const CONVERSATION: Form<String> = Form {
    read: |text| {
        forms::text(text)
            .and_then(|text| if text.len() > 256 { Err("is too long") } else { Ok(text) })
    },
    mend: "Write the conversations' SIDs or unique names like [\"lobby\"], 16 at most.",
};

const ROLE: Form<Option<String>> = Form {
    read: |text| forms::text(text).map(Some),
    mend: "Write the role's friendly name as Twilio's console shows it, like \"channel user\".",
};

const ON_LOGIN: Form<bool> = Form {
    read: |text| match text {
        "carry_over" => Ok(true),
        "leave" => Ok(false),
        _ => Err("is neither carry_over nor leave"),
    },
    mend: "Write \"carry_over\" or \"leave\".",
};

const JWKS: Form<ClientKeys> = Form {
    read: ClientKeys::parse,
    mend: "Write the issuer's public keys like {\"keys\":[{\"kty\":\"EC\",…}]} into a file and its path into jwks_file; no private member.",
};
