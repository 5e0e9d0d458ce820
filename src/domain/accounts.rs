//! Who may log in, and who is logged in: accounts, their passwords, sessions, the one-time set-up.

pub mod api_tokens;
pub mod second_factor;
pub mod sessions;
pub mod users;

use crate::domain::error::{Error, Result};
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::{LoginProblem, Right, Role, Stamp};
use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version, password_hash};
use data_encoding::BASE64URL_NOPAD;
use rusqlite::{OptionalExtension as _, Row};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use sessions::forget_expired;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use subtle::ConstantTimeEq as _;

/// Seconds after which a session nobody uses ends.
pub const SESSION_IDLE: u64 = 30 * 60;
/// Seconds after which every session ends.
pub const SESSION_LIFE: u64 = 12 * 60 * 60;
/// Seconds a set-up link works.
pub const SETUP_LIFE: u64 = 30 * 60;
/// Seconds after which who somebody is has to be proved again before what cannot be undone.
pub const FRESH: u64 = 5 * 60;

/// Seconds between two notes that a session or a token is in use: each costs a write to the disk.
const TOUCH_EVERY: u64 = 60;
/// Argon2 runs at one time; each takes 19 MiB and a core.
const TURNS: usize = 2;
/// Logins that may wait for their turn, so that they cannot use up the blocking threads.
const QUEUE: usize = 16;
/// Random bytes that go into a hash.
const SALT_SIZE: usize = 16;
/// Bytes beyond which glibc never keeps a piece of memory (`DEFAULT_MMAP_THRESHOLD_MAX`).
const MAPPED: usize = 32 * 1024 * 1024;
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 12..=128;
const USERNAME_MAX: usize = 64;

/// What an unknown user's password is verified against, so that the answer takes as long as a known one's.
/// Made with the parameters of [`argon2id`]; what was hashed is of no use, since no account has it.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$aG9sZGZhc3Qubm9ib2R5IQ$\
                      AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// The common passwords that are long enough to pass the other rule, in lower case.
const COMMON: [&str; 44] = [
    "000000000000",
    "111111111111",
    "112233445566",
    "121212121212",
    "123123123123",
    "123412341234",
    "123456123456",
    "123456654321",
    "1234567890-=",
    "123456789012",
    "1234567890123",
    "12345678901234",
    "1234567890qwerty",
    "123456789123",
    "123456789abc",
    "123456qwerty",
    "1q2w3e4r5t6y",
    "1q2w3e4r5t6y7u8i",
    "1qaz2wsx3edc",
    "1qaz2wsx3edc4rfv",
    "aaaaaaaaaaaa",
    "abcdefghijkl",
    "administrator",
    "administrator1",
    "adminadminadmin",
    "asdfghjkl123",
    "changeme1234",
    "changemechangeme",
    "correcthorsebatterystaple",
    "holdfast1234",
    "holdfastholdfast",
    "iloveyou1234",
    "letmeinletmein",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "q1w2e3r4t5y6",
    "qazwsxedcrfv",
    "qwerty123456",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyuiopasdfghjkl",
    "welcome12345",
];

/// The accounts of one state database. Clones are one and the same. What hashes a password
/// ([`Accounts::ensure_first`], [`Accounts::set_up`], [`Accounts::log_in`]) takes a good part of a second;
/// every call blocks and belongs on a blocking thread.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    secrets: Secrets,
    now: Arc<dyn Fn() -> Stamp + Send + Sync>,
    halfway: second_factor::Halfway,
    setup: Arc<Mutex<Option<Setup>>>,
    turns: Arc<Turns>,
}

/// Who asks: an account, by a session or by one of its API tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's number.
    pub id: i64,
    /// Its name.
    pub username: String,
    /// How much it may do; by a token, how much that may.
    pub role: Role,
    /// Whether the content of backups may leave the desk for it.
    pub download: bool,
    /// Whether it proved within the last [`FRESH`] seconds who it is. A token never did.
    pub fresh: bool,
    /// The label of the API token that asks, where one does.
    pub token: Option<String>,
}

impl Account {
    /// Whether it may do what needs `right`.
    pub fn may(&self, right: Right) -> bool {
        match right {
            Right::View => true,
            Right::Download => self.download,
            Right::Operate => self.role >= Role::Operator,
            Right::Administer => self.role == Role::Admin && self.token.is_none(),
            Right::Own => self.token.is_none(),
        }
    }

    /// Its name, and the token's where one asks.
    pub fn label(&self) -> String {
        self.token
            .as_ref()
            .map_or_else(|| self.username.clone(), |token| format!("{} (token {token})", self.username))
    }
}

/// Where a session is used, as its owner is shown it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// The network address.
    pub address: String,
    /// What the browser calls itself.
    pub agent: String,
}

/// What the right password opens.
#[derive(Debug)]
pub enum Admitted {
    /// A session.
    In(SessionToken),
    /// The question for a code of the second factor.
    Halfway(HalfwayToken),
}

impl Admitted {
    /// The session, where nothing more is asked for.
    pub fn session(self) -> Option<SessionToken> {
        match self {
            Self::In(session) => Some(session),
            Self::Halfway(_) => None,
        }
    }
}

/// How the first account stands when the program starts.
#[derive(Debug)]
pub enum FirstAccount {
    /// There was an account already.
    Exists,
    /// It was made, with the password given.
    Made,
    /// There is none: whoever brings this token to the set-up page makes it.
    NeedsSetup(SetupToken),
}

impl Accounts {
    /// The accounts kept in `store`, what is secret of them sealed by `secrets`, by the clock `now`.
    pub fn new(store: Store, secrets: Secrets, now: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        let now = Arc::new(now);
        Self { store, secrets, now, halfway: Arc::default(), setup: Arc::default(), turns: Arc::default() }
    }

    /// The clock sessions are measured by.
    pub fn now(&self) -> Stamp {
        (self.now)()
    }

    /// Sees to it that there is an account, or a way to make one. Where there is none, `password` makes
    /// `username`; without one, a set-up token is given, good for [`SETUP_LIFE`] and for one use.
    ///
    /// The operator's password is taken as it is, short or not, as long as it is not empty.
    pub fn ensure_first(&self, username: &str, password: Option<&SecretString>) -> Result<FirstAccount> {
        let username = username.trim();
        let known = self.store.with(|conn| {
            forget_expired(conn, self.now())?;
            let mut names = conn.prepare("SELECT username, role FROM accounts")?;
            let names = names.query_map([], |row| {
                let (name, role): (String, String) = (row.get(0)?, text_in(row, 1)?);
                if Role::parse(&role).is_none() {
                    tracing::error!(
                        username = name,
                        role,
                        "the stored role of an account is damaged, which leaves it a viewer's rights; \
                         an administrator can give it a role, and `holdfast reset-account` makes one where none is left"
                    );
                }
                Ok(name)
            })?;
            Ok(names.collect::<rusqlite::Result<Vec<_>>>()?)
        })?;
        if !known.is_empty() {
            if password.is_some() && known.iter().any(|name| name == username) {
                tracing::info!(
                    username,
                    "the account exists and keeps its password; the configured one is not used"
                );
            } else if password.is_some() {
                tracing::info!(
                    username,
                    "there is an account under another name; the configured one is not made"
                );
            }
            return Ok(FirstAccount::Exists);
        }
        let Some(password) = password else {
            let token = SetupToken::random()?;
            *self.setup() = Some(Setup { token_hash: token.hash(), made: self.now() });
            return Ok(FirstAccount::NeedsSetup(token));
        };
        if let Some(problem) = username_problem(username) {
            return Err(Error::Refused(format!("The first account: {}", problem.message())));
        }
        if password.expose_secret().is_empty() {
            return Err(Error::Refused(
                "HOLDFAST_ADMIN_PASSWORD is empty. Give it a password, or leave it out to get a set-up link."
                    .into(),
            ));
        }
        if let Some(problem) = password_problem(password) {
            tracing::warn!(username, problem = problem.code(), "the configured password is weak");
        }
        let made = self.make_first(username, &self.hash(password)?)?;
        Ok(if made.is_some() { FirstAccount::Made } else { FirstAccount::Exists })
    }

    /// Makes the first account for whoever holds the set-up token, and logs them in. The token is spent
    /// only then: a refused password leaves it good.
    pub fn set_up(
        &self,
        token: &SetupToken,
        username: &str,
        password: &SecretString,
        device: &Device,
    ) -> Result<SessionToken> {
        const DENIED: Error = Error::Denied(LoginProblem::Link.message());
        let username = username.trim();
        if !self.admits(token) {
            return Err(DENIED);
        }
        if let Some(problem) = username_problem(username).or_else(|| password_problem(password)) {
            return Err(Error::Refused(problem.message().to_owned()));
        }
        let hash = self.hash(password)?;
        // Held until the account is there: of two who come at once, one finds the token spent.
        let mut setup = self.setup();
        if !setup.as_ref().is_some_and(|setup| setup.admits(token, self.now())) {
            return Err(DENIED);
        }
        let account = self.make_first(username, &hash)?;
        *setup = None;
        self.begin_session(account.ok_or(DENIED)?, device)
    }

    /// Whether `token` would admit its bearer to [`Accounts::set_up`] now.
    pub fn admits(&self, token: &SetupToken) -> bool {
        self.setup().as_ref().is_some_and(|setup| setup.admits(token, self.now()))
    }

    /// Admits whoever knows the password: to a session, or to the second step where the account has a second
    /// factor. An unknown user takes as long as a wrong password and gets the same answer.
    pub fn log_in(&self, username: &str, password: &SecretString, device: &Device) -> Result<Admitted> {
        const DENIED: Error = Error::Denied(LoginProblem::Wrong.message());
        let username = username.trim();
        let found = self.store.with(|conn| {
            let sql = "SELECT id, password_hash, totp IS NOT NULL FROM accounts WHERE username = ?1";
            let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, text_in(row, 1)?, row.get::<_, bool>(2)?));
            Ok(conn.query_row(sql, [username], row).optional()?)
        })?;
        let stored = found.as_ref().map_or(NOBODY, |(_, hash, _)| hash);
        let right = self.verify(password, stored)?;
        let (id, stored, second_step) = found.filter(|_| right).ok_or(DENIED)?;
        if is_weak(&stored)
            && let Err(error) = self.rehash(id, &stored, password)
        {
            tracing::warn!(%error, "a password's hash could not be strengthened; the login goes on");
        }
        if second_step {
            return self.ask_for_code(id).map(Admitted::Halfway);
        }
        self.begin_session(id, device).map(Admitted::In)
    }

    /// Whether `password` is `account`'s.
    fn knows(&self, account: i64, password: &SecretString) -> Result<bool> {
        let stored: Option<String> = self.store.with(|conn| {
            let sql = "SELECT password_hash FROM accounts WHERE id = ?1";
            Ok(conn.query_row(sql, [account], |row| text_in(row, 0)).optional()?)
        })?;
        Ok(self.verify(password, stored.as_deref().unwrap_or(NOBODY))? && stored.is_some())
    }

    /// The new account's number; nothing where there is an account already.
    fn make_first(&self, username: &str, hash: &str) -> Result<Option<i64>> {
        let now = self.now().millis();
        self.store.with(|conn| {
            let made = conn.execute(
                "INSERT INTO accounts (username, password_hash, created)
                 SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM accounts)",
                (username, hash, now),
            )?;
            Ok((made == 1).then(|| conn.last_insert_rowid()))
        })
    }

    fn rehash(&self, account: i64, old: &str, password: &SecretString) -> Result<()> {
        let new = self.hash(password)?;
        self.store.with(|conn| {
            let sql = "UPDATE accounts SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
            conn.execute(sql, (account, old, new))?;
            Ok(())
        })
    }

    fn hash(&self, password: &SecretString) -> Result<String> {
        let _turn = self.turns.take()?;
        hashed(password).map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Error::Lost
        })
    }

    fn verify(&self, password: &SecretString, stored: &str) -> Result<bool> {
        let _turn = self.turns.take()?;
        is_of(password, stored).map_err(|error| {
            tracing::error!(
                %error,
                "the stored hash of a password is damaged: `holdfast reset-account <username>` gives its account a new one"
            );
            Error::Lost
        })
    }

    fn setup(&self) -> MutexGuard<'_, Option<Setup>> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeps `password` from being chosen: its length in characters, or that everybody chooses it.
pub fn password_problem(password: &SecretString) -> Option<LoginProblem> {
    let text = password.expose_secret();
    let length = text.chars().count();
    if length < *PASSWORD_CHARS.start() {
        Some(LoginProblem::Short)
    } else if length > *PASSWORD_CHARS.end() {
        Some(LoginProblem::Long)
    } else {
        COMMON.contains(&text.to_lowercase().as_str()).then_some(LoginProblem::Common)
    }
}

/// What keeps `username` from being chosen. Spaces around it do not count, here or at a login.
pub fn username_problem(username: &str) -> Option<LoginProblem> {
    let username = username.trim();
    let fits = (1..=USERNAME_MAX).contains(&username.chars().count());
    (!fits || username.chars().any(char::is_control)).then_some(LoginProblem::Username)
}

/// 256 random bits that admit their bearer to one thing, which `For` names. Printed nowhere: whoever hands
/// it out says so with [`Token::reveal`].
pub struct Token<For>(SecretBox<[u8; 32]>, PhantomData<For>);

/// Admits to a session.
pub type SessionToken = Token<ForSession>;
/// Admits to making the first account.
pub type SetupToken = Token<ForSetup>;
/// Admits to the second step of a log-in.
pub type HalfwayToken = Token<ForSecondStep>;
/// Admits a program to what its scope says.
pub type ApiToken = Token<ForPrograms>;

/// Marks a [`SessionToken`].
pub enum ForSession {}
/// Marks a [`SetupToken`].
pub enum ForSetup {}
/// Marks a [`HalfwayToken`].
pub enum ForSecondStep {}
/// Marks an [`ApiToken`].
pub enum ForPrograms {}

impl<For> Token<For> {
    /// Reads what [`Token::reveal`] wrote; nothing where it is no token, whether or not it admits anybody.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits = Box::new([0; 32]);
        (text.len() == 43).then_some(())?;
        BASE64URL_NOPAD.decode_mut(text.as_bytes(), bits.as_mut_slice()).ok()?;
        Some(Self(SecretBox::new(bits), PhantomData))
    }

    /// The token itself, 43 characters of base64url, for its bearer only.
    pub fn reveal(&self) -> String {
        BASE64URL_NOPAD.encode(self.0.expose_secret())
    }

    fn random() -> Result<Self> {
        let mut bits = Box::new([0; 32]);
        getrandom::fill(bits.as_mut_slice()).map_err(|error| {
            tracing::error!(%error, "the system gave no random numbers");
            Error::Lost
        })?;
        Ok(Self(SecretBox::new(bits), PhantomData))
    }

    /// All that is kept of it. Needs no salt: 256 random bits cannot be guessed.
    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret()).into()
    }
}

impl<For> fmt::Debug for Token<For> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A set-up that waits for its bearer.
struct Setup {
    token_hash: [u8; 32],
    made: Stamp,
}

impl Setup {
    fn admits(&self, token: &SetupToken, now: Stamp) -> bool {
        now.seconds_since(self.made) < SETUP_LIFE && bool::from(self.token_hash.ct_eq(&token.hash()))
    }
}

/// Lets [`TURNS`] callers hash at one time, and [`QUEUE`] wait.
#[derive(Default)]
struct Turns {
    state: Mutex<TurnsState>,
    free: Condvar,
}

#[derive(Default)]
struct TurnsState {
    running: usize,
    waiting: usize,
    #[cfg(test)]
    taken: usize,
}

struct Turn<'a>(&'a Turns);

impl Turns {
    fn take(&self) -> Result<Turn<'_>> {
        let mut state = self.state();
        if state.running >= TURNS && state.waiting >= QUEUE {
            return Err(Error::Refused(LoginProblem::Busy.message().to_owned()));
        }
        state.waiting += 1;
        let mut state = self
            .free
            .wait_while(state, |state| state.running >= TURNS)
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.running += 1;
        #[cfg(test)]
        {
            state.taken += 1;
        }
        Ok(Turn(self))
    }

    fn state(&self) -> MutexGuard<'_, TurnsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
        self.0.free.notify_one();
    }
}

/// m = 19,456 KiB, t = 2, p = 1: OWASP's first choice for Argon2id.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// The hash of a password, with a salt of its own, as a PHC string.
fn hashed(password: &SecretString) -> Result<String, password_hash::Error> {
    let mut salt = [0; SALT_SIZE];
    getrandom::fill(&mut salt).map_err(|_| password_hash::Error::Crypto)?;
    let argon2id = argon2id();
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    fill(&argon2id, password, &salt, &mut output)?;
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: argon2id.params().try_into()?,
        salt: Some(Salt::new(&salt)?),
        hash: Some(Output::new(&output)?),
    }
    .to_string())
}

/// What is stored as text, which a damaged database may hold without its being any.
fn text_in(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(column)?.as_bytes()?).into_owned())
}

/// Whether `stored` is a hash of this password, made with whatever parameters.
fn is_of(password: &SecretString, stored: &str) -> Result<bool, password_hash::Error> {
    let stored = PasswordHash::new(stored)?;
    let (Some(salt), Some(hash)) = (stored.salt, stored.hash) else {
        return Err(password_hash::Error::EncodingInvalid);
    };
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from)?;
    let argon2 = Argon2::new(stored.algorithm.as_str().parse()?, version, Params::try_from(&stored)?);
    let mut output = vec![0; hash.len()];
    fill(&argon2, password, &salt, &mut output)?;
    Ok(output.ct_eq(hash.as_ref()).into())
}

/// Hashes in memory that the system gives and takes back: more than [`MAPPED`] is always a mapping of its own. What
/// Argon2 takes by itself glibc keeps, and cannot give to the next hash: eighteen log-ins left 340 MB behind.
fn fill(
    argon2: &Argon2<'_>,
    password: &SecretString,
    salt: &[u8],
    output: &mut [u8],
) -> Result<(), password_hash::Error> {
    let mut memory = Vec::with_capacity(argon2.params().block_count().max(MAPPED / Block::SIZE + 1));
    memory.resize_with(argon2.params().block_count(), Block::new);
    argon2.hash_password_into_with_memory(password.expose_secret().as_bytes(), salt, output, &mut memory)?;
    Ok(())
}

/// Whether a stored hash takes a guesser less work than one made now.
fn is_weak(stored: &str) -> bool {
    let Ok(hash) = PasswordHash::new(stored) else { return true };
    let Ok(params) = Params::try_from(&hash) else { return true };
    hash.algorithm.as_str() != "argon2id"
        || hash.version != Some(Version::V0x13.into())
        || params.m_cost() < Params::DEFAULT_M_COST
        || params.t_cost() < Params::DEFAULT_T_COST
}

#[cfg(test)]
mod tests {
    use crate::domain::accounts::*;
    use argon2::{PasswordHasher as _, PasswordVerifier as _};
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::thread;
    use std::time::Duration;
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

        fn stored_hash(&self) -> String {
            let sql = "SELECT password_hash FROM accounts";
            self.accounts.store.with(|conn| Ok(conn.query_row(sql, [], |row| row.get(0))?)).unwrap()
        }

        fn sessions(&self) -> i64 {
            let sql = "SELECT count(*) FROM sessions";
            self.accounts.store.with(|conn| Ok(conn.query_row(sql, [], |row| row.get(0))?)).unwrap()
        }

        fn hashes(&self) -> usize {
            self.accounts.turns.state().taken
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
        let weak =
            desk.accounts.set_up(&token, "admin", &"password1234".into(), &Device::default()).unwrap_err();
        assert!(matches!(weak, Error::Refused(_)));
        let session = desk.accounts.set_up(&token, "admin", &PASSWORD.into(), &Device::default()).unwrap();
        assert_eq!(desk.accounts.session(&session).unwrap().unwrap().username, "admin");
        let again =
            desk.accounts.set_up(&token, "mallory", &PASSWORD.into(), &Device::default()).unwrap_err();
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
                scope.spawn(|| {
                    desk.accounts.set_up(&token, name, &PASSWORD.into(), &Device::default()).is_ok()
                })
            });
            tries.map(|one| one.join().unwrap())
        });
        assert_eq!(won.iter().filter(|&&won| won).count(), 1);
    }

    #[test]
    fn passwords_have_12_to_128_characters_of_any_kind() {
        let verdict = |text: &str| password_problem(&text.into());
        assert_eq!(verdict("elevenchars"), Some(LoginProblem::Short));
        assert_eq!(verdict("ééééééééééé"), Some(LoginProblem::Short), "bytes are not characters");
        assert_eq!(verdict("twelve chars"), None);
        assert_eq!(verdict(&"ü".repeat(64)), None);
        assert_eq!(verdict(&"🗝".repeat(128)), None);
        assert_eq!(verdict(&"x".repeat(129)), Some(LoginProblem::Long));
        assert_eq!(verdict("PassWord1234"), Some(LoginProblem::Common));
        for common in COMMON {
            assert_eq!(verdict(common), Some(LoginProblem::Common), "{common}");
        }
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
    fn a_hash_is_what_argon2_makes_of_it() {
        let ours = hashed(&PASSWORD.into()).unwrap();
        assert_ne!(ours, hashed(&PASSWORD.into()).unwrap(), "each has a salt of its own");
        let theirs = argon2id().hash_password(PASSWORD.as_bytes()).unwrap().to_string();
        for hash in [&ours, &theirs] {
            assert!(argon2id().verify_password(PASSWORD.as_bytes(), hash.as_str()).is_ok(), "{hash}");
            assert!(is_of(&PASSWORD.into(), hash).unwrap());
            assert!(!is_of(&"not the password".into(), hash).unwrap());
        }
        for damaged in ["", "$argon2id$", "$md5$x$y", &ours[..40]] {
            assert!(is_of(&PASSWORD.into(), damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_weak_hash_is_strengthened_at_login() {
        let desk = Desk::with_account();
        let weak = Argon2::new(Algorithm::Argon2i, Version::V0x13, Params::new(64, 1, 1, None).unwrap())
            .hash_password(PASSWORD.as_bytes())
            .unwrap()
            .to_string();
        desk.accounts
            .store
            .with(|conn| Ok(conn.execute("UPDATE accounts SET password_hash = ?1", [&weak])?))
            .unwrap();
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
            desk.accounts.store.with(|conn| Ok(conn.query_row(sql, [], |row| row.get::<_, i64>(0))?)).unwrap()
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
        assert!(!holds(session.0.expose_secret()));
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

    #[test]
    fn two_hash_at_a_time_and_few_wait() {
        let turns = Turns::default();
        let held = [turns.take().unwrap(), turns.take().unwrap()];
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..QUEUE).map(|_| scope.spawn(|| drop(turns.take().unwrap()))).collect();
            while turns.state().waiting < QUEUE {
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(turns.state().running, TURNS);
            assert!(matches!(turns.take(), Err(Error::Refused(_))));
            drop(held);
            for one in waiting {
                one.join().unwrap();
            }
        });
        assert_eq!(turns.state().running, 0);
        assert!(turns.take().is_ok());
    }
}
