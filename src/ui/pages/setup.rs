//! The set-up page for the first account, opened by the one-time link in the log.

use crate::model::address::{at, lookup};
use crate::model::login::{LoginProblem, login_message};
use crate::ui::components::chrome::CardPage;
use crate::ui::components::notice::Alert;
use leptos::prelude::*;
use leptos_router::hooks::use_location;

/// The set-up page.
#[component]
pub fn SetupPage() -> impl IntoView {
    let search = use_location().search.get_untracked();
    let problem = lookup(&search, "error").as_deref().and_then(login_message);
    let Some(token) = lookup(&search, "token") else {
        let problem = problem.unwrap_or(LoginProblem::Link.message());
        return markup! {
            <CardPage title="Set up Holdfast">
                <Alert message=problem.to_owned() detail=None />
                <p><a href=at("/login")>"Log in"</a></p>
            </CardPage>
        };
    };
    markup! {
        <CardPage title="Set up Holdfast">
            {problem.map(|problem| markup! { <Alert message=problem.to_owned() detail=None /> })}
            <p class="sub">"Create the first account. This link works once."</p>
            <form method="post" action=at("/setup") class="fields">
                <input type="hidden" name="token" value=token />
                <label>
                    "Username"
                    <input name="username" value="admin" autocomplete="username" autocapitalize="none" required />
                </label>
                <label>
                    "Password"
                    <input name="password" type="password" autocomplete="new-password" minlength="12" maxlength="128" required autofocus />
                </label>
                <label>
                    "Password again"
                    <input name="repeat" type="password" autocomplete="new-password" required />
                </label>
                <p class="sub">"At least 12 characters. A sentence works well; there are no other rules."</p>
                <button class="first">"Create account"</button>
            </form>
        </CardPage>
    }
}
