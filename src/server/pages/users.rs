//! The users page: all accounts, for administrators.

use crate::api::context;
use crate::domain::accounts::Account;
use crate::domain::accounts::users::User;
use crate::domain::{Error, Holdfast, Result};
use crate::model::address::lookup;
use crate::model::audit::Event;
use crate::model::{AppError, Outcome, Role};
use crate::server::pages::form_request::{FormRequest, Sent};
use crate::server::pages::markup::{
    card, cell, choice, confirm_notice, field, folded, form, hidden, new_password, page, table, tick, words,
};
use crate::server::state::AppState;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use leptos::prelude::*;

const USERS: &str = "/users";

/// The forms of this page, each with its handler.
pub fn forms() -> [(&'static str, MethodRouter<AppState>); 6] {
    [
        ("/users/add", post(add_user)),
        ("/users/change", post(change_user)),
        ("/users/password", post(set_password)),
        ("/users/sessions/end", post(end_users_sessions)),
        ("/users/second-factor/off", post(turn_users_second_factor_off)),
        ("/users/delete", post(delete_user)),
    ]
}

/// The HTML of the page.
pub async fn write(search: String) -> std::result::Result<String, AppError> {
    let outcome = context::recall(lookup(&search, "outcome")).await?;
    context::ask_as(move |holdfast, account| page_of(holdfast, account, outcome)).await
}

/// The page for the administrator `reader`.
fn page_of(holdfast: &Holdfast, reader: &Account, outcome: Option<Outcome>) -> Result<String> {
    let users = holdfast.accounts().users()?;
    let rows = users.iter().map(|user| {
        vec![
            cell(&user.username),
            cell(user.role.name()),
            cell(if user.download { "yes" } else { "no" }),
            cell(if user.second_factor { "on" } else { "off" }),
            cell(user.last_seen.map_or("no session".to_owned(), |at| format!("{at} UTC"))),
            cell(user.tokens.to_string()),
        ]
    });
    let list = table(&["Username", "Role", "Downloads", "Second factor", "Last seen", "API tokens"], rows);
    let others = users.iter().filter(|user| user.id != reader.id).map(change).collect_view();
    let content = view! {
        {confirm_notice(reader, "/users")}
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

fn change(user: &User) -> AnyView {
    let id = || hidden("id", user.id.to_string());
    let rights = view! {
        {id()} {role(user.role)} {tick("May download backups", "download", user.download)}
    };
    let factor = user
        .second_factor
        .then(|| form("/users/second-factor/off", "Turn second factor off", "second", id()));
    let typed = field(format!("Type {} to delete the account", user.username), "typed");
    let content = view! {
        {form("/users/change", "Save role", "second", rights)}
        {form("/users/password", "Set password", "second", view! { {id()} {new_password()} })}
        {form("/users/sessions/end", "Sign out everywhere", "second", id())}
        {factor}
        {form("/users/delete", "Delete account", "danger", view! { {id()} {typed} })}
    };
    card(&user.username, folded("Change", content))
}

fn role(chosen: Role) -> AnyView {
    let roles = Role::ALL.map(|role| (role.name().to_owned(), role.meaning().to_owned()));
    choice("Role", "role", roles.into(), chosen.name())
}

async fn add_user(request: FormRequest, form: Sent) -> Response {
    request
        .run(USERS, Event::AccountCreated, form, |accounts, _, fields| {
            let (role, password) = (fields.role()?, fields.new_password()?);
            accounts.add_user(&fields.username, &password, role, fields.download.is_some())?;
            let made = fields.username.trim().to_owned();
            let words = format!("The account {made} was created.");
            Ok((made, words))
        })
        .await
}

async fn change_user(request: FormRequest, form: Sent) -> Response {
    request
        .run(USERS, Event::RoleChanged, form, |accounts, _, fields| {
            let (id, name) = fields.user(accounts)?;
            let role = fields.role()?;
            accounts.change_role(id, role, fields.download.is_some())?;
            let words = format!("{name} now has the role {}. Its sessions are signed out.", role.name());
            Ok((name, words))
        })
        .await
}

async fn set_password(request: FormRequest, form: Sent) -> Response {
    request
        .run(USERS, Event::PasswordChanged, form, |accounts, _, fields| {
            let (id, name) = fields.user(accounts)?;
            accounts.set_password(id, &fields.new_password()?)?;
            let words = format!("The password of {name} is changed. Its sessions are signed out.");
            Ok((name, words))
        })
        .await
}

async fn end_users_sessions(request: FormRequest, form: Sent) -> Response {
    request
        .run(USERS, Event::SessionsEnded, form, |accounts, _, fields| {
            let (id, name) = fields.user(accounts)?;
            accounts.end_sessions(id, None)?;
            let words = format!("{name} is signed out everywhere.");
            Ok((name, words))
        })
        .await
}

async fn turn_users_second_factor_off(request: FormRequest, form: Sent) -> Response {
    request
        .run(USERS, Event::SecondFactorOff, form, |accounts, _, fields| {
            let (id, name) = fields.user(accounts)?;
            accounts.drop_second_factor(id)?;
            let words = format!("The second factor of {name} is off.");
            Ok((name, words))
        })
        .await
}

async fn delete_user(request: FormRequest, form: Sent) -> Response {
    request
        .run(USERS, Event::AccountRemoved, form, |accounts, account, fields| {
            let (id, name) = fields.user(accounts)?;
            if id == account.id {
                return Err(Error::Refused("You cannot delete your own account.".to_owned()));
            }
            if fields.typed.trim() != name {
                return Err(Error::Refused(format!(
                    "To delete the account, type its username, {name}. Nothing was changed."
                )));
            }
            accounts.delete_user(id)?;
            let words = format!("The account {name} is deleted, with its sessions and API tokens.");
            Ok((name, words))
        })
        .await
}
