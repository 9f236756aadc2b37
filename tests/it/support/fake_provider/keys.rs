//! The provider's keys, what it signs with them, and what it checks with those of others.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};
use aws_lc_rs::{digest, hmac, rand, rsa};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, crypto};
use serde_json::{Value, json};

use super::Registered;

/// What a token is signed with. Each of the first nine has a key of its own kind, published under its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Signer {
    Es256,
    Es384,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    EdDsa,
    /// ES256 with a key that comes after `Es256`.
    NextEs256,
    /// The algorithm of the first, with a key that is published nowhere, under the first's `kid`.
    Stranger(Box<Signer>),
    /// The header of the first, under this `alg`, and HMAC-SHA-256 with these bytes.
    Hmac(Vec<u8>),
    /// No signature, under this `alg`.
    Nothing(&'static str),
}

struct Key {
    der: Vec<u8>,
    public_der: Vec<u8>,
    jwk: Value,
}

static P256: LazyLock<[Key; 3]> =
    LazyLock::new(|| std::array::from_fn(|_| ec(&ECDSA_P256_SHA256_FIXED_SIGNING, 32)));
static P384: LazyLock<[Key; 2]> =
    LazyLock::new(|| std::array::from_fn(|_| ec(&ECDSA_P384_SHA384_FIXED_SIGNING, 48)));
static ED25519: LazyLock<[Key; 2]> = LazyLock::new(|| std::array::from_fn(|_| ed25519()));
static RSA: LazyLock<[Key; 2]> = LazyLock::new(|| std::array::from_fn(|_| rsa()));

fn ec(algorithm: &'static EcdsaSigningAlgorithm, length: usize) -> Key {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let public = pair.public_key().as_ref().to_vec();
    let (x, y) = public[1..].split_at(length);
    let curve = if length == 32 { "P-256" } else { "P-384" };
    Key {
        der: pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
        public_der: AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .unwrap()
            .as_ref()
            .to_vec(),
        jwk: json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }),
    }
}

fn ed25519() -> Key {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    Key {
        der: pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
        public_der: pair.public_key().as_ref().to_vec(),
        jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": x }),
    }
}

fn rsa() -> Key {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec();
    let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
    Key {
        der,
        public_der: AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .unwrap()
            .as_ref()
            .to_vec(),
        jwk: json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB" }),
    }
}

impl Signer {
    /// Those that are published.
    pub const EACH: [Self; 9] = [
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::EdDsa,
    ];

    /// The registered name of its algorithm.
    pub fn alg(&self) -> &'static str {
        match self {
            Self::Es256 | Self::NextEs256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::EdDsa => "EdDSA",
            Self::Stranger(of) => of.alg(),
            Self::Hmac(_) => "HS256",
            Self::Nothing(alg) => alg,
        }
    }

    fn key(&self) -> &'static Key {
        match self {
            Self::Es256 | Self::Hmac(_) | Self::Nothing(_) => &P256[0],
            Self::NextEs256 => &P256[1],
            Self::Es384 => &P384[0],
            Self::EdDsa => &ED25519[0],
            Self::Stranger(of) => match of.as_ref() {
                Self::Es384 => &P384[1],
                Self::EdDsa => &ED25519[1],
                Self::Es256 | Self::NextEs256 => &P256[2],
                _ => &RSA[1],
            },
            _ => &RSA[0],
        }
    }

    fn kid(&self) -> String {
        match self {
            Self::Stranger(of) => of.kid(),
            Self::NextEs256 => "es256-next".to_owned(),
            Self::Hmac(_) | Self::Nothing(_) => "es256".to_owned(),
            other => other.alg().to_lowercase(),
        }
    }

    fn algorithm(&self) -> Algorithm {
        self.alg().parse().unwrap()
    }

    /// Its public key, as it is published.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.key().jwk.clone();
        jwk["kid"] = self.kid().into();
        jwk["use"] = "sig".into();
        // Some providers say what a key is for, some do not.
        if matches!(self, Self::Ps256 | Self::Es256) {
            jwk["alg"] = self.alg().into();
        }
        jwk
    }

    /// Its private key, PKCS#8 PEM.
    pub fn pem(&self) -> String {
        let lines = STANDARD.encode(&self.key().der);
        format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
    }

    /// The header of what it signs.
    pub fn header(&self) -> Value {
        json!({ "alg": self.alg(), "kid": self.kid(), "typ": "JWT" })
    }

    /// A JWT.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let encoded = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = encoded.join(".");
        let signature = match self {
            Self::Nothing(_) => String::new(),
            Self::Hmac(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
            }
            _ => {
                let der = &self.key().der;
                let key = match self.alg() {
                    "ES256" | "ES384" => EncodingKey::from_ec_der(der),
                    "EdDSA" => EncodingKey::from_ed_der(der),
                    _ => EncodingKey::from_rsa_pem(self.pem().as_bytes()).unwrap(),
                };
                crypto::sign(signed.as_bytes(), &key, self.algorithm()).unwrap()
            }
        };
        format!("{signed}.{signature}")
    }

    /// The left half of a hash (OpenID Connect Core §3.1.3.6).
    pub fn half_hash(&self, text: &str) -> String {
        let algorithm = match self.alg() {
            alg if alg.ends_with("384") => &digest::SHA384,
            alg if alg.ends_with("512") || alg == "EdDSA" => &digest::SHA512,
            _ => &digest::SHA256,
        };
        let hash = digest::digest(algorithm, text.as_bytes());
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
    }
}

/// The public key of a signer in the forms that somebody may take for a shared secret.
pub fn public_bytes(signer: &Signer) -> Vec<Vec<u8>> {
    let Key { public_der, jwk, .. } = signer.key();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(public_der)
    );
    let texts = ["n", "x", "y"].into_iter().filter_map(|name| jwk[name].as_str());
    let decoded = texts.clone().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
    let texts = texts.map(|text| text.as_bytes().to_vec()).chain(decoded);
    texts
        .chain([public_der.clone(), pem.into_bytes(), signer.jwk().to_string().into_bytes()])
        .collect()
}

/// A token with these claims instead of those that were signed.
pub(super) fn with_claims(token: &str, claims: &Value) -> String {
    let parts: Vec<_> = token.split('.').collect();
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

/// The claims of a token, unverified.
pub fn payload(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Who reads an assertion.
pub(super) enum Reader<'a> {
    /// A provider that wants its issuer as the audience, and knows the key as `key-1`.
    Issuer(&'a str),
    /// One that wants its token endpoint as the audience, and knows the key by a certificate's thumbprint, [`THUMBPRINT`].
    EntraId { token_endpoint: &'a str },
}

/// SHA-256 over a certificate, as an assertion's header spells it.
pub const THUMBPRINT: &str = "A1bC2dE3fH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4cD";

/// Whether a token request comes from the client, authenticated as registered and in no other way.
pub(super) fn is_client(
    registered: &Registered,
    form: &HashMap<String, String>,
    authorization: Option<&str>,
    reader: &Reader<'_>,
) -> bool {
    let given = |name: &str| form.get(name).map(String::as_str);
    let named = given("client_id") == Some("vestibule");
    let (secret, assertion) = (given("client_secret"), given("client_assertion"));
    match registered {
        Registered::Basic(expected) => {
            let pair = format!(
                "vestibule:{}",
                url::form_urlencoded::byte_serialize(expected.as_bytes()).collect::<String>()
            );
            authorization == Some(&format!("Basic {}", STANDARD.encode(pair)))
                && secret.is_none()
                && assertion.is_none()
        }
        Registered::Post(expected) => {
            named && secret == Some(expected) && assertion.is_none() && authorization.is_none()
        }
        Registered::PrivateKeyJwt(signer) => {
            let kind = given("client_assertion_type")
                == Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
            named
                && kind
                && secret.is_none()
                && authorization.is_none()
                && assertion.is_some_and(|jwt| is_assertion(signer, jwt, reader))
        }
        Registered::Public => {
            named && secret.is_none() && assertion.is_none() && authorization.is_none()
        }
    }
}

/// RFC 7523 §3, as strict as a provider may be: one audience, and a life of a minute.
fn is_assertion(signer: &Signer, jwt: &str, reader: &Reader<'_>) -> bool {
    let audience = match reader {
        Reader::Issuer(audience) | Reader::EntraId { token_endpoint: audience } => *audience,
    };
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(signer.jwk()).unwrap();
    let mut rules = Validation::new(signer.algorithm());
    rules.set_audience(&[audience]);
    rules.set_issuer(&["vestibule"]);
    rules.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    let Ok(token) =
        jsonwebtoken::decode::<Value>(jwt, &DecodingKey::from_jwk(&jwk).unwrap(), &rules)
    else {
        return false;
    };
    let claims = token.claims;
    let life = claims["exp"].as_u64().unwrap_or(u64::MAX) - claims["iat"].as_u64().unwrap_or(0);
    claims["sub"] == "vestibule"
        && claims["aud"] == audience
        && claims["jti"].as_str().is_some_and(|jti| jti.len() >= 16)
        && life <= 60
        && match reader {
            Reader::Issuer(_) => token.header.kid.as_deref() == Some("key-1"),
            Reader::EntraId { .. } => token.header.x5t_s256.as_deref() == Some(THUMBPRINT),
        }
}

/// The S256 challenge of a PKCE verifier (RFC 7636 §4.2).
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

/// A name that nobody can guess.
pub(super) fn random(prefix: &str) -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).unwrap();
    format!("{prefix}-{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The time, in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
