//! Text files as programs save them: UTF-8, or UTF-16 with a mark of its byte order.
//!
//! `PowerShell`'s `>` and some editors write UTF-16. Where that may be read is for the caller to say.

/// The text of a file, and whether it was UTF-16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecodedText {
    /// The text.
    pub(crate) text: String,
    /// Whether the bytes were UTF-16 with a mark of their order.
    pub(crate) utf16: bool,
}

/// Why bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotText {
    /// The bytes are not UTF-8.
    #[error("it is not UTF-8 (line {line}, byte {byte})")]
    Utf8 {
        /// The line of the first wrong byte, from 1.
        line: usize,
        /// Its place, from 0.
        byte: usize,
    },
    /// Half of a character that takes two units stands alone.
    #[error("it is not valid UTF-16 (character {character})")]
    Utf16 {
        /// How many units come before it.
        character: usize,
    },
    /// UTF-16 that does not say in which order its bytes are.
    #[error("it is UTF-16 without a byte order mark")]
    Unmarked,
}

/// What is said of a file in UTF-16 where only UTF-8 can be read.
pub(crate) const IS_UTF16: &str = "it is UTF-16, which only Compose files may be";
/// The way out of a wrong encoding.
pub(crate) const SAVE_AS_UTF8: &str = "save it as UTF-8; `iconv -f UTF-16 -t UTF-8 OLD > NEW` converts it, and so does PowerShell's \
     `Set-Content -Encoding utf8`";

/// The text that `bytes` are.
///
/// # Errors
/// Fails where they are neither UTF-8 nor UTF-16 with a byte order mark.
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

/// Whether `bytes` are UTF-16: with a mark of their order, or with a NUL in their first character.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    utf16_units(bytes).is_some() || begins_with_nul(bytes)
}

// No text file begins with a NUL, nor has one as its second byte.
fn begins_with_nul(bytes: &[u8]) -> bool {
    bytes.len() > 1 && bytes.iter().take(2).any(|byte| *byte == 0)
}

// The units after the mark, where there is one.
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
    // A last byte alone is half a unit, which no character has.
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
    fn what_is_no_text_is_told_with_its_place() {
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
