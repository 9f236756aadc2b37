//! Asks a running service what a command cannot look up itself, because the store's file is the service's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Exit, Trouble};
use crate::denials::Record;
use crate::ids::{Identity, Reference, Subject};
use crate::ops::{
    self, Changed, Code, Given, Known, Moved, Page, Pool, Quarantined, ToldProblem, Whom,
};
use crate::telemetry::explain;

/// The largest answer that is read, in bytes: a page of standings, each with the largest claims.
const LARGEST: usize = 128 * 1024 * 1024;

/// A running service's API.
pub(super) struct Client {
    http: reqwest::Client,
    listen: SocketAddr,
    authorization: String,
}

/// What the API answers.
enum Answer<T> {
    Good(T),
    No(Code, ToldProblem),
}

impl Client {
    /// The API of the service that has this configuration.
    pub(super) fn new(settings: &ops::Settings, token: &SecretString) -> Result<Self, Trouble> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            // The token is for this machine or one that the operator named, never for a proxy.
            .no_proxy()
            .timeout(ops::PATIENCE)
            .build()
            .map_err(|error| Trouble::new(Exit::No, explain(&error)))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "it is sent to the service that has the same"
        )]
        let authorization = format!("Bearer {}", token.expose_secret());
        Ok(Self { http, listen: reachable(settings.listen), authorization })
    }

    pub(super) async fn denial(&self, reference: &Reference) -> Result<Option<Record>, Trouble> {
        self.find(&format!("denials/{reference}")).await
    }

    pub(super) async fn identity(&self, identity: &Identity) -> Result<Option<Known>, Trouble> {
        self.find(&format!("identities/{identity}")).await
    }

    pub(super) async fn owner(&self, identity: &Identity) -> Result<Option<Whom>, Trouble> {
        self.find(&format!("identities/{identity}/subject")).await
    }

    pub(super) async fn standings(&self, after: Option<&str>) -> Result<Page, Trouble> {
        // A cursor is digits, letters, - and _, which a query holds as they are.
        let query = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let found = self.find(&format!("standings{query}")).await?;
        found.ok_or_else(|| self.other_version())
    }

    pub(super) async fn move_identity(
        &self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<Moved, Trouble> {
        let path = format!("identities/{identity}/subject");
        let request = self.request(Method::PUT, &path).json(&Whom::from(to));
        match self.ask::<Given>(request).await? {
            Answer::Good(given) => Ok(Moved::Done(given)),
            Answer::No(Code::Unknown, _) => Ok(Moved::Guests),
            Answer::No(Code::AlreadyTheirs, _) => Ok(Moved::Theirs),
            Answer::No(Code::MoveUnderWay, ToldProblem { moving_to: Some(to), .. }) => {
                Ok(Moved::UnderWay { to })
            }
            Answer::No(Code::Blocked, ToldProblem { blocked: Some(identity), .. }) => {
                Ok(Moved::Blocked { identity })
            }
            Answer::No(Code::Overtaken, _) => Ok(Moved::Overtaken),
            Answer::No(code, _) => Err(self.refused(code)),
        }
    }

    pub(super) async fn set_blocked(
        &self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Option<Changed>, Trouble> {
        let method = if blocked { Method::PUT } else { Method::DELETE };
        self.found(self.request(method, &format!("identities/{identity}/block"))).await
    }

    pub(super) async fn end_sessions(
        &self,
        identity: &Identity,
    ) -> Result<Option<Changed>, Trouble> {
        let path = format!("identities/{identity}/sessions");
        self.found(self.request(Method::DELETE, &path)).await
    }

    pub(super) async fn pool(&self) -> Result<Option<Pool>, Trouble> {
        self.find("guests").await
    }

    pub(super) async fn quarantine(&self) -> Result<Option<Quarantined>, Trouble> {
        self.found(self.request(Method::PUT, "guests/quarantine")).await
    }

    async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Trouble> {
        self.found(self.request(Method::GET, path)).await
    }

    async fn found<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Option<T>, Trouble> {
        match self.ask(request).await? {
            Answer::Good(found) => Ok(Some(found)),
            Answer::No(Code::Unknown, _) => Ok(None),
            Answer::No(code, _) => Err(self.refused(code)),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}/api/{path}", self.listen);
        self.http.request(method, url).header(AUTHORIZATION, &self.authorization)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, Trouble> {
        let response = request.send().await.map_err(|error| self.away(&error))?;
        let status = response.status();
        let body = self.read(response).await?;
        if status == StatusCode::OK {
            return Ok(Answer::Good(self.parse(&body)?));
        }
        let problem: ToldProblem = self.parse(&body)?;
        let code = Code::parse(&problem.code).ok_or_else(|| self.other_version())?;
        Ok(Answer::No(code, problem))
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.away(&error))? {
            if body.len() + part.len() > LARGEST {
                return Err(self.other_version());
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn parse<'a, T: Deserialize<'a>>(&self, body: &'a [u8]) -> Result<T, Trouble> {
        serde_json::from_slice(body).map_err(|_| self.other_version())
    }

    fn away(&self, error: &reqwest::Error) -> Trouble {
        let (why, listen) = (explain(error), self.listen);
        let text = if error.is_connect() {
            format!(
                "another process has the store's file open, and no service answers at {listen} (ops.listen): {why}. Is it another \
                 configuration's?"
            )
        } else {
            format!("the service at {listen} (ops.listen) broke off, or took too long: {why}")
        };
        Trouble::new(Exit::Away, text)
    }

    fn other_version(&self) -> Trouble {
        let text = format!(
            "what answers at {} (ops.listen) is not Vestibule, or another version of it: use the command of the version that runs",
            self.listen
        );
        Trouble::new(Exit::Away, text)
    }

    fn refused(&self, code: Code) -> Trouble {
        let text = match code {
            Code::ApiOff => format!(
                "the service at {} was started without ops.token: start it again with the configuration that has one",
                self.listen
            ),
            Code::LoginRequired | Code::InvalidToken => {
                format!("the service at {} was started with another ops.token", self.listen)
            }
            Code::InvalidRequest => format!(
                "the service at {} refuses that: it was started with another configuration. Start it again with this one",
                self.listen
            ),
            Code::StoreUnavailable => {
                format!(
                    "the service at {} cannot reach its store: try again in a moment",
                    self.listen
                )
            }
            _ => return self.other_version(),
        };
        Trouble::new(Exit::Away, text)
    }
}

/// Where to reach what listens there: on every address is on loopback too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_breaks_off_is_not_told_as_one_that_is_not_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        let client =
            Client::new(&ops::Settings { listen, token: None }, &"operators-know-it".into());
        let client = client.unwrap();

        let (broken, ()) = tokio::join!(client.standings(None), async {
            drop(listener.accept().await.unwrap());
        });
        drop(listener);
        let nobody = client.standings(None).await;

        let told = |answer: Result<Page, Trouble>| answer.err().unwrap().text;
        let (broken, nobody) = (told(broken), told(nobody));
        assert!(broken.contains("broke off") && !broken.contains("another"), "{broken}");
        assert!(nobody.contains("no service answers"), "{nobody}");
    }

    #[test]
    fn a_service_that_listens_everywhere_is_reached_on_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:9090", "127.0.0.1:9090"),
            ("[::]:9090", "[::1]:9090"),
            ("10.1.2.3:9090", "10.1.2.3:9090"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }
}
