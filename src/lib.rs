//! Vestibule, an OIDC adapter for Twilio Conversations: a login at your identity provider becomes a signed access token.
//!
//! # Words
//!
//! **provider** an OpenID provider · **subject** whom a provider means: `(issuer, value of the subject claim)` · **identity**
//! the Conversations identity, a string · **member** an identity bound to a subject · **session** one signed-in device ·
//! **access token** the JWT that we sign for Twilio.

mod clock;
mod ids;
mod telemetry;
