//! `[[client]]`: the backends that exchange tokens.

use secrecy::SecretString;

use super::forms::{self, TEXT};
use super::provider::AUDIENCE;
use super::reader::{Form, Section};
use crate::login::{Client, Credentials};
use crate::oidc::ClientKeys;

/// - `id`: its `client_id`. Compulsory, unique.
/// - `secret` or `secret_file`: its secret, 16 characters or more. Either this or the next is compulsory.
/// - `jwks` or `jwks_file`: the public keys by which it proves who it is (`private_key_jwt`), a JWK set in JSON. A key stays here as long as
///   the client may sign with it: one too long, and whoever has stolen it is this client.
/// - `audiences`: for whom the provider's tokens may be meant that it brings to `/oauth2/token`. Compulsory. What is listed here and
///   in no provider's `bearer_audiences` is refused on `/token`.
pub(super) fn read(client: &mut Section<'_, '_>, ids: &mut Vec<String>) -> Option<Client> {
    let id = client.required("id", &ID);
    let credentials = credentials(client);
    let audiences = client.list("audiences", &AUDIENCE, &[]);
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        client.fault::<()>("audiences", "is missing or empty", AUDIENCE.mend);
    }
    let id = id?;
    if ids.contains(&id) {
        return client.fault("id", "is the id of a client before it", ID.mend);
    }
    ids.push(id.clone());
    Some(Client { id, credentials: credentials?, audiences: audiences? })
}

/// One way to prove who it is, and only one: of two, the weaker one is what counts.
fn credentials(client: &mut Section<'_, '_>) -> Option<Credentials> {
    let secret = client.secret("secret", &SECRET);
    let keys = client.secret("jwks", &JWKS);
    match (secret?, keys?) {
        (Some(_), Some(_)) => {
            client.fault("jwks", "is set beside a secret", "Keep one of the two.")
        }
        (Some(secret), None) => Some(Credentials::Secret(secret)),
        (None, Some(keys)) => Some(Credentials::Keys(keys)),
        (None, None) => match client.stand_in(&SECRET) {
            Some(secret) => Some(Credentials::Secret(secret)),
            None => client.missing("secret", SECRET.mend),
        },
    }
}

const ID: Form<String> = Form { read: forms::text, mend: TEXT.mend };

const SECRET: Form<SecretString> = Form {
    read: forms::secret,
    mend: "Put 16 random characters or more into a file and its path into secret_file; or the client's public keys into jwks_file.",
};

const JWKS: Form<ClientKeys> = Form {
    read: ClientKeys::parse,
    mend: "Write the client's public keys like {\"keys\":[{\"kty\":\"EC\",…}]} into a file and its path into jwks_file; no private member.",
};
