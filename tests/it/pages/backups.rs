//! The pages as the server writes them: whole without JavaScript, and true to their address.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{Answer, BROWSER, Desk, FORM, NOW};
use holdfast::model::{BackupName, Stamp};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use std::fmt::Write as _;
use std::fs;

/// A desk with `count` backups, each a byte larger and an hour older than the one before.
fn filled(count: usize) -> (Desk, Vec<String>) {
    let desk = Desk::new();
    let names: Vec<_> = (0..count).map(name).collect();
    for (i, name) in names.iter().enumerate() {
        desk.put(name, 900 + i, 3600 * i as u64);
    }
    (desk, names)
}

/// The `i`th backup's name: they sort as they are counted.
fn name(i: usize) -> String {
    let database = if i.is_multiple_of(2) { "ledger" } else { "shop" };
    // The first part sorts; what follows is as Holdfast writes it.
    let at = Stamp::from_millis(NOW - i64::try_from(i).unwrap() * 3_600_000).for_file_name();
    format!("backup_{i:03}-{database}_{at}Z.dump.gz")
}

/// The names in the table's rows, from top to bottom.
fn rows(page: &Answer) -> Vec<String> {
    let Some(body) = between(&page.body, "<tbody", "</tbody>") else { return Vec::new() };
    assert_eq!(page.body.matches("<tbody").count(), 1);
    body.split("<tr")
        .skip(1)
        .map(|row| between(row, "aria-label=\"Select ", "\"").unwrap().to_owned())
        .collect()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inside, _)| inside)
}

/// The page's text: no tags, no comments, the entities read.
fn text(html: &str) -> String {
    let body = html.split_once("<body").map_or(html, |(_, body)| body);
    let mut text = String::new();
    for piece in body.split('<').skip(1) {
        let (tag, words) = piece.split_once('>').unwrap_or((piece, ""));
        if !tag.starts_with("script") {
            text.push_str(words);
        }
        if tag.starts_with('/') {
            text.push(' ');
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// The addresses that the links named `label` lead to.
fn links(page: &Answer, label: &str) -> Vec<String> {
    let anchors = page.body.split("<a ").skip(1);
    anchors
        .filter(|anchor| anchor.split_once('>').unwrap().1.split("</a>").next().unwrap().starts_with(label))
        .map(|anchor| between(anchor, "href=\"", "\"").unwrap().replace("&amp;", "&"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_page_shows_twenty_complete_rows() {
    let (desk, names) = filled(57);
    let page = desk.page("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(rows(&page), names[..20]);
    let words = text(&page.body);
    assert!(words.contains("1–20 of 57"), "{words}");
    for (i, name) in names[..20].iter().enumerate() {
        let row = page.body.split("<tr").find(|row| row.contains(name.as_str())).unwrap();
        let modified = Stamp::from_millis(NOW - i64::try_from(i).unwrap() * 3_600_000).to_string();
        let database = if i.is_multiple_of(2) { "ledger" } else { "shop" };
        assert!(text(row).contains(name.as_str()), "{row}");
        assert_eq!(row.matches(&modified).count(), 2, "created and modified: {row}");
        assert!(row.contains(&format!(">{i:03}-{database}</td>")), "{row}");
        assert!(row.contains(&format!("title=\"{} bytes\"", 900 + i)), "{row}");
        assert!(row.contains(&format!("type=\"checkbox\" name=\"names[]\" value=\"{name}\"")), "{row}");
        assert!(row.contains("no manifest"), "{row}");
    }
    assert!(!words.contains("Loading") && !words.contains("Reading the backup directory"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_the_words_the_contract_names() {
    let (desk, _) = filled(57);
    let page = desk.page("/").await;
    let html = &page.body;
    assert!(html.contains("<h1>Backups</h1>"));
    assert!(html.contains("<nav aria-label=\"Pagination\">"));
    assert!(html.contains("type=\"search\"") && html.contains("aria-label=\"Filter\""));
    assert!(html.contains("<select name=\"database\" aria-label=\"Database\""));
    let options = between(html, "<select name=\"database\"", "</select>").unwrap();
    let options = options.split("</option>").filter_map(|o| o.rsplit_once('>')).map(|o| o.1);
    let options: Vec<_> = options.filter(|option| !option.is_empty()).collect();
    assert_eq!(options, ["ledger", "shop"]);
    assert!(html.contains("Create backup</button>"));
    assert!(html.contains("aria-label=\"Select all on this page\""));
    assert!(html.contains("role=\"status\""));
    for heading in ["File name", "Database", "Created", "Modified", "Size"] {
        assert_eq!(links(&page, heading).len(), 1 + usize::from(heading == "Database"), "{heading}");
    }
    let single = Desk::with(&["only"]).page("/").await;
    assert!(!single.body.contains("aria-label=\"Database\""), "one database is no choice");
    assert!(single.body.contains("name=\"database\" value=\"only\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_odd_query_strings_are_answered_with_a_list() {
    let (desk, _) = filled(25);
    let pieces = [
        "-1",
        "0",
        "18446744073709551616",
        "9223372036854775807",
        "NaN",
        "1e9",
        "0x10",
        "%00",
        "%",
        "%f",
        "%ff%fe",
        "%252e",
        "password",
        "-size",
        "--size",
        "size",
        "%2Dsize",
        "%3Cscript%3E",
        "%F0%9F%92%A9",
        "%E2%80%AE",
        "'%20OR%201=1--",
        "a+b",
        "..%2F..%2F",
        "%0d%0aSet-Cookie:x=1",
        "[]",
        "20",
        "50",
        "100",
        "1",
    ];
    let keys = ["sort", "page", "per_page", "q", "job", "outcome", "q[]", "sort[column]", "%71", "x", ""];
    // Any order will do, as long as it is the same each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut any = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for round in 0..1000 {
        let mut query = String::new();
        for _ in 0..=any(4) {
            let glue = ["&", "&", "&&", ";"][any(4)];
            let value = pieces[any(pieces.len())].repeat(1 + any(3));
            let _ = write!(query, "{}{}{value}{glue}", keys[any(keys.len())], ["=", "==", ""][any(3)]);
        }
        if round % 100 == 0 {
            let _ = write!(query, "q={}", "x".repeat(50_000));
        }
        let page = desk.page(&format!("/?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert!(page.body.contains("<h1>Backups</h1>") && rows(&page).len() <= 100, "{query}");
        assert!(!page.headers.contains_key("set-cookie"), "{query}");
        assert!(!page.body.contains("<script>\"") && !text(&page.body).contains("panicked"), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_heading_sorts_both_ways() {
    let (desk, names) = filled(25);
    for (heading, key, first) in [
        ("File name", "filename", 0),
        ("Database", "database", 0),
        // The oldest is the last.
        ("Created", "created_at", 24),
        ("Modified", "modified_at", 24),
        ("Size", "size", 0),
    ] {
        let sort = |page: &Answer| {
            let th =
                page.body.split("<th").find(|th| th.contains(&format!(">{heading}</a>"))).unwrap().to_owned();
            (
                between(&th, "aria-sort=\"", "\"").unwrap().to_owned(),
                between(&th, "href=\"", "\"").unwrap().to_owned(),
            )
        };
        // From a view that is sorted otherwise, the link sorts upwards; there, downwards.
        let other = if key == "size" { "/?sort=filename" } else { "/?sort=size" };
        let (none, up) = sort(&desk.page(other).await);
        assert_eq!(none, "none", "{heading}");
        let page = desk.page(&up).await;
        let (ascending, down) = sort(&page);
        assert_eq!(ascending, "ascending", "{heading}");
        assert_eq!(rows(&page)[0], names[first], "{heading}");
        let page = desk.page(&down).await;
        assert_eq!(sort(&page).0, "descending", "{heading}");
        assert_eq!(rows(&page)[0], names[24 - first], "{heading}");
        assert_eq!(rows(&page), rows(&desk.page(&format!("/?sort=-{key}")).await), "{heading}");
        assert_eq!(page.body.matches("aria-sort=\"none\"").count(), 4, "{heading}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_through_all_pages() {
    let (desk, names) = filled(57);
    let mut seen = Vec::new();
    let mut page = desk.page("/?sort=filename&per_page=20").await;
    assert!(links(&page, "Previous").is_empty());
    loop {
        seen.extend(rows(&page));
        let Some(next) = links(&page, "Next").pop() else { break };
        page = desk.page(&next).await;
    }
    assert_eq!(seen, names);
    assert!(text(&page.body).contains("41–57 of 57"));
    let back = links(&page, "Previous").pop().unwrap();
    assert_eq!(rows(&desk.page(&back).await), names[20..40]);
    let fifty = desk.page("/?per_page=50").await;
    assert_eq!(rows(&fifty), names[..50]);
    assert!(text(&fifty.body).contains("1–50 of 57"));
    assert_eq!(rows(&desk.page("/?per_page=100").await), names);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_holds_through_sorting_and_paging() {
    let (desk, names) = filled(57);
    let page = desk.page("/?q=SHOP&sort=-filename").await;
    let shops: Vec<_> = names.iter().filter(|name| name.contains("shop")).rev().cloned().collect();
    assert_eq!(rows(&page), shops[..20]);
    assert!(text(&page.body).contains("1–20 of 28"));
    assert!(page.body.contains("value=\"SHOP\""), "the box shows what is filtered for");
    let next = links(&page, "Next").pop().unwrap();
    assert_eq!(rows(&desk.page(&next).await), shops[20..]);
    let size = links(&page, "Size").pop().unwrap();
    assert!(size.contains("q=SHOP"), "{size}");
    let nothing = desk.page("/?q=zebra").await;
    assert!(rows(&nothing).is_empty());
    assert!(text(&nothing.body).contains("Nothing matches “zebra”"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_values_fall_back_and_a_page_past_the_end_is_the_last() {
    let (desk, names) = filled(57);
    for query in [
        "sort=password",
        "sort=--size",
        "sort=",
        "page=0",
        "page=-1",
        "page=x",
        "page=1e3",
        "per_page=0",
        "per_page=21",
        "per_page=99999999999999999999",
        "q=",
        "nothing=of-it",
        "sort[]=size",
        "page=%00",
        "%ff=%fe",
    ] {
        let page = desk.page(&format!("/?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{query}");
        assert_eq!(rows(&page), names[..20], "{query}");
    }
    for past in ["4", "999", "18446744073709551615"] {
        let page = desk.page(&format!("/?page={past}")).await;
        assert_eq!(rows(&page), names[40..], "{past}");
        assert!(text(&page.body).contains("41–57 of 57"), "{past}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_says_what_to_do() {
    let page = Desk::new().page("/").await;
    assert!(rows(&page).is_empty());
    let words = text(&page.body);
    assert!(words.contains("No backups yet"), "{words}");
    assert!(words.contains("Press “Create backup” to make the first one."), "{words}");
    assert!(words.contains("0 of 0"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_as_their_manifest_says_are_marked() {
    let desk = Desk::new();
    desk.put_described("ledger", "backup_whole.dump.gz", 10, 10);
    desk.put_described("ledger", "backup_short.dump.gz", 9, 10);
    desk.put("backup_2026-01-02_03-04-05.dump.gz", 10, 0);
    desk.put("backup_empty.dump.gz", 0, 0);
    desk.put("backup_odd.dump.gz", 1, 0);
    fs::write(desk.backup("backup_odd.dump.gz.manifest.json"), "{}").unwrap();
    desk.put("backup_<b>&\"x\".dump.gz", 10, 0);
    fs::create_dir(desk.backup("backup_dir.dump.gz")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", desk.backup("backup_link.dump.gz")).unwrap();
    let page = desk.page("/").await;
    let marked: Vec<_> = rows(&page)
        .into_iter()
        .map(|name| {
            let row = page.body.split("<tr").find(|row| row.contains(&format!("Select {name}"))).unwrap();
            let state = between(row, "class=\"state\"", "</td>").unwrap();
            (name, text(&format!("<body{state}")).trim().to_owned())
        })
        .collect();
    let expected = [
        ("backup_2026-01-02_03-04-05.dump.gz", "no manifest"),
        ("backup_empty.dump.gz", "empty"),
        ("backup_odd.dump.gz", "unreadable manifest"),
        ("backup_short.dump.gz", "size differs"),
        ("backup_whole.dump.gz", "whole"),
    ];
    assert_eq!(marked, expected.map(|(name, state)| (name.to_owned(), state.to_owned())));
    assert!(text(&page.body).contains("2026-01-02 03:04:05"), "created is the time in the name");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_comes_back_as_text() {
    let (desk, _) = filled(1);
    for hostile in
        ["%3Cscript%3Ealert(1)%3C/script%3E", "%22%3E%3Cimg%20src=x%20onerror=y%3E", "%3C/script%3E%3Cb%3E"]
    {
        let page = desk.page(&format!("/?q={hostile}")).await;
        assert_eq!(page.status, StatusCode::OK);
        for raw in ["<script>alert", "<img", "</script><b>", "\"><img"] {
            assert!(!page.body.contains(raw), "{hostile} came back as {raw}");
        }
        assert!(text(&page.body).contains("Nothing matches"), "{hostile}");
    }
    for path in ["/login?next=%22%3E%3Cimg%3E", "/setup?token=%22%3E%3Cimg%3E", "/login?error=%3Cimg%3E"] {
        let page = desk.page(path).await;
        assert!(!page.body.contains("<img"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_creates_a_backup_and_the_page_names_it() {
    let (desk, _) = filled(3);
    let answer = desk.form_from("/?sort=-size&q=led&job=77", "/api/create_backup", "database=ledger").await;
    assert!([302, 303].contains(&answer.status.as_u16()), "{} {}", answer.status, answer.body);
    assert_eq!(answer.location(), "/?sort=-size&q=led&job=1");
    let page = desk.page(answer.location()).await;
    let status = between(&page.body, "role=\"status\"", "<section").unwrap();
    let file = "backup_ledger_2026-11-23_02-41-07Z.dump.gz";
    assert!(text(status).contains(&format!("Created {file}")), "{status}");
    assert!(rows(&page).contains(&file.to_owned()));
    let backup = desk.holdfast.catalog().get(&file.parse::<BackupName>().unwrap()).unwrap();
    assert_eq!(backup.state.label(), "whole");
    let activity = desk.page("/activity").await;
    assert!(text(&activity.body).contains(file), "{}", activity.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_fails_says_why_on_the_page() {
    let (desk, _) = filled(1);
    for (form, words) in [
        ("database=nosuch", "There is no database named nosuch."),
        ("database=No+Such", "The request could not be read"),
        ("", "The request could not be read"),
    ] {
        let answer = desk.form_from("/?per_page=50", "/api/create_backup", form).await;
        assert!([302, 303].contains(&answer.status.as_u16()), "{form}: {} {}", answer.status, answer.body);
        let there = answer.location();
        let path = there.strip_prefix("http://holdfast.test").unwrap_or(there);
        assert!(path.starts_with("/?per_page=50"), "{form} leads to {there}");
        let page = desk.page(path).await;
        let alert =
            between(&page.body, "role=\"alert\"", "</div>").unwrap_or_else(|| panic!("{form}: no alert"));
        assert!(text(&format!("<body{alert}")).contains(words), "{form}: {alert}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_shown_without_the_job_history() {
    let (desk, _) = filled(3);
    let state = rusqlite::Connection::open(desk.at("data/holdfast.db")).unwrap();
    state.execute_batch("DROP TABLE jobs").unwrap();
    assert!(desk.holdfast.jobs().history().is_err(), "the history is still there, so nothing is shown");
    assert_eq!(rows(&desk.page("/").await).len(), 3);
}

/// Bits turn in what is stored, too, where no check of a database can tell.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_shown_whatever_is_stored_besides() {
    let (desk, _) = filled(3);
    desk.holdfast.creations().start(&"ledger".parse().unwrap(), false).unwrap();
    desk.last_job().await;
    let state = rusqlite::Connection::open(desk.at("data/holdfast.db")).unwrap();
    state.execute_batch("INSERT INTO copies VALUES ('backup_ledger.dump.gz', 'sftp', 'uploaded')").unwrap();
    let columns: Vec<(String, String)> = state
        .prepare(
            "SELECT t.name, c.name FROM pragma_table_list t, pragma_table_info(t.name) c
             WHERE t.schema = 'main' AND t.type = 'table' AND c.type = 'TEXT' AND t.name NOT LIKE 'sqlite%'",
        )
        .and_then(|mut find| find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .unwrap();
    let mut written = 0;
    for (table, column) in &columns {
        // Their names lie in an index, too, and a name that is another there is damage that SQLite finds.
        if (&**table, &**column) == ("accounts", "username") {
            continue;
        }
        let damage = format!("UPDATE OR IGNORE {table} SET {column} = CAST(x'FF' AS TEXT)");
        written += state.execute(&damage, []).unwrap();
        assert_eq!(rows(&desk.page("/").await).len(), 4, "{table}.{column}");
    }
    assert!(columns.len() > 15 && written > 8, "{written} values of {columns:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_is_shown_as_failed() {
    let (desk, _) = filled(0);
    fs::remove_file(desk.at("ledger.db")).unwrap();
    let posted =
        desk.request("POST", "/api/create_backup").header(ACCEPT, BROWSER).header(CONTENT_TYPE, FORM);
    let answer = desk.send(posted, "database=ledger").await;
    let page = desk.page(answer.location()).await;
    let alert = between(&page.body, "role=\"alert\"", "</div>").unwrap_or_else(|| panic!("{}", page.body));
    let (words, path) = (text(&format!("<body{alert}")), desk.at("ledger.db"));
    assert!(words.contains("Backup failed: ledger cannot be reached"), "{words}");
    assert!(words.contains(path.to_str().unwrap()), "{words}");
    assert!(rows(&page).is_empty());
    assert!(text(&page.body).contains("last run failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_databases_page_tells_who_answers() {
    let desk = Desk::new();
    fs::remove_file(desk.at("shop.db")).unwrap();
    let page = desk.page("/databases").await;
    let words = text(&page.body);
    assert!(page.body.contains("<h1>Databases</h1>"));
    for word in ["ledger", "shop", "SQLite", "not reachable", desk.at("shop.db").to_str().unwrap()] {
        assert!(words.contains(word), "{word} is not in: {words}");
    }
    assert!(words.contains("8.0 KB"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_page_is_not_found() {
    let desk = Desk::new();
    for path in ["/no/such/page", "/databases/x", "/settings"] {
        let page = desk.page(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert!(text(&desk.page("/no/such/page").await.body).contains("There is nothing at this address."));
}
