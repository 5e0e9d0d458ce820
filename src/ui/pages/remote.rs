//! The off-site page: backups here and their copies at the destination. Plain forms: every action starts a slow job.

use crate::api::off_site::{FetchBackups, RemoteBackups, RemoteView, UploadBackups};
use crate::model::address::{at, lookup};
use crate::model::{RemoteBackup, Whereabouts, human};
use crate::ui::components::chrome::{Chrome, Place};
use crate::ui::components::links::{page_button, page_link};
use crate::ui::components::notice::{Alert, OutcomeNotices};
use crate::ui::components::timestamp::Timestamp;
use crate::ui::live::requests::PageData;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// The off-site page.
#[component]
pub fn RemotePage() -> impl IntoView {
    let remote = PageData::begin(|search| RemoteBackups { outcome: lookup(search, "outcome") });
    markup! {
        <Chrome place=Place::OffSite>
            <Transition fallback=|| markup! { <p class="loading">"Reading the list of copies…"</p> }>
                {move || Suspend::new(async move {
                    match remote.read().await {
                        Ok(view) => markup! { <CopyList view /> },
                        Err(error) => {
                            markup! {
                                <h1>"Off-site"</h1>
                                <Alert message=error.to_string() detail=None />
                            }
                        }
                    }
                })}
            </Transition>
        </Chrome>
    }
}

#[component]
fn CopyList(view: RemoteView) -> impl IntoView {
    let RemoteView { host, directory, found, outcome } = view;
    let off = host.is_none();
    let place = host.map(|host| format!("{host}, directory {directory}"));
    let figures = found.as_ref().ok().filter(|_| !off).map(|found| {
        let there = found.iter().filter_map(|backup| backup.remote_size);
        let (count, size) = (there.clone().count() as u64, there.sum());
        format!(" · {} there, {}", human::count(count, "copy"), human::size(size))
    });
    let content = match found {
        _ if off => markup! {
            <div class="empty">
                <h2>"Off-site storage is off"</h2>
                <p>"If you lose this machine, you lose every backup that exists only here. "<a href=at(Place::Settings.href())>"Set up off-site storage"</a></p>
            </div>
        },
        Err(reason) => markup! { <Alert message=reason detail=None /> },
        Ok(found) if found.is_empty() => markup! {
            <div class="empty">
                <h2>"No backups here or off-site"</h2>
                {page_link("/", "Create the first backup")}
            </div>
        },
        Ok(found) => markup! { <Copies found /> },
    };
    let told = Signal::stored(outcome.unwrap_or_default());
    markup! {
        <div class="head">
            <div>
                <h1>"Off-site"</h1>
                <p class="sub">{place}{figures}</p>
            </div>
            <div class="actions">
                {page_button("/remote", "Refresh")}
                {page_button(Place::Settings.href(), "Off-site settings")}
            </div>
        </div>
        <OutcomeNotices outcome=told />
        {content}
    }
}

#[component]
fn Copies(found: Vec<RemoteBackup>) -> impl IntoView {
    let rows = found.into_iter().map(|backup| markup! { <Copy backup /> }).collect_view();
    markup! {
        <form method="post" action=at(FetchBackups::url()) class="picking">
            <div class="sheet">
                <table class="copies">
                    <thead>
                        <tr>
                            <th scope="col" class="c">
                                <span class="unseen">"Select"</span>
                            </th>
                            <th scope="col">"File name"</th>
                            <th scope="col" class="n">"Here"</th>
                            <th scope="col" class="n">"Off-site"</th>
                            <th scope="col">"Modified there"</th>
                            <th scope="col">"Where"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <input type="hidden" name="there" value="on" />
            <div class="actions">
                <button class="second" name="bring" value="back">
                    "Fetch"
                </button>
                <button class="second" formaction=at(UploadBackups::url())>
                    "Upload"
                </button>
                <button class="danger" formmethod="get" formaction=at("/delete")>
                    "Delete there"
                </button>
            </div>
        </form>
    }
}

#[component]
fn Copy(backup: RemoteBackup) -> impl IntoView {
    let RemoteBackup { name, place, local_size, remote_size, remote_modified, remote_manifest } = backup;
    let name = name.to_string();
    let tone = match place {
        Whereabouts::Both => "good",
        Whereabouts::Here | Whereabouts::There => "warn",
        Whereabouts::Differs => "bad",
    };
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "–".to_owned(), human::size);
    let bare = (remote_size.is_some() && !remote_manifest)
        .then(|| markup! { " " <span class="tag warn">"no manifest there"</span> });
    markup! {
        <tr>
            <td class="c">
                <input type="checkbox" name="names[]" value=name.clone() aria-label=format!("Select {name}") autocomplete="off" />
            </td>
            <td class="f">{name.clone()}</td>
            <td class="n">{size(local_size)}</td>
            <td class="n">{size(remote_size)}</td>
            <td>{remote_modified.map(|stamp| markup! { <Timestamp stamp /> })}</td>
            <td class="state">
                <span class=format!("tag {tone}")>{place.label()}</span>
                {bare}
            </td>
        </tr>
    }
}
