//! Vestibule, an OIDC adapter for Twilio Conversations: a login at your identity provider becomes a signed access token.
//!
//! # Words
//!
//! **provider** an OpenID provider · **subject** whom a provider means: `(issuer, value of the subject claim)` · **identity**
//! the Conversations identity, a string · **member** an identity bound to a subject · **guest** an
//! identity that belongs to the pool · **holder** the visitor that has a guest now · **lease** guest, holder and end · **session** one
//! signed-in device · **access token** the JWT that we sign for Twilio.

mod cli;
mod clock;
mod config;
mod demo;
mod denials;
mod guests;
mod http;
mod identity;
mod ids;
mod limits;
mod login;
mod mint;
mod oidc;
mod ops;
mod policy;
mod seal;
mod service;
mod sessions;
mod store;
mod telemetry;
mod token;
mod twilio;

pub use cli::run;
pub use config::{Config, Fault};
pub use service::{Listeners, ServeError, Service, StartError};

/// What the store's contract suite and the benches need to see of the inside. Off in what users build.
#[cfg(feature = "inside")]
pub mod inside {
    pub use crate::clock::{Month, StoreTime, Timestamp};
    pub use crate::ids::{
        Digest, Handle, Identity, IdentityError, ProviderName, Reference, RequestId, Secret256,
        Subject, SubjectError, SubjectKey,
    };
    pub use crate::telemetry::{AUDIT, JsonLines, Metrics};

    /// A provider, as we meet it.
    pub mod oidc {
        pub use crate::oidc::*;
    }

    /// The policy.
    pub mod policy {
        pub use crate::policy::*;
    }

    /// The stand-in for Twilio's REST API.
    pub mod stand_in {
        pub use crate::demo::{Account, StandIn};
    }

    /// Twilio's REST API.
    pub mod twilio {
        pub use crate::twilio::*;
    }

    /// The store.
    pub mod store {
        pub use crate::store::*;
    }

    /// The access token.
    pub mod token {
        pub use crate::token::*;
    }
}
