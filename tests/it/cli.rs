//! The commands as scripts use them: JSON, exit statuses, and the recovery guide's commands, which need no Holdfast.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::engines::dumping::contents;
use crate::operations::restoring::{shell, sqlite_url, two_backups};
use crate::support::desk::small_database;
use crate::support::holdfast::{Home, good, words};
use crate::support::postgres::cluster;
use rusqlite::Connection;
use std::fs;

/// What it printed, as JSON, and its exit status.
fn scripted(ground: &Home, arguments: &[&str]) -> (serde_json::Value, Option<i32>) {
    let output = ground.program(arguments).output().unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", words(&output)));
    (printed, output.status.code())
}

#[test]
fn scripts_are_told_by_json_and_by_exit_status() {
    let home = Home::new("");
    let path = home.at("s.db");
    small_database(&path);
    let ground = home.told(format!("s={}", sqlite_url(&path)));
    let (made, status) = scripted(&ground, &["backup", "s", "--json"]);
    assert_eq!((status, &made["off_site"]), (Some(0), &serde_json::Value::Null));
    let file = made["file"].as_str().unwrap().to_owned();
    let (one, status) = scripted(&ground, &["verify", &file, "--json"]);
    assert_eq!((status, one["level"].as_str(), one["rows"].as_u64()), (Some(0), Some("restored"), Some(3)));
    let verdict = ground.backups().join(format!("{file}.verified.json"));
    assert!(fs::read_to_string(&verdict).unwrap().contains("\"proof\": \"restored\""));

    // What nobody described: one good, one not.
    let old = ground.backups().join("backup_2024-01-01_00-00-00.dump.gz");
    fs::copy(ground.backups().join(&file), &old).unwrap();
    fs::write(ground.backups().join("backup_bad.dump.gz"), "x").unwrap();
    let limited =
        ground.program(&["adopt", "backup_2024-01-01_00-00-00.dump.gz", "--max-bytes", "100"]).output();
    let limited = limited.unwrap();
    assert!(
        limited.status.code() == Some(1) && words(&limited).contains("--max-bytes"),
        "{}",
        words(&limited)
    );
    assert!(!ground.backups().join("backup_2024-01-01_00-00-00.dump.gz.manifest.json").exists());
    let (adopted, status) = scripted(&ground, &["adopt", "--all", "--json"]);
    assert_eq!((status, adopted.as_array().unwrap().len()), (Some(3), 2));
    assert!(ground.backups().join("backup_2024-01-01_00-00-00.dump.gz.manifest.json").exists());
    assert!(!ground.backups().join("backup_bad.dump.gz.manifest.json").exists());
    let (all, status) = scripted(&ground, &["verify", "--all", "--json"]);
    let levels: Vec<_> = all.as_array().unwrap().iter().map(|one| one["level"].as_str().unwrap()).collect();
    assert_eq!((status, &levels[..]), (Some(3), &["restored", "damaged", "restored"][..]));
    let (listed, _) = scripted(&ground, &["list", "--json"]);
    let words_of: Vec<_> =
        listed.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(words_of, ["whole", "damaged", "whole"]);

    let into = ground.at("again.db");
    let (back, status) = scripted(&ground, &["restore", &file, "--into", &sqlite_url(&into), "--json"]);
    assert_eq!(
        (status, back["rows"].as_u64(), &back["replaced"]),
        (Some(0), Some(3), &serde_json::Value::Null)
    );
    for (arguments, expected) in [
        (&["verify", "backup_none.dump.gz"][..], 1),
        (&["verify"], 2),
        (&["verify", &file, "--all"], 2),
        (&["verify", "backup_bad.dump.gz"], 3),
        (&["verify", ""], 1),
        (&["adopt", &file], 1),
        (&["adopt", "--all"], 3),
        (&["adopt", "../x"], 1),
        (&["restore", &file, "--into", &sqlite_url(&into)], 1),
        (&["restore", "backup_bad.dump.gz", "--into", &sqlite_url(&ground.at("new.db"))], 3),
    ] {
        let output = ground.program(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {}", words(&output));
    }
}

/// The commands of the section `heading` of the recovery guide.
fn commands_of(heading: &str) -> String {
    let guide = include_str!("../../docs/recovery.md");
    let section = guide.split_once(&format!("## {heading}\n")).unwrap().1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let commands = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(commands.lines().count(), 2, "{commands}");
    commands.to_owned()
}

#[test]
fn the_recovery_guide_s_commands_bring_everything_back() {
    let cluster = cluster();
    let (ground, [postgres, sqlite]) = two_backups(&cluster, "guided");
    for (heading, file, database) in
        [("PostgreSQL", &postgres, "by-hand"), ("SQLite", &sqlite, ground.at("by-hand.db").to_str().unwrap())]
    {
        let mut command = shell(&cluster, &commands_of(heading));
        command.env("FILE", ground.backups().join(file)).env("DATABASE", database);
        let said = good(command);
        assert!(heading == "PostgreSQL" || said.trim() == "ok", "{said}");
    }
    assert_eq!(contents(&cluster, "guided"), contents(&cluster, "by-hand"));
    assert_eq!(
        Connection::open(ground.at("by-hand.db"))
            .unwrap()
            .query_row("SELECT count(*) FROM t", (), |row| row.get::<_, i64>(0))
            .unwrap(),
        2000
    );
}
