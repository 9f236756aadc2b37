//! How we show a provider which client we are (OpenID Connect Core §9).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::issuer::Issuer;
use super::{Algorithm, BuildError, Settings};
use crate::clock::Timestamp;
use crate::ids::RequestId;

/// How we authenticate at the token endpoint (OpenID Connect Core §9). Never tried in turn: a wrong guess burns the code.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// `client_secret_basic`
    SecretBasic(SecretString),
    /// `client_secret_post`
    SecretPost(SecretString),
    /// `private_key_jwt`
    PrivateKeyJwt {
        /// The private key, PKCS#8 PEM: RSA, P-256, P-384 or Ed25519.
        pem: SecretString,
        /// The `kid` that the provider knows it by.
        key_id: Option<String>,
    },
    /// `none`: a public client, held by PKCE alone.
    None,
}

impl ClientAuth {
    /// Its registered name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SecretBasic(_) => "client_secret_basic",
            Self::SecretPost(_) => "client_secret_post",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
            Self::None => "none",
        }
    }
}

/// How long an assertion may be used: it is sent at once.
const ASSERTION_LIFE: Duration = Duration::from_mins(1);

/// The client's credentials, ready for use.
pub(super) struct Credentials {
    client_id: String,
    proof: Proof,
}

enum Proof {
    /// The whole `Authorization` header.
    Basic(HeaderValue),
    Post(SecretString),
    Assertion {
        algorithm: Algorithm,
        key_id: Option<String>,
        key: EncodingKey,
        reader: Reader,
    },
    Nothing,
}

/// Who reads an assertion, and so its one audience (RFC 7523 §3).
enum Reader {
    /// A provider with this issuer. That is the audience, for it is configured; the token endpoint is the provider's word.
    Issuer(String),
    /// Entra ID for many tenants, whose issuer with its placeholder is nobody's name. It wants the token endpoint that it is
    /// sent to, and knows a key by its certificate's thumbprint.
    EntraId,
}

impl Credentials {
    /// # Errors
    ///
    /// [`BuildError::PrivateKey`] when the private key cannot sign. No other.
    pub(super) fn new(settings: &Settings, issuer: &Issuer) -> Result<Self, BuildError> {
        let proof = match &settings.client_auth {
            ClientAuth::SecretBasic(secret) => Proof::Basic(basic(&settings.client_id, secret)),
            ClientAuth::SecretPost(secret) => Proof::Post(secret.clone()),
            ClientAuth::PrivateKeyJwt { pem, key_id } => {
                let (algorithm, key) = signing_key(pem).ok_or(BuildError::PrivateKey)?;
                let reader = if issuer.has_tenants() {
                    Reader::EntraId
                } else {
                    Reader::Issuer(settings.issuer.clone())
                };
                Proof::Assertion { algorithm, key_id: key_id.clone(), key, reader }
            }
            ClientAuth::None => Proof::Nothing,
        };
        Ok(Self { client_id: settings.client_id.clone(), proof })
    }

    /// Whether they stand in the headers alone, so that the form does not name the client.
    pub(super) const fn stand_in_headers(&self) -> bool {
        matches!(self.proof, Proof::Basic(_))
    }

    /// Adds to the `form` of a request to `endpoint` what belongs there; what belongs in its headers comes with
    /// [`Credentials::add_to_headers`].
    pub(super) fn add_to_form(
        &self,
        form: &mut Serializer<'_, String>,
        endpoint: &Url,
        now: Timestamp,
    ) {
        if self.stand_in_headers() {
            return;
        }
        form.append_pair("client_id", &self.client_id);
        match &self.proof {
            #[expect(
                clippy::disallowed_methods,
                reason = "client_secret_post sends it (RFC 6749 §2.3.1)"
            )]
            Proof::Post(secret) => _ = form.append_pair("client_secret", secret.expose_secret()),
            Proof::Assertion { algorithm, key_id, key, reader } => {
                let header = header(*algorithm, key_id.as_deref(), reader);
                let audience = match reader {
                    Reader::Issuer(issuer) => issuer,
                    Reader::EntraId => endpoint.as_str(),
                };
                form.append_pair(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                )
                .append_pair("client_assertion", &self.assertion(&header, key, audience, now));
            }
            Proof::Basic(_) | Proof::Nothing => {}
        }
    }

    /// Adds to a token request's headers what belongs there.
    pub(super) fn add_to_headers(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.proof {
            Proof::Basic(header) => request.header(AUTHORIZATION, header.clone()),
            _ => request,
        }
    }

    /// A JWT that says who we are (RFC 7523 §2.2, §3). It is sent to the endpoints that take clients only: a provider that names
    /// another's sends it there, and collects nothing.
    fn assertion(
        &self,
        header: &Header,
        key: &EncodingKey,
        audience: &str,
        now: Timestamp,
    ) -> String {
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": RequestId::unique().to_string(),
            "iat": now.as_seconds(),
            "exp": now.plus(ASSERTION_LIFE).as_seconds(),
        });
        #[expect(
            clippy::expect_used,
            reason = "the key has signed when it was read, and this JSON has string keys only"
        )]
        jsonwebtoken::encode(header, &claims, key).expect("a key that has signed signs again")
    }
}

/// The header of an assertion by the key that its reader knows as `key_id`: for Entra ID its certificate's thumbprint in
/// base64url, SHA-256 (RFC 7515 §4.1.8) or SHA-1 (§4.1.7), which has 27 characters.
fn header(algorithm: Algorithm, key_id: Option<&str>, reader: &Reader) -> Header {
    let mut header = Header::new(algorithm.for_jsonwebtoken());
    let key_id = key_id.map(str::to_owned);
    match (reader, &key_id) {
        (Reader::EntraId, Some(thumbprint)) if thumbprint.len() == 27 => header.x5t = key_id,
        (Reader::EntraId, _) => header.x5t_s256 = key_id,
        (Reader::Issuer(_), _) => header.kid = key_id,
    }
    header
}

/// `Basic`, with identifier and secret form-encoded first (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &SecretString) -> HeaderValue {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    #[expect(clippy::disallowed_methods, reason = "client_secret_basic sends it (RFC 6749 §2.3.1)")]
    let pair = format!("{}:{}", encoded(client_id), encoded(secret.expose_secret()));
    #[expect(clippy::expect_used, reason = "base64 has no character that a header cannot carry")]
    let mut header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .expect("base64 fits a header");
    header.set_sensitive(true);
    header
}

/// The key and the algorithm that its kind signs with; `None` when it is none that signs.
fn signing_key(pem: &SecretString) -> Option<(Algorithm, EncodingKey)> {
    #[expect(clippy::disallowed_methods, reason = "the key is read here, once")]
    let pem = pem.expose_secret().as_bytes();
    let kinds = [
        (Algorithm::Rs256, EncodingKey::from_rsa_pem(pem)),
        (Algorithm::Es256, EncodingKey::from_ec_pem(pem)),
        (Algorithm::Es384, EncodingKey::from_ec_pem(pem)),
        (Algorithm::EdDsa, EncodingKey::from_ed_pem(pem)),
    ];
    // Reading tells RSA, EC and Ed25519 apart; only signing tells the curves apart, and a key that is too weak.
    let signs = |(algorithm, key): &(Algorithm, EncodingKey)| {
        jsonwebtoken::crypto::sign(b"", key, algorithm.for_jsonwebtoken()).is_ok()
    };
    kinds.into_iter().filter_map(|(algorithm, key)| Some((algorithm, key.ok()?))).find(signs)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::{rsa, signature};

    use super::*;

    fn pem(pkcs8: &[u8]) -> SecretString {
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(pkcs8)
        )
        .into()
    }

    #[test]
    fn a_private_key_signs_with_the_algorithm_of_its_kind() {
        let p256 =
            signature::EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let p384 =
            signature::EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let ed25519 = signature::Ed25519KeyPair::generate().unwrap();
        let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();

        for (pkcs8, expected) in [
            (p256.to_pkcs8v1().unwrap().as_ref(), Algorithm::Es256),
            (p384.to_pkcs8v1().unwrap().as_ref(), Algorithm::Es384),
            (ed25519.to_pkcs8v1().unwrap().as_ref(), Algorithm::EdDsa),
            (
                AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap().as_ref(),
                Algorithm::Rs256,
            ),
        ] {
            assert_eq!(signing_key(&pem(pkcs8)).map(|(algorithm, _)| algorithm), Some(expected));
        }
    }

    #[test]
    fn entra_id_knows_a_key_by_a_thumbprint_and_others_by_its_kid() {
        let (sha1, sha256) =
            ("A1bC2dE3fH4iJ5kL6mN7oP8qR9s", "A1bC2dE3fH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD");
        let named = |key_id, reader| {
            let header = header(Algorithm::Rs256, Some(key_id), &reader);
            [header.kid, header.x5t, header.x5t_s256].map(Option::unwrap_or_default)
        };

        assert_eq!(named(sha1, Reader::EntraId), ["", sha1, ""]);
        assert_eq!(named(sha256, Reader::EntraId), ["", "", sha256]);
        assert_eq!(named(sha256, Reader::Issuer(String::new())), [sha256, "", ""]);
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        let p256 =
            signature::EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let cut_off = &p256.to_pkcs8v1().unwrap().as_ref()[..80].to_vec();

        for bad in [String::new().into(), "secret".to_owned().into(), pem(b"no DER"), pem(cut_off)]
        {
            assert!(signing_key(&bad).is_none());
        }
    }

    #[test]
    fn basic_encodes_identifier_and_secret_before_it_joins_them() {
        let header = basic("a:b", &"p+ä %/x".to_owned().into());

        let pair =
            STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "a%3Ab:p%2B%C3%A4+%25%2Fx");
        assert!(header.is_sensitive());
    }
}
