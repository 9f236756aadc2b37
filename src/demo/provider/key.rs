use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// The provider's ES256 key.
pub(super) struct Key {
    private: EncodingKey,
    header: Header,
    /// The key set with its one key, as relying parties read it (RFC 7517 §5).
    pub public: Value,
}

impl Key {
    /// A fresh key.
    ///
    /// # Errors
    ///
    /// [`Unspecified`] when the system gives no random numbers. No other.
    pub(super) fn generate() -> Result<Self, Unspecified> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let id = random_text()?;
        // An uncompressed point: 4, then x and y of 32 bytes each (SEC 1 §2.3.3).
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let public = json!({ "keys": [{
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "alg": "ES256",
            "kid": id,
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        }] });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(id);
        Ok(Self { private: EncodingKey::from_ec_der(pair.to_pkcs8v1()?.as_ref()), header, public })
    }

    /// `claims` as a signed JWT.
    ///
    /// # Errors
    ///
    /// Whatever the signing library says; with this key and JSON claims there is nothing known.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&self.header, claims, &self.private)
    }
}

/// 256 random bits as 43 characters of base64url.
pub(in crate::demo) fn random_text() -> Result<String, Unspecified> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
