//! Adding an engine is a folder and a line: one that only these tests know goes through everything that Holdfast does.

#![expect(clippy::unwrap_used, reason = "tests")]

mod text_directory;

use crate::engines::another_engine::text_directory::TextDirectory;
use crate::support::desk::contents_of;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use holdfast::domain::databases::list::parse_databases;
use holdfast::domain::engines::{Cancel, Engines, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::compress::Effort;
use holdfast::domain::operations::import::limits::Limits;
use holdfast::domain::operations::restore::{Manner, RestoreOptions};
use holdfast::domain::operations::restore_plan::RestoreRequest;
use holdfast::domain::outbound::Policy;
use holdfast::domain::{Holdfast, Options, destinations};
use holdfast::model::{BackupName, DatabaseHealth, FileState, JobState, Proof, Stamp};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

struct Site {
    home: TempDir,
    engines: Engines,
    holdfast: Holdfast,
}

impl Site {
    /// A Holdfast that backs the text directory `notes` up, and a SQLite database that is not there.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("notes")).unwrap();
        fs::write(at("notes/fish"), "cod\nhake\n").unwrap();
        fs::write(at("notes/birds"), "tern\n").unwrap();
        // The one line.
        let engines = Engines::default().with(TextDirectory);
        let list = format!("notes=textdir://{0}/notes other=sqlite://{0}/other.db", home.path().display());
        let databases = parse_databases(&engines, &list);
        assert!(databases.broken.is_empty(), "{databases:?}");
        let clock = AtomicI64::new(1_795_401_667_123);
        let holdfast = Holdfast::open(Options {
            data_dir: at("data"),
            backup_dir: at("data/backups"),
            databases: databases.named,
            broken: databases.broken,
            restore_on: None,
            engines: engines.clone(),
            path: "/usr/bin:/bin".into(),
            // Each look is a second later, so that no two backups have one name.
            clock: Arc::new(move || Stamp::from_millis(clock.fetch_add(1000, Ordering::SeqCst))),
            effort: Effort::default(),
            destinations: destinations::Options::default(),
            import: Limits::default(),
            egress: Policy::default(),
        })
        .unwrap();
        Self { home, engines, holdfast }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn target(&self, name: &str) -> Target {
        self.engines.locate(&format!("textdir://{}", self.at(name).display())).unwrap()
    }

    fn back_up(&self) -> BackupName {
        let name = "notes".parse().unwrap();
        self.holdfast.creations().back_up(&name, &Cancel::default(), &Unwatched).unwrap().file
    }

    /// Restores, and gives how many rows came back and what is kept of what was there.
    fn restore(
        &self,
        file: &BackupName,
        into: &Target,
        overwrite: bool,
    ) -> Result<(u64, Option<BackupName>), String> {
        let options = RestoreOptions { overwrite, ..RestoreOptions::default() };
        let restored =
            self.holdfast.restores().restore(file.as_str(), into, &options, &Cancel::default(), &Unwatched);
        let restored = restored.map_err(|error| error.to_string())?;
        assert_eq!(restored.report.level, Proof::Restored);
        Ok((restored.report.rows.unwrap(), restored.safety))
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn another_engine_is_probed_backed_up_and_listed() {
    let site = Site::new();
    let view = site.holdfast.databases().view(&site.holdfast.catalog().list().unwrap(), None);
    let notes = view.databases.iter().find(|database| database.name.as_str() == "notes").unwrap();
    assert_eq!(notes.engine.as_deref(), Some("Text directory"));
    assert!(matches!(notes.health, DatabaseHealth::Reachable { size: 14, .. }), "{:?}", notes.health);

    let file = site.back_up();
    let listed = site.holdfast.catalog().get(&file).unwrap();
    assert_eq!((listed.state, listed.engine.unwrap().as_str()), (FileState::Whole, "text-directory"));
    let path = site.holdfast.backup_dir().join(file.as_str());
    let manifest: serde_json::Value =
        serde_json::from_str(&text(&path.with_file_name(format!("{file}.manifest.json")))).unwrap();
    assert_eq!(manifest["database_engine"], "text-directory");
    assert_eq!(manifest["backup_format"], "text-tar");
    assert_eq!((&manifest["tables"], &manifest["rows"]), (&2.into(), &3.into()));
    let mut content = Vec::new();
    GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut content).unwrap();
    assert!(content.starts_with(b"text-directory/"));
}

#[test]
fn another_engine_s_backup_is_verified_by_its_content_and_by_a_test_restore() {
    let site = Site::new();
    let file = site.back_up();
    let found = site.holdfast.verifications().prove(&file, &Cancel::default(), &Unwatched).unwrap();
    assert_eq!((found.level, found.tables, found.rows), (Proof::Restored, Some(2), Some(3)));
    let verified = site.holdfast.catalog().get(&file).unwrap().verified.unwrap();
    assert_eq!(verified.proof, Proof::Restored);
    let left = contents_of(site.home.path());
    assert_eq!(left, ["data", "notes"], "the test left something");

    // Without a database of its name, it is read and not restored.
    let options = RestoreOptions::default();
    let found = site
        .holdfast
        .verifications()
        .verify(file.as_str(), &options, &Cancel::default(), &Unwatched)
        .unwrap();
    assert_eq!((found.level, found.engine.as_ref().unwrap().as_str()), (Proof::Readable, "text-directory"));
    assert!(found.sentences().contains("It holds a tar of text files."), "{}", found.sentences());

    let mut bytes = Vec::new();
    let path = site.holdfast.backup_dir().join(file.as_str());
    GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(4).position(|window| window == b"hake").unwrap();
    bytes[at] = 0xFF;
    let damaged = site.at("damaged.gz");
    fs::write(&damaged, gzip(&bytes)).unwrap();
    let damaged = damaged.to_str().unwrap();
    let found =
        site.holdfast.verifications().verify(damaged, &options, &Cancel::default(), &Unwatched).unwrap();
    assert_eq!(
        (found.level, &found.damage[..]),
        (Proof::Damaged, &["its file fish is not text".to_owned()][..])
    );
}

#[test]
fn another_engine_s_backup_is_restored_as_new_and_over_what_is_there() {
    let site = Site::new();
    let file = site.back_up();
    assert_eq!(site.restore(&file, &site.target("again"), false), Ok((3, None)));
    assert_eq!(text(&site.at("again/fish")), "cod\nhake\n");

    fs::write(site.at("notes/fish"), "none\n").unwrap();
    let refused = site.restore(&file, &site.target("notes"), false).unwrap_err();
    assert!(refused.contains("already exists"), "{refused}");
    assert_eq!(text(&site.at("notes/fish")), "none\n");
    // Written otherwise, it is still the database that is configured, and backed up under its name.
    let (rows, safety) = site.restore(&file, &site.target("data/../notes"), true).unwrap();
    let safety = safety.unwrap();
    assert_eq!((rows, safety.database().unwrap().as_str()), (3, "notes"));
    assert_eq!(text(&site.at("notes/fish")), "cod\nhake\n");
    assert_eq!(site.restore(&safety, &site.target("before"), false), Ok((2, None)));
    assert_eq!(text(&site.at("before/fish")), "none\n");

    let sqlite = site.engines.locate(&format!("sqlite://{}", site.at("x.db").display())).unwrap();
    let refused = site.restore(&file, &sqlite, false).unwrap_err();
    assert!(
        refused.contains("a Text directory backup") && refused.contains("is for another engine"),
        "{refused}"
    );
    let broken = site.engines.locate("text://x").unwrap_err();
    assert!(broken.contains("textdir://"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_s_backup_is_planned_and_restored_by_a_job() {
    let site = Site::new();
    let file = site.back_up();
    let view = site.holdfast.restore_plans().view(1, &file, None).unwrap();
    assert!(view.facts.contains(&("Engine".to_owned(), "Text directory".to_owned())), "{:?}", view.facts);
    let places: Vec<_> = view.places.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(places, ["beside:notes", "over:notes", "elsewhere"]);
    assert_eq!((view.url_examples, view.choices), (vec!["textdir:///absolute/directory"], Vec::new()));
    let request = RestoreRequest {
        place: "over:notes".to_owned(),
        name: String::new(),
        url: String::new().into(),
        manner: Manner::default(),
    };
    let plan = site.holdfast.restore_plans().plan(1, &file, &request).unwrap();
    let planned = site.holdfast.restore_plans().view(1, &file, Some(&plan)).unwrap().plan.unwrap();
    assert!(planned.facts.contains(&("Kind of place".to_owned(), "a directory".to_owned())), "{planned:?}");
    assert_eq!(planned.typed.as_deref(), Some("all of it"));

    fs::write(site.at("notes/fish"), "none\n").unwrap();
    site.holdfast.restore_plans().start(1, &plan, "all of it").unwrap();
    site.holdfast.jobs().all_ended().await;
    let ended = site.holdfast.jobs().history().unwrap().remove(0).state;
    assert!(matches!(ended, JobState::Reported { .. }), "{ended:?}");
    assert_eq!(text(&site.at("notes/fish")), "cod\nhake\n");
}

#[test]
fn another_engine_s_backup_is_imported() {
    let site = Site::new();
    let file = site.back_up();
    let bytes = fs::read(site.holdfast.backup_dir().join(file.as_str())).unwrap();
    let elsewhere = Site::new();
    let imported =
        elsewhere.holdfast.imports().import("friday.gz", &mut &bytes[..], &Cancel::default()).unwrap();
    assert_eq!(imported.added[0].name.database().unwrap().as_str(), "friday", "{imported:?}");
    let listed = elsewhere.holdfast.catalog().get(&imported.added[0].name).unwrap();
    assert_eq!((listed.state, listed.engine.unwrap().as_str()), (FileState::Whole, "text-directory"));
}

#[test]
fn a_backup_of_an_engine_that_is_not_known_is_listed_and_not_called_damaged() {
    let site = Site::new();
    let file = site.back_up();
    let knows_less = Holdfast::open(Options {
        data_dir: site.at("less"),
        backup_dir: site.holdfast.backup_dir().to_owned(),
        databases: Vec::new(),
        broken: Vec::new(),
        restore_on: None,
        engines: Engines::default(),
        path: "/usr/bin:/bin".into(),
        clock: Arc::new(|| Stamp::from_millis(1_795_401_667_123)),
        effort: Effort::default(),
        destinations: destinations::Options::default(),
        import: Limits::default(),
        egress: Policy::default(),
    })
    .unwrap();
    let options = RestoreOptions::default();
    let refused = knows_less
        .verifications()
        .verify(file.as_str(), &options, &Cancel::default(), &Unwatched)
        .unwrap_err();
    assert!(
        refused.to_string().contains("engine text-directory, which this Holdfast does not know"),
        "{refused}"
    );
    let listed = knows_less.catalog().get(&file).unwrap();
    assert_eq!((listed.state, listed.verified), (FileState::Whole, None));
}
