//! Destinations of copies: SFTP against a real OpenSSH server, directories, and what all kinds have in common.

mod conformance;
mod connection;
mod copies;
mod directory;
pub mod harbour;
mod keys;
mod known_hosts;
mod listing;
pub mod off_site;
mod second_kind;
pub mod settings;
mod sftp_field;
mod upload;
mod upload_faults;
