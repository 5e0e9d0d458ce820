//! Unique words that stand for secrets, and a search for every form in which one could be written.

use aho_corasick::AhoCorasick;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use flate2::read::GzDecoder;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;

/// The secrets, by name, and every form of each that is looked for.
#[derive(Default)]
pub struct Canaries {
    pub patterns: Vec<Vec<u8>>,
    names: Vec<String>,
}

impl Canaries {
    pub fn add(&mut self, name: &str, secret: &[u8]) {
        let mut forms = BTreeSet::from([secret.to_vec()]);
        forms.insert(HEXLOWER.encode(secret).into());
        forms.insert(HEXUPPER.encode(secret).into());
        // As it is printed for debugging.
        let numbers: Vec<_> = secret.iter().map(u8::to_string).collect();
        forms.insert(numbers.join(", ").into());
        for base64 in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
            // Wherever it begins in what is encoded.
            for before in 0..3 {
                let text = base64.encode(&[&vec![0; before], secret].concat());
                let whole = (before + secret.len()) * 8 / 6;
                forms.insert(text.as_bytes()[[0, 2, 3][before]..whole].to_vec());
            }
        }
        if let Ok(text) = std::str::from_utf8(secret) {
            let percent = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            forms.insert(percent.replace("%20", "+").into());
            forms.insert(percent.into());
        }
        for form in forms {
            assert!(form.len() >= 8, "{name} is too short to be told from chance");
            self.patterns.push(form);
            self.names.push(name.to_owned());
        }
    }

    pub fn net(&self) -> Net<'_> {
        Net { patterns: AhoCorasick::new(&self.patterns).unwrap(), names: &self.names }
    }
}

/// What everything is drawn through.
pub struct Net<'a> {
    patterns: AhoCorasick,
    names: &'a [String],
}

impl Net<'_> {
    /// Which secrets are in there, gzip within it undone.
    pub fn caught(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let mut content = Vec::new();
        let unpacked = GzDecoder::new(bytes).read_to_end(&mut content).unwrap_or_default();
        let both = [bytes, &content[..unpacked]];
        let found = both.iter().flat_map(|bytes| self.patterns.find_overlapping_iter(*bytes));
        found.map(|found| self.names[found.pattern().as_usize()].as_str()).collect()
    }

    /// The same of each file below a directory, as `file: secrets`.
    pub fn caught_below(&self, directory: &Path, but: &[&Path]) -> Vec<String> {
        let mut caught = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                caught.extend(self.caught_below(&path, but));
            } else if !but.contains(&&*path) {
                let found = self.caught(&fs::read(&path).unwrap());
                if !found.is_empty() {
                    caught.push(format!("{}: {found:?}", path.display()));
                }
            }
        }
        caught
    }
}

/// A word that is nowhere by chance.
pub fn canary(name: &str) -> String {
    let mut random = [0; 12];
    getrandom::fill(&mut random).unwrap();
    format!("canary-{name}-{}", HEXLOWER.encode(&random))
}
