//! What is secret at rest, sealed: AES-256-GCM under the operators' keys.
//!
//! Owns the form of what is sealed and the change of keys. Does not own what is sealed (`sessions`), nor where it lies (`store`).

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use zeroize::Zeroizing;

/// Bytes of a nonce (NIST SP 800-38D §5.2.1.1), which stands before what is sealed.
const NONCE: usize = 12;

/// The keys, each under its id. The first seals, all open: so a new one goes to the front, and an old one out when nothing that
/// it sealed is left.
#[derive(Clone, Default)]
pub struct Settings {
    /// Id, and 32 random bytes.
    pub keys: Vec<(String, Zeroizing<[u8; 32]>)>,
}

/// Shows ids only.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

/// Seals and opens.
pub struct Seal {
    keys: Vec<(String, RandomizedNonceKey)>,
}

impl Seal {
    /// A seal with these keys; `None` when there are none.
    pub fn new(settings: &Settings) -> Option<Self> {
        #[expect(clippy::expect_used, reason = "32 bytes are a key of AES-256")]
        let key = |bytes: &Zeroizing<[u8; 32]>| {
            RandomizedNonceKey::new(&AES_256_GCM, bytes.as_slice()).expect("a key of 32 bytes")
        };
        let keys: Vec<_> =
            settings.keys.iter().map(|(id, bytes)| (id.clone(), key(bytes))).collect();
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// `secret`, sealed for `owner`: nobody who moves it to another owner can have it opened there. Reads as the key's id, a tilde,
    /// and base64url. `None` when the system has no random numbers.
    pub fn seal(&self, secret: &str, owner: &str) -> Option<String> {
        let (id, key) = self.keys.first()?;
        let mut sealed = secret.as_bytes().to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(owner), &mut sealed).ok()?;
        let whole = [nonce.as_ref().as_slice(), &sealed].concat();
        Some(format!("{id}~{}", URL_SAFE_NO_PAD.encode(whole)))
    }

    /// What was sealed for `owner`; `None` when it was for another, by a key that is there no more, or was changed since.
    pub fn open(&self, sealed: &str, owner: &str) -> Option<SecretString> {
        let (id, text) = sealed.split_once('~')?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == id)?;
        let mut whole = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let (nonce, rest) = whole.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = key.open_in_place(nonce, Aad::from(owner), rest).ok()?;
        Some(std::str::from_utf8(opened).ok()?.into())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn seal(ids: &[(&str, u8)]) -> Seal {
        let keys = ids.iter().map(|(id, byte)| ((*id).to_owned(), Zeroizing::new([*byte; 32])));
        Seal::new(&Settings { keys: keys.collect() }).unwrap()
    }

    fn opened(seal: &Seal, sealed: &str, owner: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "a test's own secret")]
        let text = seal.open(sealed, owner).map(|secret| secret.expose_secret().to_owned());
        text
    }

    #[test]
    fn what_is_sealed_is_opened_for_its_owner_alone_and_never_looks_the_same() {
        let seal = seal(&[("a", 1)]);
        let (one, two) = (seal.seal("refresh", "alice"), seal.seal("refresh", "alice"));
        let (one, two) = (one.unwrap(), two.unwrap());

        assert_ne!(one, two);
        assert!(!one.contains("refresh"));
        assert_eq!(opened(&seal, &one, "alice").as_deref(), Some("refresh"));
        assert_eq!(opened(&seal, &one, "bob"), None);
    }

    #[test]
    fn a_new_key_seals_and_an_old_one_opens_until_it_is_taken_out() {
        let (old, both, new) = (seal(&[("a", 1)]), seal(&[("b", 2), ("a", 1)]), seal(&[("b", 2)]));
        let sealed = old.seal("refresh", "alice").unwrap();

        assert_eq!(opened(&both, &sealed, "alice").as_deref(), Some("refresh"));
        assert_eq!(opened(&new, &sealed, "alice"), None);
        let sealed = both.seal("refresh", "alice").unwrap();
        assert_eq!(opened(&new, &sealed, "alice").as_deref(), Some("refresh"));
        assert_eq!(opened(&old, &sealed, "alice"), None);
        // An id that was given to another key.
        assert_eq!(opened(&seal(&[("b", 3)]), &sealed, "alice"), None);
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let seal = seal(&[("a", 1)]);
        let sealed = seal.seal("refresh", "alice").unwrap();

        for at in 2..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(opened(&seal, &String::from_utf8(changed).unwrap(), "alice"), None, "{at}");
        }
        for bad in ["", "a", "a~", "a~AAAA", "~", &sealed[..sealed.len() - 2], &sealed[2..]] {
            assert_eq!(opened(&seal, bad, "alice"), None, "{bad}");
        }
    }

    #[test]
    fn no_key_is_no_seal_and_none_is_shown() {
        assert!(Seal::new(&Settings::default()).is_none());
        let settings = Settings { keys: vec![("2026-11".to_owned(), Zeroizing::new([7; 32]))] };
        assert_eq!(format!("{settings:?}"), r#"["2026-11"]"#);
    }
}
