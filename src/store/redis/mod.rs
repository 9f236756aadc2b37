//! The Redis store: a script a step, so that each is atomic, dated by the server, and one round trip.
//!
//! Owns the connection, the keys and the scripts. What each step promises stands at [`super::Store`].

mod batch;
mod examine;
mod keys;
mod link;
mod script;

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, Cmd, IntoConnectionInfo, RedisError, Value};
use secrecy::{ExposeSecret, SecretString};

use super::steps::{
    Allowance, Claim, Health, NewLogin, NewSession, Rate, Session, SessionKey, TakenLogin,
    UseTerms, UsedSession, millis,
};
use super::{Dated, Fault, OpenError, Store};
use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Digest, Identity, ProviderName, RequestId, Subject, SubjectKey};
use link::Link;
use script::{Answer, Script};

/// Steps against one Redis server.
pub(super) struct Redis {
    link: Link,
    scripts: Scripts,
}

struct Scripts {
    take_from_limit: Script,
    begin_login: Script,
    take_login_once: Script,
    find_identity: Script,
    claim_identity: Script,
    open_session: Script,
    use_session: Script,
    read_session: Script,
    end_session: Script,
}

impl Redis {
    /// Takes the URL apart; the server is asked for nothing yet.
    ///
    /// # Errors
    ///
    /// [`OpenError::Url`] when it is no `redis://` or `rediss://` URL, or asks for TLS without checks. No other.
    pub(super) fn open(url: &SecretString) -> Result<Self, OpenError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the driver takes the password out of the URL"
        )]
        let url = url::Url::parse(url.expose_secret()).map_err(|_| OpenError::Url)?;
        // The driver would take `#insecure` for TLS without checks, and files as sockets.
        if !matches!(url.scheme(), "redis" | "rediss") || url.fragment().is_some() {
            return Err(OpenError::Url);
        }
        let info = url.into_connection_info().map_err(|_| OpenError::Url)?;
        // Small answers must not wait for more (Nagle), and an idle connection must stay known to firewalls between us.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        // Servers before 7.2 answer `CLIENT SETINFO` with an error, which operators would find in their statistics.
        let handshake = info.redis_settings().clone().set_skip_set_lib_name();
        let client = Client::open(info.set_tcp_settings(tcp).set_redis_settings(handshake));
        Ok(Self { link: Link::new(client.map_err(|_| OpenError::Url)?), scripts: Scripts::new() })
    }

    /// A step had no answer in time: see [`Link::suspect`].
    pub(super) fn suspect(&self) {
        self.link.suspect();
    }

    pub(super) async fn take_from_limit(
        &self,
        bucket: &str,
        rate: Rate,
        request: RequestId,
    ) -> Result<Dated<Allowance>, Fault> {
        let call = self.scripts.take_from_limit.call(1).text(keys::limit(bucket));
        let call = call.text(request).arg(rate.interval_us()).arg(rate.burst_us());
        let mut answer = call.run(&self.link).await?;
        let allowance = match answer.number()? {
            1 => Allowance::Allowed,
            _ => Allowance::Refused { after: Duration::from_micros(answer.number()?) },
        };
        Ok(answer.dated(allowance))
    }

    pub(super) async fn begin_login(
        &self,
        id: &Digest,
        login: &NewLogin,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.begin_login.call(1).text(keys::login(id));
        let call = call.arg(login.provider.as_str()).text(login.binding).arg(&login.return_to);
        let answer = call.arg(millis(Store::LOGIN_PATIENCE)).run(&self.link).await?;
        Ok(answer.dated(()))
    }

    pub(super) async fn take_login_once(
        &self,
        id: &Digest,
        binding: &Digest,
        provider: &ProviderName,
        request: RequestId,
    ) -> Result<Dated<TakenLogin>, Fault> {
        let call = self.scripts.take_login_once.call(1).text(keys::login(id));
        let call = call.text(binding).arg(provider.as_str()).text(request);
        let mut answer = call.run(&self.link).await?;
        let taken = match answer.text()?.as_str() {
            "taken" => TakenLogin::Taken { return_to: answer.text()? },
            "already_taken" => TakenLogin::AlreadyTaken,
            "other_browser" => TakenLogin::OtherBrowser { return_to: answer.text()? },
            "other_provider" => TakenLogin::OtherProvider,
            "unknown" => TakenLogin::Unknown,
            _ => return Err(Fault::Corrupt("an answer that take_login_once.lua does not give")),
        };
        Ok(answer.dated(taken))
    }

    pub(super) async fn find_identity(
        &self,
        subject: &SubjectKey,
    ) -> Result<Dated<Option<Identity>>, Fault> {
        let call = self.scripts.find_identity.call(1).text(keys::subject(subject));
        let mut answer = call.run(&self.link).await?;
        let identity = answer.maybe_text()?.as_deref().map(checked_identity).transpose()?;
        Ok(answer.dated(identity))
    }

    pub(super) async fn claim_identity(
        &self,
        identity: &Identity,
        subject: &Subject,
    ) -> Result<Dated<Claim>, Fault> {
        let call = self.scripts.claim_identity.call(1).text(keys::claim(identity));
        let call = call.text(subject.key()).arg(subject.issuer()).arg(subject.value());
        let mut answer = call.run(&self.link).await?;
        let claim = if answer.number()? == 1 { Claim::Ours } else { Claim::Anothers };
        Ok(answer.dated(claim))
    }

    pub(super) async fn open_session(&self, session: &NewSession) -> Result<Dated<Session>, Fault> {
        let call = self.scripts.open_session.call(2);
        let call = call.text(keys::session(&session.key)).text(keys::subject(&session.key.subject));
        let call = call.text(&session.identity).arg(session.provider.as_str());
        let call = call
            .arg(millis(session.lifetime))
            .arg(millis(session.idle))
            .arg(&session.friendly_name);
        let mut answer = call.run(&self.link).await?;
        let session = read_session(&mut answer)?;
        Ok(answer.dated(session))
    }

    pub(super) async fn use_session(
        &self,
        key: &SessionKey,
        terms: &UseTerms,
        request: RequestId,
    ) -> Result<Dated<UsedSession>, Fault> {
        let call = self.scripts.use_session.call(1).text(keys::session(key));
        let call = call.text(request).arg(millis(terms.idle)).arg(millis(terms.grain()));
        let call = call
            .arg(terms.limit.map_or(0, Rate::interval_us))
            .arg(terms.limit.map_or(0, Rate::burst_us));
        let mut answer = call.run(&self.link).await?;
        let used = match answer.number()? {
            2 => UsedSession::Live(read_session(&mut answer)?),
            1 => UsedSession::Limited { after: Duration::from_micros(answer.number()?) },
            _ => UsedSession::Ended,
        };
        Ok(answer.dated(used))
    }

    pub(super) async fn read_session(
        &self,
        key: &SessionKey,
        idle: Duration,
    ) -> Result<Dated<Option<Session>>, Fault> {
        let call = self.scripts.read_session.call(1).text(keys::session(key)).arg(millis(idle));
        let mut answer = call.run(&self.link).await?;
        let session = if answer.is_over() { None } else { Some(read_session(&mut answer)?) };
        Ok(answer.dated(session))
    }

    pub(super) async fn end_session(
        &self,
        key: &SessionKey,
        idle: Duration,
        request: RequestId,
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.end_session.call(1).text(keys::session(key));
        let call = call.text(request).arg(millis(idle)).arg(millis(Store::TOMBSTONE));
        let mut answer = call.run(&self.link).await?;
        let lived = answer.number()? == 1;
        Ok(answer.dated(lived))
    }

    pub(super) async fn read_time(&self) -> Result<Dated<()>, Fault> {
        let mut command = Cmd::new();
        command.arg("TIME");
        let time: (u64, u64) = self.ask(&command).await?;
        let at = Timestamp::from_millis(time.0.saturating_mul(1000).saturating_add(time.1 / 1000));
        Ok(Dated { value: (), time: StoreTime::heard_now(at) })
    }

    pub(super) async fn examine(&self) -> Result<Dated<Health>, Fault> {
        examine::examine(self).await
    }

    /// A plain command's answer.
    async fn ask<T: redis::FromRedisValue>(&self, command: &Cmd) -> Result<T, Fault> {
        let answer: Value = self.link.send(command).await.map_err(away)?;
        redis::from_redis_value(answer).map_err(|_| Fault::Corrupt("an answer of another shape"))
    }
}

impl Scripts {
    fn new() -> Self {
        Self {
            take_from_limit: Script::new(include_str!("lua/take_from_limit.lua")),
            begin_login: Script::new(include_str!("lua/begin_login.lua")),
            take_login_once: Script::new(include_str!("lua/take_login_once.lua")),
            find_identity: Script::new(include_str!("lua/find_identity.lua")),
            claim_identity: Script::new(include_str!("lua/claim_identity.lua")),
            open_session: Script::new(include_str!("lua/open_session.lua")),
            use_session: Script::new(include_str!("lua/use_session.lua")),
            read_session: Script::new(include_str!("lua/read_session.lua")),
            end_session: Script::new(include_str!("lua/end_session.lua")),
        }
    }
}

/// The next three values, which every script gives in the same order: the card, when it was last used, when it ends.
fn read_session(answer: &mut Answer) -> Result<Session, Fault> {
    let card = answer.text()?;
    let mut parts = card.splitn(4, ' ');
    let mut part = || parts.next().ok_or(Fault::Corrupt("a part is missing from a session's card"));
    let since = part()?.parse().map_err(|_| Fault::Corrupt("no moment on a session's card"))?;
    Ok(Session {
        since: Timestamp::from_millis(since),
        identity: checked_identity(part()?)?,
        provider: ProviderName::parse(part()?)
            .ok_or(Fault::Corrupt("no provider's name on a session's card"))?,
        friendly_name: parts.next().map(str::to_owned),
        last_used: answer.timestamp()?,
        ends: answer.timestamp()?,
    })
}

fn checked_identity(text: &str) -> Result<Identity, Fault> {
    Identity::parse(text).map_err(|_| Fault::Corrupt("no identity where one belongs"))
}

/// What a failed command means for the step. A script stumbles only over what it did not write itself.
fn away(error: RedisError) -> Fault {
    let stumbled = ["WRONGTYPE", "number expected", "attempt to "];
    let told = |text: &str| stumbled.iter().any(|word| text.contains(word));
    if error.code().is_some_and(told) || error.detail().is_some_and(told) {
        return Fault::Corrupt("a key of ours holds something else");
    }
    Fault::Away(Box::new(error))
}
