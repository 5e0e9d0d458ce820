//! Private file systems for trials, in a mount namespace of this program: invisible outside, and gone when it ends.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The argument that says that this program already runs in its own namespace.
const WITHIN: &str = "--in-namespace";

static IS_WITHIN: OnceLock<bool> = OnceLock::new();

/// Restarts this program in its own mount namespace. If the machine does not allow that, continues without one.
pub fn enter_namespace(arguments: &mut Vec<String>) {
    let is_within = arguments.first().is_some_and(|first| first == WITHIN);
    if is_within {
        arguments.remove(0);
    } else if Command::new("unshare")
        .args(["-m", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
    {
        let mut command = Command::new("unshare");
        // `exec` returns only if it failed.
        let _ = command.arg("-m").arg(std::env::current_exe().unwrap()).arg(WITHIN).args(&*arguments).exec();
    }
    let _ = IS_WITHIN.set(is_within);
}

/// A mounted file system, unmounted at the end of its scope.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts memory as a disk of this many bytes.
    pub fn tmpfs(at: &Path, size: u64) -> Result<Self, String> {
        Self::new(&["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "none"], at)
    }

    /// Mounts the image of a file system.
    pub fn image(image: &Path, at: &Path) -> Result<Self, String> {
        Self::new(&["-o", "loop", image.to_str().unwrap()], at)
    }

    fn new(arguments: &[&str], at: &Path) -> Result<Self, String> {
        if IS_WITHIN.get() != Some(&true) {
            return Err("mounting needs root and a mount namespace (unshare -m)".to_owned());
        }
        fs::create_dir_all(at).unwrap();
        run("mount", arguments, at)?;
        Ok(Self(at.to_owned()))
    }

    /// Unmounts it.
    pub fn end(self) -> Result<(), String> {
        let at = self.0.clone();
        std::mem::forget(self);
        run("umount", &[], &at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], at: &Path) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .arg(at)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", at.display(), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Creates an empty file system in a file of `megabytes`.
pub fn format(kind: &str, image: &Path, megabytes: u64) -> Result<(), String> {
    File::create(image).and_then(|file| file.set_len(megabytes << 20)).map_err(|error| error.to_string())?;
    // /sbin is not on every PATH, not even for root.
    let program = ["/usr/sbin", "/sbin"].map(|directory| format!("{directory}/mkfs.{kind}"));
    let program = program.iter().find(|program| Path::new(program).exists());
    let program = program.ok_or_else(|| format!("mkfs.{kind} is not installed"))?;
    let force = if kind == "xfs" { "-f" } else { "-F" };
    run(program, &["-q", force], image)
}

/// Cuts a mounted file system off from its disk at once. Data that is not written by then is lost.
pub struct PowerSwitch(Child);

impl PowerSwitch {
    /// Prepares the cut. With `flush`, the journal is still written, so files can exist without their data.
    pub fn of(mounted: &Path, flush: bool) -> Result<Self, String> {
        // FS_IOC_SHUTDOWN. Without unsafe code, only another program can make this call.
        const SCRIPT: &str = "import fcntl, os, struct, sys\n\
            place = os.open(sys.argv[1], os.O_RDONLY)\n\
            print(flush=True)\n\
            sys.stdin.read()\n\
            fcntl.ioctl(place, 0x8004587d, struct.pack('I', int(sys.argv[2])))";
        let mut python = Command::new("python3")
            .args(["-c", SCRIPT, mounted.to_str().unwrap(), if flush { "1" } else { "2" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        let mut ready = [0; 1];
        std::io::Read::read_exact(python.stdout.as_mut().unwrap(), &mut ready)
            .map_err(|error| error.to_string())?;
        Ok(Self(python))
    }

    /// Cuts the power.
    pub fn cut(mut self) -> Result<(), String> {
        drop(self.0.stdin.take());
        let status = self.0.wait().map_err(|error| error.to_string())?;
        status.success().then_some(()).ok_or_else(|| "this file system cannot be cut off".to_owned())
    }
}
