//! The only place that spells a Redis key, and the page to read before looking into the server by hand.
//!
//! | key | type | slot | content | life |
//! |---|---|---|---|---|
//! | `vestibule:login:{<digest of state>}` | hash | its own | `p` provider, `b` digest of the browser's binding secret, `u` where the browser goes afterwards, `k` the request that took it | 15 minutes, taken or not |
//! | `vestibule:claim:{<identity>}` | hash | its own | `k` subject key, `i` issuer, `v` value of the subject claim: whose the identity is; while it is moved, `mk`, `mi`, `mv`: the same of the subject that it goes to; `b` while it is blocked, which may stand alone | for ever, `b` alone until it is unblocked |
//! | `vestibule:subject:{<subject key>}` | string | the subject's | how often all its sessions were ended, a space, and the identity that it is bound to, if any, with `!` before it while that is blocked | for ever |
//! | `vestibule:standing:{<subject key>}` | hash | the subject's | `:i` issuer, `:v` value of the subject claim; for each provider `<provider>` brief: the policy's mark, `a` and the seconds that a token may last or `d` and a denial's reference, when the claims were obtained ms, parted by spaces; `<provider>:c` claims; `<provider>:d` decision | to the end of the last session, or longer as configured |
//! | `vestibule:session:{<subject key>}:<digest of its secret>` | hash | the subject's | `e` ends ms, `c` card: since ms, a space, and what the subject's key held when it began: once that holds anything else, the session is over; `p` provider, `l` last used ms, to a 128th of the idle time, `t` when its limit is untouched again µs, `r` the request counted last, `d` what its owner knows the device by, `o` the request that ended all others; `v` when the provider was last asked about it, ms, if it can be asked again, and when that is by userinfo a space, and until when, ms; `s` handle of the provider's sid; `w` the request that asks now, a space, and until when it may, ms, or `-` instead of a request when nobody asks until then, or 0 instead of a moment when it was the last to ask; of an ended one `x` the request that ended it, and `z` instead of `e` | to its end or the end of its idle time, whichever is first; a minute once `x` is there |
//! | `vestibule:devices:{<subject key>}` | zset | the subject's | the digest of each session's secret, by when the session is over, ms, as far as was known when it was looked at last: later only, if it has been used since. What is ended is taken out at once, what is gone after it lay idle, or after an operator ended all sessions, by later steps | as long as the last session to be opened may last |
//! | `vestibule:grants:{<subject key>}` | hash | the subject's | under the digest of a session's secret what its provider gave, sealed. What is left of sessions that are no more is taken out to be revoked | as long as the last session to be opened may last |
//! | `vestibule:logouts:{<subject key>}` | zset | the subject's | what a provider logged out, by when, ms: `*` everything, `-` sessions without a sid, or the handle of a sid; and after `+` each request that did so | 20 minutes after the last |
//! | `vestibule:handle:{<handle>}` | string | its own | when it was logged out, ms, if it was; then whom its logouts name: subject keys, each after a space | as long as the last session to join may last, and 20 minutes after a logout |
//! | `vestibule:spent:<digest>` | string | its own | the request that spent what has this digest | as long as that could come again |
//! | `vestibule:denial:<reference>` | string | its own | why somebody was denied | as configured |
//! | `vestibule:guests:{<pool>}` | hash | the pool's | `n` the first guest that was never lent; `a<month>` how many guests are active in it; `cd` cool-down ms; `b` the pool's birth, `id` the server's replication id, `run` its run id, `at` when a process looked last and `was` when one had when this replication id was first seen, ms, by which a loss of writes is found; `dm` when one was found last and `d` what is older than it in doubt, ms, `ll` in which replication id more than the last moment was missing, `fi` until when guests that are idle are kept back for it and `fl` until when those that were lent are, `un` up to which guest also what was never lent is doubtful, `q` when all leases were ended, ms; `tf`, `tt`, `tc`, `ts` the longest first token, token and cool-down ms, and the largest size that any process has lent with; `w` the stale guest that is being scrubbed for the next visitor, a space, and since when, ms. A month is twelve for each year since 0, and its place in the year | for ever |
//! | `vestibule:guests:{<pool>}:<guest>` | hash | the pool's | of a guest that is not idle: `i` digest of the holder's secret, `s` since ms, `e` the lease's end ms, `x` its last token's end at the latest ms, `b` when it may be idle ms, `a` the last month in which it is active; `c` once confirmed, `g` the request that ended the lease, `u` once a scrub began, `h` the member that its holder has become and `hu` until when they may be written about ms, `t` when its limit is untouched again µs, `r` the request counted last; while somebody works on it `k` the request that claimed it, `w` until when, `q` since when ms, `j` when it is to join | until it is idle |
//! | `vestibule:guests:{<pool>}:busy`, `:work`, `:joins`, `:stale`, `:retired` | zset | the pool's | guests that are lent or cool, by when they are ready; to be scrubbed now, and to be taken into conversations, by when; in something that costs more than they are worth, by number; beyond the size, by the month in which they were active last, times 2^32, and number | until they are not |
//! | `vestibule:guests:{<pool>}:months`, `:idle:<month>` | zset | the pool's | in which months idle guests were active last, and those of one, by since when they are idle | until they are lent |
//! | `vestibule:guests:{<pool>}:lend:<request>`, `:claim:<request>` | string | the pool's | the guests that those got for whom it asked; the guest that it got to work on | a minute |
//! | `vestibule:limit:<bucket>` | hash | its own | `t` when it is untouched again µs, `r` the request counted last | until it is untouched again |
//! | `vestibule:replicas` | string | its own | nothing: written before replicas are waited for | a minute |
//!
//! Field names are one letter because the session is read with every token. Times are of the server's own clock. In a cluster,
//! what is between braces decides the slot, and one script touches one slot. The scripts that go through a subject's devices put the
//! keys of its sessions together from that of one, or from what all begin with: all in the same slot, though not all among `KEYS`.

use std::fmt::{self, Display};

use crate::ids::{Digest, Handle, Identity, Reference, SubjectKey};
use crate::store::SessionKey;

const STANDING: &str = "vestibule:standing:{";

/// A pool of guests. What else there is of it begins with this and a colon.
pub(super) fn pool(name: &str) -> String {
    format!("vestibule:guests:{{{name}}}")
}

/// What is written last of all that replicas are waited for. Holds nothing.
pub(super) const REPLICAS: &str = "vestibule:replicas";

/// A login under way.
pub(super) fn login(id: &Digest) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:login:{{{id}}}"))
}

/// Whose an identity is.
pub(super) fn claim(identity: &Identity) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:claim:{{{identity}}}"))
}

/// Which identity a subject has.
pub(super) fn subject(subject: &SubjectKey) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:subject:{{{subject}}}"))
}

/// What is remembered of a subject; beside the subject's other keys.
pub(super) fn standing(subject: &SubjectKey) -> impl Display {
    fmt::from_fn(move |f| write!(f, "{STANDING}{subject}}}"))
}

/// What `SCAN` finds all standings by.
pub(super) const STANDINGS: &str = "vestibule:standing:*";

/// Whose standing `key` is; `None` when it is the key of something else.
pub(super) fn subject_of_standing(key: &str) -> Option<SubjectKey> {
    SubjectKey::parse(key.strip_prefix(STANDING)?.strip_suffix('}')?)
}

/// A denial.
pub(super) fn denial(reference: &Reference) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:denial:{reference}"))
}

/// A session; beside its subject's other keys.
pub(super) fn session(key: &SessionKey) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:session:{{{}}}:{}", key.subject, key.id))
}

/// Which sessions a subject has; beside them.
pub(super) fn devices(subject: &SubjectKey) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:devices:{{{subject}}}"))
}

/// What the keys of all sessions of a subject begin with; the digest of a session's secret completes one.
pub(super) fn sessions(subject: &SubjectKey) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:session:{{{subject}}}:"))
}

/// What providers gave for a subject's sessions; beside them.
pub(super) fn grants(subject: &SubjectKey) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:grants:{{{subject}}}"))
}

/// What was logged out of a subject's lately; beside its sessions.
pub(super) fn logouts(subject: &SubjectKey) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:logouts:{{{subject}}}"))
}

/// Whom a provider's logouts name.
pub(super) fn handle(handle: &Handle) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:handle:{{{handle}}}"))
}

/// A guest that is not idle; beside its pool, of which this is the key.
pub(super) fn guest(pool: &str, guest: u32) -> impl Display {
    fmt::from_fn(move |f| write!(f, "{pool}:{guest}"))
}

/// Something that counts once.
pub(super) fn spent(name: &Digest) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:spent:{name}"))
}

/// A limit.
pub(super) fn limit(bucket: &str) -> impl Display {
    fmt::from_fn(move |f| write!(f, "vestibule:limit:{bucket}"))
}
