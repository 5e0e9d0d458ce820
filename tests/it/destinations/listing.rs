//! Listing, fetching and deleting copies over SFTP, and what is remembered of copies.

use crate::destinations::harbour::{Harbour, NAME, fault, name};
use holdfast::domain::destinations::fault::FaultKind;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::model::OffSite;
use holdfast::model::SftpForm;
use holdfast::model::Whereabouts;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn what_lies_there_is_listed_fetched_and_deleted() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 400_000);
    let other = "backup_ledger_2026-11-22_02-41-07Z.dump.gz";
    harbour.put(other, 10);
    harbour.upload().unwrap();
    harbour.put_copy("backup_2020-01-02_03-04-05.dump.gz", b"old");
    harbour.put_copy(".part-backup_x.dump.gz", b"draft");
    harbour.put_copy("notes.txt", b"x");
    fs::create_dir(harbour.copies().join("backup_dir.dump.gz")).unwrap();
    symlink("/etc/passwd", harbour.copies().join("backup_link.dump.gz")).unwrap();
    let listed = harbour.destinations.listing().unwrap();
    let seen: Vec<_> =
        listed.iter().map(|b| (b.name.as_str(), b.place, b.remote_size, b.remote_manifest)).collect();
    assert_eq!(
        seen,
        [
            ("backup_2020-01-02_03-04-05.dump.gz", Whereabouts::There, Some(3), false),
            (other, Whereabouts::Here, None, false),
            (NAME, Whereabouts::Both, Some(400_000), true),
        ]
    );
    assert!(listed[2].remote_modified.is_some());

    let fetch =
        |file: &str| harbour.destinations.fetch(&file.parse().unwrap(), &Cancel::default(), &|_, _, _| ());
    assert!(fetch(NAME).unwrap_err().to_string().contains("already exists here"));
    let sidecar = format!("{NAME}.manifest.json");
    let manifest = fs::read(harbour.dir.path().join(&sidecar)).unwrap();
    let forget = || {
        for file in [NAME, &sidecar] {
            let _ = fs::remove_file(harbour.dir.path().join(file));
        }
    };
    forget();
    assert!(fetch(NAME).unwrap().checked);
    assert_eq!(fs::read(harbour.dir.path().join(NAME)).unwrap(), content);
    assert_eq!(fs::read(harbour.dir.path().join(&sidecar)).unwrap(), manifest);
    forget();
    let mut altered = content.clone();
    altered[7] ^= 1;
    for (what, there) in [("altered", altered), ("shorter", content[..9].to_vec())] {
        harbour.put_copy(NAME, &there);
        assert_eq!(fault(fetch(NAME)).kind, FaultKind::Differs, "{what}");
        assert!(!harbour.dir.path().join(NAME).exists() && !harbour.dir.path().join(&sidecar).exists());
    }
    harbour.put_copy(NAME, &content);
    harbour.put_copy(&sidecar, b"{}");
    assert!(fetch(NAME).unwrap_err().to_string().contains("manifest"));
    assert!(!fetch("backup_2020-01-02_03-04-05.dump.gz").unwrap().checked);
    assert_eq!(fault(fetch("backup_gone.dump.gz")).kind, FaultKind::NoSuchPath);
    assert_eq!(fault(fetch("backup_link.dump.gz")).kind, FaultKind::NoSuchPath, "no link is followed");
    let left = fs::read_dir(harbour.dir.path()).unwrap().flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_str().unwrap().starts_with(".part-")));

    harbour.destinations.delete(&name()).unwrap();
    assert!(!harbour.copy().exists() && !harbour.copies().join(&sidecar).exists());
    assert_eq!(fault(harbour.destinations.delete(&name())).kind, FaultKind::NoSuchPath);
}

#[test]
fn what_is_remembered_is_corrected_by_what_is_seen() {
    let harbour = Harbour::new();
    harbour.put(NAME, 1000);
    assert_eq!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::NotSent);
    harbour.upload().unwrap();
    harbour.destinations.listing().unwrap();
    assert!(matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Verified { .. }));
    fs::remove_file(harbour.copy()).unwrap();
    harbour.destinations.listing().unwrap();
    assert!(matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Missing { .. }));
    assert_eq!(harbour.destinations.copies().unwrap().len(), 1);
    harbour.upload().unwrap();
    // Another place has none of them.
    let elsewhere = SftpForm { remote_directory: "elsewhere".into(), ..harbour.form() };
    harbour.sftp.save(&SftpInput { form: elsewhere, ..SftpInput::default() }).unwrap();
    assert_eq!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::NotSent);
}
