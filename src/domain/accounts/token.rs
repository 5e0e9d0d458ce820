//! Bearer tokens of 256 random bits: for a session, the set-up link, a pending login, or a program.

use crate::domain::error::Result;
use crate::domain::random;
use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::marker::PhantomData;

/// 256 random bits that allow one thing, which `For` names. No log or message shows them; only
/// [`Token::reveal`] returns them.
pub struct Token<For>(SecretBox<[u8; 32]>, PhantomData<For>);

/// Authenticates a session.
pub type SessionToken = Token<ForSession>;
/// Allows creating the first account.
pub type SetupToken = Token<ForSetup>;
/// Allows entering the code after the password.
pub type HalfwayToken = Token<ForSecondStep>;
/// Allows a program what the token's scope says.
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
    /// Parses the text of [`Token::reveal`]; `None` if it is not a token.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits = Box::new([0; 32]);
        (text.len() == 43).then_some(())?;
        BASE64URL_NOPAD.decode_mut(text.as_bytes(), bits.as_mut_slice()).ok()?;
        Some(Self(SecretBox::new(bits), PhantomData))
    }

    /// The token itself, 43 characters of base64url, for its owner only.
    pub fn reveal(&self) -> String {
        BASE64URL_NOPAD.encode(self.0.expose_secret())
    }

    /// A new token.
    pub(super) fn random() -> Result<Self> {
        let mut bits = Box::new([0; 32]);
        random::fill(bits.as_mut_slice())?;
        Ok(Self(SecretBox::new(bits), PhantomData))
    }

    /// Its hash, the only thing that is stored. No salt is needed: 256 random bits cannot be guessed.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret()).into()
    }

    /// Its bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl<For> fmt::Debug for Token<For> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
