//! Somebody's signed-in devices: what their owner sees of them, and how they end each other.

use std::sync::Arc;

use super::{Live, SessionError, Sessions};
use crate::clock::Timestamp;
use crate::ids::{Digest, RequestId};
use crate::store::{Dated, EndedSession, SessionKey};

/// A signed-in device, as its owner sees it.
#[derive(Clone, Debug)]
pub struct Device {
    /// Which one, for [`Sessions::end_device`]: no secret, and good for nothing else.
    pub id: Digest,
    /// What its owner knows it by.
    pub label: String,
    /// When it signed in.
    pub since: Timestamp,
    /// When it had its last token, or signed in; up to a 128th of the idle time earlier than that.
    pub last_used: Timestamp,
    /// Whether it is the one that asks.
    pub is_current: bool,
}

impl Sessions {
    /// All signed-in devices of the subject whose session `key` names, newest first; which does not count as using any.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when that session is over; [`SessionError::Store`] when the store has no answer.
    pub async fn devices(&self, key: &SessionKey) -> Result<Vec<Device>, SessionError> {
        let Dated { value, time } = self.store.list_sessions(key, self.settings.idle).await?;
        let mut devices = Vec::new();
        for listed in value.ok_or(SessionError::Ended)? {
            // Under today's settings it may be over though the store knows nothing of that.
            let Ok(Live { session, .. }) = self.live(listed.session, time, ()) else { continue };
            devices.push(Device {
                id: listed.id,
                label: listed.label,
                since: session.since,
                last_used: session.last_used,
                is_current: listed.id == key.id,
            });
        }
        if !devices.iter().any(|device| device.is_current) {
            return Err(SessionError::Ended);
        }
        devices.sort_by_key(|device| std::cmp::Reverse(device.since));
        Ok(devices)
    }

    /// Ends the subject's device `id` for good, which may be the one that asks; `false` when the subject has no such device.
    ///
    /// # Errors
    ///
    /// [`SessionError::Ended`] when the session that asks is over; [`SessionError::Store`] when the store has no answer.
    pub async fn end_device(
        self: &Arc<Self>,
        key: &SessionKey,
        id: &Digest,
    ) -> Result<bool, SessionError> {
        // The store ends nothing for a session that is over; that today's settings may say so before, only this room knows.
        self.look_at(key).await?;
        let request = RequestId::unique();
        let ended = self.store.end_listed_session(key, id, self.settings.idle, request).await?;
        match ended.value {
            EndedSession::Ended => {
                self.give_back_later(key.subject);
                Ok(true)
            }
            EndedSession::NoSuch => Ok(false),
            EndedSession::AskerEnded => Err(SessionError::Ended),
        }
    }

    /// Ends all devices of the subject for good but the one that asks.
    ///
    /// # Errors
    ///
    /// As [`Sessions::end_device`].
    pub async fn end_other_devices(self: &Arc<Self>, key: &SessionKey) -> Result<(), SessionError> {
        self.look_at(key).await?;
        let request = RequestId::unique();
        let lived = self.store.end_other_sessions(key, self.settings.idle, request).await?.value;
        if !lived {
            return Err(SessionError::Ended);
        }
        self.give_back_later(key.subject);
        Ok(())
    }
}
