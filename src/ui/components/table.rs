//! The list of backups: a table whose headings are sort links and whose first column has checkboxes.

use crate::model::address::at;
use crate::model::{
    Backup, BackupName, Column, FileState, ListPage, OffSite, OffSiteView, Verification, human,
};
use crate::ui::components::icon::{Drawing, Icon};
use crate::ui::components::selection::Selection;
use crate::ui::components::timestamp::Timestamp;
use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;

/// The selector of the rows' checkboxes.
const BOXES: &str = "input[name='names[]']";

/// The table of one page.
#[component]
pub fn BackupTable(
    /// The page.
    page: ListPage,
    /// The selection.
    selection: Selection,
    /// The state of the backups' copies; `None` while off-site storage is off.
    off_site: Option<OffSiteView>,
) -> impl IntoView {
    let headings = Column::ALL
        .into_iter()
        .map(|column| {
            let class = if column == Column::Size { "n" } else { "" };
            let href = at(&page.query.sorted_by(column).href());
            markup! {
                <th scope="col" class=class aria-sort=page.query.aria_sort(column)>
                    {stay(href, column.label())}
                </th>
            }
        })
        .collect_view();
    let copy_of = |backup: &Backup| {
        off_site.as_ref().map(|view| view.of.get(&backup.name).cloned().unwrap_or_default())
    };
    let rows: Vec<_> = page.rows.iter().map(|backup| (backup.clone(), copy_of(backup))).collect();
    let page = StoredValue::new(page);
    let keys = move |event: KeyboardEvent| {
        if let Some(name) = step(&event)
            && event.shift_key()
        {
            page.with_value(|page| selection.pick(page, &name));
        }
    };
    markup! {
        <div class="sheet">
            <table class="backups">
                <thead>
                    <tr>
                        <th class="c">
                            <input
                                type="checkbox"
                                class="live-only"
                                aria-label="Select all on this page"
                                autocomplete="off"
                                prop:checked=move || page.with_value(|page| selection.has_all(page))
                                on:click=move |_| page.with_value(|page| selection.toggle_page(page))
                            />
                        </th>
                        {headings}
                        <th scope="col">"State"</th>
                        <th scope="col" class="c">
                            <span class="unseen">"Actions"</span>
                        </th>
                    </tr>
                </thead>
                <tbody on:keydown=keys>
                    <For each=move || rows.clone() key=row_key let:row>
                        <Row backup=row.0 off_site=row.1 page selection />
                    </For>
                </tbody>
            </table>
        </div>
    }
}

/// A link to another view of the same list, which keeps the scroll position.
fn stay(href: String, label: &'static str) -> impl IntoView {
    leptos::html::a().href(href).attr("noscroll", "").child(label)
}

/// Moves from row to row with the arrow keys, and returns the name of the new row. Enter in a checkbox does nothing, so
/// that it does not submit the form.
fn step(event: &KeyboardEvent) -> Option<BackupName> {
    let here: HtmlInputElement = event.target()?.dyn_into().ok()?;
    let boxes = here.closest("tbody").ok()??.query_selector_all(BOXES).ok()?;
    let at = |i: u32| boxes.item(i)?.dyn_into::<HtmlInputElement>().ok();
    let now = (0..boxes.length()).find(|&i| at(i).as_ref() == Some(&here))?;
    let next = match event.key().as_str() {
        "ArrowDown" => now + 1,
        "ArrowUp" => now.checked_sub(1)?,
        "Home" => 0,
        "End" => boxes.length() - 1,
        "Enter" => {
            event.prevent_default();
            return None;
        }
        _ => return None,
    };
    event.prevent_default();
    let there = at(next)?;
    there.focus().ok()?;
    there.value().parse().ok()
}

#[component]
fn Row(
    backup: Backup,
    #[prop(optional_no_strip)] off_site: Option<OffSite>,
    page: StoredValue<ListPage>,
    selection: Selection,
) -> impl IntoView {
    let Backup { name, database, created, modified, size, state, verified, .. } = backup;
    let name = StoredValue::new(name);
    let picked = move || name.with_value(|name| selection.has(name));
    let click = move |event: leptos::ev::MouseEvent| {
        page.with_value(|page| name.with_value(|name| selection.click(page, name, event.shift_key())));
    };
    let text = name.with_value(ToString::to_string);
    let unknown = database.is_none();
    let download = at(&format!("/backups/{text}"));
    let restore = at(&format!("/restore?file={text}"));
    let verified =
        verified.map(|verified| markup! { <VerifiedTag verified=*verified state href=restore.clone() /> });
    markup! {
        <tr class:on=picked>
            <td class="c">
                <input
                    type="checkbox"
                    name="names[]"
                    value=text.clone()
                    data-size=size.to_string()
                    aria-label=format!("Select {text}")
                    autocomplete="off"
                    prop:checked=picked
                    on:click=click
                />
            </td>
            <td class="f">{text.clone()}</td>
            <td class="db" class:dim=unknown>{database.unwrap_or_else(|| "unknown".to_owned())}</td>
            <td class="made"><Timestamp stamp=created /></td>
            <td class="changed"><Timestamp stamp=modified /></td>
            <td class="n" title=human::exact(size)>{human::size(size)}</td>
            <td class="state">
                <span class=format!("tag {}", state.tone().class()) title=state.explanation()>{state.label()}</span>
                {verified}
                {off_site.map(|copy| markup! { <OffSiteTag copy /> })}
            </td>
            <td class="c does">
                <a class="ghost" href=download download="" aria-label=format!("Download {text}") title="Download">
                    <Drawing icon=Icon::Download />
                </a>
                <a class="ghost" href=restore aria-label=format!("Restore {text}") title="Verify or restore">
                    <Drawing icon=Icon::Restore />
                </a>
            </td>
        </tr>
    }
}

/// The result of the last verification, with details as a tooltip.
#[component]
fn VerifiedTag(verified: Verification, state: FileState, href: String) -> impl IntoView {
    let proof = verified.proof;
    (state != FileState::Damaged).then(|| {
        let class = format!("tag {}", proof.tone().class());
        markup! { " " <a class=class href=href title=verified.sentence()>{verified.label()}</a> }
    })
}

/// The state of a backup's copy, with details as a tooltip.
#[component]
fn OffSiteTag(copy: OffSite) -> impl IntoView {
    let title = match &copy {
        OffSite::NotSent => "No off-site copy.".to_owned(),
        OffSite::Uploading => "Being uploaded.".to_owned(),
        OffSite::Uploaded { at } => {
            format!("Uploaded at {at} UTC. Its size was checked; it was not read back.")
        }
        OffSite::Sent { at } => format!("Sent to a write-only drop box at {at} UTC, not read back."),
        OffSite::Verified { at } => format!("Read back at {at} UTC and identical."),
        OffSite::Failed { why, at } => format!("{at} UTC: {why}"),
        OffSite::Missing { at } => format!("Missing at the last check, {at} UTC."),
    };
    markup! { " " <span class=format!("tag {}", copy.tone().class()) title=title>{copy.label()}</span> }
}

/// The key of a row. The row is redrawn when its key changes.
fn row_key((backup, copy): &(Backup, Option<OffSite>)) -> String {
    let Backup { name, size, modified, state, verified, .. } = backup;
    let verified = verified.as_ref().map_or(0, |verified| verified.at.millis());
    format!("{name} {size} {} {state:?} {verified} {copy:?}", modified.millis())
}
