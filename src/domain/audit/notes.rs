//! The audit log on somebody's behalf: every entry names the same actor.

use crate::domain::audit::{Actor, Audit, Noted, ending_of};
use crate::domain::error::Result;
use crate::domain::events::What;
use crate::model::audit::{Ending, Event};
use std::sync::Arc;

/// Notes things in the audit log as done by one actor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notes {
    audit: Audit,
    actor: Arc<Actor>,
}

impl Notes {
    /// Notes of `actor` in `audit`.
    pub fn new(audit: Audit, actor: Arc<Actor>) -> Self {
        Self { audit, actor }
    }

    /// Notes of another actor in the same log.
    #[must_use]
    pub fn of(&self, actor: Arc<Actor>) -> Self {
        Self { audit: self.audit.clone(), actor }
    }

    /// The log.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The actor that the entries name.
    pub fn actor(&self) -> &Arc<Actor> {
        &self.actor
    }

    /// Notes one thing; see [`Audit::tell`].
    pub fn note(&self, event: Event, object: &str, outcome: Ending, detail: &str) {
        self.audit.note(&self.actor, event, object, outcome, detail);
    }

    /// Notes several things, which become durable together.
    pub fn note_all(&self, all: &[Noted]) {
        self.audit.note_all(&self.actor, all);
    }

    /// Notes what happened and sends it to the subscribers; see [`Audit::tell`].
    pub fn tell(&self, all: Vec<What>) {
        self.audit.tell(&self.actor, all);
    }

    /// Notes what anybody can cause without an account; see [`Audit::note_of_stranger`].
    pub fn note_of_stranger(&self, event: Event, object: &str, outcome: Ending, detail: &str) {
        self.audit.note_of_stranger(&self.actor, event, object, outcome, detail);
    }

    /// Notes the result of something, and passes the result on. `told` gives the details of a success.
    pub fn noted<T>(
        &self,
        event: Event,
        object: &str,
        result: Result<T>,
        told: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        match &result {
            Ok(done) => self.note(event, object, Ending::Ok, &told(done)),
            Err(error) => self.note(event, object, ending_of(error), &error.to_string()),
        }
        result
    }

    /// Notes that a job was refused, and passes the result on. A job that was queued is noted when it ends.
    pub fn noted_unless_begun<T>(&self, event: Event, object: &str, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.note(event, object, ending_of(error), &error.to_string()))
    }
}
