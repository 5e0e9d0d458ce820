//! The result of a dump.

/// The result of a complete dump.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Warnings of the tool.
    pub warnings: Option<String>,
    /// What is wrong in the database, although the copy is complete: a sentence each, with the remedy.
    pub remarks: Vec<String>,
    /// The database's properties apart from its content, in the engine's own format, for the manifest.
    pub origin: Option<serde_json::Value>,
    /// Tables and rows in the stream, if counted.
    pub counted: Option<Counts>,
}

/// Tables and rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The number of tables.
    pub tables: u64,
    /// The number of rows in all tables.
    pub rows: u64,
}
