//! Reads the server's JSON in the browser. `serde_json` compiles its parser into the code of each type, which makes the
//! page larger; here one parser makes a tree, and types are read from the tree.

use crate::model::AppError;
use codee::string::JsonSerdeCodec;
use codee::{Decoder, Encoder};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use std::{fmt, mem, vec};

/// Lists and objects are nested no deeper than this.
const DEPTH: u8 = 64;

/// The answer of a server function as JSON, decoded when it is used.
pub type Said = Result<String, AppError>;

/// The codec of [`Said`]: a sign, then the JSON of the value or of the error.
pub struct AsSaid;

impl Encoder<Said> for AsSaid {
    type Error = <JsonSerdeCodec as Encoder<AppError>>::Error;
    type Encoded = String;

    fn encode(said: &Said) -> Result<String, Self::Error> {
        Ok(match said {
            Ok(json) => format!("+{json}"),
            Err(error) => format!("-{}", JsonSerdeCodec::encode(error)?),
        })
    }
}

impl Decoder<Said> for AsSaid {
    type Error = Unreadable;
    type Encoded = str;

    fn decode(text: &str) -> Result<Said, Unreadable> {
        match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(json), _) => Ok(Ok(json.to_owned())),
            (_, Some(json)) => read(json).map(Err),
            _ => Err(Unreadable("nothing that was said".to_owned())),
        }
    }
}

/// Reads a value off its JSON.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    T::deserialize(parse(text)?)
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl Error for Unreadable {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self(words.to_string())
    }

    // The default says what was there instead, numbers with a fraction included; writing those takes a lot of code.
    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("expected {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("expected {expected}"))
    }
}

/// What JSON can say, as far as the server says it: no number has a fraction.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

fn parse(text: &str) -> Result<Tree, Unreadable> {
    let mut parser = Parser { text, at: 0 };
    let tree = parser.value(DEPTH);
    parser.skip_blanks();
    tree.filter(|_| parser.at == text.len())
        .ok_or_else(|| Unreadable(format!("no JSON as the server writes it, at byte {}", parser.at)))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: u8) -> Option<Tree> {
        let depth = depth.checked_sub(1)?;
        self.skip_blanks();
        match self.rest().as_bytes().first()? {
            b'{' => {
                let mut members = Vec::new();
                self.list(b'}', |parser| {
                    parser.skip_blanks();
                    let key = parser.string()?;
                    parser.skip_blanks();
                    parser.expect(":")?;
                    members.push((key, parser.value(depth)?));
                    Some(())
                })?;
                Some(Tree::Object(members))
            }
            b'[' => {
                let mut items = Vec::new();
                self.list(b']', |parser| {
                    items.push(parser.value(depth)?);
                    Some(())
                })?;
                Some(Tree::List(items))
            }
            b'"' => self.string().map(Tree::Text),
            b'n' => self.expect("null").map(|()| Tree::Null),
            b't' => self.expect("true").map(|()| Tree::Bool(true)),
            b'f' => self.expect("false").map(|()| Tree::Bool(false)),
            _ => self.number(),
        }
    }

    /// Everything between two brackets, comma by comma.
    fn list(&mut self, end: u8, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.skip_blanks();
        if self.rest().as_bytes().first() == Some(&end) {
            self.at += 1;
            return Some(());
        }
        loop {
            each(self)?;
            self.skip_blanks();
            let next = *self.rest().as_bytes().first()?;
            if next != end && next != b',' {
                return None;
            }
            self.at += 1;
            if next == end {
                return Some(());
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.expect("\"")?;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let (plain, special) = rest.split_at_checked(rest.find(['"', '\\'])?)?;
            out.push_str(plain);
            let is_end = special.starts_with('"');
            self.at += plain.len() + 1;
            if is_end {
                return Some(out);
            }
            out.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let kind = *self.rest().as_bytes().first()?;
        self.at += 1;
        Some(match kind {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let first = self.hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                self.expect("\\u")?;
                let second = self.hex()?.checked_sub(0xdc00).filter(|second| *second < 0x400)?;
                return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second);
            }
            b'"' | b'\\' | b'/' => char::from(kind),
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn number(&mut self) -> Option<Tree> {
        let rest = self.rest();
        let end = rest.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest.get(..end)?;
        let plain = digits.trim_start_matches('-');
        if plain.len() > 1 && plain.starts_with('0') {
            return None;
        }
        self.at += end;
        digits.parse().map(Tree::Unsigned).or_else(|_| digits.parse().map(Tree::Negative)).ok()
    }

    fn expect(&mut self, word: &str) -> Option<()> {
        self.rest().starts_with(word).then(|| self.at += word.len())
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

// Out of line: the readers of all types are made of these.
impl Tree {
    #[inline(never)]
    fn boolean(self, expected: &dyn Expected) -> Result<bool, Unreadable> {
        if let Self::Bool(value) = self { Ok(value) } else { Err(other(expected)) }
    }

    #[inline(never)]
    fn unsigned(self, expected: &dyn Expected) -> Result<u64, Unreadable> {
        if let Self::Unsigned(value) = self { Ok(value) } else { Err(other(expected)) }
    }

    #[inline(never)]
    fn signed(self, expected: &dyn Expected) -> Result<i64, Unreadable> {
        match self {
            Self::Unsigned(value) => value.try_into().map_err(|_| other(expected)),
            Self::Negative(value) => Ok(value),
            _ => Err(other(expected)),
        }
    }

    #[inline(never)]
    fn text(self, expected: &dyn Expected) -> Result<String, Unreadable> {
        if let Self::Text(value) = self { Ok(value) } else { Err(other(expected)) }
    }

    #[inline(never)]
    fn items(self, expected: &dyn Expected) -> Result<Items, Unreadable> {
        if let Self::List(items) = self { Ok(Items(items.into_iter())) } else { Err(other(expected)) }
    }

    #[inline(never)]
    fn members(self, expected: &dyn Expected) -> Result<Members, Unreadable> {
        let Self::Object(members) = self else { return Err(other(expected)) };
        Ok(Members { left: members.into_iter(), value: Self::Null })
    }

    /// Of an enumeration: its name alone, or an object with the name and what belongs to it.
    #[inline(never)]
    fn variant(self, expected: &dyn Expected) -> Result<Variant, Unreadable> {
        match self {
            Self::Text(name) => Ok(Variant { name, content: Self::Null }),
            Self::Object(members) => match <[_; 1]>::try_from(members) {
                Ok([(name, content)]) => Ok(Variant { name, content }),
                Err(_) => Err(other(expected)),
            },
            _ => Err(other(expected)),
        }
    }
}

#[inline(never)]
fn other(expected: &dyn Expected) -> Unreadable {
    Error::invalid_type(Unexpected::Unit, expected)
}

struct Items(vec::IntoIter<Tree>);

impl Items {
    #[inline(never)]
    fn step(&mut self) -> Option<Tree> {
        self.0.next()
    }
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unreadable> {
        self.step().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Members {
    left: vec::IntoIter<(String, Tree)>,
    value: Tree,
}

impl Members {
    #[inline(never)]
    fn step(&mut self) -> Option<Tree> {
        let (key, value) = self.left.next()?;
        self.value = value;
        Some(Tree::Text(key))
    }

    #[inline(never)]
    fn take(&mut self) -> Tree {
        mem::replace(&mut self.value, Tree::Null)
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = Unreadable;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unreadable> {
        self.step().map(|key| seed.deserialize(key)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unreadable> {
        seed.deserialize(self.take())
    }
}

struct Variant {
    name: String,
    content: Tree,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Unreadable;
    type Variant = Tree;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Tree), Unreadable> {
        Ok((seed.deserialize(Tree::Text(self.name))?, self.content))
    }
}

impl<'de> VariantAccess<'de> for Tree {
    type Error = Unreadable;

    fn unit_variant(self) -> Result<(), Unreadable> {
        if self == Self::Null { Ok(()) } else { Err(other(&"a name alone")) }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unreadable> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(self.items(&"a list")?)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_map(self.members(&"an object")?)
    }
}

// Each kind by itself: `deserialize_any` would make every type bring along what it says to all the others.
impl<'de> Deserializer<'de> for Tree {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Negative(value) => visitor.visit_i64(value),
            Self::Text(value) => visitor.visit_string(value),
            list @ Self::List(_) => visitor.visit_seq(list.items(&"a list")?),
            object @ Self::Object(_) => visitor.visit_map(object.members(&"an object")?),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_bool(self.boolean(&"a truth value")?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_u64(self.unsigned(&"a number")?)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_i64(self.signed(&"a number")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_string(self.text(&"a text")?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_str(&self.text(&"a name")?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        if matches!(self, Self::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        if matches!(self, Self::Null) { visitor.visit_unit() } else { Err(other(&"nothing")) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_seq(self.items(&"a list")?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        visitor.visit_map(self.members(&"an object")?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_enum(self.variant(&"a name")?)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u128 f32 f64 char bytes byte_buf unit_struct tuple tuple_struct
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// What `serde_json` makes of it, in our terms; nothing where it has a fraction.
    fn tree(value: &Value) -> Option<Tree> {
        Some(match value {
            Value::Null => Tree::Null,
            Value::Bool(value) => Tree::Bool(*value),
            Value::Number(number) => {
                number.as_u64().map(Tree::Unsigned).or_else(|| number.as_i64().map(Tree::Negative))?
            }
            Value::String(text) => Tree::Text(text.clone()),
            Value::Array(items) => Tree::List(items.iter().map(tree).collect::<Option<_>>()?),
            Value::Object(members) => Tree::Object(
                members
                    .iter()
                    .map(|(key, value)| Some((key.clone(), tree(value)?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read(value in any_value()) {
            prop_assert_eq!(Ok(tree(&value).unwrap()), parse(&value.to_string()));
            prop_assert_eq!(Ok(tree(&value).unwrap()), parse(&format!(" {value:#}\n")));
        }

        #[test]
        fn what_serde_json_refuses_is_refused(value in any_value(), at in any::<prop::sample::Index>(), cut in ".?") {
            let mut text: Vec<_> = value.to_string().chars().collect();
            let at = at.index(text.len());
            text.splice(at..=at, cut.chars());
            let text: String = text.into_iter().collect();
            // A raw control character in a string is let pass.
            if let (Err(_), Ok(read)) = (serde_json::from_str::<Value>(&text), parse(&text)) {
                prop_assert!(text.contains(char::is_control), "{text} {read:?}");
            }
        }
    }

    #[test]
    fn escapes_are_what_they_stand_for() {
        let read = parse(r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#);
        assert_eq!(read, Ok(Tree::Text("\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}".to_owned())));
        for bad in [
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\u0041""#,
            r#""\x""#,
            r#""\u12""#,
            "\"",
            "1.5",
            "[1,]",
            "{",
            "",
            "nul",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(DEPTH.into())).is_ok());
        assert!(parse(&nested(usize::from(DEPTH) + 1)).is_err());
    }

    #[test]
    fn types_are_read_as_serde_json_reads_them() {
        use crate::model::{AppError, HostKeyStatus, JobState, JobView, OffSite, SftpForm, Task};
        fn same<T: DeserializeOwned + PartialEq + fmt::Debug>(value: &Value) {
            let expected: T = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(read::<T>(&value.to_string()), Ok(expected));
        }
        let file = "backup_a.dump.gz";
        for state in [
            json!({"is": "queued"}),
            json!({"phase": "sending", "is": "running", "read": 1, "written": 2, "total": null}),
            json!({"is": "done", "file": file, "size": 7, "warnings": "w"}),
            json!({"is": "failed", "message": "m", "detail": null}),
        ] {
            same::<JobState>(&state);
            let task = json!({"does": "upload", "of": file});
            same::<JobView>(&json!({"id": 3, "task": task, "started": -5, "ended": 6, "state": state}));
        }
        same::<Task>(&json!({"of": "shop", "does": "create"}));
        same::<OffSite>(&json!({"is": "failed", "why": "x", "at": 1}));
        same::<Result<Vec<Option<u16>>, AppError>>(&json!({"Ok": [1, null]}));
        same::<Result<(), AppError>>(
            &json!({"Err": serde_json::to_value(AppError::Unauthenticated).unwrap()}),
        );
        same::<HostKeyStatus>(&serde_json::to_value(HostKeyStatus::Known).unwrap());
        same::<SftpForm>(&serde_json::to_value(SftpForm::default()).unwrap());
        assert!(read::<u16>("65536").is_err() && read::<JobState>("{\"is\":\"gone\"}").is_err());
        assert!(read::<SftpForm>("{}").is_err() && read::<bool>("1").is_err());
    }
}
