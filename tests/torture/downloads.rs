//! Trials of downloads whose files are deleted or truncated while they are sent.

#![expect(clippy::unnecessary_wraps, reason = "trials return a result; this one runs on any machine")]

use crate::concurrency::put;
use crate::report::{Line, Outcome, Random, Run};
use crate::support::desk::Desk;
use crate::support::holdfast::Served;
use crate::support::http::{Reply, connect_narrow, exchange, reply_of, request};
use holdfast::model::ArchiveFormat;
use holdfast::server::listener::connections::Limits;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// C3, P20: files are deleted or truncated at a random byte of their download.
pub fn downloads(run: Run) -> Outcome {
    let runs = run.scale.of(300, 100);
    let mut random = Random(run.seed);
    let desk = Desk::with(&[]);
    let mut noise = Random(1);
    let bytes: Vec<u8> = (0..EACH / 8).flat_map(|_| noise.next().to_le_bytes()).collect();
    fs::write(desk.at("first"), &bytes).unwrap();
    let many = fill_small(&desk);
    let served = Served::new(desk.router.clone(), Limits::default(), None);
    let plan: Vec<_> = (0..runs).map(|turn| (turn, KINDS[turn % KINDS.len()], random.uniform())).collect();
    let next = AtomicUsize::new(0);
    let ends = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((turn, kind, at)) = plan.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let end = deleted_meanwhile(&desk, served.address, *kind, (*turn, *at), &bytes, &many);
                    ends.lock()
                        .unwrap()
                        .push((*kind, end.map_err(|why| format!("download {turn}, {kind:?}: {why}"))));
                }
            });
        }
    });
    let (mut failures, mut whole, mut broken) = (Vec::new(), 0, BTreeMap::new());
    for (kind, end) in ends.into_inner().unwrap() {
        match end {
            Ok(End::Whole) => whole += 1,
            Ok(End::Broken) => *broken.entry(format!("{kind:?}")).or_insert(0) += 1,
            Err(why) => failures.push(why),
        }
    }
    for kind in [Kind::PastTheHeld, Kind::CutShort] {
        if !broken.contains_key(&format!("{kind:?}")) {
            failures.push(format!("no download was cut off although it had to be: {kind:?}"));
        }
    }
    let caught = (0..5).filter(|_| naive_download(&bytes, random.uniform()).is_err()).count();
    Ok(vec![Line {
        id: "C3",
        what: "downloads of files deleted or truncated meanwhile".to_owned(),
        runs,
        failures,
        caught: (caught, 5),
        notes: format!("byte for byte {whole}, cut off {broken:?}"),
    }])
}

/// Size of each file in bytes.
const EACH: usize = 3 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Zip,
    TarGz,
    /// An archive of so many files that the last one is not held open: the download must be cut off.
    PastTheHeld,
    /// One file, truncated instead of deleted: the download must be cut off.
    CutShort,
}

const KINDS: [Kind; 5] = [Kind::Single, Kind::Zip, Kind::TarGz, Kind::PastTheHeld, Kind::CutShort];

#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    Broken,
}

/// More files than one archive holds open.
fn fill_small(desk: &Desk) -> Vec<String> {
    let bytes = vec![b'x'; 8 * 1024];
    fs::write(desk.at("small"), &bytes).unwrap();
    let names: Vec<_> = (0..300).map(|i| format!("backup_ledger-small-{i:03}.dump.gz")).collect();
    for name in &names {
        put(desk, name, &desk.at("small"), &bytes);
    }
    names
}

fn deleted_meanwhile(
    desk: &Desk,
    server: SocketAddr,
    kind: Kind,
    (turn, at): (usize, f64),
    bytes: &[u8],
    many: &[String],
) -> Result<End, String> {
    let names: Vec<_> = (0..3).map(|i| format!("backup_zz-{turn}-{i}.dump.gz")).collect();
    let names = if matches!(kind, Kind::Zip | Kind::TarGz) { names } else { names[..1].to_vec() };
    for name in &names {
        put(desk, name, &desk.at("first"), bytes);
    }
    if kind == Kind::CutShort {
        fs::remove_file(desk.backup(&names[0])).unwrap();
        fs::write(desk.backup(&names[0]), bytes).unwrap();
    }
    let format = if kind == Kind::TarGz { ArchiveFormat::TarGz } else { ArchiveFormat::Zip };
    let address = match kind {
        Kind::Single | Kind::CutShort => format!("/backups/{}", names[0]),
        _ => {
            let more = if kind == Kind::PastTheHeld { many } else { &[] };
            let all = names.iter().chain(more).cloned().collect();
            desk.holdfast.backups().bundle(1, all, format).unwrap().address.unwrap()
        }
    };
    let request = request("GET", &address, &desk.cookie, "", "");
    let expected = exchange(server, &request).map_err(|error| error.to_string())?;
    if expected.status != 200 || !expected.is_whole() {
        return Err(format!(
            "answered {} with {} bytes while all was well",
            expected.status,
            expected.body.len()
        ));
    }
    // Open files are read to the end. Other files must be deleted before they are read ahead.
    let at = if matches!(kind, Kind::PastTheHeld | Kind::CutShort) { at / 4.0 } else { at };
    let reply = exchange_slowly(server, &request, expected.body.len(), at, || {
        if kind == Kind::CutShort {
            let file = OpenOptions::new().write(true).open(desk.backup(&names[0])).unwrap();
            file.set_len(bytes.len() as u64 / 2).unwrap();
        } else {
            assert_eq!(desk.holdfast.backups().delete(&names).unwrap().gone.len(), names.len());
        }
    })
    .map_err(|error| error.to_string())?;
    let after = exchange(server, &request).map_or(0, |reply| reply.status);
    let _ = desk.holdfast.backups().delete(&names);
    let end = judged(&reply, &expected.body)?;
    match (kind, end, after) {
        (Kind::Single | Kind::Zip | Kind::TarGz, End::Broken, _) => {
            Err("was cut off, although held open".to_owned())
        }
        (Kind::CutShort, end, 200) | (_, end, 404 | 409) => Ok(end),
        (_, _, after) => Err(format!("answers {after} after it was deleted")),
    }
}

/// Whether a download is complete or cut off; an error if it looks complete and is not.
fn judged(reply: &Reply, expected: &[u8]) -> Result<End, String> {
    if reply.status != 200 {
        return Err(format!("answered {}", reply.status));
    }
    match (reply.is_whole(), reply.body == expected) {
        (true, true) => Ok(End::Whole),
        (true, false) => {
            Err(format!("a silent truncation: {} bytes of {}", reply.body.len(), expected.len()))
        }
        (false, _) if expected.starts_with(&reply.body) => Ok(End::Broken),
        (false, _) => Err("cut off, and wrong before that".to_owned()),
    }
}

/// Reads a part of the response, runs `meanwhile`, and reads the rest.
fn exchange_slowly(
    server: SocketAddr,
    request: &str,
    size: usize,
    at: f64,
    meanwhile: impl FnOnce(),
) -> io::Result<Reply> {
    let mut stream = connect_narrow(server)?;
    stream.write_all(request.as_bytes())?;
    let part = (0..size / 1000)
        .take_while(|i| {
            (f64::from(u32::try_from(*i).unwrap()) * 1000.0) < at * f64::from(u32::try_from(size).unwrap())
        })
        .count();
    let mut bytes = vec![0; part * 1000];
    stream.read_exact(&mut bytes)?;
    meanwhile();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
        _ => {}
    }
    reply_of(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The control: opens the file by name for each piece, and announces no length. A deletion looks like the end of the
/// file.
fn naive_download(bytes: &[u8], at: f64) -> Result<End, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, bytes).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.read_exact(&mut [0; 16])?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            let mut piece = vec![0; 64 * 1024];
            for start in (0..bytes.len()).step_by(piece.len()) {
                let Ok(file) = File::open(&path) else { break };
                let read = file.read_at(&mut piece, start as u64)?;
                stream.write_all(&piece[..read])?;
            }
            stream.shutdown(Shutdown::Write)
        });
        let reply = exchange_slowly(server, "GET / HTTP/1.1\r\n\r\n", bytes.len(), at / 4.0, || {
            fs::remove_file(&path).unwrap();
        });
        judged(&reply.map_err(|error| error.to_string())?, bytes)
    })
}
