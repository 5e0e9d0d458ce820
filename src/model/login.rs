//! Problems with a login or a set-up: a short code in the address, and a sentence on the page.

/// The sentence for the `error` code in the address of the login or set-up page; `None` if the code is unknown.
pub fn login_message(code: &str) -> Option<&'static str> {
    LoginProblem::ALL.into_iter().find(|problem| problem.code() == code).map(LoginProblem::message)
}

/// Why a login or a set-up failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginProblem {
    /// A field is absent or empty.
    Missing,
    /// No account has this username and password.
    Wrong,
    /// The code of the second factor is wrong, was already used, or has expired.
    Code,
    /// Too many failures from one address.
    Slow,
    /// Too many simultaneous logins.
    Busy,
    /// The set-up link does not work or has expired.
    Link,
    /// The password and its repetition differ.
    Repeat,
    /// The password has too few characters.
    Short,
    /// The password has too many characters.
    Long,
    /// The password is a very common one.
    Common,
    /// The username is empty, too long, or has unprintable characters.
    Username,
    /// The server failed.
    Failed,
}

impl LoginProblem {
    /// All problems.
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::Wrong,
        Self::Code,
        Self::Slow,
        Self::Busy,
        Self::Link,
        Self::Repeat,
        Self::Short,
        Self::Long,
        Self::Common,
        Self::Username,
        Self::Failed,
    ];

    /// The code in the address.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Code => "code",
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::Link => "link",
            Self::Repeat => "repeat",
            Self::Short => "short",
            Self::Long => "long",
            Self::Common => "common",
            Self::Username => "username",
            Self::Failed => "failed",
        }
    }

    /// The sentence on the page: what is wrong, and the next step.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Missing => "Fill in every field.",
            Self::Wrong => "Username or password is wrong.",
            Self::Code => "This code is wrong or has expired. Enter the next one your app shows.",
            Self::Slow => "Too many failed attempts from your address. Wait a minute, then try again.",
            Self::Busy => "Too many logins are running at the moment. Try again in a few seconds.",
            Self::Link => {
                "This set-up link was already used, or has expired after 30 minutes. Log in, or restart Holdfast and use the new link in its log."
            }
            Self::Repeat => "The two passwords differ. Type the same one twice.",
            Self::Short => "The password is too short. Use at least 12 characters.",
            Self::Long => "The password is too long. Use at most 128 characters.",
            Self::Common => "This password is too common. Choose another.",
            Self::Username => "This username cannot be used. Use 1 to 64 printable characters.",
            Self::Failed => "Holdfast could not read its accounts. Try again; the reason is in its log.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_its_own_sentence() {
        let codes: HashSet<_> = LoginProblem::ALL.map(LoginProblem::code).into();
        assert_eq!(codes.len(), LoginProblem::ALL.len());
        for problem in LoginProblem::ALL {
            assert_eq!(login_message(problem.code()), Some(problem.message()));
        }
        assert_eq!(login_message("<script>"), None);
    }
}
