//! Logins under way.

use redb::ReadableTable;

use super::Rows;
use crate::clock::Timestamp;
use crate::ids::{Digest, ProviderName, RequestId};
use crate::store::Store;
use crate::store::embedded::writer::Trouble;
use crate::store::steps::{NewLogin, TakenLogin, millis};

impl Rows<'_> {
    pub(in crate::store::embedded) fn begin_login(
        &mut self,
        id: &Digest,
        login: &NewLogin,
    ) -> Result<(), Trouble> {
        let id = id.to_string();
        let now = self.ms();
        if self.logins.get(id.as_str())?.is_some_and(|row| row.value().0 >= now) {
            return Ok(());
        }
        let binding = login.binding.to_string();
        let over = now.saturating_add(millis(Store::LOGIN_PATIENCE));
        self.written = true;
        let row = (over, login.provider.as_str(), binding.as_str(), login.return_to.as_str(), None);
        self.logins.insert(id.as_str(), row)?;
        Ok(())
    }

    pub(in crate::store::embedded) fn take_login_once(
        &mut self,
        id: &Digest,
        binding: &Digest,
        provider: &ProviderName,
        request: RequestId,
    ) -> Result<TakenLogin, Trouble> {
        let (id, binding, request) = (id.to_string(), binding.to_string(), request.to_string());
        let (over, return_to) = {
            let Some(row) = self.logins.get(id.as_str())? else { return Ok(TakenLogin::Unknown) };
            let (over, begun_at, begun_by, return_to, taken_by) = row.value();
            if over < self.ms() {
                return Ok(TakenLogin::Unknown);
            } else if begun_by != binding {
                return Ok(TakenLogin::OtherBrowser { return_to: return_to.to_owned() });
            } else if begun_at != provider.as_str() {
                return Ok(TakenLogin::OtherProvider);
            } else if taken_by.is_some_and(|taken_by| taken_by != request) {
                return Ok(TakenLogin::AlreadyTaken);
            }
            (over, return_to.to_owned())
        };
        self.written = true;
        let row =
            (over, provider.as_str(), binding.as_str(), return_to.as_str(), Some(request.as_str()));
        self.logins.insert(id.as_str(), row)?;
        let begun = over.saturating_sub(millis(Store::LOGIN_PATIENCE));
        Ok(TakenLogin::Taken { return_to, begun: Timestamp::from_millis(begun) })
    }
}
