//! Everybody's accounts.

use super::parts::{
    card, cell, choice, field, folded, form, hidden, new_password, page, table, tick, unproved, words,
};
use crate::domain;
use crate::domain::Holdfast;
use crate::domain::accounts::Account;
use crate::domain::accounts::users::Person;
use crate::model::{Outcome, Role};
use leptos::prelude::*;

/// The page, for the administrator `asks`.
pub fn sheet(holdfast: &Holdfast, asks: &Account, outcome: Option<Outcome>) -> domain::Result<String> {
    let people = holdfast.accounts().people()?;
    let rows = people.iter().map(|person| {
        vec![
            cell(&person.username),
            cell(person.role.name()),
            cell(if person.download { "yes" } else { "no" }),
            cell(if person.second_factor { "on" } else { "off" }),
            cell(person.last_seen.map_or("no session".to_owned(), |at| format!("{at} UTC"))),
            cell(person.tokens.to_string()),
        ]
    });
    let list = table(&["Username", "Role", "Downloads", "Second factor", "Last seen", "API tokens"], rows);
    let others = people.iter().filter(|person| person.id != asks.id).map(change).collect_view();
    let content = view! {
        {unproved(asks, "/users")}
        {card("Accounts", list)}
        <div class="cards">{add()} {others}</div>
    };
    Ok(page("Users", words("Who may log in, and what each may do."), outcome, content))
}

fn add() -> AnyView {
    let fields = view! {
        {field("Username", "username")}
        {new_password()}
        {role(Role::Viewer)}
        {tick("May download backups", "download", false)}
    };
    card("New account", form("/users/add", "Add account", "second", fields))
}

fn change(person: &Person) -> AnyView {
    let id = || hidden("id", person.id.to_string());
    let rights = view! {
        {id()} {role(person.role)} {tick("May download backups", "download", person.download)}
    };
    let factor = person
        .second_factor
        .then(|| form("/users/second-factor/off", "Turn second factor off", "second", id()));
    let typed = field(format!("Type {} to delete the account", person.username), "typed");
    let content = view! {
        {form("/users/change", "Save role", "second", rights)}
        {form("/users/password", "Set password", "second", view! { {id()} {new_password()} })}
        {form("/users/sessions/end", "Sign out everywhere", "second", id())}
        {factor}
        {form("/users/delete", "Delete account", "danger", view! { {id()} {typed} })}
    };
    card(&person.username, folded("Change", content))
}

fn role(chosen: Role) -> AnyView {
    let roles = Role::ALL.map(|role| (role.name().to_owned(), role.meaning().to_owned()));
    choice("Role", "role", roles.into(), chosen.name())
}
