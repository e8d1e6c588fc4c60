//! Letters in other cases, as Go's `unicode` and `strings` map them: character by character.

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
}
