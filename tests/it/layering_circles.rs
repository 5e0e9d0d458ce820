//! No two files of `src/` import each other, directly or through others.
//!
//! A re-export is no import: who takes a name from a folder's file, `model.rs`, imports the file the name is from. And
//! a file may use what the file of its own folder has, which is one room with it.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::layering::{Source, is_word, path_from, root, source_files};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Which file imports which.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// The module that a file is, as a path in the crate.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap();
    if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The files that there are, by their modules, and the names that modules have from elsewhere.
struct Tree<'f> {
    modules: BTreeMap<Vec<String>, &'f str>,
    re_exports: BTreeMap<(Vec<String>, String), Vec<String>>,
}

impl<'f> Tree<'f> {
    fn of(files: &'f [(String, String)]) -> Self {
        let modules = files.iter().map(|(file, _)| (module_of(file), file.as_str()));
        let modules = modules.filter(|(module, _)| !module.is_empty()).collect();
        let mut tree = Self { modules, re_exports: BTreeMap::new() };
        for (file, text) in files {
            let own = module_of(file);
            for path in re_exported(&Source::read(file, text)) {
                if let (Some(name), Some(whole)) = (path.last(), tree.absolute(&own, &path)) {
                    tree.re_exports.insert((own.clone(), name.clone()), whole);
                }
            }
        }
        tree
    }

    /// The path from the root of the crate; nothing for one that leads out of it.
    fn absolute(&self, own: &[String], path: &[String]) -> Option<Vec<String>> {
        let (base, rest) = match path[0].as_str() {
            "crate" | "holdfast" => (&own[..0], &path[1..]),
            "self" => (own, &path[1..]),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                (&own[..own.len().checked_sub(ups)?], &path[ups..])
            }
            // A child's name; any other word is a crate or a local name.
            _ if self.modules.contains_key(&[own, &path[..1]].concat()) => (own, path),
            _ => return None,
        };
        Some([base, rest].concat())
    }

    /// The file of the innermost module that a path in the module `own` leads through, past re-exports.
    fn file(&self, own: &[String], path: &[String]) -> Option<&'f str> {
        let mut whole = self.absolute(own, path)?;
        // Re-exports of re-exports end somewhere.
        for _ in 0..8 {
            let length =
                (1..=whole.len()).rev().find(|length| self.modules.contains_key(&whole[..*length]))?;
            let (module, rest) = whole.split_at(length);
            let from = rest.first().and_then(|name| self.re_exports.get(&(module.to_vec(), name.clone())));
            match from {
                Some(from) => whole = [from, &rest[1..]].concat(),
                None => return self.modules.get(module).copied(),
            }
        }
        None
    }
}

/// The paths of `pub use`.
fn re_exported(source: &Source) -> Vec<Vec<String>> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for at in
        (0..tokens.len()).filter(|at| tokens[*at] == "use" && tokens.get(at + 1).is_some_and(|t| is_word(t)))
    {
        let before = |n: usize| at.checked_sub(n).map_or("", |i| tokens[i].as_str());
        // `pub`, or `pub(crate)`, or `pub(in crate::domain)`.
        if before(1) == "pub"
            || before(1) == ")" && tokens[..at].iter().rev().take(8).any(|token| token == "pub")
        {
            path_from(tokens, at + 1, &[], &mut found);
        }
    }
    found
}

/// The imports among these files. Left out are those of `lib.rs` and `main.rs`, the wiring.
fn imports(files: &[(String, String)]) -> Imports {
    let tree = Tree::of(files);
    let mut imports = Imports::new();
    for (file, text) in files {
        let own = module_of(file);
        let source = Source::read(file, text);
        let exported: BTreeSet<_> = re_exported(&source).into_iter().collect();
        let used = source.paths.iter().filter(|path| !exported.contains(*path));
        let found = used.filter_map(|path| tree.file(&own, path));
        let is_import = |other: &&str| *other != file && !own.starts_with(&module_of(other));
        if !own.is_empty() {
            imports.insert(file.clone(), found.filter(is_import).map(str::to_owned).collect());
        }
    }
    imports
}

/// The files that can be reached from `file` by importing, `file` itself only around a circle.
fn reached<'i>(imports: &'i Imports, file: &str) -> BTreeSet<&'i str> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![file]);
    while let Some(file) = left.pop() {
        for next in imports.get(file).into_iter().flatten() {
            if reached.insert(next.as_str()) {
                left.push(next);
            }
        }
    }
    reached
}

/// The imports that are part of a circle.
fn in_circles(imports: &Imports) -> BTreeSet<(&str, &str)> {
    let all_reached: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|file| (file.as_str(), reached(imports, file))).collect();
    let mut found = BTreeSet::new();
    for (from, others) in imports {
        let back =
            |to: &&String| all_reached.get(to.as_str()).is_some_and(|there| there.contains(from.as_str()));
        found.extend(others.iter().filter(back).map(|to| (from.as_str(), to.as_str())));
    }
    found
}

fn planted(files: &[(&str, &str)]) -> Imports {
    let files: Vec<_> = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
    imports(&files)
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files: Vec<_> = source_files()
        .into_iter()
        .map(|path| {
            let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
            (file, fs::read_to_string(&path).unwrap())
        })
        .collect();
    let all = imports(&files);
    let edges: usize = all.values().map(BTreeSet::len).sum();
    assert!(edges > 300, "only {edges} imports were found: the test reads them wrong");
    let circles: Vec<_> = in_circles(&all).iter().map(|(from, to)| format!("{from} imports {to}")).collect();
    assert!(circles.is_empty(), "these imports are part of a circle:\n{}", circles.join("\n"));
}

#[test]
fn a_planted_circle_is_found_however_it_is_written() {
    let circles: [&[(&str, &str)]; 6] = [
        &[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")],
        &[
            ("a.rs", "use crate::{b, c::C};"),
            ("b.rs", "fn f() { crate::c::f(); }"),
            ("c.rs", "use crate::a::A;"),
        ],
        &[("a.rs", "pub mod c; use c::C;"), ("a/c.rs", "use crate::b::B;"), ("b.rs", "use holdfast::a::A;")],
        &[
            ("a.rs", "pub mod b; pub mod c;"),
            ("a/b.rs", "use super::c::C;"),
            ("a/c.rs", "use super::super::a::b::B;"),
        ],
        &[
            ("a.rs", "pub use c::C;"),
            ("a/b.rs", "use crate::a::C;"),
            ("a/c.rs", "use crate::a::b::{self, B};"),
        ],
        &[
            ("a.rs", "pub(crate) use self::c::{C, D};"),
            ("a/c.rs", "use crate::b;"),
            ("b.rs", "fn f(d: crate::a::D) {}"),
        ],
    ];
    for files in circles {
        let imports = planted(files);
        assert!(in_circles(&imports).len() > 1, "{files:?} gave {imports:?}");
    }
}

#[test]
fn what_is_no_circle_passes() {
    let harmless: [&[(&str, &str)]; 5] = [
        &[("a.rs", "pub mod b; use b::B;"), ("a/b.rs", "use crate::a::A; use super::a;")],
        &[("a.rs", "use crate::b::B;"), ("b.rs", "// use crate::a::A;\nconst S: &str = \"crate::a::A\";")],
        &[("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }")],
        &[("a.rs", "use crate::c::C;"), ("b.rs", "use crate::{a, c};"), ("c.rs", "use std::a::b;")],
        &[
            ("a.rs", "pub use b::B; pub use c::C;"),
            ("a/b.rs", "use crate::d::D;"),
            ("d.rs", "use crate::a::C;"),
            ("a/c.rs", ""),
        ],
    ];
    for files in harmless {
        let imports = planted(files);
        assert_eq!(in_circles(&imports), BTreeSet::new(), "{files:?} gave {imports:?}");
    }
}
