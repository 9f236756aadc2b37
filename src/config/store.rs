//! `[store]` and `[seal]`: where things are kept, and with what secrets among them are sealed.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use super::forms;
use super::reader::{Form, Section};
use crate::seal;
use crate::store::Settings;

/// - `url` or `url_file`: a Redis server, or a file of ours. Compulsory. It is a secret, because it may hold a password,
///   of 16 characters or more.
pub(super) fn read(store: &mut Section<'_, '_>) -> Option<Settings> {
    let settings = store.required_secret("url", &STORE_URL)?;
    if matches!(&settings, Settings::Embedded { path } if path.is_relative()) {
        store.warn("url", "is a relative path: started from another folder, the service begins with an empty store.");
    }
    Some(settings)
}

/// - `keys`: what is secret at rest, providers' tokens, is sealed with the first and opened with any; each has an `id`, 1 to 32 of
///   `[A-Za-z0-9._-]`, and a `key` or `key_file`, 32 random bytes in base64. Default none: then no provider's token is kept, nobody
///   is asked again during a session, and `max_age` ends it.
pub(super) fn read_seal(seal: &mut Section<'_, '_>) -> Option<seal::Settings> {
    let mut ids = Vec::new();
    let keys = seal.each("keys", |entry| {
        let key = entry.required_secret("key", &SEAL_KEY);
        let id = entry.required("id", &KEY_ID)?;
        if ids.contains(&id) {
            return entry.fault("id", "is the id of a key before it", KEY_ID.mend);
        }
        ids.push(id.clone());
        Some((id, key?))
    })?;
    if keys.is_empty() {
        seal.warn(
            "keys",
            "are missing: no provider is asked again during a session, and each ends max_age after its login.",
        );
    }
    Some(seal::Settings { keys })
}

const STORE_URL: Form<Settings> = Form {
    read: settings,
    mend: "Write \"redis://HOST:6379\", \"rediss://USER:PASSWORD@HOST:6379/0\" or \"file:/var/lib/vestibule/vestibule.db\".",
};

const KEY_ID: Form<String> = Form {
    read: |text| {
        let fits = (1..=32).contains(&text.len());
        let fits = fits
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits { Ok(text.to_owned()) } else { Err("is not 1 to 32 of A-Z a-z 0-9 . _ -") }
    },
    mend: "Give each key a name of its own, like \"2026-11\".",
};

const SEAL_KEY: Form<Zeroizing<[u8; 32]>> = Form {
    read: |text| {
        forms::secret(text)?;
        let bytes = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| "is not base64")?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new);
        let key = key.map_err(|_| "is not 32 bytes")?;
        if key.iter().all(|byte| *byte == key[0]) {
            return Err("is one byte repeated, which anybody can guess");
        }
        Ok(key)
    },
    mend: "Make one with: openssl rand -base64 32.",
};

fn settings(text: &str) -> Result<Settings, &'static str> {
    match text.strip_prefix("file:") {
        Some(path) => file(path),
        None => redis(text),
    }
}

fn file(path: &str) -> Result<Settings, &'static str> {
    // file:///absolute is what RFC 8089 §2 writes; after two slashes and something else stands a host.
    let path = match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_) => return Err("names a file on another host"),
        None => path,
    };
    if path.is_empty() || path.ends_with('/') {
        return Err("names no file");
    }
    Ok(Settings::Embedded { path: PathBuf::from(path) })
}

fn redis(text: &str) -> Result<Settings, &'static str> {
    match text.split_once(':').map(|(scheme, _)| scheme) {
        Some("redis" | "rediss") => {}
        Some("redis+cluster" | "redis+sentinel") => {
            return Err("asks for Redis Cluster or Sentinel, which are not supported yet");
        }
        _ => return Err("is neither redis://, rediss:// nor file:"),
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host");
    }
    if url.password().is_some_and(is_weak) {
        return Err(
            "has a weak password: under 16 characters, or one of Vestibule's own documents",
        );
    }
    let database = url.path().trim_start_matches('/');
    if !database.is_empty()
        && !database.parse::<u16>().is_ok_and(|number| number.to_string() == database)
    {
        return Err("has a path that is not the number of a database");
    }
    // The driver takes #insecure for permission to skip the check of the server's certificate.
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment");
    }
    Ok(Settings::Redis { url: text.into() })
}

/// Whether a password, as it stands in a URL, is none that [`forms::secret`] lets be one.
fn is_weak(password: &str) -> bool {
    let password = percent_decode_str(password).decode_utf8();
    password.map_or(true, |password| forms::secret(&password).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_redis_server_or_a_file() {
        let redis = [
            "redis://h",
            "redis://h:6379/",
            "redis://u@h",
            "rediss://u:sixteen--letters@h:6380/15",
            "redis://:%73ixteen%2D-letter%C3%A9@[::1]/0",
        ];
        for text in redis {
            assert!(matches!(settings(text), Ok(Settings::Redis { .. })), "{text}");
        }
        for (text, expected) in [
            ("file:./v.db", "./v.db"),
            ("file:v.db", "v.db"),
            ("file:/var/v.db", "/var/v.db"),
            ("file:///var/v.db", "/var/v.db"),
        ] {
            assert!(
                matches!(settings(text), Ok(Settings::Embedded { path }) if path.to_str() == Some(expected)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_store_that_would_not_be_what_was_meant_is_refused() {
        for (text, problem) in [
            ("rediss://h/#insecure", "has a query"),
            ("redis://h/?protocol=resp3", "has a query"),
            ("redis://:fifteen-letters@h", "has a weak password"),
            ("redis://:fifteen%2Dletters@h", "has a weak password"),
            ("redis://:fifteen-letter%C3%A9@h", "has a weak password"),
            ("redis://:the-secret-that-twilio-showed-once@h", "has a weak password"),
            ("rediss://u:pw@h/0", "has a weak password"),
            ("redis://:%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff@h", "has a weak password"),
            ("redis://h/x", "has a path"),
            ("redis://h/00", "has a path"),
            ("redis://h/-1", "has a path"),
            ("redis:///0", "names no host"),
            ("redis:h", "names no host"),
            ("redis+cluster://a,b", "asks for Redis Cluster"),
            ("redis+sentinel://a/m", "asks for Redis Cluster"),
            ("redis+unix:///x", "is neither"),
            ("http://h", "is neither"),
            ("h:6379", "is neither"),
            ("", "is neither"),
            ("file:", "names no file"),
            ("file:/var/", "names no file"),
            ("file://host/v.db", "names a file on another host"),
        ] {
            let got = settings(text).unwrap_err();
            assert!(got.starts_with(problem), "{text}: {got}");
        }
    }

    #[test]
    fn a_seal_key_is_32_random_bytes() {
        let read = |bytes: &[u8]| (SEAL_KEY.read)(&STANDARD.encode(bytes));
        let random = (0..32).collect::<Vec<u8>>();

        assert_eq!(read(&random).as_deref().map(|key| &key[..]), Ok(&random[..]));
        assert_eq!(read(&random[1..]), Err("is not 32 bytes"));
        assert_eq!(read(&[0; 32]), Err("is one byte repeated, which anybody can guess"));
        assert_eq!((SEAL_KEY.read)("not base64 at all!"), Err("is not base64"));
    }
}
