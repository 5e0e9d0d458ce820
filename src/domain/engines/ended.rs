//! What there is to know at the end of a dump.

/// What there is to know at the end of a complete dump.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What the tool warned of, in its own words.
    pub warnings: Option<String>,
    /// What is wrong within the database though its copy is whole: a sentence each, with the remedy.
    pub remarks: Vec<String>,
    /// What the database is besides its content, in the engine's own form, for the manifest.
    pub origin: Option<serde_json::Value>,
    /// Tables and rows in the stream, where they were counted.
    pub counted: Option<Counts>,
}

/// Tables and rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// How many tables.
    pub tables: u64,
    /// How many rows in all of them.
    pub rows: u64,
}
