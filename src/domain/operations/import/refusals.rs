//! The errors that refuse an uploaded file.

use crate::domain::error::{Code, Error};

/// The file is not one that can be imported.
pub fn invalid(sentence: impl Into<String>) -> Error {
    Error::refusal(Code::InvalidInput, sentence)
}

/// The file is damaged.
pub fn damaged(sentence: impl Into<String>) -> Error {
    Error::refusal(Code::BackupDamaged, sentence)
}

/// A limit on imports is reached.
pub fn too_much(sentence: impl Into<String>) -> Error {
    Error::refusal(Code::LimitReached, sentence)
}
