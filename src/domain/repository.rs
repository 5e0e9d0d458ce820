//! The place of the files: the directory and its locks, publishing, the catalog, manifests, verification files, reading.

pub mod catalog;
pub mod content;
pub mod digests;
pub mod manifest;
pub mod publish;
pub mod read;
pub mod verification;
