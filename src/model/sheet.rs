//! A page described by the server, for what is looked up and filled in now and then: the browser has one component
//! for all of them.

use crate::model::Outcome;
use serde::{Deserialize, Serialize};

/// The page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// The heading.
    pub title: String,
    /// What stands beneath it.
    pub sub: String,
    /// What the page was opened to tell.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// What is on it.
    pub pieces: Vec<Piece>,
}

/// A piece of it. What its texts are, [`Kind`] says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// What is read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// What it is called where it is sent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it is filled with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What is in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of: Vec<Piece>,
}

/// What a [`Piece`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A card headed `text`.
    Card,
    /// A paragraph `text`.
    Words,
    /// A list of [`Kind::Fact`]s.
    Facts,
    /// `name` and what it is, `text`.
    Fact,
    /// A table of [`Kind::Row`]s; the first heads it.
    Table,
    /// Cells.
    Row,
    /// `text`, and what is in it.
    Cell,
    /// A link to `name` that reads `text`.
    Link,
    /// A form posted to `name`, its button reading `text`; a field's `value` may be `danger` for what destroys.
    Form,
    /// The same with its answer at an address of its own.
    Search,
    /// A field labelled `text`, sent as `name`; `value` fills it.
    Field,
    /// One for a password in use.
    Password,
    /// One for a new password.
    NewPassword,
    /// A box; ticked where `value` says something.
    Tick,
    /// One of its [`Kind::Option`]s, `value` being chosen.
    Choice,
    /// `text`, sent as `value`.
    Option,
    /// Sent unseen.
    Hidden,
    /// What is folded away beneath `text`.
    Folded,
}

impl Piece {
    /// One that has only a text.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), name: String::new(), value: String::new(), of: Vec::new() }
    }

    /// The same with a name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The same filled.
    #[must_use]
    pub fn filled(self, value: impl Into<String>) -> Self {
        Self { value: value.into(), ..self }
    }

    /// The same with pieces in it.
    #[must_use]
    pub fn with(self, of: impl IntoIterator<Item = Self>) -> Self {
        Self { of: of.into_iter().collect(), ..self }
    }
}
