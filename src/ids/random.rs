//! Random secrets and names, and the digests that they are known by.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// SHA-256 of something, for looking up what must not be kept itself. Reads as 43 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_output(&digest::digest(&digest::SHA256, bytes))
    }

    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        decode_exactly(text, &mut bytes).then_some(Self(bytes))
    }

    /// The digest that the library has computed.
    pub(super) fn from_output(output: &digest::Digest) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(output.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 43];
        f.write_str(encode_into(&self.0, &mut text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// 256 random bits that only their owner may know. Wiped from memory when dropped; never shown by `Debug`.
#[derive(Clone)]
pub struct Secret256(Zeroizing<[u8; 32]>);

impl Secret256 {
    /// Fresh bits from the system's generator.
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut *bytes);
        Self(bytes)
    }

    /// Reads 43 characters of base64url; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        decode_exactly(text, &mut *bytes).then_some(Self(bytes))
    }

    /// What is kept of it: its SHA-256.
    pub fn digest(&self) -> Digest {
        Digest::of(&*self.0)
    }

    /// The secret itself as 43 characters of base64url, for handing to its owner and nowhere else.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.as_slice())
    }

    /// Another secret that only the holder of this one can compute: HMAC-SHA-256 over `purpose` and `context` under this one.
    #[must_use]
    pub fn derive(&self, purpose: &str, context: &str) -> Self {
        let mut hmac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0));
        // The length goes first, so that what ends the purpose cannot begin the context.
        hmac.update(&(purpose.len() as u64).to_be_bytes());
        hmac.update(purpose.as_bytes());
        hmac.update(context.as_bytes());
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(hmac.sign().as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Secret256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret256(…)")
    }
}

/// Names one request of ours to the store, so that a step which is sent twice (a lost reply) is known again; also the `jti` of the
/// token that the request mints. Nobody has to be kept from guessing it. 128 bits, 22 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// A name that no other request has: half of it is this process' own, drawn at random, and half is counted, which costs a
    /// token a hundredth of what drawing all of it would.
    pub fn unique() -> Self {
        static PROCESS: LazyLock<[u8; 8]> = LazyLock::new(|| {
            let mut bytes = [0; 8];
            fill_random(&mut bytes);
            bytes
        });
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut bytes = [0; 16];
        let (process, count) = bytes.split_at_mut(8);
        process.copy_from_slice(&*PROCESS);
        count.copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 22];
        f.write_str(encode_into(&self.0, &mut text))
    }
}

/// What a provider calls a login or a person in its logout tokens, without saying it: 128 bits of SHA-256, 22 characters of base64url.
/// Each session holds one, so that it is short; nobody gains by finding two parts that share one, for only a provider names them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle([u8; 16]);

impl Handle {
    /// The handle of what `parts` name together, in their order.
    pub fn of(parts: &[&str]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            // The length goes first, so that what ends one part cannot begin the next.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(bytes)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 22];
        f.write_str(encode_into(&self.0, &mut text))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

/// What a person quotes to an operator about a refusal: `7K3M9-QX2TB`, 50 bits in Crockford's base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference([u8; 10]);

impl Reference {
    /// Crockford's base 32: digits and letters without I, L, O and U.
    const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// A fresh reference.
    pub fn random() -> Self {
        let mut bytes = [0; 10];
        fill_random(&mut bytes);
        Self::spell(bytes)
    }

    /// The reference of what has this digest: the same each time.
    pub fn of(digest: &Digest) -> Self {
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&digest.0[..10]);
        Self::spell(bytes)
    }

    fn spell(bytes: [u8; 10]) -> Self {
        Self(bytes.map(|byte| Self::SYMBOLS[usize::from(byte % 32)]))
    }

    /// Reads a reference as people write it down: in either case, with its dash, others or none, and with O for 0, I or L for 1;
    /// `None` for anything else.
    pub fn parse(raw: &str) -> Option<Self> {
        let mut symbols = [0; 10];
        let mut places = symbols.iter_mut();
        for byte in raw.bytes().filter(|byte| *byte != b'-') {
            let symbol = match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                symbol => symbol,
            };
            *places.next()? = Some(symbol).filter(|symbol| Self::SYMBOLS.contains(symbol))?;
        }
        places.next().is_none().then_some(Self(symbols))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, symbol) in self.0.iter().enumerate() {
            let dash = if place == 5 { "-" } else { "" };
            write!(f, "{dash}{}", char::from(*symbol))?;
        }
        Ok(())
    }
}

#[expect(clippy::expect_used, reason = "without random numbers nothing here is safe to go on with")]
fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system's random generator works");
}

/// Decodes `text` into all of `bytes`; `false` when it is not exactly that long or not canonical base64url.
fn decode_exactly(text: &str, bytes: &mut [u8]) -> bool {
    // The decoder wants room for whole groups of three; what it says it wrote must be what we asked for.
    let mut room = Zeroizing::new([0; 36]);
    match URL_SAFE_NO_PAD.decode_slice(text, &mut *room) {
        Ok(length) if length == bytes.len() => {
            bytes.copy_from_slice(&room[..length]);
            true
        }
        _ => false,
    }
}

#[expect(
    clippy::expect_used,
    reason = "all callers size the text for their bytes, and base64 is ASCII"
)]
fn encode_into<'a>(bytes: &[u8], text: &'a mut [u8]) -> &'a str {
    let length = URL_SAFE_NO_PAD.encode_slice(bytes, text).expect("the text has room");
    std::str::from_utf8(&text[..length]).expect("base64 is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_digests_survive_their_text() {
        let secret = Secret256::random();

        assert_eq!(Secret256::parse(&secret.reveal()).unwrap().digest(), secret.digest());
        assert_eq!(Digest::parse(&secret.digest().to_string()), Some(secret.digest()));
        for bad in
            ["", "x", &secret.reveal()[1..], &format!("{}=", secret.reveal()), &"é".repeat(21)]
        {
            assert!(Secret256::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_derived_depends_on_secret_purpose_and_context() {
        let (one, other) = (Secret256::random(), Secret256::random());
        let all = [
            one.derive("nonce", "s").reveal(),
            one.derive("pkce", "s").reveal(),
            one.derive("nonce", "t").reveal(),
            one.derive("nonces", "").reveal(),
            other.derive("nonce", "s").reveal(),
        ];

        assert_eq!(one.derive("nonce", "s").reveal(), all[0]);
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
    }

    #[test]
    fn a_handle_names_its_parts_and_is_short() {
        let all: [&[&str]; 6] = [
            &["a", "b:c"],
            &["a:b", "c"],
            &["ab", ":c"],
            &["a", "b", ":c"],
            &["ab:c"],
            &["b:c", "a"],
        ];
        let handles = all.map(Handle::of);

        assert_eq!(Handle::of(all[0]), handles[0]);
        assert_eq!(handles.iter().collect::<std::collections::HashSet<_>>().len(), all.len());
        assert_eq!(handles[0].to_string().len(), 22);
    }

    #[test]
    fn a_million_request_ids_are_all_different() {
        let ids: std::collections::HashSet<_> =
            (0..1_000_000).map(|_| RequestId::unique()).collect();

        assert_eq!(ids.len(), 1_000_000);
    }

    #[test]
    fn a_secret_is_not_in_its_debug_text() {
        let secret = Secret256::random();

        assert!(!format!("{secret:?}").contains(&secret.reveal()));
    }

    #[test]
    fn a_reference_can_be_read_over_the_telephone() {
        let text = Reference::random().to_string();

        assert_eq!(text.len(), 11);
        assert!(
            text.chars().all(|c| c == '-' || (c.is_ascii_alphanumeric() && !"ILOU".contains(c)))
        );
    }

    #[test]
    fn a_reference_survives_how_people_write_it_down() {
        let reference = Reference::random();
        let text = reference.to_string();

        for written in [text.clone(), text.to_lowercase(), text.replace('-', "")] {
            assert_eq!(Reference::parse(&written), Some(reference), "{written}");
        }
        assert_eq!(Reference::parse("olil0-oooo9"), Reference::parse("01110-00009"));
        for bad in
            ["", "7K3M9-QX2T", "7K3M9-QX2TBB", "7K3M9-QX2TU", "7K3M9 QX2TB", "7K3M9-QX2T\u{e9}"]
        {
            assert_eq!(Reference::parse(bad), None, "{bad}");
        }
    }
}
