//! Sizes, counts, durations and ages in words.

/// `bytes` in the unit that reads best, with 1,024 bytes to the KB: `512 B`, `1.0 KB`, `664.2 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit_bytes = 1024;
    let mut units = UNITS.iter().peekable();
    loop {
        let tenths = tenths_of(bytes, unit_bytes);
        match units.next() {
            Some(_) if tenths >= 10_240 && units.peek().is_some() => unit_bytes *= 1024,
            unit => {
                return format!("{}.{} {}", tenths / 10, tenths % 10, unit.copied().unwrap_or_default());
            }
        }
    }
}

/// `bytes` in KB (1,024 bytes) to one decimal, without the unit: `size_kb` in the metadata of a backup.
pub fn size_kb(bytes: u64) -> String {
    let tenths = tenths_of(bytes, 1024);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// The exact figure, grouped: `696,463,360 bytes`.
pub fn exact(bytes: u64) -> String {
    format!("{} {}", grouped(bytes), if bytes == 1 { "byte" } else { "bytes" })
}

/// `number` with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 backup`, `57 backups`, `2 copies`.
pub fn count(number: u64, one: &str) -> String {
    match one.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        _ if number == 1 => format!("1 {one}"),
        Some(stem) => format!("{} {stem}ies", grouped(number)),
        None => format!("{} {one}s", grouped(number)),
    }
}

/// A running clock: `0:38`, `12:05`, `1:02:03`.
pub fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// How long something took: `under 0.1 s`, `0.4 s`, `38.0 s`, `12:05`.
pub fn duration(millis: u64) -> String {
    if millis < 100 {
        "under 0.1 s".to_owned()
    } else if millis < 60_000 {
        format!("{}.{} s", millis / 1000, millis % 1000 / 100)
    } else {
        clock(millis / 1000)
    }
}

/// An age in the largest fitting unit: `just now`, `4 minutes ago`, `26 hours ago`, `3 days ago`.
pub fn age(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{} ago", count(number, unit))
}

fn tenths_of(bytes: u64, unit: u64) -> u64 {
    let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
    u64::try_from(tenths).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KB");
        assert_eq!(size(1_048_524), "1023.9 KB");
        assert_eq!(size(1_048_575), "1.0 MB");
        assert_eq!(size(696_463_360), "664.2 MB");
        assert_eq!(size(u64::MAX), "16384.0 PB");
        assert_eq!(size_kb(1), "0.0");
        assert_eq!(size_kb(1536), "1.5");
        assert_eq!(exact(696_463_360), "696,463,360 bytes");
        assert_eq!(exact(1), "1 byte");
    }

    #[test]
    fn counts_clocks_and_ages_read_well() {
        assert_eq!(count(1, "backup"), "1 backup");
        assert_eq!(count(1057, "backup"), "1,057 backups");
        assert_eq!(count(1, "copy"), "1 copy");
        assert_eq!(count(2, "copy"), "2 copies");
        assert_eq!(count(2, "day"), "2 days");
        assert_eq!(clock(38), "0:38");
        assert_eq!(clock(3723), "1:02:03");
        assert_eq!(duration(99), "under 0.1 s");
        assert_eq!(duration(432), "0.4 s");
        assert_eq!(duration(725_000), "12:05");
        assert_eq!(age(59), "just now");
        assert_eq!(age(240), "4 minutes ago");
        assert_eq!(age(3600), "1 hour ago");
        assert_eq!(age(93_600), "26 hours ago");
        assert_eq!(age(259_200), "3 days ago");
    }
}
