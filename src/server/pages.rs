//! Server-written pages, each with the handlers of its forms.

pub mod account;
pub mod audit;
pub mod form_request;
pub mod html_document;
pub mod live_page;
pub mod markup;
pub mod message;
pub mod one_time;
pub mod registry;
pub mod restore;
pub mod users;
