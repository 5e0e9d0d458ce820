//! The page that asks for confirmation before a deletion, for forms posted without JavaScript.

use crate::api::off_site::DeleteRemote;
use crate::api::{DeleteBackups, NamedBackups};
use crate::model::address::{at, lookup, lookup_all};
use crate::model::outcome::listed;
use crate::model::{BackupName, ListQuery, Picked, human};
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::deletion::{DeletionList, question};
use crate::ui::components::filter::hidden;
use crate::ui::components::links::page_button;
use crate::ui::components::notice::Alert;
use crate::ui::live::requests::PageData;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;

/// The page. Its address has the names of the backups and the view of the list to return to.
#[component]
pub fn DeletePage() -> impl IntoView {
    let search = use_location().search;
    let names = move || search.with(|search| lookup_all(search, "names[]"));
    let there = move || search.with(|search| lookup(search, "there").is_some());
    let backups = PageData::begin(|search| NamedBackups { names: lookup_all(search, "names[]") });
    markup! {
        <Chrome place=Place::Backups>
            <Transition fallback=|| markup! { <p class="loading">"Reading the backup directory…"</p> }>
                {move || Suspend::new(async move {
                    let view = search.with_untracked(|search| ListQuery::from_lookup(|key| lookup(search, key)));
                    match backups.read().await {
                        Ok(_) if untrack(there) => {
                            markup! { <CopyDeletionForm names=untrack(names) /> }
                        }
                        Ok(backups) => {
                            markup! { <DeletionForm names=untrack(names) backups view /> }
                        }
                        Err(error) => {
                            markup! {
                                <h1>"Delete backups"</h1>
                                <Alert message=error.to_string() detail=None />
                            }
                        }
                    }
                })}
            </Transition>
        </Chrome>
    }
}

/// The confirmation for copies at the destination, of which only the names are known here.
#[component]
fn CopyDeletionForm(names: Vec<String>) -> impl IntoView {
    let cancel = page_button("/remote", "Cancel");
    let names: Vec<BackupName> = names.iter().filter_map(|name| name.parse().ok()).collect();
    if names.is_empty() {
        return markup! {
            <h1>"Nothing to delete"</h1>
            <p>"Select the copies to delete in the list, then press “Delete there” below it."</p>
            <div class="actions">{cancel}</div>
        };
    }
    let question = format!("Delete {} off-site?", human::count(names.len() as u64, "copy"));
    let fields = names
        .iter()
        .map(|name| markup! { <input type="hidden" name="names[]" value=name.to_string() /> })
        .collect_view();
    let list = names.iter().map(|name| markup! { <li class="f">{name.to_string()}</li> }).collect_view();
    markup! {
        <h1>{question}</h1>
        <p>"Local backups stay. A copy that exists only off-site is gone for good."</p>
        <ul class="doomed" tabindex="0" aria-label="To be deleted">
            {list}
        </ul>
        <div class="actions">
            {cancel}
            <form method="post" action=at(DeleteRemote::url())>
                {fields}
                <button class="danger">"Delete"</button>
            </form>
        </div>
    }
}

#[component]
fn DeletionForm(names: Vec<String>, backups: Vec<Picked>, view: ListQuery) -> impl IntoView {
    let gone: Vec<_> =
        names.iter().filter(|name| !backups.iter().any(|backup| backup.name.as_str() == *name)).collect();
    let gone = (!gone.is_empty()).then(|| {
        let message = format!("There is no backup named {}.", listed(gone.iter().map(|name| name.as_str())));
        markup! { <Alert message detail=None /> }
    });
    let cancel = markup! {
        <form method="get" action=at("/")>
            {hidden(&view)}
            <button class="second">"Cancel"</button>
        </form>
    };
    if backups.is_empty() {
        return markup! {
            <h1>"Nothing to delete"</h1>
            <p>"Select the backups to delete in the list, then press “Delete” below it."</p>
            {gone}
            <div class="actions">{cancel}</div>
        };
    }
    let fields = backups
        .iter()
        .map(|backup| markup! { <input type="hidden" name="names[]" value=backup.name.to_string() /> })
        .collect_view();
    markup! {
        <h1>{question(&backups)}</h1>
        {gone}
        <DeletionList backups />
        <div class="actions">
            {cancel}
            <form method="post" action=at(DeleteBackups::url())>
                {fields}
                <button class="danger">"Delete"</button>
            </form>
        </div>
    }
}
