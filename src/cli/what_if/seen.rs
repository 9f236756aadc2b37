//! What a run remembers of those whom it has looked at, in a memory that does not grow with their number.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

use crate::ids::{Identity, Subject};

/// Groups of places, and places in a group: eight megabytes, which a million standings fill.
const GROUPS: usize = 1 << 17;
const PLACES: usize = 8;

/// How many identities of people without one are held against each other: about 40 megabytes of them.
const MOST_FIRST_COMERS: usize = 1_000_000;

/// Tells what came before. Up to a million it forgets next to nothing; beyond, what is long ago.
pub(super) struct Seen {
    hasher: RandomState,
    /// Hashes; 0 for a free place. In each group the newest is first.
    groups: Vec<[u64; PLACES]>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), groups: vec![[0; PLACES]; GROUPS] }
    }

    /// Whether `what` came before, and remembers it. Of two that differ, one in 2⁶⁴ counts as the other.
    pub(super) fn again(&mut self, what: &impl Hash) -> bool {
        let hash = self.hasher.hash_one(what).max(1);
        let place = usize::try_from(hash).unwrap_or(usize::MAX) % GROUPS;
        let group = &mut self.groups[place];
        if group.contains(&hash) {
            return true;
        }
        group.rotate_right(1);
        group[0] = hash;
        false
    }
}

/// Who would be the first to have an identity.
pub(super) struct FirstComers {
    hasher: RandomState,
    by_identity: HashMap<u64, u64>,
    /// Whether there were more than are remembered.
    pub(super) overflowed: bool,
}

impl FirstComers {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), by_identity: HashMap::new(), overflowed: false }
    }

    /// Whether another subject came before that wants the same identity.
    pub(super) fn is_anothers(&mut self, identity: &Identity, subject: &Subject) -> bool {
        let subject = self.hasher.hash_one(subject);
        let identity = self.hasher.hash_one(identity);
        if let Some(first) = self.by_identity.get(&identity) {
            return *first != subject;
        }
        if self.by_identity.len() < MOST_FIRST_COMERS {
            self.by_identity.insert(identity, subject);
        } else {
            self.overflowed = true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_is_known_again() {
        let mut seen = Seen::new();

        for name in 0..100_000_u32 {
            assert!(!seen.again(&name), "{name}");
        }
        let known = (0..100_000_u32).filter(|name| seen.again(name)).count();
        // A group overflows once in a million times at this load.
        assert!(known >= 99_990, "{known}");
    }

    #[test]
    fn the_first_who_wants_an_identity_has_it() {
        let mut first = FirstComers::new();
        let identity = |text| Identity::parse(text).unwrap();
        let subject = |value| Subject::new("https://a", value).unwrap();

        assert!(!first.is_anothers(&identity("one"), &subject("alice")));
        assert!(!first.is_anothers(&identity("one"), &subject("alice")));
        assert!(first.is_anothers(&identity("one"), &subject("bob")));
        assert!(!first.is_anothers(&identity("two"), &subject("bob")));
    }
}
