//! The error codes of refused operations, for scripts.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::Desk;
use holdfast::domain::databases::list::Broken;
use holdfast::domain::engines::Target;
use holdfast::domain::error::{Code, Result};
use holdfast::domain::jobs::{Cancel, Unwatched};
use holdfast::domain::operations::import::limits::Limits;
use holdfast::domain::operations::restore::{Manner, RestoreOptions};
use holdfast::domain::operations::restore_plan::RestoreRequest;
use holdfast::model::BackupName;
use std::fs;

fn code<T>(result: Result<T>) -> Code {
    result.err().unwrap().code()
}

fn restore(desk: &Desk, file: &str, into: &str) -> Code {
    let target = Target::of_file(desk.at(into));
    let options = RestoreOptions::default();
    code(desk.holdfast.restores().restore(file, &target, &options, &Cancel::default(), &Unwatched))
}

fn plan(desk: &Desk, file: &BackupName, place: &str, name: &str, url: &str) -> Code {
    let request = RestoreRequest {
        place: place.to_owned(),
        name: name.to_owned(),
        url: url.to_owned().into(),
        manner: Manner::default(),
    };
    code(desk.holdfast.restore_plans().plan(1, file, &request))
}

#[test]
fn a_refused_restore_has_a_code() {
    let desk = Desk::with(&["ledger"]);
    let file = desk.back_up("ledger");
    assert_eq!(restore(&desk, file.as_str(), "ledger.db"), Code::NameTaken);
    let state = format!("sqlite://{}", desk.at("data/holdfast.db").display());
    for (place, name, url, expected) in [
        ("beside:ledger", "ledger.db", "", Code::NameTaken),
        ("beside:ledger", "", "", Code::InvalidInput),
        ("over:nothing", "", "", Code::InvalidInput),
        ("elsewhere", "", "nonsense", Code::InvalidInput),
        ("elsewhere", "", "postgres://u@127.0.0.1:1/d", Code::InvalidInput),
        ("elsewhere", "", &*state, Code::DatabaseInUse),
    ] {
        assert_eq!(plan(&desk, &file, place, name, url), expected, "{place} {name} {url}");
    }
    let bytes = fs::read(desk.backup(file.as_str())).unwrap();
    fs::write(desk.backup(file.as_str()), &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(restore(&desk, file.as_str(), "new.db"), Code::BackupDamaged);
}

#[test]
fn a_refused_verification_or_adoption_has_a_code() {
    let desk = Desk::with(&["ledger"]);
    let verifications = desk.holdfast.verifications();
    assert_eq!(code(verifications.start_all()), Code::BackupNotFound);
    assert_eq!(code(verifications.start(&["backup_none.dump.gz".to_owned()])), Code::BackupNotFound);
    assert_eq!(code(verifications.start(&[])), Code::InvalidInput);
    let empty: BackupName = "backup_empty.dump.gz".parse().unwrap();
    fs::write(desk.backup(empty.as_str()), "").unwrap();
    let options = RestoreOptions::default();
    assert_eq!(
        code(verifications.adopt(&empty, &options, &Cancel::default(), &Unwatched)),
        Code::BackupDamaged
    );
}

#[test]
fn an_import_that_is_too_large_and_a_broken_entry_have_codes() {
    let desk = Desk::limited(&[], Limits { upload: 10, ..Limits::default() });
    let import = desk.holdfast.imports().import("a.gz", &mut &[0; 11][..], &Cancel::default());
    assert_eq!(code(import), Code::LimitReached);
    let name = "shop".parse().unwrap();
    let broken = Broken { name: Some("shop".parse().unwrap()), sentence: "x".to_owned() };
    desk.holdfast.databases().replace(Vec::new(), vec![broken]);
    assert_eq!(code(desk.holdfast.databases().get(&name)), Code::InvalidInput);
}
