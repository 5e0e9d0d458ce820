//! Archives in the hands of other people's unpackers, and the arithmetic they are made by.

use super::*;
use holdfast::domain::bundles::layout::{Files, Plan};
use holdfast::domain::bundles::member::{Content, Member};
use holdfast::domain::bundles::{LIFE, NAMES_MAX, tar, zip};
use holdfast::domain::error::Error;
use holdfast::domain::repository::download::Download;
use http::Request;
use http::header::{COOKIE, HOST};
use proptest::prelude::*;

/// What an archive of these holds, besides SHA256SUMS and MISSING.txt.
fn expected(desk: &Desk, names: &[&str]) -> BTreeSet<String> {
    let there = names_in(desk.holdfast.backup_dir());
    there
        .into_iter()
        .filter(|file| names.iter().any(|name| file == name || *file == format!("{name}.manifest.json")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_archives_open_in_other_people_s_tools_and_hold_the_files() {
    let (desk, names) = filled();
    let missing = ["backup_gone.dump.gz", "../holdfast.db"];
    let selected: Vec<_> = names.iter().chain(&missing).chain(&names[..2]).copied().collect();
    for format in ArchiveFormat::ALL {
        let request = desk.request("POST", "/archives").header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM);
        let led = desk.send(request, &form(&selected, format.key())).await;
        assert_eq!(led.status, StatusCode::SEE_OTHER, "{}", led.body);
        assert!(led.location().ends_with(format.file_name()), "{}", led.location());
        let got = get(&desk, led.location(), &[]).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_eq!(got.header(CONTENT_TYPE), format.content_type());
        assert_eq!(got.header(CONTENT_LENGTH), got.body.len().to_string());
        let disposition = got.header("content-disposition");
        assert_eq!(disposition, format!("attachment; filename=\"{}\"", format.file_name()));

        let place = tempfile::tempdir().unwrap();
        let at = place.path();
        fs::write(at.join(format.file_name()), &got.body).unwrap();
        fs::create_dir(at.join("out")).unwrap();
        let script = at.join("look.py");
        let listed: Vec<String> = match format {
            Zip => {
                content("unzip", &["-tq", "backups.zip"], at);
                content("unzip", &["-q", "backups.zip", "-d", "out"], at);
                fs::write(&script, ZIP_LOOK).unwrap();
                content("python3", &["look.py"], at).lines().map(str::to_owned).collect()
            }
            TarGz => {
                content("gzip", &["-t", "backups.tar.gz"], at);
                content("tar", &["-xzf", "backups.tar.gz", "-C", "out"], at);
                fs::write(&script, TAR_LOOK).unwrap();
                let by_python: Vec<_> =
                    content("python3", &["look.py"], at).lines().map(str::to_owned).collect();
                let by_tar = content("tar", &["-tzf", "backups.tar.gz"], at);
                assert_eq!(by_tar.lines().collect::<Vec<_>>(), by_python);
                by_python
            }
        };
        if is_installed("bsdtar") {
            let by_bsdtar = content("bsdtar", &["-tf", format.file_name()], at);
            assert_eq!(by_bsdtar.lines().collect::<Vec<_>>(), listed);
        }
        let mut held = expected(&desk, &names);
        let mut in_order: Vec<_> = held.iter().cloned().collect();
        in_order.extend(["SHA256SUMS".to_owned(), "MISSING.txt".to_owned()]);
        assert_eq!(listed, in_order, "each backup, its manifest, and what says about them");
        held.extend(["SHA256SUMS".to_owned(), "MISSING.txt".to_owned()]);
        let out = at.join("out");
        assert_eq!(names_in(&out).into_iter().collect::<BTreeSet<_>>(), held);
        for name in expected(&desk, &names) {
            assert_eq!(fs::read(out.join(&name)).unwrap(), fs::read(desk.backup(&name)).unwrap(), "{name}");
            let (there, here) =
                (fs::metadata(desk.backup(&name)).unwrap(), fs::metadata(out.join(&name)).unwrap());
            assert_eq!(here.permissions().mode() & 0o777, 0o600, "{name}");
            assert_eq!(here.mtime(), there.mtime(), "{name}");
        }
        let checked = content("sha256sum", &["-c", "--strict", "SHA256SUMS"], &out);
        assert_eq!(checked.lines().count(), expected(&desk, &names).len());
        let told = fs::read_to_string(out.join("MISSING.txt")).unwrap();
        assert_eq!(
            told,
            "../holdfast.db: not the name of a backup: it must look like backup_….dump.gz\n\
             backup_gone.dump.gz: there is no such backup\n"
        );
    }
}

const ZIP_LOOK: &str = "
import zipfile
z = zipfile.ZipFile('backups.zip')
assert z.testzip() is None
for i in z.infolist():
    assert i.compress_type == zipfile.ZIP_STORED and i.flag_bits & 0x800 and not i.flag_bits & 8
    assert i.external_attr >> 16 == 0o100600
    print(i.filename)
";

/// Java's reader takes the local headers as they come and never sees the directory at the end.
#[tokio::test(flavor = "multi_thread")]
async fn java_reads_a_zip_while_it_comes() {
    let (desk, names) = filled();
    let to = listening(&desk).await;
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("Look.java"), JAVA_LOOK).unwrap();
    let sum_of = |bytes: &[u8]| HEXLOWER.encode(&Sha256::digest(bytes));
    let held = expected(&desk, &names);
    let mut files: Vec<_> =
        held.into_iter().map(|name| (fs::read(desk.backup(&name)).unwrap(), name)).collect();
    let sums: Vec<_> = files.iter().map(|(bytes, name)| format!("{}  {name}\n", sum_of(bytes))).collect();
    files.push((sums.concat().into_bytes(), "SHA256SUMS".to_owned()));
    let missing = "backup_gone.dump.gz: there is no such backup\n";
    files.push((missing.into(), "MISSING.txt".to_owned()));
    let truth: Vec<_> =
        files.iter().map(|(bytes, name)| format!("{name} {} {}\n", bytes.len(), sum_of(bytes))).collect();

    let selected: Vec<_> = names.iter().copied().chain(["backup_gone.dump.gz"]).collect();
    let address = bundled(&desk, &selected, Zip);
    let look = |zip: Stdio| java("Look.java", place.path(), zip);
    let cookie = format!("Cookie: {}", desk.cookie);
    let mut curl = Command::new("curl")
        .args(["-sS", "--fail", "-H", &cookie, &format!("http://{to}{address}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let looked = look(curl.stdout.take().unwrap().into());
    assert!(curl.wait().unwrap().success());
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    assert_eq!(String::from_utf8_lossy(&looked.stdout), truth.concat());

    // The control: one wrong byte in the middle of the largest.
    let mut bytes = get(&desk, &address, &[]).await.body;
    let largest = fs::read(desk.backup(names[3])).unwrap();
    let at = bytes.windows(64).position(|window| window == &largest[350_000..350_064]).unwrap();
    bytes[at] ^= 1;
    fs::write(place.path().join("wrong.zip"), bytes).unwrap();
    let looked = look(File::open(place.path().join("wrong.zip")).unwrap().into());
    let complained = String::from_utf8_lossy(&looked.stderr);
    assert!(!looked.status.success() && complained.contains("invalid entry CRC"), "{complained}");
}

/// Compiles and runs a program of one file.
fn java(program: &str, directory: &Path, input: Stdio) -> Output {
    Command::new("java")
        .arg(program)
        .current_dir(directory)
        .stdin(input)
        .output()
        .map_err(|error| format!("no JDK's java, which scripts/setup installs: {error}"))
        .unwrap()
}

/// Above four gigabytes the sizes stand elsewhere in a local header, and no directory repeats them.
#[test]
fn java_finds_its_way_past_a_member_of_more_than_four_gigabytes() {
    const SIZE: u64 = (4 << 30) + 1;
    let desk = Desk::new();
    put_zeros(&desk, "backup_large.dump.gz", SIZE);
    put(&desk, "backup_small.dump.gz", b"what comes after it");
    let address = bundled(&desk, &["backup_large.dump.gz", "backup_small.dump.gz"], Zip);
    let open = desk.holdfast.backups().open_bundle(OWNER, address.split('/').nth(2).unwrap(), Zip).unwrap();
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("Sizes.java"), JAVA_SIZES).unwrap();
    let zip = place.path().join("backups.zip");
    write_ends(&open, &zip);
    let looked = java("Sizes.java", place.path(), File::open(zip).unwrap().into());
    let said = String::from_utf8_lossy(&looked.stdout).into_owned();
    let sizes: Vec<_> = said.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert!(looked.status.success() && sizes.len() == 5, "{said}");
    assert_eq!(sizes[0], ("backup_large.dump.gz", &*SIZE.to_string()));
    assert_eq!(sizes[2], ("backup_small.dump.gz", "19"));
}

const JAVA_SIZES: &str = r#"
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

public class Sizes {
    public static void main(String[] arguments) throws Exception {
        ZipInputStream zip = new ZipInputStream(System.in);
        byte[] part = new byte[1 << 20];
        for (ZipEntry entry; (entry = zip.getNextEntry()) != null;) {
            long size = 0;
            for (int read; (read = zip.read(part)) != -1;) size += read;
            System.out.println(entry.getName() + " " + size);
        }
    }
}
"#;

const JAVA_LOOK: &str = r#"
import java.math.BigInteger;
import java.security.MessageDigest;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

public class Look {
    public static void main(String[] arguments) throws Exception {
        ZipInputStream zip = new ZipInputStream(System.in);
        byte[] part = new byte[65536];
        for (ZipEntry entry; (entry = zip.getNextEntry()) != null;) {
            MessageDigest sum = MessageDigest.getInstance("SHA-256");
            long size = 0;
            for (int read; (read = zip.read(part)) != -1; size += read) sum.update(part, 0, read);
            System.out.printf("%s %d %064x%n", entry.getName(), size, new BigInteger(1, sum.digest()));
        }
    }
}
"#;

const TAR_LOOK: &str = "
import tarfile
t = tarfile.open('backups.tar.gz', 'r:gz')
for m in t:
    assert m.isreg() and m.mode == 0o600 and len(t.extractfile(m).read()) == m.size
    print(m.name)
";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_told_the_address_the_size_and_what_is_missing() {
    let (desk, names) = filled();
    let ask =
        async |names: &[&str], format: &str| desk.tell("/api/bundle_backups", &form(names, format)).await;
    let told = ask(&[names[0], "nothing", FOREIGN], "tar.gz").await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    let told = told.json();
    assert_eq!((&told["files"], &told["missing"]), (&2.into(), &serde_json::json!(["nothing"])));
    let got = get(&desk, told["address"].as_str().unwrap(), &[]).await;
    assert_eq!(told["size"], got.body.len());
    let none = ask(&["backup_gone.dump.gz"], "zip").await;
    // No error to the browser, which would put it on its console: the page has a sentence for it.
    assert_eq!((none.status, &none.json()["address"]), (StatusCode::OK, &serde_json::Value::Null));
    assert_eq!(none.json()["missing"][0], "backup_gone.dump.gz");
    assert_eq!(ask(&[], "zip").await.json()["address"], serde_json::Value::Null);
    assert_eq!(ask(&["x"], "rar").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_name_is_a_backup_s_there_is_no_archive() {
    let desk = Desk::new();
    let post = async |body: &str| desk.form_from("/?page=2&q=led", "/archives", body).await;
    for body in [form(&["backup_gone.dump.gz", "x"], "zip"), form(&[], "tar.gz")] {
        let answer = post(&body).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        assert!(answer.location().starts_with("/?page=2&q=led&outcome="), "{}", answer.location());
        let page = desk.page(answer.location()).await;
        let told = page.body.split_once("role=\"alert\"").unwrap().1.split_once("</div>").unwrap().0;
        let words = if body.contains("gone") { "backup_gone.dump.gz, x" } else { "Nothing was selected" };
        assert!(told.contains(words), "{told}");
    }
    for format in ["", "rar", "ZIP", "zip%00"] {
        let answer = post(&form(&["x"], format)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{format}");
        assert!(answer.body.contains("Choose zip or tar.gz"), "{}", answer.body);
    }
    let archives: i64 =
        state(&desk).query_row("SELECT count(*) FROM archives", [], |row| row.get(0)).unwrap();
    assert_eq!(archives, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_may_be_as_large_as_lists_get_and_no_larger() {
    let desk = Desk::new();
    put(&desk, "backup_a.dump.gz", b"x");
    let many: Vec<_> =
        (0..70_000).map(|i| format!("backup_ledger-{i:06}_2026-11-23_02-41-07Z.dump.gz")).collect();
    let names: Vec<_> = many.iter().map(String::as_str).chain(["backup_a.dump.gz"]).collect();
    let led = desk.tell("/archives", &form(&names, "zip")).await;
    assert!(led.location().starts_with("/archives/"), "{} {}", led.status, led.body);
    let told = desk.tell("/api/bundle_backups", &form(&names, "zip")).await.json();
    assert_eq!((&told["files"], told["missing"].as_array().unwrap().len()), (&1.into(), 70_000));
    let too_many: Vec<_> = (0..=NAMES_MAX).map(|i| format!("x{i}")).collect();
    let too_many: Vec<_> = too_many.iter().map(String::as_str).collect();
    let refused = desk.tell("/archives", &form(&too_many, "zip")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.body.contains("at most"), "{}", refused.body);
    let too_long = "x".repeat(17 << 20);
    for path in ["/archives", "/api/bundle_backups"] {
        let refused = desk.tell(path, &form(&[&too_long], "zip")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

fn state(desk: &Desk) -> rusqlite::Connection {
    rusqlite::Connection::open(desk.at("data/holdfast.db")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_lives_a_day_through_restarts_and_is_its_account_s_alone() {
    let (desk, names) = filled();
    let another = "INSERT INTO accounts (id, username, password_hash, created) VALUES (2, 'another', 'x', 0)";
    state(&desk).execute(another, []).unwrap();
    let address = bundled(&desk, &names, Zip);
    let id = address.split('/').nth(2).unwrap();
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let open = |account, format| {
        desk.reopened().backups().open_bundle(account, id, format).map(|open| open.mark().to_owned())
    };
    let mark = open(OWNER, Zip).unwrap();
    assert_eq!(
        get(&desk, &address, &[]).await.header(ETAG),
        format!("\"{mark}\""),
        "the same after a restart"
    );
    assert!(matches!(open(2, Zip), Err(Error::NoArchive)), "another account's");
    assert!(matches!(open(OWNER, TarGz), Err(Error::NoArchive)), "another format");
    for path in [
        address.replace("backups.zip", "backups.tar.gz"),
        address.replace("backups.zip", "BACKUPS.zip"),
        format!("/archives/{}/backups.zip", "0".repeat(32)),
        "/archives/x/backups.zip".to_owned(),
    ] {
        let answer = desk.page(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.body.contains("There is no such archive, or it has expired"), "{}", answer.body);
    }
    desk.pass(LIFE - 1);
    assert!(open(OWNER, Zip).is_ok());
    desk.pass(1);
    assert!(matches!(open(OWNER, Zip), Err(Error::NoArchive)), "expired");
    bundled(&desk, &names, TarGz);
    let kept: i64 = state(&desk).query_row("SELECT count(*) FROM archives", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1, "what expired is dropped when another is made");
}

/// The browser that downloads stays on its page, so the next one tells, once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_out_is_told_by_the_next_page() {
    let (desk, names) = filled();
    let led = desk.tell("/archives", &form(&[names[0], "backup_gone.dump.gz"], "zip")).await;
    assert!(led.location().starts_with("/archives/"), "{}", led.location());
    let (cookie, _) = led.header("set-cookie").split_once(';').unwrap();
    let with = |cookie: &str| {
        let session = &desk.cookie;
        Request::get("/")
            .header(HOST, "holdfast.test")
            .header(ACCEPT, BROWSER)
            .header(COOKIE, format!("{session}; {cookie}"))
    };
    let page = desk.send(with(cookie), "").await;
    assert!(page.body.contains("Left out of the archive: backup_gone.dump.gz."), "{}", page.body);
    assert!(page.header("set-cookie").starts_with("holdfast_outcome=; "), "{}", page.header("set-cookie"));
    assert!(!desk.page("/").await.body.contains("Left out"));
    let whole = desk.tell("/archives", &form(&[names[0]], "zip")).await;
    assert!(!whole.headers.contains_key("set-cookie"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_give_the_same_bytes() {
    let (desk, names) = filled();
    for format in ArchiveFormat::ALL {
        let first = get(&desk, &bundled(&desk, &names, format), &[]).await;
        let reopened = desk.reopened();
        let mut turned: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        turned.reverse();
        let again = reopened.backups().bundle(OWNER, turned, format).unwrap().address.unwrap();
        let open = reopened.backups().open_bundle(OWNER, again.split('/').nth(2).unwrap(), format).unwrap();
        let mut bytes = vec![0; usize::try_from(open.size()).unwrap()];
        open.read_exact_at(0, &mut bytes).unwrap();
        assert!(bytes == first.body, "{format:?}");
        assert_eq!(first.header(ETAG), format!("\"{}\"", open.mark()));
        // The control: other bytes, another mark.
        let fewer = get(&desk, &bundled(&desk, &names[1..], format), &[]).await;
        assert_ne!(fewer.header(ETAG), first.header(ETAG));
    }
}

#[test]
fn sums_no_manifest_has_are_taken_once() {
    let desk = Desk::new();
    fs::write(desk.backup(FOREIGN), noise(100_000, 5)).unwrap();
    let described = "backup_wrong-size.dump.gz";
    put(&desk, described, &noise(1000, 1));
    describe(&desk, described, 999, 7, &"ef".repeat(32));
    let mark = || {
        let address = bundled(&desk, &[FOREIGN, described], Zip);
        let open =
            desk.holdfast.backups().open_bundle(OWNER, address.split('/').nth(2).unwrap(), Zip).unwrap();
        open.mark().to_owned()
    };
    let first = mark();
    let kept: i64 = state(&desk).query_row("SELECT count(*) FROM digests", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2);
    state(&desk).execute("UPDATE digests SET crc32 = crc32 + 1", []).unwrap();
    assert_ne!(mark(), first, "what is kept is used");
    state(&desk).execute("UPDATE digests SET modified = modified + 1", []).unwrap();
    assert_eq!(mark(), first, "what is of another state of the file is not");
    state(&desk).execute_batch("DROP TABLE digests").unwrap();
    assert_eq!(mark(), first, "without the state database they are taken anew");
}

/// Files in memory.
struct Here(Vec<Vec<u8>>);

impl Files for Here {
    fn read_exact_at(&self, file: usize, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[file][offset..offset + buf.len()]);
        Ok(())
    }
}

fn naive(format: ArchiveFormat, members: &[Member], files: &Here) -> Vec<u8> {
    let (mut whole, mut starts) = (Vec::new(), Vec::new());
    for member in members {
        starts.push(whole.len() as u64);
        let lead = if format == Zip { zip::local_header(member) } else { tar::header(member) };
        whole.extend(lead);
        match &member.content {
            Content::Bytes(bytes) => whole.extend(bytes),
            Content::File(file) => whole.extend(&files.0[*file]),
        }
        if format == TarGz {
            whole.resize(whole.len().next_multiple_of(512), 0);
        }
    }
    let at = whole.len() as u64;
    whole.extend(if format == Zip { zip::directory(members, &starts, at) } else { tar::END.to_vec() });
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]
    /// 20 ranges a case: 1,000.
    #[test]
    fn any_part_of_a_plan_is_that_part_of_the_naive_whole(
        sizes in proptest::collection::vec((0_usize..200_000, any::<bool>(), "[a-z]{1,150}", -9_000_000_000_000_i64..9_000_000_000_000), 0..6),
        zipped: bool,
        ranges in proptest::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 20)
    ) {
        let format = if zipped { Zip } else { TarGz };
        let (mut files, mut members) = (Here(Vec::new()), Vec::new());
        for (i, (size, here, name, modified)) in sizes.into_iter().enumerate() {
            let mut member = Member::of_bytes(name, Stamp::from_millis(modified), noise(size, i as u64));
            if !here {
                let content = std::mem::replace(&mut member.content, Content::File(files.0.len()));
                let Content::Bytes(bytes) = content else { panic!() };
                files.0.push(bytes);
            }
            members.push(member);
        }
        let naive = naive(format, &members, &files);
        let plan = Plan::new(format, members).unwrap();
        let mut whole = vec![0xAA; usize::try_from(plan.size()).unwrap()];
        plan.read_exact_at(0, &mut whole, &files).unwrap();
        if zipped {
            prop_assert!(whole == naive);
        } else {
            let mut unpacked = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&whole[..]);
            decoder.read_to_end(&mut unpacked).unwrap();
            prop_assert!(unpacked == naive);
            prop_assert!(decoder.into_inner().is_empty());
        }
        for (a, b) in ranges {
            let (a, b) = (a.index(whole.len()), b.index(whole.len()));
            let (start, end) = (a.min(b), a.max(b));
            let mut part = vec![0xAA; end - start];
            plan.read_exact_at(start as u64, &mut part, &files).unwrap();
            prop_assert!(part == whole[start..end], "{start}..{end} of {}", whole.len());
        }
        prop_assert!(plan.read_exact_at(plan.size(), &mut [0], &files).is_err());
        prop_assert!(plan.read_exact_at(u64::MAX, &mut [0, 0], &files).is_err());
    }
}

/// Writes what of a download is not zeros for certain: the first and the last of it.
fn write_ends(open: &impl Download, path: &Path) {
    const END: u64 = 1 << 20;
    let file = File::create(path).unwrap();
    file.set_len(open.size()).unwrap();
    let mut end = vec![0; usize::try_from(END).unwrap()];
    for at in [0, open.size() - END] {
        open.read_exact_at(at, &mut end).unwrap();
        file.write_all_at(&end, at).unwrap();
    }
}

#[test]
fn a_member_of_nine_gigabytes_is_laid_out_for_other_people_s_tools() {
    const SIZE: u64 = 9 << 30;
    let desk = Desk::new();
    put_zeros(&desk, "backup_large.dump.gz", SIZE);
    put(&desk, "backup_small.dump.gz", b"what comes after it");
    let place = tempfile::tempdir().unwrap();
    for (format, script) in [(Zip, ZIP_LARGE), (TarGz, TAR_LARGE)] {
        let address = bundled(&desk, &["backup_large.dump.gz", "backup_small.dump.gz"], format);
        let open =
            desk.holdfast.backups().open_bundle(OWNER, address.split('/').nth(2).unwrap(), format).unwrap();
        assert!(open.size() > SIZE);
        write_ends(&open, &place.path().join(format.file_name()));
        fs::write(place.path().join("look.py"), script).unwrap();
        let said = content("python3", &["look.py"], place.path());
        let sizes: Vec<_> = said.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(sizes.len(), 5, "{said}");
        assert_eq!(sizes[0], ("backup_large.dump.gz", &*SIZE.to_string()));
        assert_eq!(sizes[2], ("backup_small.dump.gz", "19"));
    }
    // unzip goes by the directory and the local headers, and tells both when they differ.
    let listed = content("unzip", &["-l", "backups.zip"], place.path());
    assert!(listed.contains(&SIZE.to_string()), "{listed}");
    content("unzip", &["-tq", "backups.zip", "backup_small*", "SHA256SUMS", "*large*.json"], place.path());
    let beyond = run("unzip", &["-tq", "backups.zip", "backup_gone*"], place.path());
    assert!(!beyond.status.success(), "unzip is content with what is not there");
}

const ZIP_LARGE: &str = "
import zipfile
z = zipfile.ZipFile('backups.zip')
for i in z.infolist():
    print(i.filename, i.file_size)
    z.open(i).read(100)
assert z.read('backup_small.dump.gz') == b'what comes after it'
assert b'backup_small.dump.gz\\n' in z.read('SHA256SUMS')
";

/// Reads the tar through gzip's stored blocks without unpacking gigabytes of zeros.
const TAR_LARGE: &str = "
import io, os, struct, tarfile
class Stored(io.RawIOBase):
    def __init__(self, f):
        self.f, self.at = f, 0
        end = os.fstat(f.fileno()).st_size
        f.seek(end - 4)
        self.low = struct.unpack('<I', f.read(4))[0]
        body = end - 18
        blocks = -(-body // 65540)
        self.size = body - 5 * blocks
        f.seek(10 + (blocks - 1) * 65540)
        last, length, complement = struct.unpack('<BHH', f.read(5))
        assert last == 1 and length ^ complement == 0xffff
        assert length == self.size - (blocks - 1) * 65535
        assert self.low == self.size % 2**32
    def seekable(self): return True
    def tell(self): return self.at
    def seek(self, to, whence=0):
        self.at = to + (0, self.at, self.size)[whence]
        return self.at
    def read(self, n=-1):
        out = b''
        n = self.size - self.at if n < 0 else min(n, self.size - self.at)
        while n:
            block, within = divmod(self.at, 65535)
            take = min(n, 65535 - within)
            self.f.seek(10 + block * 65540 + 5 + within)
            out += self.f.read(take)
            self.at, n = self.at + take, n - take
        return out
t = tarfile.open(fileobj=Stored(open('backups.tar.gz', 'rb')), mode='r:')
for m in t:
    print(m.name, m.size)
assert t.extractfile('backup_small.dump.gz').read() == b'what comes after it'
";

struct Same;

impl Files for Same {
    fn read_exact_at(&self, _: usize, _: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(b'x');
        Ok(())
    }
}

#[test]
fn seventy_thousand_members_are_read_back() {
    const COUNT: usize = 70_000;
    let place = tempfile::tempdir().unwrap();
    for (format, script) in [(Zip, ZIP_MANY), (TarGz, TAR_MANY)] {
        let member = |i| Member {
            name: format!("backup_ledger-{i:06}.dump.gz"),
            modified: Stamp::from_millis(NOW),
            size: 3,
            crc32: crc32fast::hash(b"xxx"),
            content: Content::File(i),
        };
        let plan = Plan::new(format, (0..COUNT).map(member).collect()).unwrap();
        let mut bytes = vec![0; usize::try_from(plan.size()).unwrap()];
        plan.read_exact_at(0, &mut bytes, &Same).unwrap();
        fs::write(place.path().join(format.file_name()), bytes).unwrap();
        fs::write(place.path().join("look.py"), script).unwrap();
        assert_eq!(content("python3", &["look.py"], place.path()).trim(), COUNT.to_string());
    }
    content("unzip", &["-tqq", "backups.zip"], place.path());
}

const ZIP_MANY: &str = "
import zipfile
z = zipfile.ZipFile('backups.zip')
assert z.read('backup_ledger-069999.dump.gz') == b'xxx'
print(len(z.namelist()))
";

const TAR_MANY: &str = "
import subprocess
print(len(subprocess.check_output(['tar', '-tzf', 'backups.tar.gz']).splitlines()))
";
