//! Private keys: every kind and form that is let in, and what is told of a text that is no usable key.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::destinations::harbour::{Harbour, step};
use crate::support::noise::noise;
use crate::support::sshd::keygen;
use holdfast::domain::destinations::sftp::keys;
use holdfast::domain::destinations::sftp::settings::SecretEdit;
use holdfast::domain::destinations::sftp::settings::SftpInput;
use holdfast::domain::engines::Cancel;
use holdfast::model::CheckStep;
use holdfast::model::StepState;
use secrecy::SecretString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn every_kind_and_form_of_key_is_let_in() {
    let harbour = Harbour::new();
    let home = harbour.sshd.home();
    let passphrase = "correct horse";
    let mut tried = 0;
    for (kind, forms) in [
        ("ed25519", &["", "pkcs8"][..]),
        ("ecdsa", &["", "PEM", "PKCS8"][..]),
        ("rsa", &["", "PEM", "PKCS8"][..]),
    ] {
        for form in forms {
            for passphrase in ["", passphrase] {
                let path = home.join(format!("key_{tried}"));
                let text = match *form {
                    // ssh-keygen writes Ed25519 in its own form only.
                    "pkcs8" => ed25519_pkcs8(passphrase),
                    form => {
                        keygen(&path, kind, passphrase, form);
                        harbour.sshd.authorize(&fs::read_to_string(path.with_extension("pub")).unwrap());
                        fs::read_to_string(&path).unwrap()
                    }
                };
                // As it comes out of a form: other line ends, blanks around, the last one missing.
                let pasted = format!("\r\n  {}", text.trim_end().replace('\n', "\r\n"));
                let secret = |text: &str| Some(SecretString::from(text)).filter(|_| !text.is_empty());
                let ready = keys::read(&pasted.as_str().into(), secret(passphrase).as_ref()).unwrap();
                if *form == "pkcs8" {
                    harbour.sshd.authorize(&ready.public_line);
                } else {
                    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
                    let same = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
                    assert_eq!(same(&ready.public_line), same(&public), "{kind} {form}");
                }
                let input = SftpInput {
                    private_key: SecretEdit::Set(pasted.as_str().into()),
                    passphrase: secret(passphrase).map_or(SecretEdit::Remove, SecretEdit::Set),
                    ..harbour.input()
                };
                let list = harbour.sftp.check(&input, &Cancel::default()).unwrap();
                assert_eq!(
                    step(&list, CheckStep::LogIn).0,
                    StepState::Done,
                    "{kind} {form} {passphrase}: {list:?}"
                );
                if !passphrase.is_empty() {
                    use keys::KeyProblem as K;
                    let wrong = SecretString::from("wrong");
                    assert_eq!(keys::read(&pasted.as_str().into(), None).err(), Some(K::NeedsPassphrase));
                    let read = keys::read(&pasted.as_str().into(), Some(&wrong));
                    assert_eq!(read.err(), Some(K::WrongPassphrase), "{kind} {form}");
                }
                tried += 1;
            }
        }
    }
    for bits in ["384", "521"] {
        let path = home.join(format!("key_{bits}"));
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ecdsa", "-b", bits, "-N", "", "-m", "PKCS8", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        harbour.sshd.authorize(&fs::read_to_string(path.with_extension("pub")).unwrap());
        let key = SecretEdit::Set(fs::read_to_string(&path).unwrap().into());
        let list = harbour.sftp.check(&SftpInput { private_key: key, ..harbour.input() }, &Cancel::default());
        assert!(list.unwrap().is_good(), "{bits}");
        tried += 1;
    }
    println!("{tried} keys were let in");
    assert_eq!(tried, 18);
}

fn ed25519_pkcs8(passphrase: &str) -> String {
    let key = openssl::pkey::PKey::generate_ed25519().unwrap();
    let pem = if passphrase.is_empty() {
        key.private_key_to_pem_pkcs8().unwrap()
    } else {
        let cipher = openssl::symm::Cipher::aes_256_cbc();
        key.private_key_to_pem_pkcs8_passphrase(cipher, passphrase.as_bytes()).unwrap()
    };
    String::from_utf8(pem).unwrap()
}

/// OpenSSH leaves the zeros away that such a number begins with.
#[test]
fn an_ecdsa_key_whose_number_is_short_is_read_in_every_form() {
    use openssl::bn::{BigNum, BigNumContext};
    use openssl::ec::{EcGroup, EcKey, EcPoint};
    use openssl::nid::Nid;
    let home = tempfile::tempdir().unwrap();
    for (curve, width) in [(Nid::X9_62_PRIME256V1, 32), (Nid::SECP384R1, 48), (Nid::SECP521R1, 66)] {
        for (zeros, first) in [(0, 0), (1, 0x7f), (1, 0x80), (2, 0xff), (9, 1)] {
            let mut number = noise(width, 1);
            number[..zeros].fill(0);
            number[zeros] = first;
            let group = EcGroup::from_curve_name(curve).unwrap();
            let number = BigNum::from_slice(&number).unwrap();
            let mut point = EcPoint::new(&group).unwrap();
            point.mul_generator2(&group, &number, &mut BigNumContext::new().unwrap()).unwrap();
            let key = EcKey::from_private_components(&group, &number, &point).unwrap();
            let pem = key.private_key_to_pem().unwrap();
            let path = home.path().join(format!("{width}_{zeros}_{first}"));
            fs::write(&path, &pem).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let run = |arguments: &[&str]| {
                let ran = std::process::Command::new("ssh-keygen")
                    .args(arguments)
                    .arg("-f")
                    .arg(&path)
                    .output()
                    .unwrap();
                assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
                String::from_utf8(ran.stdout).unwrap()
            };
            let public = run(&["-y", "-P", ""]);
            let body = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
            let read = |passphrase: Option<&str>| {
                let text = fs::read_to_string(&path).unwrap();
                let passphrase = passphrase.map(SecretString::from);
                keys::read(&text.into(), passphrase.as_ref()).map(|ready| body(&ready.public_line))
            };
            assert_eq!(read(None), Ok(body(&public)), "SEC 1 {width} {zeros} {first}");
            // Rewriting a key gives it OpenSSH's own form.
            run(&["-p", "-q", "-P", "", "-N", ""]);
            assert!(fs::read_to_string(&path).unwrap().contains("BEGIN OPENSSH"));
            assert_eq!(read(None), Ok(body(&public)), "OpenSSH {width} {zeros} {first}");
            run(&["-p", "-q", "-a", "1", "-P", "", "-N", "secret words"]);
            assert_eq!(read(Some("secret words")), Ok(body(&public)), "encrypted {width} {zeros} {first}");
            assert_eq!(read(Some("wrong")), Err(keys::KeyProblem::WrongPassphrase));
            assert_eq!(read(None), Err(keys::KeyProblem::NeedsPassphrase));
        }
    }
}

#[test]
fn what_is_no_usable_key_is_told_apart_before_any_network() {
    use keys::KeyProblem as K;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    keygen(&path, "ed25519", "", "");
    let good = fs::read_to_string(&path).unwrap();
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    let read = |text: &str| keys::read(&text.into(), None);
    assert!(read(&good).is_ok(), "the control");
    assert!(read(&format!("\u{feff}{good}")).is_ok());
    assert!(read(&good.replace('\n', "\n    ")).is_ok(), "indented");
    let dsa = openssl::dsa::Dsa::generate(1024).unwrap();
    let dsa_pem = String::from_utf8(dsa.private_key_to_pem().unwrap()).unwrap();
    let dsa_pkcs8 = openssl::pkey::PKey::from_dsa(dsa).unwrap().private_key_to_pem_pkcs8().unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let shortened = [&lines[..2], &lines[3..]].concat().join("\n");
    for (what, text, expected) in [
        ("public", public.as_str(), "PublicKey"),
        ("public PEM", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "PublicKey"),
        ("PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "Putty"),
        ("DSA PEM", &dsa_pem, "Unsupported"),
        ("DSA PKCS#8", std::str::from_utf8(&dsa_pkcs8).unwrap(), "Unsupported"),
        ("hardware", &token_key(), "Unsupported"),
        ("a line missing", &shortened, "Damaged"),
        ("no end", good.split("-----END").next().unwrap(), "Damaged"),
        ("half a PEM", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "Damaged"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "NotAKey"),
        ("prose", "hello", "NotAKey"),
        ("nothing", "", "NotAKey"),
    ] {
        let problem = read(text).err().unwrap_or_else(|| panic!("{what} is taken for a key"));
        let variant = format!("{problem:?}");
        assert!(variant.starts_with(expected), "{what}: {variant}");
        assert!(problem.on_the_form().sentence.starts_with("SSH private key: "), "{problem}");
    }
    assert!(K::WrongPassphrase.on_the_form().sentence.starts_with("Key passphrase: "));
}

/// A key that a security token holds, as OpenSSH writes it.
fn token_key() -> String {
    use ssh_key::private::{KeypairData, SkEd25519};
    use ssh_key::public::Ed25519PublicKey;
    let public = ssh_key::public::SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:");
    let held = SkEd25519::new(public, 1, vec![9; 64]).unwrap();
    let key = ssh_key::PrivateKey::new(KeypairData::SkEd25519(held), "test").unwrap();
    key.to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()
}
