//! What makes a page live: requests to the server, its events, and input typed before hydration.

pub mod events;
pub mod requests;
pub mod restored_input;
