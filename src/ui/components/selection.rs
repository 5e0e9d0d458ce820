//! The selected backups, by name, so that a selection survives sorting, paging, filtering and reloading.

use crate::api::matching_backups;
use crate::model::{AppError, BackupName, ListPage, ListQuery, Picked};
use crate::ui::live::requests::effect;
use crate::ui::live::restored_input::RestoredInput;
use leptos::prelude::*;
use leptos::task::spawn_local;
use std::collections::{BTreeMap, BTreeSet};

/// The tab's storage key for the selection while the page reloads.
const KEPT: &str = "holdfast_selection";

/// The selected backups and their sizes in bytes.
#[derive(Clone, Copy)]
pub struct Selection {
    picked: RwSignal<BTreeMap<BackupName, u64>>,
    /// Why selecting all matches failed.
    failed: RwSignal<Option<AppError>>,
    /// The row that was last clicked, where a range begins.
    anchor: StoredValue<Option<BackupName>>,
    /// Selected names that disappeared from the directory.
    lost: RwSignal<Vec<BackupName>>,
}

impl Selection {
    /// An empty selection. Once the page is live, it gets the backups that were selected in this tab before and those
    /// that were checked before hydration.
    pub fn begin() -> Self {
        let selection = Self {
            picked: RwSignal::default(),
            failed: RwSignal::default(),
            anchor: StoredValue::new(None),
            lost: RwSignal::default(),
        };
        let ticked = RestoredInput::take_ticked();
        effect(move |before| {
            if before.is_none() {
                selection.set(kept().into_iter().chain(ticked.iter().cloned()), true);
                selection.drop_vanished();
            } else {
                selection.picked.with(keep);
            }
            selection.picked.track();
        });
        selection
    }

    /// The selected backups, by name.
    pub fn all(self) -> Vec<Picked> {
        let pick = |(name, size): (&BackupName, &u64)| Picked { name: name.clone(), size: *size };
        self.picked.with(|picked| picked.iter().map(pick).collect())
    }

    /// The selected names, for a request.
    pub fn names(self) -> Vec<String> {
        self.picked.with_untracked(|picked| picked.keys().map(ToString::to_string).collect())
    }

    /// The selected names that disappeared.
    pub fn lost(self) -> Vec<BackupName> {
        self.lost.get()
    }

    /// Why selecting all matches failed.
    pub fn failed(self) -> Option<AppError> {
        self.failed.get()
    }

    /// Whether `name` is selected.
    pub fn has(self, name: &BackupName) -> bool {
        self.picked.with(|picked| picked.contains_key(name))
    }

    /// Whether all rows of a page are selected.
    pub fn has_all(self, page: &ListPage) -> bool {
        !page.rows.is_empty() && page.rows.iter().all(|row| self.has(&row.name))
    }

    /// How many are selected.
    pub fn count(self) -> usize {
        self.picked.with(BTreeMap::len)
    }

    /// Bytes of all selected backups.
    pub fn size(self) -> u64 {
        self.picked.with(|picked| picked.values().sum())
    }

    /// Selects or deselects the row that was clicked; with `range`, all rows from the one clicked before.
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

    /// Selects a row.
    pub fn pick(self, page: &ListPage, name: &BackupName) {
        let row = page.rows.iter().find(|row| row.name == *name);
        self.set(row.map(|row| (row.name.clone(), row.size)).into_iter(), true);
    }

    /// Deselects backups that were deleted.
    pub fn forget(self, gone: &[Picked]) {
        self.set(gone.iter().map(|one| (one.name.clone(), one.size)), false);
    }

    /// Selects all rows of the page, or deselects them if all are selected.
    pub fn toggle_page(self, page: &ListPage) {
        let on = !self.has_all(page);
        self.set(page.rows.iter().map(|row| (row.name.clone(), row.size)), on);
    }

    /// Deselects everything.
    pub fn clear(self) {
        self.picked.update(BTreeMap::clear);
        self.lost.set(Vec::new());
    }

    /// Selects everything that matches the filter, on all pages.
    pub fn pick_matching(self, query: ListQuery) {
        spawn_local(async move {
            match matching_backups(query).await {
                Ok(matching) => {
                    self.set(matching.into_iter().map(|one| (one.name, one.size)), true);
                    self.failed.set(None);
                }
                Err(error) => self.failed.set(Some(error)),
            }
        });
    }

    /// Deselects backups that are no longer in the directory, and remembers their names.
    pub fn drop_vanished(self) {
        if self.picked.with_untracked(BTreeMap::is_empty) {
            return;
        }
        spawn_local(async move {
            let Ok(all) = matching_backups(ListQuery::default()).await else { return };
            let mut there = BTreeSet::new();
            there.extend(all.into_iter().map(|one| one.name));
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

/// The selection that this tab stored: one line each, the size before the name.
fn kept() -> Vec<(BackupName, u64)> {
    let text = storage().and_then(|storage| storage.get_item(KEPT).ok()?).unwrap_or_default();
    let read = |line: &str| {
        let (size, name) = line.split_once(' ')?;
        Some((name.parse().ok()?, size.parse().ok()?))
    };
    text.lines().filter_map(read).collect()
}

fn keep(picked: &BTreeMap<BackupName, u64>) {
    let Some(storage) = storage() else { return };
    let lines: Vec<_> = picked.iter().map(|(name, size)| format!("{size} {name}")).collect();
    // A browser without storage only loses the selection when the page reloads.
    let _ =
        if lines.is_empty() { storage.remove_item(KEPT) } else { storage.set_item(KEPT, &lines.join("\n")) };
}

fn storage() -> Option<web_sys::Storage> {
    window().session_storage().ok().flatten()
}
