//! The total size of the existing backups over time.

use super::{Backup, Stamp};
use serde::{Deserialize, Serialize};

/// Days that the trend covers.
pub const DAYS: i64 = 90;

/// Days between two points.
const STEP: i64 = 2;

const DAY: i64 = 86_400_000;

/// For each point in time, the total size in bytes of those existing backups that were made by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trend(
    /// Oldest first, the last one now.
    pub Vec<u64>,
);

impl Trend {
    /// The trend of `backups` up to `now`; `None` if there are no backups.
    pub fn of(backups: &[Backup], now: Stamp) -> Option<Self> {
        let points = DAYS / STEP;
        let mut bytes = vec![0; usize::try_from(points).unwrap_or_default() + 1];
        for backup in backups {
            // A backup dated in the future, by a wrong clock, counts as made now.
            let age = (now.millis() - backup.created.millis()).max(0) / (STEP * DAY);
            let point = usize::try_from((points - age).max(0)).unwrap_or_default();
            bytes[point] += backup.size;
        }
        for point in 1..bytes.len() {
            bytes[point] += bytes[point - 1];
        }
        (!backups.is_empty()).then_some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileState;

    fn backup(age_days: i64, size: u64) -> Backup {
        Backup {
            name: format!("backup_{}.dump.gz", age_days + 1000).parse().unwrap(),
            database: None,
            engine: None,
            created: Stamp::from_millis(-age_days * DAY),
            modified: Stamp::from_millis(0),
            size,
            sha256: None,
            state: FileState::NoManifest,
            verified: None,
        }
    }

    #[test]
    fn the_curve_rises_with_each_backup_and_ends_at_the_current_total() {
        let trend =
            Trend::of(&[backup(400, 5), backup(10, 7), backup(0, 11), backup(-3, 13)], Stamp::from_millis(0));
        let Trend(points) = trend.unwrap();
        assert_eq!(points.len(), 46);
        assert_eq!((points[0], points[39], points[40], points[44], points[45]), (5, 5, 12, 12, 36));
    }

    #[test]
    fn no_backups_have_no_trend() {
        assert_eq!(Trend::of(&[], Stamp::from_millis(0)), None);
    }
}
