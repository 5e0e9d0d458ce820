//! Clock trials: the clock stands still, steps back, changes to or from summer time, or reaches the limits of its
//! range.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::home::{count_in, faults_in, home, why_not_whole};
use crate::report::{Line, Outcome, Random, Run};
use crate::support::desk::{Desk, NOW};
use holdfast::domain::engines::Cancel;
use holdfast::domain::jobs::Progress;
use holdfast::model::{BackupName, Column, DatabaseName, ListQuery, Phase, Sort, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;

/// D1, D2, P14, P15.
pub fn clock(run: Run) -> Outcome {
    Ok(vec![frozen(run), stepping(run), zones(run)])
}

struct Quiet;

impl Progress for Quiet {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}

/// Edge cases in milliseconds since 1970: the epoch, the ends of 31 and 32 bits of seconds, a leap second, changes to
/// and from summer time in Berlin, New York and on Lord Howe Island, a leap day, the last second with a four-digit
/// year, and a time before 1970.
const EDGES: [i64; 14] = [
    0,
    2_147_483_647_000,
    2_147_483_648_000,
    4_294_967_296_000,
    1_483_228_800_000,
    1_774_746_000_000,
    1_792_890_000_000,
    1_772_953_200_000,
    1_793_512_800_000,
    1_791_041_400_000,
    1_709_164_800_000,
    4_102_444_800_000,
    253_402_300_799_000,
    -1_000,
];

/// D1: many backups of one database within one millisecond.
fn frozen(run: Run) -> Line {
    let (creates, desk) = (run.scale.of(500, 150), Desk::with(&["ledger"]));
    let database: DatabaseName = "ledger".parse().unwrap();
    let (mut failures, mut names) = (Vec::new(), BTreeSet::new());
    for _ in 0..creates {
        match desk.holdfast.creations().back_up(&database, &Cancel::default(), &Quiet) {
            Ok(made) => drop(names.insert(made.file)),
            Err(error) => failures.push(error.to_string()),
        }
    }
    failures.extend(too_few(desk.holdfast.backup_dir(), creates));
    failures.extend(faults_in(desk.holdfast.backup_dir()));
    let unread = names.iter().filter(|name| name.created() != Some(Stamp::from_millis(NOW - NOW % 1000)));
    failures.extend(unread.map(|name| format!("{name} does not say when it was made")));

    let naive = tempfile::tempdir().unwrap();
    for i in 0..creates {
        let name = BackupName::new(&database, Stamp::from_millis(NOW), 1);
        fs::write(naive.path().join(name.as_str()), i.to_string()).unwrap();
    }
    Line {
        id: "P14/D1",
        what: "creates while the clock stands still".to_owned(),
        runs: creates,
        failures,
        caught: (usize::from(!too_few(naive.path(), creates).is_empty()), 1),
        notes: format!("names {}", names.len()),
    }
}

fn too_few(dir: &Path, creates: usize) -> Vec<String> {
    let there = count_in(dir);
    if there == creates { Vec::new() } else { vec![format!("{there} files of {creates} creates")] }
}

/// D2, P15: the clock jumps between any two creates, and modified times are random. No name is used twice, no existing
/// file changes or disappears, and the list is in the order of the manifests.
fn stepping(run: Run) -> Line {
    let steps = run.scale.of(500, 150);
    let mut random = Random(run.seed);
    let desk = Desk::with(&["ledger"]);
    let database: DatabaseName = "ledger".parse().unwrap();
    let (mut failures, mut model) = (Vec::new(), BTreeMap::new());
    let mut now = NOW;
    for step in 0..steps {
        now = next_moment(now, &mut random);
        desk.turn_to(Stamp::from_millis(now));
        let made = match desk.holdfast.creations().back_up(&database, &Cancel::default(), &Quiet) {
            Ok(made) => made.file,
            Err(error) => {
                failures.push(format!("step {step}, at {now}: {error}"));
                continue;
            }
        };
        let created = Stamp::from_millis(now);
        if made.created() != Some(Stamp::from_millis(now.div_euclid(1000) * 1000)) {
            failures.push(format!("step {step}: {made} was made at {created}"));
        }
        set_modified(&desk.backup(made.as_str()), &mut random);
        if model.insert(made.to_string(), now).is_some() {
            failures.push(format!("step {step}: {made} was used twice"));
        }
    }
    failures.extend(faults_in(desk.holdfast.backup_dir()));
    let began = desk.reopened();
    drop(began.begin_serving());
    for descending in [false, true] {
        let query = ListQuery { sort: Sort { column: Column::Created, descending }, ..ListQuery::default() };
        failures.extend(out_of_order(&listed(&desk, &query), &model, descending));
        for name in model.keys().take(20) {
            set_modified(&desk.backup(name), &mut random);
        }
    }
    let newest = desk.holdfast.backups().view(&ListQuery::default(), &[]).unwrap().databases[0].newest;
    if newest.map(Stamp::millis) != model.values().max().copied() {
        failures.push(format!("the page dates the newest backup {newest:?}"));
    }
    failures.extend(not_downloaded(&desk, model.keys()));
    failures.extend(not_shown(&desk));

    // The control sorts by modified time.
    let mut by_modified: Vec<_> = model.keys().cloned().collect();
    by_modified.sort_by_key(|name| desk.backup(name).metadata().and_then(|found| found.modified()).unwrap());
    let caught = usize::from(!out_of_order(&by_modified, &model, false).is_empty());
    Line {
        id: "P15/D2",
        what: "creates with a jumping clock, random modified times".to_owned(),
        runs: steps,
        failures,
        caught: (caught, 1),
        notes: format!("from {} to {}", bound(model.values().min()), bound(model.values().max())),
    }
}

fn bound(millis: Option<&i64>) -> Stamp {
    Stamp::from_millis(millis.copied().unwrap_or_default())
}

/// The next time: an hour, a day or a year earlier or later, the same, or an edge case.
fn next_moment(now: i64, random: &mut Random) -> i64 {
    const HOUR: i64 = 3_600_000;
    let steps = [0, 1, 999, -1000, HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 8766 * HOUR, -8766 * HOUR];
    match random.below(3) {
        0 => EDGES[random.below(EDGES.len())],
        _ => (now + steps[random.below(steps.len())]).clamp(-62_000_000_000_000, 253_402_300_799_000),
    }
}

/// Sets a random modified time from 1950 to 2100.
fn set_modified(path: &Path, random: &mut Random) {
    let days = Duration::from_hours(24 * random.below(150 * 365) as u64);
    let from = UNIX_EPOCH - Duration::from_hours(24 * 20 * 365);
    OpenOptions::new().write(true).open(path).unwrap().set_modified(from + days).unwrap();
}

fn listed(desk: &Desk, query: &ListQuery) -> Vec<String> {
    let page = |page| desk.holdfast.backups().view(&query.at_page(page), &[]).unwrap().list;
    let pages = page(1).pages;
    (1..=pages).flat_map(|number| page(number).rows).map(|row| row.name.to_string()).collect()
}

fn out_of_order(names: &[String], model: &BTreeMap<String, i64>, descending: bool) -> Vec<String> {
    let of = |name: &String| model.get(name).copied();
    let wrong = names
        .windows(2)
        .filter(|two| if descending { of(&two[0]) < of(&two[1]) } else { of(&two[0]) > of(&two[1]) });
    let mut faults: Vec<_> = wrong.map(|two| format!("{} is listed before {}", two[0], two[1])).collect();
    if names.iter().collect::<BTreeSet<_>>() != model.keys().collect() {
        faults.push(format!("{} are listed of {}", names.len(), model.len()));
    }
    faults
}

/// The backups that cannot be downloaded; their times must not matter.
fn not_downloaded<'a>(desk: &Desk, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    desk.turn_to(Stamp::from_millis(NOW));
    let runtime = Runtime::new().unwrap();
    names
        .filter_map(|name| {
            let answer = runtime.block_on(desk.ask(&format!("/backups/{name}")));
            (answer.status != 200).then(|| format!("{name} answers {}", answer.status))
        })
        .collect()
}

/// The failures of pages that show times.
fn not_shown(desk: &Desk) -> Vec<String> {
    let runtime = Runtime::new().unwrap();
    let paths = ["/", "/?sort=-created_at", "/?sort=modified_at&per_page=100", "/activity", "/databases"];
    let answers = paths.map(|path| (path, runtime.block_on(desk.page(path)).status));
    answers
        .iter()
        .filter(|(_, status)| *status != 200)
        .map(|(path, status)| format!("{path} answers {status}"))
        .collect()
}

/// D2: the real program in several time zones, some of them about to change to or from summer time. Names and manifests
/// are in UTC.
fn zones(run: Run) -> Line {
    let zones = [
        "UTC0",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "LHST-10:30LHDT-11,M10.1.0,M4.1.0",
        "XXX-14",
        "YYY12",
    ];
    let home = home();
    let mut failures = Vec::new();
    let runs = run.scale.of(10, 2) * zones.len();
    for turn in 0..runs {
        let zone = zones[turn % zones.len()];
        let before = now();
        let output = home.program(&["backup", "ledger"]).env("TZ", zone).output().unwrap();
        let after = now();
        let name = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let made = name.parse::<BackupName>().ok().and_then(|name| name.created());
        let in_time = made.is_some_and(|made| (before - 1000..=after).contains(&made.millis()));
        if !in_time {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            failures.push(format!("in {zone}: {name} was made at {}; {words}", Stamp::from_millis(before)));
        }
        failures.extend(why_not_whole(&home.backups(), &name));
    }
    // The control uses local time in Berlin, where one hour occurs twice.
    let database: DatabaseName = "ledger".parse().unwrap();
    let local =
        |utc: i64, hours: i64| BackupName::new(&database, Stamp::from_millis(utc + hours * 3_600_000), 1);
    let hour = 3_600_000;
    let fold = EDGES[6];
    let collide = local(fold - hour / 2, 2) == local(fold + hour / 2, 1);
    Line {
        id: "D2",
        what: "creates in six time zones".to_owned(),
        runs,
        failures,
        caught: (usize::from(collide), 1),
        notes: String::new(),
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
