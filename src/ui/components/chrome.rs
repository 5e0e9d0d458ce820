//! The frame around every page: brand, navigation, theme, log-out.

use crate::model::address::at;
use crate::ui::components::icon::{Drawing, Icon};
use leptos::prelude::*;
use leptos_meta::Title;
use wasm_bindgen::JsCast;

/// A page of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The list.
    Backups,
    /// The databases.
    Databases,
    /// The copies off-site.
    OffSite,
    /// The history of jobs.
    Activity,
    /// The SFTP settings.
    Settings,
    /// The user's own account.
    Account,
}

impl Place {
    const IN_NAVIGATION: [Self; 5] =
        [Self::Backups, Self::Databases, Self::OffSite, Self::Activity, Self::Settings];

    const fn label(self) -> &'static str {
        match self {
            Self::Backups => "Backups",
            Self::Databases => "Databases",
            Self::OffSite => "Off-site",
            Self::Activity => "Activity",
            Self::Settings => "Settings",
            Self::Account => "Account",
        }
    }

    /// The address of the page.
    pub const fn href(self) -> &'static str {
        match self {
            Self::Backups => "/",
            Self::Databases => "/databases",
            Self::OffSite => "/remote",
            Self::Activity => "/activity",
            Self::Settings => "/settings/sftp",
            Self::Account => "/account",
        }
    }
}

/// The frame of a page for users who are logged in.
#[component]
pub fn Chrome(
    /// The page's entry in the navigation.
    place: Place,
    /// The page's content.
    children: Children,
) -> impl IntoView {
    let links = Place::IN_NAVIGATION
        .into_iter()
        .map(|each| {
            let current = (each == place).then_some("page");
            markup! { <a href=at(each.href()) aria-current=current>{each.label()}</a> }
        })
        .collect_view();
    markup! {
        <Title text=place.label() />
        <a class="skip" href="#main">"Skip to content"</a>
        <header class="bar">
            <a class="brand" href=at("/") aria-label="Holdfast">
                <Drawing icon=Icon::Brand />
                <span>"Holdfast"</span>
            </a>
            <nav aria-label="Main">{links}</nav>
            <div class="who">
                <ThemeSwitch />
                <a class="ghost" href=at("/account") aria-label="Account" aria-current=(place == Place::Account).then_some("page")>
                    <Drawing icon=Icon::Person />
                </a>
                <form method="post" action=at("/logout")>
                    <button class="ghost" aria-label="Log out">
                        <Drawing icon=Icon::Leave />
                        <span>"Log out"</span>
                    </button>
                </form>
            </div>
        </header>
        <main id="main" tabindex="-1">{children()}</main>
    }
}

/// A page for visitors who are not logged in: one card in the middle.
#[component]
pub fn CardPage(
    /// The title and heading.
    title: &'static str,
    /// The card's content.
    children: Children,
) -> impl IntoView {
    markup! {
        <Title text=title />
        <main class="door" id="main">
            <div class="card">
                <p class="brand">
                    <Drawing icon=Icon::Brand />
                    <span>"Holdfast"</span>
                </p>
                <h1>{title}</h1>
                {children()}
            </div>
        </main>
    }
}

/// Switches between dark and light. Without JavaScript, the third choice is the operating system's theme.
#[component]
fn ThemeSwitch() -> impl IntoView {
    let switch = move |event: leptos::ev::SubmitEvent| {
        let Some(root) = document().document_element() else { return };
        event.prevent_default();
        let system_is_dark = window()
            .match_media("(prefers-color-scheme: dark)")
            .ok()
            .flatten()
            .is_some_and(|query| query.matches());
        let is_dark = root.get_attribute("data-theme").map_or(system_is_dark, |theme| theme == "dark");
        let theme = if is_dark { "light" } else { "dark" };
        let _ = root.set_attribute("data-theme", theme);
        if let Ok(page) = document().dyn_into::<web_sys::HtmlDocument>() {
            let _ =
                page.set_cookie(&format!("holdfast_theme={theme}; Path=/; Max-Age=31536000; SameSite=Lax"));
        }
    };
    markup! {
        <form method="post" action=at("/theme") on:submit=switch>
            <button class="ghost" aria-label="Switch theme">
                <Drawing icon=Icon::Theme />
            </button>
        </form>
    }
}
