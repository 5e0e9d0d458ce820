//! Components that several pages share.

pub mod chrome;
pub mod deletion;
pub mod dialog;
pub mod filter;
pub mod icon;
pub mod jobs;
pub mod links;
pub mod notice;
pub mod pager;
pub mod selection;
pub mod selection_bar;
pub mod sparkline;
pub mod table;
pub mod timestamp;
pub mod unscripted;
