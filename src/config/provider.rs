//! `[[provider]]`: the OpenID providers that people log in at.

use std::collections::HashSet;
use std::time::Duration;

use secrecy::SecretString;

use super::forms::{self, TEXT};
use super::issuer::{self, ISSUER};
use super::policy;
use super::reader::{Form, Section};
use crate::ids::ProviderName;
use crate::login::{Bearers, Settings};
use crate::oidc::{self, Algorithm, ClientAuth};

/// - `name`: stands in URLs, `/login/{name}` and `/callback/{name}`; 1 to 32 of `[a-z0-9-]`. Compulsory, unique.
/// - `title`: what people read on its button. Default the name.
/// - `issuer`: exactly as its discovery document and ID tokens spell it. Compulsory. With `{tenantid}` in its path it stands for
///   those of `tenants`.
/// - `tenants`: whose people may sign in, by the ids of their tenants; compulsory with `{tenantid}`, and of no use without. One too
///   many, and strangers come in as far as the policy lets them; one too few, and its people get `login_failed`.
/// - `client_id`: what it calls us. Compulsory.
/// - `client_auth`: how we prove that we are this client: `client_secret_basic`, `client_secret_post`, `private_key_jwt` or `none`.
///   Default `client_secret_basic`. Never tried in turn.
/// - `client_secret` or `client_secret_file`: with the first two, and only these.
/// - `private_key` or `private_key_file`: PKCS#8 PEM, with `private_key_jwt` only; `private_key_id`: its `kid`, default none.
/// - `scopes`: what we ask for. Default `openid`, `profile`, `email`.
/// - `subject_claim`: the claim that names a subject. Default `sub`. Changed later, everybody is somebody new.
/// - `algorithms`: the signature algorithms that count. Default `RS256`, `ES256`, `EdDSA`, `PS256`.
/// - `bearer_audiences`: whose tokens `POST /token` accepts as `Authorization: Bearer`, by their `aud`; opaque ones only while no other
///   provider has it. Default none. Too many, and what somebody gave to another service counts here.
/// - `bearer_max_age`: how long ago such a JWT may have been issued. Default `10m`, from 1 minute to 24 hours. Too long, and somebody
///   whom the company let go stays; too short, and whoever fetches a token rarely is refused.
/// - `revalidate_after`: how old claims may be at a token before the provider is asked again. Default `5m`, from 1 second to 24
///   hours. Too long, and somebody whom the company let go stays; too short, and nearly each token waits for the provider.
/// - `grace`: how much older they may be while the provider cannot be reached. Default `15m`, from `0s` to 24 hours. Too long, and
///   whoever can keep the provider from answering keeps people in; too short, and its restart locks everybody out.
/// - `max_age`: how long after a login tokens may be minted where the provider offers no way to ask again. Default `8h`, from 5
///   minutes to 400 days. Too long, and somebody whom the company let go stays; too short, and everybody signs in again all day.
/// - `timeout`: how long the provider may take over one step of a login, all its answers together. Default `15s`, from 1 second
///   to 1 minute. Too short, and slow providers never log anybody in; too long, and a hanging provider keeps people waiting.
/// - `string_email_verified`: whether the string `"true"` says that an e-mail is verified, as Cognito sends it. Default `false`.
/// - `policy`: its own table.
pub(super) fn read(provider: &mut Section<'_, '_>, before: &mut Vec<Known>) -> Option<Settings> {
    let name = provider.required("name", &NAME);
    let title = provider.optional("title", &OPTIONAL_TEXT, None);
    let issuer = provider.required("issuer", &ISSUER);
    let tenants = issuer::tenants(provider, issuer.as_deref());
    let client_id = provider.required("client_id", &CLIENT_ID);
    let client_auth = client_auth(provider);
    let scopes = scopes(provider);
    let subject_claim = subject_claim(provider, issuer.as_deref());
    let algorithms = provider.list("algorithms", &ALGORITHM, &["RS256", "ES256", "EdDSA", "PS256"]);
    if algorithms.as_ref().is_some_and(Vec::is_empty) {
        provider.fault::<()>("algorithms", "is empty", ALGORITHM.mend);
    }
    let audiences = provider.list("bearer_audiences", &AUDIENCE, &[]);
    let bearer_max_age =
        provider.optional("bearer_max_age", &BEARER_MAX_AGE, Duration::from_mins(10));
    let lives = lives(provider);
    let timeout = provider.optional("timeout", &TIMEOUT, Duration::from_secs(15));
    let string_email_verified = provider.switch("string_email_verified", false);
    let policy = provider.within("policy", |section| {
        policy::read(section, name.as_ref(), string_email_verified.unwrap_or_default())
    });
    let issuers = issuer.as_deref().zip(tenants.as_deref());
    let issuers = issuers.map(|(issuer, tenants)| oidc::token_issuers(issuer, tenants));
    let known = Known {
        name,
        issuers: issuers.unwrap_or_default(),
        client_id,
        subject_claim,
        audiences: audiences.clone().unwrap_or_default(),
    };
    compare(provider, &known, before);
    before.push(known.clone());
    let Known { name, client_id, subject_claim, .. } = known;
    let name = name?;
    string_email_verified?;
    let (revalidate_after, grace, max_age) = lives?;
    Some(Settings {
        policy: policy?,
        revalidate_after,
        grace,
        max_age,
        bearers: Bearers {
            audiences: audiences?,
            max_age: bearer_max_age?,
            keep_answers: revalidate_after,
        },
        provider: oidc::Settings {
            title: title?.unwrap_or_else(|| name.as_str().to_owned()),
            name,
            issuer: issuer?,
            tenants: tenants?,
            client_id: client_id?,
            client_auth: client_auth?,
            scopes: scopes?,
            subject_claim: subject_claim?,
            algorithms: algorithms?,
            timeout: timeout?,
        },
    })
}

/// How far the provider's word goes: until it is asked again, while it is away, and where it cannot be asked.
fn lives(provider: &mut Section<'_, '_>) -> Option<(Duration, Duration, Duration)> {
    let revalidate_after =
        provider.optional("revalidate_after", &REVALIDATE_AFTER, Duration::from_mins(5));
    let grace = provider.optional("grace", &GRACE, Duration::from_mins(15));
    let max_age = provider.optional("max_age", &MAX_AGE, Duration::from_hours(8));
    Some((revalidate_after?, grace?, max_age?))
}

/// What tells a provider from the others; `None` or nothing for what is faulty.
#[derive(Clone)]
pub(super) struct Known {
    name: Option<ProviderName>,
    /// What its tokens may name as their issuer.
    issuers: Vec<String>,
    client_id: Option<String>,
    subject_claim: Option<String>,
    /// For whom bearers' tokens may be meant.
    audiences: Vec<String>,
}

/// Whether two of them may issue the same token.
pub(super) fn share_an_issuer(providers: &[Known]) -> bool {
    let mut issuers = HashSet::new();
    providers.iter().flat_map(|provider| &provider.issuers).any(|issuer| !issuers.insert(issuer))
}

fn compare(provider: &mut Section<'_, '_>, this: &Known, before: &[Known]) {
    if this.name.is_some() && before.iter().any(|other| other.name == this.name) {
        provider.fault::<()>("name", "is the name of a provider before it", NAME.mend);
    }
    let is_shared = |issuer: &String| this.issuers.contains(issuer);
    let of_one_issuer = || before.iter().filter(|other| other.issuers.iter().any(is_shared));
    if this.client_id.is_some() && of_one_issuer().any(|other| other.client_id == this.client_id) {
        provider.fault::<()>(
            "client_id",
            "is that of a provider before it, at the same issuer",
            "Remove one of the two, or register another client.",
        );
    }
    // Whose policy decides must not hang on which of two stands first.
    let is_meant = |audience: &String| this.audiences.contains(audience);
    if of_one_issuer().any(|other| other.audiences.iter().any(is_meant)) {
        provider.fault::<()>(
            "bearer_audiences",
            "names an audience of a provider before it, at the same issuer",
            "Let each audience be one provider's, so that it is clear whose policy decides.",
        );
    }
    // A subject is its issuer and value: what one claim says must not be taken for what another says.
    if this.subject_claim.is_some()
        && of_one_issuer()
            .any(|other| other.subject_claim.is_some() && other.subject_claim != this.subject_claim)
    {
        provider.fault::<()>(
            "subject_claim",
            "differs from that of a provider before it, at the same issuer",
            "Name a subject of one issuer by one claim.",
        );
    }
}

/// Where people log in at Entra ID: everywhere, in the United States' government cloud, in China.
const ENTRA_ID: [&str; 3] = [
    "https://login.microsoftonline.com/",
    "https://login.microsoftonline.us/",
    "https://login.partner.microsoftonline.cn/",
];

fn subject_claim(provider: &mut Section<'_, '_>, issuer: Option<&str>) -> Option<String> {
    let form = Form { read: |text| (SUBJECT_CLAIM.read)(text).map(Some), mend: SUBJECT_CLAIM.mend };
    let claim = provider.optional("subject_claim", &form, None)?;
    // Who writes "sub" has thought about it; and where people have come in under it already, it must stay.
    if claim.is_none()
        && issuer.is_some_and(|issuer| ENTRA_ID.iter().any(|place| issuer.starts_with(place)))
    {
        provider.warn(
            "subject_claim",
            "is left at \"sub\", which Entra ID makes anew for each client_id: under another, everybody is somebody new. \"oid\" \
             stays, and is what other systems know. Write \"oid\", or \"sub\" if that is meant or people have come in already.",
        );
    }
    Some(claim.unwrap_or_else(|| "sub".to_owned()))
}

/// The methods of OpenID Connect Core §9 that we speak; each wants its own secret and no other.
enum Method {
    Basic,
    Post,
    PrivateKeyJwt,
    None,
}

fn client_auth(provider: &mut Section<'_, '_>) -> Option<ClientAuth> {
    let method = provider.optional("client_auth", &METHOD, Method::Basic);
    let secret = provider.secret("client_secret", &CLIENT_SECRET);
    let key = provider.secret("private_key", &PRIVATE_KEY);
    let key_id = provider.optional("private_key_id", &OPTIONAL_TEXT, None);
    let (method, secret, key, key_id) = (method?, secret?, key?, key_id?);
    let (by_secret, by_key) = match method {
        Method::Basic | Method::Post => (true, false),
        Method::PrivateKeyJwt => (false, true),
        Method::None => (false, false),
    };
    let secret = secret.or_else(|| provider.stand_in(&CLIENT_SECRET).filter(|_| by_secret));
    let key = key.or_else(|| provider.stand_in(&PRIVATE_KEY).filter(|_| by_key));
    let mut agree = true;
    for (key, given, wanted, mend) in [
        ("client_secret", secret.is_some(), by_secret, CLIENT_SECRET.mend),
        ("private_key", key.is_some(), by_key, PRIVATE_KEY.mend),
        ("private_key_id", key_id.is_some(), by_key && key_id.is_some(), PRIVATE_KEY.mend),
    ] {
        agree &= given == wanted;
        if given && !wanted {
            provider.fault::<()>(
                key,
                "is of no use with this client_auth",
                "Remove it, or choose another client_auth.",
            );
        }
        if wanted && !given {
            provider.fault::<()>(key, "is missing", mend);
        }
    }
    match (method, secret, key) {
        _ if !agree => None,
        (Method::Basic, Some(secret), _) => Some(ClientAuth::SecretBasic(secret)),
        (Method::Post, Some(secret), _) => Some(ClientAuth::SecretPost(secret)),
        (Method::PrivateKeyJwt, _, Some(pem)) => Some(ClientAuth::PrivateKeyJwt { pem, key_id }),
        (Method::None, ..) => Some(ClientAuth::None),
        _ => None,
    }
}

fn scopes(provider: &mut Section<'_, '_>) -> Option<Vec<String>> {
    let scopes = provider.list("scopes", &SCOPE, &["openid", "profile", "email"])?;
    if scopes.iter().any(|scope| scope == "openid") {
        Some(scopes)
    } else {
        provider.fault(
            "scopes",
            "lacks openid, without which the provider sends no ID token",
            SCOPE.mend,
        )
    }
}

const NAME: Form<ProviderName> = Form {
    read: |text| {
        ProviderName::parse(text)
            .ok_or("is not 1 to 32 of a-z 0-9 -, beginning with a letter or digit")
    },
    mend: "Write a short name like \"corp\"; it stands in /login/corp and /callback/corp.",
};

const OPTIONAL_TEXT: Form<Option<String>> =
    Form { read: |text| forms::text(text).map(Some), mend: TEXT.mend };

const CLIENT_ID: Form<String> = Form {
    read: forms::text,
    mend: "Copy the client id that the provider gave when Vestibule was registered there.",
};

const METHOD: Form<Method> = Form {
    read: |text| match text {
        "client_secret_basic" => Ok(Method::Basic),
        "client_secret_post" => Ok(Method::Post),
        "private_key_jwt" => Ok(Method::PrivateKeyJwt),
        "none" => Ok(Method::None),
        _ => Err("is not a client authentication that there is"),
    },
    mend: "Write \"client_secret_basic\", \"client_secret_post\", \"private_key_jwt\" or \"none\", as registered at the provider.",
};

const CLIENT_SECRET: Form<SecretString> = Form {
    read: forms::secret,
    mend: "Put the client's secret, 16 characters or more, into a file and its path into client_secret_file.",
};

const PRIVATE_KEY: Form<SecretString> = Form {
    read: |text| {
        let text = text.trim();
        match text.lines().next() {
            Some("-----BEGIN PRIVATE KEY-----") => Ok(text.into()),
            Some("-----BEGIN ENCRYPTED PRIVATE KEY-----") => Err("is locked with a passphrase"),
            Some("-----BEGIN RSA PRIVATE KEY-----" | "-----BEGIN EC PRIVATE KEY-----") => {
                Err("is not in PKCS#8 form")
            }
            _ => Err("is not a private key in PEM form"),
        }
    },
    mend: "Convert it with: openssl pkcs8 -topk8 -nocrypt -in old.pem -out key.pem, and put its path into private_key_file.",
};

const SCOPE: Form<String> = Form {
    // RFC 6749 §3.3
    read: |text| {
        let fits = text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if fits && !text.is_empty() { Ok(text.to_owned()) } else { Err("is not a scope") }
    },
    mend: "Write them like [\"openid\", \"profile\", \"email\"].",
};

const SUBJECT_CLAIM: Form<String> = Form {
    read: |text| match text {
        // OpenID Connect Core §5.7: what people can change, or what is given to the next one, names nobody for ever.
        "email" | "name" | "nickname" | "phone_number" | "preferred_username" | "unique_name"
        | "upn" => Err(
            "is a claim whose value can pass to somebody else, who would then be the same person here",
        ),
        _ => forms::text(text),
    },
    mend: "Write \"sub\", or \"oid\" for Entra ID.",
};

const ALGORITHM: Form<Algorithm> = Form {
    read: |text| {
        Algorithm::parse(text).ok_or_else(|| match text {
            "HS256" | "HS384" | "HS512" => {
                "is signed with the client secret, which others than the provider know"
            }
            _ if text.eq_ignore_ascii_case("none") => "is no signature at all",
            _ => "is not an algorithm that counts",
        })
    },
    mend: "Choose among RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA.",
};

pub(super) const AUDIENCE: Form<String> = Form {
    read: forms::text,
    mend: "Write what the provider puts into aud for us, like [\"https://chat.example.com\"].",
};

const BEARER_MAX_AGE: Form<Duration> = Form {
    read: |text| forms::duration_within(text, Duration::from_mins(1), Duration::from_hours(24)),
    mend: "Write it like \"10m\", from 1m to 24h.",
};

const REVALIDATE_AFTER: Form<Duration> = Form {
    read: |text| forms::duration_within(text, Duration::from_secs(1), Duration::from_hours(24)),
    mend: "Write it like \"5m\", from 1s to 24h.",
};

const GRACE: Form<Duration> = Form {
    read: |text| forms::duration_within(text, Duration::ZERO, Duration::from_hours(24)),
    mend: "Write it like \"15m\", from 0s to 24h.",
};

const MAX_AGE: Form<Duration> = Form {
    read: |text| {
        forms::duration_within(text, Duration::from_mins(5), Duration::from_hours(24 * 400))
    },
    mend: "Write it like \"8h\", from 5m to 400d.",
};

const TIMEOUT: Form<Duration> = Form {
    read: |text| forms::duration_within(text, Duration::from_secs(1), Duration::from_mins(1)),
    mend: "Write it like \"15s\", from 1s to 1m.",
};

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_private_key_is_an_open_pkcs_8_pem() {
        let read = |label: &str| {
            let pem = format!("\n-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
            (PRIVATE_KEY.read)(&pem).map(|_| ())
        };

        assert_eq!(read("PRIVATE KEY"), Ok(()));
        assert_eq!(read("ENCRYPTED PRIVATE KEY"), Err("is locked with a passphrase"));
        assert_eq!(read("RSA PRIVATE KEY"), Err("is not in PKCS#8 form"));
        assert_eq!(read("EC PRIVATE KEY"), Err("is not in PKCS#8 form"));
        assert_eq!(read("CERTIFICATE"), Err("is not a private key in PEM form"));
    }

    #[test]
    fn an_algorithm_that_proves_nothing_is_refused() {
        for bad in [
            "HS256", "HS384", "HS512", "none", "None", "NONE", "nOnE", "", "RS256 ", "rs256",
            "RS1", "ES512",
        ] {
            assert!((ALGORITHM.read)(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_leaves_the_subject_claim_open_at_entra_id_is_told() {
        let example = include_str!("../../vestibule.example.toml");
        let warnings = |issuer: &str| {
            let text = example.replace("issuer = \"https://id.example.com/realms/corp\"", issuer);
            let secret = &|path: &std::path::Path| {
                let is_key = path.ends_with("vestibule_seal_key");
                let text = if is_key {
                    &STANDARD.encode(b"thirty-two bytes, one for all...")
                } else {
                    "sixteen--letters"
                };
                Ok(text.to_owned())
            };
            crate::config::Config::parse(&text, [], secret).unwrap().warnings.len()
        };

        for host in [
            "microsoftonline.com",
            "microsoftonline.us",
            "partner.microsoftonline.cn",
            "example.com",
        ] {
            let issuer = format!("issuer = \"https://login.{host}/7/v2.0\"");
            assert_eq!(warnings(&issuer), usize::from(host != "example.com"), "{host}");
            assert_eq!(warnings(&format!("{issuer}\nsubject_claim = \"sub\"")), 0, "{host}");
            assert_eq!(warnings(&format!("{issuer}\nsubject_claim = \"oid\"")), 0, "{host}");
        }
    }

    #[test]
    fn a_claim_that_changes_hands_names_nobody() {
        for bad in ["email", "preferred_username", "phone_number", "upn", ""] {
            assert!((SUBJECT_CLAIM.read)(bad).is_err(), "{bad}");
        }
        for good in ["sub", "oid", "https://example.com/employee"] {
            assert!((SUBJECT_CLAIM.read)(good).is_ok(), "{good}");
        }
    }
}
