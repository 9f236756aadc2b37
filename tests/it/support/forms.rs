//! A visitor fills in what a real provider asks: a name and a password, then consent.

use url::Url;

use super::visitor::{Answer, Visitor};

/// What a form would send.
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

/// Walks from `start` through the provider and gives the first URL that begins with `until`, not yet visited: the login's
/// answer.
///
/// # Panics
///
/// When the way leads elsewhere or takes more than twenty steps.
pub async fn walk(
    visitor: &mut Visitor,
    start: &str,
    until: &str,
    (login, password): (&str, &str),
) -> String {
    let mut at = start.to_owned();
    let mut answer = visitor.get(start).await;
    for _ in 0..20 {
        if answer.status.is_redirection() {
            let location = answer.headers["location"].to_str().unwrap();
            at = resolve(&at, location);
            if at.starts_with(until) {
                return at;
            }
            answer = visitor.get(&at).await;
        } else {
            let form = form(&at, &answer, login, password);
            let form = form.unwrap_or_else(|| {
                panic!("{at} asks for neither a password nor consent: {answer:?}")
            });
            answer = visitor.submit(&form.action, &form.fields).await;
            at = form.action;
        }
    }
    panic!("no answer after twenty steps, now at {at}");
}

/// The page's first form that asks for a password or for consent, filled in.
fn form(at: &str, page: &Answer, login: &str, password: &str) -> Option<Form> {
    let mut forms =
        page.body.split("<form").skip(1).filter_map(|rest| rest.split("</form>").next());
    forms.find_map(|form| {
        let action = resolve(at, &attribute(form, "action")?);
        let mut asks = false;
        let mut fields = Vec::new();
        for input in form.split("<input").skip(1) {
            let (Some(name), Some(kind)) = (attribute(input, "name"), attribute(input, "type"))
            else {
                continue;
            };
            let value = match kind.as_str() {
                "text" => login.to_owned(),
                "password" => password.to_owned(),
                "hidden" => attribute(input, "value").unwrap_or_default(),
                _ => continue,
            };
            asks |= kind == "password" || (name == "prompt" && value == "consent");
            fields.push((name, value));
        }
        asks.then_some(Form { action, fields })
    })
}

/// Where a page's first form goes, and its hidden fields.
pub fn page_form(page: &str) -> (String, Vec<(String, String)>) {
    let form = page.split("<form").nth(1).unwrap().split("</form>").next().unwrap();
    let fields = form.split("<input").skip(1).map(|input| {
        (attribute(input, "name").unwrap(), attribute(input, "value").unwrap_or_default())
    });
    (attribute(form, "action").unwrap(), fields.collect())
}

/// An attribute of the tag that `html` begins in, unescaped.
fn attribute(html: &str, name: &str) -> Option<String> {
    let tag = html.split('>').next()?;
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

fn resolve(base: &str, reference: &str) -> String {
    Url::parse(base).unwrap().join(reference).unwrap().into()
}
