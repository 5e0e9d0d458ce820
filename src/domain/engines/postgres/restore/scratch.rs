//! Scratch databases: creating and marking them, and finding those that a killed run left behind.

use crate::domain::engines::postgres::origin::{Origin, literal, quoted};
use crate::domain::engines::postgres::restore::restore_server::RestoreServer;
use crate::domain::engines::postgres::restore::scratch_names::{Note, proves_itself};
use crate::domain::error::{Code, Error, Result};
use tokio_postgres::error::SqlState;

/// The comment on a scratch database. A database of such a name without this comment, and whose name has no
/// valid proof, is somebody else's and never dropped.
pub const MARK: &str = "A scratch database of Holdfast, half restored or replaced. It may be dropped.";

/// The result of creating a scratch database.
pub enum Made {
    /// It is like the original in everything that affects text.
    Alike,
    /// It has the original's encoding, but sorts by bytes: the server's reason.
    Otherwise(String),
}

impl RestoreServer<'_> {
    /// Creates the scratch database like `origin`, or like `target` if the origin is unknown.
    pub(super) fn make_scratch(&self, origin: Option<&Origin>, target: Option<&Origin>) -> Result<Made> {
        *self.note.borrow_mut() = Note::new(&self.tools().run_dir, &self.scratch);
        let like = origin.or(target);
        // The tablespace belongs to the target, not to the backup.
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
            Error::refusal(
                Code::Unsupported,
                format!("The server could not create a database with that encoding: {why}."),
            )
        })
    }

    /// Not cancellable: the server would go on, and the database would be forgotten. The inner error is the
    /// server's reason for lacking the locale.
    fn try_create(&self, options: &str, place: Option<&str>) -> Result<Result<(), String>> {
        let name = quoted(&self.scratch);
        let made = |place: String| {
            self.session.try_run(&format!("CREATE DATABASE {name} TEMPLATE template0{options}{place}"))
        };
        let mut created =
            made(place.map_or(String::new(), |place| format!(" TABLESPACE {}", quoted(place))))?;
        // An unusable tablespace is reported later; it does not prevent the restore.
        if place.is_some()
            && created.as_ref().is_err_and(|error| error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE))
        {
            created = made(String::new())?;
        }
        match created {
            Ok(()) => {
                let mark = format!("COMMENT ON DATABASE {name} IS {}", literal(MARK));
                // If the comment cannot be set, the name proves that the database is ours.
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
                Err(self.session.failed("Creating a scratch database", &error))
            }
        }
    }

    /// Makes the server read values as they were written, by settings of this role in the scratch database,
    /// which override all others. Returns what this server does not support.
    pub(super) fn pin(&self, origin: Option<&Origin>) -> Vec<String> {
        let role = format!("ALTER ROLE CURRENT_USER IN DATABASE {}", quoted(&self.scratch));
        let set = |name: &str, value: &str| {
            self.session.try_run(&format!("{role} SET {} TO {}", quoted(name), literal(value)))
        };
        let _ = set("array_nulls", "on");
        let _ = set("default_transaction_read_only", "off");
        // Only a superuser may set it. English messages can be matched.
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

    /// Removes these settings before the database is used.
    pub(super) fn unpin(&self) {
        let reset = format!("ALTER ROLE CURRENT_USER IN DATABASE {} RESET ALL", quoted(&self.scratch));
        if let Ok(Err(error)) = self.session.try_run(&reset) {
            tracing::warn!(error = self.session.said(&error), "settings of the restoring role are not reset");
        }
    }

    /// Drops the scratch databases of dead runs, and reports databases that only look like them. Failures are
    /// reported and stop nothing.
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
                    "could not look for scratch databases of earlier runs"
                );
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "could not look for scratch databases of earlier runs");
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
                        format!(
                            "The scratch database {name}, which an earlier run left, could not be \
                             dropped: {error}"
                        )
                    }
                }
            } else {
                format!(
                    "The database {name} is named like a scratch database, but this role may not drop it or \
                     did not create it; it was left alone."
                )
            };
            self.progress.tell(&told);
        }
    }
}
