//! An entry of the audit log: the event, its object, its outcome and a detail.

use crate::domain::error::Error;
use crate::model::audit::{Ending, Event};
use serde::Serialize;
use serde_json::Value;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What happened.
    pub event: Event,
    /// The object of the event.
    pub object: String,
    /// The outcome.
    pub outcome: Ending,
    /// Further details.
    pub detail: String,
}

impl Noted {
    /// An entry with its event, object, outcome and detail.
    pub fn new(event: Event, object: impl Into<String>, outcome: Ending, detail: impl Into<String>) -> Self {
        Self { event, object: object.into(), outcome, detail: detail.into() }
    }

    /// An entry about a failure, with the error as its detail.
    pub fn of(event: Event, object: impl Into<String>, error: &Error) -> Self {
        Self::new(event, object, ending_of(error), error.to_string())
    }
}

/// The outcome for an error.
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

/// The names of the fields in which two forms differ, without their values.
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
