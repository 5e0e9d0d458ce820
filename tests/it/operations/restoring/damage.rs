//! Damaged and hostile backups: damage is found, nothing damaged is restored, and an archive gets no right it should not
//! have.

use super::*;

/// Flipped bits and truncations, for each engine.
const FLIPS: u32 = 100;

const CUTS: u32 = 50;

#[test]
fn damage_is_found_and_nothing_damaged_is_restored() {
    let cluster = cluster();
    let (ground, files) = two_backups(&cluster, "damaged");
    let holdfast = ground.holdfast();
    let mut random = Random::new();
    println!("seed {}", random.0);
    let verify = |file: &str| {
        holdfast
            .verifications()
            .verify(file, &RestoreOptions::default(), &Cancel::default(), &Unwatched)
            .unwrap()
    };
    let (mut caught, mut harmless) = (0, 0);
    for file in &files {
        let path = ground.backups().join(file);
        let sound = fs::read(&path).unwrap();
        let truth = verify(file);
        assert!(!truth.is_damaged(), "{}", truth.sentence());
        let is_sqlite = file.contains("_s_");
        let target = if is_sqlite { sqlite_url(&ground.at("never.db")) } else { cluster.url("never") };
        let target = Target::parse(&target).unwrap();
        let bare = ground.at("bare.dump.gz");
        for case in 0..FLIPS + CUTS {
            let mut bytes = sound.clone();
            if case < FLIPS {
                // The first ones in the header, where gzip itself minds few of them.
                let bit = if case < 20 { random.below(80) } else { random.below(bytes.len() * 8) };
                bytes[bit / 8] ^= 1 << (bit % 8);
            } else {
                bytes.truncate(random.below(bytes.len()));
            }
            fs::write(&path, &bytes).unwrap();
            let report = verify(file);
            assert!(report.is_damaged() && report.sentence().contains(file), "{case}: {report:?}");
            caught += 1;
            if is_sqlite || case % 5 == 0 {
                let restored = holdfast.restores().restore(
                    file,
                    &target,
                    &RestoreOptions::default(),
                    &Cancel::default(),
                    &Unwatched,
                );
                let error = restored.err().map(|error| error.to_string()).unwrap();
                assert!(error.contains("Nothing was restored"), "{case}: {error}");
            }
            // Alone it can only be judged by what is in it: what passes is the very same content.
            fs::write(&bare, &bytes).unwrap();
            let alone = verify(bare.to_str().unwrap());
            if !alone.is_damaged() {
                assert_eq!(alone.content_sha256, truth.content_sha256, "{case}");
                assert!(case < FLIPS, "a truncated file passed");
                harmless += 1;
            }
        }
        fs::write(&path, &sound).unwrap();
        assert!(!verify(file).is_damaged());
    }
    // Each with the other's manifest, as it is and with the name put right.
    let manifests = files.clone().map(|file| ground.backups().join(format!("{file}.manifest.json")));
    let texts = manifests.clone().map(|path| fs::read_to_string(path).unwrap());
    for (at, file) in files.iter().enumerate() {
        for text in [texts[1 - at].clone(), texts[1 - at].replace(&files[1 - at], file), "{".to_owned()] {
            fs::write(&manifests[at], text).unwrap();
            let report = verify(file);
            assert!(report.is_damaged(), "{report:?}");
            caught += 1;
        }
        fs::write(&manifests[at], &texts[at]).unwrap();
    }
    assert!(!ground.at("never.db").exists() && !exists(&cluster, "never"));
    no_leftovers(&cluster);
    drop(holdfast);
    println!(
        "damage: caught {caught}, none restored; without a manifest {harmless} flips changed nothing in the content"
    );

    // And from the shell, in words and as JSON.
    fs::write(ground.backups().join(&files[1]), "").unwrap();
    let said = ground.refused(&["verify", &files[1]]);
    assert!(said.contains(&files[1]) && said.contains("is empty"), "{said}");
    let output = ground.program(&["verify", "--json", &files[1]]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!output.status.success() && json["level"] == "damaged", "{json}");
    let json: serde_json::Value =
        serde_json::from_str(&ground.run(&["verify", "--json", &files[0]])).unwrap();
    assert!(
        json["level"] == "readable" && json["engine"] == "postgresql" && json["rows"].is_null(),
        "{json}"
    );
    let mut command = ground.program(&["verify", "--json", &files[0]]);
    command.env("HOLDFAST_RESTORE_ON", cluster.url("no-matter"));
    let json: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    assert!(json["level"] == "restored" && json["tables"] == 1 && json["rows"] == 2000, "{json}");
    no_leftovers(&cluster);
    assert!(!exists(&cluster, "no-matter"));
}

/// The archive in `path` with the definition of the function `hole` replaced by `statement`.
fn planted(path: &Path, statement: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let find = |what: &[u8], from: usize| {
        bytes[from..].windows(what.len()).position(|part| part == what).unwrap() + from
    };
    let begin = find(b"CREATE FUNCTION public.hole", 0);
    let end = find(b"$;", begin) + 2;
    let text = format!("{statement:<width$}", width = end - begin);
    assert_eq!(text.len(), end - begin, "the statement is too long");
    bytes[begin..end].copy_from_slice(text.as_bytes());
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&bytes).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_hostile_archive_has_the_rights_of_its_role_and_no_more() {
    let cluster = cluster();
    cluster.create_database("hostile");
    let filler = "x".repeat(400);
    cluster.psql("hostile", &format!("CREATE FUNCTION hole() RETURNS text LANGUAGE sql AS $_$ SELECT '{filler}' $_$; CREATE TABLE t (a int)"));
    cluster.psql("postgres", "CREATE ROLE restorer LOGIN CREATEDB PASSWORD 'r3storer'");
    cluster.create_database("bystander");
    let ground = Home::new(&format!("h={}", cluster.url("hostile")));
    let file = ground.backups().join(ground.backup("h"));
    let canary = cluster.socket().join("canary");
    let bad_file = ground.at("hostile.dump.gz");
    let url = |database: &str| format!("postgres://restorer:r3storer@127.0.0.1:{}/{database}", cluster.port);
    let touch = format!("COPY (SELECT 1) TO PROGRAM 'touch {}';", canary.display());
    for statement in [
        touch.clone(),
        format!("COPY (SELECT 1) TO '{}';", canary.display()),
        "SELECT pg_read_file('/etc/passwd');".to_owned(),
        "SELECT lo_import('/etc/passwd');".to_owned(),
        "ALTER SYSTEM SET work_mem = '1GB';".to_owned(),
        "DROP DATABASE bystander;".to_owned(),
        "SET ROLE \"holdfast-test\";".to_owned(),
        "CREATE EXTENSION file_fdw;".to_owned(),
        format!("\\! touch {}", canary.display()),
    ] {
        fs::write(&bad_file, planted(&file, &statement)).unwrap();
        let said = bad(ground.restore(bad_file.to_str().unwrap(), &url("victim"), &[]));
        assert!(said.contains("nothing was changed"), "{statement}: {said}");
        assert!(
            !canary.exists() && !exists(&cluster, "victim") && exists(&cluster, "bystander"),
            "{statement}"
        );
    }
    no_leftovers(&cluster);
    // The statements that are carried out before all others, and those that bring rows, are what they have to be.
    let mut archive = Vec::new();
    GzDecoder::new(fs::File::open(&file).unwrap()).read_to_end(&mut archive).unwrap();
    for (old, new) in [
        ("SELECT pg_catalog.set_config('search_path', '', false);", "DROP DATABASE bystander;"),
        ("COPY public.t (a) FROM stdin;", "COPY t FROM PROGRAM 'id'; --"),
        ("COPY public.t (a) FROM stdin;", "DROP DATABASE bystander; --"),
    ] {
        let at = archive.windows(old.len()).position(|part| part == old.as_bytes()).unwrap();
        let mut changed = archive.clone();
        changed[at..at + old.len()].copy_from_slice(format!("{new:<width$}", width = old.len()).as_bytes());
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&changed).unwrap();
        fs::write(&bad_file, packed.finish().unwrap()).unwrap();
        let said = bad(ground.restore(bad_file.to_str().unwrap(), &url("victim"), &[]));
        assert!(said.contains("nothing was changed") && exists(&cluster, "bystander"), "{new}: {said}");
        let mut verify = ground.program(&["verify", bad_file.to_str().unwrap()]);
        let said = bad({
            verify.env("HOLDFAST_RESTORE_ON", url("any"));
            verify
        });
        assert!(said.contains("tampered with") && exists(&cluster, "bystander"), "{new}: {said}");
    }
    // A second statement behind one that does what its entry says is carried out, with the role's rights and within a
    // transaction: nothing comes of it, nor of the function.
    let second =
        format!("CREATE FUNCTION public.hole() RETURNS text LANGUAGE sql AS $$ SELECT '' $$; {touch}");
    for statement in [second.as_str(), &second.replace(&touch, "DROP DATABASE bystander;")] {
        fs::write(&bad_file, planted(&file, statement)).unwrap();
        let said = good(ground.restore(bad_file.to_str().unwrap(), &url("victim"), &[]));
        assert!(said.contains("1 exception: function public.hole(): "), "{said}");
        assert!(!canary.exists() && exists(&cluster, "bystander"), "{statement}");
        cluster.psql("postgres", "DROP DATABASE victim");
    }
    no_leftovers(&cluster);
    // The control: the same bytes with a superuser's rights do what they say.
    fs::write(&bad_file, planted(&file, &second)).unwrap();
    let _ = ground.restore(bad_file.to_str().unwrap(), &cluster.url("victim"), &[]).output().unwrap();
    assert!(canary.exists(), "the planted statement was never carried out, so nothing is shown");
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let ground = Home::new("");
    let file = ground.at("bomb.dump.gz");
    let mut packed = GzEncoder::new(fs::File::create(&file).unwrap(), flate2::Compression::best());
    packed.write_all(b"SQLite format 3\0").unwrap();
    std::io::copy(&mut std::io::repeat(0).take(512 << 20), &mut packed).unwrap();
    packed.finish().unwrap();
    let name = file.to_str().unwrap();
    for mut command in [
        ground.program(&["verify", name, "--max-bytes", "1000000"]),
        ground.restore(name, &sqlite_url(&ground.at("x.db")), &["--max-bytes", "1000000"]),
    ] {
        let begun = Instant::now();
        let output = command.output().unwrap();
        let said = words(&output);
        assert!(!output.status.success() && said.contains("more than 1000000 bytes"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(contents_of(&ground.backups()).is_empty() && !ground.at("x.db").exists());
    // Thousands of empty members.
    let mut empty = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    empty.flush().unwrap();
    fs::write(&file, empty.finish().unwrap().repeat(5000)).unwrap();
    let said = ground.refused(&["verify", name]);
    assert!(said.contains("more than 16 gzip members"), "{said}");
    fs::write(&file, b"no gzip at all").unwrap();
    let said = ground.refused(&["verify", name]);
    assert!(said.contains("gzip is damaged"), "{said}");
    let said = ground.refused(&["verify", "backup_absent.dump.gz"]);
    assert!(said.contains("There is no backup file"), "{said}");
}
