//! Server-written pages, each with the handlers of its forms.

pub mod account;
pub mod audit;
pub mod document;
pub mod form_request;
pub mod markup;
pub mod message;
pub mod one_time;
pub mod registry;
pub mod restore;
pub mod shell;
pub mod users;
