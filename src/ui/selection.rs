//! What the reader picked: by name, so that it survives sorting, paging and filtering.

use crate::api::matching_backups;
use crate::model::{BackupName, ListPage, ListQuery, human};
use crate::ui::early::Early;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::collections::BTreeMap;

/// The picked backups and their sizes in bytes.
#[derive(Clone, Copy)]
pub struct Selection {
    picked: RwSignal<BTreeMap<BackupName, u64>>,
    /// Where a range begins: the row that was last clicked.
    anchor: StoredValue<Option<BackupName>>,
    /// Names that vanished while they were picked.
    lost: RwSignal<Vec<BackupName>>,
}

impl Selection {
    /// Nothing, and once the page is live what was ticked before. Not earlier: hydration expects the page
    /// as the server wrote it.
    pub fn begin() -> Self {
        let selection =
            Self { picked: RwSignal::default(), anchor: StoredValue::new(None), lost: RwSignal::default() };
        let ticked = Early::take_ticked();
        Effect::new(move |_| selection.set(ticked.iter().cloned(), true));
        selection
    }

    /// Whether `name` is picked.
    pub fn has(self, name: &BackupName) -> bool {
        self.picked.with(|picked| picked.contains_key(name))
    }

    /// Whether all rows of a page are.
    pub fn has_all(self, page: &ListPage) -> bool {
        !page.rows.is_empty() && page.rows.iter().all(|row| self.has(&row.name))
    }

    /// How many are picked.
    pub fn count(self) -> usize {
        self.picked.with(BTreeMap::len)
    }

    /// Bytes of all that are.
    pub fn size(self) -> u64 {
        self.picked.with(|picked| picked.values().sum())
    }

    /// A row was clicked: picks it or lets it go, and with `range` all from the row clicked before.
    pub fn click(self, page: &ListPage, name: &BackupName, range: bool) {
        let on = !self.has(name);
        let at = |name: &BackupName| page.rows.iter().position(|row| row.name == *name);
        let anchor = self.anchor.get_value().filter(|_| range).and_then(|anchor| at(&anchor));
        let Some(here) = at(name) else { return };
        let from = anchor.unwrap_or(here);
        let rows = &page.rows[from.min(here)..=from.max(here)];
        self.set(rows.iter().map(|row| (row.name.clone(), row.size)), on);
        self.anchor.set_value(Some(name.clone()));
    }

    /// Picks all rows of the page, or lets them go where all are picked.
    pub fn toggle_page(self, page: &ListPage) {
        let on = !self.has_all(page);
        self.set(page.rows.iter().map(|row| (row.name.clone(), row.size)), on);
    }

    /// Lets everything go.
    pub fn clear(self) {
        self.picked.update(BTreeMap::clear);
        self.lost.set(Vec::new());
    }

    /// Picks everything the filter lets through, on all pages.
    pub fn pick_matching(self, query: ListQuery) {
        spawn_local(async move {
            if let Ok(matching) = matching_backups(query).await {
                self.set(matching.into_iter().map(|one| (one.name, one.size)), true);
            }
        });
    }

    /// Lets go, by name, what is not in the directory any more.
    pub fn drop_vanished(self) {
        if self.picked.with_untracked(BTreeMap::is_empty) {
            return;
        }
        spawn_local(async move {
            let Ok(all) = matching_backups(ListQuery::default()).await else { return };
            let there: std::collections::BTreeSet<_> = all.into_iter().map(|one| one.name).collect();
            let gone: Vec<_> = self.picked.with_untracked(|picked| {
                picked.keys().filter(|name| !there.contains(name)).cloned().collect()
            });
            if !gone.is_empty() {
                self.picked.update(|picked| picked.retain(|name, _| there.contains(name)));
                self.lost.update(|lost| lost.extend(gone));
            }
        });
    }

    fn set(self, rows: impl Iterator<Item = (BackupName, u64)>, on: bool) {
        self.picked.update(|picked| {
            for (name, size) in rows {
                if on {
                    picked.insert(name, size);
                } else {
                    picked.remove(&name);
                }
            }
        });
    }
}

/// The bar that appears with the first tick.
#[component]
pub fn SelectionBar(
    /// The selection.
    selection: Selection,
    /// The page it was made on.
    page: ListPage,
) -> impl IntoView {
    let (query, matching) = (page.query, page.matching);
    let words = move || {
        format!("{} selected, {}", human::grouped(selection.count() as u64), human::size(selection.size()))
    };
    let select_all = move || {
        let query = query.clone();
        (selection.count() < matching).then(|| {
            view! {
                <button type="button" class="link" on:click=move |_| selection.pick_matching(query.clone())>
                    {format!("Select all {} matching", human::grouped(matching as u64))}
                </button>
            }
        })
    };
    let lost = move || {
        let lost = selection.lost.get();
        (!lost.is_empty()).then(|| {
            let names = lost.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            view! { <p class="lost">{format!("No longer there, so no longer selected: {names}")}</p> }
        })
    };
    let shown = move || selection.count() > 0 || !selection.lost.with(Vec::is_empty);
    view! {
        <Show when=shown>
            <div class="selection" role="region" aria-label="Selection">
                <b>{words}</b>
                {select_all.clone()}
                {lost}
                <span class="grow"></span>
                <button type="button" class="second" on:click=move |_| selection.clear()>
                    "Clear selection"
                </button>
            </div>
        </Show>
    }
}
