//! The documentation: its links lead somewhere, it names every setting and command there is, and none that is not.

#![expect(clippy::unwrap_used, reason = "tests")]

use clap::CommandFactory as _;
use holdfast::settings::Cli;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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
        .filter(|page| page.ends_with(".md"))
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
