//! The documentation: its links lead somewhere, it names every setting and command there is and no other, and its
//! examples are what the program prints.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::support::postgres::cluster;
use clap::CommandFactory as _;
use holdfast::settings::Cli;
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// The Markdown files of a directory below the root, as paths from there.
fn pages_in(directory: &str) -> Vec<String> {
    let mut pages: Vec<_> = fs::read_dir(root().join(directory))
        .unwrap()
        .map(|entry| PathBuf::from(directory).join(entry.unwrap().file_name()).to_str().unwrap().to_owned())
        .filter(|page| Path::new(page).extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// The text without its code blocks.
fn prose(text: &str) -> String {
    let mut code = false;
    let kept = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// What links and pictures of a page point to.
fn targets(text: &str) -> Vec<String> {
    let text = prose(text);
    let between = |start: &str, end: char| -> Vec<String> {
        text.split(start).skip(1).filter_map(|rest| Some(rest.split_once(end)?.0.to_owned())).collect()
    };
    [between("](", ')'), between("src=\"", '"'), between("srcset=\"", '"')].concat()
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The links of a page at `page` that lead nowhere.
fn broken(page: &Path, text: &str) -> Vec<String> {
    let leads_nowhere = |target: &String| {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
        if heading.is_empty() {
            return !path.exists();
        }
        let text = if file.is_empty() { Ok(text.to_owned()) } else { fs::read_to_string(path) };
        let has = |text: String| {
            prose(&text)
                .lines()
                .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading)
        };
        !text.is_ok_and(has)
    };
    targets(text).into_iter().filter(|target| !target.contains("://")).filter(leads_nowhere).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = ["", "docs", "docs/design"].map(pages_in).concat();
    assert!(pages.len() > 20, "{pages:?}");
    let mut links = 0;
    for page in pages {
        let text = read(&page);
        links += targets(&text).len();
        assert_eq!(broken(&root().join(&page), &text), [""; 0], "{page}");
    }
    assert!(links > 30, "{links}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# A heading, with `code`\n[a](docs/install.md) [b](docs/nowhere.md) [c](#a-heading-with-code)\n\
        [d](#another) [e](docs/security.md#the-key) [f](docs/security.md#no-key) <img src=\"no.png\">\n\
        [g](https://example.org/x)\n```sh\n[h](not/a/link)\n```";
    let found = broken(&root().join("README.md"), text);
    assert_eq!(found, ["docs/nowhere.md", "#another", "docs/security.md#no-key", "no.png"]);
}

/// The words of this form in a text: `HOLDFAST_LISTEN` and the like.
fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| word.starts_with("HOLDFAST_")).map(str::to_owned).collect()
}

#[test]
fn every_setting_is_documented_and_no_other() {
    let command = Cli::command();
    let of = |command: &clap::Command| -> BTreeSet<String> {
        command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())).collect()
    };
    let settings = of(&command);
    assert!(settings.len() > 15, "{settings:?}");
    let documented = variables(&read("docs/configuration.md"));
    assert_eq!(
        settings.difference(&documented).collect::<Vec<_>>(),
        [""; 0],
        "missing in docs/configuration.md"
    );
    let all: BTreeSet<_> = settings.into_iter().chain(command.get_subcommands().flat_map(of)).collect();
    for page in [vec!["README.md".to_owned()], pages_in("docs")].concat() {
        let named = variables(&read(&page));
        assert_eq!(
            named.difference(&all).collect::<Vec<_>>(),
            [""; 0],
            "{page} names what the program does not read"
        );
    }
}

#[test]
fn every_command_is_documented_with_its_flags_and_no_other() {
    let command = Cli::command();
    let guide = read("docs/shell.md");
    let headings: BTreeSet<_> =
        prose(&guide).lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    let commands: BTreeSet<_> = command.get_subcommands().map(|each| each.get_name().to_owned()).collect();
    assert_eq!(headings, commands);
    for each in command.get_subcommands() {
        let section = guide.split_once(&format!("\n## {}\n", each.get_name())).unwrap().1;
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        for flag in each.get_arguments().filter_map(clap::Arg::get_long) {
            let same = each.get_name() == "adopt" && section.contains("the same flags as `verify`");
            assert!(same || section.contains(&format!("--{flag}")), "{} --{flag}", each.get_name());
        }
    }
}

#[test]
fn each_page_says_which_question_it_answers_and_the_readme_lists_it() {
    let readme = read("README.md");
    for page in pages_in("docs") {
        let text = read(&page);
        let question =
            text.lines().nth(2).unwrap().strip_prefix('*').and_then(|line| line.strip_suffix("?*"));
        let question = question.unwrap_or_else(|| panic!("{page} begins without its question"));
        assert!(readme.contains(&format!("]({page}) | {question}? |")), "README.md: {page}: {question}?");
    }
}

#[test]
fn the_first_pages_are_short() {
    assert!(read("README.md").lines().count() <= 120);
    let map = read("ARCHITECTURE.md");
    assert!(map.lines().count() <= 120, "{}", map.lines().count());
    for line in map.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
    for picture in ["docs/images/list-light.png", "docs/images/list-dark.png"] {
        assert!(fs::metadata(root().join(picture)).unwrap().len() < 200_000, "{picture}");
    }
}

/// A command of an example, with what the page says that it prints.
struct Example {
    command: String,
    prints: String,
}

/// The examples of a page, in their order.
fn examples(text: &str) -> Vec<Example> {
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let parts = blocks.flat_map(|block| block.strip_prefix("$ ").unwrap().split("\n$ "));
    parts
        .map(|part| {
            let (command, prints) = part.split_once('\n').unwrap_or((part, ""));
            Example { command: command.to_owned(), prints: prints.to_owned() }
        })
        .collect()
}

/// Where the examples are run.
const HOME: &str = "/srv/holdfast";

/// The words of a text, without what differs each time: numbers, times, addresses and sums.
fn shape(text: &str) -> String {
    let word = |word: &str| {
        if !word.contains(|c: char| c.is_ascii_digit()) {
            return word.to_owned();
        }
        match word.split_once("backup_") {
            Some((before, name)) => {
                format!("{before}backup_{}", name.replace(|c: char| c.is_ascii_digit(), "0"))
            }
            None => "#".to_owned(),
        }
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A directory with the databases of the examples.
struct Demonstration {
    home: tempfile::TempDir,
    databases: String,
}

impl Demonstration {
    fn new(shop: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let notes = home.path().join("notes.db");
        Connection::open(&notes)
            .unwrap()
            .execute_batch(
                "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);
                 WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                   INSERT INTO notes (text) SELECT hex(randomblob(200)) FROM n",
            )
            .unwrap();
        let databases = format!("shop={shop} notes=sqlite://{}", notes.display());
        Self { home, databases }
    }

    fn program(&self) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        program
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOLDFAST_DATA_DIR", "data")
            .env("HOLDFAST_DATABASES", &self.databases);
        program
    }

    /// The text as it would be where the examples are run.
    fn at_home(&self, text: &str) -> String {
        text.replace(self.home.path().to_str().unwrap(), HOME)
    }

    /// The backup of that database, or the older file that the examples name.
    fn file(&self, documented: &str) -> String {
        let database = documented.split('_').nth(1).unwrap();
        let mut names = fs::read_dir(self.home.path().join("data/backups"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .find(|name| name.starts_with(&format!("backup_{database}_")) && !name.contains(".json"))
            .unwrap()
    }

    /// Starts the server, and stops it once it listens; the first account is there then.
    fn serve(&self) -> String {
        let mut serving = self
            .program()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("HOLDFAST_ADMIN_PASSWORD", "tide marks on the quay")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(serving.stderr.take().unwrap()).lines();
        let mut said = String::new();
        for line in lines.map(Result::unwrap) {
            if line.contains("listens on") {
                said.clone_from(&line);
            }
            // The last thing it says at its first start.
            if line.contains("created the first account") {
                break;
            }
        }
        serving.kill().unwrap();
        serving.wait().unwrap();
        said
    }
}

#[test]
fn the_examples_of_the_shell_are_what_the_program_prints() {
    let cluster = cluster();
    cluster.create_database("examples");
    cluster.psql(
        "examples",
        "CREATE TABLE orders (id int PRIMARY KEY, what text); INSERT INTO orders SELECT i, md5(i::text) FROM
         generate_series(1, 12000) i; CREATE TABLE items (id int); INSERT INTO items SELECT generate_series(1, 300)",
    );
    let demonstration = Demonstration::new(&cluster.url("examples"));
    let backups = demonstration.home.path().join("data/backups");
    let mut tried = BTreeSet::new();
    let mut status = 0;
    for Example { command, prints } in examples(&read("docs/shell.md")) {
        let words: Vec<_> = command.split(' ').collect();
        let at = words.iter().position(|&word| word == "holdfast");
        let Some(at) = at else {
            assert_eq!((command.as_str(), prints.trim()), ("echo $?", &*status.to_string()));
            continue;
        };
        tried.insert(words[at + 1].to_owned());
        match words[at + 1] {
            "serve" => {
                let said = demonstration.at_home(&demonstration.serve());
                assert_eq!(shape(&said), shape(&prints).trim_end(), "{command}");
                continue;
            }
            // Its sentence is compared where secrets are.
            "rotate-key" => continue,
            "adopt" => {
                let older = backups.join("backup_2025-06-30_23-59-59.dump.gz");
                assert!(older.exists(), "the example of a damaged file made it");
            }
            _ => {}
        }
        if prints.contains("is damaged") {
            let notes = backups.join(demonstration.file("backup_notes_"));
            fs::copy(&notes, backups.join("backup_2025-06-30_23-59-59.dump.gz")).unwrap();
            let mut bytes = fs::read(&notes).unwrap();
            // In gzip's own checksum, so that what is found does not depend on the random content before it.
            let sum = bytes.len() - 8;
            bytes[sum] ^= 1;
            fs::write(&notes, bytes).unwrap();
        }
        let mut program = demonstration.program();
        let url = |word: &str| word.rsplit_once('/').map(|(_, database)| cluster.url(database)).unwrap();
        for set in &words[..at] {
            let (name, value) = set.split_once('=').unwrap();
            program.env(name, url(value));
        }
        for &word in &words[at + 1..] {
            match word {
                _ if word.starts_with("postgres://") => program.arg(url(word)),
                _ if word.starts_with("backup_") => program.arg(demonstration.file(word)),
                _ => program.arg(word),
            };
        }
        let output = program.output().unwrap();
        status = output.status.code().unwrap();
        let said = [&output.stderr[..], &output.stdout[..]].concat();
        let said = demonstration.at_home(&String::from_utf8(said).unwrap());
        let (said, wanted) = (shape(&said), shape(&prints));
        let wanted = wanted.trim_end();
        match wanted.split_once("\n\u{2026}") {
            Some((beginning, _)) => assert!(said.starts_with(beginning), "{command}\n{said}\n{wanted}"),
            None if words.contains(&"reset-account") => {
                // The password is made up each time.
                let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
                let (said, wanted) = (lines(&said), lines(wanted));
                assert_eq!((&said[0], &said[2]), (&wanted[0], &wanted[2]));
            }
            None => assert_eq!(said, wanted, "{command}"),
        }
    }
    let commands: Vec<_> = Cli::command().get_subcommands().map(|each| each.get_name().to_owned()).collect();
    assert_eq!(tried, BTreeSet::from_iter(commands));
}
