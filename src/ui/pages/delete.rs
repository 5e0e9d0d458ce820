//! The question before a deletion, as a page: where the list's form leads without JavaScript.

use crate::api::{DeleteBackups, named_backups};
use crate::model::address::{lookup, lookup_all};
use crate::model::outcome::listed;
use crate::model::{ListQuery, Picked};
use crate::ui::chrome::{Chrome, Place};
use crate::ui::deletion::{Doomed, question};
use crate::ui::notice::Alert;
use crate::ui::tools::hidden;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;
use leptos_router::hooks::use_location;

/// The page: its address names the backups, and the view to come back to.
#[component]
pub fn DeletePage() -> impl IntoView {
    let search = use_location().search;
    let names = Memo::new(move |_| search.with(|search| lookup_all(search, "names[]")));
    let backups = Resource::new(move || names.get(), named_backups);
    view! {
        <Chrome place=Place::Backups>
            <Transition fallback=|| view! { <p class="loading">"Reading the backup directory…"</p> }>
                {move || Suspend::new(async move {
                    let view = search.with_untracked(|search| ListQuery::from_lookup(|key| lookup(search, key)));
                    match backups.await {
                        Ok(backups) => {
                            view! { <Question names=names.get_untracked() backups view /> }.into_any()
                        }
                        Err(error) => {
                            view! {
                                <h1>"Delete backups"</h1>
                                <Alert message=error.to_string() detail=None />
                            }
                                .into_any()
                        }
                    }
                })}
            </Transition>
        </Chrome>
    }
}

#[component]
fn Question(names: Vec<String>, backups: Vec<Picked>, view: ListQuery) -> impl IntoView {
    let gone: Vec<_> =
        names.iter().filter(|name| !backups.iter().any(|backup| backup.name.as_str() == *name)).collect();
    let gone = (!gone.is_empty()).then(|| {
        let message = format!("There is no backup named {}.", listed(gone.iter().map(|name| name.as_str())));
        view! { <Alert message detail=None /> }
    });
    let cancel = view! {
        <form method="get" action="/">
            {hidden(&view)}
            <button class="second">"Cancel"</button>
        </form>
    };
    if backups.is_empty() {
        return view! {
            <h1>"Nothing to delete"</h1>
            <p>"Tick the backups to delete in the list, then press “Delete” below it."</p>
            {gone}
            <div class="actions">{cancel}</div>
        }
        .into_any();
    }
    let fields = backups
        .iter()
        .map(|backup| view! { <input type="hidden" name="names[]" value=backup.name.to_string() /> })
        .collect_view();
    view! {
        <h1>{question(&backups)}</h1>
        {gone}
        <Doomed backups />
        <div class="actions">
            {cancel}
            <form method="post" action=DeleteBackups::url()>
                {fields}
                <button class="danger">"Delete"</button>
            </form>
        </div>
    }
    .into_any()
}
