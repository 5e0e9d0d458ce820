//! The login page: plain forms for the password and the second factor.

use crate::model::address::{at, lookup};
use crate::model::login::login_message;
use crate::ui::components::chrome::CardPage;
use crate::ui::components::notice::Alert;
use leptos::prelude::*;
use leptos_router::hooks::use_location;

/// The login page.
#[component]
pub fn LoginPage() -> impl IntoView {
    let search = use_location().search.get_untracked();
    let problem = lookup(&search, "error").as_deref().and_then(login_message);
    let next = lookup(&search, "next").map(|next| markup! { <input type="hidden" name="next" value=next /> });
    let fields = if lookup(&search, "step").is_some() {
        markup! {
            <label>
                "Code of your authenticator app, or a recovery code"
                <input name="code" autocomplete="one-time-code" autocapitalize="none" required autofocus />
            </label>
        }
    } else {
        markup! {
            <label>
                "Username"
                <input name="username" autocomplete="username" autocapitalize="none" required autofocus />
            </label>
            <label>
                "Password"
                <input name="password" type="password" autocomplete="current-password" required />
            </label>
        }
    };
    markup! {
        <CardPage title="Log in">
            {problem.map(|problem| markup! { <Alert message=problem.to_owned() detail=None /> })}
            <form method="post" action=at("/login") class="fields">
                {next}
                {fields}
                <button class="first">"Log in"</button>
            </form>
        </CardPage>
    }
}
