//! A SQLite database as its URL names it: a local file.

use crate::domain::engines::engine::{Database, EngineContext, Location, Target};
use crate::domain::engines::sqlite::database::Sqlite;
use crate::domain::engines::url::decode;
use crate::domain::jobs::cancel::Cancel;
use crate::model::{DatabaseName, EngineKind};
use std::any::Any;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// What manifests call SQLite.
pub const KIND: EngineKind = EngineKind::new("sqlite");

/// Most bytes of a file's name on Linux.
const LONGEST_NAME: usize = 255;
/// Most bytes of a path on Linux.
const LONGEST_PATH: usize = 4095;

/// A SQLite file, by absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteFile(pub PathBuf);

impl SqliteFile {
    /// Parses the path after `sqlite://`.
    pub fn parse(rest: &str) -> Result<Self, String> {
        if rest.contains('?') {
            return Err(
            "it contains a `?`, but a sqlite:// URL has no parameters; remove the ? and what follows, or \
             write %3F if it is part of the path"
                .into(),
        );
        }
        if !rest.starts_with('/') {
            return Err(
                "the path of the SQLite file must be absolute: sqlite:///var/lib/app/app.db, with three \
                 slashes"
                    .into(),
            );
        }
        let bytes = decode("path", rest)?;
        if bytes.iter().any(u8::is_ascii_control) {
            return Err("the path of the SQLite file contains a control character".into());
        }
        if bytes.ends_with(b"/") {
            return Err("the path of the SQLite file ends with a slash; name the file itself".into());
        }
        Ok(Self(OsString::from_vec(bytes).into()))
    }
}

impl Location for SqliteFile {
    fn kind(&self) -> EngineKind {
        KIND
    }

    fn address(&self) -> String {
        self.0.display().to_string()
    }

    fn own_name(&self) -> String {
        self.0.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }

    fn is_same(&self, other: &dyn Location, _context: &EngineContext, _cancel: &Cancel) -> bool {
        let Some(Self(other)) = other.as_any().downcast_ref() else { return false };
        let number = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
        match (number(&self.0), number(other)) {
            (Some(one), Some(other)) => one == other,
            _ => self.0 == *other,
        }
    }

    fn beside(&self, name: &str) -> Result<Target, String> {
        let new = self.0.parent().unwrap_or(Path::new("/")).join(name);
        let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        if name.ends_with('/') || !new.components().all(plain) {
            return Err("it must be a file name, or an absolute path that does not contain \"..\"".to_owned());
        }
        let too_long = |part: Component<'_>| part.as_os_str().len() > LONGEST_NAME;
        if new.as_os_str().len() > LONGEST_PATH || new.components().any(too_long) {
            return Err(format!("it is too long: a file name has at most {LONGEST_NAME} bytes"));
        }
        Ok(Target::new(Self(new)))
    }

    fn database(
        &self,
        name: DatabaseName,
        _context: &EngineContext,
        _setting: &'static str,
    ) -> Arc<dyn Database> {
        Arc::new(Sqlite::new(name, self.0.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
