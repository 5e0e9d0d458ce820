//! What each address needs of whoever asks for it. Whatever is not named needs an administrator, or, to look, a
//! session.

use crate::model::Right;
use http::Method;

/// What a request needs to be let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// Somebody with this right.
    Needs(Right),
}

/// Server functions that only look.
const LOOKING: [&str; 6] =
    ["databases", "job_history", "matching_backups", "named_backups", "read_backups", "remote_backups"];

/// Server functions that work on backups.
const OPERATING: [&str; 9] = [
    "adopt_backups",
    "cancel_job",
    "create_backup",
    "delete_backups",
    "delete_remote",
    "fetch_backups",
    "try_database",
    "upload_backups",
    "verify_backups",
];

/// What a request with this method and path needs.
pub fn access(method: &Method, path: &str) -> Access {
    let reads = method == Method::GET || method == Method::HEAD;
    let posts = method == Method::POST;
    let public = match path {
        "/login" | "/setup" => reads || posts,
        "/healthz" | "/favicon.svg" | "/robots.txt" => reads,
        "/theme" | "/csp-report" => posts,
        _ => reads && path.strip_prefix("/pkg/").is_some_and(is_plain),
    };
    if public { Access::Public } else { Access::Needs(right(reads, path)) }
}

fn right(reads: bool, path: &str) -> Right {
    let beneath = |parent: &str| path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'));
    if let Some(function) = path.strip_prefix("/api/") {
        return match function {
            // Which of the sheets is read says what more it needs.
            "read_sheet" => Right::Own,
            "bundle_backups" => Right::Download,
            _ if LOOKING.contains(&function) || function.starts_with("backups/") => Right::View,
            _ if OPERATING.contains(&function) => Right::Operate,
            _ => Right::Administer,
        };
    }
    match path {
        "/logout" | "/confirm" | "/account" => Right::Own,
        "/archives" => Right::Download,
        "/delete" | "/import" | "/imports" => Right::Operate,
        "/users" | "/audit" | "/audit.jsonl" => Right::Administer,
        _ if beneath("/account") => Right::Own,
        _ if beneath("/backups") || beneath("/archives") => Right::Download,
        _ if beneath("/settings") || beneath("/users") => Right::Administer,
        _ if reads => Right::View,
        _ => Right::Administer,
    }
}

/// The path of a static file as the build makes them, so that none can be taken for another.
fn is_plain(path: &str) -> bool {
    let segment = |text: &str| {
        !text.is_empty()
            && !text.starts_with('.')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    path.split('/').all(segment)
}

#[cfg(test)]
mod tests {
    use crate::server::middleware::access::*;

    #[test]
    fn only_the_named_is_public() {
        let public = [
            ("GET", "/login"),
            ("HEAD", "/login"),
            ("POST", "/login"),
            ("GET", "/setup"),
            ("POST", "/setup"),
            ("GET", "/healthz"),
            ("GET", "/favicon.svg"),
            ("GET", "/robots.txt"),
            ("GET", "/pkg/holdfast.0a1b-2_c.wasm"),
            ("GET", "/pkg/fonts/a.woff2"),
            ("POST", "/theme"),
        ];
        for (method, path) in public {
            assert_eq!(access(&method.parse().unwrap(), path), Access::Public, "{method} {path}");
        }
        let closed = [
            ("GET", "/"),
            ("POST", "/"),
            ("GET", ""),
            ("GET", "*"),
            ("DELETE", "/login"),
            ("GET", "/login/"),
            ("GET", "//login"),
            ("GET", "/Login"),
            ("GET", "/%6cogin"),
            ("GET", "/login;x"),
            ("POST", "/healthz"),
            ("GET", "/theme"),
            ("POST", "/logout"),
            ("GET", "/pkg"),
            ("GET", "/pkg/"),
            ("POST", "/pkg/a.js"),
            ("GET", "/pkg/../backups/x"),
            ("GET", "/pkg/%2e%2e/backups/x"),
            ("GET", "/pkg/a//b"),
            ("GET", "/pkg/.hidden"),
            ("GET", "/pkg/a\\b"),
            ("GET", "/api/create_backup"),
            ("GET", "/backups/x"),
        ];
        for (method, path) in closed {
            assert_ne!(access(&method.parse().unwrap(), path), Access::Public, "{method} {path}");
        }
    }
}
