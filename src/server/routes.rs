//! The remaining routes: imports, events, assets, small ones.

pub mod assets;
pub mod csp_report;
pub mod events;
pub mod imports;
pub mod metadata;
pub mod theme;
