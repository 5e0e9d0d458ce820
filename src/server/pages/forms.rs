//! What is posted from the account and users pages. Plain forms, led back to their page, which tells the outcome;
//! what is shown once, as a token is, is shown on a page of its own.

use crate::domain::accounts::api_tokens::Scope;
use crate::domain::accounts::{Account, Accounts};
use crate::domain::audit::By;
use crate::domain::{Error, Result};
use crate::model::audit::{Ending, Event};
use crate::model::{LoginProblem, Outcome, Role};
use crate::server::auth::session::{ask_to_confirm, blocking, device_of, gone, slow_down, with_session};
use crate::server::middleware::forwarded::Arrival;
use crate::server::pages::one_time;
use crate::server::state::AppState;
use axum::Extension;
use axum::extract::rejection::ExtensionRejection;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, post};
use axum_extra::extract::{Form, FormRejection};
use http::HeaderMap;
use http::request::Parts;
use secrecy::SecretString;
use serde::Deserialize;

const ACCOUNT: &str = "/account";
const USERS: &str = "/users";

/// The addresses, each with what answers it.
pub fn routes() -> [(&'static str, MethodRouter<AppState>); 13] {
    [
        ("/account/password", post(change_password)),
        ("/account/sessions/end", post(end_sessions)),
        ("/account/tokens", post(make_token)),
        ("/account/tokens/revoke", post(revoke_token)),
        ("/account/second-factor", post(offer_second_factor)),
        ("/account/second-factor/confirm", post(take_up_second_factor)),
        ("/account/second-factor/off", post(drop_second_factor)),
        ("/users/add", post(add_user)),
        ("/users/change", post(change_user)),
        ("/users/password", post(set_password)),
        ("/users/sessions/end", post(end_users_sessions)),
        ("/users/second-factor/off", post(drop_users_second_factor)),
        ("/users/delete", post(delete_user)),
    ]
}

/// Edge-only, without `Debug`: the fields of all these forms; passwords become [`SecretString`]s when they are used.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    id: String,
    username: String,
    old: String,
    password: String,
    repeat: String,
    role: String,
    download: Option<String>,
    operate: Option<String>,
    label: String,
    days: String,
    code: String,
    typed: String,
}

impl Entry {
    /// The new password, typed twice.
    fn new_password(&self) -> Result<SecretString> {
        if self.password != self.repeat {
            return Err(Error::Refused(LoginProblem::Repeat.message().to_owned()));
        }
        Ok(self.password.clone().into())
    }

    /// The account that is meant, and its name.
    fn person(&self, accounts: &Accounts) -> Result<(i64, String)> {
        let gone = || Error::Refused("The form names no account. Reload the list.".to_owned());
        let id = self.id.parse().map_err(|_| gone())?;
        Ok((id, accounts.username(id)?))
    }

    fn role(&self) -> Result<Role> {
        Role::parse(&self.role).ok_or_else(|| Error::Refused("Choose one of the roles.".to_owned()))
    }
}

type Sent = std::result::Result<Form<Entry>, FormRejection>;

/// Who posts, from where, and what there is to answer with.
struct Desk {
    account: Account,
    arrival: Arrival,
    by: By,
    headers: HeaderMap,
    state: AppState,
}

impl FromRequestParts<AppState> for Desk {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> std::result::Result<Self, Self::Rejection> {
        let Extension(account) = Extension::from_request_parts(parts, state).await?;
        let Extension(arrival) = Extension::from_request_parts(parts, state).await?;
        let Extension(by) = Extension::from_request_parts(parts, state).await?;
        Ok(Self { account, arrival, by, headers: parts.headers.clone(), state: state.clone() })
    }
}

impl Desk {
    /// Does what was asked for, for whoever proved lately who they are, notes it of what it was done to, and leads
    /// back to `page`, which tells it.
    async fn does(
        self,
        page: &'static str,
        event: Event,
        form: Sent,
        work: impl FnOnce(&Accounts, &Account, Entry) -> Result<(String, String)> + Send + 'static,
    ) -> Response {
        if !self.account.fresh {
            return ask_to_confirm(page);
        }
        match self.work(form, work).await {
            Ok((object, words)) => {
                self.note(event, object).await;
                self.tell(page, words)
            }
            Err(error) => self.refuse(page, event, error).await,
        }
    }

    async fn note(&self, event: Event, object: String) {
        self.state.door.note(self.by.clone(), event, object, Ending::Ok, "").await;
    }

    async fn work<T: Send + 'static>(
        &self,
        form: Sent,
        work: impl FnOnce(&Accounts, &Account, Entry) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let unreadable = |_| Error::Refused("The form could not be read. Fill it in again.".to_owned());
        let Form(entry) = form.map_err(unreadable)?;
        let (accounts, account) = (self.state.holdfast.accounts().clone(), self.account.clone());
        blocking(move || work(&accounts, &account, entry)).await
    }

    async fn refuse(&self, page: &str, event: Event, error: Error) -> Response {
        let ending = match error {
            Error::Refused(_) | Error::Denied(_) => Ending::Refused,
            _ => Ending::Failed,
        };
        tracing::warn!(%error, cause = ?error, "a change of accounts came to nothing");
        let object = self.account.username.clone();
        self.state.door.note(self.by.clone(), event, object, ending, "").await;
        self.lead_to(page, Outcome::refused(error.to_string()))
    }

    fn tell(&self, page: &str, words: String) -> Response {
        self.lead_to(page, Outcome { good: Some(words), ..Outcome::default() })
    }

    fn lead_to(&self, page: &str, outcome: Outcome) -> Response {
        let id = self.state.outcomes.keep(self.account.id, outcome.into()).unwrap_or_default();
        Redirect::to(&format!("{page}?outcome={id}")).into_response()
    }
}

async fn change_password(desk: Desk, State(state): State<AppState>, form: Sent) -> Response {
    let device = device_of(desk.arrival, &desk.headers);
    let Ok(Form(entry)) = form else {
        return desk.lead_to(ACCOUNT, Outcome::refused(LoginProblem::Missing.message().to_owned()));
    };
    let id = desk.account.id;
    let work = move |accounts: &Accounts| {
        let new = entry.new_password()?;
        accounts.change_password(id, &entry.old.into(), &new, &device)
    };
    match state.door.attempt(desk.arrival, work).await {
        Ok(Ok(session)) => {
            desk.note(Event::PasswordChanged, desk.account.username.clone()).await;
            let words =
                "The password is changed. Every other session of this account is signed out.".to_owned();
            let told = Outcome { good: Some(words), ..Outcome::default() };
            let id = state.outcomes.keep(desk.account.id, told.into()).unwrap_or_default();
            with_session(Redirect::to(&format!("{ACCOUNT}?outcome={id}")), &session, desk.arrival)
        }
        Ok(Err(error)) => desk.refuse(ACCOUNT, Event::PasswordChanged, error).await,
        Err(seconds) => slow_down(&desk.headers, seconds),
    }
}

/// One of one's own sessions, or all of them, this one included. Leaving needs no proof of who leaves.
async fn end_sessions(desk: Desk, form: Sent) -> Response {
    let ended = desk.work(form, |accounts, account, entry| {
        let one = Some(entry.id).filter(|id| !id.is_empty());
        accounts.end_sessions(account.id, one.as_deref())?;
        Ok(one.is_some())
    });
    match ended.await {
        Ok(one) => {
            desk.note(Event::SessionsEnded, desk.account.username.clone()).await;
            if one {
                desk.tell(ACCOUNT, "That session is signed out.".to_owned())
            } else {
                gone(desk.arrival)
            }
        }
        Err(error) => desk.refuse(ACCOUNT, Event::SessionsEnded, error).await,
    }
}

async fn make_token(desk: Desk, form: Sent) -> Response {
    if !desk.account.fresh {
        return ask_to_confirm(ACCOUNT);
    }
    let made = desk.work(form, |accounts, account, entry| {
        let scope = Scope { download: entry.download.is_some(), operate: entry.operate.is_some() };
        let days = match entry.days.as_str() {
            "" => None,
            days => Some(days.parse().map_err(|_| Error::Refused("Choose when it ends.".to_owned()))?),
        };
        let token = accounts.make_token(account.id, &entry.label, scope, days)?;
        Ok((entry.label, token))
    });
    match made.await {
        Ok((label, token)) => {
            desk.note(Event::TokenMade, label.clone()).await;
            one_time::token(&label, &token)
        }
        Err(error) => desk.refuse(ACCOUNT, Event::TokenMade, error).await,
    }
}

async fn revoke_token(desk: Desk, form: Sent) -> Response {
    let revoked = desk.work(form, |accounts, account, entry| {
        accounts.revoke_token(account.id, entry.id.parse().unwrap_or_default())
    });
    match revoked.await {
        Ok(label) => {
            desk.note(Event::TokenRevoked, label.clone()).await;
            desk.tell(ACCOUNT, format!("The token {label} is revoked."))
        }
        Err(error) => desk.refuse(ACCOUNT, Event::TokenRevoked, error).await,
    }
}

async fn offer_second_factor(desk: Desk, form: Sent) -> Response {
    if !desk.account.fresh {
        return ask_to_confirm(ACCOUNT);
    }
    match desk.work(form, |accounts, account, _| accounts.offer_second_factor(account.id)).await {
        Ok(offer) => one_time::offer(&offer, None),
        Err(error) => desk.refuse(ACCOUNT, Event::SecondFactorOn, error).await,
    }
}

async fn take_up_second_factor(desk: Desk, form: Sent) -> Response {
    if !desk.account.fresh {
        return ask_to_confirm(ACCOUNT);
    }
    let taken = desk.work(form, |accounts, account, entry| {
        match accounts.take_up_second_factor(account.id, &entry.code) {
            Err(Error::Denied(_)) => Ok(Err(accounts.second_factor_offer(account.id)?)),
            other => other.map(Ok),
        }
    });
    match taken.await {
        Ok(Ok(codes)) => {
            desk.note(Event::SecondFactorOn, desk.account.username.clone()).await;
            one_time::recovery_codes(&codes)
        }
        Ok(Err(offer)) => one_time::offer(&offer, Some(LoginProblem::Code.message())),
        Err(error) => desk.refuse(ACCOUNT, Event::SecondFactorOn, error).await,
    }
}

async fn drop_second_factor(desk: Desk, form: Sent) -> Response {
    desk.does(ACCOUNT, Event::SecondFactorOff, form, |accounts, account, _| {
        accounts.drop_second_factor(account.id)?;
        let words = "The second factor is off. A log-in asks for the password only.".to_owned();
        Ok((account.username.clone(), words))
    })
    .await
}

async fn add_user(desk: Desk, form: Sent) -> Response {
    desk.does(USERS, Event::AccountCreated, form, |accounts, _, entry| {
        let (role, password) = (entry.role()?, entry.new_password()?);
        accounts.add_person(&entry.username, &password, role, entry.download.is_some())?;
        let made = entry.username.trim().to_owned();
        let words = format!("The account {made} was created.");
        Ok((made, words))
    })
    .await
}

async fn change_user(desk: Desk, form: Sent) -> Response {
    desk.does(USERS, Event::RoleChanged, form, |accounts, _, entry| {
        let (id, name) = entry.person(accounts)?;
        let role = entry.role()?;
        accounts.change_role(id, role, entry.download.is_some())?;
        let words = format!("{name} is now {}. Its sessions are signed out.", role.name());
        Ok((name, words))
    })
    .await
}

async fn set_password(desk: Desk, form: Sent) -> Response {
    desk.does(USERS, Event::PasswordChanged, form, |accounts, _, entry| {
        let (id, name) = entry.person(accounts)?;
        accounts.set_password(id, &entry.new_password()?)?;
        let words = format!("{name} has the new password. Its sessions are signed out.");
        Ok((name, words))
    })
    .await
}

async fn end_users_sessions(desk: Desk, form: Sent) -> Response {
    desk.does(USERS, Event::SessionsEnded, form, |accounts, _, entry| {
        let (id, name) = entry.person(accounts)?;
        accounts.end_sessions(id, None)?;
        let words = format!("{name} is signed out everywhere.");
        Ok((name, words))
    })
    .await
}

async fn drop_users_second_factor(desk: Desk, form: Sent) -> Response {
    desk.does(USERS, Event::SecondFactorOff, form, |accounts, _, entry| {
        let (id, name) = entry.person(accounts)?;
        accounts.drop_second_factor(id)?;
        let words = format!("The second factor of {name} is off.");
        Ok((name, words))
    })
    .await
}

async fn delete_user(desk: Desk, form: Sent) -> Response {
    desk.does(USERS, Event::AccountRemoved, form, |accounts, account, entry| {
        let (id, name) = entry.person(accounts)?;
        if id == account.id {
            return Err(Error::Refused("You cannot delete your own account.".to_owned()));
        }
        if entry.typed.trim() != name {
            return Err(Error::Refused(format!("Type {name} to delete the account; nothing was done.")));
        }
        accounts.delete_person(id)?;
        let words = format!("The account {name} is deleted, with its sessions and API tokens.");
        Ok((name, words))
    })
    .await
}
