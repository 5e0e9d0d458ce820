//! The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes.

use crate::domain::accounts::service::Accounts;
use crate::domain::error::{Code, Error, Result};
use crate::domain::random;
use crate::domain::state::{accounts as table, recovery_codes};
use crate::model::{LoginProblem, Stamp};
use data_encoding::{BASE32_NOPAD, BASE64};
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use totp_rs::{Builder, Totp};

/// The data for an authenticator app, shown once.
pub struct Offer {
    /// The secret in base32, for typing.
    pub secret: SecretString,
    /// The same as an `otpauth:` URL, for a QR code.
    pub url: SecretString,
}

/// The number of recovery codes.
const RECOVERY_CODES: usize = 10;
/// The random bytes of a recovery code: 80 bits, 16 characters.
const RECOVERY_BYTES: usize = 10;
/// The size of a TOTP secret in bytes, as RFC 4226 recommends.
const SECRET_SIZE: usize = 20;

impl Accounts {
    /// Whether `code` is an unused code or recovery code of the account; marks it as used.
    pub(super) fn takes_code(&self, account: i64, code: &str) -> Result<bool> {
        let code: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let Some(factor) = table::second_factor(&self.store, account)? else { return Ok(false) };
        let totp = self.totp(account, &factor.sealed, "")?;
        if let Some(step) = step_of(&totp, &code, self.now()) {
            return Ok(step > factor.last_step && table::spend_step(&self.store, account, step)?);
        }
        recovery_codes::spend(&self.store, account, &recovery_hash(&code))
    }

    /// Offers the account a second factor; [`Accounts::take_up_second_factor`] turns it on.
    pub fn offer_second_factor(&self, account: i64) -> Result<Offer> {
        let username = self.username(account)?;
        let mut secret = random::bytes::<SECRET_SIZE>()?;
        let sealed = self.secrets.seal(&place(account), &BASE64.encode(&secret).into())?;
        secret.zeroize();
        table::offer_second_factor(&self.store, account, &sealed)?;
        self.offered(account, &sealed, &username)
    }

    /// The last offer, if it is not turned on yet.
    pub fn second_factor_offer(&self, account: i64) -> Result<Offer> {
        let username = self.username(account)?;
        let sealed = table::offered_second_factor(&self.store, account)?.ok_or_else(nothing_offered)?;
        self.offered(account, &sealed, &username)
    }

    /// Turns on the offered second factor, given a valid code. Returns the recovery codes, only this once.
    pub fn take_up_second_factor(&self, account: i64, code: &str) -> Result<Vec<SecretString>> {
        const DENIED: Error = Error::Denied(LoginProblem::Code.message());
        let sealed = table::offered_second_factor(&self.store, account)?.ok_or_else(nothing_offered)?;
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let step = step_of(&self.totp(account, &sealed, "")?, &code, self.now()).ok_or(DENIED)?;
        let codes = (0..RECOVERY_CODES).map(|_| random_words()).collect::<Result<Vec<_>>>()?;
        let hashes: Vec<_> = codes.iter().map(|code| recovery_hash(&bare(code.expose_secret()))).collect();
        table::turn_on_second_factor(&self.store, account, &sealed, step, &hashes)?;
        Ok(codes)
    }

    /// Turns off the second factor and deletes its recovery codes.
    pub fn drop_second_factor(&self, account: i64) -> Result<()> {
        table::turn_off_second_factor(&self.store, account)
    }

    /// The number of unused recovery codes; `None` without a second factor.
    pub fn recovery_codes_left(&self, account: i64) -> Result<Option<i64>> {
        recovery_codes::left(&self.store, account)
    }

    fn offered(&self, account: i64, sealed: &str, username: &str) -> Result<Offer> {
        let totp = self.totp(account, sealed, username)?;
        let url = totp.to_url().map_err(|error| Error::refusal(Code::Internal, error.to_string()))?;
        Ok(Offer { secret: totp.secret().to_base32().into(), url: url.into() })
    }

    fn totp(&self, account: i64, sealed: &str, username: &str) -> Result<Totp> {
        let opened = self.secrets.open(&place(account), "The second factor of this account", sealed)?;
        let unreadable =
            || Error::refusal(Code::SecretUnreadable, "The second factor of this account is damaged.");
        let secret = BASE64.decode(opened.expose_secret().as_bytes()).map_err(|_| unreadable())?;
        // Authenticator apps treat a colon as the end of the issuer.
        let username = username.replace(':', " ");
        Builder::new()
            .with_secret(secret.into_boxed_slice())
            .with_account_name(username)
            .with_issuer(Some("Holdfast"))
            .build()
            .map_err(|_| unreadable())
    }
}

/// 80 random bits, as four groups of four letters and digits.
pub(super) fn random_words() -> Result<SecretString> {
    let mut random = random::bytes::<RECOVERY_BYTES>()?;
    let mut text = BASE32_NOPAD.encode(&random).to_ascii_lowercase();
    for at in [12, 8, 4] {
        text.insert(at, '-');
    }
    random.zeroize();
    Ok(text.into())
}

fn place(account: i64) -> String {
    format!("accounts/{account}.totp")
}

fn nothing_offered() -> Error {
    Error::Refused(
        "No second factor is waiting for confirmation. Start again on the account page.".to_owned(),
    )
}

/// The 30-second step to which `code` belongs, if it is one of those around `now`.
fn step_of(totp: &Totp, code: &str, now: Stamp) -> Option<i64> {
    let seconds = u64::try_from(now.millis() / 1000).ok()?;
    i64::try_from(totp.check(code, seconds)?).ok()
}

fn bare(code: &str) -> String {
    code.replace('-', "")
}

/// No salt is needed: 80 random bits cannot be guessed.
fn recovery_hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.to_ascii_lowercase().as_bytes()).into()
}
