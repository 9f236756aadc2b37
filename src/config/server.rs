//! `[server]` and `[ops]`: where we listen, what we are called, and who may call.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::forms::{self, ADDRESS};
use super::reader::{Form, Section};
use crate::{http, ops};

/// - `listen`: the public listener's address. Default `127.0.0.1:8080`. TLS ends at a proxy before it.
/// - `public_url`: our origin as browsers see it; callbacks and cookies are made from it. Compulsory.
/// - `allowed_origins`: the origins of the apps that may call us from a browser. Default none. One too many can use everybody's
///   session; one too few gets `origin_not_allowed`.
/// - `trusted_proxies`: addresses or networks whose `X-Forwarded-For` is believed. Default none. Too wide, and anybody escapes the
///   limits by lying about the address; too narrow, and all people behind the proxy share one limit.
///
/// Beside the settings, `listen` alone, for those who look at it whatever else is wrong.
pub(super) fn read(server: &mut Section<'_, '_>) -> (Option<SocketAddr>, Option<http::Settings>) {
    let listen = server.optional("listen", &ADDRESS, SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
    let public_url = server.required("public_url", &PUBLIC_URL);
    let origins = server.list("allowed_origins", &ORIGIN, &[]);
    let proxies = server.list("trusted_proxies", &NETWORK, &[]);
    if let (Some(public_url), Some(origins)) = (&public_url, &origins) {
        warn_of_other_sites(server, public_url, origins);
    }
    for (place, _) in
        proxies.iter().flatten().enumerate().filter(|(_, network)| network.prefix_len() == 0)
    {
        server.warn(
            &format!("trusted_proxies[{place}]"),
            "is every address there is: anybody can escape the limits by sending X-Forwarded-For.",
        );
    }
    let settings = || {
        Some(http::Settings {
            listen: listen?,
            public_url: public_url?,
            allowed_origins: origins?
                .iter()
                .map(|origin| origin.origin().ascii_serialization())
                .collect(),
            trusted_proxies: proxies?,
            notice: None,
        })
    };
    (listen, settings())
}

/// - `listen`: the operations listener's address. Default `127.0.0.1:9090`. Its `/livez`, `/readyz` and `/metrics` ask for no
///   password.
/// - `token` or `token_file`: what operators' commands prove themselves with to `/api` there. Default none, which switches `/api` off.
///   Who has it reads every subject's claims, and moves identities.
///
/// `public` is where the public listener listens, if that is known.
pub(super) fn read_ops(
    ops: &mut Section<'_, '_>,
    public: Option<SocketAddr>,
) -> Option<ops::Settings> {
    let listen = ops.optional("listen", &ADDRESS, SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)));
    let token = ops.secret("token", &TOKEN);
    let (listen, token) = (listen?, token?);
    if public.is_some_and(|public| collide(public, listen)) {
        ops.fault::<()>("listen", "is where server.listen listens", "Choose another port.");
    }
    if !listen.ip().is_loopback() {
        ops.warn("listen", "is not a loopback address: whoever reaches it reads the metrics. Let a firewall keep it.");
        if token.is_some() {
            ops.warn("token", "travels unencrypted to ops.listen, which is not a loopback address: let nobody listen on the way.");
        }
    }
    Some(ops::Settings { listen, token })
}

/// Whether both listeners would want one port of one address.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_address
}

const TOKEN: Form<SecretString> = Form {
    read: |text| {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds what no HTTP header can");
        }
        forms::secret(text)
    },
    mend: "Put what `openssl rand -hex 32` prints into a file that only Vestibule and its operators may read, and its path into token_file.",
};

const PUBLIC_URL: Form<Url> = Form {
    read: |text| {
        let url = forms::web_url(text)?;
        if url.path() == "/" { Ok(url) } else { Err("has a path") }
    },
    mend: "Write the origin that browsers see, like \"https://chat-auth.example.com\"; http only on a loopback host.",
};

const ORIGIN: Form<Url> = Form {
    read: |text| match text {
        "*" => Err("would let every page in the world use people's sessions"),
        _ if text.contains('*') => Err("has a wildcard, but each origin has to be named"),
        "null" => Err("is the origin of sandboxed pages, which anybody can make"),
        _ => {
            let url = forms::web_url(text)?;
            // Browsers send exactly this form, and it is compared byte by byte.
            if url.origin().ascii_serialization() == text {
                Ok(url)
            } else {
                Err("is not a bare origin")
            }
        }
    },
    mend: "Write scheme, host and port as browsers do: \"https://app.example.com\", in lower case, without a slash at the end or \
           the scheme's own port; http only on a loopback host.",
};

const NETWORK: Form<IpNet> = Form {
    read: |text| {
        let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| address()).map_err(|_| "is neither an IP address nor a network")
    },
    mend: "Write it like \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\".",
};

/// Our cookies are `SameSite=Lax`, so that a page of another site never sends them by `fetch`.
fn warn_of_other_sites(server: &mut Section<'_, '_>, public_url: &Url, origins: &[Url]) {
    for (place, _) in
        origins.iter().enumerate().filter(|(_, origin)| !same_site(public_url, origin))
    {
        server.warn(
            &format!("allowed_origins[{place}]"),
            "is not same-site with server.public_url: its pages cannot use our cookies. They can bring a provider's token as a bearer, or a guest's lease secret ({\"cookie\": false}); or give both names under one domain.",
        );
    }
}

/// Whether browsers take two URLs for one site: one scheme, and one domain below a public suffix.
fn same_site(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && site(one) == site(other)
}

fn site(url: &Url) -> Option<&str> {
    // An IP address, and a name that is a public suffix itself (localhost), is a site of its own.
    match url.domain() {
        Some(name) => psl::domain_str(name).or(Some(name)),
        None => url.host_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "http://localhost:3000",
            "http://[::1]",
        ] {
            assert!((ORIGIN.read)(good).is_ok(), "{good}");
        }
        for bad in [
            "https://app.example.com/",
            "https://app.example.com:443",
            "https://APP.example.com",
            "https://app.example.com/x",
            "https://*.example.com",
            "https://bücher.example",
            "app.example.com",
            "http://app.example.com",
            "capacitor://localhost",
            "https://a@app.example.com",
            "https://app.example.com#",
            "*",
            "null",
            "",
        ] {
            assert!((ORIGIN.read)(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_site_is_a_scheme_and_a_registrable_domain() {
        let same =
            |one: &str, other: &str| same_site(&one.parse().unwrap(), &other.parse().unwrap());

        assert!(same("https://chat.example.com", "https://app.example.com:8443"));
        assert!(same("https://a.b.example.co.uk", "https://example.co.uk"));
        assert!(same("http://127.0.0.1:8080", "http://127.0.0.1:3000"));
        assert!(same("http://localhost:8080", "http://localhost"));
        assert!(!same("https://one.co.uk", "https://other.co.uk"));
        assert!(!same("https://one.github.io", "https://other.github.io"));
        assert!(!same("https://app.example.com", "http://app.example.com"));
        assert!(!same("http://127.0.0.1", "http://127.0.0.2"));
        assert!(!same("http://127.0.0.1", "http://localhost"));
        assert!(!same("http://a.localhost", "http://b.localhost"));
    }

    #[test]
    fn listeners_collide_on_one_port_of_one_address() {
        let collide =
            |one: &str, other: &str| collide(one.parse().unwrap(), other.parse().unwrap());

        assert!(collide("127.0.0.1:80", "127.0.0.1:80"));
        assert!(collide("0.0.0.0:80", "127.0.0.1:80"));
        assert!(collide("127.0.0.1:80", "[::]:80"));
        assert!(!collide("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!collide("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
    }
}
