//! Steps about what is remembered of subjects, and about why somebody was denied.

use std::time::Duration;

use super::measure::Step;
use super::{Backend, Cursor, Dated, NewStanding, Page, Standing, Store, StoreError, Verdict};
use crate::clock::Timestamp;
use crate::ids::{ProviderName, Reference, SubjectKey};

impl Store {
    /// Keeps what a login showed, in place of what was known before. Opens no session and brings none back.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn keep_standing(&self, new: &NewStanding) -> Result<Dated<()>, StoreError> {
        step!(self, keep_standing(new))
    }

    /// What is remembered of `subject` at `provider`.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn read_standing(
        &self,
        subject: &SubjectKey,
        provider: &ProviderName,
    ) -> Result<Dated<Option<Standing>>, StoreError> {
        step!(self, read_standing(subject, provider))
    }

    /// Keeps what the policy says of the claims that were obtained at `obtained`, and what was decided, as JSON; `false` when there
    /// are other claims by now, or none.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    #[expect(clippy::too_many_arguments, reason = "whose, which claims, and what of them")]
    pub async fn decide_standing(
        &self,
        subject: &SubjectKey,
        provider: &ProviderName,
        obtained: Timestamp,
        verdict: &Verdict,
        decision: &str,
    ) -> Result<Dated<bool>, StoreError> {
        step!(self, decide_standing(subject, provider, obtained, (verdict, decision)))
    }

    /// Some of all standings, from `after` on, or from the beginning. A standing that is there all the time comes at least once;
    /// one may come twice.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any; [`StoreError::Corrupt`] also for a cursor of the other kind of store.
    pub async fn list_standings(
        &self,
        after: Option<Cursor>,
        about: u32,
    ) -> Result<Dated<Page>, StoreError> {
        step!(self, list_standings(after, about))
    }

    /// Keeps why somebody was denied, for `keep`. The same again changes nothing but that.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn keep_denial(
        &self,
        reference: &Reference,
        text: &str,
        keep: Duration,
    ) -> Result<Dated<()>, StoreError> {
        step!(self, keep_denial(reference, text, keep))
    }

    /// Why somebody was denied; `None` when nothing was, or it is kept no longer.
    ///
    /// # Errors
    ///
    /// [`StoreError`], any.
    pub async fn find_denial(
        &self,
        reference: &Reference,
    ) -> Result<Dated<Option<String>>, StoreError> {
        step!(self, find_denial(reference))
    }
}
