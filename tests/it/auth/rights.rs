//! Who may do what: roles, API tokens, the second factor, and the password once more.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::routes::{ADDRESSES, CHANGING_FUNCTIONS};
use crate::support::desk::{ACCOUNT, Answer, BROWSER, Desk, FORM, JSON, NOW};
use crate::support::holdfast::program;
use data_encoding::BASE32_NOPAD;
use holdfast::domain::accounts::api_tokens::{PREFIX, Scope};
use holdfast::domain::accounts::{Device, FRESH, FirstAccount, SESSION_IDLE};
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::model::{Right, Role};
use holdfast::server::auth::cookies::COOKIE_NAME;
use holdfast::server::pages::registry;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{Method, Request, StatusCode};
use totp_rs::Builder;

const PASSWORD: &str = "salt and slack water";
const BACKUP: &str = "backup_ledger_2026-11-22_00-00-00Z.dump.gz";
const FORBIDDEN: &str = "Your account is not allowed to do this.";

/// Makes an account and gives the cookie of a session of it.
fn another(desk: &Desk, username: &str, role: Role, download: bool) -> String {
    let accounts = desk.holdfast.accounts();
    accounts.add_user(username, &PASSWORD.into(), role, download).unwrap();
    let admitted = accounts.log_in(username, &PASSWORD.into(), &Device::default()).unwrap();
    format!("{COOKIE_NAME}={}", admitted.session().unwrap().reveal())
}

/// Asks with another cookie, or with a token.
async fn ask(desk: &Desk, who: &str, method: &str, path: &str, body: &str) -> Answer {
    let (name, value) = match who.strip_prefix("Bearer ") {
        Some(_) => (AUTHORIZATION, who),
        None => (COOKIE, who),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "holdfast.test")
        .header(ACCEPT, if path.starts_with("/api/") { JSON } else { BROWSER })
        .header(CONTENT_TYPE, FORM)
        .header(name, value);
    desk.send(request, body).await
}

fn cookie_of(answer: &Answer) -> String {
    let set = answer.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    let cookie =
        set.map(|cookie| cookie.split(';').next().unwrap()).find(|pair| pair.starts_with(COOKIE_NAME));
    cookie.unwrap().to_owned()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

/// How an address is asked for what it does.
fn method_of(path: &str) -> &'static str {
    let posted = CHANGING_FUNCTIONS.contains(&path)
        || ["/logout", "/archives", "/imports"].contains(&path)
        || registry::forms().iter().any(|(address, _)| *address == path);
    if posted { "POST" } else { "GET" }
}

/// What is left when everybody has tried everything: one who may not changes nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn each_role_gets_what_it_may_and_nothing_more() {
    let desk = Desk::new();
    desk.put(BACKUP, 10, 60);
    let accounts = desk.holdfast.accounts();
    let admin = accounts.users().unwrap()[0].id;
    let token = |label: &str, scope| {
        format!("Bearer {PREFIX}{}", accounts.make_token(admin, label, scope, None).unwrap().reveal())
    };
    let everything = Scope { download: true, operate: true };
    let who = [
        ("viewer", another(&desk, "viewer", Role::Viewer, false), Role::Viewer, false, false),
        ("viewer who downloads", another(&desk, "reader", Role::Viewer, true), Role::Viewer, true, false),
        ("operator", another(&desk, "operator", Role::Operator, false), Role::Operator, false, false),
        ("admin", another(&desk, "second", Role::Admin, true), Role::Admin, true, false),
        ("looking token", token("look", Scope::default()), Role::Viewer, false, true),
        ("token for everything", token("all", everything), Role::Operator, true, true),
    ];
    let (mut let_in, mut kept_out) = (0, 0);
    for (name, credential, role, download, program) in &who {
        for (address, right) in ADDRESSES {
            let Some(right) = right else { continue };
            let may = match right {
                Right::View => true,
                Right::Download => *download,
                Right::Operate => *role >= Role::Operator,
                Right::Administer => *role == Role::Admin,
                Right::Own => !program,
            };
            // Where it would end the session or the account that asks, who may is not tried.
            if may && (address == "/logout" || address == "/account/sessions/end" || address == "/events") {
                continue;
            }
            let path = address.replace("{file}", BACKUP).replace("{id}", "0");
            let answer = ask(&desk, credential, method_of(address), &path, "").await;
            let what = format!("{name}: {} {path}: {} {}", method_of(address), answer.status, answer.body);
            let refused = answer.status == StatusCode::FORBIDDEN
                && (answer.body.contains(FORBIDDEN) || answer.body.contains("Forbidden"));
            assert_eq!(refused, !may, "{what}");
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
            assert_ne!(answer.location(), "/login", "{what}");
            if may { let_in += 1 } else { kept_out += 1 }
        }
    }
    assert!(let_in > 100 && kept_out > 100, "{let_in} let in, {kept_out} kept out");
    assert!(desk.backup(BACKUP).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_for_everybody_is_refused_wherever_it_is_asked_for() {
    let desk = Desk::new();
    let viewer = another(&desk, "viewer", Role::Viewer, false);
    let sheet = "/api/read_page?search=&name=";
    assert_eq!(ask(&desk, &viewer, "GET", &format!("{sheet}account"), "").await.status, StatusCode::OK);
    for of in ["users"] {
        let answer = ask(&desk, &viewer, "GET", &format!("{sheet}{of}"), "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{of}: {}", answer.body);
        assert_eq!(desk.ask(&format!("{sheet}{of}")).await.status, StatusCode::OK, "the control, {of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_api_and_dies_with_its_scope_its_day_or_its_account() {
    let desk = Desk::new();
    desk.put(BACKUP, 10, 60);
    let accounts = desk.holdfast.accounts();
    let robot = accounts.add_user("robot", &PASSWORD.into(), Role::Operator, true).unwrap();
    let bearer = |scope, days| {
        let token = accounts.make_token(robot, "nightly", scope, days).unwrap();
        format!("Bearer {PREFIX}{}", token.reveal())
    };
    let all = bearer(Scope { download: true, operate: true }, None);
    let looks = bearer(Scope::default(), Some(1));
    let metadata = format!("/api/backups/{BACKUP}");
    let download = format!("/backups/{BACKUP}");
    assert_eq!(ask(&desk, &all, "GET", &metadata, "").await.json()["filename"], BACKUP);
    assert_eq!(ask(&desk, &all, "GET", &download, "").await.body.len(), 10);
    assert_eq!(ask(&desk, &looks, "GET", &metadata, "").await.status, StatusCode::OK);
    assert_eq!(ask(&desk, &looks, "GET", &download, "").await.status, StatusCode::FORBIDDEN);
    let create = ask(&desk, &all, "POST", "/api/create_backup", "database=ledger").await;
    assert_eq!(create.status, StatusCode::OK, "{}", create.body);
    desk.last_job().await;

    // Who it was is told by the audit log.
    let audit = std::fs::read_to_string(desk.at("data/audit.jsonl")).unwrap();
    assert!(audit.contains("robot (token nightly)"), "{audit}");

    // A wrong one is no way in, whatever else is shown with it.
    for wrong in ["Bearer holdfast_x", "Bearer", "bearer x y", &format!("Bearer {PREFIX}{}", "A".repeat(43))]
    {
        let request = desk.request("GET", &metadata).header(ACCEPT, BROWSER).header(AUTHORIZATION, wrong);
        let answer = desk.send(request, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{wrong}");
    }

    // What a proxy in front asks for is not meant for Holdfast.
    let basic = desk.request("GET", &metadata).header(ACCEPT, BROWSER).header(AUTHORIZATION, "Basic YTpi");
    assert_eq!(desk.send(basic, "").await.status, StatusCode::OK);

    // More than ten at once needs a person.
    let names: Vec<_> = (0..11).map(|i| format!("names[]=backup_{i}.dump.gz")).collect();
    let many = ask(&desk, &all, "POST", "/api/delete_backups", &names.join("&")).await;
    assert_eq!((many.status, many.body.as_str()), (StatusCode::FORBIDDEN, "\"Stale\""));
    let few = ask(&desk, &all, "POST", "/api/delete_backups", &names[..10].join("&")).await;
    assert_eq!(few.status, StatusCode::OK, "{}", few.body);

    desk.pass(24 * 60 * 60);
    assert_eq!(
        ask(&desk, &looks, "GET", &metadata, "").await.status,
        StatusCode::UNAUTHORIZED,
        "its day came"
    );
    assert_eq!(ask(&desk, &all, "GET", &metadata, "").await.status, StatusCode::OK);
    accounts.change_role(robot, Role::Viewer, false).unwrap();
    assert_eq!(ask(&desk, &all, "GET", &download, "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        ask(&desk, &all, "POST", "/api/create_backup", "database=ledger").await.status,
        StatusCode::FORBIDDEN
    );
    accounts.delete_user(robot).unwrap();
    assert_eq!(ask(&desk, &all, "GET", &metadata, "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let desk = Desk::new();
    for days in ["0", "-1", "soon"] {
        let refused = desk.form("/account/tokens", &format!("label=x&days={days}")).await;
        let page = desk.page(refused.location()).await.body;
        assert!(page.contains("Choose when the token expires."), "{days}: {page}");
    }
    let made = desk.form("/account/tokens", "label=night+script&operate=on&days=90").await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    assert!(!made.body.contains("<script"), "no script sees it");
    let token = between(&made.body, "<pre class=\"once\">", "</pre>").to_owned();
    assert!(token.starts_with(PREFIX));
    let bearer = format!("Bearer {token}");
    assert_eq!(ask(&desk, &bearer, "GET", "/api/databases", "").await.status, StatusCode::OK);
    let page = desk.page("/account").await;
    assert!(page.body.contains("night script") && page.body.contains("view operate"), "{}", page.body);
    assert!(!page.body.contains(&token[PREFIX.len()..]), "it is not shown again");
    let id = between(page.body.split_once("/account/tokens/revoke").unwrap().1, "name=\"id\" value=\"", "\"");
    let revoked = desk.form("/account/tokens/revoke", &format!("id={id}")).await;
    let told = desk.page(revoked.location()).await;
    assert!(told.body.contains("The token night script no longer works."), "{}", told.body);
    assert_eq!(ask(&desk, &bearer, "GET", "/api/databases", "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_needs_the_password_once_more_after_five_minutes() {
    const STALE: &str = "Enter your password again";
    let mut desk = Desk::new();
    let sftp = "entry[host]=backup.example&entry[port]=22&entry[username]=u&entry[auth]=password";
    let approve =
        format!("host=backup.example&port=22&key_type=ssh-ed25519&fingerprint=SHA256:{}", "A".repeat(43));
    let dangerous = [
        ("/api/save_sftp", sftp.to_owned()),
        ("/api/approve_host_key", approve),
        ("/api/trust_host_key", format!("{sftp}&line=SHA256:{}", "A".repeat(43))),
        ("/api/reset_sftp", String::new()),
        ("/api/start_restore", format!("file={BACKUP}&plan=1")),
        (
            "/api/delete_backups",
            (0..11).map(|i| format!("names[]=backup_{i}.dump.gz")).collect::<Vec<_>>().join("&"),
        ),
        (
            "/api/delete_remote",
            (0..11).map(|i| format!("names[]=backup_{i}.dump.gz")).collect::<Vec<_>>().join("&"),
        ),
    ];
    for (path, form) in &dangerous {
        let answer = desk.tell(path, form).await;
        assert!(!answer.body.contains(STALE) && !answer.body.contains("Stale"), "{path}: {}", answer.body);
    }
    let asked_for =
        async |page: &str| desk.page(page).await.body.contains(&format!("href=\"/confirm?next={page}\""));
    assert!(!asked_for("/users").await && !asked_for("/account").await);
    desk.pass(FRESH);
    assert!(asked_for("/users").await && asked_for("/account").await, "before a form is filled in");
    for (path, form) in &dangerous {
        let answer = desk.tell(path, form).await;
        assert!(answer.body.contains(STALE) || answer.body.contains("Stale"), "{path}: {}", answer.body);
    }
    assert_eq!(
        SftpAdmin::of(&desk.holdfast.destinations()).settings().unwrap().form.host,
        "",
        "reset was the last that was done"
    );
    // Deleting a few, and settings that send copies nowhere else, need nothing.
    assert_eq!(desk.tell("/api/delete_backups", "names[]=backup_x.dump.gz").await.status, StatusCode::OK);
    for (address, _) in registry::forms() {
        let needless = ["/account/password", "/account/sessions/end", "/account/tokens/revoke"];
        if !needless.contains(&address) {
            let page = if address.starts_with("/users") { "users" } else { "account" };
            let answer = desk.form(address, "").await;
            assert_eq!(answer.location(), format!("/confirm?next=%2F{page}"), "{address}: {}", answer.body);
        }
    }

    let wrong = desk.form("/confirm", "password=not+it&next=%2Fusers").await;
    assert_eq!(wrong.location(), "/confirm?error=wrong&next=%2Fusers");
    let right = desk.form("/confirm", "password=tide+marks+on+the+quay&next=%2Fusers").await;
    assert_eq!(right.location(), "/users");
    let (former, renewed) = (desk.cookie.clone(), cookie_of(&right));
    assert_ne!(former, renewed, "the session goes on under another token");
    assert_eq!(desk.page("/").await.location(), "/login", "the former is worth nothing");
    desk.cookie = renewed;
    let reset = desk.tell("/api/reset_sftp", "").await;
    assert!(reset.body.contains("SFTP settings reset"), "{}", reset.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_page_makes_changes_and_deletes_accounts() {
    let desk = Desk::new();
    let add = "username=keeper&password=salt+and+slack+water&repeat=salt+and+slack+water&role=operator";
    let tell = async |address: &str, form: &str| {
        let answer = desk.form(address, form).await;
        assert!(
            answer.location().starts_with("/users?outcome="),
            "{address}: {} {}",
            answer.status,
            answer.body
        );
        desk.page(answer.location()).await.body
    };
    assert!(tell("/users/add", add).await.contains("The account keeper was created."));
    assert!(tell("/users/add", add).await.contains("An account named keeper already exists."));
    let differ = add.replace("repeat=salt", "repeat=sweet").replace("keeper", "other");
    assert!(tell("/users/add", &differ).await.contains("The two passwords differ."));
    assert!(tell("/users/add", "username=x&role=viewer").await.contains("The password is too short."));
    let people = desk.holdfast.accounts().users().unwrap();
    let (admin, keeper) = (people[0].id, people[1].id);
    assert_eq!((people.len(), people[1].role, people[1].download), (2, Role::Operator, false));

    let log_in = || desk.holdfast.accounts().log_in("keeper", &PASSWORD.into(), &Device::default());
    let session = log_in().unwrap().session().unwrap();
    let page = tell("/users/change", &format!("id={keeper}&role=viewer&download=on")).await;
    assert!(page.contains("keeper now has the role viewer."), "{page}");
    assert!(
        desk.holdfast.accounts().session(&session).unwrap().is_none(),
        "nothing goes on under former rights"
    );
    let only = tell("/users/change", &format!("id={admin}&role=viewer")).await;
    assert!(only.contains("This is the only administrator"), "{only}");
    let own = tell("/users/delete", &format!("id={admin}&typed=admin")).await;
    assert!(own.contains("You cannot delete your own account."), "{own}");

    let new = format!("id={keeper}&password=another+good+one&repeat=another+good+one");
    assert!(tell("/users/password", &new).await.contains("The password of keeper is changed."));
    assert!(log_in().is_err());
    assert!(tell("/users/delete", &format!("id={keeper}&typed=keepr")).await.contains("Nothing was changed"));
    assert!(tell("/users/delete", &format!("id={keeper}&typed=keeper")).await.contains("is deleted"));
    assert!(
        tell("/users/delete", &format!("id={keeper}&typed=keeper"))
            .await
            .contains("This account no longer exists.")
    );
    assert!(tell("/users/delete", "").await.contains("has no known account"));
    assert_eq!(desk.holdfast.accounts().users().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session() {
    let mut desk = Desk::new();
    let accounts = desk.holdfast.accounts().clone();
    let log_in = |password: &str| accounts.log_in(ACCOUNT.0, &password.into(), &Device::default());
    let elsewhere = log_in(ACCOUNT.1).unwrap().session().unwrap();
    let wrong = "old=not+it&password=salt+and+slack+water&repeat=salt+and+slack+water";
    let answer = desk.form("/account/password", wrong).await;
    assert!(desk.page(answer.location()).await.body.contains("The current password is wrong"));
    assert!(accounts.session(&elsewhere).unwrap().is_some());
    let right = wrong.replace("not+it", "tide+marks+on+the+quay");
    let answer = desk.form("/account/password", &right).await;
    assert!(accounts.session(&elsewhere).unwrap().is_none());
    assert_eq!(desk.page("/").await.location(), "/login", "this session goes on under another token");
    desk.cookie = cookie_of(&answer);
    let told = desk.page(answer.location()).await;
    assert!(told.body.contains("The password is changed."), "{}", told.body);
    assert!(log_in(ACCOUNT.1).is_err() && log_in(PASSWORD).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_one_or_all() {
    let desk = Desk::new();
    let accounts = desk.holdfast.accounts();
    let device = Device { address: "192.0.2.7".to_owned(), agent: "a phone <b>".to_owned() };
    let elsewhere = accounts.log_in(ACCOUNT.0, &ACCOUNT.1.into(), &device).unwrap().session().unwrap();
    let page = desk.page("/account").await;
    assert!(page.body.contains("192.0.2.7") && page.body.contains("a phone &lt;b"), "{}", page.body);
    assert!(page.body.contains("this one"));
    let id = between(page.body.split_once("/account/sessions/end").unwrap().1, "name=\"id\" value=\"", "\"");
    desk.form("/account/sessions/end", &format!("id={id}")).await;
    assert!(accounts.session(&elsewhere).unwrap().is_none());
    assert_eq!(desk.page("/account").await.status, StatusCode::OK);
    let everywhere = desk.form("/account/sessions/end", "").await;
    assert_eq!(everywhere.location(), "/login");
    assert_eq!(desk.page("/account").await.location(), "/login?next=%2Faccount");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_asked_for_once_it_was_shown_to_work() {
    let desk = Desk::new();
    let offer = desk.form("/account/second-factor", "").await;
    assert!(offer.body.contains("data:image/svg+xml;base64,") && !offer.body.contains("<script"));
    let secret = between(&offer.body, "<pre class=\"once\">", "</pre>").to_owned();
    let secret = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    let totp = Builder::new()
        .with_secret(secret.into_boxed_slice())
        .with_account_name(ACCOUNT.0)
        .with_issuer(Some("Holdfast"))
        .build()
        .unwrap();
    let code = || totp.generate(desk.holdfast.now().millis().unsigned_abs() / 1000).to_string();
    let log_in = async |headers: Option<&str>, form: &str| {
        let mut request = Request::post("/login").header(HOST, "holdfast.test").header(CONTENT_TYPE, FORM);
        if let Some(cookie) = headers {
            request = request.header(COOKIE, cookie);
        }
        desk.send(request, form).await
    };
    let password = "username=admin&password=tide+marks+on+the+quay&next=%2Factivity";
    assert_eq!(log_in(None, password).await.location(), "/activity", "an offer asks for nothing yet");
    let wrong = desk.form("/account/second-factor/confirm", "code=000000").await;
    assert!(wrong.body.contains("This code is wrong or has expired"), "{}", wrong.body);
    assert_eq!(log_in(None, password).await.location(), "/activity");
    let on = desk.form("/account/second-factor/confirm", &format!("code={}", code())).await;
    let codes: Vec<_> =
        between(&on.body, "<pre class=\"once\">", "</pre>").lines().map(str::to_owned).collect();
    assert_eq!(codes.len(), 10, "{}", on.body);

    let halfway = async || {
        let answer = log_in(None, password).await;
        assert_eq!(answer.location(), "/login?step=code&next=%2Factivity");
        answer.headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    let cookie = halfway().await;
    assert!(cookie.starts_with("holdfast_halfway="), "the password alone gives no session: {cookie}");
    let page = desk.page("/login?step=code&next=%2Factivity").await;
    assert!(
        page.body.contains("name=\"code\"") && page.body.contains("value=\"/activity\""),
        "{}",
        page.body
    );
    let spent = format!("code={}&next=%2Factivity", code());
    let replayed = log_in(Some(&cookie), &spent).await;
    assert_eq!(replayed.location(), "/login?step=code&error=code&next=%2Factivity", "a code works once");
    desk.pass(30);
    let good = format!("code={}&next=%2Factivity", code());
    let answer = log_in(Some(&cookie), &good).await;
    assert_eq!(answer.location(), "/activity");
    let session = cookie_of(&answer);
    assert_eq!(ask(&desk, &session, "GET", "/", "").await.status, StatusCode::OK);
    desk.pass(30);
    let again = log_in(Some(&cookie), &format!("code={}", code())).await;
    assert_eq!(again.location(), "/login?step=code&error=code", "the first step is spent with the second");

    // A recovery code works once, however it is written.
    let recovery = codes[3].replace('-', " ").to_uppercase();
    let cookie = halfway().await;
    assert_eq!(log_in(Some(&cookie), &format!("code={recovery}")).await.location(), "/");
    let cookie = halfway().await;
    let used = log_in(Some(&cookie), &format!("code={recovery}")).await;
    assert_eq!(used.location(), "/login?step=code&error=code");
    assert!(desk.page("/account").await.body.contains("9 of 10 recovery codes are left"));

    // Five tries, then the password again.
    for _ in 0..4 {
        log_in(Some(&cookie), "code=123456").await;
    }
    let late = log_in(Some(&cookie), &format!("code={}", codes[4])).await;
    assert_eq!(late.location(), "/login?step=code&error=code", "even the right one");

    desk.form("/account/second-factor/off", "").await;
    assert_eq!(log_in(None, password).await.location(), "/activity");
}

#[test]
fn a_lost_password_and_a_lost_phone_are_mended_from_a_shell() {
    let desk = Desk::new();
    let accounts = desk.holdfast.accounts();
    let admin = accounts.users().unwrap()[0].id;
    let session =
        accounts.log_in(ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).unwrap().session().unwrap();
    accounts.offer_second_factor(admin).unwrap();
    let run = |name: &str| program(&desk.at(""), "", &["reset-account", name]).output().unwrap();
    let nobody = run("nobody");
    assert_eq!(nobody.status.code(), Some(1));
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(
        said.contains(&format!("There is no account named nobody. Existing accounts: {}.", ACCOUNT.0)),
        "{said}"
    );
    assert!(accounts.session(&session).unwrap().is_some());
    let reset = run(ACCOUNT.0);
    let said = String::from_utf8(reset.stdout).unwrap();
    let password = said.lines().nth(1).unwrap();
    assert!(accounts.session(&session).unwrap().is_none(), "signed out everywhere");
    assert!(accounts.log_in(ACCOUNT.0, &ACCOUNT.1.into(), &Device::default()).is_err());
    assert!(accounts.log_in(ACCOUNT.0, &password.into(), &Device::default()).unwrap().session().is_some());
    assert!(accounts.second_factor_offer(admin).is_err(), "what was offered is gone, too");
    let audit = std::fs::read_to_string(desk.at("data/audit.jsonl")).unwrap();
    assert!(audit.contains("\"event\":\"password-changed\"") && !audit.contains(password), "{audit}");
}

#[test]
fn a_damaged_account_lets_nobody_do_more_and_is_mended_from_a_shell() {
    for damage in [
        "password_hash = CAST(x'24FF' AS TEXT)",
        "password_hash = 'no hash'",
        "role = 'Admin'",
        "role = CAST(x'FF' AS TEXT)",
    ] {
        let desk = Desk::new();
        let accounts = desk.holdfast.accounts();
        let log_in = |password: &str| {
            let admitted = accounts.log_in(ACCOUNT.0, &password.into(), &Device::default());
            admitted.map(|admitted| accounts.session(&admitted.session().unwrap()).unwrap().unwrap())
        };
        assert_eq!(log_in(ACCOUNT.1).unwrap().role, Role::Admin);
        let state = rusqlite::Connection::open(desk.at("data/holdfast.db")).unwrap();
        assert_eq!(state.execute(&format!("UPDATE accounts SET {damage}"), []).unwrap(), 1);
        let known = accounts.ensure_first(ACCOUNT.0, Some(&ACCOUNT.1.into())).unwrap();
        assert!(matches!(known, FirstAccount::Exists), "{damage}");
        let of_role = damage.starts_with("role");
        assert_eq!(
            log_in(ACCOUNT.1).ok().map(|account| account.role),
            of_role.then_some(Role::Viewer),
            "{damage}"
        );
        let reset = desk.holdfast.reset_account(ACCOUNT.0).unwrap();
        assert_eq!(reset.promoted, of_role, "{damage}");
        let password = secrecy::ExposeSecret::expose_secret(&reset.password);
        assert_eq!(log_in(password).unwrap().role, Role::Admin, "{damage}");
        assert!(!desk.holdfast.reset_account(ACCOUNT.0).unwrap().promoted);
    }
}

/// What is kept of a second factor is sealed, and sealed anew with the key.
#[test]
fn a_second_factor_is_sealed_and_moves_with_the_key() {
    let desk = Desk::new();
    let accounts = desk.holdfast.accounts();
    let admin = accounts.users().unwrap()[0].id;
    let offer = accounts.offer_second_factor(admin).unwrap();
    let secret = secrecy::ExposeSecret::expose_secret(&offer.secret).to_owned();
    let bytes = BASE32_NOPAD.decode(secret.as_bytes()).unwrap();
    let database = std::fs::read(desk.at("data/holdfast.db")).unwrap();
    let log = std::fs::read(desk.at("data/holdfast.db-wal")).unwrap_or_default();
    for lies in [database, log] {
        let found = |needle: &[u8]| lies.windows(needle.len()).any(|window| window == needle);
        assert!(!found(&bytes) && !found(secret.as_bytes()));
    }
    let again = desk.reopened();
    let same = again.accounts().second_factor_offer(admin).unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&same.secret), &secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_a_year_makes_no_session_live_longer() {
    let desk = Desk::new();
    assert_eq!(desk.page("/").await.status, StatusCode::OK);
    desk.turn_to(holdfast::model::Stamp::from_millis(NOW - 60 * 1000));
    assert_eq!(desk.page("/").await.status, StatusCode::OK, "a minute is no matter");
    desk.turn_to(holdfast::model::Stamp::from_millis(NOW - 365 * 24 * 3600 * 1000));
    assert_eq!(desk.page("/").await.location(), "/login");
    const { assert!(SESSION_IDLE > FRESH) };
    assert_eq!(Method::GET, "GET");
    assert!(desk.page("/").await.headers.contains_key(LOCATION));
}
