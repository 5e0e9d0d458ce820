//! Uploading over SFTP: whole, read back, resumed, never over another file, and never what is damaged here.

use crate::destinations::harbour::{Harbour, NAME, both, fault, name, options};
use crate::support::desk::Desk;
use crate::support::noise::noise;
use crate::support::sshd::Sshd;
use holdfast::domain::destinations::fault::FaultKind;
use holdfast::domain::destinations::sftp::administration::SftpAdmin;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::domain::jobs::Progress;
use holdfast::model::HostKey;
use holdfast::model::OffSite;
use holdfast::model::Phase;
use holdfast::model::SftpAuth;
use holdfast::model::SftpForm;
use holdfast::model::Stamp;
use holdfast::model::Whereabouts;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;

#[test]
fn a_backup_arrives_whole_with_its_manifest_and_is_read_back() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 3_000_001);
    let phases = RefCell::new(Vec::new());
    let sent = harbour
        .upload_with(&Cancel::default(), &|phase, _, _| {
            if phases.borrow().last() != Some(&phase) {
                phases.borrow_mut().push(phase);
            }
        })
        .unwrap();
    assert_eq!(sent.size, 3_000_001);
    assert!(sent.verified && !sent.already_there && sent.resumed == 0);
    assert_eq!(sent.durable, Some(true), "this server can sync");
    assert_eq!(fs::read(harbour.copy()).unwrap(), content);
    assert_eq!(harbour.names(), both());
    assert_eq!(fs::metadata(harbour.copy()).unwrap().permissions().mode() & 0o777, 0o600);
    let at = Stamp::from_millis(1_795_401_667_123);
    assert_eq!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Verified { at });
    let expected = [Phase::Connecting, Phase::Sending, Phase::ReadingBack, Phase::Publishing];
    assert_eq!(*phases.borrow(), expected);
    for size in [1, 29_999, 30_000, 30_001, 2_100_000, 4_200_001] {
        fs::remove_dir_all(harbour.copies()).unwrap();
        let content = harbour.put(NAME, size);
        harbour.upload().unwrap();
        assert_eq!(fs::read(harbour.copy()).unwrap(), content, "{size}");
    }
}

/// Servers ask for new keys after so much traffic or time: OpenSSH after a gibibyte of `ChaCha20`, others after
/// less. This one asks some 300 times an upload. With 512 KiB a read, every fifth upload broke here.
#[test]
fn an_upload_survives_new_keys_on_the_way_there_and_back() {
    for cipher in ["aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        let harbour = Harbour::at(Sshd::with(&format!("RekeyLimit 1M\nCiphers {cipher}\n")), options());
        let content = harbour.put(NAME, 150 << 20);
        let sent = harbour.upload().unwrap();
        assert!(sent.verified && sent.resumed == 0);
        assert!(fs::read(harbour.copy()).unwrap() == content);
        let asked = harbour.sshd.log().matches("rekeying out").count();
        assert!(asked > 100, "new keys were asked for {asked} times only");
    }
}

#[test]
fn an_equal_copy_is_a_success_and_any_other_is_kept() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 100_000);
    harbour.upload().unwrap();
    let again = harbour.upload().unwrap();
    assert!(again.already_there && again.verified, "{again:?}");
    fs::remove_file(harbour.copies().join(format!("{NAME}.manifest.json"))).unwrap();
    assert!(harbour.upload().unwrap().already_there);
    assert_eq!(harbour.names(), both(), "a manifest that was lost there is sent again");

    let mut altered = content.clone();
    altered[50_000] ^= 1;
    for (what, there) in [("one bit", altered), ("shorter", content[..10].to_vec()), ("empty", Vec::new())] {
        harbour.put_copy(NAME, &there);
        let error = fault(harbour.upload());
        assert_eq!(error.kind, FaultKind::Differs, "{what}: {error}");
        assert!(error.sentence.contains(NAME) && error.sentence.contains("127.0.0.1"), "{error}");
        assert_eq!(fs::read(harbour.copy()).unwrap(), there, "{what}: it is kept");
        assert_eq!(fs::read(harbour.dir.path().join(NAME)).unwrap(), content, "{what}: so is ours");
        assert!(matches!(harbour.destinations.copy_of(&name()).unwrap(), OffSite::Failed { .. }));
    }
    for kind in ["directory", "link"] {
        fs::remove_dir_all(harbour.copies()).unwrap();
        fs::create_dir(harbour.copies()).unwrap();
        Sshd::give(&harbour.copies());
        let target = harbour.sshd.account().join("elsewhere");
        fs::write(&target, &content).unwrap();
        match kind {
            "directory" => fs::create_dir(harbour.copy()).unwrap(),
            _ => symlink(&target, harbour.copy()).unwrap(),
        }
        assert_eq!(fault(harbour.upload()).kind, FaultKind::Taken, "{kind}");
        assert_eq!(harbour.names(), [NAME], "{kind}");
        assert_eq!(fs::read(&target).unwrap(), content);
    }
    fs::remove_dir_all(harbour.copies()).unwrap();
    harbour.put_copy(&format!("{NAME}.manifest.json"), b"{}");
    assert_eq!(fault(harbour.upload()).kind, FaultKind::Differs, "another manifest");
    assert_eq!(harbour.names(), [format!("{NAME}.manifest.json")], "and no draft is left");
}

#[test]
fn a_file_here_that_is_not_what_its_manifest_says_is_never_sent() {
    let harbour = Harbour::new();
    let content = harbour.put(NAME, 5_000_000);
    let path = harbour.dir.path().join(NAME);
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = content.clone();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    };
    for (what, change) in [
        ("one bit", &(|bytes: &mut Vec<u8>| bytes[4_000_000] ^= 1) as &dyn Fn(&mut Vec<u8>)),
        ("shorter", &|bytes| bytes.truncate(4_999_999)),
        ("longer", &|bytes| bytes.push(0)),
        ("empty", &Vec::clear),
    ] {
        damage(change);
        let words = harbour.upload().unwrap_err().to_string();
        assert!(words.contains(NAME) && words.contains("was not uploaded"), "{what}: {words}");
        assert_eq!(harbour.names(), [""; 0], "{what}");
    }
    damage(&|_| ());
    harbour.upload().unwrap();
    fs::write(harbour.dir.path().join(format!("{NAME}.manifest.json")), "{").unwrap();
    assert!(harbour.upload().unwrap_err().to_string().contains("manifest cannot be read"));
    // What came from elsewhere has no manifest, and goes without one.
    let old = "backup_2020-01-02_03-04-05.dump.gz";
    fs::write(harbour.dir.path().join(old), "old").unwrap();
    let sent = harbour.destinations.upload(&old.parse().unwrap(), &Cancel::default(), &|_, _, _| ());
    assert!(sent.unwrap().verified);
    assert!(harbour.copies().join(old).exists());
}

#[test]
fn what_an_earlier_try_left_is_compared_before_it_is_believed() {
    let harbour = Harbour::new();
    let size = 2_000_000;
    let content = harbour.put(NAME, size);
    let draft = format!(".part-{NAME}");
    for tenth in 1..=10 {
        let _ = fs::remove_dir_all(harbour.copies());
        let begun = size / 10 * tenth;
        harbour.put_copy(&draft, &content[..begun]);
        let sent = harbour.upload().unwrap();
        assert_eq!(sent.resumed, begun as u64);
        assert_eq!(fs::read(harbour.copy()).unwrap(), content);
        assert_eq!(harbour.names(), both());

        fs::remove_dir_all(harbour.copies()).unwrap();
        let mut altered = content[..begun].to_vec();
        altered[begun * (tenth - 1) / 10] ^= 1;
        harbour.put_copy(&draft, &altered);
        let sent = harbour.upload().unwrap();
        assert_eq!(sent.resumed, 0, "an altered beginning is begun anew");
        assert_eq!(fs::read(harbour.copy()).unwrap(), content);
    }
    for (what, left) in [("longer", noise(size + 1, 1)), ("empty", Vec::new())] {
        fs::remove_dir_all(harbour.copies()).unwrap();
        harbour.put_copy(&draft, &left);
        assert_eq!(harbour.upload().unwrap().resumed, 0, "{what}");
        assert_eq!(fs::read(harbour.copy()).unwrap(), content, "{what}");
    }
    fs::remove_dir_all(harbour.copies()).unwrap();
    fs::create_dir(harbour.copies()).unwrap();
    let target = harbour.sshd.account().join("elsewhere");
    fs::write(&target, &content[..100]).unwrap();
    symlink(&target, harbour.copies().join(&draft)).unwrap();
    Sshd::give(&harbour.copies());
    assert_eq!(fault(harbour.upload()).kind, FaultKind::Taken, "a link is not followed");
    assert_eq!(fs::read(&target).unwrap(), content[..100]);
}

#[test]
fn a_backup_made_sent_lost_and_fetched_is_the_same() {
    let desk = Desk::with(&["ledger"]);
    let sshd = Sshd::start();
    let holdfast = &desk.holdfast;
    let sftp = SftpAdmin::of(&holdfast.destinations());
    sshd.authorize(&sftp.generate_key().unwrap());
    let form = SftpForm {
        enabled: true,
        send_new: false,
        host: "127.0.0.1".into(),
        port: sshd.port.to_string(),
        username: Sshd::user(),
        auth: SftpAuth::SshKey,
        remote_directory: String::new(),
        write_only: false,
    };
    let input = SftpInput { form, ..SftpInput::default() };
    let saved = sftp.save(&input).unwrap();
    assert!(saved.private_key_set && saved.public_key.is_some() && saved.pins.is_empty());
    let list = sftp.check(&input, &Cancel::default()).unwrap();
    let found = list.host_key.unwrap();
    let key = HostKey { key_type: Some(found.key_type), fingerprint: found.fingerprint };
    sftp.approve(&found.host, found.port, key).unwrap();
    assert!(sftp.check(&input, &Cancel::default()).unwrap().is_good());

    let file =
        holdfast.creations().back_up(&"ledger".parse().unwrap(), &Cancel::default(), &Silent).unwrap().file;
    let made = holdfast.catalog().get(&file).unwrap();
    let bytes = fs::read(desk.backup(file.as_str())).unwrap();
    assert!(holdfast.destinations().upload(&file, &Cancel::default(), &|_, _, _| ()).unwrap().verified);
    assert_eq!(holdfast.destinations().copy_of(&file).unwrap().label(), "off-site verified");
    for lost in [file.to_string(), file.manifest()] {
        fs::remove_file(desk.backup(&lost)).unwrap();
    }
    // After a restart, too: nothing but the key file and the state database is needed.
    let again = desk.reopened();
    let listed = again.destinations().listing().unwrap();
    assert_eq!(listed.iter().map(|backup| backup.place).collect::<Vec<_>>(), [Whereabouts::There]);
    assert!(again.destinations().fetch(&file, &Cancel::default(), &|_, _, _| ()).unwrap().checked);
    let back = again.catalog().get(&file).unwrap();
    assert_eq!((back.sha256, back.state, back.created), (made.sha256, made.state, made.created));
    assert_eq!(fs::read(desk.backup(file.as_str())).unwrap(), bytes);
}

struct Silent;

impl Progress for Silent {
    fn phase(&self, _: Phase) {}
    fn total(&self, _: u64) {}
    fn bytes(&self, _: u64, _: u64) {}
}
