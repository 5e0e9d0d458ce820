//! The first bytes of an archive: which versions of server and `pg_dump` made the archive.

/// The magic bytes of an archive.
pub const MAGIC: &[u8] = b"PGDMP";

/// The versions of the server and of the `pg_dump` that made the archive, read from its first bytes.
pub fn origin(beginning: &[u8]) -> Option<(String, String)> {
    head(beginning).map(|(server, tool, _)| (server, tool))
}

/// The number of objects in the archive's table of contents, read from its first bytes.
pub fn entries(beginning: &[u8]) -> Option<u64> {
    head(beginning).and_then(|(.., entries)| entries)
}

fn head(beginning: &[u8]) -> Option<(String, String, Option<u64>)> {
    let mut rest = beginning.strip_prefix(MAGIC)?;
    let [_major, minor, _revision, int_size, _offset_size, _format] = *rest.split_off(..6)? else {
        return None;
    };
    let number = |rest: &mut &[u8]| -> Option<i64> {
        let field = rest.split_off(..=usize::from(int_size))?;
        let magnitude = field[1..].iter().rev().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        Some(if field[0] == 0 { magnitude } else { magnitude.wrapping_neg() })
    };
    let compression = if minor >= 15 { 1 } else { 1 + usize::from(int_size) };
    rest.split_off(..compression)?;
    for _ in 0..7 {
        number(&mut rest)?;
    }
    let mut strings = Vec::new();
    for _ in 0..3 {
        let length = usize::try_from(number(&mut rest)?).ok()?;
        strings.push(String::from_utf8(rest.split_off(..length)?.to_vec()).ok()?);
    }
    let [_database, server, tool] = <[String; 3]>::try_from(strings).ok()?;
    let entries = number(&mut rest).and_then(|entries| u64::try_from(entries).ok());
    Some((server, tool, entries))
}
