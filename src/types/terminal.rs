//! Makes text from untrusted sources safe for a terminal and for a shell.
//!
//! A definition may come from anybody. Characters that move the cursor, change the order of other characters, or
//! are invisible can make a name look like something else: a line that rbake printed, or a command that seems to do
//! less than it does.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether `c` may change how a terminal shows other characters: control characters, line and paragraph separators,
/// writing directions, and marks and tags that are not for printing.
pub(crate) const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether `c` is invisible, so that two different texts can look the same.
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0100}'..='\u{e01ef}')
}

/// Whether `c` makes a terminal or a log viewer do something. These are the unsafe characters, except line ends and
/// tabs, which are normal in a text, and those that terminals ignore.
const fn is_acted_on(c: char) -> bool {
    is_unsafe(c)
        && !matches!(
            c,
            '\t' | '\n' | '\r' | '\u{7f}' | '\u{2028}' | '\u{2029}' | '\u{feff}'
        )
}

/// Returns `text` for a single line: unsafe and invisible characters are written as their numbers, such as
/// `\u001b`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    by_number(text, |c| is_unsafe(c) || is_invisible(c))
}

/// Returns `text`, which may have several lines and tabs, with unsafe characters written as their numbers.
///
/// JSON keeps its meaning, because such characters occur only in its strings.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    by_number(text, |c| is_unsafe(c) && !matches!(c, '\n' | '\t'))
}

/// Returns `text`, which is meant for a program or a file, with the characters on which a terminal acts written as
/// their numbers: the user may still look at it in a terminal.
pub(crate) fn visible_data(text: &str) -> Cow<'_, str> {
    by_number(text, is_acted_on)
}

fn by_number(text: &str, is_hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    // Fast path: most text is plain ASCII, and there are megabytes of it.
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) || byte == b'\n';
    if !is_hidden('\n') && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    if !text.contains(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Returns `text` with the same length in bytes. Unsafe characters beyond ASCII are replaced by harmless ones of
/// the same length.
pub(crate) fn masked_beyond_ascii(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| is_unsafe(c) && !c.is_ascii();
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mask = |c: char| match c {
        c if !is_hidden(c) => c,
        c => match c.len_utf8() {
            2 => '\u{bf}',
            3 => '\u{fffd}',
            _ => '\u{10101}',
        },
    };
    text.chars().map(mask).collect()
}

/// Quotes `word` for a shell, so that the shell reads it back as exactly this one word.
///
/// Nothing in it is expanded or hidden. Unsafe and invisible characters are written as bytes, which needs the form
/// `$'…'` of bash, zsh and ksh.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:,+@=".contains(&b);
    let starts_plain = !word.starts_with('=');
    if !word.is_empty() && starts_plain && word.bytes().all(plain) {
        return word.to_owned();
    }
    let is_hidden = |c: char| is_unsafe(c) || is_invisible(c);
    if !word.contains(is_hidden) {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    let mut quoted = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if is_hidden(c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string cannot fail. Octal escapes have at most three digits; hexadecimal ones
                    // could take in the next character.
                    let _ = write!(quoted, "\\{byte:03o}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hidden_characters_are_shown_as_escapes() {
        assert_eq!(visible("plain é 漢"), "plain é 漢");
        assert_eq!(
            visible("a\u{1b}[2J\nb\u{9b}c\u{202e}d\u{200b}e\u{e0041}"),
            r"a\u001b[2J\u000ab\u009bc\u202ed\u200be\udb40\udc41"
        );
        assert_eq!(
            visible_lines("a\tb\nc\rd\u{200d}"),
            "a\tb\nc\\u000dd\u{200d}"
        );
    }

    #[test]
    fn data_keeps_characters_that_are_harmless_to_a_terminal() {
        let odd = "a\r\n\tb\u{7f}c\u{2028}d\u{feff}e\u{200b}";
        assert_eq!(visible_data(odd), odd);
        assert_eq!(
            visible_data("a\u{1b}[2J\u{9b}\u{202e}"),
            r"a\u001b[2J\u009b\u202e"
        );
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, quoted) in [
            ("--allow=fs.read=../a", "--allow=fs.read=../a"),
            ("", "''"),
            ("a b", "'a b'"),
            ("a'b", r"'a'\''b'"),
            ("$(id)`id`", "'$(id)`id`'"),
            ("=ls", "'=ls'"),
            ("~", "'~'"),
            ("!!", "'!!'"),
            ("a\nb", r"$'a\012b'"),
            ("\u{1b}[2J'\\", r"$'\033[2J\'\\'"),
            ("\u{202e}0", r"$'\342\200\2560'"),
        ] {
            assert_eq!(shell_word(word), quoted);
        }
    }

    proptest! {
        #[test]
        fn no_hidden_character_remains(text in any::<String>()) {
            let hidden = |c: char| is_unsafe(c) || is_invisible(c);
            prop_assert!(!visible(&text).contains(hidden));
            prop_assert!(!shell_word(&text).contains(hidden));
            let masked = masked_beyond_ascii(&text);
            prop_assert!(!masked.contains(|c: char| is_unsafe(c) && !c.is_ascii()));
            prop_assert_eq!(masked.len(), text.len());
        }

        #[test]
        fn json_keeps_its_meaning(text in "[\\x00-\\x{2ff}\\x{2000}-\\x{206f}\\x{e0000}-\\x{e01ff}]{0,20}") {
            let json = serde_json::to_string_pretty(&serde_json::json!({"a": [text]})).unwrap();
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            for shown in [visible_lines(&json), visible_data(&json)] {
                prop_assert_eq!(read(&shown), read(&json));
            }
        }

        #[test]
        fn a_shell_reads_the_same_word(word in "([\\x01-\\x7f]|\\PC|[\\x{80}-\\x{9f}\\x{202a}-\\x{202e}]){0,12}") {
            let script = format!("printf %s {}", shell_word(&word));
            let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
            prop_assert_eq!(output.stdout, word.as_bytes());
        }
    }
}
