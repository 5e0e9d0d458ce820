//! Command lines and environments of the program and of what it starts, as every user of the machine could read them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the program and its children were started with, looked at again and again.
pub struct Watch {
    seen: Arc<Mutex<BTreeMap<Vec<u8>, String>>>,
    stop: Arc<AtomicBool>,
    looking: Option<JoinHandle<()>>,
}

impl Watch {
    /// Over the children of this program that `fits` accepts by their command line, and all below them.
    pub fn over(fits: fn(&str) -> bool) -> Self {
        let (seen, stop) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<AtomicBool>::default());
        let (kept, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let looking = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                look(fits, &mut kept.lock().unwrap());
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { seen, stop, looking: Some(looking) }
    }

    /// What was seen: command line or environment, and what it is.
    pub fn end(mut self) -> BTreeMap<Vec<u8>, String> {
        self.stop.store(true, Ordering::Relaxed);
        self.looking.take().unwrap().join().unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn look(fits: fn(&str) -> bool, seen: &mut BTreeMap<Vec<u8>, String>) {
    let me = std::process::id();
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (process, parent)));
    }
    for process in parents.keys() {
        // Ours, or below one of ours.
        let mut root = *process;
        while let Some(parent) = parents.get(&root).filter(|parent| **parent != me) {
            root = *parent;
        }
        if parents.get(&root) != Some(&me) {
            continue;
        }
        let of_root = fs::read(format!("/proc/{root}/cmdline")).unwrap_or_default();
        if !fits(&String::from_utf8_lossy(&of_root)) {
            continue;
        }
        let read = |what: &str| fs::read(format!("/proc/{process}/{what}")).unwrap_or_default();
        let line = read("cmdline");
        let words = String::from_utf8_lossy(&line).replace('\0', " ");
        // Between fork and exec it is still us.
        if root != *process && line != of_root {
            seen.entry(read("environ")).or_insert_with(|| format!("environment of {words}"));
        }
        seen.entry(line).or_insert_with(|| format!("arguments: {words}"));
    }
}
