//! The conformance suite for destinations.

#![expect(clippy::unwrap_used, reason = "a suite for tests")]

use super::noise::noise;
use holdfast::domain::destinations::destination::{Destination, Flow, Found};
use holdfast::domain::error::Error;
use std::cell::Cell;

/// Fails if `there` does not behave as a destination must. Its directory or bucket must not exist yet.
pub fn conforms(there: &dyn Destination) {
    assert!(there.prepare().unwrap(), "it was missing");
    assert!(!there.prepare().unwrap());
    assert_eq!(there.stat("a").unwrap(), None);
    assert!(there.list().unwrap().is_empty());
    let put = |name: &str, from: u64, content: &[u8]| {
        let mut left = content;
        let heard = Cell::new(from);
        let outcome = there.put(
            name,
            from,
            &mut |block| {
                let read = left.len().min(block.len()).min(7777);
                block[..read].copy_from_slice(&left[..read]);
                left = &left[read..];
                Ok(read)
            },
            &mut |now| {
                assert!(now > heard.get(), "progress only increases");
                heard.set(now);
            },
        );
        if outcome.is_ok() {
            assert_eq!(heard.get(), from + content.len() as u64);
        }
        outcome
    };
    let whole = |name: &str| {
        let mut bytes = Vec::new();
        there
            .read(name, &mut |block| {
                bytes.extend_from_slice(block);
                Ok(Flow::On)
            })
            .map(|()| bytes)
    };
    let content = noise(5_000_000, 1);
    put("a", 0, &content).unwrap();
    assert_eq!(there.stat("a").unwrap(), Some(Found::File(5_000_000)));
    assert_eq!(whole("a").unwrap(), content);
    assert!(put("a", 0, b"again").is_err(), "a new draft must be new");
    assert_eq!(whole("a").unwrap(), content);
    assert!(put("missing", 5, b"x").is_err(), "a draft to append to must exist");
    put("a", 5_000_000, b"more").unwrap();
    assert_eq!(whole("a").unwrap()[5_000_000..], *b"more");
    put("empty", 0, b"").unwrap();
    assert_eq!(whole("empty").unwrap(), b"");
    let failing = there.put("c", 0, &mut |_| Err(Error::Refused("here".into())), &mut |_| ());
    assert!(matches!(failing, Err(Error::Refused(_))), "the error of the reader is passed on");
    there.remove("c").unwrap();
    let pieces = Cell::new(0);
    there
        .read("a", &mut |_| {
            pieces.set(pieces.get() + 1);
            Ok(Flow::Enough)
        })
        .unwrap();
    assert_eq!(pieces.get(), 1);
    assert!(whole("missing").is_err());
    assert!(there.commit("a", "b").unwrap());
    assert_eq!(there.stat("a").unwrap(), None);
    assert!(!there.commit("empty", "b").unwrap(), "nothing is replaced");
    assert_eq!(there.stat("b").unwrap(), Some(Found::File(5_000_004)));
    assert!(there.commit("missing", "d").is_err());
    let mut names: Vec<_> = there.list().unwrap().into_iter().map(|file| (file.name, file.size)).collect();
    names.sort();
    assert_eq!(names, [("b".to_owned(), 5_000_004), ("empty".to_owned(), 0)]);
    assert!(there.remove("b").unwrap());
    assert!(!there.remove("b").unwrap());
    assert!(there.free_space("empty").unwrap().is_none_or(|free| free > 0));
}
