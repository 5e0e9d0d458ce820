//! A running dump: reads the checked copy.

use crate::domain::engines::engine::{Dump, Ended};
use crate::domain::engines::sqlite::health::Health;
use crate::domain::engines::sqlite::wait::Copy;
use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use std::fs::File;
use std::io::{self, Read};

/// The checked copy, being read.
pub(super) struct SqliteDump {
    file: File,
    total: u64,
    read: u64,
    cancel: Cancel,
    copy: Copy,
    health: Health,
}

impl SqliteDump {
    /// The dump that reads `copy`, with the health found by the check.
    pub fn of(copy: Copy, health: Health, cancel: &Cancel) -> Result<Self> {
        let file = File::open(&copy.0).map_err(|error| Error::file("Reading", &copy.0, error))?;
        let total = file.metadata().map_err(|error| Error::file("Reading", &copy.0, error))?.len();
        Ok(Self { file, total, read: 0, cancel: cancel.clone(), copy, health })
    }
}

impl Read for SqliteDump {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Ok(0);
        }
        let read = self.file.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

impl Dump for SqliteDump {
    fn total(&self) -> Option<u64> {
        Some(self.total)
    }

    fn finish(self: Box<Self>) -> Result<Ended> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if self.read == self.total {
            let Health { counts, remarks, .. } = self.health;
            return Ok(Ended { remarks, counted: Some(counts), ..Ended::default() });
        }
        let left = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{} of {} bytes were read", self.read, self.total),
        );
        Err(Error::file("Reading", &self.copy.0, left))
    }
}
