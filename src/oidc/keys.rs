//! The provider's public keys (RFC 7517 §5): those that can verify a signature, each pinned to its kind.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::Algorithm;
use super::algorithm::KeyKind;
use super::issuer::Issuer;
use super::jws::Jws;

/// The most keys that are kept, so that a token without `kid` costs a bounded number of tries.
const MOST_KEYS: usize = 100;

/// One public key.
struct Key {
    kid: Option<String>,
    kind: KeyKind,
    /// The only algorithm that it may be used with, if it says so.
    algorithm: Option<Algorithm>,
    /// Whose tokens it signs, if it says so; a member that no standard names.
    issuer: Option<Value>,
    public: DecodingKey,
}

impl Key {
    /// Reads one JWK; `None` when it cannot verify a signature of ours: for encryption, symmetric, of an unknown kind, or too
    /// weak.
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name| jwk.get(name).and_then(Value::as_str);
        let bytes = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let operations = jwk.get("key_ops").and_then(Value::as_array);
        if operations
            .is_some_and(|operations| !operations.iter().any(|operation| operation == "verify"))
        {
            return None;
        }
        let (kind, public) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                let n = without_leading_zeros(&n);
                // NIST SP 800-131A and RFC 7518 §3.3 ask for 2048 bits or more.
                if n.len() * 8 - n.first()?.leading_zeros() as usize >= 2048 {
                    (
                        KeyKind::Rsa,
                        DecodingKey::from_rsa_raw_components(n, without_leading_zeros(&e)),
                    )
                } else {
                    return None;
                }
            }
            ("EC", Some("P-256")) => {
                (KeyKind::P256, DecodingKey::from_ec_der(&point(&bytes("x")?, &bytes("y")?, 32)?))
            }
            ("EC", Some("P-384")) => {
                (KeyKind::P384, DecodingKey::from_ec_der(&point(&bytes("x")?, &bytes("y")?, 48)?))
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x").filter(|x| x.len() == 32)?;
                (KeyKind::Ed25519, DecodingKey::from_ed_der(&x))
            }
            _ => return None,
        };
        let algorithm = match jwk.get("alg") {
            None | Some(Value::Null) => None,
            Some(name) => Some(
                Algorithm::parse(name.as_str()?)
                    .filter(|algorithm| algorithm.key_kind() == kind)?,
            ),
        };
        Some(Self {
            kid: text("kid").map(str::to_owned),
            kind,
            algorithm,
            issuer: jwk.get("issuer").cloned(),
            public,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.kind == algorithm.key_kind() && self.algorithm.is_none_or(|only| only == algorithm)
    }

    fn verifies(&self, jws: &Jws<'_>) -> bool {
        let algorithm = jws.algorithm.for_jsonwebtoken();
        jsonwebtoken::crypto::verify(jws.signature, jws.signed.as_bytes(), &self.public, algorithm)
            .unwrap_or(false)
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// An uncompressed point (SEC 1 §2.3.3) of full coordinates (RFC 7518 §6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Option<Vec<u8>> {
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

/// What the provider's keys say about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One of them verifies it.
    Genuine {
        /// Whose tokens that key signs, if it says so.
        key_issuer: Option<Value>,
    },
    /// The key that it names does not verify it.
    Forged,
    /// It names no key, and none that fits verifies it: it may be by a newer one.
    NoKeyVerifies,
    /// There is no such key: it may be a newer one.
    NoKeyFits,
}

/// The provider's keys that can verify a signature.
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// The usable keys of a JWK set; `None` when `document` is no JWK set.
    pub(super) fn read(document: &Map<String, Value>) -> Option<Self> {
        let keys = document.get("keys")?.as_array()?;
        Some(Self(keys.iter().filter_map(Key::read).take(MOST_KEYS).collect()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of them fit one of `algorithms` and sign for `issuer`, or for one of its tenants.
    pub(super) fn usable_under(&self, algorithms: &[Algorithm], issuer: &Issuer) -> usize {
        let fits = |key: &&Key| algorithms.iter().any(|algorithm| key.fits(*algorithm));
        let signs = |key: &&Key| {
            issuer.of_tokens().iter().any(|issuer| issuer.is_signed_for_by(key.issuer.as_ref()))
        };
        self.0.iter().filter(fits).filter(signs).count()
    }

    /// Verifies the signature of `jws` by the key that its `kid` names. A key without `kid` may be anyone, so that it is tried
    /// too, and all that fit are tried for a token without `kid` (OpenID Connect Core §10.1).
    pub(super) fn verify(&self, jws: &Jws<'_>) -> Verdict {
        let mut named = false;
        let mut tried = false;
        for key in self.0.iter().filter(|key| key.fits(jws.algorithm)) {
            let same = jws.kid.is_some() && key.kid == jws.kid;
            if !(same || key.kid.is_none() || jws.kid.is_none()) {
                continue;
            }
            if key.verifies(jws) {
                return Verdict::Genuine { key_issuer: key.issuer.clone() };
            }
            named |= same;
            tried = true;
        }
        match (named, tried) {
            (true, _) => Verdict::Forged,
            (false, true) => Verdict::NoKeyVerifies,
            (false, false) => Verdict::NoKeyFits,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::KeyPair;
    use aws_lc_rs::{rsa, signature};
    use jsonwebtoken::EncodingKey;
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;
    use crate::oidc::jws::Typ;

    /// A P-256 key: its JWK, and how it signs.
    fn p256(kid: Option<&str>) -> (Value, EncodingKey) {
        let pair =
            signature::EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = pair.public_key().as_ref();
        let mut jwk = json!({
            "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(&public[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&public[33..]),
        });
        if let Some(kid) = kid {
            jwk["kid"] = kid.into();
        }
        (jwk, EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()))
    }

    fn rsa(size: rsa::KeySize) -> Value {
        let pair = rsa::KeyPair::generate(size).unwrap();
        let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
        json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB" })
    }

    fn token(key: &EncodingKey, kid: Option<&str>) -> SecretString {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, &json!({}), key).unwrap().into()
    }

    fn verdict(keys: &Value, token: &SecretString) -> Verdict {
        let keys = KeySet::read(json!({ "keys": keys }).as_object().unwrap()).unwrap();
        keys.verify(&Jws::read(token, Typ::Jwt, &[Algorithm::Es256]).unwrap())
    }

    fn plain_issuer() -> Issuer {
        Issuer::parse("https://id.example.com", &[]).unwrap()
    }

    fn usable(jwk: &Value) -> usize {
        KeySet::read(json!({ "keys": [jwk] }).as_object().unwrap())
            .unwrap()
            .usable_under(&Algorithm::ALL, &plain_issuer())
    }

    #[test]
    fn a_key_is_found_by_its_kid_and_without_one_by_trying() {
        let ((a, a_signs), (b, b_signs)) = (p256(Some("a")), p256(Some("b")));
        let (nameless, nameless_signs) = p256(None);

        assert_eq!(
            verdict(&json!([a, b]), &token(&b_signs, Some("b"))),
            Verdict::Genuine { key_issuer: None }
        );
        assert_eq!(
            verdict(&json!([a, b]), &token(&b_signs, None)),
            Verdict::Genuine { key_issuer: None }
        );
        assert_eq!(
            verdict(&json!([a, nameless]), &token(&nameless_signs, Some("n"))),
            Verdict::Genuine { key_issuer: None }
        );
        assert_eq!(verdict(&json!([a, b]), &token(&a_signs, Some("b"))), Verdict::Forged);
        assert_eq!(verdict(&json!([a]), &token(&b_signs, None)), Verdict::NoKeyVerifies);
        assert_eq!(verdict(&json!([a]), &token(&b_signs, Some("b"))), Verdict::NoKeyFits);
        assert_eq!(verdict(&json!([]), &token(&b_signs, None)), Verdict::NoKeyFits);
    }

    #[test]
    fn a_changed_payload_or_an_empty_signature_is_forged() {
        use secrecy::ExposeSecret;
        let (jwk, signs) = p256(Some("a"));
        #[expect(clippy::disallowed_methods, reason = "a test's own token")]
        let good = token(&signs, Some("a")).expose_secret().to_owned();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();

        for bad in [
            format!("{header}.eyJ9.{signature}"),
            format!("{signed}."),
            format!("{signed}.{signature}="),
        ] {
            assert_eq!(verdict(&json!([jwk]), &bad.into()), Verdict::Forged);
        }
    }

    #[test]
    fn what_cannot_verify_is_passed_over_and_the_rest_kept() {
        let (good, signs) = p256(Some("a"));
        let mut keys = vec![
            json!(7),
            json!({}),
            json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256" }),
            json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a" }),
            json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
            json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        ];
        for jwk in &keys {
            assert_eq!(usable(jwk), 0, "{jwk}");
        }
        keys.push(good);

        assert_eq!(
            verdict(&keys.into(), &token(&signs, Some("a"))),
            Verdict::Genuine { key_issuer: None }
        );
    }

    #[test]
    fn a_key_serves_its_own_purpose_and_algorithm_only() {
        let (good, _) = p256(None);
        assert_eq!(usable(&good), 1);

        for (member, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["encrypt"])),
            ("alg", json!("ES384")),
            ("alg", json!("RS256")),
            ("alg", json!("ECDH-ES")),
            ("alg", json!(7)),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert_eq!(usable(&bad), 0, "{bad}");
        }

        let mut pinned = rsa(rsa::KeySize::Rsa2048);
        assert_eq!(usable(&pinned), 1);
        pinned["alg"] = "PS256".into();
        let keys = KeySet::read(json!({ "keys": [pinned] }).as_object().unwrap()).unwrap();
        assert_eq!(keys.usable_under(&[Algorithm::Rs256], &plain_issuer()), 0);
        assert_eq!(keys.usable_under(&[Algorithm::Ps256], &plain_issuer()), 1);
    }

    #[test]
    fn a_key_for_another_tenant_is_of_no_use() {
        let template = "https://id.example.com/{tenantid}/v2.0";
        let (good, _) = p256(None);
        for (key_issuer, expected) in [
            (json!(template), 1),
            (json!("https://id.example.com/a/v2.0"), 1),
            (json!("https://id.example.com/b/v2.0"), 1),
            (json!("https://id.example.com/c/v2.0"), 0),
            (json!("https://other.example.com/{tenantid}/v2.0"), 0),
            (json!(""), 0),
            (json!(null), 0),
            (json!([template]), 0),
        ] {
            let mut jwk = good.clone();
            jwk["issuer"] = key_issuer;
            let keys = KeySet::read(json!({ "keys": [jwk] }).as_object().unwrap()).unwrap();
            let tenants = Issuer::parse(template, &["a".to_owned(), "b".to_owned()]).unwrap();

            assert_eq!(keys.usable_under(&Algorithm::ALL, &tenants), expected, "{jwk}");
            assert_eq!(keys.usable_under(&Algorithm::ALL, &plain_issuer()), 1, "{jwk}");
        }
    }

    #[test]
    fn an_rsa_key_has_2048_bits_or_more() {
        let good = rsa(rsa::KeySize::Rsa2048);
        let n = URL_SAFE_NO_PAD.decode(good["n"].as_str().unwrap()).unwrap();
        let with = |n: &[u8]| json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB" });

        assert_eq!(usable(&with(&[&[0], n.as_slice()].concat())), 1);
        assert_eq!(usable(&with(&n[1..])), 0);
        assert_eq!(usable(&with(&[&[0, 0x7f], &n[1..]].concat())), 0);
        assert_eq!(usable(&with(&[])), 0);
    }
}
