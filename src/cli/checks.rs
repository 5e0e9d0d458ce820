//! Checks of backups, for `verify` and `adopt`: which files to check, the reports, and the audit entries.

use crate::cli::outcome::{Failure, Outcome, damaged, with_detail};
use crate::cli::output::{print, print_json, sentence};
use crate::domain::audit::Noted;
use crate::domain::engines::Cancel;
use crate::domain::operations::check::Report;
use crate::domain::{Error, Holdfast};
use crate::model::audit::{Ending, Event};
use crate::settings::BackupSelection;

/// The files to check: those named on the command line, or with `--all` those that `all` lists.
pub fn chosen(
    selection: &BackupSelection,
    all: impl FnOnce() -> Result<Vec<String>, Error>,
) -> Result<Vec<String>, Failure> {
    if selection.all { Ok(all().map_err(sentence)?) } else { Ok(selection.files.clone()) }
}

/// The report on each file, or why the check could not run.
pub type Reports = Vec<(String, Result<Report, Error>)>;

/// Checks the files one after another, until `cancel` is set.
pub fn check_each(
    files: &[String],
    cancel: &Cancel,
    check: impl Fn(&String) -> Result<Report, Error>,
) -> Result<Reports, Error> {
    let mut reports = Reports::new();
    for file in files {
        let report = check(file);
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        reports.push((file.clone(), report));
    }
    Ok(reports)
}

/// Prints the reports. Fails with the sentences of the bad backups and of the checks that could not run; `one` means
/// that the user named a single file.
pub fn print_reports(reports: &Reports, one: bool, json: bool) -> Outcome {
    if json {
        let found: Vec<_> = reports.iter().filter_map(|(_, report)| report.as_ref().ok()).collect();
        match (&found[..], one) {
            ([], true) => {}
            ([report], true) => print_json(report)?,
            (several, _) => print_json(&several)?,
        }
    } else {
        for (_, report) in reports {
            if let Ok(report) = report
                && report.is_good()
            {
                print(&report.sentences())?;
            }
        }
    }
    let bad = reports.iter().filter_map(|(_, report)| match report {
        Ok(report) => (!report.is_good()).then(|| report.sentence()),
        Err(_) => None,
    });
    let failed = reports.iter().filter_map(|(file, report)| match report {
        Err(error) if one => Some(with_detail(error)),
        Err(error) => Some(format!("{file}: {}", with_detail(error))),
        Ok(report) => report
            .untried
            .as_ref()
            .map(|why| format!("{file} is intact and readable, but the test restore did not run: {why}")),
    });
    let (bad, failed): (Vec<_>, Vec<_>) = (bad.collect(), failed.collect());
    let sentences = [&bad[..], &failed[..]].concat().join("\n");
    match (&bad[..], &failed[..]) {
        ([], []) => Ok(()),
        ([], _) => Err(sentences.into()),
        _ => Err(damaged(sentences)),
    }
}

/// Writes the result to the audit log. A bad backup is noted as a failure.
pub fn note(
    holdfast: &Holdfast,
    event: Event,
    file: &str,
    found: Result<Report, Error>,
) -> Result<Report, Error> {
    match &found {
        Ok(report) if !report.is_good() => {
            holdfast.notes().note(event, file, Ending::Failed, &report.sentence());
        }
        Ok(Report { untried: Some(why), .. }) => holdfast.notes().note(event, file, Ending::Failed, why),
        Ok(report) => holdfast.notes().note(event, file, Ending::Ok, report.level.label()),
        Err(error) => holdfast.notes().note_all(&[Noted::of(event, file, error)]),
    }
    found
}
