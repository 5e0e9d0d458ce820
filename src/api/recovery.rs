//! The server functions that verify, adopt and restore backups.
#![expect(missing_docs, reason = "the macro makes structs whose fields cannot carry documentation")]

#[cfg(feature = "ssr")]
use super::context;
use super::wire::Wire;
#[cfg(feature = "ssr")]
use crate::model::BackupName;
use crate::model::{AppError, Outcome};
use leptos::prelude::*;
use leptos::server_fn::codec::PostUrl;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The restore form: where to restore a backup. The URL may have a password, so it is never sent back.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreEntry {
    pub file: String,
    /// One of [`crate::model::RestoreView::places`].
    pub place: String,
    pub name: String,
    pub url: String,
    /// Checked if not empty: restore owners and grants.
    pub keep_owners: String,
    /// Checked if not empty: also restore objects that act outside the database.
    pub act_outside: String,
}

impl fmt::Debug for RestoreEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreEntry")
            .field("file", &self.file)
            .field("place", &self.place)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Starts to verify the backups among `names`, or all.
#[server(endpoint = "verify_backups", protocol = Wire<PostUrl>)]
pub async fn verify_backups(
    #[server(default)] names: Vec<String>,
    all: Option<String>,
) -> Result<Outcome, AppError> {
    let begun = context::attempt(move |holdfast| {
        if all.is_some() {
            holdfast.verifications().start_all()
        } else {
            holdfast.verifications().start(&names)
        }
    });
    context::begun(begun.await?).await
}

/// Starts to write a manifest for every intact backup that has none.
#[server(endpoint = "adopt_backups", protocol = Wire<PostUrl>)]
pub async fn adopt_backups() -> Result<Outcome, AppError> {
    context::begun(context::attempt(|holdfast| holdfast.verifications().start_adopt()).await?).await
}

/// Plans a restore, and redirects to the plan.
#[server(endpoint = "plan_restore", protocol = Wire<PostUrl>)]
pub async fn plan_restore(entry: RestoreEntry) -> Result<Outcome, AppError> {
    let RestoreEntry { file, place, name, url, keep_owners, act_outside } = entry;
    let page = format!("/restore?file={file}");
    let Ok(file) = file.parse::<BackupName>() else {
        return Err(AppError::BadRequest("That is not the name of a backup.".to_owned()));
    };
    let manner = crate::domain::operations::restore::Manner {
        keep_owners: !keep_owners.is_empty(),
        act_outside: !act_outside.is_empty(),
    };
    let request =
        crate::domain::operations::restore_plan::RestoreRequest { place, name, url: url.into(), manner };
    match context::attempt_as(move |holdfast, account| {
        holdfast.restore_plans().plan(account.id, &file, &request)
    })
    .await?
    {
        Ok(id) => {
            context::lead_to(&format!("{page}&plan={id}"));
            Ok(Outcome::default())
        }
        Err(reason) => {
            let outcome = Outcome::refused(reason);
            context::tell_on(&page, outcome.clone()).await?;
            Ok(outcome)
        }
    }
}

/// Starts the restore that was planned. `typed` is the name of the database to replace.
#[server(endpoint = "start_restore", protocol = Wire<PostUrl>)]
pub async fn start_restore(file: String, plan: String, typed: Option<String>) -> Result<Outcome, AppError> {
    let page = match file.parse::<BackupName>() {
        Ok(file) => format!("/restore?file={file}&plan={plan}"),
        Err(_) => return Err(AppError::BadRequest("That is not the name of a backup.".to_owned())),
    };
    let typed = typed.unwrap_or_default();
    let begun = context::attempt_freshly(move |holdfast, account| {
        holdfast.restore_plans().start(account.id, &plan, &typed)
    });
    match begun.await? {
        Ok(job) => context::begun(Ok(job)).await,
        Err(reason) => {
            let outcome = Outcome::refused(reason);
            context::tell_on(&page, outcome.clone()).await?;
            Ok(outcome)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_in_no_debug_output() {
        let entry = RestoreEntry {
            place: "elsewhere".into(),
            url: "postgres://u:canary@h/d".into(),
            ..RestoreEntry::default()
        };
        let shown = format!("{entry:?} {:?}", PlanRestore { entry: entry.clone() });
        assert!(shown.contains("elsewhere") && !shown.contains("canary"), "{shown}");
    }
}
