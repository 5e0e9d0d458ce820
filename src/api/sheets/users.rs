//! Everybody's accounts.

use super::account::{cell, row};
use crate::model::{Kind, Piece, Role, Sheet};
use crate::vault::accounts::Account;
use crate::vault::accounts::people::Person;
use crate::vault::{self, Vault};

/// The page, for the administrator `asks`.
pub fn sheet(vault: &Vault, asks: &Account) -> vault::Result<Sheet> {
    let people = vault.accounts().people()?;
    let heads = row(["Username", "Role", "Downloads", "Second factor", "Last seen", "API tokens"].map(cell));
    let rows = people.iter().map(|person| {
        row([
            cell(&person.username),
            cell(person.role.name()),
            cell(if person.download { "yes" } else { "no" }),
            cell(if person.second_factor { "on" } else { "off" }),
            cell(person.last_seen.map_or("no session".to_owned(), |at| format!("{at} UTC"))),
            cell(person.tokens.to_string()),
        ])
    });
    let list = Piece::new(Kind::Card, "Accounts")
        .with([Piece::new(Kind::Table, "").with([heads].into_iter().chain(rows))]);
    let others = people.iter().filter(|person| person.id != asks.id).map(change);
    let pieces = [list, add()].into_iter().chain(others).collect();
    Ok(Sheet {
        title: "Users".to_owned(),
        sub: "Who may log in, and what each may do.".to_owned(),
        outcome: None,
        pieces,
    })
}

fn add() -> Piece {
    Piece::new(Kind::Card, "New account").with([Piece::new(Kind::Form, "Add account")
        .named("/users/add")
        .with([
            Piece::new(Kind::Field, "Username").named("username"),
            Piece::new(Kind::NewPassword, "Password").named("password"),
            Piece::new(Kind::NewPassword, "Password again").named("repeat"),
            role(Role::Viewer),
            download(false),
        ])])
}

fn change(person: &Person) -> Piece {
    let form = |text: &str, action: &str, fields: Vec<Piece>| {
        let id = Piece::new(Kind::Hidden, "").named("id").filled(person.id.to_string());
        Piece::new(Kind::Form, text).named(action).with([id].into_iter().chain(fields))
    };
    let mut forms = vec![
        form("Save role", "/users/change", vec![role(person.role), download(person.download)]),
        form(
            "Set password",
            "/users/password",
            vec![
                Piece::new(Kind::NewPassword, "New password").named("password"),
                Piece::new(Kind::NewPassword, "New password again").named("repeat"),
            ],
        ),
        form("Sign out everywhere", "/users/sessions/end", Vec::new()),
    ];
    if person.second_factor {
        forms.push(form("Turn second factor off", "/users/second-factor/off", Vec::new()));
    }
    let typed = format!("Type {} to delete the account", person.username);
    forms.push(
        form("Delete account", "/users/delete", vec![Piece::new(Kind::Field, typed).named("typed")])
            .filled("danger"),
    );
    let folded = Piece::new(Kind::Folded, "Change").with(forms);
    Piece::new(Kind::Card, &person.username).with([folded])
}

fn role(chosen: Role) -> Piece {
    let options = Role::ALL.map(|role| Piece::new(Kind::Option, role.meaning()).filled(role.name()));
    Piece::new(Kind::Choice, "Role").named("role").filled(chosen.name()).with(options)
}

fn download(ticked: bool) -> Piece {
    let value = if ticked { "on" } else { "" };
    Piece::new(Kind::Tick, "May download backups").named("download").filled(value)
}
