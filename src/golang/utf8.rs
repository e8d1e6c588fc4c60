//! Decodes the characters of text that may not be valid UTF-8, as Go's `unicode/utf8` does.

/// Returns the length in bytes of the character at the start of `text`, which must not be empty. 1 if the bytes are
/// not valid UTF-8, as in Go.
pub(crate) fn char_len(text: &[u8]) -> usize {
    decode_char(text).1
}

/// Returns the character at the start of `text`, which must not be empty, and its length in bytes. Each byte that
/// is not part of valid UTF-8 counts as one replacement character.
pub(crate) fn decode_char(text: &[u8]) -> (char, usize) {
    let len = match text[0] {
        0..=0x7f => return (char::from(text[0]), 1),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let decoded = text
        .get(..len)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    match decoded {
        Some(c) => (c, len),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invalid_byte_is_one_character() {
        assert_eq!(char_len("é".as_bytes()), 2);
        assert_eq!(char_len(b"\xe2\x82"), 1);
        assert_eq!(char_len(b"\xff\xff"), 1);
        // A surrogate is not UTF-8.
        assert_eq!(char_len(b"\xed\xa0\x80"), 1);
    }
}
