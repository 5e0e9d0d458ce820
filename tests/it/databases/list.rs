//! A mistake in one entry of `HOLDFAST_DATABASES` is told at that database, and stops no other.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{Desk, small_database};
use crate::support::holdfast::{program, words};
use holdfast::domain::databases::list::parse_databases;
use holdfast::domain::engines::Engines;
use std::fs;
use std::path::Path;
use std::process::Output;

fn run(home: &Path, databases: &str, arguments: &[&str]) -> Output {
    program(home, databases, arguments).output().unwrap()
}

#[test]
fn in_a_shell_a_wrong_entry_stops_no_other() {
    let home = tempfile::tempdir().unwrap();
    for name in ["good", "also"] {
        small_database(&home.path().join(format!("{name}.db")));
    }
    let url = |name: &str| format!("sqlite://{}/{name}.db", home.path().display());
    // A backup of `wrong`, made before somebody spoilt its entry.
    let made = run(home.path(), &format!("wrong={}", url("good")), &["backup", "wrong"]);
    assert!(made.status.success(), "{}", words(&made));
    let old = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    for (wrong, sentence) in [
        ("wrong=postgres://u:s3cret@h/d?sslmod=s3cret", "its parameter sslmod is unknown"),
        ("wrong=postgres://u:s3cret@h", "names no database"),
        ("wrong=mysql://u:s3cret@h/d", "its scheme is unknown"),
        ("wrong=postgres://u:s3cret@h/d?sslmode=verify-ca", "needs sslrootcert"),
        ("wrong=sqlite:///s3cret wrong=sqlite:///s3cret", "Two databases are named wrong"),
        ("postgres://u:s3cret@h/d", "Entry 2 of HOLDFAST_DATABASES does not begin with a name"),
    ] {
        let databases = format!("good={} {wrong} also={}", url("good"), url("also"));
        for name in ["good", "also"] {
            let made = run(home.path(), &databases, &["backup", name]);
            let said = words(&made);
            assert!(made.status.success() && said.contains(&format!("backup_{name}_")), "{wrong}: {said}");
            // The log has it, whoever was asked for.
            assert!(said.contains(sentence) && !said.contains("s3cret"), "{wrong}: {said}");
        }
        let refused = run(home.path(), &databases, &["backup", "wrong"]);
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(1), "{wrong}: {said}");
        let told = if wrong.starts_with("wrong") { sentence } else { "There is no database named wrong" };
        assert!(
            said.lines().any(|line| line.starts_with("holdfast: ") && line.contains(told)),
            "{wrong}: {said}"
        );
        // What was backed up before stays what it is.
        let listed = run(home.path(), &databases, &["list"]);
        assert!(listed.status.success() && words(&listed).contains(&old), "{}", words(&listed));
        let verified = run(home.path(), &databases, &["verify", &old]);
        assert!(verified.status.success(), "{}", words(&verified));
    }
    // Where every entry is wrong, nothing else is backed up in their place.
    let only = run(home.path(), "wrong=nonsense", &["backup", "holdfast"]);
    assert!(
        !only.status.success() && words(&only).contains("There is no database named holdfast"),
        "{}",
        words(&only)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_pages_a_wrong_entry_is_told_at_its_database() {
    let home = tempfile::tempdir().unwrap();
    small_database(&home.path().join("good.db"));
    let text = format!(
        "good=sqlite://{}/good.db wrong=postgres://u:s3cret@h/d?sslmod=s3cret postgres://u:s3cret@h/d \
         files=postgres://u:s3cret@127.0.0.1:1/d?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
        home.path().display()
    );
    let desk = Desk::reading(parse_databases(&Engines::default(), &text));
    let page = desk.page("/databases").await.body;
    assert!(!page.contains("s3cret"), "{page}");
    let card = |name: &str| {
        let from = page.find(&format!("aria-label=\"{name}\"")).unwrap();
        page[from..].split("</article>").next().unwrap().to_owned()
    };
    assert!(card("good").contains("reachable") && card("good").contains("SQLite"), "{}", card("good"));
    assert!(card("wrong").contains("its parameter sslmod is unknown"), "{}", card("wrong"));
    assert!(!card("wrong").contains("Engine"), "{}", card("wrong"));
    let alerts: Vec<_> =
        page.split("role=\"alert\"").skip(1).map(|rest| rest.split("</div>").next().unwrap()).collect();
    assert!(alerts.iter().any(|alert| alert.contains("Entry 3 of HOLDFAST_DATABASES")), "{alerts:?}");
    // Nobody is asked for it: the file comes first.
    assert!(
        card("files").contains("nothing listens") || card("files").contains("/nowhere/ca.pem"),
        "{}",
        card("files")
    );

    let list = desk.page("/").await.body;
    assert!(list.contains(">wrong</option>"), "it is not left out: {list}");
    for function in ["try_database", "create_backup"] {
        let told = desk.tell(&format!("/api/{function}"), "database=wrong").await;
        assert_eq!(told.status, http::StatusCode::BAD_REQUEST, "{}", told.body);
        assert!(told.body.contains("its parameter sslmod is unknown"), "{function}: {}", told.body);
    }
    desk.back_up("good");
    assert_eq!(
        fs::read_dir(desk.holdfast.backup_dir())
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".dump.gz"))
            .count(),
        1
    );
}
