//! Somebody with a browser that keeps cookies and follows redirects only when told.

use std::collections::BTreeMap;

use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::service::TestService;

/// A browser without a screen.
#[derive(Clone)]
pub struct Visitor {
    /// What it sends with.
    pub client: Client,
    /// Name and value of each cookie that it holds. Cookies know no port, so one jar serves a whole test.
    pub cookies: BTreeMap<String, String>,
    /// What it sends as `Origin` with a POST.
    pub origin: Option<String>,
    /// What it sends as `Accept`.
    pub accept: &'static str,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `code` of a problem.
    pub fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        self.json()["code"].as_str().unwrap().to_owned()
    }

    /// Where a redirect leads.
    pub fn location(&self) -> String {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{self:?}");
        self.headers[LOCATION].to_str().unwrap().to_owned()
    }
}

impl Visitor {
    /// Somebody who was never here, on a page of `service` itself.
    pub fn of(service: &TestService) -> Self {
        Self::on_a_page_of(&service.url)
    }

    /// Somebody who was never here, on a page of this origin.
    pub fn on_a_page_of(origin: &str) -> Self {
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self { client, cookies: BTreeMap::new(), origin: Some(origin.to_owned()), accept: "*/*" }
    }

    /// GETs a URL.
    pub async fn get(&mut self, url: &str) -> Answer {
        self.send(Method::GET, url, &[]).await
    }

    /// POSTs nothing to a URL, as a page of `self.origin` does.
    pub async fn post(&mut self, url: &str) -> Answer {
        self.send(Method::POST, url, &[]).await
    }

    /// Sends a request with further headers, and keeps the cookies that come back.
    pub async fn send(&mut self, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.request(method.clone(), url).header(ACCEPT, self.accept);
        if let (Some(origin), true) = (&self.origin, method != Method::GET) {
            request = request.header(ORIGIN, origin);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.exchange(request).await
    }

    /// Sends a form of a page, as that page's own server would have it.
    pub async fn submit(&mut self, url: &str, fields: &[(String, String)]) -> Answer {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request =
            self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.exchange(request.header(ACCEPT, self.accept).body(form)).await
    }

    /// POSTs JSON, as a script of a page of `self.origin` does.
    pub async fn post_json(&mut self, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = self.client.post(url).header(ACCEPT, self.accept);
        let mut request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
        if let Some(origin) = &self.origin {
            request = request.header(ORIGIN, origin);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.exchange(request).await
    }

    /// Presses the button of a form on a page of `self.origin`.
    pub async fn press(&mut self, url: &str, fields: &[(&str, &str)]) -> Answer {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request =
            self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(origin) = &self.origin {
            request = request.header(ORIGIN, origin);
        }
        self.exchange(request.header(ACCEPT, self.accept).body(form)).await
    }

    async fn exchange(&mut self, mut request: RequestBuilder) -> Answer {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let (pair, attributes) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    /// Goes to the provider and back to where the service's callback is to be called, without calling it: for a provider that
    /// asks nothing.
    pub async fn walk_to_callback(&mut self, service: &TestService) -> String {
        let away = self.get(&format!("{}/login/fake", service.url)).await.location();
        self.get(&away).await.location()
    }

    /// Signs in at a provider that asks nothing; the answer is the callback's.
    pub async fn sign_in(&mut self, service: &TestService) -> Answer {
        let callback = self.walk_to_callback(service).await;
        self.get(&callback).await
    }
}
