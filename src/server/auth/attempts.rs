//! What the log-in handlers share: the accounts, the audit log, and the throttle that counts failed attempts.

use crate::domain::accounts::{Accounts, SetupToken};
use crate::domain::audit::{Actor, Audit};
use crate::domain::{Error, Result};
use crate::model::audit::{Ending, Event};
use crate::server::auth::throttle::{Throttle, network};
use crate::server::blocking::blocking;
use crate::server::middleware::forwarded::Forwarded;
use std::sync::Arc;

/// The accounts, with every attempt throttled and noted. Cheap to clone.
#[derive(Clone)]
pub struct Attempts {
    /// The accounts.
    pub accounts: Accounts,
    audit: Audit,
    throttle: Arc<Throttle>,
}

impl Attempts {
    /// Attempts to log in to these accounts, noted in `audit`.
    pub fn new(accounts: Accounts, audit: Audit) -> Self {
        Self { accounts, audit, throttle: Arc::default() }
    }

    /// The token in a set-up link, if it still makes an account.
    pub async fn setup_token(&self, link: &str) -> Option<SetupToken> {
        let token = SetupToken::parse(link)?;
        let accounts = self.accounts.clone();
        // Whoever uses the link holds its lock while the account is written to the disk.
        blocking(move || Ok(accounts.admits(&token).then_some(token))).await.ok().flatten()
    }

    /// Notes an event in the audit log and in the program's own log.
    pub async fn note(&self, by: Actor, event: Event, object: String, outcome: Ending, detail: &'static str) {
        let who = by.who().unwrap_or(&object);
        tracing::info!(who, from = by.from(), outcome = outcome.text(), detail, "{}", event.text());
        let audit = self.audit.clone();
        noted(move || audit.note(&by, event, &object, outcome, detail)).await;
    }

    /// Notes a refusal that anybody can cause as often as they like, so its entries are rate-limited: see
    /// [`Audit::note_of_stranger`].
    pub async fn note_of_stranger(&self, by: Actor, event: Event, object: String, detail: &'static str) {
        let audit = self.audit.clone();
        noted(move || audit.note_of_stranger(&by, event, &object, Ending::Refused, detail)).await;
    }

    /// Notes that a client has to wait before its next attempt.
    pub async fn note_slowed(&self, by: Actor, username: String) {
        self.note_of_stranger(by, Event::Login, username, "too many failures from this address").await;
    }

    /// Runs `work`, which may be denied. A denial counts against the client's address. After too many, `work` does
    /// not run, and the error is the number of seconds to wait.
    pub async fn attempt<T: Send + 'static>(
        &self,
        client: Forwarded,
        work: impl FnOnce(&Accounts) -> Result<T> + Send + 'static,
    ) -> Result<Result<T>, u64> {
        let key = client.from.map(network);
        self.throttle.enter(key, self.accounts.now())?;
        let accounts = self.accounts.clone();
        let outcome = blocking(move || work(&accounts)).await;
        if !matches!(outcome, Err(Error::Denied(_))) {
            self.throttle.forgive(key, self.accounts.now());
        }
        Ok(outcome)
    }
}

/// Writes an entry on a blocking thread.
async fn noted(write: impl FnOnce() + Send + 'static) {
    let written = blocking(move || {
        write();
        Ok(())
    });
    if let Err(error) = written.await {
        tracing::error!(%error, "an event could not be noted");
    }
}
