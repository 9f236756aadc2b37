//! Which of a subject's sessions a provider's logout ends.

use crate::ids::Handle;

/// Which of a subject's sessions a logout ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Those of one login at the provider.
    Session {
        /// What the provider calls that login.
        sid: Handle,
        /// Also those of which nobody knows which login of the provider's they belong to.
        nameless: bool,
    },
}
