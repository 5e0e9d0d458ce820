//! One's own account.

use crate::model::{Kind, Piece, Right, Sheet};
use crate::vault::accounts::Account;
use crate::vault::{self, Vault};

/// The page of `account`, read in the session of that id.
pub fn sheet(vault: &Vault, account: &Account, session: Option<&str>) -> vault::Result<Sheet> {
    let accounts = vault.accounts();
    let mut pieces = vec![who(account), password(), second_factor(accounts.recovery_codes_left(account.id)?)];
    let sessions = accounts.sessions(account.id)?.into_iter().map(|found| {
        let here = session == Some(&found.id);
        let end = Piece::new(Kind::Form, "Sign out").named("/account/sessions/end").with([Piece::new(
            Kind::Hidden,
            "",
        )
        .named("id")
        .filled(found.id)]);
        row([
            cell(format!("{} UTC", found.last_seen)),
            cell(found.device.address),
            cell(if found.device.agent.is_empty() { "no name given".to_owned() } else { found.device.agent }),
            if here { cell("this one") } else { cell("").with([end]) },
        ])
    });
    let heads = row(["Last used", "From", "Browser", ""].map(cell));
    let everywhere = Piece::new(Kind::Form, "Sign out everywhere").named("/account/sessions/end");
    pieces.push(
        Piece::new(Kind::Card, "Sessions")
            .with([Piece::new(Kind::Table, "").with([heads].into_iter().chain(sessions)), everywhere]),
    );
    let tokens = accounts.tokens(account.id)?;
    let rows = tokens.into_iter().map(|token| {
        let revoke = Piece::new(Kind::Form, "Revoke").named("/account/tokens/revoke").with([Piece::new(
            Kind::Hidden,
            "",
        )
        .named("id")
        .filled(token.id.to_string())]);
        row([
            cell(token.label),
            cell(token.scope),
            cell(token.expires.map_or("never".to_owned(), |at| format!("{at} UTC"))),
            cell(token.last_used.map_or("never".to_owned(), |at| format!("{at} UTC"))),
            cell("").with([revoke]),
        ])
    });
    let rows: Vec<_> = rows.collect();
    let heads = row(["Name", "May", "Ends", "Last used", ""].map(cell));
    let list = (!rows.is_empty()).then(|| Piece::new(Kind::Table, "").with([heads].into_iter().chain(rows)));
    pieces.push(Piece::new(Kind::Card, "API tokens").with(
        [Piece::new(
            Kind::Words,
            "For scripts, sent as \"Authorization: Bearer …\". A token may never do more than your account, and none \
             can restore, change settings or accounts, or delete more than ten backups at once.",
        )]
        .into_iter()
        .chain(list)
        .chain([new_token(account)]),
    ));
    Ok(Sheet {
        title: "Account".to_owned(),
        sub: "Who you are here, where you are logged in, and what acts for you.".to_owned(),
        outcome: None,
        pieces,
    })
}

fn who(account: &Account) -> Piece {
    let download = if account.download { "yes" } else { "no" };
    let facts = Piece::new(Kind::Facts, "").with([
        fact("Username", &account.username),
        fact("Role", account.role.meaning()),
        fact("May download backups", download),
    ]);
    let more = account
        .may(Right::Administer)
        .then(|| Piece::new(Kind::Link, "Users: everybody's accounts and rights").named("/users"));
    Piece::new(Kind::Card, "You").with([facts].into_iter().chain(more))
}

fn password() -> Piece {
    Piece::new(Kind::Card, "Password").with([
        Piece::new(Kind::Words, "Changing it signs you out everywhere else."),
        Piece::new(Kind::Form, "Change password").named("/account/password").with([
            Piece::new(Kind::Password, "Present password").named("old"),
            Piece::new(Kind::NewPassword, "New password").named("password"),
            Piece::new(Kind::NewPassword, "New password again").named("repeat"),
        ]),
    ])
}

fn second_factor(codes_left: Option<i64>) -> Piece {
    let pieces = match codes_left {
        None => vec![
            Piece::new(
                Kind::Words,
                "Off. With it, a log-in also asks for a code of an authenticator app on your phone.",
            ),
            Piece::new(Kind::Form, "Set up a second factor").named("/account/second-factor"),
        ],
        Some(left) => vec![
            Piece::new(Kind::Words, format!("On. {left} of 10 recovery codes are left.")),
            Piece::new(Kind::Form, "Set up anew, with new recovery codes").named("/account/second-factor"),
            Piece::new(Kind::Form, "Turn off").named("/account/second-factor/off").filled("danger"),
        ],
    };
    Piece::new(Kind::Card, "Second factor").with(pieces)
}

fn new_token(account: &Account) -> Piece {
    let mut fields = vec![Piece::new(Kind::Field, "Name, such as the script's").named("label")];
    if account.may(Right::Download) {
        fields.push(Piece::new(Kind::Tick, "May download backups").named("download"));
    }
    if account.may(Right::Operate) {
        let what = "May make, verify, send, import and delete backups";
        fields.push(Piece::new(Kind::Tick, what).named("operate"));
    }
    let ends = [("90", "In 90 days"), ("365", "In a year"), ("", "Never")]
        .map(|(days, text)| Piece::new(Kind::Option, text).filled(days));
    fields.push(Piece::new(Kind::Choice, "Ends").named("days").filled("90").with(ends));
    Piece::new(Kind::Folded, "New token")
        .with([Piece::new(Kind::Form, "Make token").named("/account/tokens").with(fields)])
}

pub(super) fn row(cells: impl IntoIterator<Item = Piece>) -> Piece {
    Piece::new(Kind::Row, "").with(cells)
}

pub(super) fn cell(text: impl Into<String>) -> Piece {
    Piece::new(Kind::Cell, text)
}

fn fact(name: &str, text: &str) -> Piece {
    Piece::new(Kind::Fact, text).named(name)
}
