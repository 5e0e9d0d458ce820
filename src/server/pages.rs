//! Pages the server writes by itself, each with the forms it answers.

pub mod document;
pub mod forms;
pub mod one_time;
