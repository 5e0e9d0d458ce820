//! Compresses a dump into the draft in one pass: gzip on several threads, SHA-256 and CRC-32. Reads no byte twice.
//!
//! The file is a single gzip member (RFC 1952), because some readers stop after the first. As in pigz, blocks are
//! compressed in parallel, each with the end of the previous block as its dictionary, and each ends on a byte
//! boundary, so that they can be joined. Equal content gives equal files, whatever the number of threads.

use crate::domain::error::{Error, Result};
use crate::domain::jobs::cancel::Cancel;
use data_encoding::HEXLOWER;
use flate2::{Compress, FlushCompress, Status};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Level 4 of zlib-rs compresses like `gzip -6` with less CPU. Level 1 makes files a third larger, 9 gains nothing.
const LEVEL: u8 = 4;

/// The most threads by default: more would only wait for the dump tool.
const THREADS: usize = 4;

/// The size of a block, in bytes.
const BLOCK: usize = 256 * 1024;

/// How far back deflate can refer, in bytes.
const DICTIONARY: usize = 32 * 1024;

/// How many blocks can wait before and after each thread.
const WAITING: usize = 2;

/// The gzip header: deflate, no file name, no time, no level, unknown system (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];

/// The compression level and the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// The level: 1 is fastest, 9 smallest.
    pub level: u8,
    /// How many blocks are compressed at the same time.
    pub threads: usize,
}

impl Default for Effort {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { level: LEVEL, threads: cores.min(THREADS) }
    }
}

/// Sizes in bytes, and checksums in lower-case hexadecimal.
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

/// Reads `source` to its end and writes it to `target` as one gzip member. `path` is the target's path, for errors.
/// `progress` receives the bytes read and written so far. Uses constant memory.
pub fn compress(
    source: &mut dyn Read,
    target: &File,
    path: &Path,
    effort: Effort,
    cancel: &Cancel,
    progress: &dyn Fn(u64, u64),
) -> Result<Summary> {
    let written = AtomicU64::new(0);
    thread::scope(|scope| {
        let no_thread = |error| Error::file("Starting a thread to compress", path, error);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..effort.threads.max(1) {
            let (input, blocks) = sync_channel(WAITING);
            let (done, output) = sync_channel(WAITING);
            let pack = move || pack_all(&blocks, &done, effort.level);
            thread::Builder::new().spawn_scoped(scope, pack).map_err(no_thread)?;
            inputs.push(input);
            outputs.push(output);
        }
        let written = &written;
        let join = move || write_all(&outputs, target, written);
        let writer = thread::Builder::new().spawn_scoped(scope, join).map_err(no_thread)?;
        let told = |read| progress(read, written.load(Ordering::Relaxed));
        let read = read_all(source, path, &inputs, cancel, &told);
        // This ends the threads, and then the writer.
        drop(inputs);
        let wrote = writer.join().map_err(|_| Error::Lost)?;
        // If the writer failed, the reader's error is only a consequence.
        let tally = wrote.map_err(|error| Error::file("Writing", path, error))?;
        let (content_size, content) = read?;
        let tally = tally.filter(|tally| tally.content_size == content_size).ok_or(Error::Lost)?;
        progress(content_size, tally.size);
        Ok(Summary {
            content_size,
            content_sha256: HEXLOWER.encode(&content.finalize()),
            payload_size: tally.size,
            payload_sha256: HEXLOWER.encode(&tally.sha256.finalize()),
            payload_crc32: format!("{:08x}", tally.crc32.finalize()),
        })
    })
}

/// A block of the content, with the previous block as its dictionary.
struct Block {
    bytes: Arc<[u8]>,
    before: Option<Arc<[u8]>>,
    is_last: bool,
}

/// A compressed block.
struct Packed {
    bytes: Vec<u8>,
    content: crc32fast::Hasher,
    content_size: u64,
    is_last: bool,
}

/// Cuts the content into blocks and gives them to the threads in turn. Returns the size and checksum of the content.
fn read_all(
    source: &mut dyn Read,
    path: &Path,
    threads: &[SyncSender<Block>],
    cancel: &Cancel,
    progress: &dyn Fn(u64),
) -> Result<(u64, Sha256)> {
    let (mut size, mut sum) = (0, Sha256::new());
    let mut before: Option<Arc<[u8]>> = None;
    let mut buffer = vec![0; BLOCK];
    for thread in threads.iter().cycle() {
        let mut filled = 0;
        let mut ended = false;
        while filled < BLOCK && !ended {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            match source.read(&mut buffer[filled..]) {
                Ok(0) => ended = true,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::file("Reading the dump for", path, error)),
            }
        }
        sum.update(&buffer[..filled]);
        size += filled as u64;
        let bytes: Arc<[u8]> = buffer[..filled].into();
        let block = Block { bytes: Arc::clone(&bytes), before: before.replace(bytes), is_last: ended };
        if thread.send(block).is_err() {
            // The writer has failed and reports the reason.
            return Err(Error::Lost);
        }
        progress(size);
        if ended {
            break;
        }
    }
    Ok((size, sum))
}

/// Runs one thread: compresses its share of the blocks, in order.
fn pack_all(blocks: &Receiver<Block>, done: &SyncSender<io::Result<Packed>>, level: u8) {
    for block in blocks {
        if done.send(pack(&block, level)).is_err() {
            break;
        }
    }
}

fn pack(block: &Block, level: u8) -> io::Result<Packed> {
    // A new compressor each time: after a reset, the last block would still influence the output.
    let mut deflate = Compress::new(flate2::Compression::new(u32::from(level)), false);
    if let Some(before) = &block.before {
        deflate.set_dictionary(&before[before.len().saturating_sub(DICTIONARY)..])?;
    }
    let flush = if block.is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut bytes = Vec::with_capacity(block.bytes.len() / 2);
    loop {
        let taken = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        bytes.reserve(BLOCK / 8);
        let status = deflate.compress_vec(&block.bytes[taken..], &mut bytes, flush)?;
        // A flush is complete once the buffer has room left.
        let is_flushed = !block.is_last && bytes.len() < bytes.capacity();
        if status == Status::StreamEnd || is_flushed {
            break;
        }
    }
    if deflate.total_in() != block.bytes.len() as u64 {
        return Err(io::Error::other("the compressor skipped some of its input"));
    }
    let mut content = crc32fast::Hasher::new();
    content.update(&block.bytes);
    Ok(Packed { bytes, content, content_size: block.bytes.len() as u64, is_last: block.is_last })
}

/// Writes the compressed blocks in order. Returns `None` if the last block is missing.
fn write_all<'f>(
    threads: &[Receiver<io::Result<Packed>>],
    file: &'f File,
    written: &AtomicU64,
) -> io::Result<Option<Tally<'f>>> {
    let mut tally = Tally::new(file);
    tally.write_all(&HEADER)?;
    for thread in threads.iter().cycle() {
        let Ok(packed) = thread.recv() else { break };
        let packed = packed?;
        tally.write_all(&packed.bytes)?;
        tally.content.combine(&packed.content);
        tally.content_size += packed.content_size;
        written.store(tally.size, Ordering::Relaxed);
        if packed.is_last {
            let crc32 = tally.content.clone().finalize();
            tally.write_all(&crc32.to_le_bytes())?;
            // The format stores the size modulo 2^32.
            let size = tally.content_size.to_le_bytes();
            tally.write_all(&size[..4])?;
            return Ok(Some(tally));
        }
    }
    Ok(None)
}

/// Counts and hashes the bytes written to the file, and the content in them.
struct Tally<'f> {
    file: &'f File,
    sha256: Sha256,
    crc32: crc32fast::Hasher,
    size: u64,
    content: crc32fast::Hasher,
    content_size: u64,
}

impl<'f> Tally<'f> {
    fn new(file: &'f File) -> Self {
        let crc32 = crc32fast::Hasher::new();
        Self { file, sha256: Sha256::new(), content: crc32.clone(), crc32, size: 0, content_size: 0 }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.sha256.update(bytes);
        self.crc32.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::operations::compress::*;
    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;
    use std::io::Seek as _;
    use std::process::Command;

    const PLAIN: Effort = Effort { level: LEVEL, threads: 2 };

    /// Returns its bytes in pieces, as a pipe does.
    struct Pieces<'i>(&'i [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(buffer.len());
            self.0.read(&mut buffer[..size])
        }
    }

    fn pass(input: &[u8], piece: usize, effort: Effort) -> (Summary, Vec<u8>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut source = Pieces(input, piece);
        let summary =
            compress(&mut source, file.as_file(), file.path(), effort, &Cancel::default(), &|_, _| ())
                .unwrap();
        (summary, std::fs::read(file.path()).unwrap())
    }

    /// The content of the first member. Checks that nothing follows it.
    fn content_of(payload: &[u8]) -> Vec<u8> {
        let mut member = GzDecoder::new(payload);
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        assert_eq!(member.into_inner(), [0; 0], "more than one member");
        content
    }

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        (0..size.div_ceil(8)).flat_map(|_| next()).take(size).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_went_in_comes_out_and_the_sums_are_of_the_file(
            seed in proptest::collection::vec(any::<u8>(), 0..600),
            repeat in 1usize..3000,
            around in proptest::option::of((1usize..4, -2isize..3)),
            piece in 1usize..400_000,
            level in 1u8..10,
            threads in 1usize..6,
        ) {
            let mut input = seed.repeat(repeat);
            if let Some((blocks, off)) = around {
                // Ends at, just before or just after the end of a block.
                input.resize((blocks * BLOCK).saturating_add_signed(off), 7);
            }
            let (summary, payload) = pass(&input, piece, Effort { level, threads });
            prop_assert!(content_of(&payload) == input);
            prop_assert_eq!(summary.content_size, input.len() as u64);
            prop_assert_eq!(summary.payload_size, payload.len() as u64);
            prop_assert_eq!(summary.payload_sha256, HEXLOWER.encode(&Sha256::digest(&payload)));
            prop_assert_eq!(summary.content_sha256, HEXLOWER.encode(&Sha256::digest(&input)));
            prop_assert_eq!(summary.payload_crc32, format!("{:08x}", crc32fast::hash(&payload)));
        }
    }

    #[test]
    fn equal_content_gives_equal_files_whatever_the_threads_and_pieces() {
        let input: Vec<u8> = noise(700_000).iter().map(|byte| byte % 16).collect();
        let [one, two, five] = [(1, 1_000_000), (2, 4096), (5, 77_777)]
            .map(|(threads, piece)| pass(&input, piece, Effort { threads, ..PLAIN }));
        assert!(one == two && one == five);
    }

    #[test]
    fn what_cannot_be_compressed_grows_by_little() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let input = noise(size);
            let (summary, payload) = pass(&input, 65_536, PLAIN);
            assert!(content_of(&payload) == input, "{size}");
            assert!(summary.payload_size < summary.content_size + 300, "{size}: {}", summary.payload_size);
        }
    }

    /// The output of a program that reads `payload`; `None` if the program fails.
    fn told_by(command: &[&str], payload: &[u8]) -> Option<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(payload).unwrap();
        file.seek(io::SeekFrom::Start(0)).unwrap();
        let output = Command::new(command[0])
            .args(&command[1..])
            .stdin(file)
            .output()
            .unwrap_or_else(|error| panic!("{}, which scripts/setup installs: {error}", command[0]));
        output.status.success().then_some(output.stdout)
    }

    /// Checks with foreign programs: gzip, pigz and Python's gzip.
    #[test]
    fn other_programs_read_it() {
        let python = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
        let readers = [&["gzip", "-dc"][..], &["pigz", "-dc"], &["python3", "-c", python]];
        let testers = [["gzip", "-t"], ["pigz", "-t"]];
        // Empty, exactly one block, and many blocks.
        for size in [0, BLOCK, 2_000_001] {
            let input: Vec<u8> = noise(size).iter().map(|byte| byte % 32).collect();
            let (_, payload) = pass(&input, 100_000, PLAIN);
            for reader in readers {
                assert!(told_by(reader, &payload) == Some(input.clone()), "{reader:?}, {size} bytes");
            }
            for tester in testers {
                assert_eq!(told_by(&tester, &payload), Some(Vec::new()), "{tester:?}, {size} bytes");
            }
            // The control: a wrong byte, and a missing end.
            let mut wrong = payload.clone();
            let at = HEADER.len() + (payload.len() - HEADER.len()) / 2;
            wrong[at] ^= 4;
            for damaged in [&wrong, &payload[..payload.len() - 1]] {
                for command in readers.into_iter().chain(testers.iter().map(|tester| &tester[..])) {
                    assert_eq!(told_by(command, damaged), None, "{command:?} is content, {size} bytes");
                }
            }
        }
    }

    #[test]
    fn a_cancelled_pass_ends_without_a_summary() {
        let cancel = Cancel::default();
        cancel.cancel();
        let file = tempfile::tempfile().unwrap();
        let result = compress(&mut io::repeat(7), &file, Path::new("x"), PLAIN, &cancel, &|_, _| ());
        assert!(matches!(result, Err(Error::Cancelled)));
    }

    #[test]
    fn a_target_that_takes_no_more_ends_an_endless_source() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let path = Path::new("/dev/full");
        let result = compress(&mut io::repeat(7), &full, path, PLAIN, &Cancel::default(), &|_, _| ());
        assert!(matches!(result, Err(Error::DiskFull { .. })), "{result:?}");
    }

    #[test]
    fn a_source_that_breaks_is_named_as_the_reason() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("torn"))?;
                Ok(buffer.len())
            }
        }
        for blocks in [0, 1, 40] {
            let file = tempfile::tempfile().unwrap();
            let result =
                compress(&mut Broken(blocks), &file, Path::new("x"), PLAIN, &Cancel::default(), &|_, _| ());
            assert!(matches!(result, Err(Error::File { doing: "Reading the dump for", .. })), "{result:?}");
        }
    }
}
