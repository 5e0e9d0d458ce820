//! The service that all functions about accounts belong to.

use crate::domain::accounts::password::Hasher;
use crate::domain::accounts::pending_logins::PendingLogins;
use crate::domain::accounts::setup_link::SetupLink;
use crate::domain::state::Store;
use crate::domain::state::secrets::Secrets;
use crate::model::Stamp;
use std::sync::Arc;

/// The accounts in one state database. Clones share everything. Functions that hash a password
/// ([`Accounts::ensure_first`], [`Accounts::set_up`], [`Accounts::log_in`]) take a good part of a second;
/// every call blocks and belongs on a blocking thread.
#[derive(Clone)]
pub struct Accounts {
    pub(super) store: Store,
    pub(super) secrets: Secrets,
    pub(super) hasher: Arc<Hasher>,
    pub(super) pending_logins: Arc<PendingLogins>,
    pub(super) setup_link: Arc<SetupLink>,
    now: Arc<dyn Fn() -> Stamp + Send + Sync>,
}

impl Accounts {
    /// The accounts in `store`, with secrets sealed by `secrets` and `now` as the clock.
    pub fn new(store: Store, secrets: Secrets, now: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        Self {
            store,
            secrets,
            hasher: Arc::default(),
            pending_logins: Arc::default(),
            setup_link: Arc::default(),
            now: Arc::new(now),
        }
    }

    /// The current time, by the clock for sessions.
    pub fn now(&self) -> Stamp {
        (self.now)()
    }
}
