//! The traits of a kind of destination, from its settings to an open connection. Each kind has a folder.

use crate::domain::audit::Notes;
use crate::domain::destinations::destination::Destination;
use crate::domain::destinations::name::DestinationName;
use crate::domain::destinations::shared::Shared;
use crate::domain::engines::Cancel;
use crate::domain::error::Result;

/// A kind of destination.
pub trait Kind: Sync {
    /// The destinations of this kind that are set up, sorted by name. Opens no secret.
    fn configured(&self, shared: &Shared) -> Result<Vec<Box<dyn Configured>>>;
}

/// A destination that is set up, but not connected.
pub trait Configured {
    /// Its name.
    fn name(&self) -> &DestinationName;

    /// Its name on pages and in messages: a server's host name, or a path.
    fn label(&self) -> &str;

    /// The directory of the copies; `.` for the directory where a login starts.
    fn directory(&self) -> &str;

    /// Whether it is enabled.
    fn is_enabled(&self) -> bool;

    /// Whether each new backup is uploaded automatically.
    fn sends_new(&self) -> bool;

    /// Reads what is needed to connect, including the secrets. The error says what is missing.
    fn access(&self, shared: &Shared) -> Result<Box<dyn Access>>;
}

/// What is needed to connect to a destination, read once for all attempts of an operation.
pub trait Access {
    /// Connects.
    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Destination>>;
}

/// The circumstances of connecting.
pub struct Opening<'o> {
    /// What all destinations share.
    pub shared: &'o Shared,
    /// The audit log.
    pub notes: &'o Notes,
    /// Cancels connecting.
    pub cancel: &'o Cancel,
    /// Whether a user waits for the answer; such a user could otherwise probe server after server.
    pub on_request: bool,
}
