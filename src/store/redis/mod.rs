//! The Redis store: a script a step, so that each is atomic, dated by the server, and one round trip.
//!
//! Owns the connection, the keys and the scripts. What each step promises stands at [`super::Store`].

mod batch;
mod examine;
mod gathering;
mod guests;
mod identities;
mod keys;
mod link;
mod logouts;
mod replicas;
mod revalidation;
mod script;
mod sessions;
mod standings;
mod together;

use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, Cmd, IntoConnectionInfo, RedisError, Value};
use secrecy::{ExposeSecret, SecretString};

use super::steps::{
    Allowance, Binding, Health, NewLogin, Rate, TakenLogin, Verdict, millis, read_brief,
};
use super::{Dated, Fault, OpenError, Store};
use crate::clock::{StoreTime, Timestamp};
use crate::ids::{Digest, ProviderName, RequestId, Subject};
use link::{Link, When};
use script::Script;

/// Steps against one Redis server.
pub(super) struct Redis {
    link: Link,
    scripts: Scripts,
    pool: guests::Known,
    lends: guests::Lends,
    uses: guests::Uses,
    pool_key: String,
}

/// Each script once, under the name of its step: the field, the file and the list cannot differ. Those about guests have what they share
/// before them.
macro_rules! scripts {
    ($($name:ident),* ; after guests: $($guests:ident),* $(,)?) => {
        struct Scripts {
            $($name: Script,)*
            $($guests: Script),*
        }

        impl Scripts {
            fn new() -> Self {
                Self {
                    $($name: Script::new(include_str!(concat!("lua/", stringify!($name), ".lua"))),)*
                    $($guests: Script::new(concat!(
                        include_str!("lua/guests.lua"),
                        include_str!(concat!("lua/", stringify!($guests), ".lua"))
                    ))),*
                }
            }
        }
    };
}

scripts!(
    take_from_limit,
    begin_login,
    take_login_once,
    find_identity,
    find_subject,
    claim_identity,
    bind_identity,
    begin_move,
    retire_subject,
    finish_move,
    bind_subject,
    mark_identity,
    mark_subject,
    end_all_sessions,
    open_session,
    use_session,
    read_session,
    end_session,
    list_sessions,
    end_listed_session,
    end_other_sessions,
    begin_revalidation,
    keep_grant,
    finish_revalidation,
    pause_revalidation,
    take_grants,
    join_logout,
    log_out_handle,
    log_out_subject,
    was_spent,
    spend_once,
    unspend,
    keep_standing,
    read_standing,
    decide_standing,
    keep_denial,
    find_denial;
    after guests:
    lend_guest,
    use_lease,
    read_lease,
    end_lease,
    claim_guest_work,
    finish_guest_work,
    describe_pool,
    heed_doubt,
    quarantine_guests,
);

impl Redis {
    /// Takes the URL apart; the server is asked for nothing yet.
    ///
    /// # Errors
    ///
    /// [`OpenError::Url`] when it is no `redis://` or `rediss://` URL, or asks for TLS without checks. No other.
    pub(super) fn open(url: &SecretString, pool: &str) -> Result<Self, OpenError> {
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
        let link = Link::new(client.map_err(|_| OpenError::Url)?);
        Ok(Self {
            link,
            scripts: Scripts::new(),
            pool: guests::Known::default(),
            lends: guests::Lends::default(),
            uses: guests::Uses::default(),
            pool_key: keys::pool(pool),
        })
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
        let mut answer = call.arg(millis(Store::LOGIN_PATIENCE)).run(&self.link).await?;
        let taken = match answer.text()?.as_str() {
            "taken" => TakenLogin::Taken { return_to: answer.text()?, begun: answer.timestamp()? },
            "already_taken" => TakenLogin::AlreadyTaken,
            "other_browser" => TakenLogin::OtherBrowser { return_to: answer.text()? },
            "other_provider" => TakenLogin::OtherProvider,
            "unknown" => TakenLogin::Unknown,
            _ => return Err(Fault::Corrupt("an answer that take_login_once.lua does not give")),
        };
        Ok(answer.dated(taken))
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
        let answer: Value = self.link.send(command, When::WithOthers).await.map_err(away)?;
        redis::from_redis_value(answer).map_err(|_| Fault::Corrupt("an answer of another shape"))
    }
}

/// What a subject's key holds; `None` for no key.
fn checked_binding(text: Option<&str>) -> Result<Binding, Fault> {
    let binding = text.map_or_else(|| Some(Binding::default()), Binding::read);
    binding.ok_or(Fault::Corrupt("no binding where one belongs"))
}

fn checked_subject(issuer: Option<String>, value: Option<String>) -> Result<Subject, Fault> {
    let subject = Subject::new(&issuer.unwrap_or_default(), &value.unwrap_or_default());
    subject.map_err(|_| Fault::Corrupt("no subject where one belongs"))
}

fn checked_brief(text: &str) -> Result<(Verdict, Timestamp), Fault> {
    read_brief(text).ok_or(Fault::Corrupt("no verdict where one belongs"))
}

/// What a failed command means for the step. A script stumbles only over what it did not write itself.
fn away(error: RedisError) -> Fault {
    let stumbled = ["WRONGTYPE", "number expected", "attempt to "];
    let told = |text: &str| stumbled.iter().any(|word| text.contains(word));
    if error.code().is_some_and(told) || error.detail().is_some_and(told) {
        return Fault::Corrupt("a key of ours holds something else");
    }
    Fault::Away(Arc::new(error))
}
