//! The registry of kinds of destination. A new kind is a folder and a line here.

use crate::domain::destinations::kind::Kind;
use crate::domain::destinations::{directory, sftp};

/// Every kind. Without a choice, a destination of an earlier kind is preferred.
#[rustfmt::skip]
pub const KINDS: &[&dyn Kind] = &[
    &sftp::kind::Sftp,
    &directory::kind::Directory,
];
