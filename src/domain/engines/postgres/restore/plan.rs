//! What a restore into a PostgreSQL database would find and do, shown before the decision.

use crate::domain::engines::engine::{Manner, Plan, Planned};
use crate::domain::engines::postgres::archive::head::origin;
use crate::domain::engines::postgres::database::Postgres;
use crate::domain::engines::postgres::restore::restore_server::RestoreServer;
use crate::domain::error::Result;
use crate::domain::jobs::cancel::Cancel;
use crate::domain::jobs::progress::Unwatched;
use crate::model::outcome::listed;
use crate::model::restore::Fact;

/// Asks the server, and changes nothing there.
pub fn plan(postgres: &Postgres, plan: &Plan<'_>) -> Result<Planned> {
    let cancel = Cancel::default();
    let server = RestoreServer::open(postgres, &postgres.server.database, &cancel, &Unwatched)?;
    if plan.source.is_some() {
        postgres.tools.restore_tool(plan.beginning, Some(server.parsed_version()), &cancel)?;
    }
    let mut facts = facts_of_manner(plan.manner).to_vec();
    let mut warnings = Vec::new();
    if let Some((made_on, tool)) = origin(plan.beginning) {
        facts.push(fact("Made from", format!("PostgreSQL {made_on}, by pg_dump {tool}")));
    }
    facts.push(fact("Server", format!("PostgreSQL {}", server.version())));
    facts.push(fact("Free space", "unknown: check the disk of the PostgreSQL server"));
    if let Some(role) = server.superuser() {
        warnings.push(format!(
            "The role {role} is a superuser: all statements in the backup run with its rights. Restore only \
             backups you trust, or use another role."
        ));
    }
    let roles =
        plan.source.and_then(|source| source.manifest.as_ref()?.origin.as_ref()?.get("roles").cloned());
    let roles: Vec<String> = roles.and_then(|roles| serde_json::from_value(roles).ok()).unwrap_or_default();
    let missing = server.missing_roles(&roles);
    if !missing.is_empty() {
        warnings.push(format!(
            "The backup names roles that do not exist on this server: {}. Policies and grants for them are \
             left out and reported; create the roles first to keep them.",
            listed(missing.iter().map(String::as_str))
        ));
    }
    let existing = server.existing(&postgres.server.database)?.map(|existing| existing.told);
    if let Some(existing) = &existing {
        warnings.extend(existing.warnings.iter().chain(&existing.obstacle).cloned());
    }
    let replaces = existing.map(|existing| existing.size);
    Ok(Planned { facts, warnings, replaces, typed: postgres.server.database.clone() })
}

/// The facts about how a backup is restored.
fn facts_of_manner(manner: Manner) -> [Fact; 2] {
    let owners = if manner.keep_owners {
        "as in the backup, if the roles exist"
    } else {
        "none: the restoring role owns everything"
    };
    let what = "subscriptions, event triggers, scheduled jobs, user mappings";
    let done = if manner.act_outside { "created too" } else { "left out" };
    [fact("Owners and grants", owners), fact("Effects outside the database", format!("{done}: {what}"))]
}

fn fact(name: &str, text: impl Into<String>) -> Fact {
    (name.to_owned(), text.into())
}
