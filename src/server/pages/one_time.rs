//! Pages that show something once: never read again, so they are written by hand and no script sees them.

use crate::domain::accounts::second_factor::Offer;
use crate::domain::accounts::{ApiToken, api_tokens};
use crate::model::address::at;
use crate::server::routes::assets;
use axum::response::{Html, IntoResponse as _, Response};
use http::header::CONTENT_SECURITY_POLICY;
use leptos::prelude::*;
use qrcode::QrCode;
use qrcode::render::svg;
use secrecy::{ExposeSecret, SecretString};

/// Nothing but the style sheet, the picture in the page, and the form.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A new API token.
pub fn token(label: &str, token: &ApiToken) -> Response {
    let shown = format!("{}{}", api_tokens::PREFIX, token.reveal());
    let label = label.trim().to_owned();
    paper(view! {
        <h1>"Your new token"</h1>
        <p>"Copy it now, into the place where " <b>{label}</b> " finds it. It is shown only once."</p>
        <pre class="once">{shown}</pre>
        <p><a href=at("/account")>"Done"</a></p>
    })
}

/// What an authenticator app is to be given, with the form for its first code.
pub fn offer(offer: &Offer, problem: Option<&'static str>) -> Response {
    let picture = picture(&offer.url);
    let secret = offer.secret.expose_secret().to_owned();
    let problem =
        problem.map(|problem| view! { <div class="notice bad" role="alert"><p>{problem}</p></div> });
    paper(view! {
        <h1>"Second factor"</h1>
        {problem}
        <p>"Scan this with an authenticator app, or type the key into it. Then enter the code it shows."</p>
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
    })
}

/// The recovery codes of a second factor just turned on.
pub fn recovery_codes(codes: &[SecretString]) -> Response {
    let codes = codes.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>().join("\n");
    paper(view! {
        <h1>"Recovery codes"</h1>
        <p>
            "The second factor is on. If you lose the phone, each of these codes works once in place of the app's. "
            "Print them, or keep them with your passwords; they are shown only once."
        </p>
        <pre class="once">{codes}</pre>
        <p><a href=at("/account")>"I have saved them"</a></p>
    })
}

/// A picture of `url` for cameras, black on white in either theme.
fn picture(url: &SecretString) -> Option<AnyView> {
    let code = QrCode::new(url.expose_secret()).ok()?;
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(220, 220).build();
    let address = format!("data:image/svg+xml;base64,{}", data_encoding::BASE64.encode(drawn.as_bytes()));
    Some(
        view! { <img class="code" src=address alt="The key as a QR code" width="220" height="220" /> }
            .into_any(),
    )
}

fn paper(content: impl IntoView) -> Response {
    let style =
        assets::site().map(|site| view! { <link rel="stylesheet" href=at(&format!("/pkg/{}", site.css)) /> });
    let page = view! {
        <html lang="en">
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <title>"Holdfast"</title>
                <link rel="icon" href=at("/favicon.svg") type="image/svg+xml" />
                {style}
            </head>
            <body>
                <main class="door" id="main">
                    <div class="card">{content}</div>
                </main>
            </body>
        </html>
    };
    let page = format!("<!DOCTYPE html>{}", page.to_html().replace("<!>", ""));
    ([(CONTENT_SECURITY_POLICY, POLICY)], Html(page)).into_response()
}
