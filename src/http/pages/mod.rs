//! What people see: the pages of the public listener, each a function from what it shows to HTML.
//!
//! Owns their words, their look, and the policy that a browser holds them to. Does not own when one is shown, nor status and
//! headers. No page loads anything, and one alone has a script. It shows no text of a provider: what happened is told in words of ours,
//! which are `&'static str` so that a leak does not compile.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use url::form_urlencoded;

use crate::clock::Timestamp;
use crate::ids::{Identity, ProviderName, Reference};

const STYLE: &str = include_str!("style.css");

/// The `Content-Security-Policy` of every page here (CSP Level 3): one inline style, known by its hash, forms that go back to
/// us, no script, no frame, nothing loaded.
pub(crate) fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// The policy of the sign-in page: what its form leads to may be an app, for browsers look at where a form is sent on to.
pub(crate) fn policy_of_sign_in(origins: &[String]) -> HeaderValue {
    let to = ["'self'".to_owned()].into_iter().chain(origins.iter().cloned()).collect::<Vec<_>>();
    let to = format!("form-action {}", to.join(" "));
    let policy = content_security_policy().replace("form-action 'self'", &to);
    // Origins are ASCII as browsers spell them.
    HeaderValue::try_from(policy)
        .unwrap_or_else(|_| HeaderValue::from_static(content_security_policy()))
}

/// What the sign-in page shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignIn<'a> {
    /// Each provider's name and title, in the order of their buttons.
    pub providers: &'a [(ProviderName, String)],
    /// Whether visitors may go on as guests.
    pub guests: bool,
    /// Where the browser goes after the login; checked before.
    pub return_to: Option<&'a str>,
    /// A banner above everything.
    pub notice: Option<&'a str>,
}

/// One button a provider, each of which begins a login there; and a form that POSTs to `/guest`.
pub(crate) fn sign_in(view: &SignIn) -> Markup {
    let body = html! {
        h1 { "Sign in" }
        p { "You sign in at your organisation and come back here." }
        ul.choices {
            @for (name, title) in view.providers {
                li { a.button href=(login_path(name, view.return_to)) { "Continue with " (title) } }
            }
        }
        @if view.guests {
            form method="post" action="/guest" {
                @if let Some(return_to) = view.return_to {
                    input type="hidden" name="return_to" value=(return_to);
                }
                button.button type="submit" { "Continue as a guest" }
            }
        }
    };
    page("Sign in", view.notice, &body)
}

/// What a visitor is shown who has a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guest<'a> {
    /// Who the visitor is in Conversations.
    pub identity: &'a Identity,
    /// When the lease ends unless it is renewed.
    pub until: Timestamp,
    /// A banner above everything.
    pub notice: Option<&'a str>,
}

/// Which guest is lent here, and the way to sign in.
pub(crate) fn guest(view: &Guest) -> Markup {
    let body = html! {
        h1 { "You are here as a guest" }
        dl {
            div { dt { "Identity" } dd { code { (view.identity) } } }
            div { dt { "Until" } dd { time datetime=(view.until) { (for_people(view.until)) } ", or longer while you stay" } }
        }
        a.button href="/login" { "Sign in" }
    };
    page("Guest", view.notice, &body)
}

/// What a signed-in person is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignedIn<'a> {
    /// What the provider calls the person.
    pub friendly_name: Option<&'a str>,
    /// Who the person is in Conversations.
    pub identity: &'a Identity,
    /// Where the login was.
    pub provider_title: &'a str,
    /// When the session ends at the latest.
    pub until: Timestamp,
    /// Whether the person was denied since.
    pub denied: bool,
    /// A banner above everything.
    pub notice: Option<&'a str>,
}

/// Who is signed in here, and a button to sign out (a form that POSTs to `/logout`).
pub(crate) fn signed_in(view: &SignedIn) -> Markup {
    let body = html! {
        h1 { "You are signed in" }
        @if view.denied {
            p { "But you may not come in any more. Sign out and in again to see why." }
        }
        dl {
            @if let Some(name) = view.friendly_name {
                div { dt { "Name" } dd { (name) } }
            }
            div { dt { "Signed in with" } dd { (view.provider_title) } }
            div { dt { "Identity" } dd { code { (view.identity) } } }
            div { dt { "Until" } dd { time datetime=(view.until) { (for_people(view.until)) } } }
        }
        form method="post" action="/logout" { button.button type="submit" { "Sign out" } }
    };
    page("Signed in", view.notice, &body)
}

/// What a person sees after signing out; `there` after the provider was asked to sign the person out too.
pub(crate) fn signed_out(there: bool, notice: Option<&str>) -> Markup {
    let body = html! {
        h1 { "You are signed out" }
        @if there {
            p { "This device is signed out here, and your organisation was asked to sign you out too." }
        } @else {
            p { "This device is signed out here. You may still be signed in at your organisation." }
        }
        a.button.first href="/" { "Sign in again" }
    };
    page("Signed out", notice, &body)
}

/// What sends a browser on to where its person is signed out at the provider (OpenID Connect RP-Initiated Logout 1.0 §2).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving<'a> {
    /// What people call the provider.
    pub provider_title: &'a str,
    /// Its end session endpoint.
    pub end_session_endpoint: &'a str,
    /// What is sent there.
    pub parameters: &'a [(&'static str, &'a str)],
    /// A banner above everything.
    pub notice: Option<&'a str>,
}

/// A form that sends itself: a POST, so that the ID token stays out of every URL.
pub(crate) fn leaving(view: &Leaving) -> Markup {
    let body = html! {
        h1 { "You are signed out here" }
        p { "The next step signs you out at " (view.provider_title) " too." }
        form method="post" action=(view.end_session_endpoint) {
            @for (name, value) in view.parameters {
                input type="hidden" name=(name) value=(value);
            }
            button.button type="submit" { "Sign out at " (view.provider_title) }
        }
        script { (PreEscaped(SUBMIT)) }
    };
    page("Signing out", view.notice, &body)
}

/// Whoever has no script presses the button.
const SUBMIT: &str = "document.forms[0].submit()";

/// The policy of [`leaving`]: its one script, known by its hash. Where forms go is left open, for browsers hold redirects to it too, and a
/// provider may sign people out at one of its own.
pub(crate) fn policy_of_leaving() -> String {
    let hash = |text: &str| STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SUBMIT)
    )
}

/// The policy of what a provider shows in a frame of its own, at `origin`.
pub(crate) fn policy_framed_by(origin: &str) -> String {
    content_security_policy()
        .replace("frame-ancestors 'none'", &format!("frame-ancestors {origin}"))
}

/// What a person is told when something went wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem<'a> {
    /// What happened, in a few words.
    pub title: &'static str,
    /// What the operator has to say about it.
    pub message: Option<&'a str>,
    /// What to do next, in a sentence or two.
    pub advice: &'static str,
    /// The stable code of the contract, §5.
    pub code: &'static str,
    /// What to quote to an operator.
    pub reference: Option<&'a Reference>,
    /// How long to wait; told from a minute on.
    pub wait: Option<Duration>,
    /// Where a button leads, and what it says.
    pub way_on: Option<(&'a str, &'static str)>,
    /// A banner above everything.
    pub notice: Option<&'a str>,
}

/// What happened, what to do next, and what to quote when asking for help.
pub(crate) fn problem(view: &Problem) -> Markup {
    let body = html! {
        h1 { (view.title) }
        @if let Some(message) = view.message {
            p { (message) }
        }
        p { (view.advice) }
        dl {
            @if let Some(reference) = view.reference {
                div { dt { "Reference" } dd { code { (reference) } } }
            }
            @if let Some(wait) = view.wait.filter(|wait| *wait >= Duration::from_mins(1)) {
                div { dt { "Wait about" } dd { (roughly(wait)) } }
            }
            div { dt { "Code" } dd { code { (view.code) } } }
        }
        @if let Some((href, text)) = view.way_on {
            a.button.first href=(href) { (text) }
        }
    };
    page(view.title, view.notice, &body)
}

/// The path that begins a login at `provider` and comes back to `return_to`.
pub(crate) fn login_path(provider: &ProviderName, return_to: Option<&str>) -> String {
    let path = format!("/login/{provider}");
    match return_to {
        None => path,
        Some(target) => {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("return_to", target)
                .finish();
            format!("{path}?{query}")
        }
    }
}

fn page(title: &str, notice: Option<&str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                // An empty icon of its own keeps browsers from asking for /favicon.ico.
                link rel="icon" href="data:,";
                // The hash in the policy is of exactly what stands between the tags.
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if let Some(notice) = notice {
                    p.notice role="note" { (notice) }
                }
                main { div.card { (body) } }
            }
        }
    }
}

/// How long, as a person says it: never less than it is.
fn roughly(wait: Duration) -> String {
    let minutes = wait.as_millis().div_ceil(60_000);
    match (minutes, minutes.div_ceil(60)) {
        (0..=1, _) => "a minute".to_owned(),
        (2..120, _) => format!("{minutes} minutes"),
        (_, hours @ ..48) => format!("{hours} hours"),
        (_, hours) => format!("{} days", hours.div_ceil(24)),
    }
}

/// A moment as a person reads it: `24 November 2026, 12:00 UTC`.
fn for_people(moment: Timestamp) -> String {
    match moment.to_utc() {
        Some(utc) => utc.format("%-d %B %Y, %H:%M UTC").to_string(),
        None => moment.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</style><script>alert(1)</script>\" onload='x' & é";
    const NEUTRAL: &str =
        "&lt;/style&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload='x' &amp; é";

    fn provider(name: &str) -> ProviderName {
        ProviderName::parse(name).unwrap()
    }

    #[test]
    fn a_wait_is_told_as_people_say_it_and_never_too_short() {
        for (seconds, told) in [
            (60, "a minute"),
            (61, "2 minutes"),
            (899, "15 minutes"),
            (119 * 60, "119 minutes"),
            (119 * 60 + 1, "2 hours"),
            (47 * 3600, "47 hours"),
            (47 * 3600 + 1, "2 days"),
            (30 * 24 * 3600, "30 days"),
        ] {
            assert_eq!(roughly(Duration::from_secs(seconds)), told);
        }
    }

    /// Every page, each with as much foreign text as it takes.
    fn pages_of(text: &str) -> Vec<String> {
        let providers = [(provider("corp"), text.to_owned()), (provider("other"), text.to_owned())];
        let identity = Identity::parse("7d0c").unwrap();
        let until = Timestamp::from_millis(1_795_521_600_000);
        let notice = Some(text);
        let who = SignedIn {
            friendly_name: Some(text),
            identity: &identity,
            provider_title: text,
            until,
            denied: false,
            notice,
        };
        let problem_view = Problem {
            title: "The sign-in failed",
            message: Some(text),
            advice: "Try again.",
            code: "login_failed",
            reference: None,
            wait: None,
            way_on: Some((text, "Sign in again")),
            notice,
        };
        vec![
            sign_in(&SignIn { providers: &providers, guests: true, return_to: Some(text), notice })
                .into_string(),
            signed_in(&who).into_string(),
            signed_out(false, notice).into_string(),
            signed_out(true, notice).into_string(),
            problem(&problem_view).into_string(),
        ]
    }

    #[test]
    fn foreign_text_is_shown_as_text_on_every_page() {
        for html in pages_of(HOSTILE) {
            assert!(html.contains(NEUTRAL), "{html}");
            assert!(!html.contains("<script"), "{html}");
            assert!(!html.contains("\" onload="), "{html}");
            assert_eq!(html.matches("</style>").count(), 1, "{html}");
        }
    }

    #[test]
    fn the_way_back_survives_the_link_whole() {
        let target = "https://app.example.com/a?x=1&return_to=/evil#é \"";

        let path = login_path(&provider("corp"), Some(target));

        let query = path.strip_prefix("/login/corp?").unwrap();
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(pairs, [("return_to".to_owned(), target.to_owned())]);
        assert_eq!(login_path(&provider("corp"), None), "/login/corp");
    }

    #[test]
    fn the_policy_names_the_style_that_the_pages_carry() {
        for html in pages_of("x") {
            let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
            let hash = STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));

            assert!(content_security_policy().contains(&format!("style-src 'sha256-{hash}';")));
        }
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_no_script() {
        for html in pages_of("x") {
            for loading in [" src=", "@import", "url(", "<script", " style=", "http:", "https:"] {
                assert!(!html.contains(loading), "{loading} in {html}");
            }
        }
    }

    #[test]
    fn a_problem_shows_its_reference_and_its_code() {
        let reference = Reference::random();
        let view = Problem {
            title: "The sign-in failed",
            message: None,
            advice: "Sign in again.",
            code: "login_failed",
            reference: Some(&reference),
            wait: Some(Duration::from_mins(15)),
            way_on: None,
            notice: None,
        };

        let html = problem(&view).into_string();

        assert!(html.contains(&format!("<code>{reference}</code>")));
        assert!(html.contains("<code>login_failed</code>"));
    }

    #[test]
    fn the_end_of_a_session_reads_as_a_date() {
        assert_eq!(
            for_people(Timestamp::from_millis(1_795_521_600_000)),
            "24 November 2026, 12:00 UTC"
        );
        assert_eq!(
            for_people(Timestamp::from_millis(u64::MAX)),
            "18446744073709551615 ms after 1970"
        );
    }
}
