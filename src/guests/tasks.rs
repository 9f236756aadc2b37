//! What is done at Twilio about guests, beside the requests: they are taken into the guests' conversations, and out of everything before they
//! are lent again. When, and by whom, is [`work`](super::work).

use std::collections::HashSet;
use std::time::Duration;

use super::Guests;
use super::work::{Job, WorkError};
use crate::clock::Timestamp;
use crate::store::{GuestTask, Heir, WorkDone};
use crate::telemetry::{AUDIT, explain};
use crate::twilio::{RoleKind, TwilioError, User};

/// How soon a guest is looked at again whose lease or month ends: by then it is over, or goes on.
const SOON: Duration = Duration::from_secs(15);

/// What became of a guest's conversations for its heir.
#[derive(Default)]
struct Inheritance {
    /// How many the heir is in.
    carried: usize,
    /// How many it is not in, and will not be.
    missing: usize,
    /// Whether it is for want of time.
    is_too_late: bool,
}

impl Guests {
    pub(super) async fn do_it(&self, job: &Job<'_>) -> Result<WorkDone, WorkError> {
        match &job.work.task {
            GuestTask::Join { until } => match self.join(job, *until).await {
                Err(error) if error.is_too_late() => Ok(WorkDone::Failed { retry_after: SOON }),
                joined => joined,
            },
            GuestTask::Scrub { free_until, heir } => {
                if let Some(heir) = heir {
                    let inheritance = self.bequeath(job, heir).await?;
                    let told = self.rooms.store.finish_guest_work(job.work, WorkDone::Inherited);
                    if !told.await?.value {
                        return Err(WorkError::Overtaken);
                    }
                    inheritance.tell(job, heir);
                }
                match self.scrub(job, *free_until).await {
                    Err(error) if error.is_too_late() => Ok(WorkDone::Dirty),
                    scrubbed => scrubbed,
                }
            }
        }
    }

    /// Takes a guest into the guests' conversations, into as many as it can.
    async fn join(&self, job: &Job<'_>, until: Timestamp) -> Result<WorkDone, WorkError> {
        let role = self.guest_role(job).await?;
        let mut first = None;
        for conversation in &self.settings.conversations {
            job.go_on()?;
            let twilio = &self.rooms.twilio;
            let adding =
                twilio.add_participant(conversation, &job.identity, role.as_deref(), Some(until));
            let added = adding.await;
            if let (Err(TwilioError::Refused { .. } | TwilioError::NoConversation), Some(role)) =
                (&added, &role)
            {
                // It may be the role that is gone.
                self.roles.guest.doubt(role).await;
            }
            keep_first(&mut first, in_conversation(conversation, added))?;
        }
        first.map_or(Ok(WorkDone::Joined), Err)
    }

    /// Takes the member that a guest has become into the guest's conversations. Those that it is in already cost nothing, so that what does
    /// not fit into one turn goes on in the next.
    async fn bequeath(&self, job: &Job<'_>, heir: &Heir) -> Result<Inheritance, WorkError> {
        let twilio = &self.rooms.twilio;
        let mut inheritance = Inheritance::default();
        let conversations = twilio.conversations_of(&job.identity).await?;
        if conversations.is_empty() {
            return Ok(inheritance);
        }
        let has = match twilio.conversations_of(&heir.identity).await {
            // It is called `.` or `..`.
            Err(TwilioError::Unaddressable) => {
                inheritance.missing = conversations.len();
                return Ok(inheritance);
            }
            has => has?.into_iter().collect::<HashSet<_>>(),
        };
        for (place, conversation) in conversations.iter().enumerate() {
            if has.contains(conversation) {
                inheritance.carried += 1;
                continue;
            }
            job.go_on()?;
            let adding =
                twilio.add_participant(conversation, &heir.identity, None, Some(heir.until));
            match in_conversation(conversation, adding.await) {
                Ok(()) => inheritance.carried += 1,
                Err(error) if error.is_too_late() => {
                    let rest = conversations[place..].iter().filter(|it| !has.contains(*it));
                    inheritance.missing += rest.count();
                    inheritance.carried = conversations.len() - inheritance.missing;
                    inheritance.is_too_late = true;
                    break;
                }
                // It was deleted just now, or is closed or full: what cannot be taken along keeps nothing else from it.
                Err(error) if error.is_about_one() => {
                    tracing::warn!(
                        why = explain(&error),
                        identity = heir.identity.as_str(),
                        "a conversation could not be carried over"
                    );
                    inheritance.missing += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(inheritance)
    }

    /// Takes a guest out of everything, and looks again until there is nothing.
    async fn scrub(
        &self,
        job: &Job<'_>,
        free_until: Option<Timestamp>,
    ) -> Result<WorkDone, WorkError> {
        let (twilio, identity) = (&self.rooms.twilio, &job.identity);
        for _ in 0..3 {
            job.go_on()?;
            let conversations = twilio.conversations_of(identity).await?;
            let bindings = twilio.bindings_of(identity).await?;
            let reset_to = self.reset_to(job).await?;
            let is_in_nothing = conversations.is_empty() && reset_to.is_none();
            if is_in_nothing && bindings.is_empty() {
                return Ok(WorkDone::Clean);
            }
            if free_until.is_none() && !is_in_nothing {
                return Ok(WorkDone::Dirty);
            }
            let mut first = None;
            for binding in &bindings {
                job.go_on()?;
                // It is none of the eight things that make an identity active, so that it has no deadline.
                let deleted = twilio.delete_binding(binding).await;
                keep_first(&mut first, deleted.map_err(WorkError::Twilio))?;
            }
            for conversation in &conversations {
                job.go_on()?;
                let removed = twilio.remove_participant(conversation, identity, free_until).await;
                keep_first(&mut first, in_conversation(conversation, removed))?;
            }
            if let Some(role) = reset_to {
                job.go_on()?;
                let reset = twilio.reset_user(identity, &role, free_until).await;
                if let Err(TwilioError::Refused { .. }) = &reset {
                    self.roles.user.doubt(&role).await;
                }
                keep_first(&mut first, reset.map_err(WorkError::Twilio))?;
            }
            if let Some(error) = first {
                return Err(error);
            }
        }
        Err(WorkError::Restless)
    }

    /// The role that a guest's user is to be reset to; `None` when there is nothing to reset.
    async fn reset_to(&self, job: &Job<'_>) -> Result<Option<String>, WorkError> {
        let Some(user) = self.rooms.twilio.user(&job.identity).await? else { return Ok(None) };
        let role = self.user_role(job).await?;
        if user.role_sid == role {
            return Ok(Some(role).filter(|_| is_marked(&user, job)));
        }
        // Either the user has been given another role, or new users have another one by now.
        self.roles.user.doubt(&role).await;
        let role = self.user_role(job).await?;
        Ok(Some(role).filter(|role| user.role_sid != *role || is_marked(&user, job)))
    }

    async fn user_role(&self, job: &Job<'_>) -> Result<String, WorkError> {
        let asking = async || self.rooms.twilio.default_user_role().await.map(Some);
        let role = self.roles.user.get(job.time.now(), asking).await?;
        role.ok_or_else(|| WorkError::NoRole("the default one".to_owned()))
    }

    async fn guest_role(&self, job: &Job<'_>) -> Result<Option<String>, WorkError> {
        let Some(name) = &self.settings.role else { return Ok(None) };
        let asking = async || {
            let roles = self.rooms.twilio.roles().await?;
            let mut roles = roles.into_iter();
            let role =
                roles.find(|it| it.kind == RoleKind::Conversation && it.friendly_name == *name);
            Ok(role.map(|role| role.sid))
        };
        let role = self.roles.guest.get(job.time.now(), asking).await?;
        role.map(Some).ok_or_else(|| WorkError::NoRole(name.clone()))
    }
}

impl Inheritance {
    /// Tells the audit log, once it is settled.
    fn tell(&self, job: &Job<'_>, heir: &Heir) {
        let Self { carried, missing, is_too_late } = *self;
        let (identity, guest) = (heir.identity.as_str(), job.identity.as_str());
        if missing == 0 || (carried > 0 && !is_too_late) {
            tracing::info!(
                target: AUDIT,
                event = "guest_carried_over",
                identity,
                guest,
                carried,
                missing,
                "a member has the conversations that it had as a guest"
            );
            return;
        }
        if is_too_late {
            tracing::warn!(
                identity,
                guest,
                missing,
                "conversations were not carried over in time: it would make somebody active who may not come"
            );
        }
        tracing::info!(
            target: AUDIT,
            event = "guest_not_carried_over",
            identity,
            guest,
            carried,
            missing,
            "a member has not got the conversations that it had as a guest"
        );
    }
}

/// Keeps the first of what went wrong with one thing alone, for the rest may be done; what keeps everything from being done ends it.
fn keep_first(first: &mut Option<WorkError>, done: Result<(), WorkError>) -> Result<(), WorkError> {
    match done {
        Err(error) if error.is_about_one() => {
            first.get_or_insert(error);
            Ok(())
        }
        done => done,
    }
}

fn in_conversation(conversation: &str, done: Result<(), TwilioError>) -> Result<(), WorkError> {
    done.map_err(|source| WorkError::In { conversation: conversation.to_owned(), source })
}

/// Whether anything was written to a user, beside its role, that its next holder would have too.
fn is_marked(user: &User, job: &Job<'_>) -> bool {
    let named = |name: &String| !name.is_empty() && name != job.identity.as_str();
    user.friendly_name.as_ref().is_some_and(named)
        || !matches!(user.attributes.trim(), "" | "{}" | "null")
}
