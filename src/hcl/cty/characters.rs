//! Splits text into characters as go-cty does (with its package `textseg`).

use std::sync::LazyLock;

use regex::Regex;
use unicode_segmentation::UnicodeSegmentation as _;

/// The grapheme clusters of a text: the characters as a reader counts them.
///
/// The clusters are those of Unicode 15.0, as in buildx. Later versions of Unicode, which the library implements,
/// join the consonants of Indic scripts, so clusters are split again here.
pub(crate) fn graphemes(text: &str) -> impl Iterator<Item = &str> {
    text.graphemes(true).flat_map(split_conjunct)
}

/// Splits a cluster before each consonant that only later versions of Unicode join to it.
fn split_conjunct(cluster: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(cluster);
    std::iter::from_fn(move || {
        let part = rest?;
        let cut = conjunct_in(part);
        rest = cut.map(|cut| &part[cut..]);
        Some(&part[..cut.unwrap_or(part.len())])
    })
}

/// The offset of the first letter in a cluster that follows a mark or a zero-width joiner: there, Unicode 15.0
/// begins a new cluster. Hangul letters are excluded, because they always joined.
fn conjunct_in(cluster: &str) -> Option<usize> {
    static CONJUNCT: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"[\p{M}\x{200D}]([\p{Lo}--\p{Hangul}])").ok());
    // Most clusters are one letter, perhaps with a mark of two bytes. They need no search.
    if cluster.len() <= 4 {
        return None;
    }
    let found = CONJUNCT.as_ref()?.captures(cluster)?;
    found.get(1).map(|letter| letter.start())
}

/// The number of grapheme clusters.
pub(crate) fn grapheme_count(text: &str) -> usize {
    if text.is_ascii() && !text.contains('\r') {
        return text.len();
    }
    graphemes(text).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grapheme_cluster_is_one_character() {
        assert_eq!(grapheme_count("👨\u{200d}👩\u{200d}👧é"), 2);
        assert_eq!(grapheme_count("a\r\nb"), 3);
        assert_eq!(grapheme_count("abc"), 3);
        assert_eq!(graphemes("क्षि").collect::<Vec<_>>(), ["क्", "षि"]);
        assert_eq!(grapheme_count("नमस्ते"), 4);
        assert_eq!(grapheme_count("\u{1100}\u{1161}\u{11a8}"), 1);
    }
}
