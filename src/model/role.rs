//! What an account may do.

/// How much an account may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees the list, the databases and what ran.
    Viewer,
    /// Makes, sends, imports, verifies and deletes backups.
    Operator,
    /// Restores, changes the settings and the accounts.
    Admin,
}

impl Role {
    /// Every one, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// As it is kept and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads [`Role::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What it means, for whoever chooses.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer: sees everything, changes nothing",
            Self::Operator => "Operator: also creates, verifies, uploads, imports and deletes backups",
            Self::Admin => "Admin: also restores, changes settings and accounts",
        }
    }
}

/// What an address needs of whoever asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// [`Role::Viewer`] or more.
    View,
    /// A right of its own: the content of backups leaves the desk.
    Download,
    /// [`Role::Operator`] or more.
    Operate,
    /// [`Role::Admin`].
    Administer,
    /// To be somebody, not a program: whatever concerns one's own account.
    Own,
}

impl Right {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::View, Self::Download, Self::Operate, Self::Administer, Self::Own];

    /// Its word in the document and the style sheet, which hides what a user may not do; nothing if every user has it.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::View | Self::Own => None,
            Self::Download => Some("download"),
            Self::Operate => Some("operate"),
            Self::Administer => Some("administer"),
        }
    }
}
