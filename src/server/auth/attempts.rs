//! What the login handlers share: the accounts, the audit log, and the throttle that counts failed attempts.

use crate::domain::accounts::{Accounts, SetupToken};
use crate::domain::audit::{Actor, Audit};
use crate::domain::{Error, Result};
use crate::model::audit::{Ending, Event};
use crate::server::auth::throttle::{Throttle, network};
use crate::server::blocking::blocking;
use crate::server::middleware::forwarded::Forwarded;
use std::sync::Arc;

/// Login attempts: each is throttled and written to the audit log. Cheap to clone.
#[derive(Clone)]
pub struct Attempts {
    /// The accounts.
    pub accounts: Accounts,
    audit: Audit,
    throttle: Arc<Throttle>,
}

impl Attempts {
    /// Login attempts to `accounts`, written to `audit`.
    pub fn new(accounts: Accounts, audit: Audit) -> Self {
        Self { accounts, audit, throttle: Arc::default() }
    }

    /// The token in a set-up link, if the link still works.
    pub async fn setup_token(&self, link: &str) -> Option<SetupToken> {
        let token = SetupToken::parse(link)?;
        let accounts = self.accounts.clone();
        // On a blocking thread: a request that uses the link holds its lock while it writes the account to disk.
        blocking(move || Ok(accounts.admits(&token).then_some(token))).await.ok().flatten()
    }

    /// Writes an event to the audit log and to the program log.
    pub async fn note(
        &self,
        by: Actor,
        event: Event,
        object: String,
        outcome: Ending,
        detail: impl Into<String>,
    ) {
        let detail = detail.into();
        let who = by.who().unwrap_or(&object);
        tracing::info!(who, from = by.from(), outcome = outcome.text(), detail, "{}", event.text());
        let audit = self.audit.clone();
        noted(move || audit.note(&by, event, &object, outcome, &detail)).await;
    }

    /// Writes a refusal to the audit log, rate-limited, because unauthenticated clients can cause it: see
    /// [`Audit::note_of_stranger`].
    pub async fn note_of_stranger(&self, by: Actor, event: Event, object: String, detail: &'static str) {
        let audit = self.audit.clone();
        noted(move || audit.note_of_stranger(&by, event, &object, Ending::Refused, detail)).await;
    }

    /// Writes to the audit log that a throttled client has to wait.
    pub async fn note_slowed(&self, by: Actor, username: String) {
        self.note_of_stranger(by, Event::Login, username, "too many failures from this address").await;
    }

    /// Runs `work` and counts a denial against the client's address. After too many denials `work` does not run, and
    /// the error is the number of seconds to wait.
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
        tracing::error!(%error, "could not write to the audit log");
    }
}
