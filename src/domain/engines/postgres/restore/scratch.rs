//! Scratch databases: how they are made and marked, and how those are found that a killed run left.

use crate::domain::engines::postgres::origin::{Origin, literal, quoted};
use crate::domain::engines::postgres::restore::scratch_names::{Note, proves_itself};
use crate::domain::engines::postgres::restore::site::Site;
use crate::domain::error::{Error, Result};
use tokio_postgres::error::SqlState;

/// The comment on a scratch database. One of such a name without it, and without a name that proves itself, is a
/// stranger's, and never dropped.
pub const MARK: &str = "A scratch database of Holdfast, half restored or replaced. It may be dropped.";

/// What making a scratch database came to.
pub enum Made {
    /// It is there, and like its source in all that changes what text means.
    Alike,
    /// It is there, with the encoding of its source, but sorted by bytes: why, in the server's words.
    Otherwise(String),
}

impl Site<'_> {
    /// Makes the scratch database like `origin`, or where nothing is known of that like `target`.
    pub(super) fn make_scratch(&self, origin: Option<&Origin>, target: Option<&Origin>) -> Result<Made> {
        *self.note.borrow_mut() = Note::new(&self.tools().run_dir, &self.scratch);
        let like = origin.or(target);
        // Where the database lies belongs to the target, not to the backup.
        let place = target.and_then(|target| target.tablespace.as_deref());
        let Some(like) = like else {
            self.create("", place)?;
            return Ok(Made::Alike);
        };
        let why = match like.options(self.version.major) {
            Some(options) => match self.try_create(&options, place)? {
                Ok(()) => return Ok(Made::Alike),
                Err(why) => why,
            },
            None => format!("PostgreSQL {} has none", self.version.text),
        };
        self.create(&like.plain_options(self.version.major), place)?;
        Ok(Made::Otherwise(why))
    }

    fn create(&self, options: &str, place: Option<&str>) -> Result<()> {
        self.try_create(options, place)?.map_err(|why| {
            Error::Refused(format!("The server could not make a database with its encoding: {why}."))
        })
    }

    /// Not to be cancelled in between: the server would go on, and nobody would know of what it made. The inner error
    /// says why the server has no such locale.
    fn try_create(&self, options: &str, place: Option<&str>) -> Result<Result<(), String>> {
        let name = quoted(&self.scratch);
        let made = |place: String| {
            self.session.try_run(&format!("CREATE DATABASE {name} TEMPLATE template0{options}{place}"))
        };
        let mut created =
            made(place.map_or(String::new(), |place| format!(" TABLESPACE {}", quoted(place))))?;
        // Its place is told to be another afterwards; that is no reason not to restore.
        if place.is_some()
            && created.as_ref().is_err_and(|error| error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
        {
            created = made(String::new())?;
        }
        match created {
            Ok(()) => {
                let mark = format!("COMMENT ON DATABASE {name} IS {}", literal(MARK));
                // Its name proves whose it is where the comment cannot be made.
                if let Ok(Err(error)) = self.session.try_run(&mark) {
                    tracing::warn!(error = self.session.said(&error), "a scratch database is not marked");
                }
                Ok(Ok(()))
            }
            Err(error) => {
                const OF_LOCALES: [SqlState; 5] = [
                    SqlState::WRONG_OBJECT_TYPE,
                    SqlState::INVALID_PARAMETER_VALUE,
                    SqlState::FEATURE_NOT_SUPPORTED,
                    SqlState::SYNTAX_ERROR,
                    SqlState::INVALID_OBJECT_DEFINITION,
                ];
                if error.code().is_some_and(|code| OF_LOCALES.contains(code)) {
                    return Ok(Err(self.session.said(&error)));
                }
                Err(self.session.failed("Making a scratch database", &error))
            }
        }
    }

    /// Has values read in the scratch database as they were written: by settings of this role in that database, which
    /// count before all others. Gives what this server has not.
    pub(super) fn pin(&self, origin: Option<&Origin>) -> Vec<String> {
        let role = format!("ALTER ROLE CURRENT_USER IN DATABASE {}", quoted(&self.scratch));
        let set = |name: &str, value: &str| {
            self.session.try_run(&format!("{role} SET {} TO {}", quoted(name), literal(value)))
        };
        let _ = set("array_nulls", "on");
        let _ = set("default_transaction_read_only", "off");
        // Only a superuser may; its words are then understood by more than people.
        let _ = set("lc_messages", "C");
        let mut exceptions = Vec::new();
        for (name, value) in origin.iter().flat_map(|origin| &origin.in_force) {
            if let Ok(Err(error)) = set(name, value) {
                exceptions.push(format!(
                    "the setting {name}, which was {value} when the backup was made: {}. Values that depend on it may \
                     have changed",
                    self.session.said(&error)
                ));
            }
        }
        exceptions
    }

    /// Takes these settings away again, before somebody works with the database.
    pub(super) fn unpin(&self) {
        let reset = format!("ALTER ROLE CURRENT_USER IN DATABASE {} RESET ALL", quoted(&self.scratch));
        if let Ok(Err(error)) = self.session.try_run(&reset) {
            tracing::warn!(error = self.session.said(&error), "settings of the restoring role are not reset");
        }
    }

    /// Drops the scratch databases of runs that died, and tells of those that only look like ones. What cannot be
    /// looked at or dropped is told, and stops nothing.
    pub(super) fn sweep(&self) {
        let found = self.session.try_rows(
            "SELECT d.datname::text, coalesce(shobj_description(d.oid, 'pg_database') = $1, false), pg_has_role(d.datdba, 'USAGE')
             FROM pg_database d WHERE d.datname ~ '^holdfast_restore_[a-z0-9]{12}$'
               AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = d.datname)",
            &[&MARK],
        );
        let rows = match found {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = self.session.said(&error),
                    "earlier scratch databases were not looked for"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "earlier scratch databases were not looked for");
                return;
            }
        };
        for row in rows {
            let name: String = row.try_get(0).unwrap_or_default();
            let is_ours = row.try_get(1).unwrap_or(false) || proves_itself(&name);
            let may_drop = row.try_get(2).unwrap_or(false);
            let told = if is_ours && may_drop {
                match self.drop_database(&name) {
                    Ok(()) => format!("Dropped the scratch database {name}, which an earlier run left."),
                    Err(error) => {
                        format!("The scratch database {name}, which an earlier run left, stays: {error}")
                    }
                }
            } else {
                format!(
                    "The database {name} has the name of a scratch database and is not known to be one that this role \
                     may drop; it stays."
                )
            };
            self.progress.tell(&told);
        }
    }
}
