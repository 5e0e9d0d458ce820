//! A delayed connection to a server on this machine: every byte arrives a fixed time after it was sent, without a limit
//! on throughput.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const BLOCK: usize = 256 * 1024;

/// Opens a port that forwards to the port `to`, with `delay` in each direction, until the program ends. Returns the
/// port.
pub fn stretch(to: u16, delay: Duration) -> u16 {
    let (listener, port) = listen();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = connect(to);
            near.set_nodelay(true).expect("a socket that can be set");
            hold(near.try_clone().expect("a descriptor"), far.try_clone().expect("a descriptor"), delay);
            hold(far, near, delay);
        }
    });
    port
}

/// Measures a delayed connection by itself: the round trip of one byte, and the MB/s of `bytes`.
pub fn control(delay: Duration, bytes: u64) -> (Duration, f64) {
    let (listener, port) = listen();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("a socket that can be set");
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        stream.write_all(&byte).expect("an answer");
        std::io::copy(&mut stream, &mut std::io::sink()).expect("the rest");
        stream.write_all(&byte).expect("an answer");
    });
    let mut stream = connect(stretch(port, delay));
    let mut byte = [0];
    let began = Instant::now();
    stream.write_all(&byte).expect("a way there");
    stream.read_exact(&mut byte).expect("an answer");
    let round_trip = began.elapsed();
    let began = Instant::now();
    std::io::copy(
        &mut std::io::repeat(7).take(bytes),
        &mut std::io::BufWriter::with_capacity(BLOCK, &stream),
    )
    .expect("a way there");
    stream.shutdown(Shutdown::Write).expect("an end");
    stream.read_exact(&mut byte).expect("an answer");
    (round_trip, super::megabytes(bytes) / began.elapsed().as_secs_f64())
}

/// Reads as fast as bytes arrive, so that the amount in transit is not limited.
fn hold(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (queue, held) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut block = vec![0; BLOCK];
        while let Ok(read @ 1..) = from.read(&mut block) {
            if queue.send((Instant::now() + delay, block[..read].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in held {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server");
    stream.set_nodelay(true).expect("a socket that can be set");
    stream
}
