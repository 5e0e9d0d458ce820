//! The kinds of destination there are. A new kind is a folder and a line here.

use crate::domain::destinations::kind::Kind;
use crate::domain::destinations::{directory, sftp};

/// Every kind. A destination of a kind further up is the one that is used where nobody names one.
#[rustfmt::skip]
pub const KINDS: &[&dyn Kind] = &[
    &sftp::kind::Sftp,
    &directory::kind::Directory,
];
