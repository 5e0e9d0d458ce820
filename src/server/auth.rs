//! Authentication: login, sessions, and the guard that checks every request.

pub mod attempts;
pub mod confirm;
pub mod cookies;
pub mod forms;
pub mod guard;
pub mod login;
pub mod logout;
pub mod next;
pub mod redirects;
pub mod refusals;
pub mod routes;
pub mod second_step;
pub mod setup;
pub mod throttle;

#[cfg(test)]
mod tests;
