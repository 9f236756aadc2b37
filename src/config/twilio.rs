//! `[twilio]`: whose tokens we sign, with what, for how long.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::forms;
use super::reader::{Form, Section};
use crate::token::Settings;

/// - `account_sid`, `api_key_sid`, `api_key_secret` or `api_key_secret_file`, `conversations_service_sid`: compulsory. The key is a
///   Standard or Main one; a Restricted key cannot sign.
/// - `push_credential_sid`: default none.
/// - `token_ttl`: how long a token lives. Default `1h`, from 5 minutes to 23 hours 55 minutes. Too short, and clients lose their
///   connection before they are told to refresh (Twilio advises 20 minutes or more); too long, and somebody who is let go keeps
///   writing, for Twilio cannot revoke a token.
///
/// - `api_url`: where Twilio's REST API is. Default `https://conversations.twilio.com`; https, or http on a loopback host. Who answers there
///   gets the API key.
///
/// `idle` is how long a session may lie unused, if that is known.
pub(super) fn read(
    twilio: &mut Section<'_, '_>,
    idle: Option<Duration>,
) -> Option<(Settings, crate::twilio::Settings)> {
    let account_sid = twilio.required("account_sid", &ACCOUNT);
    let api_key_sid = twilio.required("api_key_sid", &API_KEY);
    let api_key_secret = twilio.required_secret("api_key_secret", &API_KEY_SECRET);
    let conversations_service_sid = twilio.required("conversations_service_sid", &SERVICE);
    let push_credential_sid = twilio.optional("push_credential_sid", &PUSH_CREDENTIAL, None);
    let ttl = twilio.optional("token_ttl", &TTL, Duration::from_hours(1));
    if ttl.zip(idle).is_some_and(|(ttl, idle)| ttl > idle) {
        twilio.fault::<()>(
            "token_ttl",
            "is longer than session.idle, so that a token outlives its session",
            TTL.mend,
        );
    }
    if ttl.is_some_and(|ttl| ttl < Duration::from_mins(20)) {
        twilio.warn("token_ttl", "is under 20 minutes, which Twilio advises against: a slow client may lose its connection.");
    }
    let api_url = twilio.optional("api_url", &API_URL, None);
    let settings = Settings {
        account_sid: account_sid?,
        api_key_sid: api_key_sid?,
        api_key_secret: api_key_secret?,
        conversations_service_sid: conversations_service_sid?,
        push_credential_sid: push_credential_sid?,
        ttl: ttl?,
    };
    let api = crate::twilio::Settings {
        api_url: api_url?.or_else(|| Url::parse(API).ok())?,
        service_sid: settings.conversations_service_sid.clone(),
        api_key_sid: settings.api_key_sid.clone(),
        api_key_secret: settings.api_key_secret.clone(),
        timeout: TIMEOUT,
    };
    Some((settings, api))
}

const API: &str = "https://conversations.twilio.com";

/// How long Twilio may take over one request.
const TIMEOUT: Duration = Duration::from_secs(5);

const API_URL: Form<Option<Url>> = Form {
    read: |text| {
        let url = forms::web_url(text)?;
        if url.path() == "/" { Ok(Some(url)) } else { Err("has a path") }
    },
    mend: "Leave it out, or write an origin like \"https://conversations.twilio.com\"; http only on a loopback host.",
};

const ACCOUNT: Form<String> = Form {
    read: |text| sid(text, "AC"),
    mend: "Copy the account's SID from Twilio's console: AC and 32 hex digits.",
};

const API_KEY: Form<String> = Form {
    read: |text| sid(text, "SK"),
    mend: "Copy the SID of a Standard API key from Twilio's console: SK and 32 hex digits.",
};

const API_KEY_SECRET: Form<SecretString> = Form {
    read: forms::secret,
    mend: "Put the secret that Twilio showed when the API key was made into a file, and its path into api_key_secret_file.",
};

const SERVICE: Form<String> = Form {
    read: |text| sid(text, "IS"),
    mend: "Copy the Conversations service's SID from Twilio's console: IS and 32 hex digits.",
};

const PUSH_CREDENTIAL: Form<Option<String>> = Form {
    read: |text| sid(text, "CR").map(Some),
    mend: "Copy the push credential's SID from Twilio's console: CR and 32 hex digits.",
};

const TTL: Form<Duration> = Form {
    // Twilio refuses more than 24 hours by its own clock.
    read: |text| {
        forms::duration_within(text, Duration::from_mins(5), Duration::from_mins(23 * 60 + 55))
    },
    mend: "Write it like \"1h\", from 5m to 23h55m, no longer than session.idle.",
};

fn sid(text: &str, prefix: &str) -> Result<String, &'static str> {
    let digits = text.strip_prefix(prefix).ok_or("is a SID of another kind, or none")?;
    if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(text.to_owned())
    } else {
        Err("is not followed by 32 hex digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_is_two_letters_and_32_hex_digits() {
        let hex = "0123456789abcdef0123456789abcdef";

        assert!(sid(&format!("AC{hex}"), "AC").is_ok());
        for bad in [
            format!("SK{hex}"),
            format!("AC{}", &hex[1..]),
            format!("AC{hex}0"),
            format!("ac{hex}"),
            String::new(),
        ] {
            assert!(sid(&bad, "AC").is_err(), "{bad}");
        }
        assert!(sid(&format!("AC{}", "g".repeat(32)), "AC").is_err());
    }
}
