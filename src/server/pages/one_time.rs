//! Pages that show a secret once: a new token, the key of a second factor, recovery codes. They have no script.

use crate::domain::accounts::second_factor::Offer;
use crate::domain::accounts::{ApiToken, api_tokens};
use crate::model::address::at;
use crate::server::pages::html_document::card_page;
use axum::response::Response;
use leptos::prelude::*;
use qrcode::QrCode;
use qrcode::render::svg;
use secrecy::{ExposeSecret, SecretString};

/// A new API token.
pub fn token(label: &str, token: &ApiToken) -> Response {
    let shown = format!("{}{}", api_tokens::PREFIX, token.reveal());
    let label = label.trim().to_owned();
    card_page(
        "Holdfast",
        view! {
            <h1>"Your new token"</h1>
            <p>"Copy this token now to where " <b>{label}</b> " reads it. Holdfast shows it only once."</p>
            <pre class="once">{shown}</pre>
            <p><a href=at("/account")>"Done"</a></p>
        },
    )
}

/// The key for an authenticator app, with the form for its first code.
pub fn offer(offer: &Offer, problem: Option<&'static str>) -> Response {
    let picture = picture(&offer.url);
    let secret = offer.secret.expose_secret().to_owned();
    let problem =
        problem.map(|problem| view! { <div class="notice bad" role="alert"><p>{problem}</p></div> });
    card_page(
        "Holdfast",
        view! {
            <h1>"Second factor"</h1>
            {problem}
            <p>"Scan this code with an authenticator app, or type the key into the app. Then enter the code that the app shows."</p>
            {picture}
            <pre class="once">{secret}</pre>
            <form method="post" action=at("/account/second-factor/confirm") class="fields">
                <label>
                    "Code"
                    <input name="code" inputmode="numeric" autocomplete="one-time-code" required autofocus />
                </label>
                <button class="first">"Turn on"</button>
            </form>
            <p><a href=at("/account")>"Cancel"</a></p>
        },
    )
}

/// The recovery codes of a second factor that was just turned on.
pub fn recovery_codes(codes: &[SecretString]) -> Response {
    let codes = codes.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>().join("\n");
    card_page(
        "Holdfast",
        view! {
            <h1>"Recovery codes"</h1>
            <p>
                "The second factor is on. If you lose your phone, each of these codes works once in place of the app's code. "
                "Print the codes or keep them with your passwords. Holdfast shows them only once."
            </p>
            <pre class="once">{codes}</pre>
            <p><a href=at("/account")>"I have saved them"</a></p>
        },
    )
}

/// A QR code of `url`, black on white in either theme.
fn picture(url: &SecretString) -> Option<AnyView> {
    let code = QrCode::new(url.expose_secret()).ok()?;
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(220, 220).build();
    let address = format!("data:image/svg+xml;base64,{}", data_encoding::BASE64.encode(drawn.as_bytes()));
    Some(
        view! { <img class="code" src=address alt="The key as a QR code" width="220" height="220" /> }
            .into_any(),
    )
}
