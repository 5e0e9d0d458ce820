//! The icons, as inline SVG in the style of Lucide (ISC licence).

use leptos::prelude::*;

/// An icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    /// Holdfast's own logo.
    Brand,
    /// Switch between dark and light.
    Theme,
    /// Search.
    Search,
    /// The account.
    Person,
    /// Log out.
    Leave,
    /// Download.
    Download,
    /// Restore.
    Restore,
}

impl Icon {
    const fn path(self) -> &'static str {
        match self {
            Self::Brand => "M12 3v12m0 0-4-4m4 4 4-4M4 15v3a3 3 0 0 0 3 3h10a3 3 0 0 0 3-3v-3",
            Self::Theme => {
                "M8 12a4 4 0 1 0 8 0a4 4 0 1 0-8 0M12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.5 1.5m11 11L19 19M5 19l1.5-1.5m11-11L19 5"
            }
            Self::Person => "M8 8a4 4 0 1 0 8 0a4 4 0 1 0-8 0M5 21a7 7 0 0 1 14 0",
            Self::Leave => "M9 21H6a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2h3m7 14 5-5-5-5m5 5H9",
            Self::Restore => "M4 12a8 8 0 1 0 2.5-5.8L4 8.5M4 4v4.5h4.5M12 8v4l3 2",
            Self::Download => "M12 4v11m0 0-4-4m4 4 4-4M5 20h14",
            Self::Search => "M4 11a7 7 0 1 0 14 0a7 7 0 1 0-14 0m16 9-4-4",
        }
    }
}

/// Draws an icon. It is decoration: the text beside it has the meaning.
#[component]
pub fn Drawing(
    /// Which.
    icon: Icon,
) -> impl IntoView {
    markup! {
        <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d=icon.path()></path>
        </svg>
    }
}
