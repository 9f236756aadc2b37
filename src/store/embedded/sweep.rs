//! What is over is taken away, so that the file does not grow with what has been.

use redb::{ReadableTable, Table};

use super::rows::Rows;

/// Takes away what is over, a few rows at a time, round and round.
#[derive(Default)]
pub(super) struct Sweep {
    logins: String,
    sessions: String,
    grants: String,
    logouts: String,
    handles: String,
    spent: String,
    standings: String,
    denials: String,
    limits: String,
    guest_claims: String,
}

impl Sweep {
    /// Looks at the next `most` rows of each table that does not keep for ever.
    pub(super) fn go_on(&mut self, rows: &mut Rows<'_>, most: usize) -> Result<(), redb::Error> {
        let (us, ms) = (rows.us, rows.ms());
        sweep(&mut rows.logins, &mut self.logins, most, |row| row.0 < ms)?;
        sweep(&mut rows.sessions, &mut self.sessions, most, |row| row.0 < ms)?;
        sweep(&mut rows.grants, &mut self.grants, most, |row| row.0 < ms)?;
        sweep(&mut rows.logouts, &mut self.logouts, most, |row| row.0 < ms)?;
        sweep(&mut rows.handles, &mut self.handles, most, |row| row.0 < ms)?;
        sweep(&mut rows.spent, &mut self.spent, most, |row| row.0 < ms)?;
        sweep(&mut rows.standings, &mut self.standings, most, |row| row.0 <= ms)?;
        sweep(&mut rows.denials, &mut self.denials, most, |row| row.0 <= ms)?;
        sweep(&mut rows.limits, &mut self.limits, most, |row| row.0 <= us)?;
        sweep(&mut rows.guest_claims, &mut self.guest_claims, most, |row| row.0 < ms)
    }
}

/// Looks at `most` rows from `next` on, takes away those that are over, and leaves in `next` where to go on.
fn sweep<V: redb::Value + 'static>(
    table: &mut Table<'_, &'static str, V>,
    next: &mut String,
    most: usize,
    is_over: impl for<'a> Fn(V::SelfType<'a>) -> bool,
) -> Result<(), redb::Error> {
    let mut over = Vec::new();
    let from = std::mem::take(next);
    let mut rows = table.range::<&str>(from.as_str()..)?;
    for row in rows.by_ref().take(most) {
        let (key, value) = row?;
        if is_over(value.value()) {
            over.push(key.value().to_owned());
        }
    }
    if let Some(row) = rows.next() {
        row?.0.value().clone_into(next);
    }
    drop(rows);
    for key in over {
        table.remove(key.as_str())?;
    }
    Ok(())
}
