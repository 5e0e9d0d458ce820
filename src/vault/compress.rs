//! One pass from a dump's stream to the draft: gzip, SHA-256 and CRC-32, nothing read twice.

use crate::vault::dump::Cancel;
use crate::vault::error::{Result, VaultError};
use data_encoding::HEXLOWER;
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// zlib-rs' level 4 equals `gzip -6` in size at less CPU; 1 costs a third more bytes, 9 gains nothing.
const LEVEL: u32 = 4;

const BLOCK: usize = 256 * 1024;

/// What the pass learnt. Sums are lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Bytes read.
    pub content_size: u64,
    /// SHA-256 of the bytes read.
    pub content_sha256: String,
    /// Bytes written.
    pub payload_size: u64,
    /// SHA-256 of the bytes written.
    pub payload_sha256: String,
    /// CRC-32 of the bytes written.
    pub payload_crc32: String,
}

/// Reads `source` to its end and writes it to `target` as one gzip member. `path` names the target in
/// errors; `progress` hears the bytes read and written so far. Memory is flat.
pub fn compress(
    source: &mut dyn Read,
    target: &File,
    path: &Path,
    cancel: &Cancel,
    progress: &dyn Fn(u64, u64),
) -> Result<Summary> {
    let failed = |error| VaultError::file("Writing", path, error);
    let mut content = Sha256::new();
    let mut content_size = 0;
    // No file name and no time in the header: equal content gives equal files.
    let mut gzip = GzBuilder::new().write(Tally::new(target), Compression::new(LEVEL));
    let mut block = vec![0; BLOCK];
    loop {
        if cancel.is_cancelled() {
            return Err(VaultError::Cancelled);
        }
        let read = match source.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(VaultError::file("Reading the dump for", path, error)),
        };
        content.update(&block[..read]);
        content_size += read as u64;
        gzip.write_all(&block[..read]).map_err(failed)?;
        progress(content_size, gzip.get_ref().size);
    }
    let tally = gzip.finish().map_err(failed)?;
    progress(content_size, tally.size);
    Ok(Summary {
        content_size,
        content_sha256: HEXLOWER.encode(&content.finalize()),
        payload_size: tally.size,
        payload_sha256: HEXLOWER.encode(&tally.sha256.finalize()),
        payload_crc32: format!("{:08x}", tally.crc32.finalize()),
    })
}

/// Counts and hashes what passes through on its way to the file.
struct Tally<'f> {
    file: &'f File,
    sha256: Sha256,
    crc32: crc32fast::Hasher,
    size: u64,
}

impl<'f> Tally<'f> {
    fn new(file: &'f File) -> Self {
        Self { file, sha256: Sha256::new(), crc32: crc32fast::Hasher::new(), size: 0 }
    }
}

impl Write for Tally<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.crc32.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    fn round_trip(input: &[u8]) -> (Summary, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let summary =
            compress(&mut &input[..], file.as_file(), file.path(), &Cancel::default(), &|_, _| ()).unwrap();
        (summary, std::fs::read(file.path()).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_went_in_comes_out_and_the_sums_are_of_the_file(
            seed in proptest::collection::vec(any::<u8>(), 0..600), repeat in 1usize..800
        ) {
            let input = seed.repeat(repeat);
            let (summary, payload) = round_trip(&input);
            let mut output = Vec::new();
            GzDecoder::new(&payload[..]).read_to_end(&mut output).unwrap();
            prop_assert_eq!(&output, &input);
            prop_assert_eq!(summary.content_size, input.len() as u64);
            prop_assert_eq!(summary.payload_size, payload.len() as u64);
            prop_assert_eq!(summary.payload_sha256, HEXLOWER.encode(&Sha256::digest(&payload)));
            prop_assert_eq!(summary.content_sha256, HEXLOWER.encode(&Sha256::digest(&input)));
            prop_assert_eq!(summary.payload_crc32, format!("{:08x}", crc32fast::hash(&payload)));
        }
    }

    #[test]
    fn a_cancelled_pass_ends_without_a_summary() {
        let cancel = Cancel::default();
        cancel.cancel();
        let file = tempfile::tempfile().unwrap();
        let result = compress(&mut io::repeat(7), &file, Path::new("x"), &cancel, &|_, _| ());
        assert!(matches!(result, Err(VaultError::Cancelled)));
    }
}
