//! Strings as `json.Marshal` writes them.

use std::fmt::Write as _;

/// Appends `text` as a JSON string that is safe inside HTML and JavaScript, too: `<`, `>`, `&`, U+2028 and U+2029 are escaped.
///
/// Most text needs no escape, so it is checked sixteen bytes at a time and copied as a whole.
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
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
}

// Whether nothing in `bytes` is to be escaped; some texts are taken for others. Sixteen bytes at a time are compared at once.
fn is_plain(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    // Numbers rather than booleans, so that all comparisons are made and none is a branch.
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

// The bytes that characters to be escaped start with; beyond ASCII, other characters share theirs.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        suspect[byte] = true;
        byte += 1;
    }
    let mut others = "\"\\<>&\u{2028}".as_bytes();
    while let [first, rest @ ..] = others {
        // Of U+2028 and U+2029, the first of three bytes; the others never start a character.
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
    fn escapes_are_gos() {
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
