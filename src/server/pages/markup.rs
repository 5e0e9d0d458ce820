//! The building blocks of the pages that the server writes.

use crate::domain::accounts::Account;
use crate::model::Outcome;
use crate::model::address::at;
use crate::server::pages::html_document::to_html;
use leptos::prelude::*;

/// The HTML of a page: heading, subtitle, the result of the last action, and content.
pub fn page(title: &str, sub: AnyView, outcome: Option<Outcome>, content: impl IntoView) -> String {
    let title = title.to_owned();
    let Outcome { good, bad } = outcome.unwrap_or_default();
    let good = good.map(|words| view! { <div class="notice good"><p>{words}</p></div> });
    let bad =
        bad.into_iter().map(|words| view! { <div class="notice bad" role="alert"><p>{words}</p></div> });
    to_html(view! {
        <div class="head">
            <div>
                <h1>{title}</h1>
                {sub}
            </div>
        </div>
        <div role="status" class="notices">{good}</div>
        <div class="notices">{bad.collect_view()}</div>
        {content}
    })
}

/// A notice that this page's forms need a recently confirmed password, unless it was. `address` is the page to return
/// to.
pub fn confirm_notice(account: &Account, address: &str) -> Option<AnyView> {
    (!account.fresh).then(|| {
        let confirm = at(&format!("/confirm?next={address}"));
        view! {
            <div class="notice">
                <p>
                    "Most changes on this page ask for your password again. "
                    <a href=confirm>"Confirm it is you"</a> " before you fill anything in."
                </p>
            </div>
        }
        .into_any()
    })
}

/// A file name as the subtitle.
pub fn file_name(name: &str) -> AnyView {
    view! { <p class="sub f">{name.to_owned()}</p> }.into_any()
}

/// A card with a heading.
pub fn card(title: &str, content: impl IntoView + 'static) -> AnyView {
    let (title, label) = (title.to_owned(), title.to_owned());
    view! {
        <section class="card settings" aria-label=label>
            <h2>{title}</h2>
            {content}
        </section>
    }
    .into_any()
}

/// A paragraph of explanation.
pub fn words(text: impl Into<String>) -> AnyView {
    view! { <p class="sub">{text.into()}</p> }.into_any()
}

/// A list of names and values.
pub fn facts(facts: impl IntoIterator<Item = (String, String)>) -> AnyView {
    let facts = facts.into_iter().map(|(name, text)| view! { <dt>{name}</dt><dd class="said">{text}</dd> });
    view! { <dl>{facts.collect_view()}</dl> }.into_any()
}

/// A table.
pub fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<AnyView>>) -> AnyView {
    // On a narrow screen, each cell shows its own column header.
    let row = |cells: Vec<AnyView>| {
        let heads = heads.iter().map(|head| (*head).to_owned());
        let cells = cells.into_iter().zip(heads).map(|(cell, head)| view! { <td data-head=head>{cell}</td> });
        view! { <tr>{cells.collect_view()}</tr> }
    };
    let rows = rows.into_iter().map(row).collect_view();
    let heads = heads.iter().map(|head| view! { <th scope="col">{(*head).to_owned()}</th> }).collect_view();
    view! {
        <div class="sheet">
            <table class="runs">
                <thead>
                    <tr>{heads}</tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// A cell of plain text.
pub fn cell(text: impl Into<String>) -> AnyView {
    text.into().into_any()
}

/// A cell of text that may be long and has no spaces to break at.
pub fn long(text: impl Into<String>) -> AnyView {
    view! { <span class="said">{text.into()}</span> }.into_any()
}

/// A form posted to `action`, with one button of the class `first`, `second` or `danger`.
pub fn form(
    action: &'static str,
    button: &str,
    class: &'static str,
    fields: impl IntoView + 'static,
) -> AnyView {
    let button = button.to_owned();
    view! {
        <form class="fields" method="post" action=at(action)>
            {fields}
            <button class=class>{button}</button>
        </form>
    }
    .into_any()
}

/// A text field.
pub fn field(label: impl Into<String>, name: &'static str) -> AnyView {
    view! { <label>{label.into()}<input name=name autocomplete="off" autocapitalize="none" spellcheck="false" /></label> }
        .into_any()
}

/// A field for the current password.
pub fn password(label: &'static str, name: &'static str) -> AnyView {
    view! { <label>{label}<input type="password" name=name autocomplete="current-password" /></label> }
        .into_any()
}

/// Two fields for a new password.
pub fn new_password() -> AnyView {
    let once = |label, name| {
        view! {
            <label>
                {label} <input type="password" name=name autocomplete="new-password" minlength="12" maxlength="128" />
            </label>
        }
    };
    view! { {once("New password", "password")} {once("Repeat the new password", "repeat")} }.into_any()
}

/// A hidden field.
pub fn hidden(name: &'static str, value: impl Into<String>) -> AnyView {
    view! { <input type="hidden" name=name value=value.into() /> }.into_any()
}

/// A checkbox.
pub fn tick(label: &'static str, name: impl Into<String>, ticked: bool) -> AnyView {
    let name = name.into();
    view! {
        <label class="tick">
            <input type="checkbox" name=name checked=ticked autocomplete="off" />
            {label}
        </label>
    }
    .into_any()
}

/// A select; each option is its value and its label.
pub fn choice(label: &'static str, name: &'static str, of: Vec<(String, String)>, chosen: &str) -> AnyView {
    let options = of
        .into_iter()
        .map(|(value, words)| {
            let selected = value == chosen;
            view! { <option value=value selected=selected>{words}</option> }
        })
        .collect_view();
    view! { <label>{label}<select name=name autocomplete="off">{options}</select></label> }.into_any()
}

/// Content that opens on a click.
pub fn folded(title: &'static str, content: impl IntoView + 'static) -> AnyView {
    view! { <details><summary>{title}</summary>{content}</details> }.into_any()
}
