//! What is remembered of subjects, and why somebody was denied, on Redis.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value};

use super::{Redis, away, checked_binding, checked_brief, checked_subject, keys};
use crate::clock::{StoreTime, Timestamp};
use crate::ids::{ProviderName, Reference, Subject, SubjectKey};
use crate::store::steps::{
    Binding, Cursor, NewStanding, Page, Place, Standing, Unreadable, Verdict, millis,
};
use crate::store::{Dated, Fault};

/// How often one page asks for more keys: with few standings among many other keys a page may be empty, but is never late.
const SCANS: u32 = 16;

impl Redis {
    pub(in crate::store) async fn keep_standing(
        &self,
        new: &NewStanding,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.keep_standing.call(1).text(keys::standing(&new.subject.key()));
        let call = call.arg(new.subject.issuer()).arg(new.subject.value());
        let call = call.arg(new.provider.as_str()).arg(&new.claims).text(new.verdict);
        let answer = call.arg(&new.decision).arg(millis(new.keep)).run(&self.link).await?;
        Ok(answer.dated(()))
    }

    pub(in crate::store) async fn read_standing(
        &self,
        subject: &SubjectKey,
        provider: &ProviderName,
    ) -> Result<Dated<Option<Standing>>, Fault> {
        let call = self.scripts.read_standing.call(1).text(keys::standing(subject));
        let mut answer = call.arg(provider.as_str()).run(&self.link).await?;
        if answer.is_over() {
            return Ok(answer.dated(None));
        }
        let (verdict, obtained) = checked_brief(&answer.text()?)?;
        let standing = Standing {
            provider: provider.clone(),
            verdict,
            obtained,
            claims: answer.text()?,
            decision: answer.text()?,
            subject: checked_subject(answer.maybe_text()?, answer.maybe_text()?)?,
        };
        Ok(answer.dated(Some(standing)))
    }

    pub(in crate::store) async fn decide_standing(
        &self,
        subject: &SubjectKey,
        provider: &ProviderName,
        obtained: Timestamp,
        (verdict, decision): (&Verdict, &str),
    ) -> Result<Dated<bool>, Fault> {
        let call = self.scripts.decide_standing.call(1).text(keys::standing(subject));
        let call = call.arg(provider.as_str()).arg(obtained.as_millis());
        let mut answer = call.text(verdict).arg(decision).run(&self.link).await?;
        let decided = answer.number()? == 1;
        Ok(answer.dated(decided))
    }

    pub(in crate::store) async fn keep_denial(
        &self,
        reference: &Reference,
        text: &str,
        keep: Duration,
    ) -> Result<Dated<()>, Fault> {
        let call = self.scripts.keep_denial.call(1).text(keys::denial(reference));
        let answer = call.arg(text).arg(millis(keep)).run(&self.link).await?;
        Ok(answer.dated(()))
    }

    pub(in crate::store) async fn find_denial(
        &self,
        reference: &Reference,
    ) -> Result<Dated<Option<String>>, Fault> {
        let call = self.scripts.find_denial.call(1).text(keys::denial(reference));
        let mut answer = call.run(&self.link).await?;
        let text = answer.maybe_text()?;
        Ok(answer.dated(text))
    }

    /// Not a script, for its keys lie in many slots: nobody needs the rows of a page to be of one moment.
    pub(in crate::store) async fn list_standings(
        &self,
        after: Option<Cursor>,
        about: u32,
    ) -> Result<Dated<Page>, Fault> {
        let mut place = match after {
            None => 0,
            Some(Cursor(Place::Scan(place))) => place,
            Some(Cursor(Place::Behind(_))) => {
                return Err(Fault::Corrupt("a cursor that Redis did not give"));
            }
        };
        let mut found = Vec::new();
        for _ in 0..SCANS {
            let mut command = Cmd::new();
            command.arg("SCAN").arg(place).arg("MATCH").arg(keys::STANDINGS);
            command.arg("COUNT").arg(about.max(1));
            let (next, keys): (u64, Vec<String>) = self.ask(&command).await?;
            place = next;
            found.extend(keys);
            if place == 0 || found.len() >= usize::try_from(about).unwrap_or(usize::MAX) {
                break;
            }
        }
        let Dated { value: mut page, time } = self.read_standings(&found).await?;
        page.next = (place != 0).then_some(Cursor(Place::Scan(place)));
        Ok(Dated { value: page, time })
    }

    /// What stands under `keys`, each with its subject's binding, in one round trip.
    async fn read_standings(&self, keys: &[String]) -> Result<Dated<Page>, Fault> {
        let mut page = Page { standings: Vec::new(), unreadable: Vec::new(), next: None };
        let mut unreadable =
            |key: &str, what| page.unreadable.push(Unreadable { key: key.to_owned(), what });
        let mut commands = vec![Cmd::new()];
        commands[0].arg("TIME");
        let mut asked = Vec::new();
        for key in keys {
            let Some(subject) = keys::subject_of_standing(key) else {
                unreadable(key, "no subject in the key of a standing");
                continue;
            };
            let (mut standing, mut bound) = (Cmd::new(), Cmd::new());
            standing.arg("HGETALL").arg(key);
            bound.arg("GET").arg(keys::subject(&subject).to_string());
            commands.extend([standing, bound]);
            asked.push(key);
        }
        let mut answers = self.link.send_all(&commands).await.map_err(away)?.into_iter();
        let (seconds, micros): (u64, u64) = read(answers.next())?;
        for key in asked {
            match read_row(answers.next(), answers.next()) {
                Ok((standings, binding)) => page
                    .standings
                    .extend(standings.into_iter().map(|standing| (standing, binding.clone()))),
                Err(Fault::Corrupt(what)) => unreadable(key, what),
                Err(fault) => return Err(fault),
            }
        }
        let at = Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(micros / 1000));
        Ok(Dated { value: page, time: StoreTime::heard_now(at) })
    }
}

/// All standings of one subject, and what it is bound to.
fn read_row(
    fields: Option<Value>,
    bound: Option<Value>,
) -> Result<(Vec<Standing>, Binding), Fault> {
    let bound: Option<String> = read(bound)?;
    Ok((read_fields(read(fields)?)?, checked_binding(bound.as_deref())?))
}

/// All standings of one subject. None when nothing is remembered any more.
fn read_fields(mut fields: HashMap<String, String>) -> Result<Vec<Standing>, Fault> {
    let briefs: Vec<_> = fields
        .iter()
        .filter(|(name, _)| !name.contains(':'))
        .map(|(name, brief)| (name.clone(), brief.clone()))
        .collect();
    if briefs.is_empty() {
        return Ok(Vec::new());
    }
    let subject: Subject = checked_subject(fields.remove(":i"), fields.remove(":v"))?;
    let standing = |(name, brief): (String, String)| {
        let mut part = |part: char| {
            let part = fields.remove(&format!("{name}:{part}"));
            part.ok_or(Fault::Corrupt("a part of a standing is missing"))
        };
        let (verdict, obtained) = checked_brief(&brief)?;
        Ok(Standing {
            subject: subject.clone(),
            claims: part('c')?,
            decision: part('d')?,
            provider: ProviderName::parse(&name)
                .ok_or(Fault::Corrupt("no provider's name in a standing"))?,
            verdict,
            obtained,
        })
    };
    briefs.into_iter().map(standing).collect()
}

fn read<T: FromRedisValue>(value: Option<Value>) -> Result<T, Fault> {
    redis::from_redis_value(value.unwrap_or(Value::Nil))
        .map_err(|_| Fault::Corrupt("an answer of another shape"))
}
