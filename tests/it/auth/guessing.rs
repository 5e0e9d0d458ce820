//! Those who guess passwords are slowed down by their address, and nobody else with them; and whatever is typed at
//! the door gets an answer.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{ACCOUNT, Answer, BROWSER, Desk, FORM, NOW};
use axum::extract::ConnectInfo;
use holdfast::model::{Role, Stamp};
use holdfast::server::router::{Front, router};
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HOST, RETRY_AFTER};
use http::request::Builder;
use http::{Request, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

const RIGHT: &str = "username=admin&password=tide+marks+on+the+quay";
const WRONG: &str = "username=admin&password=tide+marks+on+the+key";
/// A code where no password went before: denied and counted like a wrong password, without the time a hash takes.
const CODE: &str = "code=123456";

/// What a window of the throttle lets through: ten at once.
const BURST: usize = 10;
/// Those who hash at one time, and those who wait for it.
const ROOM: usize = 2 + 16;

/// A form that is posted from this address.
fn from(address: &str, path: &str) -> Builder {
    let peer = SocketAddr::new(address.parse().unwrap(), 4711);
    Request::post(path)
        .header(HOST, "holdfast.test")
        .header(ACCEPT, BROWSER)
        .header(CONTENT_TYPE, FORM)
        .header(COOKIE, format!("holdfast_halfway={}", "A".repeat(43)))
        .extension(ConnectInfo(peer))
}

async fn log_in(desk: &Desk, address: &str, form: &str) -> Answer {
    desk.send(from(address, "/login"), form).await
}

/// Whether a wrong guess was looked at. If not, it was told how long to wait.
fn looked_at(answer: &Answer) -> bool {
    let denied = ["/login?error=wrong", "/login?step=code&error=code", "/confirm?error=wrong"]
        .contains(&answer.location());
    if !denied {
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{}", answer.location());
        let seconds: u64 = answer.header(RETRY_AFTER.as_str()).parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(answer.body.contains("Too many failed attempts"), "{}", answer.body);
    }
    denied
}

/// How many of these are looked at, one after another.
async fn count(desk: &Desk, guesses: impl IntoIterator<Item = (String, &str)>) -> usize {
    let mut count = 0;
    for (address, form) in guesses {
        count += usize::from(looked_at(&log_in(desk, &address, form).await));
    }
    count
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_guesses_from_one_address_two_dozen_are_looked_at() {
    let desk = Desk::new();
    let quarter = |i: i64| desk.turn_to(Stamp::from_millis(NOW + i * 900));
    let (mut hashed, mut spread) = (0, 0);
    for i in 0..1000 {
        quarter(i);
        hashed += usize::from(looked_at(&log_in(&desk, "192.0.2.1", WRONG).await));
    }
    assert!((BURST..=25).contains(&hashed), "{hashed} reached the password");
    // The controls: it is the address that is counted.
    for i in 0..1000 {
        quarter(i);
        let address = format!("10.0.{}.{}", i / 250, i % 250);
        spread += usize::from(looked_at(&log_in(&desk, &address, CODE).await));
    }
    assert_eq!(spread, 1000);
    assert_eq!(count(&desk, (0..30).map(|i| (format!("198.51.100.{i}"), WRONG))).await, 30);
    // Of IPv6, a client has a whole /64.
    let networks = (0..30).map(|i| (format!("2001:db8:0:{i}::1"), CODE));
    assert_eq!(count(&desk, networks).await, 30);
    let addresses = (0..30).map(|i| (format!("2001:db8:1:1::{i}"), CODE));
    assert_eq!(count(&desk, addresses).await, BURST);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_guesses_at_once_from_one_address_are_counted_too() {
    let desk = Arc::new(Desk::new());
    let answers = at_once(&desk, (0..50).map(|_| "192.0.2.1".to_owned())).await;
    assert_eq!(answers.iter().filter(|answer| looked_at(answer)).count(), BURST);
}

/// Wrong guesses from these addresses, all at the same time.
async fn at_once(desk: &Arc<Desk>, addresses: impl Iterator<Item = String>) -> Vec<Answer> {
    let mut guesses = JoinSet::new();
    for address in addresses {
        let desk = Arc::clone(desk);
        guesses.spawn(async move { log_in(&desk, &address, WRONG).await });
    }
    guesses.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_addresses_are_no_addresses_unless_a_trusted_proxy_names_them() {
    let mut desk = Desk::new();
    let (_stop, stopping) = watch::channel(false);
    let guess = async |desk: &Desk, forwarded: &str, form: &str| {
        let request = from("10.0.0.1", "/login").header("x-forwarded-for", forwarded);
        looked_at(&desk.send(request, form).await)
    };
    let mut counts = Vec::new();
    for trusted in ["", "10.0.0.0/8"] {
        let trusted: Vec<_> = trusted.split_whitespace().map(|network| network.parse().unwrap()).collect();
        let front = Front { proxies: trusted.into(), ..Front::default() };
        desk.router = router(desk.holdfast.clone(), front, stopping.clone());
        let mut looked = (0, 0);
        for i in 0..200 {
            // Most are of the cheap kind.
            let form = if i < 16 { WRONG } else { CODE };
            looked.0 += usize::from(guess(&desk, &format!("198.51.100.{i}"), form).await);
        }
        // What a client writes itself stands before what the proxy adds.
        for i in 0..50 {
            looked.1 += usize::from(guess(&desk, &format!("198.51.100.{i}, 203.0.113.9"), CODE).await);
        }
        counts.push(looked);
    }
    assert_eq!(counts, [(BURST, 0), (200, BURST)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slowed_down_keeps_nobody_else_out() {
    let desk = Arc::new(Desk::new());
    let slowed = (0..20).map(|_| ("192.0.2.1".to_owned(), WRONG));
    assert_eq!(count(&desk, slowed).await, BURST);
    let guesser = Arc::clone(&desk);
    let (enough, ended) = watch::channel(false);
    let guessing = tokio::spawn(async move {
        while !*ended.borrow() {
            assert!(!looked_at(&log_in(&guesser, "192.0.2.1", RIGHT).await), "even the right one waits");
        }
    });
    let mut fastest = Duration::MAX;
    for i in 0..5 {
        let begun = Instant::now();
        assert_eq!(log_in(&desk, &format!("192.0.2.{}", 2 + i), RIGHT).await.location(), "/");
        fastest = fastest.min(begun.elapsed());
    }
    assert!(!guessing.is_finished());
    // The last guess has its answer before the minute is over that it would else have taken.
    enough.send_replace(true);
    guessing.await.unwrap();
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    desk.pass(60);
    assert_eq!(log_in(&desk, "192.0.2.1", RIGHT).await.location(), "/", "the account was never locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_at_once_two_hash_and_sixteen_wait() {
    let desk = Arc::new(Desk::new());
    let before = most_memory();
    let answers = at_once(&desk, (0..50).map(|i| format!("192.0.2.{i}"))).await;
    // Two times 19 MiB and what goes with it. Hashed on whatever thread comes, it was 333 to 340 MiB.
    let grown = most_memory() - before;
    assert!(grown < 100 * 1024, "{grown} KiB more");
    let mut hashed = 0;
    for answer in &answers {
        if answer.location() == "/login?error=wrong" {
            hashed += 1;
            continue;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
        assert_eq!(answer.header(RETRY_AFTER.as_str()), "5");
        assert!(answer.body.contains("Too many logins are running"), "{}", answer.body);
    }
    eprintln!("{hashed} of 50 hashed");
    // As some end, others may come in their place; were there sixteen turns more, it would be 34.
    assert!((ROOM..=ROOM + 12).contains(&hashed), "{hashed} hashed");
    assert_eq!(log_in(&desk, "192.0.2.1", RIGHT).await.location(), "/", "who was sent away was not counted");
}

/// The most memory this process ever had, in KiB.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How long this process has worked, in hundredths of a second: what else the machine does is not in it.
fn worked() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much_work_an_answer_is_tells_no_username() {
    let desk = Desk::new();
    let forms = [WRONG, "username=nobody&password=tide+marks+on+the+key", "username=nobody&password="];
    let mut work = [0; 3];
    for i in 0..15 {
        for (form, work) in forms.iter().zip(&mut work) {
            let before = worked();
            let answer = log_in(&desk, &format!("192.0.2.{i}"), form).await;
            *work += worked() - before;
            assert_eq!(answer.status, StatusCode::SEE_OTHER);
        }
    }
    let [known, unknown, unhashed] = work;
    // A hash more or less is all or nothing; that each costs exactly one, a test of the accounts counts.
    let differ = |one: u64, other: u64| one.abs_diff(other) * 2 > one.max(other);
    assert!(!differ(known, unknown), "{work:?}");
    assert!(differ(known, unhashed), "the control, an answer without a hash: {work:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_typed_gets_an_answer_and_its_line_in_the_log() {
    let desk = Desk::new();
    let (composed, decomposed) = ("caf\u{e9} on the quay", "cafe\u{301} on the quay");
    for (name, password) in [("one", composed), ("two", decomposed)] {
        desk.holdfast.accounts().add_user(name, &password.into(), Role::Viewer, false).unwrap();
    }
    let long = |size: usize| "x".repeat(size);
    let login = |username: &str, password: &str| {
        format!("username={}&password={}", encoded(username), encoded(password))
    };
    let (missing, wrong, inside) = ("/login?error=missing", "/login?error=wrong", "/");
    let too_long = "/login?error=long";
    let cases = [
        // More than the door reads.
        ("a password of 1 MB", login("admin", &long(1 << 20)), too_long),
        ("a username of 64 KiB", login(&long(64 << 10), "x"), too_long),
        ("nothing", String::new(), missing),
        ("no password", login("admin", ""), missing),
        ("no username", login("", ACCOUNT.1), missing),
        ("no form", "%%%=%&&&;".to_owned(), missing),
        ("twice", format!("{RIGHT}&password=x"), missing),
        ("a long password", login("admin", &long(15 << 10)), wrong),
        ("a long username", login(&long(15 << 10), "x"), wrong),
        ("spaces", login("   ", "   "), wrong),
        ("NUL after the username", login("admin\0", ACCOUNT.1), wrong),
        ("NUL before the username", login("\0admin", ACCOUNT.1), wrong),
        ("NUL after the password", login("admin", &format!("{}\0", ACCOUNT.1)), wrong),
        ("NUL and more after it", login("admin", &format!("{}\0x", ACCOUNT.1)), wrong),
        ("a newline in the username", login("admin\n{\"event\":\"forged\"}", "x"), wrong),
        ("a newline after the password", login("admin", &format!("{}\n", ACCOUNT.1)), wrong),
        ("a space after the password", login("admin", &format!("{} ", ACCOUNT.1)), wrong),
        ("no UTF-8", "username=ad%ffmin&password=%c3%28".to_owned(), wrong),
        ("quotes", login("admin' OR '1'='1", "' OR '1'='1"), wrong),
        ("decomposed for composed", login("one", decomposed), wrong),
        ("composed for decomposed", login("two", composed), wrong),
        ("composed", login("one", composed), inside),
        ("decomposed", login("two", decomposed), inside),
        ("spaces around the username", login(" admin\n", ACCOUNT.1), inside),
    ];
    let path = desk.at("data/audit.jsonl");
    let mut seen = fs::read_to_string(&path).unwrap_or_default().lines().count();
    for (i, (what, form, led)) in cases.iter().enumerate() {
        let answer = log_in(&desk, &format!("192.0.2.{i}"), form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{what}: {}", answer.body);
        assert_eq!(answer.location(), *led, "{what}");
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "{what}");
        let new: Vec<Value> =
            text.lines().skip(seen).map(|line| serde_json::from_str(line).unwrap()).collect();
        seen += new.len();
        // What was not read, nobody tried.
        assert_eq!(new.len(), usize::from(![missing, too_long].contains(led)), "{what}: {new:?}");
        let outcome = if *led == inside { "ok" } else { "failed" };
        for line in new {
            assert_eq!(
                (&line["event"], &line["outcome"]),
                (&"login".into(), &outcome.into()),
                "{what}: {line}"
            );
            assert_eq!(line["from"], format!("192.0.2.{i}"), "{what}");
            if *led == inside {
                let names = desk.holdfast.accounts().users().unwrap();
                assert!(names.iter().any(|person| line["who"] == person.username), "{what}: {line}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_door_counts_by_the_same_count() {
    let desk = Desk::new();
    let inside = |address: &str, path: &str| {
        let mut request = from(address, path);
        request.headers_mut().unwrap().insert(COOKIE, desk.cookie.parse().unwrap());
        request
    };
    let change = "old=wrong&password=salt+and+slack+water&repeat=salt+and+slack+water";
    for turn in 0..3 {
        assert!(looked_at(&log_in(&desk, "192.0.2.1", WRONG).await));
        assert!(looked_at(&log_in(&desk, "192.0.2.1", CODE).await));
        let confirmed = desk.send(inside("192.0.2.1", "/confirm"), "password=wrong").await;
        assert!(looked_at(&confirmed), "{turn}");
    }
    let changed = desk.send(inside("192.0.2.1", "/account/password"), change).await;
    assert!(changed.location().starts_with("/account?outcome="), "the tenth: {}", changed.body);
    // Of the eleventh, nothing is looked at, whichever it is and whether or not it is right.
    let password = "password=tide+marks+on+the+quay";
    let change = change.replace("wrong", "tide+marks+on+the+quay");
    for form in [WRONG, RIGHT, CODE] {
        assert!(!looked_at(&log_in(&desk, "192.0.2.1", form).await));
    }
    for (path, form) in [("/confirm", password), ("/account/password", change.as_str())] {
        assert!(!looked_at(&desk.send(inside("192.0.2.1", path), form).await), "{path}");
    }
    assert_eq!(desk.page("/account").await.status, StatusCode::OK, "who is inside stays there");
    assert_eq!(log_in(&desk, "192.0.2.2", RIGHT).await.location(), "/");
    let confirmed = desk.send(inside("192.0.2.2", "/confirm"), password).await;
    assert_eq!(confirmed.location(), "/confirm?done=yes");
}
