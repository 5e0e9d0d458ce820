//! Components: values of the model in, HTML out. HTML first: forms and links work by themselves, and the
//! WebAssembly makes them instant.

pub mod chrome;
pub mod deletion;
pub mod early;
pub mod icon;
pub mod jobs;
pub mod live;
pub mod notice;
pub mod pager;
pub mod pages;
pub mod selection;
pub mod selection_bar;
pub mod spark;
pub mod table;
pub mod tools;
pub mod unscripted;
pub mod when;
