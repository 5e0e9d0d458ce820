//! Renames the scratch database to the target, and transfers the properties that belong to the target and not
//! to the backup.

use crate::domain::engines::postgres::origin::{Origin, literal, quoted};
use crate::domain::engines::postgres::restore::drop::{ATTEMPTS, is_in_use};
use crate::domain::engines::postgres::restore::fill;
use crate::domain::engines::postgres::restore::fill::Job;
use crate::domain::engines::postgres::restore::restore_server::{Content, Existing, RestoreServer};
use crate::domain::engines::postgres::restore::scratch::MARK;
use crate::domain::engines::postgres::restore::scratch_names;
use crate::domain::engines::postgres::restore::session::is_lost;
use crate::domain::error::{Code, Error, Result};
use tokio_postgres::error::SqlState;

/// Settings that are lists of names: each name is quoted.
const LISTS: [&str; 5] = [
    "search_path",
    "temp_tablespaces",
    "session_preload_libraries",
    "local_preload_libraries",
    "shared_preload_libraries",
];
/// Settings of the source that a new database gets too, because they change the meaning of its statements and
/// values. So do applications' own settings, which have a dot in their name.
const OF_MEANING: [&str; 12] = [
    "search_path",
    "timezone",
    "datestyle",
    "intervalstyle",
    "standard_conforming_strings",
    "bytea_output",
    "default_text_search_config",
    "extra_float_digits",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "xmloption",
];

impl RestoreServer<'_> {
    /// Renames the scratch database to the target, if no database has that name. Settings that could not be
    /// applied are exceptions.
    pub fn put_new(&self, database: &str, job: &Job<'_>, content: &mut Content) -> Result<()> {
        let (scratch, target) = (quoted(&self.scratch), quoted(database));
        let origin = job.source.manifest.as_ref().and_then(|manifest| manifest.origin.clone());
        if let Some(origin) = origin.and_then(|origin| serde_json::from_value::<Origin>(origin).ok()) {
            let of_meaning = |setting: &&String| {
                let name = setting.split('=').next().unwrap_or_default().to_ascii_lowercase();
                OF_MEANING.contains(&name.as_str()) || name.contains('.')
            };
            for setting in origin.settings.iter().filter(of_meaning) {
                self.set(&format!("ALTER DATABASE {scratch}"), setting, content);
            }
        }
        let rename = format!(
            "BEGIN; ALTER DATABASE {scratch} RENAME TO {target}; COMMENT ON DATABASE {target} IS NULL; COMMIT"
        );
        let mut attempt = 1;
        while let Err(error) = self.session.try_run(&rename)? {
            let is_lost = is_lost(&error);
            if is_lost && self.is_gone(&self.scratch)? {
                break;
            }
            if !is_lost {
                let _ = self.session.try_run("ROLLBACK");
            }
            match error.code() {
                // The second refusal if another session creates it at this moment.
                Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION) => {
                    return Err(Error::refusal(
                        Code::NameTaken,
                        format!(
                            "The database {database:?} was created while the backup was restored, and was \
                             not replaced. Check it, and use --overwrite to replace it."
                        ),
                    ));
                }
                _ if (is_lost || is_in_use(&error)) && attempt < ATTEMPTS && !self.cancel.is_cancelled() => {
                    self.disconnect(&self.scratch);
                    attempt += 1;
                }
                _ => return Err(self.session.failed("Naming the restored database", &error)),
            }
        }
        self.strike();
        self.finish(job, database, content);
        Ok(())
    }

    /// Puts the scratch database in the target's place, in one transaction, and drops the old one. Sessions
    /// in the old database are disconnected.
    pub fn put_over(
        &self,
        database: &str,
        existing: &Existing,
        job: &Job<'_>,
        content: &mut Content,
    ) -> Result<()> {
        self.keep(&existing.origin, content);
        let away = scratch_names::name()?;
        let (scratch, target, old) = (quoted(&self.scratch), quoted(database), quoted(&away));
        let mark = literal(MARK);
        let comment = existing.origin.comment.as_deref().map_or("NULL".to_owned(), literal);
        let swap = format!(
            "BEGIN; ALTER DATABASE {target} RENAME TO {old}; COMMENT ON DATABASE {old} IS {mark};
             ALTER DATABASE {scratch} RENAME TO {target}; COMMENT ON DATABASE {target} IS {comment}; COMMIT"
        );
        let mut attempt = 1;
        loop {
            self.disconnect(database);
            // The server waits some seconds for the ended sessions to finish, and accepts no new ones
            // meanwhile.
            match self.session.try_run(&swap)? {
                Ok(()) => break,
                // If the connection was lost, the names show whether the transaction was committed.
                Err(error) if is_lost(&error) => {
                    if self.is_gone(&self.scratch)? {
                        break;
                    }
                    if attempt == ATTEMPTS {
                        return Err(self.session.failed("Putting the restored database into place", &error));
                    }
                }
                Err(error) => {
                    let _ = self.session.try_run("ROLLBACK");
                    if !is_in_use(&error) {
                        return Err(self.session.failed("Putting the restored database into place", &error));
                    }
                    if attempt == ATTEMPTS {
                        let in_the_way = self.in_the_way(database);
                        return Err(Error::refusal(
                            Code::DatabaseInUse,
                            match in_the_way.as_str() {
                                "" => format!(
                                    "Other programs keep connecting to {database:?}, so it was not replaced. \
                                 Stop them and try again."
                                ),
                                _ => format!(
                                    "The database {database:?} was not replaced: {} Then try again.",
                                    in_the_way.trim_end()
                                ),
                            },
                        ));
                    }
                }
            }
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            attempt += 1;
        }
        if let Err(error) = self.drop_database(&away) {
            let told = format!(
                "the database is restored, but the old one could not be dropped and is now called \
                 {away}: {error} The next restore on this server tries again"
            );
            self.progress.tell(&told);
            content.notes.push(format!("In addition, {told}."));
        }
        self.strike();
        self.finish(job, database, content);
        Ok(())
    }

    /// Whether no database has that name.
    fn is_gone(&self, database: &str) -> Result<bool> {
        let found = self.session.rows(
            "Looking up the databases",
            "SELECT FROM pg_database WHERE datname = $1",
            &[&database],
        )?;
        Ok(found.is_empty())
    }

    /// Restores the entries left for the final database. Failures do not undo the restore.
    fn finish(&self, job: &Job<'_>, database: &str, content: &mut Content) {
        if let Err(error) = fill::finish(self, job, database, content) {
            content.exceptions.push(format!("entries that act outside the database: {error}"));
        }
    }

    /// Transfers the properties of the replaced database. What this role may not set is an exception.
    fn keep(&self, of: &Origin, content: &mut Content) {
        let name = quoted(&self.scratch);
        let alter = format!("ALTER DATABASE {name}");
        for setting in &of.settings {
            self.set(&alter, setting, content);
        }
        for of_role in &of.role_settings {
            let alter = format!("ALTER ROLE {} IN DATABASE {name}", quoted(&of_role.role));
            for setting in &of_role.settings {
                self.set(&alter, setting, content);
            }
        }
        if let Some(limit) = of.connection_limit.filter(|limit| *limit != -1) {
            self.give("its connection limit", &format!("{alter} CONNECTION LIMIT {limit}"), content);
        }
        for (provider, label) in &of.security_labels {
            let label =
                format!("SECURITY LABEL FOR {} ON DATABASE {name} IS {}", quoted(provider), literal(label));
            self.give("a security label", &label, content);
        }
        if let Some(tablespace) = &of.tablespace {
            let is_there = self.session.try_rows(
                "SELECT FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
                 WHERE d.datname = $1 AND t.spcname = $2",
                &[&self.scratch, tablespace],
            );
            if matches!(is_there, Ok(Ok(rows)) if rows.is_empty()) {
                content.exceptions.push(format!(
                    "tablespace {tablespace} of the database: this role may not use it, so the database is \
                     in the default one"
                ));
            }
        }
        if of.is_template {
            self.give("its template flag", &format!("{alter} IS_TEMPLATE true"), content);
        }
        // The owner's own rights exist by default; an explicit list of grants includes them. The owner comes
        // last: afterwards this role may not be allowed to grant.
        if let Some(grants) = &of.grants {
            let owner = of.owner.as_deref();
            self.give("its grants", &format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"), content);
            for grant in grants.iter().filter(|grant| grant.role.is_none() || grant.role.as_deref() != owner)
            {
                let role = grant.role.as_deref().map_or("PUBLIC".to_owned(), quoted);
                let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
                let sql = format!("GRANT {} ON DATABASE {name} TO {role}{option}", grant.right);
                self.give(&format!("the right {} of {role}", grant.right), &sql, content);
            }
        }
        if let Some(owner) = of.owner.as_deref().filter(|owner| *owner != self.role) {
            self.give(&format!("its owner {owner}"), &format!("{alter} OWNER TO {}", quoted(owner)), content);
        }
    }

    /// Applies one `name=value` from the catalogue.
    fn set(&self, alter: &str, setting: &str, content: &mut Content) {
        let Some((name, value)) = setting.split_once('=') else { return };
        let value = if LISTS.contains(&name.to_ascii_lowercase().as_str()) {
            // A list of quoted names already.
            if value.is_empty() { "''".to_owned() } else { list_of_literals(value) }
        } else {
            literal(value)
        };
        let name: Vec<String> = name.split('.').map(quoted).collect();
        let name = name.join(".");
        self.give(&format!("the setting {name}"), &format!("{alter} SET {name} TO {value}"), content);
    }

    fn give(&self, what: &str, sql: &str, content: &mut Content) {
        let refused = match self.session.try_run(sql) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => self.session.said(&error),
            Err(error) => error.to_string(),
        };
        content.exceptions.push(format!("{what} of the database: {refused}"));
    }
}

/// `app, "Odd ""one"", x"` from the catalogue, as a list of string literals.
fn list_of_literals(value: &str) -> String {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut is_quoted = false;
    let mut characters = value.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                name.push('"');
                characters.next();
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !is_quoted => {}
            c => name.push(c),
        }
    }
    names.push(name);
    names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::restore::replace::*;

    #[test]
    fn a_list_of_names_keeps_each_as_it_is() {
        for (value, expected) in [
            ("app, public", "'app', 'public'"),
            ("\"$user\", public", "'$user', 'public'"),
            ("\"a, b\", \"x\"\"y\"", "'a, b', 'x\"y'"),
            ("\"\"", "''"),
            ("o'k", "'o''k'"),
        ] {
            assert_eq!(list_of_literals(value), expected);
        }
    }
}
