//! PostgreSQL's own programs: where they are, their versions, and their environment.

use crate::domain::engines::engine::EngineContext;
use crate::domain::engines::postgres::archive::head::origin;
use crate::domain::engines::postgres::passfile::PASSFILE;
use crate::domain::engines::postgres::server::KIND;
use crate::domain::engines::process;
use crate::domain::engines::process::{Child, End, Launch, redact, some};
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use crate::domain::outbound::Policy;
use rustix::fs::{FlockOperation, flock};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a tool may take to print its version.
const VERSION: Duration = Duration::from_secs(10);
/// How long a tool may be silent before it counts as hung. Reading the catalogue of a database with very many
/// tables takes minutes.
const STALL: Duration = Duration::from_mins(10);
/// The first release of each major version whose tools process archives in restricted mode without a known
/// vulnerability.
const REPAIRED: [(u32, u32); 5] = [(14, 24), (15, 19), (16, 15), (17, 11), (18, 6)];
/// Where Debian installs the tools of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Where PostgreSQL's tools are, and where password files may be written.
#[derive(Debug, Clone)]
pub struct PostgresTools {
    /// The tools' directory, if the operator set one; no other is searched.
    pub bin_dir: Option<PathBuf>,
    /// A directory for password files, preferably in memory; created private when needed.
    pub run_dir: PathBuf,
    /// The `PATH` to search for tools.
    pub path: OsString,
    /// How long a tool may be silent before it is stopped as hung.
    pub stall: Duration,
    /// The outbound policy for the tools and for Holdfast itself.
    pub egress: Policy,
}

impl PostgresTools {
    /// Tools found in `bin_dir` or `path`, with default timeout and policy.
    pub fn new(bin_dir: Option<PathBuf>, run_dir: PathBuf, path: OsString) -> Self {
        Self { bin_dir, run_dir, path, stall: STALL, egress: Policy::default() }
    }

    /// The tools for `context`.
    pub fn of(context: &EngineContext) -> Self {
        let bin_dir = context.tool_directories.get(&KIND).cloned();
        let egress = context.outbound.clone();
        Self { egress, ..Self::new(bin_dir, context.run_dir.clone(), context.path.clone()) }
    }

    /// Removes password files of killed runs; those in use are locked and stay.
    pub fn sweep_run_dir(&self) -> Result<()> {
        let failed = |error| Error::file("Clearing", &self.run_dir, error);
        let entries = match fs::read_dir(&self.run_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let ours = entry.file_name().as_encoded_bytes().starts_with(PASSFILE.as_bytes());
            if ours && entry.file_type().map_err(failed)?.is_file() {
                let file = File::open(entry.path()).map_err(failed)?;
                if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    fs::remove_file(entry.path()).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Finds one of PostgreSQL's tools, such as `pg_dump`. Debian's wrapper in the `PATH` is a Perl script
    /// that chooses a version by files in the home directory; the newest version is used instead, because a
    /// newer `pg_dump` can dump older servers but not the reverse.
    pub fn find(&self, tool: &str) -> Result<PathBuf> {
        let missing = |why: String| Error::Tool { message: why, detail: None };
        if let Some(bin_dir) = &self.bin_dir {
            let file = std::path::absolute(bin_dir).unwrap_or_else(|_| bin_dir.clone()).join(tool);
            return match file {
                file if process::is_executable(&file) => Ok(file),
                file if file.exists() => Err(missing(format!(
                    "{} is there but cannot be executed by this user. Make it executable, or correct the \
                     directory of PostgreSQL's tools.",
                    file.display()
                ))),
                file => Err(missing(format!(
                    "There is no {}. Install it (apt-get install postgresql-client), or correct the directory \
                     of PostgreSQL's tools.",
                    file.display()
                ))),
            };
        }
        let wrapped = |file: &Path| fs::canonicalize(file).is_ok_and(|real| real.ends_with("pg_wrapper"));
        process::find(OsStr::new(tool), &self.path)
            .filter(|file| !wrapped(file))
            .or_else(|| newest(Path::new(VERSIONS), tool))
            .ok_or_else(|| {
                let work = if tool == "pg_restore" { "checked or restored" } else { "backed up" };
                missing(format!(
                    "{tool} is not installed, and PostgreSQL databases cannot be {work} without it. Install \
                     it: apt-get install postgresql-client."
                ))
            })
    }

    /// Finds the tool that fits best: no older than `at_least`; of version `fit`, else the next newer, else
    /// the next older. Not simply the newest: a newer tool uses features that an older server lacks. All of
    /// Debian's versions are considered, unless the operator set a directory. The inner error is the newest
    /// version found, which is too old.
    pub(crate) fn choose(
        &self,
        tool: &str,
        at_least: Option<&Version>,
        fit: Option<&Version>,
        cancel: &Cancel,
    ) -> Result<Result<(PathBuf, Version), Version>> {
        let first = self.find(tool)?;
        let mut candidates = vec![first.clone()];
        if self.bin_dir.is_none() {
            candidates.extend(installed(Path::new(VERSIONS), tool).into_iter().filter(|file| *file != first));
        }
        let mut found = Vec::new();
        let mut broken = None;
        for candidate in candidates {
            match self.version_of(&candidate, cancel) {
                Ok(version) => found.push((candidate, version)),
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => broken = broken.or(Some(error)),
            }
        }
        let Some(newest) = found.iter().map(|(_, version)| version).max_by_key(|version| version.major)
        else {
            return Err(broken.unwrap_or(Error::Lost));
        };
        let newest = newest.clone();
        found.retain(|(_, version)| at_least.is_none_or(|least| version.major >= least.major));
        let wanted = fit.or(at_least).map_or(newest.major, |fit| fit.major);
        // Newer ones in ascending order, then older ones in descending order; of equal ones the first.
        let best = found
            .into_iter()
            .min_by_key(|(_, version)| (version.major < wanted, version.major.abs_diff(wanted)));
        Ok(best.ok_or(newest))
    }

    /// Finds the `pg_restore` that fits: no older than the `pg_dump` that made the archive, and as close as
    /// possible to the server's version.
    pub(crate) fn restore_tool(
        &self,
        beginning: &[u8],
        server: Option<&Version>,
        cancel: &Cancel,
    ) -> Result<PathBuf> {
        let made_by = origin(beginning).and_then(|(_, tool)| Version::parse(&tool));
        let ours = match self.choose("pg_restore", made_by.as_ref(), server, cancel)? {
            Ok((tool, _)) => return Ok(tool),
            Err(newest) => newest,
        };
        let theirs = made_by.unwrap_or_else(|| ours.clone());
        let wanted = theirs.major / 100;
        Err(Error::Tool {
            message: format!(
                "pg_restore {} is older than the pg_dump {} that made this backup, and may fail to \
                 read it. Install version {wanted} or newer: apt-get install postgresql-client-{wanted}.",
                ours.text, theirs.text
            ),
            detail: None,
        })
    }

    /// Warns about tools with a known vulnerability that a hostile server or archive could exploit. Missing
    /// tools are reported when they are needed.
    pub(crate) fn warn_of_faults(&self) {
        for tool in ["pg_dump", "pg_restore"] {
            let version = self.find(tool).and_then(|tool| self.version_of(&tool, &Cancel::default()));
            if let Ok(version) = version
                && let Some(update) = version.update()
            {
                tracing::warn!(
                    tool,
                    version = version.text,
                    "it has known vulnerabilities that a hostile database could exploit: update it to \
                     {update}"
                );
            }
        }
    }

    /// Asks a tool for its version.
    pub(crate) fn version_of(&self, tool: &Path, cancel: &Cancel) -> Result<Version> {
        let launch = Launch {
            program: tool,
            args: &["--version"],
            env: environment(tool),
            path: &self.path,
            fed: false,
            stall: VERSION.min(self.stall),
            secrets: Vec::new(),
        };
        let mut child = Child::spawn(launch, cancel).map_err(|error| not_started(tool, &error))?;
        let mut line = Vec::new();
        let began = Instant::now();
        let mut buffer = [0; 256];
        while let Ok(read @ 1..) = child.read(&mut buffer) {
            line.extend_from_slice(&buffer[..read]);
            if line.len() > 1024 || began.elapsed() > VERSION {
                break;
            }
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let detail = match child.finish() {
            End::Exited(status, _) if status.success() => match Version::of_tool(&line) {
                Some(version) => return Ok(version),
                None => redact(&line, &[]),
            },
            End::Exited(_, words) | End::Hung(words) => words,
            End::Cancelled => return Err(Error::Cancelled),
            End::Unread => String::new(),
        };
        Err(Error::Tool {
            message: format!(
                "{} does not print its version, so it is not a working {}. Reinstall it: \
                 apt-get install --reinstall postgresql-client.",
                tool.display(),
                tool.file_name().unwrap_or_default().display(),
            ),
            detail: some(detail),
        })
    }
}

/// The newest version's tool below `versions`.
fn newest(versions: &Path, tool: &str) -> Option<PathBuf> {
    installed(versions, tool).pop()
}

/// The tool of each version below `versions`, oldest first.
fn installed(versions: &Path, tool: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(versions) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let version = Version::parse(entry.file_name().to_str()?)?;
            let file = entry.path().join("bin").join(tool);
            process::is_executable(&file).then_some((version.major, file))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, file)| file).collect()
}

/// A version of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As it is written: `15.18`, `17beta1`.
    pub text: String,
    /// 15 is 1500 and 9.6 is 906: before 10, the second number counted too.
    pub major: u32,
}

impl Version {
    /// Parses `15.18 (Debian 15.18-0+deb12u1)`; ignores what follows the number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_whitespace().next()?;
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let first: u32 = numbers.next()?.parse().ok()?;
        let second: u32 = numbers.next().and_then(|second| second.parse().ok()).unwrap_or(0);
        let major = if first < 10 { first * 100 + second.min(99) } else { first.checked_mul(100)? };
        Some(Self { text: text.to_owned(), major })
    }

    /// The version to update to, if this one has a known vulnerability.
    fn update(&self) -> Option<String> {
        let mut numbers = self.text.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
        let (major, minor): (u32, u32) = (numbers.next()?, numbers.next().unwrap_or(0));
        match REPAIRED.iter().find(|(of, _)| *of == major) {
            Some((_, repaired)) => (minor < *repaired).then(|| format!("{major}.{repaired} or later")),
            None => (major < REPAIRED[0].0).then(|| "a version that is still supported".to_owned()),
        }
    }

    /// Of `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    fn of_tool(line: &str) -> Option<Self> {
        Self::parse(line.split_once("(PostgreSQL) ")?.1)
    }
}

/// The base environment of every tool.
pub(crate) fn environment(tool: &Path) -> Vec<(&'static str, OsString)> {
    let mut path = tool.parent().unwrap_or(Path::new("/usr/bin")).as_os_str().to_owned();
    path.push(":/usr/bin:/bin");
    vec![("PATH", path), ("LC_ALL", "C.UTF-8".into())]
}

pub(crate) fn not_started(tool: &Path, error: &io::Error) -> Error {
    Error::Tool { message: format!("{} could not be started: {error}.", tool.display()), detail: None }
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::postgres::tools::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn versions_compare_by_what_counts() {
        let major = |text| Version::parse(text).map(|version| version.major);
        assert_eq!([major("15.18"), major("9.6.24"), major("17beta1")], [Some(1500), Some(906), Some(1700)]);
        assert_eq!([major("10.1"), major(""), major("x")], [Some(1000), None, None]);
        let tool = |line| Version::of_tool(line).map(|version| version.text);
        assert_eq!(tool("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n").as_deref(), Some("15.18"));
        assert_eq!(tool("pg_dump (PostgreSQL) 18devel\n").as_deref(), Some("18devel"));
        assert_eq!(tool("hello"), None);
    }

    #[test]
    fn a_version_with_known_faults_is_told_what_to_become() {
        let update = |text: &str| Version::parse(text).unwrap().update();
        for (old, new) in
            [("14.23", "14.24"), ("15.18", "15.19"), ("17beta1", "17.11"), ("18.5", "18.6"), ("18", "18.6")]
        {
            assert_eq!(update(old), Some(format!("{new} or later")), "{old}");
        }
        for old in ["9.6.24", "13.23"] {
            assert!(update(old).unwrap().contains("still supported"), "{old}");
        }
        for good in ["14.24", "15.19", "16.15", "16.20", "17.11", "18.6", "19beta1", "20.1"] {
            assert_eq!(update(good), None, "{good}");
        }
    }

    #[test]
    fn the_newest_installed_tool_is_found() {
        let versions = tempfile::tempdir().unwrap();
        for version in ["9.6", "10", "9.10", "extra", "16"] {
            let bin = versions.path().join(version).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("pg_dump"), "").unwrap();
            let mode = if version == "16" { 0o644 } else { 0o755 };
            fs::set_permissions(bin.join("pg_dump"), Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(newest(versions.path(), "pg_dump"), Some(versions.path().join("10/bin/pg_dump")));
        assert_eq!(newest(versions.path(), "pg_restore"), None);
        assert_eq!(newest(Path::new("/nonexistent"), "pg_dump"), None);
    }

    #[test]
    fn a_missing_tool_is_named_with_its_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let tools = PostgresTools::new(Some(empty.path().into()), empty.path().into(), OsString::new());
        let said = tools.find("pg_dump").unwrap_err().to_string();
        assert!(said.contains("pg_dump") && said.contains("apt-get install postgresql-client"), "{said}");
        fs::write(empty.path().join("pg_dump"), "").unwrap();
        let said = tools.find("pg_dump").unwrap_err().to_string();
        assert!(said.contains("cannot be executed"), "{said}");
    }

    #[test]
    fn debians_wrapper_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let wrapper = home.path().join("pg_wrapper");
        fs::write(&wrapper, "").unwrap();
        fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&wrapper, home.path().join("pg_dump")).unwrap();
        let tools = PostgresTools::new(None, home.path().into(), home.path().into());
        if let Ok(found) = tools.find("pg_dump") {
            assert!(found.starts_with(VERSIONS), "{}", found.display());
        }
    }
}
