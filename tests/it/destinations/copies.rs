//! What is remembered of copies, by backup and destination, also where an older Holdfast remembered it.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::destinations::destinations;
use holdfast::domain::destinations::Options;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::settings::{Credential, StoredSftp};
use holdfast::domain::repository::directory::BackupDir;
use holdfast::domain::state::Store;
use holdfast::domain::state::secrets::Secrets;
use holdfast::model::{BackupName, OffSite, Stamp};
use rusqlite::Connection;
use secrecy::ExposeSecret as _;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

fn file(day: u32) -> BackupName {
    format!("backup_ledger_2026-11-{day}_02-41-07Z.dump.gz").parse().unwrap()
}

#[test]
fn a_database_of_the_time_of_one_destination_keeps_its_copies_settings_and_secrets() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("holdfast.db");
    let secrets = Secrets::new(home.path().join("key"));
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("state_6.sql")).unwrap();
    let put = |key: &str, value: &str| {
        old.execute("INSERT INTO settings VALUES (?1, ?2)", (key, value)).unwrap();
    };
    put(
        "sftp",
        r#"{"form":{"enabled":true,"send_new":true,"host":"nas.example","port":"22","username":"backup","auth":"password","remote_directory":"copies","write_only":false},"public_key":null}"#,
    );
    put(
        "sftp.pins",
        r#"[{"host":"nas.example","port":22,"key_type":"ssh-ed25519","fingerprint":"SHA256:x"}]"#,
    );
    put("sftp.password", &secrets.seal("settings/sftp.password", &"hunter2".into()).unwrap());
    let remembered = [
        (file(21), r#"{"is":"verified","at":1795401667123}"#),
        (file(22), r#"{"is":"failed","why":"it broke","at":1795401667123}"#),
    ];
    for (file, state) in &remembered {
        old.execute("INSERT INTO off_site VALUES (?1, ?2)", (file.as_str(), state)).unwrap();
    }
    drop(old);

    let store = Store::open(&path).unwrap();
    let aside = fs::read_dir(home.path()).unwrap().flatten();
    assert!(aside.map(|entry| entry.file_name()).all(|name| !name.to_str().unwrap().contains("damaged")));
    let dir = Arc::new(BackupDir::open(&home.path().join("backups")).unwrap());
    let there = destinations(&store, &secrets, &dir, Options::default());
    let at = Stamp::from_millis(1_795_401_667_123);
    let expected = BTreeMap::from([
        (file(21), OffSite::Verified { at }),
        (file(22), OffSite::Failed { why: "it broke".to_owned(), at }),
    ]);
    assert_eq!(there.copies().unwrap(), expected);
    assert_eq!(
        there.at(&"sftp".parse().unwrap()).copies().unwrap(),
        expected,
        "they are at the one destination"
    );
    let destination = there.ready().unwrap();
    assert_eq!((destination.name().as_str(), destination.label()), ("sftp", "nas.example"));
    assert!(there.for_new_backups().is_some());
    let settings = SftpAdmin::of(&there).settings().unwrap();
    assert!(settings.password_set && settings.pins.len() == 1);
    match StoredSftp::new(store.clone(), secrets).account().unwrap().credential {
        Credential::Password(password) => assert_eq!(password.expose_secret(), "hunter2"),
        Credential::Key(_) => unreachable!("a password was stored"),
    }
    let table = "SELECT count(*) FROM sqlite_schema WHERE name = 'off_site'";
    let left: i64 = Connection::open(&path).unwrap().query_row(table, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "the former table is gone");
}

#[test]
fn each_destination_has_copies_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("holdfast.db")).unwrap();
    let dir = Arc::new(BackupDir::open(&home.path().join("backups")).unwrap());
    let secrets = Secrets::new(home.path().join("key"));
    let copies = destinations(&store, &secrets, &dir, Options::default()).shared().copies.clone();
    let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
    let at = Stamp::from_millis(1);
    copies.set(&file(21), &one, &OffSite::Verified { at }).unwrap();
    copies.set(&file(21), &two, &OffSite::Missing { at }).unwrap();
    copies.set(&file(22), &two, &OffSite::Uploaded { at }).unwrap();
    assert_eq!(copies.get(&file(21), &one).unwrap(), OffSite::Verified { at });
    assert_eq!(copies.get(&file(21), &two).unwrap(), OffSite::Missing { at });
    copies.forget(&file(21), &two).unwrap();
    assert_eq!(copies.get(&file(21), &one).unwrap(), OffSite::Verified { at });
    copies.forget_all(&two).unwrap();
    assert!(copies.at(&two).unwrap().is_empty());
    assert_eq!(copies.at(&one).unwrap().len(), 1);
}
