//! Directory destinations: a local directory on another disk, such as a mounted NAS.

pub mod administration;
mod faults;
pub mod folder;
pub mod kind;
pub mod marker;
