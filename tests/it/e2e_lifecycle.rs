//! The life of a session at real providers: asked again, let go, signed out on either side.

mod keycloak;
mod oidc_provider;

/// A key for what is secret at rest.
const SEAL: &str = r#"
[[seal.keys]]
id = "test"
key = "c2VhbGVkIHdpdGggdGhpcnR5LXR3byBieXRlcyEhISE="
"#;
