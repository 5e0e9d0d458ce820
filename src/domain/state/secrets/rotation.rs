//! Changes the key: creates a new one, seals every value again with it, and removes the former key.
//!
//! The new key is durable under its own name before anything is sealed with it; all values change in one
//! transaction; only then does the new key take the former one's name. Values name their key, and both files
//! are read, so everything can be opened at every moment in between.

use crate::domain::error::{Code, Error, Result};
use crate::domain::repository::private_file;
use crate::domain::state::Store;
use crate::domain::state::secrets::{MasterKey, Sealed, Secrets, make_key, read_key};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::PathBuf;

/// A column of the state database that holds sealed values, perhaps among others.
struct Column {
    table: &'static str,
    /// The column that identifies a row.
    row: &'static str,
    /// The column with the values.
    value: &'static str,
    /// The place for which a row's value was sealed.
    place: fn(&str) -> String,
}

/// Every column with sealed values. Code that seals values elsewhere must add its column here; a rotation
/// that finds a sealed value in another column changes nothing.
const COLUMNS: &[Column] = &[
    Column { table: "settings", row: "key", value: "value", place: |row| format!("settings/{row}") },
    // An offered factor becomes the active one by copying, so both are sealed for the same place.
    Column { table: "accounts", row: "id", value: "totp", place: |row| format!("accounts/{row}.totp") },
    Column {
        table: "accounts",
        row: "id",
        value: "totp_offered",
        place: |row| format!("accounts/{row}.totp"),
    },
];

/// A sealed value in its row.
struct Found {
    column: &'static Column,
    rowid: i64,
    place: String,
    sealed: String,
}

impl Secrets {
    /// The path of the next key, until it replaces the current one.
    pub(super) fn next_path(&self) -> PathBuf {
        self.inner.path.with_extension("new")
    }

    /// Creates a new key and seals everything in `store` again with it, or continues an interrupted change.
    /// Returns the number of values. No other program may seal values meanwhile.
    pub fn rotate(&self, store: &Store) -> Result<usize> {
        let unopened = self.unopened(store)?;
        if let Some(place) = unopened.first() {
            return Err(Error::refusal(
                Code::SecretUnreadable,
                format!(
                    "The stored {place} cannot be decrypted with the key in {}, so the key was not changed. \
                     Restore the former key file, or enter that secret again, and then change the key.",
                    self.inner.path.display()
                ),
            ));
        }
        if self.read()?.is_empty() {
            return Err(Error::refusal(
                Code::KeyUnusable,
                "There is no key yet: it is created with the first stored secret.",
            ));
        }
        let next = self.next_path();
        private_file::sweep_drafts(&next)?;
        make_key(&next)?;
        let key = read_key(&next)?.ok_or(Error::Lost)?;
        let keys = self.read()?;
        let count = store.with(|db| seal_anew(db, &keys, &key))?;
        private_file::replace_private(&next, &self.inner.path)?;
        self.read()?;
        tracing::info!(values = count, "the key of the stored secrets was changed");
        Ok(count)
    }

    /// Checks the key file before a server starts, and refuses an invalid one. Completes an interrupted key
    /// change, and warns of values that cannot be opened, which does not prevent backups.
    pub fn begin_serving(&self, store: &Store) -> Result<()> {
        let keys = self.read()?;
        private_file::sweep_drafts(&self.inner.path)?;
        if read_key(&self.next_path())?.is_some() {
            tracing::info!("an interrupted key change is being completed");
            if let Err(error) = self.rotate(store) {
                tracing::warn!(%error, "the key change could not be completed; both keys stay");
            }
        }
        let unopened = self.unopened(store)?;
        if unopened.is_empty() {
            return Ok(());
        }
        let secrets = unopened.join(", ");
        let key = self.inner.path.display();
        if keys.is_empty() {
            tracing::warn!(
                %key,
                secrets,
                "the key file is missing, so stored secrets cannot be decrypted: restore the file, or enter \
                 the secrets again"
            );
        } else {
            tracing::warn!(
                %key,
                secrets,
                "stored secrets cannot be decrypted with the key file: restore the former file, or enter \
                 the secrets again"
            );
        }
        Ok(())
    }

    /// The places of the values that no existing key opens.
    pub fn unopened(&self, store: &Store) -> Result<Vec<String>> {
        let keys = self.read()?;
        let mut found = store.with(|db| sealed_values(db))?;
        found.retain(|found| !opens(found, &keys));
        Ok(found.into_iter().map(|found| found.place).collect())
    }
}

fn opens(found: &Found, keys: &[MasterKey]) -> bool {
    Sealed::parse(&found.sealed).is_some_and(|sealed| sealed.open(&found.place, keys).is_some())
}

fn seal_anew(db: &mut Connection, keys: &[MasterKey], key: &MasterKey) -> Result<usize> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = sealed_values(&transaction)?;
    for value in &found {
        let opened = Sealed::parse(&value.sealed).and_then(|sealed| sealed.open(&value.place, keys));
        let sealed = key.seal(&value.place, &opened.ok_or(Error::Lost)?)?;
        let Column { table, value: column, .. } = value.column;
        transaction
            .execute(&format!("UPDATE {table} SET {column} = ?1 WHERE rowid = ?2"), (sealed, value.rowid))?;
    }
    if let Some(column) = overlooked(&transaction, key)? {
        return Err(Error::refusal(
            Code::Internal,
            format!(
                "Holdfast does not know the sealed value in {column}, so the key was not \
                 changed. Please report this."
            ),
        ));
    }
    transaction.commit()?;
    // Secrets sealed with the former key must not remain in free pages, or in a checkpointed log.
    if let Err(error) = db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(%error, "unused parts of the state database may still contain secrets sealed with \
                                the former key");
    }
    Ok(found.len())
}

fn sealed_values(db: &Connection) -> Result<Vec<Found>> {
    let mut values = Vec::new();
    for column in COLUMNS {
        let Column { table, row, value, place } = column;
        let mut rows = db.prepare(&format!("SELECT rowid, CAST({row} AS TEXT), {value} FROM {table}"))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let sealed: Option<String> = row.get(2)?;
            if let Some(sealed) = sealed.filter(|sealed| Sealed::parse(sealed).is_some()) {
                let row_name: String = row.get(1)?;
                values.push(Found { column, rowid: row.get(0)?, place: place(&row_name), sealed });
            }
        }
    }
    Ok(values)
}

/// The first column with a value that is sealed with a key other than `key`.
fn overlooked(db: &Transaction<'_>, key: &MasterKey) -> Result<Option<String>> {
    let columns = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c \
                   WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'";
    let columns = db
        .prepare(columns)?
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<Result<Vec<_>, _>>()?;
    for (table, column) in columns {
        let texts = format!(
            "SELECT \"{column}\" FROM \"{table}\" WHERE typeof(\"{column}\") = 'text' AND \"{column}\" LIKE 'v_:%'"
        );
        let mut texts = db.prepare(&texts)?;
        let mut texts = texts.query([])?;
        while let Some(row) = texts.next()? {
            let text: String = row.get(0)?;
            if Sealed::parse(&text).is_some_and(|sealed| sealed.key.as_ref() != Some(&key.id)) {
                return Ok(Some(format!("{table}.{column}")));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use crate::domain::state::secrets::rotation::*;
    use secrecy::{ExposeSecret, SecretString};
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    const ROWS: usize = 1000;

    /// A state database with sealed values and a plain one.
    fn filled(rows: usize) -> (TempDir, Store, Secrets) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("holdfast.db")).unwrap();
        let secrets = Secrets::new(home.path().join("key"));
        store.with(|db| Ok(db.execute_batch("BEGIN")?)).unwrap();
        put(&store, "sftp", "{}");
        for row in 0..rows {
            put(&store, &row.to_string(), &secrets.seal(&place(row), &secret(row)).unwrap());
        }
        store.with(|db| Ok(db.execute_batch("COMMIT")?)).unwrap();
        (home, store, secrets)
    }

    fn place(row: usize) -> String {
        format!("settings/{row}")
    }

    fn secret(row: usize) -> SecretString {
        format!("secret {row}").into()
    }

    fn put(store: &Store, row: &str, value: &str) {
        let put = "INSERT OR REPLACE INTO settings VALUES (?1, ?2)";
        store.with(|db| Ok(db.execute(put, (row, value))?)).unwrap();
    }

    fn value(store: &Store, row: usize) -> String {
        let get = "SELECT value FROM settings WHERE key = ?1";
        store.with(|db| Ok(db.query_row(get, [row.to_string()], |row| row.get(0))?)).unwrap()
    }

    fn opened(home: &Path, store: &Store, rows: usize) -> usize {
        let secrets = Secrets::new(home.join("key"));
        let opens = |row: &usize| {
            let opened = secrets.open(&place(*row), "It", &value(store, *row));
            opened.is_ok_and(|opened| opened.expose_secret() == secret(*row).expose_secret())
        };
        (0..rows).filter(opens).count()
    }

    #[test]
    fn after_a_rotation_everything_opens_with_the_new_key_and_nothing_with_the_former() {
        let (home, store, secrets) = filled(ROWS);
        let path = home.path().join("key");
        let (former, value_before) = (fs::read(&path).unwrap(), value(&store, 7));
        assert_eq!(secrets.rotate(&store).unwrap(), ROWS);
        assert_ne!(fs::read(&path).unwrap(), former);
        assert!(!home.path().join("key.new").exists());
        assert_eq!(opened(home.path(), &store, ROWS), ROWS);
        // The rotating instance uses the new key, and so does one that had read the former key.
        assert!(value(&store, 7).starts_with(&secrets.seal("x", &secret(1)).unwrap()[..20]));
        let everything =
            ["holdfast.db", "holdfast.db-wal"].map(|name| fs::read(home.path().join(name)).unwrap());
        let is_there = |text: &str| {
            everything.iter().any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        };
        assert!(!is_there(&value_before), "what the former key opens is still in the file");
        assert!(is_there(&value(&store, 7)), "the control");
        fs::write(&path, former).unwrap();
        assert_eq!(opened(home.path(), &store, ROWS), 0, "the control");
    }

    #[test]
    fn one_that_had_read_the_former_key_reads_the_new_one() {
        let (home, store, secrets) = filled(1);
        let other = Secrets::new(home.path().join("key"));
        other.open(&place(0), "It", &value(&store, 0)).unwrap();
        secrets.rotate(&store).unwrap();
        other.open(&place(0), "It", &value(&store, 0)).unwrap();
    }

    #[test]
    fn a_rotation_cut_short_anywhere_leaves_all_readable_and_goes_on() {
        let (home, store, secrets) = filled(20);
        let next = secrets.next_path();
        // Before the transaction.
        make_key(&next).unwrap();
        assert_eq!(opened(home.path(), &store, 20), 20);
        // After it, before the rename.
        let key = read_key(&next).unwrap().unwrap();
        let keys = secrets.read().unwrap();
        store.with(|db| seal_anew(db, &keys, &key)).unwrap();
        assert_eq!(opened(home.path(), &store, 20), 20);
        // A server starts in between, stores something, and completes it.
        put(&store, "5", &Secrets::new(home.path().join("key")).seal(&place(5), &secret(5)).unwrap());
        Secrets::new(home.path().join("key")).begin_serving(&store).unwrap();
        assert!(!next.exists());
        assert_eq!(opened(home.path(), &store, 20), 20);
        // Control: takes the name first.
        make_key(&next).unwrap();
        private_file::replace_private(&next, &home.path().join("key")).unwrap();
        assert_eq!(opened(home.path(), &store, 20), 0);
    }

    #[test]
    fn values_of_the_first_version_are_sealed_anew_too() {
        let (home, store, secrets) = filled(2);
        let nameless = format!("v1:{}", value(&store, 1).rsplit(':').next().unwrap());
        put(&store, "1", &nameless);
        assert_eq!(opened(home.path(), &store, 2), 2);
        assert_eq!(secrets.rotate(&store).unwrap(), 2);
        assert!(value(&store, 1).starts_with("v2:"));
        assert_eq!(opened(home.path(), &store, 2), 2);
    }

    #[test]
    fn a_value_that_was_put_into_another_row_or_column_opens_nowhere() {
        let (home, store, _) = filled(3);
        let (zero, one) = (value(&store, 0), value(&store, 1));
        put(&store, "0", &one);
        put(&store, "1", &zero);
        let secrets = Secrets::new(home.path().join("key"));
        assert_eq!(opened(home.path(), &store, 3), 1, "the one that stayed");
        assert!(secrets.open("settings/2.other", "It", &value(&store, 2)).is_err());
        assert!(secrets.open("accounts/2", "It", &value(&store, 2)).is_err());
        assert_eq!(secrets.unopened(&store).unwrap(), ["settings/0", "settings/1"]);
    }

    #[test]
    fn a_value_that_does_not_open_or_that_is_overlooked_stops_a_rotation() {
        let (home, store, secrets) = filled(3);
        let (key, before) = (fs::read(home.path().join("key")).unwrap(), value(&store, 0));
        put(&store, "1", &before);
        let refused = secrets.rotate(&store).unwrap_err().to_string();
        assert!(refused.contains("settings/1 cannot be decrypted"), "{refused}");
        put(&store, "1", &secrets.seal(&place(1), &secret(1)).unwrap());
        store
            .with(|db| {
                Ok(db.execute(
                    "INSERT INTO copies VALUES ('f', 'd', ?1)",
                    [secrets.seal("copies/f", &secret(9))?],
                )?)
            })
            .unwrap();
        let refused = secrets.rotate(&store).unwrap_err().to_string();
        assert!(refused.contains("copies.state"), "{refused}");
        assert_eq!(value(&store, 0), before, "nothing is changed");
        assert_eq!(fs::read(home.path().join("key")).unwrap(), key);
        assert_eq!(opened(home.path(), &store, 3), 3);
        store.with(|db| Ok(db.execute("DELETE FROM copies", [])?)).unwrap();
        assert_eq!(secrets.rotate(&store).unwrap(), 3, "the control");
    }

    #[test]
    fn without_a_key_there_is_nothing_to_rotate_and_a_lost_one_is_told() {
        let (home, store, secrets) = filled(0);
        assert!(secrets.rotate(&store).unwrap_err().to_string().contains("no key yet"));
        assert!(!home.path().join("key").exists());
        secrets.seal("x", &secret(0)).unwrap();
        assert_eq!(secrets.rotate(&store).unwrap(), 0, "a key alone is changed as well");
        put(&store, "0", &secrets.seal(&place(0), &secret(0)).unwrap());
        fs::remove_file(home.path().join("key")).unwrap();
        let refused = secrets.rotate(&store).unwrap_err().to_string();
        assert!(refused.contains("settings/0 cannot be decrypted"), "{refused}");
        secrets.begin_serving(&store).unwrap();
    }

    #[test]
    fn a_former_key_with_another_name_stays_as_it_is() {
        let (home, store, secrets) = filled(1);
        let kept = home.path().join("kept");
        fs::hard_link(home.path().join("key"), &kept).unwrap();
        let former = fs::read(&kept).unwrap();
        secrets.rotate(&store).unwrap();
        assert_eq!(fs::read(&kept).unwrap(), former);
    }
}
