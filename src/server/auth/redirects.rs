//! Redirects to the login, set-up and confirmation pages, with the problem to show and the page to go to next.

use crate::domain::accounts::SetupToken;
use crate::model::LoginProblem;
use crate::server::auth::next::encoded;
use axum::response::{IntoResponse as _, Redirect, Response};

/// To the login page, which shows the problem.
pub fn back_to_login(problem: LoginProblem, next: Option<&str>) -> Response {
    to_login(&[("error", problem.code())], next)
}

/// To the login page with these parameters.
pub fn to_login(parameters: &[(&str, &str)], next: Option<&str>) -> Response {
    let parameters = parameters.iter().map(|(name, value)| format!("{name}={value}"));
    let next = next.map(|next| format!("next={}", encoded(next)));
    let query = parameters.chain(next).collect::<Vec<_>>().join("&");
    Redirect::to(&format!("/login?{query}")).into_response()
}

/// To the page that asks for the password again, which shows the problem.
pub fn back_to_confirm(problem: LoginProblem, next: Option<&str>) -> Response {
    let next = next.map_or(String::new(), |next| format!("&next={}", encoded(next)));
    Redirect::to(&format!("/confirm?error={}{next}", problem.code())).into_response()
}

/// To the page that asks for the password again, and from there to `next`.
pub fn ask_to_confirm(next: &str) -> Response {
    Redirect::to(&format!("/confirm?next={}", encoded(next))).into_response()
}

/// To the set-up page, which shows the problem. Keeps the token of the link if it is well-formed.
pub fn back_to_setup(problem: LoginProblem, link: &str) -> Response {
    let kept = SetupToken::parse(link).map_or(String::new(), |token| format!("token={}&", token.reveal()));
    Redirect::to(&format!("/setup?{kept}error={}", problem.code())).into_response()
}
