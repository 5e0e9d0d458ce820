//! The live part of a page: requests to the server, the event stream, and input typed before hydration.

pub mod events;
pub mod requests;
pub mod restored_input;
