//! Decodes text files in UTF-8, or in UTF-16 with a byte order mark.
//!
//! `PowerShell`'s `>` and some editors write UTF-16. Each caller decides whether it accepts that.

/// The decoded text of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecodedText {
    /// The text.
    pub(crate) text: String,
    /// Whether the file was in UTF-16 (with a byte order mark).
    pub(crate) utf16: bool,
}

/// The bytes are not a text in a known encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotText {
    /// The bytes are not UTF-8.
    #[error("it is not UTF-8 (line {line}, byte {byte})")]
    Utf8 {
        /// The line with the first invalid byte, counted from 1.
        line: usize,
        /// The position of that byte in the file, counted from 0.
        byte: usize,
    },
    /// Half of a surrogate pair, without the other half.
    #[error("it is not valid UTF-16 (character {character})")]
    Utf16 {
        /// The number of 16-bit units before it.
        character: usize,
    },
    /// UTF-16 without a byte order mark, so that the order of its bytes is unknown.
    #[error("it is UTF-16 without a byte order mark")]
    Unmarked,
}

/// The message for a file in UTF-16 where only UTF-8 is accepted.
pub(crate) const IS_UTF16: &str = "it is UTF-16, which is allowed only in Compose files";
/// The help for a file in a wrong encoding.
pub(crate) const SAVE_AS_UTF8: &str = "save it as UTF-8; `iconv -f UTF-16 -t UTF-8 OLD > NEW` converts it, and so does PowerShell's \
     `Set-Content -Encoding utf8`";

/// Decodes `bytes`.
///
/// # Errors
/// They are neither UTF-8 nor UTF-16 with a byte order mark.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<DecodedText, NotText> {
    if let Some(units) = utf16_units(&bytes) {
        let units: Vec<u16> = units.collect();
        let text: Result<String, usize> = char::decode_utf16(units.iter().copied())
            .enumerate()
            .map(|(at, read)| read.map_err(|_| at))
            .collect();
        return match text {
            Ok(text) => Ok(DecodedText { text, utf16: true }),
            Err(character) => Err(NotText::Utf16 { character }),
        };
    }
    if begins_with_nul(&bytes) {
        return Err(NotText::Unmarked);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(DecodedText { text, utf16: false }),
        Err(error) => {
            let byte = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..byte).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            Err(NotText::Utf8 { line, byte })
        }
    }
}

/// Whether `bytes` look like UTF-16: they have a byte order mark, or a NUL among their first two bytes.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    utf16_units(bytes).is_some() || begins_with_nul(bytes)
}

/// Whether one of the first two bytes is NUL, which is never so in a text in UTF-8.
fn begins_with_nul(bytes: &[u8]) -> bool {
    bytes.len() > 1 && bytes.iter().take(2).any(|byte| *byte == 0)
}

/// The 16-bit units after the byte order mark. `None` if there is no mark.
fn utf16_units(bytes: &[u8]) -> Option<impl Iterator<Item = u16>> {
    let (is_little, rest) = match bytes {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        _ => return None,
    };
    let read = move |pair: &[u8; 2]| {
        if is_little {
            u16::from_le_bytes(*pair)
        } else {
            u16::from_be_bytes(*pair)
        }
    };
    // A single byte at the end is half a unit. A lone surrogate in its place makes the decoder report an error.
    let (pairs, half) = rest.as_chunks::<2>();
    let half = (!half.is_empty()).then_some(0xd800);
    Some(pairs.iter().map(read).chain(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(order).collect()
    }

    #[test]
    fn both_orders_of_utf16_are_read() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let decoded = decode(utf16("é 😀\r\n", order)).unwrap();
            assert_eq!((decoded.text.as_str(), decoded.utf16), ("é 😀\r\n", true));
        }
        let decoded = decode("\u{feff}é".into()).unwrap();
        assert_eq!((decoded.text.as_str(), decoded.utf16), ("\u{feff}é", false));
        assert_eq!(decode(Vec::new()).unwrap().text, "");
    }

    #[test]
    fn errors_name_the_position_of_invalid_text() {
        assert_eq!(
            decode(b"a = 1\n# \xe9".to_vec()),
            Err(NotText::Utf8 { line: 2, byte: 8 })
        );
        let mut half = utf16("ab", u16::to_le_bytes);
        half.push(b'x');
        assert_eq!(decode(half), Err(NotText::Utf16 { character: 2 }));
        let lone = [0xfe, 0xff, 0xd8, 0x00, 0x00, b'a'].to_vec();
        assert_eq!(decode(lone), Err(NotText::Utf16 { character: 0 }));
        assert_eq!(decode(b"a\0b\0".to_vec()), Err(NotText::Unmarked));
        assert_eq!(decode(b"\0a\0b".to_vec()), Err(NotText::Unmarked));
    }
}
