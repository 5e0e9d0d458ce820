//! The database to be overwritten is backed up under the name it is configured by, however its URL is written.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{Desk, small_database};
use crate::support::postgres::cluster;
use holdfast::domain::engines::{Cancel, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::restore::RestoreOptions;
use holdfast::model::BackupName;

/// Restores over `url`, and gives the database that the backup of what was there is of.
fn replaced(desk: &Desk, file: &BackupName, url: &str) -> String {
    desk.pass(2);
    let options = RestoreOptions { overwrite: true, ..RestoreOptions::default() };
    let target = Target::parse(url).unwrap();
    let restore = || {
        desk.holdfast
            .restores()
            .restore(file.as_str(), &target, &options, &Cancel::default(), &Unwatched)
            .unwrap()
    };
    // The engine waits on a runtime of its own.
    let restored = tokio::task::block_in_place(restore);
    restored.safety.unwrap().database().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_by_another_name_of_its_host_is_the_same() {
    let cluster = cluster();
    cluster.create_database("aliased");
    cluster.psql("aliased", "CREATE TABLE t AS SELECT 1 AS a");
    let url = cluster.url("aliased");
    assert!(url.contains("@127.0.0.1:"), "{url}");
    let desk = Desk::of(vec![("main".parse().unwrap(), Target::parse(&url).unwrap())]);
    let file = desk.back_up("main");
    for host in ["localhost", "LOCALHOST", "[::ffff:127.0.0.1]", "127.0.0.1"] {
        let alias = url.replace("@127.0.0.1:", &format!("@{host}:"));
        assert_eq!(replaced(&desk, &file, &alias), "main", "{host}");
    }
    // Another database of that server is another.
    cluster.psql("postgres", "CREATE DATABASE aliased_not");
    assert_eq!(replaced(&desk, &file, &cluster.url("aliased_not")), "aliased-not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_by_another_path_is_the_same() {
    let desk = Desk::new();
    let file = desk.back_up("ledger");
    let (own, link) = (desk.at("ledger.db"), desk.at("books.db"));
    std::os::unix::fs::symlink(&own, &link).unwrap();
    let folder = own.parent().unwrap().display();
    let dotted = format!("sqlite://{folder}/data/../ledger.db");
    for url in [format!("sqlite://{}", link.display()), dotted, format!("sqlite://{}", own.display())] {
        assert_eq!(replaced(&desk, &file, &url), "ledger", "{url}");
    }
    small_database(&desk.at("other.db"));
    let other = format!("sqlite://{}", desk.at("other.db").display());
    assert_eq!(replaced(&desk, &file, &other), "other");
}
