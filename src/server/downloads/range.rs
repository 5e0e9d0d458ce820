//! Ranges and conditions of a download: which bytes a request asks for, and whether of this version (RFC 9110, §§13
//! and 14).

use http::HeaderMap;
use http::header::{IF_MATCH, IF_RANGE};
use http_range_header::{EndPosition, StartPosition, parse_range_header};
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// A modified time has whole seconds, so it identifies a version only once it is older than this: RFC 9110,
/// §8.8.2.2.
const SETTLED: Duration = Duration::from_mins(1);

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// All bytes.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes beyond the end.
    Unsatisfiable,
}

/// The part of `size` bytes that `range` asks for. Several parts, and ranges that make no sense, count as the whole.
pub fn part_of(range: &str, size: u64) -> Part {
    let Ok(parsed) = parse_range_header(range) else { return Part::Whole };
    let [asked] = parsed.ranges[..] else { return Part::Whole };
    let start = match asked.start {
        StartPosition::Index(start) => start,
        StartPosition::FromLast(length) => size.saturating_sub(length),
    };
    let end = match asked.end {
        // A range from back to front makes no sense, whatever the size.
        EndPosition::Index(end) if end < start => return Part::Whole,
        EndPosition::Index(end) => end.saturating_add(1).min(size),
        EndPosition::LastByte => size,
    };
    if start < end { Part::Bytes(start..end) } else { Part::Unsatisfiable }
}

/// Whether the version is the one in `If-Match`, with which Firefox resumes downloads. Weak tags never match.
pub fn is_expected(headers: &HeaderMap, etag: &str) -> bool {
    let mut tags = headers.get_all(IF_MATCH).iter().peekable();
    let matches = |tag: &str| tag.trim() == "*" || tag.trim() == etag;
    tags.peek().is_none() || tags.any(|tags| tags.to_str().is_ok_and(|tags| tags.split(',').any(matches)))
}

/// Whether the version is the one in `If-Range`, of which the client has a part. Weak tags never match. `dated` is
/// the modified time, if that identifies a version.
pub fn is_same(headers: &HeaderMap, etag: &str, dated: Option<SystemTime>) -> bool {
    let Some(validator) = headers.get(IF_RANGE) else { return true };
    let validator = validator.to_str().unwrap_or_default().trim();
    validator == etag
        || dated.is_some_and(|modified| {
            let settled = SystemTime::now().duration_since(modified).is_ok_and(|age| age > SETTLED);
            settled && validator == httpdate::fmt_http_date(modified)
        })
}

#[cfg(test)]
mod tests {
    use crate::server::downloads::range::*;

    #[test]
    fn a_range_is_a_part_nothing_or_the_whole() {
        for (range, part) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-4", Part::Bytes(2..5)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=9-18446744073709551615", Part::Bytes(9..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=10-20", Part::Unsatisfiable),
            ("bytes=18446744073709551615-18446744073709551615", Part::Unsatisfiable),
            ("bytes=4-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=18446744073709551616-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=-", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("bytes=0x1-2", Part::Whole),
        ] {
            assert_eq!(part_of(range, 10), part, "{range}");
        }
        assert_eq!(part_of("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(part_of("bytes=-5", 0), Part::Unsatisfiable);
    }
}
