//! The account page: the user's own password, second factor, sessions and API tokens.

use crate::api::context;
use crate::domain::accounts::api_tokens::{Scope, Token};
use crate::domain::accounts::sessions::Session;
use crate::domain::accounts::{Account, Accounts};
use crate::domain::{Error, Holdfast, Result};
use crate::model::address::{at, lookup};
use crate::model::audit::Event;
use crate::model::{AppError, LoginProblem, Outcome, Right};
use crate::server::auth::cookies::with_session;
use crate::server::auth::forms::device_of;
use crate::server::auth::logout::logged_out;
use crate::server::auth::redirects::ask_to_confirm;
use crate::server::auth::refusals::slow_down;
use crate::server::pages::form_request::{FormRequest, Sent};
use crate::server::pages::markup::{
    card, cell, choice, confirm_notice, facts, field, folded, form, hidden, long, new_password, page,
    password, table, tick, words,
};
use crate::server::pages::one_time;
use crate::server::state::AppState;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use axum_extra::extract::Form;
use leptos::prelude::*;

const ACCOUNT: &str = "/account";

/// The forms of this page, each with its handler.
pub fn forms() -> [(&'static str, MethodRouter<AppState>); 7] {
    [
        ("/account/password", post(change_password)),
        ("/account/sessions/end", post(end_sessions)),
        ("/account/tokens", post(make_token)),
        ("/account/tokens/revoke", post(revoke_token)),
        ("/account/second-factor", post(offer_second_factor)),
        ("/account/second-factor/confirm", post(turn_second_factor_on)),
        ("/account/second-factor/off", post(turn_second_factor_off)),
    ]
}

const TOKENS: &str = "Scripts send a token as \"Authorization: Bearer …\". A token can never do more than your account. No token \
    can restore, change settings or accounts, or delete more than ten backups at once.";

/// The HTML of the page for the current user.
pub async fn write(search: String) -> std::result::Result<String, AppError> {
    let outcome = context::recall(lookup(&search, "outcome")).await?;
    let session = context::session_id().await;
    context::ask_as(move |holdfast, account| page_of(holdfast, account, session.as_deref(), outcome)).await
}

/// The page of `account`; `session` is the id of the session that reads it.
fn page_of(
    holdfast: &Holdfast,
    account: &Account,
    session: Option<&str>,
    outcome: Option<Outcome>,
) -> Result<String> {
    let accounts = holdfast.accounts();
    let content = view! {
        {confirm_notice(account, "/account")}
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
    let fields = view! { {password("Current password", "old")} {new_password()} };
    let content = view! {
        {words("Changing your password signs you out everywhere else.")}
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
        let agent = if device.agent.is_empty() { "unknown browser".to_owned() } else { device.agent };
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
    let list =
        (!rows.is_empty()).then(|| table(&["Name", "Permissions", "Expires", "Last used", "Token"], rows));
    let download = account.may(Right::Download).then(|| tick("May download backups", "download", false));
    let operate = account
        .may(Right::Operate)
        .then(|| tick("May create, verify, upload, import and delete backups", "operate", false));
    let lifetimes = [("90", "In 90 days"), ("365", "In a year"), ("", "Never")]
        .map(|(days, words)| (days.to_owned(), words.to_owned()));
    let fields = view! {
        {field("Name, such as the script that uses the token", "label")}
        {download}
        {operate}
        {choice("Expires", "days", lifetimes.into(), "90")}
    };
    let new = folded("New token", form("/account/tokens", "Create token", "second", fields));
    card("API tokens", view! { {words(TOKENS)} {list} {new} })
}

async fn change_password(request: FormRequest, form: Sent) -> Response {
    let device = device_of(request.client, &request.headers);
    let Ok(Form(fields)) = form else {
        let problem = LoginProblem::Missing.message();
        return request.redirect(ACCOUNT, Outcome::refused(problem)).into_response();
    };
    let id = request.account.id;
    let work = move |accounts: &Accounts| {
        let new = fields.new_password()?;
        accounts.change_password(id, &fields.old.into(), &new, &device)
    };
    match request.state.attempts.attempt(request.client, work).await {
        Ok(Ok(session)) => {
            request.note(Event::PasswordChanged, request.account.username.clone()).await;
            let words =
                "The password is changed. Every other session of this account is signed out.".to_owned();
            let redirect = request.redirect(ACCOUNT, Outcome::done(words));
            with_session(redirect, &session, request.client)
        }
        Ok(Err(error)) => request.refuse(ACCOUNT, Event::PasswordChanged, error).await,
        Err(seconds) => slow_down(&request.headers, seconds),
    }
}

/// Ends one of the user's sessions, or all of them. Needs no recent confirmation: it only takes access away.
async fn end_sessions(request: FormRequest, form: Sent) -> Response {
    let ended = request.work(form, |accounts, account, fields| {
        let one = Some(fields.id).filter(|id| !id.is_empty());
        accounts.end_sessions(account.id, one.as_deref())?;
        Ok(one.is_some())
    });
    match ended.await {
        Ok(one) => {
            request.note(Event::SessionsEnded, request.account.username.clone()).await;
            if one {
                request.tell(ACCOUNT, "That session is signed out.".to_owned())
            } else {
                logged_out(request.client)
            }
        }
        Err(error) => request.refuse(ACCOUNT, Event::SessionsEnded, error).await,
    }
}

async fn make_token(request: FormRequest, form: Sent) -> Response {
    if !request.account.fresh {
        return ask_to_confirm(ACCOUNT);
    }
    let made = request.work(form, |accounts, account, fields| {
        let scope = Scope { download: fields.download.is_some(), operate: fields.operate.is_some() };
        let days = match fields.days.as_str() {
            "" => None,
            days => {
                let days = days.parse().ok().filter(|days| *days > 0);
                Some(days.ok_or_else(|| Error::Refused("Choose when the token expires.".to_owned()))?)
            }
        };
        let token = accounts.make_token(account.id, &fields.label, scope, days)?;
        Ok((fields.label, token))
    });
    match made.await {
        Ok((label, token)) => {
            request.note(Event::TokenMade, label.clone()).await;
            one_time::token(&label, &token)
        }
        Err(error) => request.refuse(ACCOUNT, Event::TokenMade, error).await,
    }
}

async fn revoke_token(request: FormRequest, form: Sent) -> Response {
    let revoked = request.work(form, |accounts, account, fields| {
        accounts.revoke_token(account.id, fields.id.parse().unwrap_or_default())
    });
    match revoked.await {
        Ok(label) => {
            request.note(Event::TokenRevoked, label.clone()).await;
            request.tell(ACCOUNT, format!("The token {label} no longer works."))
        }
        Err(error) => request.refuse(ACCOUNT, Event::TokenRevoked, error).await,
    }
}

async fn offer_second_factor(request: FormRequest, form: Sent) -> Response {
    if !request.account.fresh {
        return ask_to_confirm(ACCOUNT);
    }
    match request.work(form, |accounts, account, _| accounts.offer_second_factor(account.id)).await {
        Ok(offer) => one_time::offer(&offer, None),
        Err(error) => request.refuse(ACCOUNT, Event::SecondFactorOn, error).await,
    }
}

async fn turn_second_factor_on(request: FormRequest, form: Sent) -> Response {
    if !request.account.fresh {
        return ask_to_confirm(ACCOUNT);
    }
    let taken = request.work(form, |accounts, account, fields| {
        match accounts.take_up_second_factor(account.id, &fields.code) {
            Err(Error::Denied(_)) => Ok(Err(accounts.second_factor_offer(account.id)?)),
            other => other.map(Ok),
        }
    });
    match taken.await {
        Ok(Ok(codes)) => {
            request.note(Event::SecondFactorOn, request.account.username.clone()).await;
            one_time::recovery_codes(&codes)
        }
        Ok(Err(offer)) => one_time::offer(&offer, Some(LoginProblem::Code.message())),
        Err(error) => request.refuse(ACCOUNT, Event::SecondFactorOn, error).await,
    }
}

async fn turn_second_factor_off(request: FormRequest, form: Sent) -> Response {
    request
        .run(ACCOUNT, Event::SecondFactorOff, form, |accounts, account, _| {
            accounts.drop_second_factor(account.id)?;
            let words = "The second factor is off. A login asks for the password only.".to_owned();
            Ok((account.username.clone(), words))
        })
        .await
}
