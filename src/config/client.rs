//! `[[client]]`: the backends that exchange tokens.

use secrecy::SecretString;

use super::forms::{self, TEXT};
use super::provider::AUDIENCE;
use super::reader::{Form, Section};
use crate::login::Client;

/// - `id`: its `client_id`. Compulsory, unique.
/// - `secret` or `secret_file`: its secret, 16 characters or more. Compulsory.
/// - `audiences`: for whom the provider's tokens may be meant that it brings to `/oauth2/token`. Compulsory. What is listed here and
///   in no provider's `bearer_audiences` is refused on `/token`.
pub(super) fn read(client: &mut Section<'_, '_>, ids: &mut Vec<String>) -> Option<Client> {
    let id = client.required("id", &ID);
    let secret = client.required_secret("secret", &SECRET);
    let audiences = client.list("audiences", &AUDIENCE, &[]);
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        client.fault::<()>("audiences", "is missing or empty", AUDIENCE.mend);
    }
    let id = id?;
    if ids.contains(&id) {
        return client.fault("id", "is the id of a client before it", ID.mend);
    }
    ids.push(id.clone());
    Some(Client { id, secret: secret?, audiences: audiences? })
}

const ID: Form<String> = Form { read: forms::text, mend: TEXT.mend };

const SECRET: Form<SecretString> = Form {
    read: forms::secret,
    mend: "Put 16 random characters or more into a file and its path into secret_file.",
};
