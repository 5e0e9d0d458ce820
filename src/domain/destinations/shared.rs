//! What all destinations share: the state database, the secrets, the audit log, the clock, and how patient to be.

use crate::domain::audit::{Actor, Audit, ending_of};
use crate::domain::destinations::copies::Copies;
use crate::domain::destinations::probe_limit::ProbeLimit;
use crate::domain::error::Result;
use crate::domain::jobs::Clock;
use crate::domain::outbound::Policy;
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::audit::{Ending, Event};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for a destination, and how often to try again.
#[derive(Debug, Clone)]
pub struct Options {
    /// For finding and reaching the server.
    pub connect_timeout: Duration,
    /// For each answer of the server. A transfer whose server falls silent ends that much later.
    pub io_timeout: Duration,
    /// For the answer that finishes a file, to syncing, closing or renaming it, while the connection is alive: a server
    /// with an object store behind it takes its time for these.
    pub finish_timeout: Duration,
    /// How often an upload is tried again after the connection failed.
    pub retries: u32,
    /// The wait before the first of those tries; each next wait is twice as long.
    pub back_off: Duration,
    /// Whether what was sent is read back and compared before it gets its name.
    pub read_back: bool,
    /// How many servers that turn out to be no destination may be tried within a minute.
    pub strangers: usize,
    /// Which addresses are connected to; a holdfast puts its own policy here.
    pub egress: Policy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            io_timeout: Duration::from_secs(30),
            finish_timeout: Duration::from_mins(10),
            retries: 5,
            back_off: Duration::from_secs(1),
            read_back: true,
            strangers: 10,
            egress: Policy::default(),
        }
    }
}

/// What every kind of destination works with. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// The state database.
    pub store: Store,
    /// What seals the secrets in it.
    pub secrets: Secrets,
    /// The audit log.
    pub audit: Audit,
    /// Gives the time.
    pub clock: Clock,
    /// How long to wait.
    pub options: Arc<Options>,
    /// What is remembered of each copy.
    pub copies: Copies,
    /// Limits how many servers can be probed.
    pub probes: Arc<ProbeLimit>,
}

impl Shared {
    /// Over `store`, whose secrets `secrets` seals.
    pub fn new(store: Store, secrets: Secrets, audit: Audit, clock: Clock, options: Options) -> Self {
        Self {
            copies: Copies::new(store.clone()),
            probes: Arc::new(ProbeLimit::new(options.strangers)),
            store,
            secrets,
            audit,
            clock,
            options: Arc::new(options),
        }
    }

    /// Notes in the audit log what came of something that `actor` did, and passes the result on.
    pub fn noted<T>(
        &self,
        actor: &Actor,
        event: Event,
        object: &str,
        result: Result<T>,
        told: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        match &result {
            Ok(done) => self.audit.note(actor, event, object, Ending::Ok, &told(done)),
            Err(error) => self.audit.note(actor, event, object, ending_of(error), &error.to_string()),
        }
        result
    }

    /// Notes a refusal to begin something. What was begun is noted when it ends.
    pub fn noted_unless_begun<T>(
        &self,
        actor: &Actor,
        event: Event,
        object: &str,
        result: Result<T>,
    ) -> Result<T> {
        result
            .inspect_err(|error| self.audit.note(actor, event, object, ending_of(error), &error.to_string()))
    }
}
