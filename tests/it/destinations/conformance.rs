//! Every kind of destination passes the same suite.

use crate::destinations::harbour::Harbour;
use crate::support::conformance::conforms;
use holdfast::domain::destinations::destination::Destination as _;
use holdfast::domain::destinations::directory::folder::Folder;
use holdfast::domain::destinations::directory::marker;
use holdfast::domain::engines::Cancel;
use std::fs::File;

#[test]
fn an_sftp_server_does_what_a_destination_must_do() {
    let harbour = Harbour::new();
    conforms(&harbour.remote());
    assert!(harbour.remote().free_space("empty").unwrap().is_some(), "OpenSSH tells");
}

#[test]
fn a_directory_does_what_a_destination_must_do() {
    let home = tempfile::tempdir().unwrap();
    let id = marker::make(&File::open(home.path()).unwrap(), "home").unwrap();
    let folder = Folder::open(home.path(), "copies", &id, &Cancel::default()).unwrap();
    conforms(&folder);
    assert!(folder.free_space("empty").unwrap().is_some());
}
