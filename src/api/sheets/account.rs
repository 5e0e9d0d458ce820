//! One's own account.

use super::parts::{
    card, cell, choice, facts, field, folded, form, hidden, long, new_password, page, password, table, tick,
    unproved, words,
};
use crate::domain;
use crate::domain::Holdfast;
use crate::domain::accounts::Account;
use crate::domain::accounts::api_tokens::Token;
use crate::domain::accounts::sessions::Session;
use crate::model::address::at;
use crate::model::{Outcome, Right};
use leptos::prelude::*;

const TOKENS: &str = "For scripts, sent as \"Authorization: Bearer …\". A token may never do more than your account, and \
    none can restore, change settings or accounts, or delete more than ten backups at once.";

/// The page of `account`, read in the session of that id.
pub fn sheet(
    holdfast: &Holdfast,
    account: &Account,
    session: Option<&str>,
    outcome: Option<Outcome>,
) -> domain::Result<String> {
    let accounts = holdfast.accounts();
    let content = view! {
        {unproved(account, "/account")}
        <div class="halves even">
            <div class="stack">{who(account)} {second_factor(accounts.recovery_codes_left(account.id)?)}</div>
            <div class="stack">{new_password_card()}</div>
        </div>
        {sessions(accounts.sessions(account.id)?, session)}
        {tokens(accounts.tokens(account.id)?, account)}
    };
    let sub = words("Your account, its sessions and its API tokens.");
    Ok(page("Account", sub, outcome, content))
}

fn who(account: &Account) -> AnyView {
    let download = if account.download { "yes" } else { "no" };
    let list = [
        ("Username", account.username.as_str()),
        ("Role", account.role.meaning()),
        ("May download backups", download),
    ];
    let list = facts(list.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let more = account.may(Right::Administer).then(|| {
        view! {
            <div class="actions">
                <a class="second" href=at("/users")>"Users"</a>
                <a class="second" href=at("/audit")>"Audit log"</a>
            </div>
        }
    });
    card("You", view! { {list} {more} })
}

fn new_password_card() -> AnyView {
    let fields = view! { {password("Present password", "old")} {new_password()} };
    let content = view! {
        {words("Changing it signs you out everywhere else.")}
        {form("/account/password", "Change password", "second", fields)}
    };
    card("Password", content)
}

fn second_factor(codes_left: Option<i64>) -> AnyView {
    const SET_UP: &str = "/account/second-factor";
    let content = match codes_left {
        None => view! {
            {words("Off. When it is on, logging in also asks for a code from an authenticator app.")}
            {form(SET_UP, "Set up a second factor", "second", ())}
        }
        .into_any(),
        Some(left) => view! {
            {words(format!("On. {left} of 10 recovery codes are left."))}
            {form(SET_UP, "Set up again, with new recovery codes", "second", ())}
            {form("/account/second-factor/off", "Turn off", "danger", ())}
        }
        .into_any(),
    };
    card("Second factor", content)
}

fn sessions(sessions: Vec<Session>, here: Option<&str>) -> AnyView {
    let here = here.map(str::to_owned);
    let rows = sessions.into_iter().map(move |session| {
        let Session { id, last_seen, device, .. } = session;
        let end = if here.as_ref() == Some(&id) {
            cell("this one")
        } else {
            form("/account/sessions/end", "Sign out", "second", hidden("id", id))
        };
        let agent = if device.agent.is_empty() { "no name given".to_owned() } else { device.agent };
        vec![cell(format!("{last_seen} UTC")), cell(device.address), long(agent), end]
    });
    let list = table(&["Last used", "From", "Browser", "Session"], rows);
    let everywhere = form("/account/sessions/end", "Sign out everywhere", "second", ());
    card("Sessions", view! { {list} {everywhere} })
}

fn tokens(tokens: Vec<Token>, account: &Account) -> AnyView {
    let rows: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let when = |at: Option<_>| cell(at.map_or("never".to_owned(), |at| format!("{at} UTC")));
            let id = hidden("id", token.id.to_string());
            let revoke = form("/account/tokens/revoke", "Revoke", "second", id);
            vec![cell(token.label), cell(token.scope), when(token.expires), when(token.last_used), revoke]
        })
        .collect();
    let list = (!rows.is_empty()).then(|| table(&["Name", "May", "Ends", "Last used", "Token"], rows));
    let download = account.may(Right::Download).then(|| tick("May download backups", "download", false));
    let operate = account
        .may(Right::Operate)
        .then(|| tick("May create, verify, upload, import and delete backups", "operate", false));
    let ends = [("90", "In 90 days"), ("365", "In a year"), ("", "Never")]
        .map(|(days, words)| (days.to_owned(), words.to_owned()));
    let fields = view! {
        {field("Name, for example of the script", "label")}
        {download}
        {operate}
        {choice("Ends", "days", ends.into(), "90")}
    };
    let new = folded("New token", form("/account/tokens", "Make token", "second", fields));
    card("API tokens", view! { {words(TOKENS)} {list} {new} })
}
