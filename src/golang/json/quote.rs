//! JSON strings in the format of Go's `json.Marshal`.

use std::fmt::Write as _;

/// Appends `text` as a JSON string. Like Go, escapes `<`, `>`, `&`, U+2028 and U+2029 too, so that the string is
/// safe inside HTML and JavaScript.
///
/// Most text needs no escape. So the text is first checked sixteen bytes at a time, and copied as a whole if
/// nothing is found.
pub(crate) fn quote(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    if is_plain(text.as_bytes()) {
        out.push_str(text);
        rest = "";
    }
    while let Some(at) = rest.bytes().position(|byte| SUSPECT[usize::from(byte)]) {
        out.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        match chars.next() {
            Some(c) if needs_escape(c) => escape(out, c),
            Some(c) => out.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        c => {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
}

/// Whether `bytes` certainly needs no escape. It is `false` for some texts that need none, too: those with bytes
/// beyond ASCII in a full chunk. Checks sixteen bytes at a time.
fn is_plain(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    // Numbers instead of booleans, so that the compiler makes all comparisons without a branch and can vectorize
    // them.
    let suspect = |byte: u8| {
        let words = [
            byte < 0x20,
            byte >= 0x80,
            byte == b'"',
            byte == b'\\',
            byte == b'<',
            byte == b'>',
            byte == b'&',
        ];
        words
            .into_iter()
            .fold(0, |found, word| found | u8::from(word))
    };
    let clean = |chunk: &[u8; 16]| chunk.iter().fold(0, |found, byte| found | suspect(*byte)) == 0;
    chunks.iter().all(clean) && !rest.iter().any(|byte| SUSPECT[usize::from(*byte)])
}

/// The first bytes of the characters for which [`needs_escape`] is true. Beyond ASCII, other characters begin with
/// the same byte.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        suspect[byte] = true;
        byte += 1;
    }
    let mut others = "\"\\<>&\u{2028}".as_bytes();
    while let [first, rest @ ..] = others {
        // U+2028 and U+2029 have three bytes. Only the first one (0xe2) begins a character.
        if *first < 0x80 || *first == 0xe2 {
            suspect[*first as usize] = true;
        }
        others = rest;
    }
    suspect
};

fn needs_escape(c: char) -> bool {
    matches!(
        c,
        '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_the_same_as_in_go() {
        let mut out = String::new();
        quote(
            &mut out,
            "<x>&\u{2028}\u{2029}\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é",
        );
        assert_eq!(
            out,
            "\"\\u003cx\\u003e\\u0026\\u2028\\u2029\\\"\\\\\\n\\r\\t\\b\\f\\u0001\u{7f}é\""
        );
    }
}
