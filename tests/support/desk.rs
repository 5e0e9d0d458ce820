//! A Holdfast for tests: opened in this process on temporary directories, with the router of the server and a user who
//! is logged in.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test harness")]

use super::holdfast::{PATIENCE, options};
use axum::Router;
use axum::body::Body;
use holdfast::domain::accounts::{Device, FirstAccount};
use holdfast::domain::databases::list::Databases;
use holdfast::domain::engines::{Cancel, Engines, Target};
use holdfast::domain::jobs::Unwatched;
use holdfast::domain::operations::import::limits::Limits;
use holdfast::domain::repository::manifest;
use holdfast::domain::repository::manifest::Manifest;
use holdfast::domain::{Holdfast, Options};
use holdfast::model::{BackupName, DatabaseName, EngineKind, JobState, Stamp};
use holdfast::server::auth::cookies::COOKIE_NAME;
use holdfast::server::router::{Front, router};
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, LOCATION, REFERER};
use http::request::Builder;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use rusqlite::Connection;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

/// The `Accept` header of browsers.
pub const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// The `Accept` header of the live page.
pub const JSON: &str = "application/json";
/// The content type of forms.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// Username and password of the account.
pub const ACCOUNT: (&str, &str) = ("admin", "tide marks on the quay");
/// The time at which every Holdfast of the tests is opened: 2026-11-23 02:41:07.123 UTC.
pub const NOW: i64 = 1_795_401_667_123;

/// A Holdfast and a user who is logged in.
pub struct Desk {
    pub holdfast: Holdfast,
    pub router: Router,
    /// The user's session, as a `Cookie` header.
    pub cookie: String,
    home: TempDir,
    targets: Databases,
    clock: Arc<AtomicI64>,
    _stop: watch::Sender<bool>,
}

/// A complete response.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Desk {
    /// With the small databases `ledger` and `shop`.
    pub fn new() -> Self {
        Self::with(&["ledger", "shop"])
    }

    /// With these small databases.
    pub fn with(databases: &[&str]) -> Self {
        Self::limited(databases, Limits::default())
    }

    /// Like [`Desk::with`], with other limits on imports.
    pub fn limited(databases: &[&str], import: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let small = |name: &&str| {
            let path = home.path().join(format!("{name}.db"));
            small_database(&path);
            (name.parse().unwrap(), Target::of_file(path))
        };
        let targets = databases.iter().map(small).collect();
        Self::over(home, targets, import)
    }

    /// With existing databases.
    pub fn of(targets: Vec<(DatabaseName, Target)>) -> Self {
        Self::over(tempfile::tempdir().unwrap(), targets, Limits::default())
    }

    /// With a parsed list of databases, its errors included.
    pub fn reading(databases: Databases) -> Self {
        Self::opened(tempfile::tempdir().unwrap(), databases, Limits::default())
    }

    /// Like [`Desk::of`], with a script in place of `pg_dump`.
    pub fn with_tool(targets: Vec<(DatabaseName, Target)>, script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let tool = home.path().join("bin/pg_dump");
        fs::create_dir(tool.parent().unwrap()).unwrap();
        fs::write(&tool, script).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        Self::over(home, targets, Limits::default())
    }

    fn over(home: TempDir, named: Vec<(DatabaseName, Target)>, import: Limits) -> Self {
        Self::opened(home, Databases { named, broken: Vec::new() }, import)
    }

    fn opened(home: TempDir, targets: Databases, import: Limits) -> Self {
        let clock = Arc::new(AtomicI64::new(NOW));
        let holdfast = open(home.path(), &targets, import, Arc::clone(&clock));
        let FirstAccount::NeedsSetup(token) = holdfast.accounts().ensure_first(ACCOUNT.0, None).unwrap()
        else {
            panic!("a new desk has an account");
        };
        let session =
            holdfast.accounts().set_up(&token, ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).unwrap();
        let (stop, stopping) = watch::channel(false);
        Self {
            router: router(holdfast.clone(), Front::default(), stopping),
            holdfast,
            cookie: format!("{COOKIE_NAME}={}", session.reveal()),
            home,
            targets,
            clock,
            _stop: stop,
        }
    }

    /// A second Holdfast on the same directories, as after a restart.
    pub fn reopened(&self) -> Holdfast {
        open(self.home.path(), &self.targets, self.holdfast.imports().limits(), Arc::clone(&self.clock))
    }

    /// A path next to the data directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A path in the backup directory.
    pub fn backup(&self, name: &str) -> PathBuf {
        self.holdfast.backup_dir().join(name)
    }

    /// Advances the clock.
    pub fn pass(&self, seconds: u64) {
        self.clock.fetch_add(i64::try_from(seconds).unwrap() * 1000, Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn turn_to(&self, moment: Stamp) {
        self.clock.store(moment.millis(), Ordering::SeqCst);
    }

    /// Puts `size` bytes under `name` into the backup directory, modified at NOW minus `age` seconds.
    pub fn put(&self, name: &str, size: usize, age: u64) {
        let mut file = File::create(self.backup(name)).unwrap();
        file.write_all(&vec![b'x'; size]).unwrap();
        let modified = UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs()) - Duration::from_secs(age);
        file.set_modified(modified).unwrap();
    }

    /// Like [`Desk::put`], with a manifest that claims `said` bytes.
    pub fn put_described(&self, database: &str, name: &str, size: usize, said: u64) {
        self.put(name, size, 60);
        let manifest = Manifest {
            manifest_version: manifest::VERSION,
            file: name.parse().unwrap(),
            created_at: Stamp::from_millis(NOW).rfc3339(),
            database: database.parse().unwrap(),
            database_engine: EngineKind::new("sqlite"),
            backup_format: "sqlite-database".to_owned(),
            payload_size: said,
            payload_sha256: "ab".repeat(32),
            payload_crc32: "00000000".to_owned(),
            content_size: said,
            content_sha256: "cd".repeat(32),
            created_by: "the tests".to_owned(),
            warnings: None,
            remarks: Vec::new(),
            tables: None,
            rows: None,
            origin: None,
        };
        fs::write(self.backup(&format!("{name}.manifest.json")), manifest.to_bytes()).unwrap();
    }

    /// Sends a request.
    pub async fn send(&self, request: Builder, body: &str) -> Answer {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let read = async {
            let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
            (parts, body.collect().await.unwrap().to_bytes())
        };
        let (parts, bytes) = tokio::time::timeout(PATIENCE, read).await.unwrap();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The user opens a page. Removes the markers for hydration.
    pub async fn page(&self, path: &str) -> Answer {
        let answer = self.send(self.request("GET", path).header(ACCEPT, BROWSER), "").await;
        Answer { body: answer.body.replace("<!>", ""), ..answer }
    }

    /// A `GET` of the live page.
    pub async fn ask(&self, path: &str) -> Answer {
        self.send(self.request("GET", path).header(ACCEPT, JSON), "").await
    }

    /// A `POST` of the live page.
    pub async fn tell(&self, path: &str, form: &str) -> Answer {
        self.send(self.request("POST", path).header(ACCEPT, JSON).header(CONTENT_TYPE, FORM), form).await
    }

    /// The user posts a form without JavaScript.
    pub async fn form(&self, path: &str, form: &str) -> Answer {
        self.send(self.request("POST", path).header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM), form).await
    }

    /// Like [`Desk::form`], from a page of this site, to which the response redirects.
    pub async fn form_from(&self, page: &str, path: &str, form: &str) -> Answer {
        let request = self.request("POST", path).header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM);
        self.send(request.header(REFERER, format!("http://holdfast.test{page}")), form).await
    }

    /// Backs up a database and returns the file name.
    pub fn back_up(&self, database: &str) -> BackupName {
        let database = database.parse().unwrap();
        let back_up =
            || self.holdfast.creations().back_up(&database, &Cancel::default(), &Unwatched).unwrap().file;
        // The engine blocks on a runtime of its own.
        tokio::task::block_in_place(back_up)
    }

    /// Waits until all jobs have ended, and returns the state of the last one.
    pub async fn last_job(&self) -> JobState {
        tokio::time::timeout(PATIENCE, self.holdfast.jobs().all_ended()).await.unwrap();
        self.holdfast.jobs().history().unwrap().remove(0).state
    }

    /// A request with the user's session, for the caller to complete.
    pub fn request(&self, method: &str, path: &str) -> Builder {
        Request::builder().method(method).uri(path).header(HOST, "holdfast.test").header(COOKIE, &self.cookie)
    }
}

impl Answer {
    /// The address of the redirect; empty if there is none.
    pub fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    /// A header as text; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

fn open(home: &Path, databases: &Databases, import: Limits, clock: Arc<AtomicI64>) -> Holdfast {
    let options = Options {
        databases: databases.named.clone(),
        broken: databases.broken.clone(),
        engines: Engines::default()
            .with_tools(EngineKind::new("postgresql"), Some(home.join("bin")).filter(|bin| bin.exists())),
        clock: Arc::new(move || Stamp::from_millis(clock.load(Ordering::SeqCst))),
        import,
        ..options(home, "")
    };
    Holdfast::open(options).unwrap()
}

/// Creates a SQLite database with a few rows.
pub fn small_database(path: &Path) {
    let database = Connection::open(path).unwrap();
    let filled = "CREATE TABLE t (a); INSERT INTO t VALUES ('one'), ('two'), ('three');";
    database.execute_batch(filled).unwrap();
}

/// Creates a SQLite database of about `kilobytes` that hardly compresses.
pub fn dense_database(path: &Path, kilobytes: u32) {
    let database = Connection::open(path).unwrap();
    let filled = format!(
        "PRAGMA synchronous = OFF; CREATE TABLE t (a BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {kilobytes})
         INSERT INTO t SELECT randomblob(1000) FROM n;"
    );
    database.execute_batch(&filled).unwrap();
}

/// The names in a directory, sorted.
pub fn names_in(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The names in a backup directory without lock files, which stay there when nobody holds the locks.
pub fn contents_of(path: &Path) -> Vec<String> {
    names_in(path).into_iter().filter(|name| !name.starts_with(".holdfast-")).collect()
}
