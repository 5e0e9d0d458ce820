//! Accounts and logins: passwords, sessions, API tokens, second factors.

mod account;
pub mod api_tokens;
mod credentials;
mod hashing_queue;
mod login;
mod password;
mod pending_logins;
pub mod second_factor;
mod service;
pub mod sessions;
mod setup;
mod setup_link;
#[cfg(test)]
mod tests;
mod token;
pub mod users;

pub use account::{Account, Device, username_problem};
pub use login::Admitted;
pub use password::password_problem;
pub use service::Accounts;
pub use sessions::{FRESH, SESSION_IDLE, SESSION_LIFE};
pub use setup::FirstAccount;
pub use setup_link::SETUP_LIFE;
pub use token::{
    ApiToken, ForPrograms, ForSecondStep, ForSession, ForSetup, HalfwayToken, SessionToken, SetupToken, Token,
};
