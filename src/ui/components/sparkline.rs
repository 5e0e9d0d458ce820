//! The total size of all backups over time, as a small curve.

use crate::model::trend::DAYS;
use crate::model::{Trend, human};
use leptos::prelude::*;
use std::fmt::Write as _;

/// Units of the drawing, which is stretched to its box.
const HEIGHT: u64 = 320;
const STEP: usize = 10;

/// The curve, with its first and last value.
#[component]
pub fn Sparkline(
    /// The values.
    trend: Trend,
) -> impl IntoView {
    let Trend(points) = trend;
    let (first, last) = (points.first().copied().unwrap_or(0), points.last().copied().unwrap_or(0));
    let (first, last) = (human::size(first), human::size(last));
    let label = format!("Over {DAYS} days from {first} to {last}");
    let change = if first == last { last } else { format!("{first} → {last}") };
    let line = line(&points);
    let width = points.len().saturating_sub(1) * STEP;
    let area = format!("{line}V{HEIGHT}H0Z");
    markup! {
        <div class="wide">
            <span class="k">
                <span>{format!("Stored, {DAYS} days")}</span>
                <span>{change}</span>
            </span>
            <svg class="spark" viewBox=format!("0 0 {width} {HEIGHT}") preserveAspectRatio="none" role="img" aria-label=label>
                <path class="area" d=area></path>
                <path d=line></path>
            </svg>
        </div>
    }
}

/// The points as a path, with the largest at the top and zero at the bottom.
fn line(points: &[u64]) -> String {
    const MARGIN: u128 = 20;
    let most = u128::from(points.iter().copied().max().unwrap_or(0)).max(1);
    let mut path = String::new();
    for (i, &bytes) in points.iter().enumerate() {
        let height = u128::from(bytes) * (u128::from(HEIGHT) - MARGIN) / most;
        let y = u128::from(HEIGHT) - height;
        let _ = write!(path, "{}{} {y}", if i == 0 { 'M' } else { 'L' }, i * STEP);
    }
    path
}

#[cfg(test)]
mod tests {
    use crate::ui::components::sparkline::*;

    #[test]
    fn the_curve_stays_inside_its_frame() {
        assert_eq!(line(&[0, 5, 10]), "M0 320L10 170L20 20");
        assert_eq!(line(&[0, 0]), "M0 320L10 320");
        assert_eq!(line(&[u64::MAX, u64::MAX]), "M0 20L10 20");
    }
}
