//! Routes that are neither pages nor downloads: imports, events, assets, metadata, theme, policy reports.

pub mod assets;
pub mod csp_report;
pub mod events;
pub mod imports;
pub mod metadata;
pub mod theme;
