//! One entry of the audit log, before it is written: what happened, to what, and what came of it.

use crate::domain::error::Error;
use crate::model::audit::{Ending, Event};
use serde::Serialize;
use serde_json::Value;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What happened.
    pub event: Event,
    /// To what.
    pub object: String,
    /// What came of it.
    pub outcome: Ending,
    /// What else there is to say.
    pub detail: String,
}

impl Noted {
    /// What happened, to what, what came of it, and what else there is to say.
    pub fn new(event: Event, object: impl Into<String>, outcome: Ending, detail: impl Into<String>) -> Self {
        Self { event, object: object.into(), outcome, detail: detail.into() }
    }

    /// What came to nothing, and why.
    pub fn of(event: Event, object: impl Into<String>, error: &Error) -> Self {
        Self::new(event, object, ending_of(error), error.to_string())
    }
}

/// What came of something that failed so.
pub fn ending_of(error: &Error) -> Ending {
    match error {
        Error::Cancelled => Ending::Cancelled,
        Error::Refused(_)
        | Error::Refusal(_)
        | Error::Denied(_)
        | Error::Busy(_)
        | Error::NoBackup(_)
        | Error::NoArchive
        | Error::NoDatabase(_)
        | Error::NoJob => Ending::Refused,
        _ => Ending::Failed,
    }
}

/// The names of the fields in which two forms differ, never what is in them.
pub fn changed_fields(before: &impl Serialize, after: &impl Serialize) -> String {
    let fields = |form: serde_json::Result<Value>| match form {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(serde_json::to_value(before)), fields(serde_json::to_value(after)));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    changed.map(|(name, _)| name.replace('_', " ")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::domain::audit::note::changed_fields;

    #[test]
    fn forms_differ_in_the_fields_that_are_named() {
        let before = serde_json::json!({"host": "a", "port": "22", "send_new": false});
        let after = serde_json::json!({"host": "b", "port": "22", "send_new": true});
        assert_eq!(changed_fields(&before, &after), "host, send new");
        assert_eq!(changed_fields(&before, &before), "");
    }
}
