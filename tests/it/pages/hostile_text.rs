//! What strangers wrote is text on every page: names, addresses, error texts of servers and tools, sidecars, what is
//! typed. Each page is read as a browser reads it, and holds nothing but elements and attributes of ours.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::destinations::off_site::Harbour;
use crate::support::desk::{Answer, Desk, small_database};
use crate::support::postgres::cluster;
use crate::support::sshd::Sshd;
use holdfast::domain::engines::Target;
use holdfast::domain::engines::postgres::parameters::Parameters;
use holdfast::domain::engines::postgres::server::{Endpoint, Server};
use holdfast::model::DatabaseName;
use html5ever::tendril::TendrilSink as _;
use html5ever::tree_builder::TreeBuilderOpts;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::thread;

/// What runs where it is taken for markup, a script or an address.
const SCRIPTS: [&str; 30] = [
    "<script>window.__hit=1</script>",
    "<ScRiPt>window.__hit=1</sCrIpT >",
    "<script src=//evil.test/x></script>",
    "<img src=x onerror=window.__hit=1>",
    "<img/src=`x`onerror=window.__hit=1>",
    "<svg onload=window.__hit=1>",
    "<svg><script>window.__hit=1</script></svg>",
    "<svg><animate onbegin=window.__hit=1 attributeName=x dur=1s>",
    "<body onload=window.__hit=1>",
    "<iframe srcdoc='<script>parent.__hit=1</script>'></iframe>",
    "<iframe src=javascript:parent.__hit=1></iframe>",
    "<a href=javascript:window.__hit=1>x</a>",
    "<a href=\"jav&#x0A;ascript:window.__hit=1\">x</a>",
    "<form action=javascript:window.__hit=1><button>x</button></form>",
    "<button formaction=javascript:window.__hit=1>x</button>",
    "<input autofocus onfocus=window.__hit=1>",
    "<details open ontoggle=window.__hit=1>",
    "<video><source onerror=window.__hit=1></video>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.__hit=1>",
    "<style>@import '//evil.test/x';</style>",
    "<link rel=stylesheet href=//evil.test/x>",
    "<meta http-equiv=refresh content='0;url=javascript:window.__hit=1'>",
    "<base href=//evil.test/>",
    "<object data=javascript:window.__hit=1></object>",
    "<template><script>window.__hit=1</script></template>",
    "<noscript><img src=x onerror=window.__hit=1></noscript>",
    "\" onmouseover=window.__hit=1 x=\"",
    "' autofocus onfocus=window.__hit=1 x='",
    "\";window.__hit=1;//",
    "${window.__hit=1}`;window.__hit=1;`",
];

/// What may have to be left first.
const BEGINNINGS: [&str; 10] = [
    "",
    "\">",
    "'>",
    "-->",
    "]]>",
    "</title>",
    "</textarea>",
    "</script>",
    "</noscript></style>",
    "<!--><!DOCTYPE x>",
];

/// Elements of our pages.
const ELEMENTS: &[&str] = &[
    "a", "article", "aside", "b", "body", "br", "button", "caption", "code", "dd", "details", "dialog",
    "div", "dl", "dt", "em", "fieldset", "footer", "form", "h1", "h2", "h3", "head", "header", "html", "i",
    "input", "kbd", "label", "legend", "li", "link", "main", "meta", "nav", "noscript", "ol", "option",
    "output", "p", "path", "polyline", "pre", "progress", "script", "section", "select", "small", "span",
    "strong", "summary", "svg", "table", "tbody", "td", "textarea", "th", "thead", "time", "title", "tr",
    "ul", "use",
];

/// Attributes that lead somewhere.
const ADDRESSES: &[&str] = &["href", "src", "action", "formaction", "data", "poster", "srcset", "ping"];

/// Attributes that none of our elements has.
const FORBIDDEN: &[&str] = &["style", "srcdoc", "http-equiv", "background", "xmlns"];

fn payloads() -> Vec<String> {
    let all =
        BEGINNINGS.iter().flat_map(|front| SCRIPTS.iter().map(move |script| format!("{front}{script}")));
    all.collect()
}

/// Ten at a time, for where it is all the same.
fn batches() -> Vec<String> {
    payloads().chunks(10).map(|some| some.join(" ")).collect()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A page as a browser reads it.
#[derive(Default)]
struct Reading {
    /// What is there that should not be.
    faults: Vec<String>,
    /// All text, and the values of all attributes.
    shown: String,
}

/// Reads `html`, whose own scripts bear `nonce`.
fn read(html: &str, nonce: &str) -> Reading {
    let mut reading = Reading::default();
    for scripting_enabled in [true, false] {
        let tree_builder = TreeBuilderOpts { scripting_enabled, ..TreeBuilderOpts::default() };
        let options = ParseOpts { tree_builder, ..ParseOpts::default() };
        let document = parse_document(RcDom::default(), options).one(html);
        reading.look_at(&document.document, nonce);
    }
    reading
}

impl Reading {
    fn look_at(&mut self, node: &Handle, nonce: &str) {
        match &node.data {
            NodeData::Text { contents } => {
                self.shown += &contents.borrow();
                self.shown.push('\n');
            }
            NodeData::Element { name, attrs, template_contents, .. } => {
                let element = &*name.local;
                if !ELEMENTS.contains(&element) {
                    self.faults.push(format!("<{element}>"));
                }
                let mut own = element != "script";
                for attribute in attrs.borrow().iter() {
                    let (key, value) = (&*attribute.name.local, &*attribute.value);
                    own |= key == "nonce" && value == nonce;
                    if key.starts_with("on") || FORBIDDEN.contains(&key) {
                        self.faults.push(format!("{element} {key}={value}"));
                    }
                    // Of ours, each leads to a page of this site.
                    let local = value.starts_with(['/', '?', '#']) && !value.starts_with("//");
                    if ADDRESSES.contains(&key) && !local && !value.is_empty() {
                        self.faults.push(format!("{element} {key}={value}"));
                    }
                    self.shown += value;
                    self.shown.push('\n');
                }
                if !own {
                    self.faults.push("a script without our nonce".to_owned());
                }
                if let Some(contents) = &*template_contents.borrow() {
                    self.look_at(contents, nonce);
                }
            }
            _ => {}
        }
        let is_script = matches!(&node.data, NodeData::Element { name, .. } if &*name.local == "script");
        for child in node.children.borrow().iter() {
            if is_script && let NodeData::Text { contents } = &child.data {
                self.look_at_script(&contents.borrow());
            } else {
                self.look_at(child, nonce);
            }
        }
    }

    /// Data for the live page lies in scripts, in strings: none of it may end its string, or the script.
    fn look_at_script(&mut self, script: &str) {
        for raw in ["<script", "</script", "<!--", "\u{2028}", "\u{2029}"] {
            if script.to_lowercase().contains(raw) {
                self.faults.push(format!("{raw} in a script"));
            }
        }
        if outside_strings(script).contains("__hit") {
            self.faults.push("a script of somebody else's in ours".to_owned());
        }
    }
}

/// What of a script is code.
fn outside_strings(script: &str) -> String {
    let (mut code, mut within) = (String::new(), None);
    let mut characters = script.chars();
    while let Some(character) = characters.next() {
        match (within, character) {
            (Some(_), '\\') => drop(characters.next()),
            (Some('`'), '$') => code.push_str(characters.as_str()),
            (Some(quote), _) if quote == character => within = None,
            (None, '"' | '\'' | '`') => within = Some(character),
            (None, _) => code.push(character),
            (Some(_), _) => {}
        }
    }
    code
}

/// The page's faults, each with the address.
fn faults_of(path: &str, answer: &Answer) -> (Vec<String>, String) {
    let policy = answer.header("content-security-policy");
    let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or("no nonce");
    let Reading { faults, shown } = read(&answer.body, nonce);
    (faults.into_iter().map(|fault| format!("{path}: {fault}")).collect(), shown)
}

/// Reads pages, and says which of `payloads` none of them showed as text.
async fn hidden_on(desk: &Desk, paths: &[String], payloads: &[String]) -> Vec<String> {
    let mut shown = String::new();
    for path in paths {
        let answer = desk.page(path).await;
        let (faults, text) = faults_of(path, &answer);
        assert_eq!(faults, [""; 0], "{}", answer.body.chars().take(200).collect::<String>());
        shown += &text;
    }
    payloads.iter().filter(|payload| !shown.contains(*payload)).cloned().collect()
}

/// Every page, for what may be left anywhere.
fn pages() -> Vec<String> {
    let pages = [
        "/",
        "/activity",
        "/databases",
        "/delete",
        "/import",
        "/remote",
        "/restore",
        "/settings/sftp",
        "/setup",
    ];
    pages.map(str::to_owned).to_vec()
}

#[test]
fn the_reading_finds_what_would_run() {
    let page = |body: &str| format!("<!DOCTYPE html><html><head></head><body>{body}</body></html>");
    let missed: Vec<_> = payloads()
        .into_iter()
        .filter(|payload| {
            // Where a page naively has it: in text, in an attribute, in a script of its own.
            let naive = [
                format!("<p>{payload}</p>"),
                format!("<p title=\"{payload}\">x</p>"),
                format!("<p title='{payload}'>x</p>"),
                format!("<script nonce=\"n\">const x = \"{payload}\";</script>"),
                format!("<textarea>{payload}</textarea>"),
                format!("<script nonce=\"n\">const x = `{payload}`;</script>"),
            ];
            naive.iter().all(|body| read(&page(body), "n").faults.is_empty())
        })
        .collect();
    // Some leave what they are not in, and stay text: after `>` there is no attribute to add.
    assert!(missed.len() <= 5 && !missed.iter().any(|payload| SCRIPTS.contains(&&**payload)), "{missed:?}");
    assert_eq!(payloads().into_iter().collect::<BTreeSet<_>>().len(), 300);
    let escaped = payloads().join(" ").replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let reading = read(&page(&format!("<p title=\"{escaped}\">{escaped}</p>")), "n");
    assert_eq!(reading.faults, [""; 0]);
    assert!(payloads().iter().all(|payload| reading.shown.contains(payload)), "the control");
    for foreign in ["<script>x</script>", "<script nonce=\"m\">x</script>"] {
        assert_eq!(read(&page(foreign), "n").faults.len(), 2, "{foreign}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_into_an_address_is_text() {
    let desk = Desk::with(&["ledger"]);
    for payload in payloads() {
        let path = format!("/?q={}", encoded(&payload));
        assert_eq!(hidden_on(&desk, &[path], &[payload]).await, [""; 0]);
    }
    for payload in batches() {
        let text = encoded(&payload);
        let paths = [
            format!("/login?next=/{text}"),
            format!("/login?error={text}"),
            format!("/setup?token={text}"),
            format!("/?job={text}&outcome={text}&sort={text}&page={text}"),
            format!("/delete?names[]={text}"),
            format!("/restore?file={text}&plan={text}"),
            format!("/settings/sftp?outcome={text}"),
            format!("/{text}"),
            format!("/backups/{text}"),
            format!("/archives/{text}/{text}"),
        ];
        hidden_on(&desk, &paths, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_in_a_form_is_text() {
    let desk = Desk::with(&["ledger"]);
    let file = desk.back_up("ledger");
    for (payload, user) in batches().into_iter().zip(payloads().into_iter().step_by(9)) {
        let text = encoded(&payload);
        let settings = |host: &str, user: &str, directory: &str| {
            format!(
                "entry[host]={host}&entry[port]=22&entry[username]={user}&entry[auth]=password\
                 &entry[password]=x&entry[remote_directory]={directory}"
            )
        };
        let mut told = Vec::new();
        for (function, form) in [
            ("create_backup", format!("database={text}")),
            ("try_database", format!("database={text}")),
            ("delete_backups", format!("names[]={text}")),
            ("verify_backups", format!("names[]={text}")),
            ("upload_backups", format!("names[]={text}")),
            ("plan_restore", format!("entry[file]={file}&entry[place]=beside:ledger&entry[name]={text}")),
            ("plan_restore", format!("entry[file]={file}&entry[place]={text}&entry[url]={text}")),
            ("save_sftp", settings(&text, "u", "d")),
            ("save_sftp", settings("nas", &encoded(&user), &text)),
            ("test_sftp", settings(&text, &text, "d")),
        ] {
            let answer = desk.form(&format!("/api/{function}"), &form).await;
            let (faults, _) = faults_of(function, &answer);
            assert!(faults.is_empty() || !answer.header("content-type").contains("html"), "{faults:?}");
            let led = answer.location().strip_prefix("http://holdfast.test").unwrap_or(answer.location());
            if led.starts_with('/') {
                told.push(led.to_owned());
            }
        }
        assert!(told.len() > 5, "{told:?}");
        hidden_on(&desk, &told, &[]).await;
        let page = ["/settings/sftp".to_owned()];
        assert_eq!(hidden_on(&desk, &page, &[payload, user]).await, [""; 0], "user and directory");
    }
}

/// A PostgreSQL server that answers everybody with an error of these words.
fn rude_server(words: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut asked = [0; 8];
            if connection.read_exact(&mut asked).is_ok() && asked == [0, 0, 0, 8, 4, 210, 22, 47] {
                // It has no TLS.
                connection.write_all(b"N").unwrap();
                let mut length = [0; 4];
                connection.read_exact(&mut length).unwrap();
                connection.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4]).unwrap();
            }
            let fields = format!("SFATAL\0VFATAL\0C28000\0M{words}\0\0");
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let _ = connection.write_all(&[b"E", &length[..], fields.as_bytes()].concat());
            let _ = connection.shutdown(Shutdown::Write);
        }
    });
    port
}

fn server(user: &str, port: u16, database: &str) -> Target {
    Target::new(Server {
        user: user.to_owned(),
        password: None,
        hosts: vec![Endpoint { host: "127.0.0.1".to_owned(), port }],
        database: database.to_owned(),
        parameters: Parameters::default(),
    })
}

fn named(name: &str, target: Target) -> (DatabaseName, Target) {
    (name.parse().unwrap(), target)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_and_tools_say_is_text() {
    let cluster = cluster();
    cluster.create_database("hostile");
    let (everything, home) = (payloads().join("\n"), tempfile::tempdir().unwrap());
    let paths = payloads().into_iter().step_by(61).map(|payload| payload.replace('/', "%"));
    let paths: Vec<_> = paths.map(|payload| home.path().join(payload)).collect();
    let mut databases = vec![
        named("rude", server("u", rude_server(everything.clone()), "d")),
        named("tool", Target::parse(&cluster.socket_url("hostile")).unwrap()),
    ];
    let names = payloads().into_iter().skip(3).step_by(61).collect::<Vec<_>>();
    for (at, (path, name)) in paths.iter().zip(&names).enumerate() {
        small_database(path);
        databases.push(named(&format!("path-{at}"), Target::of_file(path.clone())));
        databases.push(named(&format!("name-{at}"), server(name, 1, name)));
    }
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in --version) exec {}/pg_dump --version;; esac\ncat >&2 <<'END'\n{everything}\nEND\nexit 1\n",
        cluster.bin().display()
    );
    let desk = Desk::with_tool(databases, &script);
    let mut shown = payloads();
    shown.extend(paths.iter().map(|path| path.to_str().unwrap().to_owned()));
    shown.extend(names);
    assert_eq!(
        hidden_on(&desk, &["/databases".to_owned()], &shown).await,
        [""; 0],
        "the server's words, and addresses"
    );
    for database in ["tool", "rude", "name-0", "path-0"] {
        for function in ["create_backup", "try_database"] {
            let led = desk.form(&format!("/api/{function}"), &format!("database={database}")).await;
            let led =
                led.location().strip_prefix("http://holdfast.test").unwrap_or(led.location()).to_owned();
            hidden_on(&desk, std::slice::from_ref(&led), &[]).await;
            desk.holdfast.jobs().all_ended().await;
            hidden_on(&desk, &[led], &[]).await;
        }
    }
    assert_eq!(hidden_on(&desk, &pages(), &payloads()).await, [""; 0], "the tool's words");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sidecar_or_the_off_site_store_says_is_text() {
    let harbour = Harbour::open().await;
    let desk = &harbour.desk;
    let file = desk.back_up("ledger");
    desk.holdfast.verifications().start(&[file.to_string()]).unwrap();
    desk.holdfast.jobs().all_ended().await;
    let everything = payloads();
    let change = |name: String, change: &dyn Fn(&mut serde_json::Value)| {
        let path = desk.backup(&name);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        fs::write(&path, json.to_string()).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    };
    change(file.verdict(), &|verdict| {
        verdict["proof"] = "damaged".into();
        verdict["damage"] = everything.clone().into();
        verdict["notes"] = everything.clone().into();
        verdict["verified_by"] = everything.join(" ").into();
    });
    let mut paths = pages();
    paths.push(format!("/restore?file={file}"));
    assert_eq!(hidden_on(desk, &paths, &everything).await, [""; 0], "the verdict");
    change(file.manifest(), &|manifest| {
        for field in ["warnings", "created_by", "backup_format", "payload_sha256", "content_sha256"] {
            manifest[field] = everything.join(" ").into();
        }
    });
    hidden_on(desk, &paths, &[]).await;
    desk.holdfast.verifications().start(&[file.to_string()]).unwrap();
    desk.holdfast.jobs().all_ended().await;
    hidden_on(desk, &paths, &[]).await;
    // Files there whose names are hostile, and one that is not.
    let there = harbour.sshd.account().join("copies");
    fs::create_dir_all(&there).unwrap();
    Sshd::give(&there);
    for payload in payloads().into_iter().map(|payload| payload.replace('/', "%")) {
        fs::write(there.join(format!("backup_{payload}.dump.gz")), "x").unwrap();
        fs::write(there.join(&payload), "x").unwrap();
    }
    fs::write(there.join("backup_plain.dump.gz"), "x").unwrap();
    let listed = ["backup_plain.dump.gz".to_owned()];
    assert_eq!(hidden_on(desk, &["/remote".to_owned()], &listed).await, [""; 0], "the control");
    // A machine that answers with words in the place of an SSH greeting.
    for words in batches() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answering = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = connection.write_all(format!("{words}\r\nSSH-2.0-{words}\r\n").as_bytes());
        });
        let form = format!(
            "entry[host]=127.0.0.1&entry[port]={port}&entry[username]=u&entry[auth]=password&entry[password]=x"
        );
        let led = desk.form("/api/test_sftp", &form).await;
        let led = led.location().strip_prefix("http://holdfast.test").unwrap_or(led.location()).to_owned();
        assert!(led.starts_with("/settings/sftp?outcome="), "{led}");
        answering.join().unwrap();
        hidden_on(desk, &[led], &[]).await;
    }
}
