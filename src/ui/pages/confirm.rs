//! The page that asks for the password again before an action that cannot be undone.

use crate::model::address::{at, lookup};
use crate::model::login::login_message;
use crate::ui::components::chrome::CardPage;
use crate::ui::components::notice::Alert;
use leptos::prelude::*;
use leptos_router::hooks::use_location;

/// The page.
#[component]
pub fn ConfirmPage() -> impl IntoView {
    let search = use_location().search.get_untracked();
    let problem = lookup(&search, "error").as_deref().and_then(login_message);
    let next = lookup(&search, "next").map(|next| markup! { <input type="hidden" name="next" value=next /> });
    let done = lookup(&search, "done").map(|_| {
        markup! {
            <div class="notice good" role="status">
                <p>"Confirmed for five minutes. Go back to the other tab and try again."</p>
            </div>
        }
    });
    markup! {
        <CardPage title="Confirm it is you">
            {problem.map(|problem| markup! { <Alert message=problem.to_owned() detail=None /> })}
            {done}
            <form method="post" action=at("/confirm") class="fields">
                {next}
                <label>
                    "Password"
                    <input name="password" type="password" autocomplete="current-password" required autofocus />
                </label>
                <button class="first">"Confirm"</button>
            </form>
        </CardPage>
    }
}
