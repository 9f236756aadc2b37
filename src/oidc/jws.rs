//! A signed JWT as it comes (RFC 7515 §7.1): taken apart, its header judged, its signature not yet verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Algorithm, LARGEST_DOCUMENT, OidcError, cut, untrusted};

/// The header's parameters that are read. All others are ignored, `jwk`, `jku`, `x5u` and `x5c` among them: keys come from the
/// provider's metadata and nowhere else.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A token whose header passes: what it says is unverified until a key has verified it.
pub(super) struct Jws<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What is signed: header and payload, as they came.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    raw_payload: &'a str,
}

impl<'a> Jws<'a> {
    /// Takes `raw_token` apart, which is to be of a certain `typ`; only `algorithms` count, by their exact names (RFC 8725 §3.1).
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `size` when its payload is over 64 KiB; of `format` when it is not three parts of which the
    /// first is a header; of `algorithm` when that is none of `algorithms`; of `crit` when the header has one, since no
    /// extension is understood (RFC 7515 §4.1.11); of `typ` when it is another kind of JWT (RFC 8725 §3.11). No other.
    pub(super) fn read(
        raw_token: &'a SecretString,
        expected: Typ,
        algorithms: &[Algorithm],
    ) -> Result<Self, OidcError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the token is verified here and shown to nobody"
        )]
        let raw_token = raw_token.expose_secret();
        let Some((signed, signature)) = raw_token.rsplit_once('.') else {
            return Err(untrusted("format", "a signed JWT of 3 parts", "1 part"));
        };
        let Some((raw_header, raw_payload)) =
            signed.split_once('.').filter(|(_, payload)| !payload.contains('.'))
        else {
            let parts = format!("{} parts", raw_token.split('.').count());
            return Err(untrusted("format", "a signed JWT of 3 parts", parts));
        };
        // Four characters of base64 carry three bytes.
        if raw_payload.len() / 4 * 3 > LARGEST_DOCUMENT {
            return Err(untrusted(
                "size",
                format!("at most {LARGEST_DOCUMENT} bytes of claims"),
                "more",
            ));
        }
        let header = URL_SAFE_NO_PAD.decode(raw_header).ok();
        let header = header.and_then(|json| serde_json::from_slice::<Header>(&json).ok());
        let Some(Header { alg, kid, typ, crit }) = header else {
            return Err(untrusted("format", "a JWT header with one alg", "another"));
        };
        let algorithm = Algorithm::parse(&alg).filter(|algorithm| algorithms.contains(algorithm));
        let Some(algorithm) = algorithm else {
            let names = algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>();
            return Err(untrusted("algorithm", names.join(" or "), format!("{:?}", cut(&alg))));
        };
        if crit {
            return Err(untrusted("crit", "none", "one"));
        }
        if let Some(typ) = typ.filter(|typ| !expected.accepts(typ)) {
            return Err(untrusted("typ", expected.describe(), cut(&typ)));
        }
        Ok(Self { algorithm, kid, signed, signature, raw_payload })
    }

    /// The claims. Whether they are the provider's, only its keys tell.
    ///
    /// # Errors
    ///
    /// [`OidcError::Untrusted`] of `format` when they are no JSON object. No other.
    pub(super) fn payload(&self) -> Result<Map<String, Value>, OidcError> {
        let json = URL_SAFE_NO_PAD.decode(self.raw_payload).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| untrusted("format", "claims in a JSON object", "another"))
    }

    /// Which key would verify it, for the log.
    pub(super) fn describe_key(&self) -> String {
        match &self.kid {
            Some(kid) => format!("{} with kid {:?}", self.algorithm.name(), cut(kid)),
            None => format!("{} without kid", self.algorithm.name()),
        }
    }
}

/// What kind of JWT is expected: the same keys sign access tokens, ID tokens and logout tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Typ {
    /// None that calls itself another kind: an ID token, or userinfo.
    Jwt,
    /// An access token (RFC 9068 §2.1), or a plain JWT.
    Bearer,
    /// A logout token (OpenID Connect Back-Channel Logout §2.4), or a plain JWT, as its older drafts have it.
    Logout,
    /// What a client signs to say that it is itself (RFC 7523), which may call itself so, or a plain JWT.
    ClientAssertion,
}

impl Typ {
    /// Whether it may call itself `typ`: a media type whose `application/` may be left out, in any case (RFC 7515 §4.1.9). JOSE is
    /// what any JWS may call itself.
    fn accepts(self, typ: &str) -> bool {
        let typ = typ.to_ascii_lowercase();
        match typ.strip_prefix("application/").unwrap_or(&typ) {
            "jwt" | "jose" => true,
            "at+jwt" => matches!(self, Self::Bearer),
            "logout+jwt" => matches!(self, Self::Logout),
            "client-authentication+jwt" => matches!(self, Self::ClientAssertion),
            _ => false,
        }
    }

    const fn describe(self) -> &'static str {
        match self {
            Self::Jwt => "JWT or none",
            Self::Bearer => "at+jwt, JWT or none",
            Self::Logout => "logout+jwt, JWT or none",
            Self::ClientAssertion => "client-authentication+jwt, JWT or none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

    fn read(header: &str) -> Result<Option<String>, &'static str> {
        let token =
            format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"));
        refusal(&token)
    }

    fn refusal(token: &str) -> Result<Option<String>, &'static str> {
        match Jws::read(&SecretString::from(token.to_owned()), Typ::Jwt, &ALGORITHMS) {
            Ok(jws) => Ok(jws.kid),
            Err(OidcError::Untrusted { check, .. }) => Err(check),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn only_configured_algorithms_count_by_their_exact_names() {
        assert_eq!(read(r#"{"alg":"RS256"}"#), Ok(None));
        for alg in [
            "none", "None", "NONE", "nOnE", "", "RS256 ", "rs256", "HS256", "HS512", "PS256",
            "EdDSA",
        ] {
            assert_eq!(read(&format!(r#"{{"alg":"{alg}"}}"#)), Err("algorithm"), "{alg:?}");
        }
    }

    #[test]
    fn a_header_is_an_object_with_one_alg() {
        for header in [
            "{}",
            "[]",
            "",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"none","alg":"RS256"}"#,
        ] {
            assert_eq!(read(header), Err("format"), "{header}");
        }
        assert_eq!(read(r#"{"alg":"RS256","kid":7}"#), Err("format"));
    }

    #[test]
    fn no_extension_is_understood() {
        for crit in ["[]", "null", r#"["b64"]"#, r#"["exp"]"#] {
            assert_eq!(read(&format!(r#"{{"alg":"RS256","crit":{crit}}}"#)), Err("crit"), "{crit}");
        }
    }

    #[test]
    fn another_kind_of_jwt_is_refused_by_its_type() {
        for typ in ["JWT", "jwt", "application/jwt", "JOSE"] {
            assert_eq!(read(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)), Ok(None), "{typ}");
        }
        for typ in ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", ""] {
            assert_eq!(read(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)), Err("typ"), "{typ}");
        }
    }

    #[test]
    fn each_kind_of_jwt_has_its_own_type_and_may_have_the_plain_one() {
        for (typ, accepted) in [
            ("JWT", [true, true, true]),
            ("JOSE", [true, true, true]),
            ("at+jwt", [false, true, false]),
            ("application/AT+JWT", [false, true, false]),
            ("logout+jwt", [false, false, true]),
            ("application/logout+jwt", [false, false, true]),
            ("secevent+jwt", [false, false, false]),
            ("", [false, false, false]),
        ] {
            let kinds = [Typ::Jwt, Typ::Bearer, Typ::Logout];
            assert_eq!(kinds.map(|kind| kind.accepts(typ)), accepted, "{typ}");
        }
    }

    #[test]
    fn keys_in_the_header_are_passed_over() {
        let header = r#"{"alg":"RS256","kid":"../../x","jku":"http://evil.example","jwk":{"kty":"oct"},"x5u":"u","x5c":["c"]}"#;

        assert_eq!(read(header), Ok(Some("../../x".to_owned())));
    }

    #[test]
    fn a_token_has_three_parts() {
        for token in ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e", "..", "e30.e30."] {
            assert_eq!(refusal(token), Err("format"), "{token:?}");
        }
    }

    #[test]
    fn a_huge_payload_is_not_even_decoded() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);

        assert_eq!(refusal(&format!("{header}.{}.c2ln", "A".repeat(90_000))), Err("size"));
    }
}
