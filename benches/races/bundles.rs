//! Bundles over HTTP, compared with a static file of the same size and with compressing again.

use crate::noise::noise;
use crate::server::{Server, put};
use crate::table::{Cost, Table, Wanted, cost_of, cpu_of, figure_of, race, sized};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const FILES: usize = 20;

/// The naive way: the whole archive in one buffer.
const IN_MEMORY: &str = "import io,sys,zipfile,pathlib\n\
    buffer = io.BytesIO()\n\
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:\n    \
        for path in sys.argv[1:]: archive.writestr(pathlib.Path(path).name, pathlib.Path(path).read_bytes())\n\
    sys.stdout.buffer.write(buffer.getvalue())";

pub fn all(table: &mut Table) {
    let mut names = Vec::new();
    let size = usize::try_from(sized(50_000_000)).expect("a size");
    let mut directory = None;
    let server = Server::start(|backups| {
        let noise = noise(size, 7);
        names.extend((0..FILES).map(|number| put(backups, number, &noise)));
        directory = Some(backups.to_owned());
    });
    let directory = directory.expect("a directory");
    let paths: Vec<_> = names.iter().map(|name| directory.join(name)).collect();
    let nginx = Nginx::start(&paths);
    for (format, share, packing, work) in
        [("zip", 0.9, "Python's `zipfile` in memory", 50.0), ("tar.gz", 0.8, "`tar -cz`", 20.0)]
    {
        let address = server.archive(&names, format);
        let job = format!("{FILES} × {} MB as {format}", size / 1_000_000);
        let process = server.process();
        // Counts the cost of serving, without that of curl.
        let ours = || {
            let before = cpu_of(&process, 2);
            let Cost { wall, .. } = cost_of(|| drop(server.curl(&["-o", "/dev/null", &address])));
            Cost { wall, cpu: cpu_of(&process, 2) - before }
        };
        let theirs = || cost_of(|| drop(server.curl(&["-o", "/dev/null", &nginx.address])));
        let pack = || {
            let mut command = if format == "zip" { Command::new("python3") } else { Command::new("tar") };
            match format {
                "zip" => command.args(["-c", IN_MEMORY]),
                _ => command.arg("-cz"),
            };
            command.args(&paths).stdout(Stdio::null()).stderr(Stdio::null());
            cost_of(|| assert!(command.status().expect("a packer").success(), "nothing packed"))
        };
        let [holdfast, file, packed] = race([&mut { ours }, &mut { theirs }, &mut { pack }]);
        let detail = format!("{:.2} s; peer {:.2} s", holdfast.wall, file.wall);
        table.row(
            &job,
            "throughput / nginx's of one file",
            file.wall / holdfast.wall,
            Wanted::AtLeast(share),
            &detail,
        );
        let detail = format!("{:.2} s CPU; peer {:.2} s CPU", holdfast.cpu, packed.cpu);
        table.row(
            &job,
            &format!("CPU of {packing} / ours"),
            packed.cpu / holdfast.cpu.max(0.01),
            Wanted::AtLeast(work),
            &detail,
        );
        let first: f64 = server
            .curl(&["-o", "/dev/null", "-r", "0-99", "-w", "%{time_starttransfer}", &address])
            .parse()
            .expect("a time");
        table.row(&job, "milliseconds to the first byte", first * 1000.0, Wanted::AtMost(10.0), "");
        resume(table, &server, &address, &job);
    }
    many(table, &server, &names, size * FILES / 1_000_000);
}

/// Bytes read from disk for the last tenth of a bundle.
fn resume(table: &mut Table, server: &Server, address: &str, job: &str) {
    let head = server.curl(&["-I", address]);
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse::<u64>().ok());
    let length = length.expect("a length");
    let process = server.process();
    let before = figure_of(&process, "io", "rchar");
    server.curl(&["-o", "/dev/null", "-r", &format!("{}-", length / 10 * 9), address]);
    let read = figure_of(&process, "io", "rchar") - before;
    #[expect(clippy::cast_precision_loss, reason = "for printing")]
    let part = read / length as f64;
    table.row(job, "part that is read to resume at 90 %", part, Wanted::AtMost(0.11), "");
}

/// Ten simultaneous bundles.
fn many(table: &mut Table, server: &Server, names: &[String], megabytes: usize) {
    let process = server.process();
    for format in ["zip", "tar.gz"] {
        let address = server.archive(names, format);
        fs::write(format!("/proc/{process}/clear_refs"), "5").expect("a kernel that counts");
        let before = figure_of(&process, "status", "VmHWM");
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| server.curl(&["-o", "/dev/null", &address]));
            }
        });
        let grown = (figure_of(&process, "status", "VmHWM") - before) / 1024.0;
        let detail = format!("{:.1} s", began.elapsed().as_secs_f64());
        table.row(
            &format!("ten {format} bundles of {megabytes} MB at a time"),
            "MiB of memory more",
            grown,
            Wanted::AtMost(64.0),
            &detail,
        );
    }
}

/// An nginx with one file as large as all backups together.
struct Nginx {
    child: Child,
    _home: tempfile::TempDir,
    address: String,
}

impl Nginx {
    fn start(paths: &[std::path::PathBuf]) -> Self {
        let home =
            tempfile::Builder::new().prefix("holdfast-nginx-").tempdir().expect("a temporary directory");
        let root = home.path();
        let mut all = fs::File::create(root.join("all")).expect("a file");
        for path in paths {
            std::io::copy(&mut fs::File::open(path).expect("a backup"), &mut all).expect("room");
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let mut config =
            format!("daemon off; pid {0}/pid; error_log {0}/log; worker_processes 1;\n", root.display());
        if is_root() {
            config.push_str("user root;\n");
        }
        let _ = write!(
            config,
            "events {{}}\nhttp {{ access_log off; sendfile on; client_body_temp_path {0}/b; proxy_temp_path {0}/p; \
             fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; \
             server {{ listen 127.0.0.1:{port}; root {0}; }} }}\n",
            root.display()
        );
        fs::write(root.join("config"), config).expect("a configuration");
        let child = Command::new("/usr/sbin/nginx")
            .arg("-e")
            .arg(root.join("log"))
            .arg("-c")
            .arg(root.join("config"))
            .spawn()
            .expect("nginx");
        let address = format!("http://127.0.0.1:{port}/all");
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "nginx does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, _home: home, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0)
}
