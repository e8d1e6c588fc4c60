//! Characters as Go and go-cty see them: classes, case, and what counts as one character.

use std::sync::LazyLock;

use regex::Regex;
use unicode_segmentation::UnicodeSegmentation as _;

/// The characters of a text as a reader counts them (grapheme clusters).
///
/// The clusters are those of Unicode 15.0, as in the reference: later versions join the consonants of Indic scripts.
pub(crate) fn graphemes(text: &str) -> impl Iterator<Item = &str> {
    text.graphemes(true).flat_map(split_conjunct)
}

/// A cluster, cut before each consonant that it was joined with.
fn split_conjunct(cluster: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(cluster);
    std::iter::from_fn(move || {
        let part = rest?;
        let cut = conjunct_in(part);
        rest = cut.map(|cut| &part[cut..]);
        Some(&part[..cut.unwrap_or(part.len())])
    })
}

/// Where in a cluster a letter follows a mark or joiner; Hangul letters and what is put before a letter do otherwise.
fn conjunct_in(cluster: &str) -> Option<usize> {
    static CONJUNCT: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"[\p{M}\x{200D}]([\p{Lo}--\p{Hangul}])").ok());
    // Most clusters are a single letter, perhaps with marks of two bytes.
    if cluster.len() <= 4 {
        return None;
    }
    let found = CONJUNCT.as_ref()?.captures(cluster)?;
    found.get(1).map(|letter| letter.start())
}

/// How many characters a reader counts.
pub(crate) fn grapheme_count(text: &str) -> usize {
    if text.is_ascii() && !text.contains('\r') {
        return text.len();
    }
    graphemes(text).count()
}

/// The capital letter, if it is one character: Go maps character by character, so `ß` stays.
pub(crate) fn upper(char: char) -> char {
    let mut mapped = char.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        // Greek letters with an iota below have a capital of one character beside the one of two that Rust knows.
        _ => match char {
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
                shifted(char, 8)
            }
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(char, 9),
            other => other,
        },
    }
}

/// The small letter, if it is one character.
pub(crate) fn lower(char: char) -> char {
    char.to_lowercase().next().unwrap_or(char)
}

/// The letter as it begins a title: a capital, but for digraphs only the first half of one, and no capital for Georgian.
pub(crate) fn title(char: char) -> char {
    match char {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        '\u{10d0}'..='\u{10fa}' | '\u{10fd}'..='\u{10ff}' => char,
        other => upper(other),
    }
}

fn shifted(char: char, by: u32) -> char {
    char::from_u32(u32::from(char) + by).unwrap_or(char)
}

/// Whether a word ends at the character: not at letters, digits and `_`, and beyond ASCII only at spaces.
pub(crate) fn separates_words(char: char) -> bool {
    if char.is_ascii() {
        return !(char.is_ascii_alphanumeric() || char == '_');
    }
    char.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_character_by_character() {
        assert_eq!(
            "straße ᾳ ŉ".chars().map(upper).collect::<String>(),
            "STRAßE ᾼ ŉ"
        );
        assert_eq!("İΣ".chars().map(lower).collect::<String>(), "iσ");
        assert_eq!(title('ǆ'), 'ǅ');
        assert_eq!(title('ა'), 'ა');
    }

    #[test]
    fn clusters_count_once() {
        assert_eq!(grapheme_count("👨\u{200d}👩\u{200d}👧é"), 2);
        assert_eq!(grapheme_count("a\r\nb"), 3);
        assert_eq!(grapheme_count("abc"), 3);
        assert_eq!(graphemes("क्षि").collect::<Vec<_>>(), ["क्", "षि"]);
        assert_eq!(grapheme_count("नमस्ते"), 4);
        assert_eq!(grapheme_count("\u{1100}\u{1161}\u{11a8}"), 1);
    }
}
