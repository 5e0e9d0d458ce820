//! The list of databases can change while Holdfast runs.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{Desk, small_database};
use holdfast::domain::Error;
use holdfast::domain::databases::list::Broken;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::model::{DatabaseHealth, DatabaseName, Stamp};
use tempfile::TempDir;

fn name(name: &str) -> DatabaseName {
    name.parse().unwrap()
}

/// Two databases, of which only `one` is listed, and the directory they are in.
fn desk() -> (Desk, [Target; 2], TempDir) {
    let home = tempfile::tempdir().unwrap();
    let targets = ["one", "two"].map(|name| {
        let path = home.path().join(format!("{name}.db"));
        small_database(&path);
        Target::of_file(path)
    });
    let desk = Desk::of(vec![(name("one"), targets[0].clone())]);
    (desk, targets, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_added_is_backed_up_and_one_that_is_removed_is_not() {
    let (desk, [_, two], _home) = desk();
    let databases = desk.holdfast.databases().clone();
    let before = databases.now();
    databases.replace(vec![(name("two"), two)], Vec::new());

    assert_eq!(databases.now().names(), [name("two")]);
    let made = desk.back_up("two");
    let view = databases.view(&desk.holdfast.catalog().list().unwrap(), None);
    let [shown] = &view.databases[..] else { panic!("{:?}", view.databases) };
    let newest = shown.newest.map(Stamp::for_file_name);
    assert_eq!((&shown.name, shown.backups), (&name("two"), 1));
    assert_eq!(newest, made.created().map(Stamp::for_file_name));
    assert!(matches!(shown.health, DatabaseHealth::Reachable { .. }), "{:?}", shown.health);

    let refused = desk.holdfast.creations().start(&name("one"), false);
    assert!(matches!(refused, Err(Error::NoDatabase(_))), "{refused:?}");
    let refused = desk.holdfast.creations().back_up(&name("one"), &Cancel::default(), &Unwatched);
    assert!(matches!(refused, Err(Error::NoDatabase(_))), "{refused:?}");
    // A job that began before still has its database.
    before.get(&name("one")).unwrap().probe().unwrap();
}

#[test]
fn a_mistake_in_the_new_list_is_told_and_stops_no_other() {
    let (desk, [one, _], _home) = desk();
    let databases = desk.holdfast.databases();
    let sentence = "The URL of database two cannot be used.".to_owned();
    let broken = vec![Broken { name: Some(name("two")), sentence: sentence.clone() }];
    databases.replace(vec![(name("one"), one)], broken);
    assert_eq!(databases.now().names(), [name("one"), name("two")]);
    assert_eq!(databases.test(&name("two")).unwrap_err().to_string(), sentence);
    assert!(matches!(databases.test(&name("one")).unwrap().health, DatabaseHealth::Reachable { .. }));
    let view = databases.view(&[], None);
    assert_eq!(view.databases[1].health, DatabaseHealth::Unreachable(sentence));
}
