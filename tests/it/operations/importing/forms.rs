//! The page's form: large uploads, uploads that break off, and how much memory they take.

use super::*;

const BOUNDARY: &str = "----tide";

/// What a browser sends before a file.
fn lead(name: &str, file: &str) -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
}

fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, bytes) in files {
        form.extend(lead("file", name).into_bytes());
        form.extend(*bytes);
        form.extend(b"\r\n");
    }
    form.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    form
}

fn posted(desk: &Desk, body: Body) -> Request<Body> {
    desk.request("POST", "/imports")
        .header(ACCEPT, BROWSER)
        .header(CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(body)
        .unwrap()
}

async fn answered(desk: &Desk, request: Request<Body>) -> Answer {
    let (parts, body) = desk.router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

async fn post(desk: &Desk, body: impl Into<Body>) -> Answer {
    answered(desk, posted(desk, body.into())).await
}

/// Pieces of a form's body, each there at once.
fn pieces(lead: String, count: usize) -> Body {
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    let more = futures::stream::repeat(piece).take(count);
    let end = futures::stream::once(async { Bytes::from(format!("\r\n--{BOUNDARY}--\r\n")) });
    let all = futures::stream::once(async move { Bytes::from(lead) }).chain(more).chain(end);
    Body::from_stream(all.map(std::io::Result::Ok))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_s_form_imports_and_the_list_tells() {
    let there = source();
    let (name, bytes, manifest) = one(&there);
    let beside = format!("{name}.manifest.json");
    let here = Desk::new();
    let page = here.page("/import").await;
    for words in [
        "<h1>Import</h1>",
        "action=\"/imports\"",
        "enctype=\"multipart/form-data\"",
        "type=\"file\"",
        "name=\"file\"",
        "multiple",
        ">Import</button>",
        "href=\"/\"",
    ] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert!(here.page("/").await.body.contains("href=\"/import\""));
    let body = form(&[(&name, &bytes), (&beside, &manifest), ("<b>.gz", b"x")]);
    let answer = post(&here, body).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert!(answer.location().starts_with("/?outcome="), "{}", answer.location());
    let told = here.page(answer.location()).await.body;
    assert!(told.contains("Imported 1 backup") && told.contains("Not imported: &lt;b&gt;.gz."), "{told}");
    assert_eq!(files_of(&here).keys().map(String::as_str).collect::<Vec<_>>(), [&*name, &*beside]);
    let again = post(&here, form(&[(&name, &bytes)])).await;
    assert!(here.page(again.location()).await.body.contains("Already here: "));
    // A form nothing was chosen in has one file without a name.
    for nothing in [form(&[("", b"")]), form(&[])] {
        let answer = post(&here, nothing).await;
        assert!(here.page(answer.location()).await.body.contains("No file was chosen"), "{}", answer.status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_larger_than_any_other_form_is_imported() {
    let there = Desk::with(&["large"]);
    dense_database(&there.at("more.db"), 18_000);
    fs::rename(there.at("more.db"), there.at("large.db")).unwrap();
    there.holdfast.creations().back_up(&"large".parse().unwrap(), &Cancel::default(), &Unwatched).unwrap();
    let (name, bytes, _) = one(&there);
    assert!(bytes.len() > 17 << 20);
    let here = Desk::new();
    let answer = post(&here, form(&[(&name, &bytes)])).await;
    assert!(here.page(answer.location()).await.body.contains("Imported 1 backup"), "{}", answer.body);
    assert_eq!(fs::read(here.backup(&name)).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_never_held_in_memory() {
    if !is_measured("a_form_is_never_held_in_memory") {
        return;
    }
    let here = Desk::limited(&[], Limits { upload: 300 << 20, ..Limits::default() });
    let before = forget_memory();
    let answer = post(&here, pieces(lead("file", "a.gz"), 256)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert!(here.page(answer.location()).await.body.contains("neither a backup nor an archive of backups"));
    // Headers without end, a field without end that is none of the form's, no part at all.
    for start in [
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\""),
        lead("other", "a.gz"),
        String::new(),
    ] {
        let answer = post(&here, pieces(start, 256)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
    }
    // More than may come, said beforehand and not.
    let answer = post(&here, pieces(lead("file", "a.gz"), 320)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.body.contains("The upload is larger than"), "{}", answer.body);
    let mut request = posted(&here, Body::from("x"));
    request.headers_mut().insert(CONTENT_LENGTH, (400_u64 << 20).into());
    let answer = answered(&here, request).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body.contains("HOLDFAST_IMPORT_MAX"), "{}", answer.body);
    println!("grew by {} bytes", memory().saturating_sub(before));
    assert!(contents_of(here.holdfast.backup_dir()).is_empty());
}

/// Waits for what is to be so soon.
async fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_nothing_and_two_run_at_a_time() {
    let (name, bytes, _) = one(&source());
    let here = Desk::new();
    let whole = form(&[(&name, &bytes)]);
    let drafts = || contents_of(here.holdfast.backup_dir()).len();
    // Broken off at any place, the body ends in an error.
    for at in [0, 1, 40, 200, whole.len() / 2, whole.len() - 20, whole.len() - 3] {
        let cut = Bytes::from(whole[..at].to_vec());
        let broken = [Ok(cut), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))];
        let answer = post(&here, Body::from_stream(futures::stream::iter(broken))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{at}: {}", answer.body);
        assert_eq!(drafts(), 0, "{at}");
    }
    // Two that stand still; a third is told to come again.
    let stalled = || {
        let start = futures::stream::iter([Ok(Bytes::from(whole[..whole.len() / 2].to_vec()))]);
        let body = Body::from_stream(start.chain(futures::stream::pending::<std::io::Result<Bytes>>()));
        tokio::spawn(here.router.clone().oneshot(posted(&here, body)))
    };
    let under_way = [stalled(), stalled()];
    soon("both have begun", || drafts() == 2).await;
    let third = post(&here, whole.clone()).await;
    assert_eq!(third.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        third.headers.contains_key(RETRY_AFTER) && third.body.contains("Other imports"),
        "{}",
        third.body
    );
    // Their clients go away, as the server drops what it was doing for them.
    for one in under_way {
        one.abort();
    }
    soon("their drafts are gone", || drafts() == 0).await;
    let began = Instant::now();
    let answer = loop {
        let answer = post(&here, whole.clone()).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE || began.elapsed() > Duration::from_secs(5) {
            break answer;
        }
    };
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let name: BackupName = name.parse().unwrap();
    assert_eq!(here.holdfast.catalog().get(&name).unwrap().state, FileState::Whole);
}

/// The same on a real connection: the client that closes it, the one that stalls, and the one that sends more
/// than may come and reads only then.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_connection_nothing_stays_of_what_broke_off() {
    let (name, bytes, _) = one(&source());
    let here = Desk::limited(&[], Limits { upload: 4 << 20, ..Limits::default() });
    let limits = connections::Limits { body: Duration::from_millis(500), ..connections::Limits::default() };
    let served = Served::new(here.router.clone(), limits, None);
    let connect = async |length: &str| {
        let mut client = TcpStream::connect(served.address).await.unwrap();
        let head = format!(
            "POST /imports HTTP/1.1\r\nHost: holdfast.test\r\nCookie: {}\r\nAccept: text/html\r\n\
             Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{length}\r\n\r\n",
            here.cookie
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client
    };
    let whole = form(&[(&name, &bytes)]);
    let length = format!("Content-Length: {}", whole.len());
    let drafts = || contents_of(here.holdfast.backup_dir()).len();
    let heard = async |mut client: TcpStream| {
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(10), client.read(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned()
    };

    let mut gone = connect(&length).await;
    gone.write_all(&whole[..whole.len() / 2]).await.unwrap();
    soon("it has begun", || drafts() == 1).await;
    drop(gone);
    soon("its draft is gone", || drafts() == 0).await;

    let mut stalled = connect(&length).await;
    stalled.write_all(&whole[..whole.len() / 2]).await.unwrap();
    soon("it has begun", || drafts() == 1).await;
    let answer = heard(stalled).await;
    assert!(answer.starts_with("HTTP/1.1 400") && drafts() == 0, "{answer}");

    // In chunks, so that nothing says beforehand how much it is.
    let mut endless = connect("Transfer-Encoding: chunked").await;
    let mut body = lead("file", "a.gz").into_bytes();
    body.resize(8 << 20, b'x');
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
    endless.write_all(format!("{:x}\r\n", body.len()).as_bytes()).await.unwrap();
    endless.write_all(&body).await.unwrap();
    endless.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    let answer = heard(endless).await;
    assert!(answer.starts_with("HTTP/1.1 400") && drafts() == 0, "{answer}");

    let mut good = connect(&length).await;
    good.write_all(&whole).await.unwrap();
    let answer = heard(good).await;
    assert!(answer.starts_with("HTTP/1.1 303") && here.backup(&name).exists(), "{answer}");
}
