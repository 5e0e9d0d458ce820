//! Accounts from the outside: set-up, login, sessions and what a stolen database gives away.

use crate::domain::accounts::password::{NOBODY, is_weak};
use crate::domain::accounts::*;
use crate::domain::error::{Code, Error, Result};
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::Stamp;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use data_encoding::BASE64URL_NOPAD;
use rusqlite::Connection;
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use tempfile::TempDir;

const PASSWORD: &str = "tide marks on the quay";

struct Desk {
    accounts: Accounts,
    millis: Arc<AtomicI64>,
    directory: TempDir,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let millis = Arc::new(AtomicI64::new(1_795_401_667_000));
        let clock = Arc::clone(&millis);
        let store = Store::open(&directory.path().join("holdfast.db")).unwrap();
        let secrets = Secrets::new(directory.path().join("key"));
        let accounts =
            Accounts::new(store, secrets, move || Stamp::from_millis(clock.load(Ordering::SeqCst)));
        Self { accounts, millis, directory }
    }

    fn with_account() -> Self {
        let desk = Self::new();
        desk.accounts.ensure_first("admin", Some(&PASSWORD.into())).unwrap();
        desk
    }

    fn pass(&self, seconds: u64) {
        self.millis.fetch_add(i64::try_from(seconds).unwrap() * 1000, Ordering::SeqCst);
    }

    fn log_in(&self) -> SessionToken {
        self.enter("admin", &PASSWORD.into()).unwrap()
    }

    fn enter(&self, username: &str, password: &SecretString) -> Result<SessionToken> {
        Ok(self.accounts.log_in(username, password, &Device::default())?.session().unwrap())
    }

    fn setup_token(&self) -> SetupToken {
        match self.accounts.ensure_first("admin", None).unwrap() {
            FirstAccount::NeedsSetup(token) => token,
            other => panic!("{other:?}"),
        }
    }

    /// A separate connection to the state database.
    fn state(&self) -> Connection {
        Connection::open(self.accounts.store.path()).unwrap()
    }

    fn stored_hash(&self) -> String {
        let sql = "SELECT password_hash FROM accounts";
        self.state().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn sessions(&self) -> i64 {
        let sql = "SELECT count(*) FROM sessions";
        self.state().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn hashes(&self) -> usize {
        self.accounts.hasher.queue().counts().given
    }
}

#[test]
fn the_configured_password_makes_the_first_account_once() {
    let desk = Desk::new();
    let first = desk.accounts.ensure_first(" admin ", Some(&"short".into())).unwrap();
    assert!(matches!(first, FirstAccount::Made), "an operator may choose a short one");
    assert!(desk.stored_hash().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let again = desk.accounts.ensure_first("admin", Some(&PASSWORD.into())).unwrap();
    assert!(matches!(again, FirstAccount::Exists));
    assert!(matches!(desk.accounts.ensure_first("other", None).unwrap(), FirstAccount::Exists));
    assert!(desk.enter("admin", &PASSWORD.into()).is_err(), "it keeps its password");
    let session = desk.enter("admin", &"short".into()).unwrap();
    assert_eq!(desk.accounts.session(&session).unwrap().unwrap().username, "admin");
}

#[test]
fn an_empty_configured_password_is_refused() {
    let desk = Desk::new();
    let error = desk.accounts.ensure_first("admin", Some(&"".into())).unwrap_err();
    assert!(error.to_string().contains("HOLDFAST_ADMIN_PASSWORD"));
    assert!(desk.accounts.ensure_first("ad\nmin", Some(&PASSWORD.into())).is_err());
    assert!(matches!(desk.accounts.ensure_first("admin", None).unwrap(), FirstAccount::NeedsSetup(_)));
}

#[test]
fn a_setup_token_works_once() {
    let desk = Desk::new();
    let token = desk.setup_token();
    let weak = desk.accounts.set_up(&token, "admin", &"password1234".into(), &Device::default()).unwrap_err();
    assert_eq!(weak.code(), Code::InvalidInput);
    let session = desk.accounts.set_up(&token, "admin", &PASSWORD.into(), &Device::default()).unwrap();
    assert_eq!(desk.accounts.session(&session).unwrap().unwrap().username, "admin");
    let again = desk.accounts.set_up(&token, "mallory", &PASSWORD.into(), &Device::default()).unwrap_err();
    assert!(matches!(again, Error::Denied(_)));
    assert!(desk.enter("mallory", &PASSWORD.into()).is_err());
}

#[test]
fn a_setup_token_expires_and_another_is_no_token() {
    let desk = Desk::new();
    let token = desk.setup_token();
    let hashed = desk.hashes();
    let forged = SetupToken::random().unwrap();
    assert!(desk.accounts.set_up(&forged, "admin", &PASSWORD.into(), &Device::default()).is_err());
    desk.pass(SETUP_LIFE - 1);
    assert!(desk.accounts.admits(&token));
    desk.pass(1);
    assert!(desk.accounts.set_up(&token, "admin", &PASSWORD.into(), &Device::default()).is_err());
    assert_eq!(desk.hashes(), hashed, "nobody without the token makes the server hash");
    let fresh = desk.setup_token();
    assert!(!desk.accounts.admits(&token));
    assert!(desk.accounts.set_up(&fresh, "admin", &PASSWORD.into(), &Device::default()).is_ok());
}

#[test]
fn two_with_one_setup_token_make_one_account() {
    let desk = Desk::new();
    let token = desk.setup_token();
    let won = thread::scope(|scope| {
        let tries = ["a", "b"].map(|name| {
            scope.spawn(|| desk.accounts.set_up(&token, name, &PASSWORD.into(), &Device::default()).is_ok())
        });
        tries.map(|one| one.join().unwrap())
    });
    assert_eq!(won.iter().filter(|&&won| won).count(), 1);
}

#[test]
fn passwords_are_compared_exactly() {
    let desk = Desk::with_account();
    for wrong in ["", "Tide marks on the quay", "tide marks on the quay ", "tide marks on the qua"] {
        assert!(desk.enter("admin", &wrong.into()).is_err(), "{wrong:?}");
    }
    assert!(desk.enter("Admin", &PASSWORD.into()).is_err());
    assert!(desk.enter(" admin\n", &PASSWORD.into()).is_ok());
}

#[test]
fn an_unknown_user_costs_the_same_and_is_told_the_same() {
    let desk = Desk::with_account();
    let start = desk.hashes();
    let wrong = desk.enter("admin", &"not the password".into()).unwrap_err();
    let known = desk.hashes() - start;
    let nobody = desk.enter("nobody", &PASSWORD.into()).unwrap_err();
    assert_eq!((known, desk.hashes() - start - known), (1, 1));
    assert_eq!(wrong.to_string(), nobody.to_string());
    assert!(!is_weak(NOBODY), "the decoy asks for the same work as a real hash");
}

#[test]
fn a_weak_hash_is_strengthened_at_login() {
    let desk = Desk::with_account();
    let weak = Argon2::new(Algorithm::Argon2i, Version::V0x13, Params::new(64, 1, 1, None).unwrap())
        .hash_password(PASSWORD.as_bytes())
        .unwrap()
        .to_string();
    desk.state().execute("UPDATE accounts SET password_hash = ?1", [&weak]).unwrap();
    assert!(desk.enter("admin", &"not the password".into()).is_err());
    assert_eq!(desk.stored_hash(), weak, "a guess changes nothing");
    desk.log_in();
    assert!(desk.stored_hash().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    desk.log_in();
}

#[test]
fn a_session_ends_after_thirty_idle_minutes() {
    let desk = Desk::with_account();
    let session = desk.log_in();
    for _ in 0..3 {
        desk.pass(SESSION_IDLE - 1);
        assert!(desk.accounts.session(&session).unwrap().is_some(), "use keeps it");
    }
    desk.pass(SESSION_IDLE);
    assert!(desk.accounts.session(&session).unwrap().is_none());
    assert_eq!(desk.sessions(), 0, "what has ended is removed");
}

#[test]
fn a_session_ends_after_twelve_hours_of_use() {
    let desk = Desk::with_account();
    let session = desk.log_in();
    let step = SESSION_LIFE / 36;
    for _ in 1..36 {
        desk.pass(step);
        assert!(desk.accounts.session(&session).unwrap().is_some());
    }
    desk.pass(step - 1);
    assert!(desk.accounts.session(&session).unwrap().is_some());
    desk.pass(1);
    assert!(desk.accounts.session(&session).unwrap().is_none());
}

#[test]
fn use_is_noted_once_a_minute_at_most() {
    let desk = Desk::with_account();
    let session = desk.log_in();
    let last_seen = || {
        let sql = "SELECT last_seen FROM sessions";
        desk.state().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let start = last_seen();
    for (seconds, noted) in [(59, 0), (1, 60), (30, 60), (30, 120)] {
        desk.pass(seconds);
        desk.accounts.session(&session).unwrap();
        assert_eq!((last_seen() - start) / 1000, noted);
    }
}

#[test]
fn each_login_has_a_session_of_its_own_and_logging_out_ends_one() {
    let desk = Desk::with_account();
    let (one, other) = (desk.log_in(), desk.log_in());
    assert_ne!(one.reveal(), other.reveal());
    desk.accounts.log_out(&one).unwrap();
    desk.accounts.log_out(&one).unwrap();
    assert!(desk.accounts.session(&one).unwrap().is_none());
    assert!(desk.accounts.session(&other).unwrap().is_some());
}

#[test]
fn a_login_clears_away_what_has_ended() {
    let desk = Desk::with_account();
    desk.log_in();
    desk.pass(SESSION_IDLE);
    desk.log_in();
    assert_eq!(desk.sessions(), 1);
}

#[test]
fn sessions_survive_a_restart() {
    let desk = Desk::with_account();
    let session = desk.log_in();
    let store = Store::open(desk.accounts.store.path()).unwrap();
    let now = desk.accounts.now();
    let secrets = Secrets::new(desk.directory.path().join("key"));
    assert!(Accounts::new(store, secrets, move || now).session(&session).unwrap().is_some());
}

#[test]
fn a_stolen_database_holds_no_usable_token() {
    let desk = Desk::with_account();
    let session = desk.log_in();
    let mut stolen = Vec::new();
    for entry in std::fs::read_dir(desk.directory.path()).unwrap() {
        stolen.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let holds = |needle: &[u8]| stolen.windows(needle.len()).any(|window| window == needle);
    assert!(holds(&session.hash()), "the search works");
    assert!(!holds(session.reveal().as_bytes()));
    assert!(!holds(session.bytes()));
    assert!(!holds(PASSWORD.as_bytes()));
    let as_token = BASE64URL_NOPAD.encode(&session.hash());
    let thief = SessionToken::parse(&as_token).unwrap();
    assert!(desk.accounts.session(&thief).unwrap().is_none());
}

#[test]
fn a_tampered_token_is_nobodys() {
    let desk = Desk::with_account();
    let text = desk.log_in().reveal();
    for at in 0..text.len() {
        let mut tampered = text.clone().into_bytes();
        tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(tampered).unwrap();
        let admitted =
            SessionToken::parse(&tampered).and_then(|token| desk.accounts.session(&token).unwrap());
        assert_eq!(admitted, None, "{at}");
    }
    for text in ["", "=", &text[1..], &format!("{text}="), &format!(" {text}")] {
        assert!(SessionToken::parse(text).is_none(), "{text:?}");
    }
}

#[test]
fn a_token_does_not_print_itself() {
    let token = SessionToken::random().unwrap();
    assert_eq!(format!("{token:?}"), "Token(…)");
    let first = FirstAccount::NeedsSetup(SetupToken::random().unwrap());
    assert_eq!(format!("{first:?}"), "NeedsSetup(Token(…))");
}
