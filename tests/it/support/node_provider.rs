//! npm's `oidc-provider`: certified, with login and consent forms that take any name and any password.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::process::{Process, e2e};

/// The client that [`NodeProvider::start`] registers.
pub const CLIENT_ID: &str = "vestibule";
/// Its secret, for the methods that use one.
pub const CLIENT_SECRET: &str = "oidc-provider-client-secret";

/// One running `oidc-provider`, ended on drop.
pub struct NodeProvider {
    /// Its issuer, as discovery says it: no slash at the end.
    pub issuer: String,
    _process: Process,
}

impl NodeProvider {
    /// A provider with default settings and one client, which redirects to `redirect_uri`. What `client` holds is added to
    /// its registration or replaces it: `{"token_endpoint_auth_method": "private_key_jwt", "jwks": …}`,
    /// `{"id_token_signed_response_alg": "EdDSA"}`.
    pub async fn start(redirect_uri: &str, client: Value) -> Self {
        let mut registered = json!({
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [redirect_uri],
        });
        let Value::Object(more) = client else { panic!("the client's metadata is an object") };
        registered.as_object_mut().expect("an object").extend(more);
        Self::start_with(&json!({ "clients": [registered] })).await
    }

    /// A provider with this configuration, in the words of its documentation.
    pub async fn start_with(configuration: &Value) -> Self {
        let mut node = Command::new(e2e("node_modules/.bin/node"));
        node.arg(e2e("oidc-provider/server.mjs")).arg(configuration.to_string());
        let mut process = Process::start(&node);
        let issuer = process
            .wait_for(Duration::from_secs(30), |line| {
                line.strip_prefix("issuer ").map(str::to_owned)
            })
            .await;
        Self { issuer, _process: process }
    }
}
