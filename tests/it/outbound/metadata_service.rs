//! No connection to a metadata service of a cloud is ever begun: tried in a network of its own that counts them.

use super::*;

/// Set in the process that runs in a network of its own.
const INSIDE: &str = "HOLDFAST_TEST_OWN_NETWORK";

/// Names of the metadata service and of what else is never dialled, in that network.
const NEVER: [&str; 30] = [
    "169.254.169.254",
    "169.254.169.254.",
    "metadata.test",
    "METADATA.test",
    "half.test",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "0xa9.254.0xa9.254",
    "169.254.43518",
    "169.16689662",
    "[::ffff:169.254.169.254]",
    "::ffff:a9fe:a9fe",
    "[::ffff:a9fe:a9fe]",
    "[0:0:0:0:0:ffff:169.254.169.254]",
    "[::169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fd00:ec2::254]",
    "[fd00:0ec2:0::0254]",
    "fd00:ec2::254",
    "metadata6.test",
    "[fe80::1%25lo]",
    "[fe80::1]",
    "0",
    "0.0.0.0",
    "[::]",
    "224.0.0.1",
    "255.255.255.255",
    "[ff02::1]",
];

/// How many connections this network has begun since it is there, answered or not.
fn begun() -> u64 {
    let text = fs::read_to_string("/proc/self/net/snmp").unwrap();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("Tcp:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let at = lines[0].iter().position(|name| *name == "ActiveOpens").unwrap();
    lines[1][at].parse().unwrap()
}

/// Not a test of its own: the process that `not_one_connection_to_a_metadata_service_is_begun` starts in a network where
/// the addresses of metadata services are its own.
#[test]
fn goes_every_way_in_a_network_of_its_own() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let outgoing = Outgoing::new();
    let listening = [Counter::at(([169, 254, 169, 254], 22)), Counter::at(([127, 0, 0, 1], 22))];
    // A PostgreSQL backup by its first bytes, which is as far as a restore gets before it connects.
    let archive: BackupName = "backup_2025-03-04_05-06-07.dump.gz".parse().unwrap();
    let holdfast = outgoing.holdfast(Policy::default(), None);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"PGDMP\x01\x0e\0\x04\x08\x01").unwrap();
    fs::write(holdfast.backup_dir().join(archive.as_str()), gzip.finish().unwrap()).unwrap();

    let (before, mut told) = (begun(), Vec::new());
    for host in NEVER {
        for port in [22, 1] {
            told.extend(
                outgoing
                    .go_every_way(&Policy::default(), host, port, Some(&archive))
                    .into_iter()
                    .map(|told| (host, told)),
            );
        }
    }
    assert_eq!(begun() - before, 0);
    assert!(listening.iter().all(|counter| counter.came.load(Ordering::SeqCst) == 0));
    let denied = told.iter().filter(|(_, told)| told.words.contains("Holdfast does not connect to")).count();
    println!("\n{} spellings, {} ways gone, {denied} denied, 0 connections begun", NEVER.len(), told.len());
    assert!(denied > 300, "{denied}");
    for host in NEVER {
        let is_denied = |(of, told): &(&str, Told)| *of == host && told.words.contains("does not connect to");
        assert!(told.iter().any(is_denied), "{host}");
    }

    // The control: that address answers here, and what the policy lets by is counted, answered or not.
    let before = begun();
    TcpStream::connect("169.254.169.254:22").unwrap();
    TcpStream::connect("169.254.169.254:1").unwrap_err();
    let allowed = outgoing.go_every_way(&Policy::default(), "127.0.0.1", 1, Some(&archive));
    let (ways, counted) = (allowed.len() as u64, begun() - before);
    println!("the control: 2 by hand and {ways} ways to 127.0.0.1, {counted} connections begun");
    assert!(counted >= 2 + ways - 1, "{counted}");
    assert_eq!(listening[0].came([169, 254, 169, 254].into()), 1);

    // An address of this machine in a private network is this machine: closed with loopback, and open with it.
    let before = begun();
    let policy = Policy { loopback: false, ..Policy::default() };
    for host in ["10.9.8.7", "[::ffff:10.9.8.7]", "0x0a090807"] {
        let told = outgoing.go_every_way(&policy, host, 22, None);
        assert!(told.iter().any(|told| told.words.contains("Holdfast does not connect to")), "{host}");
    }
    assert_eq!(begun() - before, 0);
    let told = outgoing.go_every_way(&policy, "10.9.8.6", 22, None);
    assert!(told.iter().all(|told| !told.words.contains("Holdfast does not connect to")), "the control");
    outgoing.go_every_way(&Policy::default(), "10.9.8.7", 22, None);
    assert!(begun() - before >= 7, "the control");
    println!("went every way");
}

/// Every spelling goes every way, to ports where somebody listens and to others.
#[test]
fn not_one_connection_to_a_metadata_service_is_begun() {
    let home = tempfile::tempdir().unwrap();
    let hosts = home.path().join("hosts");
    let names = "127.0.0.1 localhost\n169.254.169.254 metadata.test\nfd00:ec2::254 metadata6.test\n\
                 127.0.0.1 half.test\n169.254.169.254 half.test\n";
    fs::write(&hosts, names).unwrap();
    let lay = format!(
        "set -e; mount --bind {} /etc/hosts; ip link set lo up; ip addr add 169.254.169.254/32 dev lo; \
         ip addr add 10.9.8.7/32 dev lo; \
         ip addr add fd00:ec2::254/128 dev lo nodad || true; echo laid; exec \"$@\"",
        hosts.display()
    );
    for flags in ["-mn", "-rmn"] {
        let mut command = test_alone_under(
            &["unshare", flags, "sh", "-c", &lay, "sh"],
            module_path!(),
            "goes_every_way_in_a_network_of_its_own",
        );
        let output = command.env(INSIDE, "yes").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("laid") {
            println!("{said}");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(said.contains("went every way"));
            return;
        }
        println!("unshare {flags}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    println!("skipped: the system lets us have no network of our own");
}
