//! Takes a database out of use: ends its sessions, drops it, and reports what prevents that.

use crate::domain::engines::postgres::origin::{literal, quoted};
use crate::domain::engines::postgres::restore::restore_server::RestoreServer;
use crate::domain::engines::postgres::restore::session::Session;
use crate::domain::error::{Code, Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::model::human;
use crate::model::outcome::listed;
use std::fmt::Write as _;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// The number of attempts to take a database out of use.
pub const ATTEMPTS: u32 = 5;
/// The longest wait between two attempts.
const PAUSE: Duration = Duration::from_millis(400);

impl RestoreServer<'_> {
    /// Drops the scratch database, if it exists.
    pub fn discard(&self) -> Result<()> {
        self.drop_database(&self.scratch)?;
        self.strike();
        Ok(())
    }

    /// Records that our scratch database is gone.
    pub(super) fn strike(&self) {
        if let Some(note) = self.note.borrow_mut().take() {
            note.strike();
        }
    }

    /// Drops one of our databases: the scratch database, one left by an earlier run, or the replaced one.
    /// First removes what makes PostgreSQL refuse the drop.
    pub(super) fn drop_database(&self, database: &str) -> Result<()> {
        let name = quoted(database);
        let mut attempt = 1;
        loop {
            if attempt > 1 {
                self.remove_reasons(database);
            }
            // Prevents new sessions. Both statements may be refused and the drop still succeed.
            let _ = self.session.try_run(&format!("ALTER DATABASE {name} IS_TEMPLATE false"));
            let _ = self.session.try_run(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
            self.disconnect(database);
            let why = match self.session.try_run(&format!("DROP DATABASE IF EXISTS {name}")) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => self.session.failed("Dropping a scratch database", &error),
                Err(error) => error,
            };
            if attempt == ATTEMPTS {
                let in_the_way = self.in_the_way(database);
                return Err(Error::refusal(
                    Code::DatabaseInUse,
                    format!("{why} {in_the_way}After that, ask a superuser to run: DROP DATABASE {name};"),
                ));
            }
            attempt += 1;
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends each session in a database that this role may end. A session that may not be ended does not
    /// protect the others.
    pub(super) fn disconnect(&self, database: &str) {
        let found = self.session.try_rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            &[&database],
        );
        let Ok(Ok(rows)) = found else { return };
        for row in rows {
            let pid: i32 = row.try_get(0).unwrap_or_default();
            // PostgreSQL ends its own autovacuum processes by itself.
            let _ = self.session.try_rows("SELECT pg_terminate_backend($1)", &[&pid]);
        }
    }

    /// Removes what prevents dropping one of our databases: prepared transactions, replication slots,
    /// subscriptions. Each step may fail.
    fn remove_reasons(&self, database: &str) {
        let texts = |sql: &str| -> Vec<String> {
            match self.session.try_rows(sql, &[&database]) {
                Ok(Ok(rows)) => rows.iter().filter_map(|row| row.try_get(0).ok()).collect(),
                _ => Vec::new(),
            }
        };
        let slots = "SELECT slot_name::text FROM pg_replication_slots WHERE database = $1";
        let readers = "SELECT active_pid::text FROM pg_replication_slots WHERE database = $1 AND active";
        for pid in texts(readers) {
            let _ = self.session.try_run(&format!("SELECT pg_terminate_backend({})", literal(&pid)));
        }
        for slot in texts(slots) {
            let _ = self.session.try_run(&format!("SELECT pg_drop_replication_slot({})", literal(&slot)));
        }
        let prepared = texts("SELECT gid FROM pg_prepared_xacts WHERE database = $1");
        let subscriptions = texts(
            "SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1",
        );
        if prepared.is_empty() && subscriptions.is_empty() {
            return;
        }
        let _ = self.session.try_run(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quoted(database)));
        let inside = self.postgres.elsewhere(database);
        let Ok(inside) = Session::open(&inside, &self.way, &self.scratch, &Cancel::default()) else {
            return;
        };
        for gid in prepared {
            let _ = inside.try_run(&format!("ROLLBACK PREPARED {}", literal(&gid)));
        }
        for name in subscriptions {
            let name = quoted(&name);
            // The slot on the publishing server is left to its operator: this server may be unable to reach
            // it.
            for sql in [
                format!("ALTER SUBSCRIPTION {name} DISABLE"),
                format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
                format!("DROP SUBSCRIPTION {name}"),
            ] {
                let _ = inside.try_run(&sql);
            }
        }
    }

    /// What uses a database and could not be ended, in sentences with the remedy; empty if nothing is known.
    pub(super) fn in_the_way(&self, database: &str) -> String {
        let mut told = String::new();
        if let Ok(Ok(rows)) = self.session.try_rows(
            // PostgreSQL ends its own autovacuum processes, which have no role, by itself.
            "SELECT pid, coalesce(usename::text, ''), coalesce(application_name, '') FROM pg_stat_activity
             WHERE datname = $1 AND pid <> pg_backend_pid() AND usesysid IS NOT NULL ORDER BY 1",
            &[&database],
        ) && !rows.is_empty()
        {
            let sessions: Vec<String> = rows
                .iter()
                .take(5)
                .map(|row| {
                    let pid: i32 = row.try_get(0).unwrap_or_default();
                    let text = |at: usize| row.try_get::<_, String>(at).unwrap_or_default();
                    format!("{pid} ({}, {})", text(1), text(2))
                })
                .collect();
            let count = human::count(rows.len() as u64, "session");
            let _ = write!(
                told,
                "{count} in it could not be ended: {}. Disconnect the client, or ask a superuser to run SELECT \
                 pg_terminate_backend(number). ",
                listed(sessions.iter().map(String::as_str))
            );
        }
        let gids =
            self.session.try_rows("SELECT gid FROM pg_prepared_xacts WHERE database = $1", &[&database]);
        if let Ok(Ok(rows)) = gids
            && !rows.is_empty()
        {
            let gids: Vec<String> =
                rows.iter().take(5).filter_map(|row| Some(literal(row.try_get(0).ok()?))).collect();
            let count = human::count(rows.len() as u64, "prepared transaction");
            let _ = write!(
                told,
                "{count} in it must be ended: {}. Run COMMIT PREPARED or ROLLBACK PREPARED with its name in \
                 that database. ",
                listed(gids.iter().map(String::as_str))
            );
        }
        told
    }

    /// What prevents a database from being replaced, in a sentence with the remedy. PostgreSQL would refuse
    /// to rename or drop it.
    pub(super) fn obstacle(&self, database: &str) -> Option<String> {
        let names = |sql: &str| -> Vec<String> {
            match self.session.try_rows(sql, &[&database]) {
                Ok(Ok(rows)) => rows.iter().filter_map(|row| row.try_get(0).ok()).collect(),
                _ => Vec::new(),
            }
        };
        let prepared = names("SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY 1");
        if let Some(first) = prepared.first() {
            let count = human::count(prepared.len() as u64, "prepared transaction");
            return Some(format!(
                "{count} in it must be ended before PostgreSQL allows replacing the database. Run in it: \
                 COMMIT PREPARED {0}; or ROLLBACK PREPARED {0};",
                literal(first)
            ));
        }
        let subscriptions = names(
            "SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
             WHERE d.datname = $1 AND NOT pg_has_role(s.subowner, 'USAGE') ORDER BY 1",
        );
        subscriptions.first().map(|first| {
            let count = human::count(subscriptions.len() as u64, "subscription");
            format!(
                "{count} in it belongs to another role, and PostgreSQL does not allow dropping the old \
                 database while it exists. Ask its owner to run in it: DROP SUBSCRIPTION {};",
                quoted(first)
            )
        })
    }

    /// What is lost when a database is replaced, or prevents replacing it.
    pub(super) fn lost_with(&self, database: &str) -> Vec<String> {
        let names = |sql: &str| -> Vec<String> {
            match self.session.try_rows(sql, &[&database]) {
                Ok(Ok(rows)) => rows.iter().filter_map(|row| row.try_get(0).ok()).collect(),
                _ => Vec::new(),
            }
        };
        let list = |names: &[String]| listed(names.iter().take(10).map(String::as_str));
        let count = |names: &[String], one| human::count(names.len() as u64, one);
        let mut told = Vec::new();
        let slots = names("SELECT slot_name::text FROM pg_replication_slots WHERE database = $1 ORDER BY 1");
        if !slots.is_empty() {
            told.push(format!(
                "{} will be lost: {}. Readers of these slots (replication, change data capture) must be set \
                 up again.",
                count(&slots, "replication slot"),
                list(&slots)
            ));
        }
        let subscriptions = names(
            "SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
             WHERE d.datname = $1 ORDER BY 1",
        );
        if !subscriptions.is_empty() {
            told.push(format!(
                "{} will be lost: {}. Its slot on the publishing server remains and retains that server's \
                 WAL until it is dropped there.",
                count(&subscriptions, "subscription"),
                list(&subscriptions)
            ));
        }
        let sessions = names(
            "SELECT pid::text || ' (' || coalesce(usename::text, '') || ')' FROM pg_stat_activity a
             WHERE datname = $1 AND pid <> pg_backend_pid() AND usesysid IS NOT NULL AND backend_type = 'client backend'
               AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
               AND ((SELECT rolsuper FROM pg_roles r WHERE r.oid = a.usesysid)
                    OR NOT (pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))) ORDER BY 1",
        );
        if !sessions.is_empty() {
            told.push(format!(
                "{} cannot be ended by this role and will prevent the restore: {}. Disconnect it first.",
                count(&sessions, "session"),
                list(&sessions)
            ));
        }
        let others = names(
            "SELECT pid::text FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()
               AND backend_type = 'client backend'",
        );
        if others.len() > sessions.len() {
            told.push(format!(
                "{} will be disconnected.",
                human::count((others.len() - sessions.len()) as u64, "session")
            ));
        }
        told
    }
}

/// Whether an error means that the database is still in use.
pub fn is_in_use(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::OBJECT_IN_USE)
}
