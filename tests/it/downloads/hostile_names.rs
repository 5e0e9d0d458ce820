//! Names that are none, and things that only look like backups: nothing but what is listed ever leaves.

use super::*;

/// What nobody may be served: bytes of files outside the directory, or of ones that are not listed.
const SECRET: &str = "the words that must never leave";

/// Two thousand names that are no backup's.
fn hostile_names() -> Vec<Vec<u8>> {
    let long = format!("backup_{}.dump.gz", "a".repeat(300));
    let seeds: [&[u8]; 40] = [
        b"..",
        b".",
        b"",
        b"/",
        b"//",
        b"../",
        b"../holdfast.db",
        b"../../holdfast.db",
        b"..\\holdfast.db",
        b"../secret",
        b"../backups/backup_a.dump.gz",
        b"./backup_a.dump.gz",
        b"%2e%2e%2f",
        b"%2e%2e%2fsecret",
        b"%252e%252e%252fsecret",
        b"..%c0%af..%c0%afsecret",
        b"\xc0\xae\xc0\xae\xc0\xafsecret",
        b"\xe0\x80\xae\xe0\x80\xae/secret",
        b"\xff\xfe",
        b"backup_a.dump.gz\0",
        b"backup_a.dump.gz\0.txt",
        b"\0",
        b"backup_a.dump.gz\r\nX-Injected: yes",
        b"backup_a\n.dump.gz",
        "\u{202e}zg.pmud.a_pukcab".as_bytes(),
        "backup_\u{202e}a.dump.gz".as_bytes(),
        long.as_bytes(),
        b"-rf",
        b"--help",
        b"CON",
        b"C:\\boot.ini",
        b"backup_a.dump.gz::$DATA",
        b"backup_a.dump.gz.manifest.json",
        b".part-0123456789abcdef01234567",
        b".holdfast-server.lock",
        b"holdfast.db",
        b"holdfast.db-wal",
        b"backup_a.dump.gz;ls",
        b"$(id)",
        b"/proc/self/environ",
    ];
    let affixes: [(&[u8], &[u8]); 10] = [
        (b"", b""),
        (b"../", b""),
        (b"", b"\0"),
        (b"", b".dump.gz"),
        (b"backup_", b".dump.gz"),
        (b"backup_../", b".dump.gz"),
        (b"%2e%2e/", b""),
        (b"", b"/"),
        (b"", b"\r\nSet-Cookie: x=1"),
        (b"", b"?x"),
    ];
    let mut names = Vec::new();
    for seed in seeds {
        for (before, after) in affixes {
            let plain = [before, seed, after].concat();
            let doubled = plain.repeat(2);
            let upper = plain.to_ascii_uppercase();
            let encoded = percent_encode(&plain, NON_ALPHANUMERIC).to_string().into_bytes();
            let twice = percent_encode(&encoded, NON_ALPHANUMERIC).to_string().into_bytes();
            names.extend([plain, doubled, upper, encoded, twice]);
        }
    }
    names
}

fn url(name: &[u8]) -> String {
    percent_encode(name, NON_ALPHANUMERIC).to_string()
}

fn name_of(headers: &HeaderMap) -> BTreeSet<&str> {
    headers.keys().map(http::HeaderName::as_str).collect()
}

fn guarded_desk() -> Desk {
    let desk = Desk::new();
    for path in
        ["secret", "data/secret", "data/backups/secret", "data/backups/.part-0123456789abcdef01234567"]
    {
        fs::write(desk.at(path), SECRET).unwrap();
    }
    put(&desk, "backup_a.dump.gz", b"the one that may be had");
    desk
}

/// Nothing that must not leave, and nothing of the state database.
fn is_clean(body: &[u8]) -> bool {
    let has = |what: &str| body.windows(what.len()).any(|window| window == what.as_bytes());
    !has(SECRET) && !has("SQLite format 3") && !has("payload_sha256") && !has("root:x:")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_hostile_names_reach_nothing() {
    let desk = guarded_desk();
    let names = hostile_names();
    assert!(names.len() >= 2000, "{}", names.len());
    let id = bundled(&desk, &["backup_a.dump.gz"], Zip).split('/').nth(2).unwrap().to_owned();
    let routes: [fn(&str, &str) -> String; 4] = [
        |name, _| format!("/backups/{name}"),
        |name, _| format!("/api/backups/{name}"),
        |name, _| format!("/archives/{name}/backups.zip"),
        |name, id| format!("/archives/{id}/{name}"),
    ];
    for route in routes {
        let control = get(&desk, &route("backup_gone.dump.gz", &id), &[]).await;
        assert_eq!(control.status, StatusCode::NOT_FOUND);
        for name in &names {
            // As it is, where an address may hold it, and encoded.
            let raw = String::from_utf8(name.clone()).ok().map(|name| route(&name, &id));
            let raw = raw.filter(|path| path.parse::<http::Uri>().is_ok_and(|uri| uri.path().len() > 1));
            for path in raw.into_iter().chain([route(&url(name), &id)]) {
                let got = get(&desk, &path, &[("accept", JSON)]).await;
                assert!(matches!(got.status.as_u16(), 400 | 404), "{path}: {}", got.status);
                assert!(is_clean(&got.body), "{path}: {}", String::from_utf8_lossy(&got.body));
                assert!(
                    name_of(&got.headers).is_subset(&name_of(&control.headers)) || got.status != 404,
                    "{path}"
                );
                assert!(!got.headers.contains_key("x-injected"), "{path}");
                assert!(!got.headers.contains_key("set-cookie"), "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_in_a_selection_are_left_out_and_told_one_a_line() {
    let desk = guarded_desk();
    let names = hostile_names();
    let distinct: BTreeSet<_> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let fields: Vec<_> = names.iter().map(|name| format!("names%5B%5D={}&", url(name))).collect();
    let fields = fields.concat();
    for format in ArchiveFormat::ALL {
        let key = format.key();
        let none = desk.tell("/archives", &format!("{fields}format={key}")).await;
        assert_eq!(none.status, StatusCode::SEE_OTHER);
        assert!(none.location().starts_with("/?outcome="), "{}", none.location());
        let led = desk.tell("/archives", &format!("{fields}names%5B%5D=backup_a.dump.gz&format={key}")).await;
        assert_eq!(led.status, StatusCode::SEE_OTHER, "{}", led.body);
        assert!(!led.headers.contains_key("x-injected"));
        let cookies: Vec<_> =
            led.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
        assert!(matches!(cookies[..], [one] if one.starts_with("holdfast_outcome=")), "{cookies:?}");
        let place = tempfile::tempdir().unwrap();
        let got = get(&desk, led.location(), &[]).await;
        fs::write(place.path().join(format.file_name()), got.body).unwrap();
        match format {
            Zip => content("unzip", &["-q", "backups.zip"], place.path()),
            TarGz => content("tar", &["-xzf", "backups.tar.gz"], place.path()),
        };
        let held = names_in(place.path());
        let own = [
            "MISSING.txt",
            "SHA256SUMS",
            "backup_a.dump.gz",
            "backup_a.dump.gz.manifest.json",
            format.file_name(),
        ];
        assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), own.map(str::to_owned).into());
        let told = fs::read_to_string(place.path().join("MISSING.txt")).unwrap();
        assert_eq!(told.lines().count(), distinct.len());
        assert!(!told.contains(['\0', '\r', '\u{202e}']), "unprintable characters");
    }
    let there = contents_of(desk.holdfast.backup_dir());
    let deleted = desk.tell("/api/delete_backups", &fields).await.json();
    assert_eq!(deleted["gone"], serde_json::json!([]));
    assert_eq!(deleted["kept"].as_array().unwrap().len(), distinct.len());
    assert_eq!(contents_of(desk.holdfast.backup_dir()), there);
    for name in names.iter().step_by(20) {
        let body = format!("names%5B%5D={}&format=zip", url(name));
        let alone = desk.tell("/archives", &body).await;
        assert!(alone.location().starts_with("/?outcome="), "{body}: {}", alone.location());
        // Of bytes that are no text there is nothing to look for.
        if std::str::from_utf8(name).is_ok() {
            let told = desk.tell("/api/bundle_backups", &body).await;
            assert_eq!(
                (told.status, &told.json()["address"]),
                (StatusCode::OK, &serde_json::Value::Null),
                "{body}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_no_address_may_hold_are_refused_at_the_socket() {
    let desk = guarded_desk();
    let to = listening(&desk).await;
    let mut looked_at = 0;
    for name in hostile_names().into_iter().filter(|name| !name.contains(&b'\n')).step_by(15) {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let end = format!(" HTTP/1.1\r\nHost: x\r\nCookie: {}\r\nConnection: close\r\n\r\n", desk.cookie);
        stream.write_all(&[b"GET /backups/", &name[..], end.as_bytes()].concat()).unwrap();
        let mut got = Vec::new();
        // A reset after a refusal is as good as an end.
        let _ = stream.read_to_end(&mut got);
        let head = String::from_utf8_lossy(&got[..got.len().min(12)]).into_owned();
        assert!(["HTTP/1.1 400", "HTTP/1.1 404", "HTTP/1.1 414"].contains(&&*head), "{name:?}: {head}");
        assert!(is_clean(&got), "{name:?}");
        looked_at += 1;
    }
    assert!(looked_at > 60, "{looked_at}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_a_backup_is_neither_served_nor_bundled() {
    let desk = guarded_desk();
    let at = |name: &str| desk.backup(&format!("backup_{name}.dump.gz"));
    symlink(desk.at("secret"), at("link-out")).unwrap();
    symlink("backup_a.dump.gz", at("link-in")).unwrap();
    symlink("nowhere", at("link-nowhere")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("directory").join("x"), SECRET).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    content("mkfifo", &[at("pipe").to_str().unwrap()], Path::new("/"));
    symlink(desk.at("secret"), desk.backup("backup_a.dump.gz.manifest.json.new")).unwrap();
    let kinds = ["link-out", "link-in", "link-nowhere", "directory", "socket", "pipe"];
    let names = kinds.map(|kind| format!("backup_{kind}.dump.gz"));
    let asked = async {
        for name in &names {
            for route in ["/backups/", "/api/backups/"] {
                let got = get(&desk, &format!("{route}{name}"), &[]).await;
                assert_eq!(got.status, StatusCode::NOT_FOUND, "{route}{name}");
                assert!(is_clean(&got.body));
            }
            let none = desk.tell("/archives", &form(&[name], "zip")).await;
            assert!(none.location().starts_with("/?outcome="), "{}", none.location());
        }
        let all: Vec<_> = names.iter().map(String::as_str).chain(["backup_a.dump.gz"]).collect();
        let got = get(&desk, desk.tell("/archives", &form(&all, "tar.gz")).await.location(), &[]).await;
        assert_eq!(got.status, StatusCode::OK);
        assert!(!got.body.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("something hangs on a pipe");
    // A manifest that is a link is none, and where it leads to does not go along.
    fs::remove_file(desk.backup("backup_a.dump.gz.manifest.json")).unwrap();
    symlink(desk.at("secret"), desk.backup("backup_a.dump.gz.manifest.json")).unwrap();
    let got = get(&desk, &bundled(&desk, &["backup_a.dump.gz"], Zip), &[]).await;
    assert!(is_clean(&got.body) && got.body.windows(10).any(|window| window == b"SHA256SUMS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_swaps_for_a_link_serve_the_file_or_nothing() {
    let desk = guarded_desk();
    let (name, bytes) = ("backup_swap.dump.gz", b"what may be had".to_vec());
    let (at, stop) = (desk.backup(name), AtomicBool::new(false));
    let (kept, secret) = (desk.at("kept"), desk.at("secret"));
    fs::write(&kept, &bytes).unwrap();
    let mut seen = [0_u32; 3];
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Each appears by a rename, so that there is always one or the other.
                    let (link, file) = (desk.at("link"), desk.at("file"));
                    symlink(&secret, &link).unwrap();
                    fs::rename(&link, &at).unwrap();
                    fs::hard_link(&kept, &file).unwrap();
                    fs::rename(&file, &at).unwrap();
                }
            });
            let _stopped_whatever_happens = Stopped(&stop);
            runtime.block_on(async {
                for _ in 0..1000 {
                    let got = get(&desk, &format!("/backups/{name}"), &[]).await;
                    assert!(is_clean(&got.body));
                    match got.status.as_u16() {
                        200 => assert_eq!(got.body, bytes),
                        404 => {}
                        other => panic!("{other}"),
                    }
                    seen[usize::from(got.status == 200)] += 1;
                    if let Some(address) =
                        desk.holdfast.backups().bundle(OWNER, vec![name.to_owned()], Zip).unwrap().address
                    {
                        let got = get(&desk, &address, &[]).await;
                        assert!(is_clean(&got.body));
                        assert!(matches!(got.status.as_u16(), 200 | 409), "{}", got.status);
                        seen[2] += 1;
                    }
                }
            });
        });
    });
    assert!(seen.iter().all(|&times| times > 10), "the race was not run: {seen:?}");
}

/// Stops the other thread when this one ends, also by a failure.
struct Stopped<'s>(&'s AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
