//! Runs an engine's external tool: its life is tied to ours, its output is a stream with a deadline, its
//! messages are capped and without secrets.

use crate::domain::jobs::cancel::Cancel;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use secrecy::{ExposeSecret, SecretString};
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much of a tool's messages is kept, in bytes: the beginning, where the cause is, and the end.
const HEAD: usize = 48 << 10;
const TAIL: usize = 16 << 10;
/// How often a wait checks for cancellation.
const GLANCE: Duration = Duration::from_millis(200);
/// How long to wait for a killed child.
const GONE: Duration = Duration::from_secs(5);

/// What to run, and how.
pub struct Launch<'a> {
    /// The program, by absolute path.
    pub program: &'a Path,
    /// Its arguments. Every user of the machine can read them, so they contain no secrets and no user input.
    pub args: &'a [&'a str],
    /// Its complete environment.
    pub env: Vec<(&'a str, OsString)>,
    /// The `PATH` for finding `setpriv`.
    pub path: &'a OsStr,
    /// Whether it gets input, by [`Child::feed`].
    pub fed: bool,
    /// How long it may send no byte, or not exit after the last one.
    pub stall: Duration,
    /// Secrets to remove from its messages.
    pub secrets: Vec<SecretString>,
}

/// A running tool. Reading returns its output; a cancelled or hung tool is killed, and its output just ends.
/// Dropped before [`Child::finish`], the tool is killed and reaped.
pub struct Child {
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    group: Arc<Group>,
    exit: Receiver<(io::Result<ExitStatus>, String)>,
    cancel: Cancel,
    stall: Duration,
    hung: bool,
    at_end: bool,
    reaped: bool,
}

/// How a tool ended.
#[derive(Debug)]
pub enum End {
    /// It exited, or was killed by a signal that was not ours; with its messages.
    Exited(ExitStatus, String),
    /// It was cancelled.
    Cancelled,
    /// It was killed for being silent too long; with its messages.
    Hung(String),
    /// It was killed because its output was not read to the end.
    Unread,
}

impl Child {
    /// Starts the tool in its own process group.
    pub fn spawn(launch: Launch<'_>, cancel: &Cancel) -> io::Result<Self> {
        Self::spawn_heard(launch, cancel, |_| ())
    }

    /// The same, passing all messages on as they arrive, secrets included.
    pub fn spawn_heard(
        launch: Launch<'_>,
        cancel: &Cancel,
        heard: impl FnMut(&[u8]) + Send + 'static,
    ) -> io::Result<Self> {
        let mut command = tied_to_us(launch.program, launch.path);
        command
            .args(launch.args)
            .env_clear()
            .envs(launch.env)
            .current_dir("/")
            .stdin(if launch.fed { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let group = Arc::new(Group::default());
        let secrets = launch.secrets;
        let (started, has_started) = channel();
        let (ended, exit) = channel();
        let keeper_group = Arc::clone(&group);
        // The system kills the child when the *thread* that started it ends, so the child gets a thread that
        // lives exactly as long; a thread of a pool might end while the child works.
        thread::Builder::new().name("dump-tool".into()).spawn(move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let pid = Pid::from_child(&child);
            *keeper_group.lock() = Some(pid);
            let words = child.stderr.take().map(|stderr| Words::listen_to(stderr, heard));
            let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"));
            let _ = started.send(stdout.map(|stdout| (child.stdin.take(), stdout)));
            // The dead child still holds its process number while its group is killed, so no other process is hit.
            let dead = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), dead), Err(Errno::INTR)) {}
            keeper_group.kill();
            keeper_group.lock().take();
            let status = child.wait();
            let words = words.map(|words| words.collect(&secrets)).unwrap_or_default();
            let _ = ended.send((status, words));
        })?;
        let (stdin, stdout) = has_started.recv().map_err(io::Error::other)??;
        if let Some(stdin) = &stdin {
            // A tool that stops reading must not block us for ever.
            rustix::fs::fcntl_setfl(stdin, OFlags::WRONLY | OFlags::NONBLOCK)?;
        }
        let kill = Arc::clone(&group);
        cancel.on_cancel(move || kill.kill());
        let cancel = cancel.clone();
        Ok(Self {
            stdin,
            stdout,
            group,
            exit,
            cancel,
            stall: launch.stall,
            hung: false,
            at_end: false,
            reaped: false,
        })
    }

    /// Gives the tool more input. `false` once it reads no more: it ended, was cancelled or hung, and
    /// [`Child::finish`] says which.
    pub fn feed(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let mut deadline = Instant::now() + self.stall;
        while !bytes.is_empty() {
            let Some(stdin) = &self.stdin else { return Ok(false) };
            match rustix::io::write(stdin, bytes) {
                Ok(taken) => {
                    bytes = &bytes[taken..];
                    deadline = Instant::now() + self.stall;
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE) => self.stdin = None,
                Err(Errno::AGAIN) => {
                    self.hung = Instant::now() >= deadline;
                    if self.hung || self.cancel.is_cancelled() {
                        self.group.kill();
                        self.stdin = None;
                    } else {
                        let timeout = Timespec::try_from(GLANCE).map_err(io::Error::other)?;
                        let mut writable = [PollFd::new(stdin, PollFlags::OUT)];
                        match poll(&mut writable, Some(&timeout)) {
                            Ok(_) | Err(Errno::INTR) => {}
                            Err(error) => return Err(error.into()),
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Closes the tool's input, waits for its end and returns how it ended.
    pub fn finish(mut self) -> End {
        self.stdin = None;
        let unread = !self.at_end && !matches!(self.read(&mut [0]), Ok(0));
        if unread {
            self.group.kill();
        }
        let exit = self.wait();
        self.cancel.forget();
        match exit {
            _ if self.cancel.is_cancelled() => End::Cancelled,
            _ if unread => End::Unread,
            Some((_, words)) if self.hung => End::Hung(words),
            Some((Ok(status), words)) => End::Exited(status, words),
            Some((Err(error), words)) => End::Hung(format!("{words}{error}")),
            None => End::Hung(String::new()),
        }
    }

    fn wait(&mut self) -> Option<(io::Result<ExitStatus>, String)> {
        let deadline = Instant::now() + self.stall;
        loop {
            match self.exit.recv_timeout(GLANCE) {
                Ok(exit) => {
                    self.reaped = true;
                    return Some(exit);
                }
                Err(RecvTimeoutError::Timeout) if self.cancel.is_cancelled() => break,
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.hung = true;
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        self.end()
    }

    /// Kills it and waits for its end.
    fn end(&mut self) -> Option<(io::Result<ExitStatus>, String)> {
        self.group.kill();
        let exit = self.exit.recv_timeout(GONE).ok();
        self.reaped = true;
        exit
    }

    fn stop_reading(&mut self) -> usize {
        self.group.kill();
        self.at_end = true;
        0
    }
}

impl Read for Child {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = Instant::now() + self.stall;
        while !self.at_end {
            if self.cancel.is_cancelled() {
                return Ok(self.stop_reading());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.hung = true;
                return Ok(self.stop_reading());
            }
            let timeout = Timespec::try_from(left.min(GLANCE)).map_err(io::Error::other)?;
            let mut readable = [PollFd::new(&self.stdout, PollFlags::IN)];
            match poll(&mut readable, Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => {
                    let read = self.stdout.read(buffer)?;
                    self.at_end = read == 0 && !buffer.is_empty();
                    return Ok(read);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.cancel.forget();
        if !self.reaped {
            self.end();
        }
    }
}

/// The child's process group, while it exists.
#[derive(Default)]
struct Group(Mutex<Option<Pid>>);

impl Group {
    fn kill(&self) {
        if let Some(pid) = *self.lock()
            && let Err(error) = kill_process_group(pid, Signal::KILL)
            && error != Errno::SRCH
        {
            tracing::warn!(%error, "a dump tool could not be killed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without unsafe code, only another program can make the system kill the child when we die.
fn tied_to_us(program: &Path, path: &OsStr) -> Command {
    if let Some(setpriv) = find(OsStr::new("setpriv"), path) {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        tracing::warn!("setpriv (util-linux) is not installed: a dump tool may outlive a killed Holdfast");
        Command::new(program)
    }
}

/// Looks up a program like a shell, in the directories of `path`, then in the system's own.
pub(super) fn find(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .chain(["/usr/bin".into(), "/bin".into()])
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|file| is_executable(file))
}

/// Whether it is a file that this user may execute.
pub(super) fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Collects a tool's standard error.
struct Words {
    kept: Arc<Mutex<Kept>>,
    all: Receiver<()>,
}

#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
    left_out: u64,
}

impl Words {
    fn listen_to(mut stderr: ChildStderr, mut heard: impl FnMut(&[u8]) + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let (done, all) = channel();
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = stderr.read(&mut buffer) {
                heard(&buffer[..read]);
                shared.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..read]);
            }
            let _ = done.send(());
        });
        Self { kept, all }
    }

    /// The messages so far, once the pipe is closed; a process that left the group could keep it open for
    /// ever.
    fn collect(self, secrets: &[SecretString]) -> String {
        let _ = self.all.recv_timeout(GONE);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).text(secrets)
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        let (head, tail) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(tail);
        if self.tail.len() > 2 * TAIL {
            let surplus = self.tail.len() - TAIL;
            self.tail.drain(..surplus);
            self.left_out += surplus as u64;
        }
    }

    fn text(&self, secrets: &[SecretString]) -> String {
        let surplus = self.tail.len().saturating_sub(TAIL);
        let left_out = self.left_out + surplus as u64;
        let (mut head, mut tail) = (&self.head[..], &self.tail[surplus..]);
        if left_out == 0 {
            return redact(&String::from_utf8_lossy(&[head, tail].concat()), secrets);
        }
        // A secret cut in half by the gap would not be recognised, so possible halves are removed too.
        let margin = secrets.iter().map(|secret| 3 * secret.expose_secret().len()).max().unwrap_or(0);
        head = &head[..head.len().saturating_sub(margin)];
        tail = &tail[margin.min(tail.len())..];
        format!(
            "{}\n… {left_out} bytes omitted …\n{}",
            redact(&String::from_utf8_lossy(head), secrets),
            redact(&String::from_utf8_lossy(tail), secrets)
        )
    }
}

/// A tool's messages; `None` if there are none.
pub fn some(words: String) -> Option<String> {
    (!words.is_empty()).then_some(words)
}

/// The text without the secrets, plain or percent-encoded, without the password of any URL, and without
/// control characters.
pub fn redact(text: &str, secrets: &[SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        let secret = secret.expose_secret();
        if !secret.is_empty() {
            let encoded = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
            for form in [&encoded, secret] {
                text = text.replace(form, "***");
            }
        }
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let login = after.split(|c: char| c.is_whitespace() || "/\"'".contains(c)).next().unwrap_or("");
        rest = match login.rsplit_once('@').and_then(|(login, _)| Some((login, login.split_once(':')?.0))) {
            Some((login, user)) => {
                clean.push_str(user);
                clean.push_str(":***");
                &after[login.len()..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean.retain(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    clean.truncate(clean.trim_end().len());
    clean
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::process::*;

    fn run(script: &str, stall: Duration, cancel: &Cancel) -> (String, End) {
        let mut child = start(script, stall, cancel);
        let mut output = String::new();
        child.read_to_string(&mut output).unwrap();
        (output, child.finish())
    }

    fn start(script: &str, stall: Duration, cancel: &Cancel) -> Child {
        let launch = Launch {
            program: Path::new("/bin/sh"),
            args: &["-c", script],
            env: vec![("PATH", "/usr/bin:/bin".into())],
            path: OsStr::new("/usr/bin"),
            fed: false,
            stall,
            secrets: vec!["hunter2".into()],
        };
        Child::spawn(launch, cancel).unwrap()
    }

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(300);

    #[test]
    fn output_words_and_status_come_through() {
        let (output, end) = run("echo out; echo 'pw hunter2' >&2; exit 3", LONG, &Cancel::default());
        assert_eq!(output, "out\n");
        assert!(
            matches!(&end, End::Exited(status, words) if status.code() == Some(3) && words == "pw ***"),
            "{end:?}"
        );
    }

    #[test]
    fn a_silent_child_is_ended() {
        for script in
            ["sleep 60", "echo x; sleep 60", "echo x; exec >&-; sleep 60", "sleep 60 & echo x; wait"]
        {
            let began = Instant::now();
            let (_, end) = run(script, SHORT, &Cancel::default());
            assert!(matches!(end, End::Hung(_)), "{script}: {end:?}");
            assert!(began.elapsed() < Duration::from_secs(4), "{script}");
        }
    }

    #[test]
    fn a_cancel_ends_a_read_at_once() {
        let cancel = Cancel::default();
        let mut child = start("sleep 60", LONG, &cancel);
        let canceller = cancel.clone();
        thread::spawn(move || {
            thread::sleep(SHORT);
            canceller.cancel();
        });
        let began = Instant::now();
        assert_eq!(child.read(&mut [0; 9]).unwrap(), 0);
        assert!(matches!(child.finish(), End::Cancelled));
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_child_of_a_cancelled_job_is_killed_at_its_start() {
        let cancel = Cancel::default();
        cancel.cancel();
        assert!(matches!(run("sleep 60", LONG, &cancel).1, End::Cancelled));
    }

    #[test]
    fn output_left_unread_is_no_success() {
        let child = start("echo x", LONG, &Cancel::default());
        assert!(matches!(child.finish(), End::Unread));
    }

    #[test]
    fn a_dropped_child_and_its_own_children_are_gone() {
        let mut child = start("sleep 60 & echo $! $$; wait", LONG, &Cancel::default());
        let mut pids = [0; 64];
        let read = child.read(&mut pids).unwrap();
        let pids = String::from_utf8(pids[..read].to_vec()).unwrap();
        drop(child);
        thread::sleep(Duration::from_millis(50));
        for pid in pids.split_whitespace() {
            // An orphan is a zombie until init reaps it.
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z"), "{state}");
        }
    }

    #[test]
    fn words_are_capped_at_both_ends_and_no_half_secret_is_left() {
        let mut kept = Kept::default();
        kept.push(&vec![b'a'; HEAD - 3]);
        kept.push(b"hunter2");
        for _ in 0..1000 {
            kept.push(&vec![b'b'; 4096]);
        }
        kept.push(b"hunter2 the end");
        let text = kept.text(&["hunter2".into()]);
        assert!(text.len() < HEAD + TAIL + 100, "{}", text.len());
        assert!(text.ends_with("b*** the end") && !text.contains("hun"));
        assert!(text.contains("bytes omitted"));
    }

    #[test]
    fn passwords_are_taken_out_of_words() {
        let secrets = ["p w%".into()];
        assert_eq!(redact("p w% p%20w%25\u{7}\r\n", &secrets), "*** ***");
        assert_eq!(
            redact("at postgres://u:x@y@h:1/d and http://h:80/a@b ssh://u@h 'a://u:@h'", &[]),
            "at postgres://u:***@h:1/d and http://h:80/a@b ssh://u@h 'a://u:***@h'"
        );
    }
}
