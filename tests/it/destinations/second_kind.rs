//! A second kind of destination needs a folder and a line: it goes through all there is to do with copies, beside the
//! first kind, and no other file knows of it.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::Desk;
use holdfast::domain::destinations::Destinations;
use holdfast::domain::destinations::directory::administration::{DirectoryAdmin, DirectoryInput};
use holdfast::domain::destinations::name::DestinationName;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::domain::jobs::Unwatched;
use holdfast::model::{JobState, OffSite, SftpForm, Whereabouts};
use std::fs;
use std::path::{Path, PathBuf};

fn set_up(desk: &Desk, name: &str, send_new: bool) -> (DestinationName, PathBuf) {
    let (name, root): (DestinationName, _) = (name.parse().unwrap(), desk.at(name));
    fs::create_dir_all(&root).unwrap();
    let input = DirectoryInput {
        enabled: true,
        send_new,
        root: root.to_str().unwrap().to_owned(),
        folder: "holdfast".to_owned(),
        same_disk: true,
    };
    DirectoryAdmin::of(&desk.holdfast.destinations()).set_up(&name, &input).unwrap();
    (name, root.join("holdfast"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_uploaded_listed_verified_there_fetched_and_deleted() {
    let desk = Desk::with(&["ledger"]);
    let (_, copies) = set_up(&desk, "nas", true);
    let there = desk.holdfast.destinations();

    // Each new backup is sent there, as a job of its own.
    desk.tell("/api/create_backup", "database=ledger").await;
    desk.holdfast.jobs().all_ended().await;
    let history = desk.holdfast.jobs().history().unwrap();
    assert!(history.iter().all(|job| matches!(job.state, JobState::Done { .. })), "{history:?}");
    let made = desk.holdfast.catalog().list().unwrap()[0].clone();
    let bytes = fs::read(desk.backup(made.name.as_str())).unwrap();
    assert_eq!(fs::read(copies.join(made.name.as_str())).unwrap(), bytes);
    assert!(copies.join(made.name.manifest()).exists());
    assert!(matches!(there.copy_of(&made.name).unwrap(), OffSite::Verified { .. }));

    // The pages show it as they show any destination.
    let root = desk.at("nas");
    assert!(desk.page("/").await.body.contains(&format!("1 of 1 on {}", root.display())));
    let page = desk.page("/remote").await.body;
    assert!(page.contains("in both places") && page.contains(made.name.as_str()), "{page}");

    let verified = there.verify(&made.name, &Cancel::default(), &|_, _, _| ()).unwrap();
    assert!(verified.checked && verified.size == made.size);
    let mut damaged = bytes.clone();
    damaged[100] ^= 1;
    fs::write(copies.join(made.name.as_str()), damaged).unwrap();
    let found = there.verify(&made.name, &Cancel::default(), &|_, _, _| ()).unwrap_err().to_string();
    assert!(found.contains("its content does not match its manifest"), "{found}");
    fs::write(copies.join(made.name.as_str()), &bytes).unwrap();

    // Lost here, it is fetched back, and is the same backup.
    desk.holdfast.backups().delete(&[made.name.to_string()]).unwrap();
    let places: Vec<_> = there.listing().unwrap().into_iter().map(|backup| backup.place).collect();
    assert_eq!(places, [Whereabouts::There]);
    let told = desk.tell("/api/fetch_backups", &format!("names[]={}", made.name)).await;
    assert_eq!(told.json()["bad"], serde_json::json!([]), "{}", told.body);
    desk.holdfast.jobs().all_ended().await;
    assert_eq!(desk.holdfast.catalog().get(&made.name).unwrap().sha256, made.sha256);
    assert_eq!(fs::read(desk.backup(made.name.as_str())).unwrap(), bytes);

    let told = desk.tell("/api/delete_remote", &format!("names[]={}", made.name)).await;
    assert!(told.json()["good"].as_str().unwrap().starts_with("Deleted off-site"), "{}", told.body);
    assert_eq!(fs::read_dir(&copies).unwrap().count(), 0);
    assert!(desk.backup(made.name.as_str()).exists(), "the backup here stays");
    assert_eq!(there.copy_of(&made.name).unwrap(), OffSite::NotSent);
}

#[test]
fn each_of_several_destinations_is_used_by_its_name() {
    let desk = Desk::with(&["ledger"]);
    let (nas, copies) = set_up(&desk, "nas", false);
    let (usb, others) = set_up(&desk, "usb", true);
    let all = desk.holdfast.destinations();
    // A destination of the first kind that is not switched on stands in nobody's way.
    let form = SftpForm { host: "nowhere.invalid".into(), username: "u".into(), ..SftpForm::default() };
    SftpAdmin::of(&all).save(&SftpInput { form, ..SftpInput::default() }).unwrap();
    let known: Vec<_> = all.all().unwrap().iter().map(|known| known.name().to_string()).collect();
    assert_eq!(known, ["sftp", "nas", "usb"]);
    assert_eq!(all.ready().unwrap().name(), &nas, "the first that is switched on");
    assert!(all.at(&"sftp".parse().unwrap()).ready().is_err());
    assert!(all.at(&"none".parse().unwrap()).ready().is_err());

    let cancel = Cancel::default();
    let file =
        desk.holdfast.creations().back_up(&"ledger".parse().unwrap(), &cancel, &Unwatched).unwrap().file;
    let upload = |there: &Destinations| there.upload(&file, &cancel, &|_, _, _| ()).unwrap();
    let has = |copies: &Path| copies.join(file.as_str()).exists();
    assert!(upload(&all).verified);
    assert!(has(&copies) && !has(&others));
    assert_eq!(all.at(&usb).copy_of(&file).unwrap(), OffSite::NotSent);
    // The first destination gets what is sent to it; new backups go to the one that is set up for them.
    assert!(upload(&all.for_new_backups().unwrap()).verified);
    assert!(has(&others));
    // What is seen at one says nothing of the other.
    fs::remove_file(others.join(file.as_str())).unwrap();
    all.at(&usb).listing().unwrap();
    assert!(matches!(all.at(&usb).copy_of(&file).unwrap(), OffSite::Missing { .. }));
    assert!(matches!(all.at(&nas).copy_of(&file).unwrap(), OffSite::Verified { .. }));
    // A name of one kind is not free for another.
    let taken = DirectoryInput {
        enabled: true,
        send_new: false,
        root: desk.at("nas").to_str().unwrap().to_owned(),
        folder: "x".to_owned(),
        same_disk: true,
    };
    let refused = DirectoryAdmin::of(&all).set_up(&"sftp".parse().unwrap(), &taken).unwrap_err().to_string();
    assert!(refused.contains("of another kind"), "{refused}");
}
