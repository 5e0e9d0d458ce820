//! Deleting backups: asked for by name, answered for each, and never more than was asked.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{Answer, Desk, contents_of};
use crate::support::http::names_form;
use http::StatusCode;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

/// A form posted without JavaScript, from this page.
async fn post(desk: &Desk, from: &str, names: &[&str]) -> Answer {
    desk.form_from(from, "/api/delete_backups", &names_form(names)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_answers_for_each_name_and_takes_the_manifest_along() {
    let desk = Desk::new();
    desk.put_described("ledger", "backup_a.dump.gz", 100, 100);
    desk.put_described("ledger", "backup_b.dump.gz", 200, 200);
    desk.put("backup_c.dump.gz", 300, 60);
    let names = ["backup_a.dump.gz", "backup_c.dump.gz", "backup_a.dump.gz", "backup_gone.dump.gz"];
    let answer = desk.tell("/api/delete_backups", &names_form(&names)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let said = answer.json();
    assert_eq!(
        said["gone"],
        json!([{ "name": "backup_a.dump.gz", "size": 100 }, { "name": "backup_c.dump.gz", "size": 300 }])
    );
    assert_eq!(said["kept"][0]["name"], "backup_gone.dump.gz");
    assert_eq!(said["kept"].as_array().unwrap().len(), 1);
    assert_eq!(
        contents_of(desk.holdfast.backup_dir()),
        ["backup_b.dump.gz", "backup_b.dump.gz.manifest.json"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_listed_can_be_deleted() {
    let desk = Desk::new();
    desk.put_described("ledger", "backup_a.dump.gz", 100, 100);
    fs::create_dir(desk.backup("backup_dir.dump.gz")).unwrap();
    fs::write(desk.at("outside"), "x").unwrap();
    symlink(desk.at("outside"), desk.backup("backup_link.dump.gz")).unwrap();
    fs::write(desk.backup(".part-x"), "x").unwrap();
    let before = contents_of(desk.holdfast.backup_dir());
    let hostile = [
        "backup_dir.dump.gz",
        "backup_link.dump.gz",
        "backup_a.dump.gz.manifest.json",
        ".part-x",
        "../../outside",
        "backups/backup_a.dump.gz",
        "backup_a.dump.gz/",
        "./backup_a.dump.gz",
        "BACKUP_A.dump.gz",
        "*",
        "",
    ];
    let said = desk.tell("/api/delete_backups", &names_form(&hostile)).await.json();
    assert_eq!(said["gone"], json!([]));
    assert_eq!(said["kept"].as_array().unwrap().len(), hostile.len());
    assert_eq!(contents_of(desk.holdfast.backup_dir()), before);
    assert!(desk.at("outside").exists());
}

/// Makes a file impossible to delete, or where this user may not, the whole directory; says which.
fn pin(file: &Path, on: bool) -> bool {
    let handle = File::open(file).unwrap();
    let pinned = ioctl_getflags(&handle).and_then(|flags| {
        ioctl_setflags(&handle, if on { flags | IFlags::IMMUTABLE } else { flags - IFlags::IMMUTABLE })
    });
    if pinned.is_err() {
        let mode = if on { 0o500 } else { 0o700 };
        fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(mode)).unwrap();
    }
    pinned.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_deleted_is_named_with_the_reason_and_stops_no_other() {
    let desk = Desk::new();
    for name in ["backup_a.dump.gz", "backup_b.dump.gz", "backup_c.dump.gz"] {
        desk.put_described("ledger", name, 100, 100);
    }
    let stuck = desk.backup("backup_b.dump.gz");
    let only_one = pin(&stuck, true);
    let names = ["backup_a.dump.gz", "backup_b.dump.gz", "backup_c.dump.gz"];
    let answer = desk.tell("/api/delete_backups", &names_form(&names)).await;
    pin(&stuck, false);
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let said = answer.json();
    let (gone, kept) = (said["gone"].as_array().unwrap(), said["kept"].as_array().unwrap());
    assert_eq!((gone.len(), kept.len()), if only_one { (2, 1) } else { (0, 3) });
    let stuck = kept.iter().find(|kept| kept["name"] == "backup_b.dump.gz").unwrap();
    let reason = stuck["reason"].as_str().unwrap();
    assert!(
        reason.contains("Deleting") && reason.contains("not permitted") || reason.contains("denied"),
        "{reason}"
    );
    assert!(desk.backup("backup_b.dump.gz").exists());
    assert!(desk.backup("backup_b.dump.gz.manifest.json").exists(), "a backup that stays keeps its manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_manifest_stays_behind_is_deleted_all_the_same() {
    let desk = Desk::new();
    desk.put_described("ledger", "backup_a.dump.gz", 100, 100);
    let manifest = desk.backup("backup_a.dump.gz.manifest.json");
    if !pin(&manifest, true) {
        pin(&manifest, false);
        return println!("this user can make no file immutable: not tried");
    }
    let said = desk.tell("/api/delete_backups", &names_form(&["backup_a.dump.gz"])).await.json();
    pin(&manifest, false);
    assert_eq!((said["gone"].as_array().unwrap().len(), &said["kept"]), (1, &json!([])));
    assert!(manifest.exists() && !desk.backup("backup_a.dump.gz").exists());
    assert!(desk.holdfast.catalog().list().unwrap().is_empty(), "it is still listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_javascript_the_list_tells_what_went_and_what_did_not() {
    let desk = Desk::new();
    desk.put("backup_a.dump.gz", 100, 60);
    let answer = post(
        &desk,
        "/delete?names%5B%5D=backup_a.dump.gz&sort=-size",
        &["backup_a.dump.gz", "backup_x.dump.gz"],
    )
    .await;
    assert!(
        answer.location().starts_with("/?sort=-size&outcome="),
        "{} {}",
        answer.status,
        answer.location()
    );
    let page = desk.page(answer.location()).await;
    let status =
        page.body.split_once("role=\"status\"").unwrap().1.split_once("</div>").unwrap().0.to_owned();
    assert!(status.contains("Deleted 1 backup (100 B): backup_a.dump.gz."), "{status}");
    let alert = page.body.split_once("role=\"alert\"").unwrap().1.split_once("</div>").unwrap().0.to_owned();
    assert!(alert.contains("Not deleted: backup_x.dump.gz."), "{alert}");
    let nothing = post(&desk, "/", &[]).await;
    assert!(desk.page(nothing.location()).await.body.contains("Nothing was selected"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_names_the_backups_and_leads_back() {
    let desk = Desk::new();
    desk.put("backup_a.dump.gz", 1024, 60);
    desk.put("backup_b.dump.gz", 2048, 60);
    let page = desk
        .page("/delete?sort=size&names[]=backup_a.dump.gz&names%5B%5D=backup_b.dump.gz&names[]=%3Cscript%3E")
        .await;
    assert_eq!(page.status, StatusCode::OK);
    for words in [
        "<h1>Delete 2 backups?</h1>",
        "Size: 3.0 KB",
        "backup_a.dump.gz",
        "value=\"backup_b.dump.gz\"",
        ">Delete</button>",
        ">Cancel</button>",
        "name=\"sort\" value=\"size\"",
        "There is no backup named &lt;script&gt;.",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert_eq!(contents_of(desk.holdfast.backup_dir()).len(), 2, "asking deletes nothing");
    let none = desk.page("/delete?names[]=x").await;
    assert!(none.body.contains("Nothing to delete") && !none.body.contains(">Delete</button>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_can_go_at_once() {
    let desk = Desk::new();
    let names: Vec<_> =
        (0..10_000).map(|i| format!("backup_ledger-{i:05}_2026-11-23_02-41-07Z.dump.gz")).collect();
    for name in &names {
        File::create(desk.backup(name)).unwrap();
    }
    let asked: Vec<_> = names.iter().map(String::as_str).collect();
    let said = desk.tell("/api/delete_backups", &names_form(&asked)).await.json();
    assert_eq!(said["gone"].as_array().unwrap().len(), 10_000);
    assert!(contents_of(desk.holdfast.backup_dir()).is_empty());
}
