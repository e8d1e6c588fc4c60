//! Upper, lower and title case as Go's `unicode` and `strings` map them: each character to exactly one character.

/// Returns the upper-case letter of `char`. If Unicode's upper case is several characters, `char` stays as it is,
/// as `ß` does in Go.
pub(crate) fn upper(char: char) -> char {
    let mut mapped = char.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        // For Greek letters with an iota subscript, Rust returns an upper case of two characters, but Unicode (and
        // Go) also has one of a single character.
        _ => match char {
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
                shifted(char, 8)
            }
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(char, 9),
            other => other,
        },
    }
}

/// Returns the lower-case letter of `char`: the first character of Unicode's lower case.
pub(crate) fn lower(char: char) -> char {
    char.to_lowercase().next().unwrap_or(char)
}

/// Returns the letter that begins a title: the upper-case letter, except that digraphs such as `ǆ` get their title
/// form (`ǅ`) and Georgian letters stay.
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

/// Whether `char` separates words, by the rule of Go's `strings.Title`: in ASCII, all characters but letters,
/// digits and `_`; beyond ASCII, only white space.
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
    fn case_changes_one_character_at_a_time() {
        assert_eq!(
            "straße ᾳ ŉ".chars().map(upper).collect::<String>(),
            "STRAßE ᾼ ŉ"
        );
        assert_eq!("İΣ".chars().map(lower).collect::<String>(), "iσ");
        assert_eq!(title('ǆ'), 'ǅ');
        assert_eq!(title('ა'), 'ა');
    }
}
