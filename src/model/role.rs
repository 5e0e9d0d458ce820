//! Roles of accounts, and the rights that addresses need.

/// The role of an account. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees backups, databases and jobs.
    Viewer,
    /// Creates, uploads, imports, verifies and deletes backups.
    Operator,
    /// Restores backups, changes settings and accounts.
    Admin,
}

impl Role {
    /// All roles, the least powerful first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name that is stored and sent.
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

    /// A label that explains the role.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer: sees everything, changes nothing",
            Self::Operator => "Operator: also creates, verifies, uploads, imports and deletes backups",
            Self::Admin => "Admin: also restores, changes settings and accounts",
        }
    }
}

/// The right that an address needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// [`Role::Viewer`] or more.
    View,
    /// Downloading backups, a right that is granted separately from the role.
    Download,
    /// [`Role::Operator`] or more.
    Operate,
    /// [`Role::Admin`].
    Administer,
    /// Being logged in as a user rather than with an API token: for the user's own account.
    Own,
}

impl Right {
    /// All rights.
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
