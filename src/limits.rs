//! How often: the limits that all replicas share.
//!
//! Owns which client counts as one. Does not own the counting, which is a step of `store`; a session's own limit is counted in
//! its record, in the step that uses it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::RequestId;
use crate::store::{Allowance, Rate, Store, StoreError};

/// How often things may happen; `None` for without a limit.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Logins begun from one client address (IPv6: one /64), all replicas together. Too small, and an office behind one
    /// address is locked out in the morning; too big, and a loop of logins fills the store.
    pub logins: Option<Rate>,
    /// New guests for one client address, likewise.
    pub guests: Option<Rate>,
    /// Tokens for one session or lease. Too small, and an app with many tabs waits; too big, and a runaway app costs everybody.
    pub tokens: Option<Rate>,
}

/// Why something may not happen now.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// It happened too often; it may again `after`.
    #[error("over the limit")]
    Reached {
        /// How long to wait.
        after: Duration,
    },
    /// The store failed, so that nobody knows.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Counts logins and guests.
pub struct Limits {
    store: Arc<Store>,
    settings: Settings,
}

impl Limits {
    /// Limits counted in `store`.
    pub fn new(store: Arc<Store>, settings: Settings) -> Self {
        Self { store, settings }
    }

    /// Counts one login from `client`.
    ///
    /// # Errors
    ///
    /// [`LimitError::Reached`] when it is one too many, which is not counted; [`LimitError::Store`] when the store has no
    /// answer.
    pub async fn count_login(&self, client: IpAddr) -> Result<(), LimitError> {
        self.count("logins", self.settings.logins, client).await
    }

    /// Counts one new guest for `client`.
    ///
    /// # Errors
    ///
    /// As [`Limits::count_login`].
    pub async fn count_guest(&self, client: IpAddr) -> Result<(), LimitError> {
        self.count("guests", self.settings.guests, client).await
    }

    async fn count(
        &self,
        what: &str,
        rate: Option<Rate>,
        client: IpAddr,
    ) -> Result<(), LimitError> {
        let Some(rate) = rate else { return Ok(()) };
        let bucket = format!("{what}:{}", network_of(client));
        match self.store.take_from_limit(&bucket, rate, RequestId::unique()).await?.value {
            Allowance::Allowed => Ok(()),
            Allowance::Refused { after } => Err(LimitError::Reached { after }),
        }
    }
}

/// What one client can easily change about its address does not make it another: an IPv6 customer holds a whole /64, and an
/// IPv4 address is the same one when it comes mapped into IPv6.
fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_64() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();

        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:ffff::7"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:3::7"), "2001:db8:1:3::");
    }
}
