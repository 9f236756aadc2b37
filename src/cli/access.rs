//! The way of a command to what is kept: the store itself, or the service that has its file open.

use std::sync::Arc;

use super::client::Client;
use super::{Exit, Trouble};
use crate::config::Config;
use crate::denials::Record;
use crate::ids::{Identity, Reference, Subject};
use crate::ops::{Changed, Known, Moved, Page, Pool, Quarantined, Records, Whom};
use crate::store::{Cursor, OpenError, Settings};
use crate::telemetry::{Metrics, explain};

/// Who answers.
pub(super) enum Access {
    /// The store, opened by this process.
    Store(Box<Records>),
    /// The service that has the store's file.
    Service(Client),
}

impl Access {
    /// Opens the configuration's store, or finds the service that has it.
    pub(super) async fn open(config: &Config) -> Result<Self, Trouble> {
        if let Settings::Embedded { path } = &config.store
            && !path.exists()
        {
            // Opening it would make it, as a file of whoever asks and not of the service.
            let text = format!(
                "the store's file {} (store.url) is not there: nothing was kept in it yet, or it is another one",
                path.display()
            );
            return Err(Trouble::new(Exit::Away, text));
        }
        let metrics = Metrics::new().map_err(|error| Trouble::new(Exit::No, explain(&error)))?;
        let store = match config.open_store(&metrics).await {
            Ok(store) => Arc::new(store),
            Err(OpenError::InUse { path }) => {
                let token = config.ops.token.as_ref().ok_or_else(|| {
                    let text = format!(
                        "another process has the store's file {} open, and only it can look into it: set ops.token_file in its \
                         configuration and start it again, then this command asks it at ops.listen",
                        path.display()
                    );
                    Trouble::new(Exit::Away, text)
                })?;
                return Ok(Self::Service(Client::new(&config.ops, token)?));
            }
            Err(error @ OpenError::Url) => return Err(Trouble::new(Exit::Usage, explain(&error))),
            Err(error) => return Err(Trouble::new(Exit::Away, explain(&error))),
        };
        let providers = config.providers.iter().map(|it| it.provider.name.clone()).collect();
        let pool = config.guests.as_ref().map(|guests| guests.pool);
        let records = Records::new(store, config.denials.clone(), providers, pool);
        Ok(Self::Store(Box::new(records)))
    }

    /// Why somebody was not let in.
    pub(super) async fn denial(&self, reference: &Reference) -> Result<Option<Record>, Trouble> {
        match self {
            Self::Store(records) => Ok(records.denial(reference).await?),
            Self::Service(client) => client.denial(reference).await,
        }
    }

    /// Who an identity is.
    pub(super) async fn identity(&self, identity: &Identity) -> Result<Option<Known>, Trouble> {
        match self {
            Self::Store(records) => Ok(records.identity(identity).await?),
            Self::Service(client) => client.identity(identity).await,
        }
    }

    /// Whose an identity is.
    pub(super) async fn owner(&self, identity: &Identity) -> Result<Option<Whom>, Trouble> {
        match self {
            Self::Store(records) => Ok(records.owner(identity).await?),
            Self::Service(client) => client.owner(identity).await,
        }
    }

    /// A page of all standings.
    pub(super) async fn standings(&self, after: Option<&str>) -> Result<Page, Trouble> {
        match self {
            Self::Store(records) => Ok(records.standings(after.and_then(Cursor::parse)).await?),
            Self::Service(client) => client.standings(after).await,
        }
    }

    /// Blocks an identity, or not any more; `None` when it is a guest's name.
    pub(super) async fn set_blocked(
        &self,
        identity: &Identity,
        blocked: bool,
    ) -> Result<Option<Changed>, Trouble> {
        match self {
            Self::Store(records) => {
                records.set_blocked(identity, blocked).await?.map(settled).transpose()
            }
            Self::Service(client) => client.set_blocked(identity, blocked).await,
        }
    }

    /// Ends all sessions of whoever has an identity; `None` when nobody has it.
    pub(super) async fn end_sessions(
        &self,
        identity: &Identity,
    ) -> Result<Option<Changed>, Trouble> {
        match self {
            Self::Store(records) => records.end_sessions(identity).await?.map(settled).transpose(),
            Self::Service(client) => client.end_sessions(identity).await,
        }
    }

    /// The pool of guests; `None` when the configuration has none.
    pub(super) async fn pool(&self) -> Result<Option<Pool>, Trouble> {
        match self {
            Self::Store(records) => Ok(records.pool().await?),
            Self::Service(client) => client.pool().await,
        }
    }

    /// Keeps every guest back for a while.
    pub(super) async fn quarantine(&self) -> Result<Option<Quarantined>, Trouble> {
        match self {
            Self::Store(records) => Ok(records.quarantine().await?),
            Self::Service(client) => client.quarantine().await,
        }
    }

    /// Gives an identity to another subject.
    pub(super) async fn move_identity(
        &self,
        identity: &Identity,
        to: &Subject,
    ) -> Result<Moved, Trouble> {
        match self {
            Self::Store(records) => Ok(records.move_identity(identity, to).await?),
            Self::Service(client) => client.move_identity(identity, to).await,
        }
    }
}

/// What is done counts as done once no failover can forget it.
fn settled(changed: Changed) -> Result<Changed, Trouble> {
    let text = match changed.behind {
        0 => return Ok(changed),
        1 => "it is done, but a replica of the store has not said that it has it".to_owned(),
        count => {
            format!("it is done, but {count} replicas of the store have not said that they have it")
        }
    };
    let text = format!("{text}: until then a failover may forget it. Mend the replica first");
    Err(Trouble::new(Exit::Away, text))
}
