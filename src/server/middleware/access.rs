//! The access table: the right that each address needs. An address that is missing here needs an administrator; a page
//! that is missing needs a session.

use crate::api::off_site::{DeleteRemote, FetchBackups, RemoteBackups, UploadBackups};
use crate::api::recovery::{AdoptBackups, VerifyBackups};
use crate::api::server_pages::ReadPage;
use crate::api::{
    BundleBackups, CancelJob, CreateBackup, Databases, DeleteBackups, JobHistory, MatchingBackups,
    NamedBackups, ReadBackups, TryDatabase,
};
use crate::model::Right;
use http::Method;
use leptos::server_fn::ServerFn;

/// What the guard asks of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Public,
    /// An account with this right.
    Needs(Right),
}

/// The server functions that do not need an administrator. Their addresses come from their definitions, so renaming
/// one renames it here.
const FUNCTIONS: [(&str, Right); 17] = [
    (ReadPage::PATH, Right::Own),
    (BundleBackups::PATH, Right::Download),
    (Databases::PATH, Right::View),
    (JobHistory::PATH, Right::View),
    (MatchingBackups::PATH, Right::View),
    (NamedBackups::PATH, Right::View),
    (ReadBackups::PATH, Right::View),
    (RemoteBackups::PATH, Right::View),
    (AdoptBackups::PATH, Right::Operate),
    (CancelJob::PATH, Right::Operate),
    (CreateBackup::PATH, Right::Operate),
    (DeleteBackups::PATH, Right::Operate),
    (DeleteRemote::PATH, Right::Operate),
    (FetchBackups::PATH, Right::Operate),
    (TryDatabase::PATH, Right::Operate),
    (UploadBackups::PATH, Right::Operate),
    (VerifyBackups::PATH, Right::Operate),
];

/// What the guard asks of a request with this method and path.
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
    if let Some((_, right)) = FUNCTIONS.iter().find(|(function, _)| *function == path) {
        return *right;
    }
    match path {
        "/logout" | "/confirm" | "/account" => Right::Own,
        _ if beneath("/api/backups") => Right::View,
        _ if beneath("/api") => Right::Administer,
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

/// Whether the path can only mean a static file of the build: no escapes, no empty or hidden segments.
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

    /// One rule of `rights.css`: the right that a user lacks, and the selectors of what is then hidden.
    fn hidden() -> Vec<(Right, String)> {
        let style = include_str!("../../../style/rights.css");
        let rules = style.lines().filter_map(|line| line.strip_prefix("html[data-may]:not([data-may~=\""));
        let rules = rules.map(|rule| {
            let (word, selectors) = rule.split_once("\"])").unwrap();
            let right = Right::ALL.into_iter().find(|right| right.word() == Some(word));
            (right.unwrap_or_else(|| panic!("no right is called {word}")), selectors.to_owned())
        });
        rules.collect()
    }

    /// The ends of addresses, or their middles, that the attribute selectors in `selectors` name.
    fn addresses_in(selectors: &str) -> Vec<(bool, String)> {
        let names = ["action", "formaction", "href"];
        let attributes = selectors.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(a, _)| a);
        let addresses = attributes.filter_map(|attribute| {
            let (name, value) = attribute.split_once("=\"")?;
            let is_end = name.ends_with('$');
            names
                .contains(&name.trim_end_matches(['$', '*']))
                .then(|| (is_end, value.trim_end_matches('"').to_owned()))
        });
        addresses.collect()
    }

    #[test]
    fn the_style_sheet_hides_exactly_what_the_guard_refuses() {
        // Hidden by an attribute other than the address, or posted from a page without a link.
        let to_delete = "[formaction$=\"/delete\"]";
        let hidden_otherwise = [
            (BundleBackups::PATH, "button[name=\"format\"]"),
            (DeleteBackups::PATH, to_delete),
            (DeleteRemote::PATH, to_delete),
        ];
        let known = crate::server::router::addresses();
        let rules = hidden();
        assert_eq!(rules.len(), 3, "one rule for each right with a word");
        for (right, selectors) in &rules {
            let named = addresses_in(selectors);
            assert!(!named.is_empty());
            for (is_end, part) in named {
                let found: Vec<_> = known
                    .iter()
                    .filter(|path| if is_end { path.ends_with(&part) } else { path.contains(&part) })
                    .filter(|path| !path.starts_with("/api/backups/"))
                    .collect();
                assert!(!found.is_empty(), "rights.css hides {part}, which is no address");
                let needed = |path: &&String| {
                    let method = if path.starts_with("/api/") { Method::POST } else { Method::GET };
                    access(&method, path)
                };
                assert!(found.iter().any(|path| needed(path) == Access::Needs(*right)), "{part}: {found:?}");
                // Administrators are operators, so what is hidden from those who do not operate may need more.
                let implied = |path: &&String| {
                    needed(path) == Access::Needs(*right)
                        || *right == Right::Operate && needed(path) == Access::Needs(Right::Administer)
                };
                assert!(
                    found.iter().all(implied),
                    "rights.css hides {part} from users who may open {found:?}"
                );
            }
        }
        for (path, right) in FUNCTIONS.into_iter().filter(|(_, right)| right.word().is_some()) {
            let selectors = &rules.iter().find(|(of, _)| *of == right).unwrap().1;
            let by_address =
                addresses_in(selectors).iter().any(|(is_end, part)| *is_end && path.ends_with(part));
            let otherwise = hidden_otherwise.iter().find(|(of, _)| *of == path);
            let by_other = otherwise.is_some_and(|(_, selector)| selectors.contains(selector));
            assert!(by_address || by_other, "rights.css shows {path} to users who may not post to it");
        }
    }

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
