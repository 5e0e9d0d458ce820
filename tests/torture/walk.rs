//! Random walk: all operations in random order, compared with a model of the expected state.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::concurrency::page_address;
use crate::home::{faults_in, sum, why_not_whole};
use crate::report::{Line, Outcome, Random, Run};
use crate::support::desk::{Desk, contents_of};
use crate::support::holdfast::PATIENCE;
use crate::support::http::Reply;
use axum::body::Body;
use holdfast::domain::operations::own_files::Claim;
use holdfast::model::JobState;
use holdfast::server::router::{Front, router};
use http_body_util::BodyExt as _;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// C2: the random walk.
pub fn walk(run: Run) -> Outcome {
    let steps = run.scale.of(10_000, 1_500);
    let mut random = Random(run.seed);
    let walked = Walk::new(None).walk(steps, &mut random);
    let flaws = [Flaw::OverwritesOne, Flaw::KeepsWhatIsDeleted, Flaw::ForgetsAtRestart, Flaw::CutsDownloads];
    let caught =
        flaws.iter().filter(|flaw| !Walk::new(Some(**flaw)).walk(400, &mut random).faults.is_empty());
    Ok(vec![Line {
        id: "C2",
        what: "steps of create, delete, list, download, restart".to_owned(),
        runs: steps,
        failures: walked.faults,
        caught: (caught.count(), flaws.len()),
        notes: walked
            .done
            .iter()
            .map(|(what, times)| format!("{what} {times}"))
            .collect::<Vec<_>>()
            .join(", "),
    }])
}

/// The fault of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    OverwritesOne,
    KeepsWhatIsDeleted,
    ForgetsAtRestart,
    CutsDownloads,
}

struct Walk {
    desk: Desk,
    claim: Option<Claim>,
    stopping: watch::Sender<bool>,
    runtime: Runtime,
    /// The backups that must exist, with their checksums.
    model: BTreeMap<String, String>,
    flaw: Option<Flaw>,
    done: BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

impl Walk {
    fn new(flaw: Option<Flaw>) -> Self {
        let desk = Desk::new();
        Self {
            claim: Some(desk.holdfast.begin_serving().unwrap()),
            desk,
            stopping: watch::Sender::new(false),
            runtime: Runtime::new().unwrap(),
            model: BTreeMap::new(),
            flaw,
            done: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Ends early after many failures.
    fn walk(mut self, steps: usize, random: &mut Random) -> Self {
        for step in 0..steps {
            let before = self.faults.len();
            let what = match random.below(100) {
                0..22 if self.model.len() < 60 => self.create(random),
                0..40 => self.delete(random),
                40..65 => self.list(random),
                65..92 => self.download(random),
                92..96 => self.restart(random),
                _ => self.pass(random),
            };
            *self.done.entry(what).or_default() += 1;
            for fault in &mut self.faults[before..] {
                fault.insert_str(0, &format!("step {step}, {what}: "));
            }
            if self.faults.len() > 20 {
                break;
            }
        }
        self.compare_whole();
        self
    }

    fn create(&mut self, random: &mut Random) -> &'static str {
        let database = ["ledger", "shop"][random.below(2)];
        // Each backup has different content, so that none can pass for another.
        let source = Connection::open(self.desk.at(&format!("{database}.db"))).unwrap();
        source.execute("INSERT INTO t VALUES (?1)", [format!("{:x}", random.next())]).unwrap();
        let ended = self.runtime.block_on(async {
            let answer = self.desk.tell("/api/create_backup", &format!("database={database}")).await;
            let id = serde_json::from_str(&answer.body).unwrap();
            tokio::time::timeout(PATIENCE, self.desk.holdfast.jobs().ended(id)).await.unwrap().unwrap()
        });
        let JobState::Done { file, .. } = ended.state else {
            self.faults.push(format!("{:?}", ended.state));
            return "created";
        };
        let made = self.desk.backup(file.as_str());
        if self.flaw == Some(Flaw::OverwritesOne)
            && let Some(other) = self.model.keys().next()
        {
            fs::copy(&made, self.desk.backup(other)).unwrap();
        }
        self.faults.extend(why_not_whole(self.desk.holdfast.backup_dir(), file.as_str()));
        if self.model.insert(file.to_string(), sum(&fs::read(made).unwrap())).is_some() {
            self.faults.push(format!("{file} was given twice"));
        }
        "created"
    }

    /// Deletes one to three existing backups, and sometimes a missing one.
    fn delete(&mut self, random: &mut Random) -> &'static str {
        let mut names: Vec<_> = (0..=random.below(3)).filter_map(|_| self.any(random)).collect();
        if random.below(5) == 0 {
            names.push("backup_ledger_1999-01-01_00-00-00Z.dump.gz".to_owned());
        }
        names.sort();
        names.dedup();
        let expected: BTreeSet<_> = names.iter().filter(|name| self.model.contains_key(*name)).collect();
        if self.flaw != Some(Flaw::KeepsWhatIsDeleted) {
            let deleted = self.desk.holdfast.backups().delete(&names).unwrap();
            let gone: BTreeSet<_> = deleted.gone.iter().map(|gone| gone.name.to_string()).collect();
            if gone.iter().collect::<BTreeSet<_>>() != expected {
                self.faults.push(format!("said {gone:?} were gone, of {names:?}"));
            }
        }
        for name in &names {
            self.model.remove(name);
            let status = self.get(&format!("/backups/{name}"), None).status;
            let beside = self.desk.backup(&format!("{name}.manifest.json"));
            if status != 404 || beside.exists() {
                self.faults.push(format!("{name} is deleted and still answers {status}"));
            }
        }
        "deleted"
    }

    /// All pages of a view together list each backup of the model once.
    fn list(&mut self, random: &mut Random) -> &'static str {
        let sort = ["FileName", "Database", "Created", "Modified", "Size"][random.below(5)];
        let descending = random.below(2) == 1;
        let mut seen = Vec::new();
        let mut pages = 1;
        for page in 1.. {
            if page > pages {
                break;
            }
            let answer = self.runtime.block_on(self.desk.ask(&page_address(sort, descending, page, 20)));
            let view: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
            pages = view["list"]["pages"].as_u64().unwrap_or(0);
            let rows = view["list"]["rows"].as_array().cloned().unwrap_or_default();
            seen.extend(rows.iter().map(|row| row["name"].as_str().unwrap_or_default().to_owned()));
        }
        seen.sort();
        if !seen.iter().eq(self.model.keys()) {
            self.faults.push(format!("by {sort}, {} listed of {}", seen.len(), self.model.len()));
        }
        "listed"
    }

    fn download(&mut self, random: &mut Random) -> &'static str {
        let Some(name) = self.any(random) else { return "downloaded" };
        let whole = fs::read(self.desk.backup(&name)).unwrap_or_default();
        if self.model.get(&name) != Some(&sum(&whole)) {
            self.faults.push(format!("{name} is not what it was"));
        }
        let (start, end) = (random.below(whole.len().max(1)), random.below(whole.len().max(1)));
        let range = (start <= end && random.below(2) == 0).then(|| format!("bytes={start}-{end}"));
        let expected = if range.is_some() { whole.get(start..=end).unwrap_or_default() } else { &whole[..] };
        let mut got = self.get(&format!("/backups/{name}"), range.as_deref()).body;
        if self.flaw == Some(Flaw::CutsDownloads) {
            got.pop();
        }
        if got != expected {
            self.faults.push(format!("{name}: {} bytes came, of {}", got.len(), expected.len()));
        }
        "downloaded"
    }

    fn get(&self, path: &str, range: Option<&str>) -> Reply {
        let request = self.desk.request("GET", path);
        let request = range.into_iter().fold(request, |request, range| request.header("range", range));
        let answer = self.desk.router.clone().oneshot(request.body(Body::empty()).unwrap());
        self.runtime.block_on(async {
            let (parts, body) = answer.await.unwrap().into_parts();
            let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
            Reply { status: parts.status.as_u16(), head: String::new(), body }
        })
    }

    /// Restarts with the leftovers of a killed run.
    fn restart(&mut self, random: &mut Random) -> &'static str {
        let orphan = "backup_ledger_1998-01-01_00-00-00Z.dump.gz.manifest.json";
        for left in [format!(".part-{:024x}", random.next()), orphan.to_owned()] {
            fs::write(self.desk.backup(&left), "left by a run that died").unwrap();
        }
        self.claim = None;
        self.desk.holdfast = self.desk.reopened();
        self.claim = Some(self.desk.holdfast.begin_serving().unwrap());
        self.desk.router = router(self.desk.holdfast.clone(), Front::default(), self.stopping.subscribe());
        if self.flaw == Some(Flaw::ForgetsAtRestart)
            && let Some(name) = self.model.keys().next()
        {
            // It may have been forgotten at the restart before.
            drop(fs::remove_file(self.desk.backup(name)));
        }
        self.compare_names();
        "restarted"
    }

    fn pass(&mut self, random: &mut Random) -> &'static str {
        self.desk.pass(random.below(20) as u64);
        "moved the clock"
    }

    fn any(&self, random: &mut Random) -> Option<String> {
        let at = random.below(self.model.len().max(1));
        self.model.keys().nth(at).cloned()
    }

    fn compare_names(&mut self) {
        let there = contents_of(self.desk.holdfast.backup_dir());
        let manifests = self.model.keys().map(|name| format!("{name}.manifest.json"));
        let mut expected: Vec<_> = self.model.keys().cloned().chain(manifests).collect();
        expected.sort();
        if there != expected {
            self.faults.push(format!(
                "the directory holds {} names, the model {}",
                there.len(),
                expected.len()
            ));
        }
    }

    fn compare_whole(&mut self) {
        self.compare_names();
        self.faults.extend(faults_in(self.desk.holdfast.backup_dir()));
        for (name, expected) in &self.model {
            if fs::read(self.desk.backup(name)).map(|bytes| sum(&bytes)).as_ref().ok() != Some(expected) {
                self.faults.push(format!("at the end, {name} is not what it was"));
            }
        }
    }
}
