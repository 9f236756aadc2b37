//! The demo's app: a page of an origin of its own, which knows of Vestibule what any app in a browser can know, its public
//! routes. The page is static; what it shows, its script asks for (`app.js`).

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::Response;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use maud::{Markup, html};
use url::{Url, form_urlencoded};

use super::page::{document, stylesheet};
use super::twilio::StandIn;

/// A conversation that people join by themselves.
pub(super) const DEN: &str = "den";

/// The app at `app_url`, which sends people to Vestibule at `service` to sign in. What the Conversations SDK would do with a token, it does with
/// the stand-in at once.
pub(super) fn routes(app_url: &Url, service: &Url, twilio: &StandIn) -> Router {
    let (look, join) = (twilio.clone(), twilio.clone());
    let look = async move |Path(who): Path<String>| Json(look.conversations_of(&who));
    let join = async move |Path(who): Path<String>| {
        join.join(&who, DEN);
        Json(join.conversations_of(&who))
    };
    let page = page(app_url, service);
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' {service}; form-action {service}; \
         base-uri 'none'; frame-ancestors 'none'",
        service = service.origin().ascii_serialization()
    );
    Router::new()
        .route("/", get(async move || answer(&page, &policy)))
        .route("/conversations/{identity}", get(look).post(join))
        .route("/app.js", get(script))
        .route("/demo.css", get(stylesheet))
}

fn answer(page: &Html<String>, policy: &str) -> Response {
    ([(CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, "no-store")], page.clone()).into_response()
}

async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("app.js"))
}

fn page(app_url: &Url, service: &Url) -> Html<String> {
    let origin = service.origin().ascii_serialization();
    let back = form_urlencoded::Serializer::new(String::new())
        .append_pair("return_to", app_url.as_str())
        .finish();
    let body = html! {
        // The script's one setting: where Vestibule is.
        main #app data-service=(origin) {
            p.eyebrow { "Demo app" }
            p #problem.problem role="alert" hidden {}
            noscript { p { "This page asks Vestibule from the browser and needs JavaScript for that." } }
            p #loading { "Asking Vestibule who you are …" }
            section #signed-out.narrow hidden {
                div.card {
                    h1 { "You are not signed in" }
                    p { "Vestibule sends you to the demo provider and back, and then gives this page a Conversations token." }
                    div.actions {
                        a #sign-in.button.first href={ (origin) "/login/demo?" (back) } { "Sign in" }
                        button #guest.button type="button" { "Go on as a guest" }
                    }
                }
            }
            section #signed-in.columns hidden {
                div.card {
                    h1 { "Hello, " span #name {} }
                    dl {
                        div { dt { "Conversations identity" } dd { code #identity {} } }
                        div { dt { "Signed in with" } dd { span #provider {} } }
                        div { dt { "This device stays signed in until" } dd { time #until {} } }
                    }
                    div.actions {
                        button #refresh.button.first type="button" { "Get a fresh token" }
                        // A page's form and not the script: the browser goes on to the provider, and comes back from there.
                        form #for-members method="post" action={ (origin) "/logout" } {
                            button #sign-out.button type="submit" { "Sign out" }
                        }
                        div #for-guests.actions hidden {
                            a.button href={ (origin) "/login/demo?" (back) } { "Sign in" }
                            button #give-back.button type="button" { "Leave" }
                        }
                    }
                    (conversations())
                }
                div.card {
                    h2 { "Access token" }
                    p { "Good for another " strong #remaining role="timer" {} "." }
                    p {
                        "It is well-formed and signed like any other, but with the key of an account that Twilio never gave out, \
                         so Twilio would not accept it."
                    }
                    h3 { "Header" }
                    pre #header tabindex="0" {}
                    h3 { "Claims" }
                    pre #claims tabindex="0" {}
                    h3 { "As the Conversations SDK gets it" }
                    code #token.token {}
                }
            }
        }
        script src="/app.js" type="module" {}
    };
    document("Demo app", &body)
}

/// What the stand-in for Twilio says of whoever is here.
fn conversations() -> Markup {
    html! {
        h2.further { "Conversations" }
        p { "At the stand-in for Twilio you are in: " strong #conversations {} "." }
        div.actions {
            button #join.button type="button" { "Join the conversation “den”" }
            button #look.button type="button" { "Look again" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_in_link_comes_back_to_the_app_whole() {
        let app_url = Url::parse("http://127.0.0.1:8080/").unwrap();
        let service = Url::parse("http://127.0.0.1:8081/").unwrap();

        let Html(html) = page(&app_url, &service);

        let link =
            r#"href="http://127.0.0.1:8081/login/demo?return_to=http%3A%2F%2F127.0.0.1%3A8080%2F""#;
        assert!(html.contains(link), "{html}");
    }

    #[test]
    fn the_script_finds_every_element_that_it_asks_for() {
        let url = Url::parse("http://127.0.0.1:1/").unwrap();
        let Html(html) = page(&url, &url);
        let script = include_str!("app.js");

        let asked: Vec<_> =
            script.split("element('").skip(1).filter_map(|rest| rest.split('\'').next()).collect();

        assert!(asked.len() > 10, "{asked:?}");
        for id in asked {
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
}
