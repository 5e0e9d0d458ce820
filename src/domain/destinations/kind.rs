//! What a kind of destination has to offer, from its settings to an open connection. Each kind has a folder.

use crate::domain::audit::Actor;
use crate::domain::destinations::destination::Destination;
use crate::domain::destinations::name::DestinationName;
use crate::domain::destinations::shared::Shared;
use crate::domain::engines::Cancel;
use crate::domain::error::Result;

/// A kind of destination.
pub trait Kind: Sync {
    /// The destinations of this kind that are set up, in the order of their names. Opens no secret.
    fn configured(&self, shared: &Shared) -> Result<Vec<Box<dyn Configured>>>;
}

/// A destination as it is set up, not connected to yet.
pub trait Configured {
    /// Its name.
    fn name(&self) -> &DestinationName;

    /// How pages and sentences call it: a server's host name, or a path.
    fn label(&self) -> &str;

    /// The directory of the copies there; `.` where a connection starts.
    fn directory(&self) -> &str;

    /// Whether copies are sent there at all.
    fn is_enabled(&self) -> bool;

    /// Whether each new backup is sent there automatically.
    fn sends_new(&self) -> bool;

    /// What it takes to connect, with the secrets in it. Fails with what is missing.
    fn access(&self, shared: &Shared) -> Result<Box<dyn Access>>;
}

/// What it takes to connect to a destination, read once for all tries of one piece of work.
pub trait Access {
    /// Connects.
    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Destination>>;
}

/// How a connection is opened.
pub struct Opening<'o> {
    /// What all destinations share.
    pub shared: &'o Shared,
    /// Who has it opened, for the audit log.
    pub actor: &'o Actor,
    /// Ends it.
    pub cancel: &'o Cancel,
    /// Whether somebody waits for the answer, who could otherwise probe server after server.
    pub on_request: bool,
}
