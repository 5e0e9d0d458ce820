//! Taking a database out of use: ending its sessions, dropping it, and finding out what stands in the way.

use crate::domain::engines::postgres::origin::{literal, quoted};
use crate::domain::engines::postgres::restore::session::Session;
use crate::domain::engines::postgres::restore::site::Site;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::model::human;
use crate::model::outcome::listed;
use std::fmt::Write as _;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// How often a database is tried to be taken out of use.
pub const ATTEMPTS: u32 = 5;
/// The longest wait between two tries.
const PAUSE: Duration = Duration::from_millis(400);

impl Site<'_> {
    /// Drops the scratch database, where it is there.
    pub fn discard(&self) -> Result<()> {
        self.drop_database(&self.scratch)?;
        self.strike();
        Ok(())
    }

    /// No scratch database of ours is there any more.
    pub(super) fn strike(&self) {
        if let Some(note) = self.note.borrow_mut().take() {
            note.strike();
        }
    }

    /// Drops a database that is ours: the scratch database, one that an earlier run left, or one that was replaced.
    /// What PostgreSQL itself forbids to drop a database for is removed.
    pub(super) fn drop_database(&self, database: &str) -> Result<()> {
        let name = quoted(database);
        let mut attempt = 1;
        loop {
            if attempt > 1 {
                self.remove_reasons(database);
            }
            // Nobody comes back meanwhile. Both may be refused, and the drop succeed.
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
                return Err(Error::Refused(format!(
                    "{why} {in_the_way}Once that is gone, let a superuser run: DROP DATABASE {name};"
                )));
            }
            attempt += 1;
            std::thread::sleep(PAUSE);
        }
    }

    /// Ends the sessions in a database that this role may end, each by itself: one that may not be ended keeps no
    /// other.
    pub(super) fn disconnect(&self, database: &str) {
        let found = self.session.try_rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            &[&database],
        );
        let Ok(Ok(rows)) = found else { return };
        for row in rows {
            let pid: i32 = row.try_get(0).unwrap_or_default();
            // PostgreSQL ends its own autovacuum where it is in the way.
            let _ = self.session.try_rows("SELECT pg_terminate_backend($1)", &[&pid]);
        }
    }

    /// Removes what keeps a database of ours from being dropped: prepared transactions, replication slots,
    /// subscriptions. Each may fail.
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
            // Its slot on the other server is left to whoever runs that: this one may not be able to reach it.
            for sql in [
                format!("ALTER SUBSCRIPTION {name} DISABLE"),
                format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
                format!("DROP SUBSCRIPTION {name}"),
            ] {
                let _ = inside.try_run(&sql);
            }
        }
    }

    /// Who and what is in a database and was not ended, in sentences, with what to type; empty where nothing is known
    /// of.
    pub(super) fn in_the_way(&self, database: &str) -> String {
        let mut told = String::new();
        if let Ok(Ok(rows)) = self.session.try_rows(
            // PostgreSQL ends its own autovacuum, which has no role, by itself.
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
                "{count} in it could not be ended: {}. Disconnect there, or let a superuser run SELECT pg_terminate_backend(number). ",
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
                "{count} in it waits for its end: {}. End it in that database with COMMIT PREPARED or ROLLBACK PREPARED and its name. ",
                listed(gids.iter().map(String::as_str))
            );
        }
        told
    }

    /// What keeps a database from being replaced until somebody ends it, in a sentence with what to type. PostgreSQL
    /// would forbid to rename or to drop it.
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
                "{count} in it waits for its end, and PostgreSQL does not let the database be replaced before that. Run in \
                 it: COMMIT PREPARED {0}; or ROLLBACK PREPARED {0};",
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
                "{count} in it belongs to another role, and PostgreSQL does not let the old database be dropped before it is \
                 gone. Let its owner run in it: DROP SUBSCRIPTION {};",
                quoted(first)
            )
        })
    }

    /// What is lost when a database is replaced, or keeps it from being replaced.
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
                "{} will be lost: {}. Whatever reads changes from there (replication, change data capture) has to be \
                 set up again.",
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
                "{} will be lost: {}. Its slot on the publishing server stays, and keeps that server's log until it is \
                 dropped there.",
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
                "{} may not be ended by this role and will stand in the way: {}. Disconnect there first.",
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

/// Whether a failure means that somebody or something is still in the database.
pub fn is_in_use(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::OBJECT_IN_USE)
}
