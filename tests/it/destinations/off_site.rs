//! Off-site copies as the pages have them: set up, sent as jobs of their own, brought back, and never a
//! secret on the way out.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::desk::{Answer, BROWSER, Desk, FORM};
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::model::{JobId, JobState, SftpAuth, SftpForm};
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, REFERER};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// A desk whose copies go to a server that lets it in.
pub struct Harbour {
    pub desk: Desk,
    pub sshd: Sshd,
    /// What is ticked beside the usual.
    ticked: &'static str,
}

impl Harbour {
    pub async fn open() -> Self {
        Self::at(Sshd::start(), "").await
    }

    async fn at(sshd: Sshd, ticked: &'static str) -> Self {
        let desk = Desk::with(&["ledger"]);
        let made = desk.tell("/api/generate_sftp_key", "").await.json();
        assert!(made["outcome"]["good"].as_str().unwrap().contains("key pair"), "{made}");
        sshd.authorize(
            desk.ask("/api/sftp_settings").await.json()["settings"]["public_key"].as_str().unwrap(),
        );
        let harbour = Self { desk, sshd, ticked };
        let tested = harbour.post("test_sftp", "").await;
        let found = &tested["checklist"]["host_key"];
        assert_eq!(found["status"], "unknown", "{tested}");
        let [kind, sum] =
            ["key_type", "fingerprint"].map(|key| found[key].as_str().unwrap().replace('+', "%2B"));
        let port = harbour.sshd.port;
        let approval = format!("host=127.0.0.1&port={port}&key_type={kind}&fingerprint={sum}");
        let approved = harbour.desk.tell("/api/approve_host_key", &approval).await.json();
        assert!(approved["outcome"]["good"].as_str().unwrap().contains("approved"), "{approved}");
        let tested = harbour.post("test_sftp", "").await;
        assert_eq!(tested["outcome"]["bad"], json!([]), "{tested}");
        assert_eq!(
            harbour.desk.ask("/api/sftp_settings").await.json()["settings"]["form"]["host"],
            "",
            "a test saves nothing"
        );
        let saved = harbour.post("save_sftp", "").await;
        assert_eq!(saved["outcome"]["good"], "SFTP settings saved.", "{saved}");
        harbour
    }

    fn form(&self) -> String {
        let user = Sshd::user();
        let port = self.sshd.port;
        format!(
            "entry[enabled]=on&entry[host]=127.0.0.1&entry[port]={port}&entry[username]={user}&entry[auth]=ssh-key&entry[remote_directory]=copies{}",
            self.ticked
        )
    }

    async fn post(&self, function: &str, more: &str) -> Value {
        let answer = self.desk.tell(&format!("/api/{function}"), &format!("{}{more}", self.form())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()
    }

    /// A form posted without JavaScript.
    async fn plain(&self, function: &str, form: &str) -> Answer {
        let request = self
            .desk
            .request("POST", &format!("/api/{function}"))
            .header(ACCEPT, BROWSER)
            .header(CONTENT_TYPE, FORM)
            .header(REFERER, "http://holdfast.test/?sort=-size");
        self.desk.send(request, form).await
    }

    fn copy(&self, name: &str) -> Vec<u8> {
        fs::read(self.sshd.account().join("copies").join(name)).unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_off_site_is_brought_back_and_restored() {
    let harbour = Harbour::open().await;
    let desk = &harbour.desk;
    harbour.plain("create_backup", "database=ledger&upload=on").await;
    desk.holdfast.jobs().all_ended().await;
    let file = desk.holdfast.catalog().list().unwrap()[0].name.clone();
    desk.holdfast.backups().delete(&[file.to_string()]).unwrap();
    let page = desk.page(&format!("/restore?file={file}")).await.body;
    assert!(
        page.contains("off-site only; Holdfast downloads it first") && !page.contains(">Verify<"),
        "{page}"
    );
    let form = format!("entry[file]={file}&entry[place]=beside:ledger&entry[name]=back.db");
    let planned = harbour.plain("plan_restore", &form).await.location().to_owned();
    let page = desk.page(&planned).await.body;
    assert!(
        page.contains("off-site; Holdfast downloads it first")
            && page.contains("nothing: the database is new"),
        "{page}"
    );
    let plan = planned.split_once("plan=").unwrap().1;
    harbour.plain("start_restore", &format!("file={file}&plan={plan}")).await;
    desk.holdfast.jobs().all_ended().await;
    let JobState::Reported { message, detail } = desk.holdfast.jobs().history().unwrap().remove(0).state
    else {
        panic!("{:?}", desk.holdfast.jobs().history());
    };
    assert!(message.contains("1 table with 3 rows"), "{message}");
    assert!(detail.unwrap().contains("was downloaded from the destination"));
    assert!(desk.at("back.db").exists() && desk.backup(file.as_str()).exists());
    // What is nowhere is refused, whatever the plan says.
    let nowhere = "entry[file]=backup_ledger_none.dump.gz&entry[place]=beside:ledger&entry[name]=x.db";
    let planned = harbour.plain("plan_restore", nowhere).await.location().to_owned();
    let plan = planned.split_once("plan=").unwrap().1;
    harbour.plain("start_restore", &format!("file=backup_ledger_none.dump.gz&plan={plan}")).await;
    desk.holdfast.jobs().all_ended().await;
    let state = desk.holdfast.jobs().history().unwrap().remove(0).state;
    assert!(
        matches!(&state, JobState::Failed { message, .. } if message.contains("There is no")),
        "{state:?}"
    );
    assert!(!desk.at("x.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_created_and_sent_and_both_are_told() {
    let harbour = Harbour::open().await;
    let desk = &harbour.desk;
    let led = harbour.plain("create_backup", "database=ledger&upload=on").await;
    assert_eq!(led.location(), "/?sort=-size&job=1", "{} {}", led.status, led.body);
    desk.holdfast.jobs().all_ended().await;
    let JobState::Done { file, then: Some(JobId(2)), .. } = desk.holdfast.jobs().get(JobId(1)).unwrap().state
    else {
        panic!("{:?}", desk.holdfast.jobs().history());
    };
    let page = desk.page(led.location()).await.body;
    assert!(page.contains(&format!("Created {file}")), "{page}");
    assert!(page.contains(&format!("Uploaded {file}")) && page.contains("read back and is identical"));
    assert!(page.contains("off-site verified") && page.contains("1 of 1 on 127.0.0.1"));
    for name in [file.to_string(), file.manifest()] {
        assert!(harbour.copy(&name) == fs::read(desk.backup(&name)).unwrap(), "{name}");
    }
    assert_eq!(desk.ask("/api/job_history").await.json()[0]["task"], json!({ "does": "upload", "of": file }));

    // Lost here, it comes back the same; deleted there, it stays here.
    let bytes = fs::read(desk.backup(file.as_str())).unwrap();
    desk.holdfast.backups().delete(&[file.to_string()]).unwrap();
    let remote = desk.ask("/api/remote_backups").await.json();
    assert_eq!(remote["found"]["Ok"][0]["place"], "there", "{remote}");
    let names = format!("names[]={file}");
    let back = harbour.plain("fetch_backups", &names).await;
    desk.holdfast.jobs().all_ended().await;
    assert!(desk.page(back.location()).await.body.contains(&format!("Fetched {file}")));
    assert!(fs::read(desk.backup(file.as_str())).unwrap() == bytes);
    let question = desk.page(&format!("/delete?there=on&{names}")).await.body;
    assert!(
        question.contains("Delete 1 copy off-site?") && question.contains("/api/delete_remote"),
        "{question}"
    );
    let gone = harbour.plain("delete_remote", &names).await;
    assert!(gone.location().starts_with("/remote?outcome="), "{}", gone.location());
    assert!(desk.page(gone.location()).await.body.contains("Deleted off-site: "));
    assert!(harbour.copy(file.as_str()).is_empty() && desk.backup(file.as_str()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_is_told_apart_and_undoes_nothing() {
    let mut harbour = Harbour::open().await;
    harbour.sshd.stop();
    let led = harbour.plain("create_backup", "database=ledger&upload=on").await;
    let desk = &harbour.desk;
    desk.holdfast.jobs().all_ended().await;
    let page = desk.page(led.location()).await.body;
    assert!(page.contains("Created backup_ledger_") && page.contains("Upload of backup_ledger_"), "{page}");
    assert!(page.contains("refuses the connection") && page.contains("The local backup is untouched."));
    assert!(page.contains("upload failed"));
    assert_eq!(desk.holdfast.catalog().list().unwrap().len(), 1);
    // The database itself is not failing.
    assert!(!page.contains("last run failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn selected_backups_are_queued_and_what_cannot_be_is_named() {
    let harbour = Harbour::open().await;
    let desk = &harbour.desk;
    desk.put("backup_a.dump.gz", 1000, 60);
    desk.put("backup_b.dump.gz", 2000, 60);
    let form = "names[]=backup_a.dump.gz&names[]=backup_gone.dump.gz&names[]=backup_b.dump.gz&names[]=../x";
    let led = harbour.plain("upload_backups", form).await;
    assert!(led.location().starts_with("/?sort=-size&job=1,2&outcome="), "{}", led.location());
    desk.holdfast.jobs().all_ended().await;
    let page = desk.page(led.location()).await.body;
    for words in ["Uploaded backup_a.dump.gz", "Uploaded backup_b.dump.gz", "backup_gone.dump.gz: ", "../x: "]
    {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(harbour.copy("backup_b.dump.gz").len(), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_store_is_off_nothing_is_sent_and_the_next_step_is_named() {
    let desk = Desk::with(&["ledger"]);
    desk.put("backup_a.dump.gz", 1000, 60);
    for (function, form) in [("upload_backups", "names[]=backup_a.dump.gz"), ("fetch_backups", "names[]=x")] {
        let told = desk.tell(&format!("/api/{function}"), form).await;
        assert_eq!(told.status, StatusCode::OK);
        assert!(
            told.json()["bad"][0].as_str().unwrap().contains("Turn it on under Settings"),
            "{}",
            told.body
        );
    }
    let refused = desk.tell("/api/create_backup", "database=ledger&upload=on").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(desk.holdfast.jobs().history().unwrap().is_empty());
    assert!(desk.page("/remote").await.body.contains("Off-site storage is off"));
    assert!(!desk.page("/").await.body.contains("not sent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_named_and_nothing_is_stored() {
    let desk = Desk::with(&["ledger"]);
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3nqRZ7Z0yqyqfDPWUkSVkjXzVhH3D0hT6v1i7cV0aB x";
    for (form, field) in [
        (
            "entry[enabled]=on&entry[host]=sftp://nas&entry[port]=22&entry[username]=u&entry[auth]=password&entry[password]=p",
            "Host: ",
        ),
        (
            "entry[enabled]=on&entry[host]=nas&entry[port]=0&entry[username]=u&entry[auth]=password&entry[password]=p",
            "Port: ",
        ),
        (
            "entry[enabled]=on&entry[host]=nas&entry[port]=22&entry[username]=&entry[auth]=password&entry[password]=p",
            "Username: ",
        ),
        (
            "entry[enabled]=on&entry[host]=nas&entry[port]=22&entry[username]=u&entry[auth]=password&entry[password]=",
            "Password: ",
        ),
        (
            &format!(
                "entry[enabled]=on&entry[host]=nas&entry[port]=22&entry[username]=u&entry[auth]=ssh-key&entry[private_key]={}",
                public.replace('+', "%2B")
            ),
            "SSH private key: ",
        ),
        ("", "Port"),
    ] {
        let told = desk.tell("/api/save_sftp", form).await;
        if told.status == StatusCode::OK {
            let told = told.json();
            let said = told["outcome"]["bad"][0].as_str().unwrap_or_default();
            assert!(said.contains(field) || field == "Port", "{form}: {told}");
        } else {
            assert_eq!(told.status, StatusCode::BAD_REQUEST, "{form}: {}", told.body);
        }
    }
    let kept = SftpAdmin::of(&desk.holdfast.destinations()).settings().unwrap();
    assert_eq!((kept.form, kept.password_set), (SftpForm::default(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_ever_holds_a_secret() {
    let harbour = Harbour::open().await;
    let desk = &harbour.desk;
    let secrets = "&entry[password]=canary-password-7&entry[passphrase]=canary-passphrase-7";
    let mut answers = vec![
        harbour.post("test_sftp", secrets).await.to_string(),
        harbour.post("save_sftp", secrets).await.to_string(),
        harbour.post("save_sftp", "&entry[private_key]=canary-key-7").await.to_string(),
    ];
    for page in ["/settings/sftp", "/", "/remote", "/activity", "/api/sftp_settings"] {
        answers.push(desk.page(page).await.body);
    }
    let led = harbour.plain("test_sftp", &format!("{}{secrets}", harbour.form())).await;
    assert!(led.location().starts_with("/settings/sftp?outcome="), "{}", led.location());
    answers.push(led.location().to_owned());
    answers.push(desk.page(led.location()).await.body);
    for answer in answers {
        assert!(!answer.contains("canary") && !answer.contains("PRIVATE KEY-----\n"), "{answer}");
    }
    let settings = SftpAdmin::of(&desk.holdfast.destinations()).settings().unwrap();
    assert!(settings.password_set && settings.private_key_set && settings.form.auth == SftpAuth::SshKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_shell_a_new_backup_is_sent_where_all_are() {
    let mut harbour = Harbour::open().await;
    harbour.post("save_sftp", "&entry[send_new]=on").await;
    let run = |harbour: &Harbour| {
        let ledger = harbour.desk.at("ledger.db");
        Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["backup", "ledger"])
            .env_clear()
            .env("HOLDFAST_DATA_DIR", harbour.desk.at("data"))
            .env("HOLDFAST_DATABASES", format!("ledger=sqlite://{}", ledger.display()))
            .output()
            .unwrap()
    };
    let made = run(&harbour);
    assert!(made.status.success(), "{made:?}");
    let file = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(
        !harbour.copy(&file).is_empty()
            && harbour.copy(&file) == fs::read(harbour.desk.backup(&file)).unwrap()
    );
    // Another host key: the backup stays, and the command says what was not done.
    harbour.sshd.stop();
    harbour.sshd.serve(&["rsa"]);
    let refused = run(&harbour);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("was created, but not uploaded") && said.contains("a key of another type: ssh-rsa"),
        "{said}"
    );
    assert_eq!(harbour.desk.holdfast.catalog().list().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_a_drop_box_is_shown_as_sent_and_never_counted_as_checked() {
    let sshd = Sshd::odd("deny=OPEN-READ,LSTAT,FSTAT,OPENDIR");
    let harbour = Harbour::at(sshd, "&entry[write_only]=on").await;
    let desk = &harbour.desk;
    let tried = harbour.plain("test_sftp", &harbour.form()).await;
    for address in ["/settings/sftp", tried.location()] {
        let page = desk.page(address).await.body;
        let (_, field) = page.split_once("name=\"entry[write_only]\"").unwrap();
        let (field, label) = field.split_once('>').unwrap();
        assert!(field.contains("checked") && label.contains("Write-only drop box"), "{address}: {field}");
    }
    let led = harbour.plain("create_backup", "database=ledger&upload=on").await;
    desk.holdfast.jobs().all_ended().await;
    let file = desk.holdfast.catalog().list().unwrap()[0].name.to_string();
    assert!(harbour.copy(&file) == fs::read(desk.backup(&file)).unwrap());
    for address in [led.location(), "/", "/activity"] {
        let page = desk.page(address).await.body;
        assert!(!page.contains("off-site verified") && !page.contains("was read back"), "{address}: {page}");
        assert!(page.contains("ent, not read back"), "{address}: {page}");
    }
    let list = desk.page("/").await.body;
    assert!(list.contains(">sent, not read back<") && list.contains("0 of 1 on 127.0.0.1"), "{list}");
    let remote = desk.page("/remote").await.body;
    assert!(remote.contains("is set up as a “Write-only drop box”"), "{remote}");
    // Unticked, it is a server that lets nobody read, and the test says what would do.
    let unticked = harbour.form().replace(harbour.ticked, "");
    let tested = desk.tell("/api/test_sftp", &unticked).await.json();
    let said = tested["outcome"]["bad"][0].as_str().unwrap();
    assert!(said.contains("reads back what it sends") && said.contains("“Write-only drop box”"), "{said}");
}
