//! Shows a page that the server describes.

use crate::model::{Kind, Piece, Sheet};
use crate::ui::notice::Told;
use leptos::prelude::*;

/// The page, without its frame.
#[component]
pub fn Described(
    /// What is on it.
    sheet: Sheet,
) -> impl IntoView {
    let outcome = Signal::stored(sheet.outcome.unwrap_or_default());
    markup! {
        <div class="head">
            <div>
                <h1>{sheet.title}</h1>
                <p class="sub">{sheet.sub}</p>
            </div>
        </div>
        <Told outcome />
        <div class="column">{all(sheet.pieces)}</div>
    }
}

fn all(pieces: Vec<Piece>) -> Vec<AnyView> {
    pieces.into_iter().map(piece).collect()
}

fn piece(piece: Piece) -> AnyView {
    let Piece { kind, text, name, value, of } = piece;
    match kind {
        Kind::Card => {
            let title = text.clone();
            markup! {
                <section class="card settings" aria-label=title>
                    <h2>{text}</h2>
                    {all(of)}
                </section>
            }
        }
        Kind::Words => markup! { <p class="sub">{text}</p> },
        Kind::Facts => markup! { <dl>{all(of)}</dl> },
        Kind::Fact => markup! { <dt>{name}</dt><dd>{text}</dd> },
        Kind::Table => table(of),
        Kind::Row => markup! { <tr>{all(of)}</tr> },
        Kind::Cell => markup! { <td class="said">{text}{all(of)}</td> },
        Kind::Link => markup! { <a href=name>{text}</a> },
        Kind::Form | Kind::Search => {
            let method = if kind == Kind::Form { "post" } else { "get" };
            let class = if value.is_empty() { "second" } else { "danger" };
            markup! {
                <form class="fields" method=method action=name>
                    {all(of)}
                    <button class=class>{text}</button>
                </form>
            }
        }
        Kind::Field => field(text, name, value, "text", "off"),
        Kind::Password => field(text, name, value, "password", "current-password"),
        Kind::NewPassword => field(text, name, value, "password", "new-password"),
        Kind::Hidden => markup! { <input type="hidden" name=name value=value /> },
        Kind::Tick => markup! {
            <label class="tick">
                <input type="checkbox" name=name checked=!value.is_empty() autocomplete="off" />
                {text}
            </label>
        },
        Kind::Choice => {
            let options = of
                .into_iter()
                .map(|option| {
                    let Piece { text, value: sent, .. } = option;
                    let chosen = sent == value;
                    markup! { <option value=sent selected=chosen>{text}</option> }
                })
                .collect_view();
            markup! { <label>{text}<select name=name autocomplete="off">{options}</select></label> }
        }
        Kind::Option => ().into_any(),
        Kind::Folded => markup! { <details><summary>{text}</summary>{all(of)}</details> },
    }
}

fn field(label: String, name: String, value: String, is: &'static str, fills: &'static str) -> AnyView {
    markup! { <label>{label}<input type=is name=name value=value autocomplete=fills /></label> }
}

fn table(mut rows: Vec<Piece>) -> AnyView {
    let head = if rows.is_empty() { Vec::new() } else { rows.remove(0).of };
    let head = head.into_iter().map(|cell| markup! { <th scope="col">{cell.text}</th> }).collect_view();
    markup! {
        <div class="sheet">
            <table class="runs">
                <thead>
                    <tr>{head}</tr>
                </thead>
                <tbody>{all(rows)}</tbody>
            </table>
        </div>
    }
}
