//! What all destinations share: the state database, the secrets, the audit log, the clock, and the timeouts.

use crate::domain::audit::Audit;
use crate::domain::destinations::copies::Copies;
use crate::domain::destinations::probe_limit::ProbeLimit;
use crate::domain::jobs::Clock;
use crate::domain::outbound::Policy;
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use std::sync::Arc;
use std::time::Duration;

/// Timeouts and retries.
#[derive(Debug, Clone)]
pub struct Options {
    /// For resolving and connecting to the server.
    pub connect_timeout: Duration,
    /// For each answer of the server. A transfer ends that long after a server falls silent.
    pub io_timeout: Duration,
    /// For the answer to syncing, closing or renaming a file, while the connection is alive: a server with an
    /// object store behind it needs long for these.
    pub finish_timeout: Duration,
    /// How often an upload is retried after the connection failed.
    pub retries: u32,
    /// The wait before the first retry; each next wait is twice as long.
    pub back_off: Duration,
    /// Whether the draft is read back and compared before it is renamed.
    pub read_back: bool,
    /// How many servers that are not destinations may be contacted per minute.
    pub strangers: usize,
    /// The outbound policy.
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

/// What every kind of destination uses. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// The state database.
    pub store: Store,
    /// Seals its secrets.
    pub secrets: Secrets,
    /// The audit log.
    pub audit: Audit,
    /// The clock.
    pub clock: Clock,
    /// Timeouts and retries.
    pub options: Arc<Options>,
    /// The records of copies.
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
}
