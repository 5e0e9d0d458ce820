//! SQLite's record format: how the values of a row are stored.

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'p> {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number, whose value is not needed.
    Real,
    /// Text in the database's encoding.
    Text(&'p [u8]),
    /// Bytes.
    Blob,
}

/// The encoding of all text in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// UTF-8.
    Utf8,
    /// UTF-16, little-endian.
    Utf16Little,
    /// UTF-16, big-endian.
    Utf16Big,
}

impl Text {
    /// Decodes text; an error if the bytes are invalid.
    pub fn read(self, bytes: &[u8]) -> Result<String, ()> {
        let units = |from: fn([u8; 2]) -> u16| {
            let (pairs, rest) = bytes.as_chunks::<2>();
            if rest.is_empty() {
                String::from_utf16(&pairs.iter().copied().map(from).collect::<Vec<_>>()).map_err(drop)
            } else {
                Err(())
            }
        };
        match self {
            Self::Utf8 => std::str::from_utf8(bytes).map(str::to_owned).map_err(drop),
            Self::Utf16Little => units(u16::from_le_bytes),
            Self::Utf16Big => units(u16::from_be_bytes),
        }
    }
}

/// A variable-length integer, and its size in bytes.
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        if at == 8 {
            return Some((number << 8 | u64::from(*byte), 9));
        }
        number = number << 7 | u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            return Some((number, at + 1));
        }
    }
    None
}

/// The size of a value of that type, in bytes.
fn length(kind: u64) -> u64 {
    match kind {
        1 => 1,
        2 => 2,
        3 => 3,
        4 => 4,
        5 => 6,
        6 | 7 => 8,
        0 | 8..12 => 0,
        _ => (kind - 12) / 2,
    }
}

/// The types of a record's values; `None` if the header is malformed.
fn kinds(header: &[u8]) -> Option<Vec<u64>> {
    let (size, mut at) = varint(header)?;
    let header = header.get(..usize::try_from(size).ok()?)?;
    let mut kinds = Vec::new();
    while at < header.len() {
        let (kind, read) = varint(&header[at..])?;
        kinds.push(kind);
        at += read;
    }
    (at == header.len()).then_some(kinds)
}

/// The size of a record's header in bytes, if `beginning` is long enough to tell.
pub fn header_size(beginning: &[u8]) -> Option<u64> {
    varint(beginning).map(|(size, _)| size)
}

/// Whether a record of `payload` bytes with this header is as long as its values.
pub fn is_whole(header: &[u8], payload: u64) -> bool {
    let size = header_size(header);
    let values = kinds(header)
        .and_then(|kinds| kinds.into_iter().try_fold(0_u64, |sum, kind| sum.checked_add(length(kind))));
    size.zip(values).and_then(|(size, values)| size.checked_add(values)) == Some(payload)
}

/// The values of a complete record.
pub fn decode(payload: &[u8]) -> Option<Vec<Value<'_>>> {
    let mut at = usize::try_from(header_size(payload)?).ok()?;
    let mut values = Vec::new();
    for kind in kinds(payload)? {
        let size = usize::try_from(length(kind)).ok()?;
        let bytes = payload.get(at..at.checked_add(size)?)?;
        at += size;
        values.push(match kind {
            0 | 10 | 11 => Value::Null,
            1..=6 => {
                let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
                Value::Integer(bytes.iter().fold(sign, |number: i64, byte| number << 8 | i64::from(*byte)))
            }
            7 => Value::Real,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            _ if kind % 2 == 0 => Value::Blob,
            _ => Value::Text(bytes),
        });
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use crate::domain::engines::sqlite::record::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_sqlite_writes_them() {
        for (bytes, number) in [
            (&[0x00][..], 0),
            (&[0x7F], 127),
            (&[0x81, 0x00], 128),
            (&[0xFF, 0x7F], 16_383),
            (&[0xFF; 9], u64::MAX),
        ] {
            assert_eq!(varint(bytes), Some((number, bytes.len())));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_record_gives_its_values() {
        let record = b"\x07\x00\x01\x02\x08\x09\x13\xFF\x01\x00abc";
        let values = [
            Value::Null,
            Value::Integer(-1),
            Value::Integer(256),
            Value::Integer(0),
            Value::Integer(1),
            Value::Text(b"abc"),
        ];
        assert_eq!(decode(record).unwrap(), values);
        assert!(is_whole(record, record.len() as u64));
        assert!(!is_whole(record, record.len() as u64 + 1) && !is_whole(&record[..6], 12));
    }

    #[test]
    fn text_is_read_in_its_encoding_and_nothing_else_is_text() {
        assert_eq!(Text::Utf8.read("ü".as_bytes()), Ok("ü".to_owned()));
        assert_eq!(Text::Utf16Little.read(b"\xFC\0"), Ok("ü".to_owned()));
        assert_eq!(Text::Utf16Big.read(b"\0\xFC"), Ok("ü".to_owned()));
        for (encoding, bytes) in
            [(Text::Utf8, &b"\xFF"[..]), (Text::Utf16Little, b"\0"), (Text::Utf16Big, b"\xD8\0")]
        {
            assert_eq!(encoding.read(bytes), Err(()));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), size: u64) {
            let _ = decode(&bytes);
            let _ = is_whole(&bytes, size);
        }
    }
}
