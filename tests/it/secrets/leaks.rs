//! No stored secret is anywhere but sealed: unique words as every secret, the real program put through all it does,
//! and then everything looked through that it wrote, said or showed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod canaries;
mod watch;

use crate::support::holdfast::{Home, Server};
use crate::support::postgres::{Cluster, cluster};
use crate::support::sshd::{self, Sshd, keygen};
use canaries::{Canaries, canary};
use clap::Parser as _;
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use flate2::write::GzEncoder;
use holdfast::api::sftp::SftpEntry;
use holdfast::domain::accounts::api_tokens::PREFIX;
use holdfast::domain::destinations::sftp::settings::{Credential, SecretEdit, SftpInput};
use holdfast::domain::engines::Target;
use holdfast::server::router::addresses;
use holdfast::settings::Cli;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};
use totp_rs::Builder;
use watch::Watch;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server and everything it answered.
struct Overheard {
    home: Home,
    restore_into: String,
    server: Server,
    cookie: String,
    answers: Vec<(String, Vec<u8>)>,
    /// Those that show a secret once, because they have to.
    shown: Vec<(String, Vec<u8>)>,
}

/// The program, logging all it can.
fn program(home: &Home, restore_into: &str, arguments: &[&str]) -> Command {
    let mut program = home.program(arguments);
    program
        .env("RUST_BACKTRACE", "full")
        .env("HOLDFAST_LOG", "trace")
        .env("HOLDFAST_RESTORE_INTO", restore_into);
    program
}

impl Overheard {
    fn new(home: Home, restore_into: String) -> Self {
        let server = Server::start(program(&home, &restore_into, &["serve"])).unwrap();
        Self { home, restore_into, server, cookie: String::new(), answers: Vec::new(), shown: Vec::new() }
    }

    /// Asks with the cookie, and keeps the whole answer; its text.
    fn ask(&mut self, method: &str, path: &str, accept: &str, form: &str) -> String {
        let shown = format!("Cookie: {}", self.cookie);
        self.ask_with(&shown, method, path, accept, form)
    }

    /// The same with another header to show whose request it is.
    fn ask_with(&mut self, shown: &str, method: &str, path: &str, accept: &str, form: &str) -> String {
        let mut connection = TcpStream::connect(self.server.address).unwrap();
        // Of a stream without an end, its beginning is kept.
        let patience = if path == "/events" { Duration::from_millis(300) } else { PATIENCE };
        connection.set_read_timeout(Some(patience)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{shown}\r\nAccept: {accept}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.server.address,
            form.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut part = vec![0; 1 << 16];
        while let Ok(read @ 1..) = connection.read(&mut part) {
            answer.extend(&part[..read]);
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.starts_with("HTTP/1."), "{method} {path}: {text:?}");
        for name in ["holdfast_halfway", "holdfast_session"] {
            if let Some((_, cookie)) = text.split_once(&format!("set-cookie: {name}=")) {
                let token = cookie.split(';').next().unwrap();
                self.cookie = format!("{name}={token}");
                // The one line that is to hold it.
                let line = cookie.split('\r').next().unwrap();
                answer = String::from_utf8_lossy(&answer).replacen(line, "", 1).into_bytes();
            }
        }
        self.answers.push((format!("{method} {path} ({accept})"), answer));
        text
    }

    fn page(&mut self, path: &str) -> String {
        self.ask("GET", path, "text/html", "")
    }

    fn tell(&mut self, function: &str, form: &str) -> String {
        self.ask("POST", &format!("/api/{function}"), "application/json", form)
    }

    /// Sends a form without JavaScript, and gives where that leads, having gone there.
    fn form(&mut self, function: &str, form: &str) -> String {
        let answer = self.ask("POST", &format!("/api/{function}"), "text/html", form);
        let led = answer.split_once("location: ").unwrap_or_else(|| panic!("{answer}")).1;
        let led = led.split('\r').next().unwrap().to_owned();
        let path = led.strip_prefix(&format!("http://{}", self.server.address)).unwrap_or(&led).to_owned();
        self.page(&path);
        path
    }

    /// Sends a form whose answer shows a secret once, and gives that.
    fn once(&mut self, path: &str, form: &str) -> String {
        let answer = self.ask("POST", path, "text/html", form);
        self.shown.extend(self.answers.pop());
        let secret =
            answer.split_once("<pre class=\"once\">").unwrap_or_else(|| panic!("{path}: {answer}")).1;
        secret.split_once("</pre>").unwrap().0.to_owned()
    }

    /// Waits until nothing waits or runs; how the two newest jobs ended.
    fn last_job(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let history = self.ask("GET", "/api/job_history", "application/json", "");
            let jobs: serde_json::Value =
                serde_json::from_str(history.split_once("\r\n\r\n").unwrap().1).unwrap();
            if jobs.as_array().unwrap().iter().all(|job| !job["ended"].is_null()) {
                return format!("{} {}", jobs[0]["state"], jobs[1]["state"]);
            }
            assert!(Instant::now() < deadline, "{history}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A command of the program, its words kept with the log.
    fn command(&self, arguments: &[&str], more: &[(&str, &str)]) -> String {
        let mut command = program(&self.home, &self.restore_into, arguments);
        command.envs(more.iter().copied());
        let output = command.output().unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        self.server.log_bytes().extend(&said);
        String::from_utf8_lossy(&said).into_owned()
    }
}

/// A role of the cluster whose password is `password`, and a database that takes a while to dump.
fn role_and_database(cluster: &Cluster, password: &str) {
    cluster.psql(
        "postgres",
        &format!(
            "CREATE ROLE canary SUPERUSER LOGIN PASSWORD '{password}';
             CREATE DATABASE canaries TEMPLATE template0;"
        ),
    );
    let fill = "CREATE TABLE t (a text);
                INSERT INTO t SELECT repeat(md5(i::text), 30) FROM generate_series(1, 20000) i;";
    cluster.psql("canaries", fill);
}

/// What the secrets are, and which servers they open.
struct Secrets {
    cluster: Arc<Cluster>,
    sshd: Sshd,
    database: String,
    login: String,
    sftp: String,
    private_key: String,
    passphrase: String,
    /// Typed where another belongs.
    wrong: String,
}

impl Secrets {
    fn new(canaries: &mut Canaries, home: &Path) -> Self {
        let mut secret = |name: &str| {
            let secret = canary(name);
            canaries.add(name, secret.as_bytes());
            secret
        };
        let (database, login, wrong) = (secret("database"), secret("login"), secret("wrong"));
        let passphrase = secret("passphrase");
        // Where the server has an account of its own, its password is the one that lets in.
        let sftp = if Sshd::has_password() { sshd::PASSWORD.to_owned() } else { secret("sftp") };
        canaries.add("sftp", sftp.as_bytes());
        let (cluster, sshd) = (cluster(), Sshd::start());
        role_and_database(&cluster, &database);
        let (sealed, open) = (home.join("id"), home.join("open"));
        keygen(&sealed, "ed25519", &passphrase, "");
        sshd.authorize(&fs::read_to_string(home.join("id.pub")).unwrap());
        fs::copy(&sealed, &open).unwrap();
        let opening = ["-q", "-p", "-P", &passphrase, "-N", "", "-f", open.to_str().unwrap()];
        assert!(Command::new("ssh-keygen").args(opening).stdout(Stdio::null()).status().unwrap().success());
        for (name, path) in [("private key", &sealed), ("private key, opened", &open)] {
            // A line of its middle, which holds the secret numbers; the beginning is the same in every key.
            let body = fs::read_to_string(path).unwrap().lines().nth(3).unwrap().to_owned();
            canaries.add(name, body.as_bytes());
        }
        let private_key = fs::read_to_string(&sealed).unwrap();
        Self { cluster, sshd, database, login, sftp, private_key, passphrase, wrong }
    }

    /// The settings: databases that can be reached, and some that cannot.
    fn databases(&self, own: &Path) -> String {
        let port = self.cluster.port;
        let at = |password: &str, host: &str, port: u16, database: &str| {
            format!("postgres://canary:{password}@{host}:{port}/{database}")
        };
        let databases = [
            ("good", at(&self.database, "127.0.0.1", port, "canaries")),
            ("elsewhere", at(&self.database, "nowhere.invalid", port, "canaries")),
            ("deaf", at(&self.database, "127.0.0.1", 1, "canaries")),
            ("refused", at(&self.wrong, "127.0.0.1", port, "canaries")),
            ("missing", at(&self.database, "127.0.0.1", port, "nothing")),
            ("socket", at(&self.database, "%2Fnowhere", port, "canaries")),
            ("own", format!("sqlite://{}", own.display())),
        ];
        databases.map(|(name, url)| format!("{name}={url}")).join(" ")
    }
}

/// The form of the off-site settings.
fn entry(host: &str, port: u16, auth: &str, secrets: [&str; 3]) -> String {
    let [password, key, passphrase] = secrets;
    let mut form = format!("entry[enabled]=on&entry[port]={port}&entry[username]={}", Sshd::user());
    for (field, value) in [
        ("host", host),
        ("auth", auth),
        ("password", password),
        ("private_key", key),
        ("passphrase", passphrase),
        ("remote_directory", "copies"),
    ] {
        let _ = write!(form, "&entry[{field}]={}", encoded(value));
    }
    form
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The first account, by the link in the log; logging out, failing to log in, logging in.
fn log_in(ground: &mut Overheard, secrets: &Secrets, canaries: &mut Canaries) {
    let Secrets { login, wrong, .. } = secrets;
    let token = ground.server.in_log("/setup?token=").split(' ').next().unwrap().to_owned();
    ground.page(&format!("/setup?token={token}"));
    let set_up = format!("token={token}&username=admin&password={login}&repeat={login}");
    ground.ask("POST", "/setup", "text/html", &set_up);
    let session = |ground: &Overheard| ground.cookie.split_once('=').unwrap().1.to_owned();
    let former = session(ground);
    // Until it was used, the link had to show it.
    ground.answers.retain(|(what, _)| !what.contains("/setup"));
    ground.server.log_bytes().clear();
    ground.ask("POST", "/logout", "text/html", "");
    ground.ask("POST", "/login", "text/html", &format!("username=admin&password={wrong}"));
    ground.ask("POST", "/login", "text/html", &format!("username=nobody&password={login}"));
    ground.ask("POST", "/login", "text/html", &format!("username=admin&password={login}"));
    assert_ne!(session(ground), former);
    canaries.add("set-up token", token.as_bytes());
    canaries.add("former session", former.as_bytes());
    canaries.add("session", session(ground).as_bytes());
}

/// What an account is given to keep: an API token, the key of an authenticator app, recovery codes. Used rightly,
/// wrongly, and when it works no more.
fn hand_out(ground: &mut Overheard, secrets: &Secrets, canaries: &mut Canaries) {
    let scope = "label=canaries&days=&download=on&operate=on";
    let bearers = ["API token", "ended API token"].map(|name| {
        let token = ground.once("/account/tokens", scope);
        let bare = token.strip_prefix(PREFIX).unwrap();
        canaries.add(name, bare.as_bytes());
        canaries.add(&format!("{name}, bits"), &BASE64URL_NOPAD.decode(bare.as_bytes()).unwrap());
        format!("Authorization: Bearer {token}")
    });
    let [bearer, ended] = &bearers;
    let json = "application/json";
    let revoked = ground.ask("POST", "/account/tokens/revoke", "text/html", "id=2");
    assert!(revoked.contains("location: /account?outcome="), "{revoked}");
    for (shown, method, path, form, status) in [
        (bearer.clone(), "GET", "/api/databases", "", "200"),
        (bearer.clone(), "GET", "/backups/backup_x_2026-01-01_00-00-00Z.dump.gz", "", "404"),
        (bearer.clone(), "POST", "/api/create_backup", "database=nowhere", ""),
        (bearer.clone(), "GET", "/users", "", "403"),
        (bearer.replace("Bearer", "Basic"), "GET", "/api/databases", "", "401"),
        (format!("{bearer}x"), "GET", "/api/databases", "", "401"),
        (ended.clone(), "GET", "/api/databases", "", "401"),
    ] {
        let answer = ground.ask_with(&shown, method, path, json, form);
        assert!(answer.split(' ').nth(1).unwrap().starts_with(status), "{method} {path}: {answer}");
    }

    let key = ground.once("/account/second-factor", "");
    let bits = BASE32_NOPAD.decode(key.as_bytes()).unwrap();
    canaries.add("second factor", key.as_bytes());
    canaries.add("second factor, bits", &bits);
    assert_eq!(ground.once("/account/second-factor/confirm", "code=000000"), key, "a wrong code");
    let app = Builder::new().with_secret(bits.into_boxed_slice()).with_account_name("admin");
    let code = app.build().unwrap().generate(UNIX_EPOCH.elapsed().unwrap().as_secs()).to_string();
    let codes = ground.once("/account/second-factor/confirm", &format!("code={code}"));
    let codes: Vec<_> = codes.lines().collect();
    for code in &codes {
        let bare = code.replace('-', "");
        canaries.add("recovery code", code.as_bytes());
        canaries.add("recovery code, bare", bare.as_bytes());
        canaries.add("recovery code, bare", bare.to_uppercase().as_bytes());
        let bits = BASE32_NOPAD.decode(bare.to_uppercase().as_bytes()).unwrap();
        canaries.add("recovery code, bits", &bits);
    }
    let other_case = codes[1].to_uppercase();
    for (code, status, led) in [
        (codes[0], "holdfast_session=", "location: /\r"),
        (codes[0], "holdfast_halfway=", "error=code"),
        (secrets.wrong.as_str(), "holdfast_halfway=", "error=code"),
        (&other_case, "holdfast_session=", "location: /\r"),
    ] {
        ground.ask("POST", "/logout", "text/html", "");
        let login = format!("username=admin&password={}", secrets.login);
        ground.ask("POST", "/login", "text/html", &login);
        let halfway = ground.cookie.strip_prefix("holdfast_halfway=").unwrap().to_owned();
        canaries.add("halfway in", halfway.as_bytes());
        let answer = ground.ask("POST", "/login", "text/html", &format!("code={code}"));
        assert!(answer.contains(led) && ground.cookie.starts_with(status), "{answer}");
    }
    canaries.add("session after a code", ground.cookie.split_once('=').unwrap().1.as_bytes());
}

/// Off-site settings with every secret: tried with what is wrong, then with what is right, saved.
fn set_up_copies(ground: &mut Overheard, secrets: &Secrets) {
    let Secrets { sshd, sftp, private_key: key, passphrase, wrong, .. } = secrets;
    let port = sshd.port;
    for form in [
        entry("nowhere.invalid", port, "password", [sftp, "", ""]),
        entry("127.0.0.1", 1, "password", [sftp, "", ""]),
        entry("127.0.0.1", port, "password", [wrong, "", ""]),
        entry("127.0.0.1", port, "ssh-key", ["", key, wrong]),
        entry("127.0.0.1", port, "ssh-key", [sftp, passphrase, passphrase]),
        entry("sftp://x", port, "ssh-key", [sftp, key, passphrase]),
    ] {
        ground.form("test_sftp", &form);
        ground.tell("save_sftp", &form);
    }
    let refused = entry("127.0.0.1", port, "password", [wrong, "", ""]);
    let host_key = encoded(&sshd.host_key("ed25519"));
    ground.form("trust_host_key", &format!("{refused}&line={host_key}"));
    ground.form("test_sftp", &refused);
    let right = entry("127.0.0.1", port, "ssh-key", [sftp, key, passphrase]);
    let tested = ground.tell("test_sftp", &right);
    assert!(tested.contains("\"bad\":[]"), "{tested}");
    let saved = ground.tell("save_sftp", &right);
    assert!(saved.contains("SFTP settings saved."), "{saved}");
}

/// Backups of what can be backed up and of what cannot, sent, verified, downloaded and restored. Gives one's name.
fn back_up_and_restore(ground: &mut Overheard) -> String {
    for name in ["elsewhere", "deaf", "refused", "missing", "socket"] {
        ground.form("try_database", &format!("database={name}"));
        ground.form("create_backup", &format!("database={name}"));
        let ended = ground.last_job();
        assert!(ended.contains("\"is\":\"failed\""), "{name}: {ended}");
    }
    for name in ["good", "own"] {
        ground.form("create_backup", &format!("database={name}&upload=on"));
        let ended = ground.last_job();
        assert_eq!(ended.matches("\"is\":\"done\"").count(), 2, "made and sent: {name}: {ended}");
    }
    let names = fs::read_dir(ground.home.backups()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".dump.gz"));
    names.sort();
    assert_eq!(names.len(), 2);
    ground.form("verify_backups", "all=on");
    let verified = ground.last_job();
    assert!(!verified.contains("\"is\":\"failed\""), "{verified}");
    for format in ["zip", "tar.gz"] {
        let form = format!("names[]={}&names[]={}&format={format}", names[0], names[1]);
        let bundled = ground.tell("bundle_backups", &form);
        let path = bundled.split('"').find(|part| part.starts_with("/archives/"));
        let path = path.unwrap_or_else(|| panic!("{bundled}")).to_owned();
        ground.page(&path);
    }
    for name in &names {
        ground.page(&format!("/backups/{name}"));
    }
    let good = names.swap_remove(0);
    let into = encoded(&ground.restore_into);
    for url in [into.as_str(), &into.replace("127", "nowhere"), &into.replace("postgres", "canary")] {
        let form = format!("entry[file]={good}&entry[place]=elsewhere&entry[name]=x&entry[url]={url}");
        let path = ground.form("plan_restore", &form);
        ground.page(&path);
    }
    let form = format!("entry[file]={good}&entry[place]=beside:good&entry[name]=canaries_new");
    let planned = ground.form("plan_restore", &form);
    let plan = planned.split_once("plan=").unwrap_or_else(|| panic!("{planned}")).1.to_owned();
    ground.form("start_restore", &format!("file={good}&plan={plan}"));
    let restored = ground.last_job();
    assert!(restored.contains("is restored into"), "{restored}");
    good
}

/// From a shell, also with settings that cannot be read.
fn use_a_shell(ground: &Overheard, secrets: &Secrets, backup: &str) {
    for arguments in [&["list"][..], &["backup", "refused"], &["backup", "own"], &["verify", "--all"]] {
        ground.command(arguments, &[]);
    }
    let restored = ground.command(&["restore", backup], &[]);
    assert!(restored.contains("is restored into"), "{restored}");
    let password = &secrets.database;
    for malformed in [
        format!("x=postgres://canary:{password}@127.0.0.1:99999/x"),
        format!("x=canary://canary:{password}@127.0.0.1/x"),
        format!("postgres://canary:{password}@127.0.0.1/x"),
        format!("x=postgres://canary:{password}@[::1/x"),
        format!("x=postgres://canary:{password}@127.0.0.1/x?password={password}"),
    ] {
        let said = ground.command(&["backup", "x"], &[("HOLDFAST_DATABASES", &malformed)]);
        assert!(said.contains("holdfast: ") && said.contains("HOLDFAST_DATABASES"), "{malformed}: {said}");
        let url = malformed.strip_prefix("x=").unwrap_or(&malformed);
        ground.command(&["restore", backup], &[("HOLDFAST_RESTORE_INTO", url)]);
        // Refused at the latest since another serves.
        ground.command(&["serve"], &[("HOLDFAST_RESTORE_ON", url)]);
    }
    ground.command(&["--help"], &[]);
}

#[test]
fn no_secret_is_anywhere_but_sealed() {
    let home = Home::new("");
    let mut canaries = Canaries::default();
    let secrets = Secrets::new(&mut canaries, home.path());
    let databases = secrets.databases(&home.at("data/holdfast.db"));
    let restore_into =
        format!("postgres://canary:{}@127.0.0.1:{}/canaries_back", secrets.database, secrets.cluster.port);
    let watch = Watch::over(|line| line.contains("/holdfast\0"));
    let mut ground = Overheard::new(home.told(databases), restore_into);
    log_in(&mut ground, &secrets, &mut canaries);
    hand_out(&mut ground, &secrets, &mut canaries);
    set_up_copies(&mut ground, &secrets);
    let backup = back_up_and_restore(&mut ground);
    for address in addresses() {
        let path = address.replace("{file}", &backup).replace("{id}", "0");
        let accept = if path.starts_with("/api/") { "application/json" } else { "text/html" };
        ground.ask("GET", &path, accept, "");
    }
    for path in [format!("/restore?file={backup}"), format!("/delete?names[]={backup}")] {
        ground.page(&path);
    }
    use_a_shell(&ground, &secrets, &backup);
    let seen = watch.end();

    let key = fs::read(ground.home.data().join("key")).unwrap();
    canaries.add("master key", &key);
    let text = canary("control");
    canaries.add("control", text.as_bytes());
    let net = canaries.net();
    // On the disk.
    assert_eq!(net.caught_below(&ground.home.data(), &[&ground.home.data().join("key")]), [""; 0]);
    assert_eq!(net.caught_below(&secrets.sshd.account().join("copies"), &[]), [""; 0]);
    // In the log.
    let log = ground.server.log_bytes().clone();
    let lines = String::from_utf8_lossy(&log).into_owned();
    let leaking: Vec<_> = lines.lines().filter(|line| !net.caught(line.as_bytes()).is_empty()).collect();
    assert_eq!(leaking, [""; 0]);
    assert!(net.caught(&log).is_empty() && lines.contains("TRACE") && lines.contains("DEBUG"));
    // In answers.
    for (what, answer) in &ground.answers {
        let caught = net.caught(answer);
        assert!(caught.is_empty(), "{what}: {caught:?} in {}", String::from_utf8_lossy(answer));
    }
    // In what every user of the machine can read, and in what the dump tools are given.
    for (bytes, what) in &seen {
        let caught = net.caught(bytes);
        assert!(caught.is_empty(), "{what}: {caught:?}");
    }
    for tool in ["pg_dump", "pg_restore"] {
        let of_tool = |what: &&String| what.starts_with("environment") && what.contains(tool);
        assert!(seen.values().any(|what| of_tool(&what)), "{tool} was not seen at work: {:?}", seen.values());
    }

    // The controls: what is put where it may not be is found there.
    let mut shown = BTreeSet::new();
    for (what, answer) in &ground.shown {
        let caught = net.caught(answer);
        assert!(!caught.is_empty(), "{what}: what it has to show is not found");
        shown.extend(caught);
    }
    for name in ["API token", "ended API token", "second factor", "recovery code"] {
        assert!(shown.contains(name), "{name}: {shown:?}");
    }
    ground.page(&format!("/?q={text}"));
    assert!(!net.caught(&ground.answers.last().unwrap().1).is_empty(), "an answer");
    ground.ask("POST", "/login", "text/html", &format!("username={text}&password=x"));
    ground.server.in_log(&text);
    assert!(!net.caught(&ground.server.log_bytes()).is_empty(), "the log");
    let store = Connection::open(ground.home.data().join("holdfast.db")).unwrap();
    store
        .execute("INSERT INTO settings VALUES ('control', ?1)", [BASE64_NOPAD.encode(text.as_bytes())])
        .unwrap();
    let caught = net.caught_below(&ground.home.data(), &[&ground.home.data().join("key")]);
    assert!(caught.iter().any(|file| file.contains("holdfast.db")), "{caught:?}");
    ground.form("create_backup", "database=own");
    ground.last_job();
    let caught = net.caught_below(&ground.home.backups(), &[]);
    assert!(caught.iter().any(|file| file.contains("backup_own")), "a backup of the state: {caught:?}");
    let caught = net.caught_below(&ground.home.data(), &[]);
    assert!(caught.iter().any(|file| file.contains("/key: ") && file.contains("master key")), "{caught:?}");
    eprintln!(
        "{} patterns; log {} KB, {} answers, {} command lines and environments",
        canaries.patterns.len(),
        log.len() >> 10,
        ground.answers.len(),
        seen.len()
    );
}

#[test]
fn a_secret_in_arguments_or_in_the_environment_is_seen() {
    let mut canaries = Canaries::default();
    let (argument, variable) = (canary("argument"), canary("variable"));
    canaries.add("argument", argument.as_bytes());
    canaries.add("variable", variable.as_bytes());
    let watch = Watch::over(|line| line.contains("careless"));
    let mut careless = Command::new("sh");
    let script = "sleep 2 & SECRET=\"$1\" sh -c 'sleep 2; exit' \"$2\"; wait";
    careless.args(["-c", script, "careless", &variable, &argument]);
    careless.status().unwrap();
    let (seen, net) = (watch.end(), canaries.net());
    let caught: BTreeSet<_> = seen
        .iter()
        .flat_map(|(bytes, what)| {
            let kind = if what.starts_with("environment") { "environment" } else { "arguments" };
            net.caught(bytes).into_iter().map(move |name| (kind, name))
        })
        .collect();
    assert!(caught.contains(&("arguments", "argument")), "{caught:?}");
    assert!(caught.contains(&("environment", "variable")), "{caught:?}");
}

#[test]
fn a_secret_is_found_in_every_form() {
    let mut canaries = Canaries::default();
    let secret = "p@ss \u{e4} word-\u{3}2026";
    canaries.add("it", secret.as_bytes());
    let net = canaries.net();
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(format!("before {secret} after").as_bytes()).unwrap();
    let bytes = secret.as_bytes();
    for (form, text) in [
        ("plain", bytes.to_vec()),
        ("packed", packed.finish().unwrap()),
        ("hex", HEXLOWER.encode(bytes).into_bytes()),
        ("base64", BASE64_NOPAD.encode(&[b"user:", bytes, b"\n"].concat()).into_bytes()),
        ("base64 of a url", BASE64URL_NOPAD.encode(&[b"use:", bytes].concat()).into_bytes()),
        ("form", encoded(secret).replace("%20", "+").into_bytes()),
        ("debug", format!("{bytes:?}").into_bytes()),
    ] {
        assert_eq!(net.caught(&text).len(), 1, "{form}");
    }
    assert!(net.caught(b"another p@ss word").is_empty());
}

/// What a panic, a failed `expect` or a log line of ours could print.
#[test]
fn no_secret_is_in_what_is_printed_for_debugging() {
    let mut canaries = Canaries::default();
    let secret = canary("debug");
    canaries.add("it", secret.as_bytes());
    let url = format!("postgres://canary:{secret}@127.0.0.1/x");
    let databases = format!("x={url}");
    let settings = Cli::parse_from([
        "holdfast",
        "--databases",
        &databases,
        "--admin-password",
        &secret,
        "--restore-on",
        &url,
        "restore",
        "backup_x.dump.gz",
        "--into",
        &url,
    ]);
    let set = SecretEdit::Set(secret.as_str().into());
    let input = SftpInput {
        password: set.clone(),
        private_key: set.clone(),
        passphrase: set,
        ..SftpInput::default()
    };
    let entry = SftpEntry {
        password: secret.clone(),
        private_key: secret.clone(),
        passphrase: secret.clone(),
        ..SftpEntry::default()
    };
    let (credential, target) = (Credential::Password(secret.as_str().into()), Target::parse(&url).unwrap());
    let printed = format!("{settings:?} {input:?} {entry:?} {credential:?} {target:?}");
    assert!(canaries.net().caught(printed.as_bytes()).is_empty(), "{printed}");
    assert!(printed.contains("127.0.0.1") && printed.contains("backup_x.dump.gz"), "the control: {printed}");
}
