//! A time in UTC with milliseconds, and the three formats in which Holdfast writes times.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Milliseconds since 1970-01-01T00:00:00Z. Displays as `YYYY-MM-DD HH:MM:SS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(i64);

impl Stamp {
    /// The time `millis` milliseconds after the epoch, or before it if negative.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since `earlier`; 0 if `earlier` is later.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        let millis = self.0.saturating_sub(earlier.0);
        if millis < 0 { 0 } else { millis.unsigned_abs() / 1000 }
    }

    /// RFC 3339 with milliseconds: `2026-11-23T02:41:07.123Z`.
    pub fn rfc3339(self) -> String {
        format!("{}.{:03}Z", self.digits('T', ':'), self.0.rem_euclid(1000))
    }

    /// The form used in file names: `2026-11-23_02-41-07`.
    pub fn for_file_name(self) -> String {
        self.digits('_', '-')
    }

    /// Reads the form used in file names; `None` if it is not a valid date.
    pub fn from_file_name(text: &str) -> Option<Self> {
        let digits = |range: std::ops::Range<usize>| -> Option<u32> {
            let part = text.get(range)?;
            part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'_'), (13, b'-'), (16, b'-')];
        if text.len() != 19 || separators.iter().any(|&(at, byte)| text.as_bytes()[at] != byte) {
            return None;
        }
        let year = i32::try_from(digits(0..4)?).ok()?;
        let moment = NaiveDate::from_ymd_opt(year, digits(5..7)?, digits(8..10)?)?.and_hms_opt(
            digits(11..13)?,
            digits(14..16)?,
            digits(17..19)?,
        )?;
        Some(Self(moment.and_utc().timestamp_millis()))
    }

    /// Reads RFC 3339 as [`Stamp::rfc3339`] writes it: UTC, with or without a fraction of a second.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let body = text.strip_suffix('Z')?;
        let (whole, fraction) = body.split_once('.').unwrap_or((body, "0"));
        let (date, time) = whole.split_once('T')?;
        let seconds = Self::from_file_name(&format!("{date}_{}", time.replace(':', "-")))?;
        if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        Some(Self(seconds.0 + millis))
    }

    /// Date and time of day with these separators: `between` the two, and `within` the time of day.
    fn digits(self, between: char, within: char) -> String {
        let t = DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::UNIX_EPOCH);
        let (year, month, day) = (t.year(), t.month(), t.day());
        let (hour, minute, second) = (t.hour(), t.minute(), t.second());
        format!("{year:04}-{month:02}-{day:02}{between}{hour:02}{within}{minute:02}{within}{second:02}")
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits(' ', ':'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_prints_in_its_three_forms() {
        let stamp = Stamp::from_millis(1_795_401_667_123);
        assert_eq!(stamp.to_string(), "2026-11-23 02:41:07");
        assert_eq!(stamp.rfc3339(), "2026-11-23T02:41:07.123Z");
        assert_eq!(stamp.for_file_name(), "2026-11-23_02-41-07");
    }

    #[test]
    fn invalid_dates_are_refused() {
        for text in
            ["2026-13-01_00-00-00", "2026-02-30_00-00-00", "2026-01-01 00-00-00", "", "2026-01-01_00-00-0é"]
        {
            assert_eq!(Stamp::from_file_name(text), None, "{text}");
        }
        assert_eq!(Stamp::from_rfc3339("2026-11-23T02:41:07.123"), None);
        assert_eq!(Stamp::from_rfc3339("2026-11-23T02:41:07.é2Z"), None);
    }

    proptest! {
        #[test]
        fn every_time_survives_printing(millis in 0i64..4_102_444_800_000) {
            let stamp = Stamp::from_millis(millis);
            prop_assert_eq!(Stamp::from_rfc3339(&stamp.rfc3339()), Some(stamp));
            let whole = Stamp::from_millis(millis - millis % 1000);
            prop_assert_eq!(Stamp::from_file_name(&stamp.for_file_name()), Some(whole));
        }

        #[test]
        fn reading_never_panics(text in ".{0,40}") {
            let _ = Stamp::from_file_name(&text);
            let _ = Stamp::from_rfc3339(&text);
        }
    }
}
