//! The schema of the state database, as numbered SQL files that each database runs once, in order.
//!
//! To change the schema, add a file with the next number to `migrations/`, and a line at the end of
//! [`MIGRATIONS`]. Never edit a released file: a database stores only how many of them it has run.

use rusqlite_migration::M;

/// Every migration, oldest first.
#[rustfmt::skip] // one line a migration
pub(super) const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("migrations/0001_accounts_sessions_jobs_settings.sql")),
    M::up(include_str!("migrations/0002_digests_archives.sql")),
    M::up(include_str!("migrations/0003_off_site.sql")),
    M::up(include_str!("migrations/0004_jobs_of_any_task.sql")),
    M::up(include_str!("migrations/0005_roles_second_factor_api_tokens.sql")),
    M::up(include_str!("migrations/0006_who_started_a_job.sql")),
    M::up(include_str!("migrations/0007_what_a_job_does.sql")),
    M::up(include_str!("migrations/0008_copies_by_destination.sql")),
];

#[cfg(test)]
mod tests {
    use crate::domain::state::Store;
    use crate::domain::state::migrations::MIGRATIONS;
    use rusqlite::Connection;
    use rusqlite_migration::{M, Migrations};
    use std::fs;
    use std::path::Path;

    /// The migrations of version 0.1.0, where they were strings in the source. Databases created by them are
    /// in use.
    const RELEASED: [&str; 6] = [
        "CREATE TABLE accounts (
         id INTEGER PRIMARY KEY,
         username TEXT NOT NULL UNIQUE,
         password_hash TEXT NOT NULL,
         created INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE sessions (
         token_hash BLOB PRIMARY KEY,
         account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
         created INTEGER NOT NULL,
         last_seen INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE jobs (
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         database TEXT NOT NULL,
         started INTEGER NOT NULL,
         ended INTEGER,
         state TEXT NOT NULL
     ) STRICT;
     CREATE TABLE settings (
         key TEXT PRIMARY KEY,
         value TEXT NOT NULL
     ) STRICT;",
        "CREATE TABLE digests (
         file TEXT PRIMARY KEY,
         device INTEGER NOT NULL,
         inode INTEGER NOT NULL,
         size INTEGER NOT NULL,
         modified INTEGER NOT NULL,
         crc32 INTEGER NOT NULL,
         sha256 TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE archives (
         id TEXT PRIMARY KEY,
         account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
         format TEXT NOT NULL,
         created INTEGER NOT NULL,
         entries TEXT NOT NULL,
         missing TEXT NOT NULL
     ) STRICT;",
        "CREATE TABLE off_site (
         file TEXT PRIMARY KEY,
         state TEXT NOT NULL
     ) STRICT;",
        "ALTER TABLE jobs RENAME COLUMN database TO subject;
     ALTER TABLE jobs ADD COLUMN task TEXT NOT NULL DEFAULT 'create';",
        "ALTER TABLE accounts ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
     ALTER TABLE accounts ADD COLUMN download INTEGER NOT NULL DEFAULT 1;
     ALTER TABLE accounts ADD COLUMN totp TEXT;
     ALTER TABLE accounts ADD COLUMN totp_offered TEXT;
     ALTER TABLE accounts ADD COLUMN totp_step INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE sessions ADD COLUMN proved INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
     ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
     CREATE TABLE recovery_codes (
         account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
         code_hash BLOB NOT NULL,
         PRIMARY KEY (account, code_hash)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE api_tokens (
         id INTEGER PRIMARY KEY,
         token_hash BLOB NOT NULL UNIQUE,
         account INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
         label TEXT NOT NULL,
         scope TEXT NOT NULL,
         created INTEGER NOT NULL,
         expires INTEGER,
         last_used INTEGER
     ) STRICT;",
        "ALTER TABLE jobs ADD COLUMN who TEXT;
     ALTER TABLE jobs ADD COLUMN came_from TEXT;
     ALTER TABLE jobs ADD COLUMN request TEXT;
     ALTER TABLE jobs ADD COLUMN object TEXT;",
    ];

    /// Version and schema, verbatim.
    fn schema(connection: &Connection) -> (i64, Vec<(String, Option<String>)>) {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        let mut query = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        (version, rows.map(Result::unwrap).collect())
    }

    #[test]
    fn the_first_files_hold_the_released_statements_to_the_letter() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/state/migrations");
        for (number, released) in (1..).zip(RELEASED) {
            let file = files(&directory).remove(number - 1);
            let text = fs::read_to_string(directory.join(&file)).unwrap();
            let (heading, statements) = text.split_once('\n').unwrap();
            assert!(heading.starts_with("-- "), "{file}");
            assert_eq!(statements, format!("{released}\n"), "{file}");
        }
    }

    #[test]
    fn a_database_of_the_released_version_is_taken_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("holdfast.db");
        let mut released = Connection::open(&path).unwrap();
        Migrations::new(RELEASED.map(M::up).to_vec()).to_latest(&mut released).unwrap();
        released.execute("INSERT INTO settings VALUES ('mark', 'here')", []).unwrap();
        let before = schema(&released);
        drop(released);
        drop(Store::open(&path).unwrap());
        let opened = Connection::open(&path).unwrap();
        let kept: String = opened.query_row("SELECT value FROM settings", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "here");
        let after = schema(&opened);
        assert_eq!(before.0, 6);
        assert_eq!(after.0, i64::try_from(MIGRATIONS.len()).unwrap());
        // Later migrations add to this; the released part must read as it did.
        let mut replayed = Connection::open_in_memory().unwrap();
        Migrations::from_slice(&MIGRATIONS[..RELEASED.len()]).to_latest(&mut replayed).unwrap();
        assert_eq!(schema(&replayed), before);
    }

    fn files(directory: &Path) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn every_file_is_listed_in_the_order_of_its_number() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/state/migrations");
        let files = files(&directory);
        assert_eq!(files.len(), MIGRATIONS.len());
        for (number, (file, migration)) in (1..).zip(files.iter().zip(MIGRATIONS)) {
            assert!(file.starts_with(&format!("{number:04}_")), "{file} is not number {number}");
            let text = fs::read_to_string(directory.join(file)).unwrap();
            assert_eq!(*migration, M::up(&text), "{file}");
        }
    }
}
