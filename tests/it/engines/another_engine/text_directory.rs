//! An engine of the tests' own: a database is a directory of text files, a backup a tar of them, a row a line.

#![expect(clippy::unwrap_used, reason = "tests")]

use holdfast::domain::Result;
use holdfast::domain::engines::Cancel;
use holdfast::domain::engines::engine::{
    Backup, Check, Checked, Counts, Database, Dump, Ended, Engine, EngineContext, Existing, Location, Plan,
    Planned, Probe, Restore, Restored, Restoring, Target, Test, Tested, own,
};
use holdfast::domain::error::Error;
use holdfast::model::{DatabaseName, EngineKind, Proof};
use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory that every archive begins with.
const ROOT: &str = "text-directory/";

/// The files of a database, by name.
type Files = BTreeMap<String, String>;

pub struct TextDirectory;

impl Engine for TextDirectory {
    fn kind(&self) -> EngineKind {
        EngineKind::new("text-directory")
    }

    fn label(&self) -> &'static str {
        "Text directory"
    }

    fn content(&self) -> &'static str {
        "a tar of text files"
    }

    fn backup_format(&self) -> &'static str {
        "text-tar"
    }

    fn importable(&self) -> &'static str {
        "tars of text directories"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["textdir"]
    }

    fn url_example(&self) -> &'static str {
        "textdir:///absolute/directory"
    }

    fn locate(&self, rest: &str) -> Result<Target, String> {
        if !rest.starts_with('/') {
            return Err("the directory must be absolute".to_owned());
        }
        Ok(Target::new(Place(rest.into())))
    }

    fn recognises(&self, beginning: &[u8]) -> bool {
        beginning.starts_with(ROOT.as_bytes())
    }

    fn check(&self, check: &Check<'_>) -> Result<Checked> {
        let mut content = check.content(None);
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        while let read @ 1.. = content.next(&mut buffer)? {
            bytes.extend_from_slice(&buffer[..read]);
        }
        let sums = content.finish()?;
        let (files, fault) = match unpacked(&bytes) {
            Ok(files) => (files, None),
            Err(fault) => (Files::new(), Some(fault)),
        };
        Ok(Checked {
            sums,
            fault,
            proof: Proof::Readable,
            counted: None,
            remarks: Vec::new(),
            sentence: "It holds a tar of text files.".to_owned(),
            kept: Box::new(files),
        })
    }

    fn is_tested_on_a_server(&self) -> bool {
        true
    }
}

/// Where such a database is.
#[derive(Debug, Clone)]
struct Place(PathBuf);

impl Location for Place {
    fn kind(&self) -> EngineKind {
        TextDirectory.kind()
    }

    fn address(&self) -> String {
        self.0.display().to_string()
    }

    fn own_name(&self) -> String {
        self.0.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn is_same(&self, other: &dyn Location, _: &EngineContext, _: &Cancel) -> bool {
        let other = other.as_any().downcast_ref::<Self>();
        other.is_some_and(|other| self.0.canonicalize().ok() == other.0.canonicalize().ok())
    }

    fn beside(&self, name: &str) -> Result<Target, String> {
        Ok(Target::new(Self(self.0.with_file_name(name))))
    }

    fn database(&self, name: DatabaseName, _: &EngineContext, _: &'static str) -> Arc<dyn Database> {
        Arc::new(Directory { name, path: self.0.clone() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct Directory {
    name: DatabaseName,
    path: PathBuf,
}

impl Database for Directory {
    fn kind(&self) -> EngineKind {
        TextDirectory.kind()
    }

    fn address(&self) -> String {
        self.path.display().to_string()
    }

    fn probe(&self) -> Result<Probe> {
        let files = read(&self.path).map_err(|reason| Error::Unreachable {
            database: self.name.clone(),
            reason: format!("{reason}."),
        })?;
        Ok(Probe { version: "1".to_owned(), size: size(&files), warning: None })
    }

    fn begin(&self, _scratch: &Path, _cancel: &Cancel) -> Result<Box<dyn Dump>> {
        let files = read(&self.path).map_err(Error::Refused)?;
        let counted = counts(&files);
        Ok(Box::new(Dumping { bytes: Cursor::new(packed(&files)), counted }))
    }

    fn plan(&self, _plan: &Plan<'_>) -> Result<Planned> {
        let replaces = read(&self.path).ok().map(|files| size(&files));
        let facts = vec![("Kind of place".to_owned(), "a directory".to_owned())];
        Ok(Planned { facts, warnings: Vec::new(), replaces, typed: "all of it".to_owned() })
    }

    fn restore<'r>(&'r self, _how: &Restoring<'r>) -> Result<Box<dyn Restore<'r> + 'r>> {
        let existing =
            read(&self.path).ok().map(|files| Existing { size: size(&files), ..Existing::default() });
        Ok(Box::new(Filling { path: &self.path, existing, filled: None }))
    }

    fn test_restore(&self, backup: Backup<'_>, _test: &Test<'_>) -> Result<Tested> {
        let files: Files = own(backup.kept)?;
        let scratch = beside(&self.path, "test");
        write(&scratch, &files);
        let read_back = read(&scratch);
        fs::remove_dir_all(&scratch).unwrap();
        Ok(match read_back {
            Ok(found) if found == files => Tested::Whole(restored(&files)),
            Ok(_) => Tested::NotRestorable(Error::Refused("Some files are missing.".to_owned())),
            Err(reason) => Tested::NotTried(Error::Refused(reason)),
        })
    }
}

struct Dumping {
    bytes: Cursor<Vec<u8>>,
    counted: Counts,
}

impl Read for Dumping {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl Dump for Dumping {
    fn total(&self) -> Option<u64> {
        Some(self.bytes.get_ref().len() as u64)
    }

    fn finish(self: Box<Self>) -> Result<Ended> {
        Ok(Ended { counted: Some(self.counted), ..Ended::default() })
    }
}

struct Filling<'r> {
    path: &'r Path,
    existing: Option<Existing>,
    filled: Option<Files>,
}

impl<'r> Restore<'r> for Filling<'r> {
    fn existing(&self) -> Option<&Existing> {
        self.existing.as_ref()
    }

    fn fill(&mut self, backup: Backup<'r>) -> Result<()> {
        let files: Files = own(backup.kept)?;
        write(&beside(self.path, "new"), &files);
        self.filled = Some(files);
        Ok(())
    }

    fn put_new(self: Box<Self>) -> Result<Option<Restored>> {
        fs::rename(beside(self.path, "new"), self.path).unwrap();
        Ok(self.filled.as_ref().map(restored))
    }

    fn put_over(self: Box<Self>) -> Result<Option<Restored>> {
        let old = beside(self.path, "old");
        fs::rename(self.path, &old).unwrap();
        fs::rename(beside(self.path, "new"), self.path).unwrap();
        fs::remove_dir_all(old).unwrap();
        Ok(self.filled.as_ref().map(restored))
    }
}

fn beside(path: &Path, what: &str) -> PathBuf {
    path.with_file_name(format!(".{what}-{}", path.file_name().unwrap().display()))
}

fn restored(files: &Files) -> Restored {
    Restored { counts: counts(files), is_alike: true, ..Restored::default() }
}

fn counts(files: &Files) -> Counts {
    Counts { tables: files.len() as u64, rows: files.values().map(|text| text.lines().count() as u64).sum() }
}

fn size(files: &Files) -> u64 {
    files.values().map(|text| text.len() as u64).sum()
}

fn read(path: &Path) -> Result<Files, String> {
    let entries =
        fs::read_dir(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap())
    };
    Ok(entries.map(file).collect())
}

fn write(path: &Path, files: &Files) {
    fs::create_dir(path).unwrap();
    for (name, text) in files {
        fs::write(path.join(name), text).unwrap();
    }
}

fn packed(files: &Files) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = |name: &str, bytes: &[u8], kind| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    header(ROOT, &[], tar::EntryType::Directory);
    for (name, text) in files {
        header(&format!("{ROOT}{name}"), text.as_bytes(), tar::EntryType::Regular);
    }
    archive.into_inner().unwrap()
}

/// The files of an archive, or what is wrong with it.
fn unpacked(bytes: &[u8]) -> Result<Files, String> {
    let mut archive = tar::Archive::new(bytes);
    let mut files = Files::new();
    for entry in archive.entries().map_err(|error| error.to_string())?.skip(1) {
        let mut entry = entry.map_err(|error| format!("its tar is damaged: {error}"))?;
        let name = entry.path().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|_| format!("its file {name} is not text"))?;
        files.insert(name, text);
    }
    Ok(files)
}
