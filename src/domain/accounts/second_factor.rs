//! The second factor: codes of an authenticator app (TOTP, RFC 6238), and codes on paper for when it is lost.

use crate::domain::accounts::{Accounts, Device, HalfwayToken, SessionToken};
use crate::domain::error::{Error, Result};
use crate::model::{LoginProblem, Stamp};
use data_encoding::{BASE32_NOPAD, BASE64};
use rusqlite::OptionalExtension as _;
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use subtle::ConstantTimeEq as _;
use totp_rs::{Builder, Totp};

/// Seconds between the password and the code.
const HALFWAY_LIFE: u64 = 5 * 60;
/// Codes that may be tried after one password.
const TRIES: u8 = 5;
/// Log-ins that may be halfway at one time; the oldest begins anew.
const HALFWAY: usize = 1000;
/// Recovery codes of an account.
const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code: 80 bits, 16 characters.
const RECOVERY_BYTES: usize = 10;
/// Bytes of a TOTP secret, as RFC 4226 recommends.
const SECRET_SIZE: usize = 20;

/// Those who know the password and still owe the code. Kept in memory: a restart makes them begin anew.
pub(super) type Halfway = Arc<Mutex<Vec<Waiting>>>;

pub(super) struct Waiting {
    token_hash: [u8; 32],
    account: i64,
    began: Stamp,
    tries: u8,
}

/// What an authenticator app is given, once.
pub struct Offer {
    /// Its secret, in base32, for typing.
    pub secret: SecretString,
    /// The same as an `otpauth:` URL, for a picture of it.
    pub url: SecretString,
}

impl Accounts {
    pub(super) fn ask_for_code(&self, account: i64) -> Result<HalfwayToken> {
        let token = HalfwayToken::random()?;
        let began = self.now();
        let mut halfway = self.halfway.lock().unwrap_or_else(PoisonError::into_inner);
        halfway.retain(|waiting| waiting.began <= began && began.seconds_since(waiting.began) < HALFWAY_LIFE);
        if halfway.len() >= HALFWAY {
            halfway.remove(0);
        }
        halfway.push(Waiting { token_hash: token.hash(), account, began, tries: 0 });
        Ok(token)
    }

    /// Begins a session for whoever knew the password and now has the code, or a recovery code.
    pub fn second_step(&self, token: &HalfwayToken, code: &str, device: &Device) -> Result<SessionToken> {
        const DENIED: Error = Error::Denied(LoginProblem::Code.message());
        let account = self.waiting(token).ok_or(DENIED)?;
        if !self.takes_code(account, code)? {
            return Err(DENIED);
        }
        let mut halfway = self.halfway.lock().unwrap_or_else(PoisonError::into_inner);
        halfway.retain(|waiting| waiting.token_hash != token.hash());
        drop(halfway);
        self.begin_session(account, device)
    }

    /// The name of the account that is halfway in with this token.
    pub fn halfway(&self, token: &HalfwayToken) -> Option<String> {
        let hash = token.hash();
        let halfway = self.halfway.lock().unwrap_or_else(PoisonError::into_inner);
        let account = halfway.iter().find(|waiting| bool::from(waiting.token_hash.ct_eq(&hash)))?.account;
        drop(halfway);
        self.username(account).ok()
    }

    /// Who waits with this token, one try counted.
    fn waiting(&self, token: &HalfwayToken) -> Option<i64> {
        let now = self.now();
        let hash = token.hash();
        let mut halfway = self.halfway.lock().unwrap_or_else(PoisonError::into_inner);
        let found = halfway.iter_mut().find(|waiting| bool::from(waiting.token_hash.ct_eq(&hash)))?;
        found.tries += 1;
        (found.tries <= TRIES && found.began <= now && now.seconds_since(found.began) < HALFWAY_LIFE)
            .then_some(found.account)
    }

    /// Whether `code` is one of the account's, and was not used before.
    fn takes_code(&self, account: i64, code: &str) -> Result<bool> {
        let code: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let row: Option<(Option<String>, i64)> = self.store.with(|conn| {
            let sql = "SELECT totp, totp_step FROM accounts WHERE id = ?1";
            Ok(conn.query_row(sql, [account], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        })?;
        let Some((Some(sealed), last)) = row else { return Ok(false) };
        let totp = self.totp(account, &sealed, "")?;
        if let Some(step) = step_of(&totp, &code, self.now()) {
            return self.store.with(|conn| {
                let sql = "UPDATE accounts SET totp_step = ?2 WHERE id = ?1 AND totp_step < ?2";
                Ok(step > last && conn.execute(sql, (account, step))? == 1)
            });
        }
        let hash = recovery_hash(&code);
        self.store.with(|conn| {
            let sql = "DELETE FROM recovery_codes WHERE account = ?1 AND code_hash = ?2";
            Ok(conn.execute(sql, (account, hash))? == 1)
        })
    }

    /// Offers the account a second factor, which holds once [`Accounts::take_up_second_factor`] saw a code of it.
    pub fn offer_second_factor(&self, account: i64) -> Result<Offer> {
        let username = self.username(account)?;
        let mut secret = [0; SECRET_SIZE];
        getrandom::fill(&mut secret).map_err(|error| {
            tracing::error!(%error, "the system gave no random numbers");
            Error::Lost
        })?;
        let sealed = self.secrets.seal(&place(account), &BASE64.encode(&secret).into())?;
        secret.zeroize();
        self.store.with(|conn| {
            let sql = "UPDATE accounts SET totp_offered = ?2 WHERE id = ?1";
            Ok(conn.execute(sql, (account, &sealed))?)
        })?;
        self.offered(account, &sealed, &username)
    }

    fn offered(&self, account: i64, sealed: &str, username: &str) -> Result<Offer> {
        let totp = self.totp(account, sealed, username)?;
        let url = totp.to_url().map_err(|error| Error::Refused(error.to_string()))?;
        Ok(Offer { secret: totp.secret().to_base32().into(), url: url.into() })
    }

    /// What was offered last and not yet taken up.
    pub fn second_factor_offer(&self, account: i64) -> Result<Offer> {
        let username = self.username(account)?;
        let sealed: Option<String> = self.store.with(|conn| {
            let sql = "SELECT totp_offered FROM accounts WHERE id = ?1";
            Ok(conn.query_row(sql, [account], |row| row.get(0)).optional()?.flatten())
        })?;
        let sealed = sealed.ok_or_else(nothing_offered)?;
        self.offered(account, &sealed, &username)
    }

    /// Turns the offered second factor on, for whoever has a code of it. Gives the recovery codes, told this once.
    pub fn take_up_second_factor(&self, account: i64, code: &str) -> Result<Vec<SecretString>> {
        const DENIED: Error = Error::Denied(LoginProblem::Code.message());
        let sealed: Option<String> = self.store.with(|conn| {
            let sql = "SELECT totp_offered FROM accounts WHERE id = ?1";
            Ok(conn.query_row(sql, [account], |row| row.get(0)).optional()?.flatten())
        })?;
        let sealed = sealed.ok_or_else(nothing_offered)?;
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let step = step_of(&self.totp(account, &sealed, "")?, &code, self.now()).ok_or(DENIED)?;
        let codes = (0..RECOVERY_CODES).map(|_| random_words()).collect::<Result<Vec<_>>>()?;
        self.store.with(|conn| {
            let transaction = conn.transaction()?;
            transaction.execute(
                "UPDATE accounts SET totp = ?2, totp_offered = NULL, totp_step = ?3 WHERE id = ?1",
                (account, &sealed, step),
            )?;
            transaction.execute("DELETE FROM recovery_codes WHERE account = ?1", [account])?;
            for code in &codes {
                let sql = "INSERT INTO recovery_codes (account, code_hash) VALUES (?1, ?2)";
                transaction.execute(sql, (account, recovery_hash(&bare(code.expose_secret()))))?;
            }
            Ok(transaction.commit()?)
        })?;
        Ok(codes)
    }

    /// Turns the second factor off, recovery codes included.
    pub fn drop_second_factor(&self, account: i64) -> Result<()> {
        self.store.with(|conn| {
            let transaction = conn.transaction()?;
            let sql = "UPDATE accounts SET totp = NULL, totp_offered = NULL, totp_step = 0 WHERE id = ?1";
            transaction.execute(sql, [account])?;
            transaction.execute("DELETE FROM recovery_codes WHERE account = ?1", [account])?;
            Ok(transaction.commit()?)
        })
    }

    /// How many recovery codes are left; nothing where there is no second factor.
    pub fn recovery_codes_left(&self, account: i64) -> Result<Option<i64>> {
        self.store.with(|conn| {
            let sql = "SELECT (SELECT count(*) FROM recovery_codes r WHERE r.account = a.id)
                       FROM accounts a WHERE id = ?1 AND totp IS NOT NULL";
            Ok(conn.query_row(sql, [account], |row| row.get(0)).optional()?)
        })
    }

    fn totp(&self, account: i64, sealed: &str, username: &str) -> Result<Totp> {
        let opened = self.secrets.open(&place(account), "The second factor of this account", sealed)?;
        let unreadable = || Error::Refused("The second factor of this account is damaged.".to_owned());
        let secret = BASE64.decode(opened.expose_secret().as_bytes()).map_err(|_| unreadable())?;
        // The apps take a colon in it for the end of the issuer.
        let username = username.replace(':', " ");
        Builder::new()
            .with_secret(secret.into_boxed_slice())
            .with_account_name(username)
            .with_issuer(Some("Holdfast"))
            .build()
            .map_err(|_| unreadable())
    }
}

fn place(account: i64) -> String {
    format!("accounts/{account}.totp")
}

fn nothing_offered() -> Error {
    Error::Refused("No second factor waits to be confirmed. Begin again on the account page.".to_owned())
}

/// The number of the half minute that `code` is of, where it is one of those around `now`.
fn step_of(totp: &Totp, code: &str, now: Stamp) -> Option<i64> {
    let seconds = u64::try_from(now.millis() / 1000).ok()?;
    i64::try_from(totp.check(code, seconds)?).ok()
}

/// 80 random bits, as four groups of four letters and digits.
pub(super) fn random_words() -> Result<SecretString> {
    let mut random = [0; RECOVERY_BYTES];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "the system gave no random numbers");
        Error::Lost
    })?;
    let mut text = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
    for at in [12, 8, 4] {
        text.insert(at, '-');
    }
    random.zeroize();
    Ok(text.into())
}

fn bare(code: &str) -> String {
    code.replace('-', "")
}

/// Needs no salt: 80 random bits cannot be guessed.
fn recovery_hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.to_ascii_lowercase().as_bytes()).into()
}
