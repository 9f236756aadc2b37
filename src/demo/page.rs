//! The look that the demo's own pages share. Vestibule's pages have another, so that one sees whose page one is on.

use axum::response::{Html, IntoResponse};
use maud::{DOCTYPE, Markup, html};

/// A whole document around `body`, which says that this is a demo and wants [`stylesheet`] at `/demo.css`.
pub(super) fn document(title: &str, body: &Markup) -> Html<String> {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/demo.css";
            }
            body {
                p.notice role="note" {
                    strong { "This is a demo." }
                    " Its people and its Twilio account are made up."
                }
                (body)
            }
        }
    };
    Html(markup.into_string())
}

/// The stylesheet of every page here.
pub(super) async fn stylesheet() -> impl IntoResponse {
    ([("content-type", "text/css; charset=utf-8")], include_str!("demo.css"))
}
