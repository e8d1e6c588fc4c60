//! Reads the JSON files of Docker and buildx by the rules of Go's `encoding/json`.
//!
//! Keys match in any case, a repeated key is read again, every type accepts `null`, and after a value of a wrong
//! type the rest of the document is still read. Errors give the position and never the content, because the content
//! may be a credential. Start at [`GoText`]; [`Reading`] fills Rust values.
//!
//! `tests/campaigns/docker_config.rs` compares the results with Go's.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The deepest nesting of arrays and objects that Go accepts (`maxNestingDepth` of its scanner).
const MAX_DEPTH: usize = 10_000;

/// The text of a document. Invalid characters have been replaced as in Go.
#[derive(Clone)]
pub(crate) struct GoText(String);

/// Why a text is not a JSON document. Gives the position only, because the content may be a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotJson {
    /// The text begins with a byte order mark.
    #[error("it begins with a byte order mark")]
    Mark,
    /// The text ends within a value, or is empty where a value is required.
    #[error("it ends in the middle of a value")]
    End,
    /// The text breaks JSON's grammar.
    #[error("it is not valid JSON at line {line}, column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    #[error("its values are nested more than {MAX_DEPTH} deep")]
    Depth,
    /// Text follows the first value, although [`Trailing::Refused`] forbids it.
    #[error("it contains text after its first value")]
    Trailing,
}

/// What may follow the first value of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trailing {
    /// Anything: it is ignored, as by one call of Go's `Decoder.Decode`. An empty document is allowed, too.
    Ignored,
    /// Only white space, as for Go's `Unmarshal`. An empty document is an error.
    Refused,
}

/// The kind of a JSON value. It displays with its article ("a number").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonKind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// a number
    Number,
    /// a string
    String,
    /// an array
    Array,
    /// an object
    Object,
}

impl fmt::Display for JsonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// A value has another type than its field. The value itself is not kept, because it may be a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongType {
    /// The keys that lead to the value, joined by dots; empty for the document itself.
    pub(crate) at: String,
    /// The value's kind.
    pub(crate) found: JsonKind,
    /// The kind that the field requires.
    pub(crate) wanted: JsonKind,
}

impl fmt::Display for WrongType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, found, wanted } = self;
        if at.is_empty() {
            write!(f, "it is {found}, not {wanted}")
        } else {
            write!(f, "`{at}` is {found}, not {wanted}")
        }
    }
}

/// A value of a document: a slice of its text, which is known to be valid.
#[derive(Clone, Copy)]
pub(crate) struct GoValue<'a>(&'a RawValue);

impl GoText {
    /// Decodes `bytes` as Go does: each byte that is not part of valid UTF-8, and each escape of half a surrogate
    /// pair without the other half, becomes U+FFFD.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        Self(without_lone_surrogates(text))
    }

    /// Returns the document's value. `None` if the text is empty and `trailing` is [`Trailing::Ignored`].
    ///
    /// # Errors
    /// If the text is not JSON.
    pub(crate) fn value(&self, trailing: Trailing) -> Result<Option<GoValue<'_>>, NotJson> {
        if trailing == Trailing::Ignored && self.0.bytes().all(is_blank) {
            return Ok(None);
        }
        if self.0.starts_with('\u{feff}') {
            return Err(NotJson::Mark);
        }
        let mut document = serde_json::Deserializer::from_str(&self.0);
        let value = <&RawValue>::deserialize(&mut document).map_err(|error| not_json(&error))?;
        if depth(value.get()) > MAX_DEPTH {
            return Err(NotJson::Depth);
        }
        if trailing == Trailing::Refused {
            document.end().map_err(|_| NotJson::Trailing)?;
        }
        Ok(Some(GoValue(value)))
    }

    /// Whether anything but white space and a closing bracket follows the first value (`Decoder.More`). `false` if
    /// the first value is not valid.
    pub(crate) fn has_more(&self) -> bool {
        let mut document = serde_json::Deserializer::from_str(&self.0);
        if <&RawValue>::deserialize(&mut document).is_err() {
            return false;
        }
        let rest = document.into_iter::<&RawValue>().byte_offset();
        let next = self.0.bytes().skip(rest).find(|byte| !is_blank(*byte));
        next.is_some_and(|byte| !b"]}".contains(&byte))
    }
}

// Does not show the text, which may be a credential.
impl fmt::Debug for GoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GoText(..)")
    }
}

impl fmt::Debug for GoValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GoValue({})", self.kind())
    }
}

impl<'a> GoValue<'a> {
    /// The kind of the value, which its first byte tells.
    pub(crate) fn kind(self) -> JsonKind {
        match self.0.get().as_bytes().first() {
            Some(b'{') => JsonKind::Object,
            Some(b'[') => JsonKind::Array,
            Some(b'"') => JsonKind::String,
            Some(b't' | b'f') => JsonKind::Boolean,
            Some(b'n') => JsonKind::Null,
            _ => JsonKind::Number,
        }
    }

    /// Whether this is `null`.
    pub(crate) fn is_null(self) -> bool {
        self.kind() == JsonKind::Null
    }

    /// The members in the order of the text, duplicate keys included. `None` if this is not an object.
    pub(crate) fn members(self) -> Option<Vec<(String, GoValue<'a>)>> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, GoValue<'de>)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key()? {
                    members.push((key, GoValue(map.next_value()?)));
                }
                Ok(members)
            }
        }
        let mut value = serde_json::Deserializer::from_str(self.0.get());
        serde::Deserializer::deserialize_map(&mut value, Members).ok()
    }

    /// The elements in order. `None` if this is not an array.
    pub(crate) fn elements(self) -> Option<Vec<GoValue<'a>>> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Vec<GoValue<'de>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(GoValue(element));
                }
                Ok(elements)
            }
        }
        let mut value = serde_json::Deserializer::from_str(self.0.get());
        serde::Deserializer::deserialize_seq(&mut value, Elements).ok()
    }

    /// The text, with escapes resolved. `None` if this is not a string.
    pub(crate) fn string(self) -> Option<String> {
        serde_json::from_str(self.0.get()).ok()
    }

    fn boolean(self) -> Option<bool> {
        serde_json::from_str(self.0.get()).ok()
    }
}

/// Whether Go matches the key `key` of a document to the field `field`: ignoring case, and with the two letters
/// beyond ASCII (`ſ` and the Kelvin sign) whose case folding is an ASCII letter.
pub(crate) fn is_field(key: &str, field: &str) -> bool {
    let folded = |c: char| match c {
        'ſ' => 'S',
        '\u{212a}' => 'K',
        c => c.to_ascii_uppercase(),
    };
    key.chars().map(folded).eq(field.chars().map(folded))
}

/// Fills Rust values from a document and collects the values of wrong types.
///
/// As in Go, `null` leaves a text, a boolean or a structure unchanged and empties a map or a list. If an element of
/// a map has a wrong type, the map still gets its key, with an empty value.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The values of wrong types, in the order of the document.
    pub(crate) wrong: Vec<WrongType>,
}

impl Reading {
    /// Reads a structure: calls `field` with each member. `at` is the path of `value` for messages, here and below.
    pub(crate) fn object(
        &mut self,
        value: GoValue<'_>,
        at: &str,
        mut field: impl FnMut(&mut Self, &str, GoValue<'_>),
    ) {
        match value.members() {
            Some(members) => {
                for (key, value) in members {
                    field(self, &key, value);
                }
            }
            None => self.refuse(value, at, JsonKind::Object),
        }
    }

    /// Reads a string into `into`.
    pub(crate) fn text(&mut self, value: GoValue<'_>, at: &str, into: &mut String) {
        match value.string() {
            Some(text) => *into = text,
            None => self.refuse(value, at, JsonKind::String),
        }
    }

    /// Reads a boolean into `into`.
    pub(crate) fn boolean(&mut self, value: GoValue<'_>, at: &str, into: &mut bool) {
        match value.boolean() {
            Some(boolean) => *into = boolean,
            None => self.refuse(value, at, JsonKind::Boolean),
        }
    }

    /// Reads an integer into `into`. Other numbers, such as `1.5` or `1e3`, are of a wrong type.
    pub(crate) fn whole(&mut self, value: GoValue<'_>, at: &str, into: &mut i64) {
        match value.0.get().parse() {
            Ok(number) => *into = number,
            Err(_) => self.refuse(value, at, JsonKind::Number),
        }
    }

    /// Reads a map into `into`, whose other keys stay. `element` fills one value, which begins as its default.
    pub(crate) fn map<T: Default>(
        &mut self,
        value: GoValue<'_>,
        at: &str,
        into: &mut BTreeMap<String, T>,
        mut element: impl FnMut(&mut Self, GoValue<'_>, &str, &mut T),
    ) {
        match value.members() {
            Some(members) => {
                for (key, value) in members {
                    let mut filled = T::default();
                    element(
                        self,
                        value,
                        &format!("{at}.{}", shown_key(&key)),
                        &mut filled,
                    );
                    into.insert(key, filled);
                }
            }
            None if value.kind() == JsonKind::Null => into.clear(),
            None => self.refuse(value, at, JsonKind::Object),
        }
    }

    /// Reads a list into `into`; `element` fills one value. If a field occurs twice, the elements of the second
    /// list are read over those of the first, as in Go.
    pub(crate) fn list<T: Default>(
        &mut self,
        value: GoValue<'_>,
        at: &str,
        into: &mut Vec<T>,
        mut element: impl FnMut(&mut Self, GoValue<'_>, &str, &mut T),
    ) {
        match value.elements() {
            Some(elements) => {
                into.resize_with(elements.len(), T::default);
                for (index, (value, into)) in elements.into_iter().zip(into).enumerate() {
                    element(self, value, &format!("{at}[{index}]"), into);
                }
            }
            None if value.kind() == JsonKind::Null => into.clear(),
            None => self.refuse(value, at, JsonKind::Array),
        }
    }

    /// Records that `value` has the wrong type. Does nothing for null, which every type accepts.
    fn refuse(&mut self, value: GoValue<'_>, at: &str, wanted: JsonKind) {
        let found = value.kind();
        if found != JsonKind::Null {
            self.wrong.push(WrongType {
                at: at.to_owned(),
                found,
                wanted,
            });
        }
    }
}

/// Returns a key of a document in a form that can be printed: shortened, without control characters, and without
/// the text before an `@`, which may be a password.
pub(crate) fn shown_key(key: &str) -> String {
    const LONGEST: usize = 120;
    let (scheme, rest) = key
        .split_once("://")
        .filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .map_or((None, key), |(scheme, rest)| (Some(scheme), rest));
    let rest = rest
        .rsplit_once('@')
        .map_or_else(|| rest.to_owned(), |(_, after)| format!("xxxxx@{after}"));
    let whole = scheme.map_or_else(|| rest.clone(), |scheme| format!("{scheme}://{rest}"));
    let mut shown: String = whole
        .chars()
        .take(LONGEST)
        .map(|c| {
            if c.is_control() || c == '`' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect();
    if whole.chars().count() > LONGEST {
        shown.push('…');
    }
    shown
}

fn is_blank(byte: u8) -> bool {
    b" \t\r\n".contains(&byte)
}

/// Converts a syntax error. The message of `serde_json` is dropped: today it does not quote the document, but it
/// does not promise that, and the document may contain credentials.
fn not_json(error: &serde_json::Error) -> NotJson {
    if error.is_eof() {
        NotJson::End
    } else {
        NotJson::Syntax {
            line: error.line(),
            column: error.column(),
        }
    }
}

/// The deepest nesting of `json`, which must be valid.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string) = (0_usize, 0, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => drop(bytes.next()),
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Replaces escapes of half a surrogate pair (such as `\ud800`) without the other half by U+FFFD, as Go does.
/// `serde_json` would refuse them.
fn without_lone_surrogates(text: String) -> String {
    if !text.contains("\\u") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let take = match (escape(rest), rest.get(6..).and_then(escape)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&rest[..take]);
        rest = &rest[take..];
    }
    out.push_str(rest);
    out
}

/// The code unit of the `\u` escape that `text` begins with, or `None` if it does not begin with one.
fn escape(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn texts(json: &[u8]) -> (BTreeMap<String, String>, Vec<String>) {
        let text = GoText::new(json);
        let mut reading = Reading::default();
        let mut map = BTreeMap::new();
        if let Some(value) = text.value(Trailing::Ignored).unwrap() {
            reading.object(value, "", |reading, key, value| {
                if is_field(key, "tasks") {
                    reading.map(value, "tasks", &mut map, |reading, value, at, into| {
                        reading.text(value, at, into);
                    });
                }
            });
        }
        let wrong = reading.wrong.iter().map(ToString::to_string).collect();
        (map, wrong)
    }

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        owned.collect()
    }

    #[test]
    fn keys_match_in_any_case_and_repeated_keys_are_merged() {
        let (map, wrong) =
            texts(br#"{"Tasks":{"a":"1","b":"2"},"ta\u017f\u212as":{"b":"3","B":null}} {"#);
        assert_eq!(map, of(&[("a", "1"), ("b", "3"), ("B", "")]));
        assert_eq!(wrong, <[String; 0]>::default());
        assert!(texts(br#"{"tasks":{"a":"1"},"TASKS":null}"#).0.is_empty());
        assert!(texts(b"null").0.is_empty() && texts(b" \n").0.is_empty());
    }

    #[test]
    fn values_of_the_wrong_type_are_reported_by_path_and_the_rest_is_read() {
        let (map, wrong) = texts(br#"{"tasks":5,"tasks":{"a":["hunter2"],"b":"2"},"x":[1e999]}"#);
        assert_eq!(map, of(&[("a", ""), ("b", "2")]));
        assert_eq!(
            wrong,
            [
                "`tasks` is a number, not an object",
                "`tasks.a` is an array, not a string"
            ]
        );
        assert_eq!(texts(br#""hunter2""#).1, ["it is a string, not an object"]);
    }

    #[test]
    fn invalid_characters_are_replaced_byte_by_byte() {
        let (map, _) = texts(
            b"{\"tasks\":{\"a\":\"\xff\xe2\x82\",\"b\":\"\\ud800\\u0041\\ud83d\\ude00\\\\ud800\"}}",
        );
        assert_eq!(
            map,
            of(&[
                ("a", "\u{fffd}\u{fffd}\u{fffd}"),
                ("b", "\u{fffd}A\u{1f600}\\ud800")
            ])
        );
    }

    #[test_case(b"\xef\xbb\xbf{}", NotJson::Mark; "a byte order mark")]
    #[test_case(b"{\"hunter2\":", NotJson::End; "the end in the middle of a value")]
    #[test_case(b"{\"a\":1,\n hunter2}", NotJson::Syntax { line: 2, column: 2 }; "not valid JSON")]
    #[test_case(b"{\"a\":\"\x01\"}", NotJson::Syntax { line: 1, column: 6 }; "a control character")]
    fn errors_about_invalid_json_do_not_show_its_content(json: &[u8], expected: NotJson) {
        let text = GoText::new(json);
        let error = text.value(Trailing::Ignored).unwrap_err();
        assert_eq!(error, expected);
        assert!(!format!("{error} {error:?} {text:?}").contains("hunter2"));
    }

    #[test]
    fn nesting_limit_is_the_same_as_in_go() {
        let nested = |depth: usize| {
            let text = format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
            GoText::new(text.as_bytes())
                .value(Trailing::Ignored)
                .map(drop)
        };
        assert_eq!(nested(MAX_DEPTH - 1), Ok(()));
        assert_eq!(nested(MAX_DEPTH), Err(NotJson::Depth));
    }

    #[test]
    fn text_after_the_first_value_is_an_error_for_unmarshal_only() {
        let of = |text: &str| GoText::new(text.as_bytes());
        assert!(of("{} {").value(Trailing::Ignored).is_ok());
        assert_eq!(
            of("{} {").value(Trailing::Refused).unwrap_err(),
            NotJson::Trailing
        );
        assert_eq!(of("").value(Trailing::Refused).unwrap_err(), NotJson::End);
        assert!(of("{} {}").has_more() && !of("{} }").has_more() && !of("{} ").has_more());
    }

    #[test]
    fn keys_are_shown_without_passwords_and_in_one_line() {
        assert_eq!(shown_key("https://u:p@h/v1/"), "https://xxxxx@h/v1/");
        assert_eq!(shown_key("u:p@h"), "xxxxx@h");
        assert_eq!(shown_key("h\n\u{1b}[2J"), "h\u{fffd}\u{fffd}[2J");
        assert_eq!(shown_key(&"h".repeat(500)).chars().count(), 121);
    }
}
