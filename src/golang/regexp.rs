//! Translates Go's regular expressions (`regexp/syntax`) to the syntax of the `regex` crate.
//!
//! Both engines work like RE2: in linear time, with the leftmost match and the first alternative that matches. The
//! syntax differs: in Go, `\d`, `\w`, `\s` and `\b` are ASCII, there are `\Q…\E` quotes, octal escapes and a
//! literal `{`, and classes have no set operations. So [`translate`] parses a pattern by Go's grammar and writes a
//! pattern with the same meaning for the crate.

use std::fmt::Write as _;

/// The largest count that `{n,m}` may have, as in Go.
const REPEAT_LIMIT: u32 = 1000;

const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\f\r ";

/// The names that Go knows in `[[:name:]]`.
const POSIX_CLASSES: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A class that matches no character. Go accepts surrogates as code points, but UTF-8 cannot encode them, so no
/// text matches them.
const NEVER: &str = r"[^\x{0}-\x{10FFFF}]";

/// A pattern in the syntax of the `regex` crate.
#[derive(Debug)]
pub(crate) struct Translation {
    /// The pattern. The crate may still refuse it, for example for unbalanced parentheses or a repetition of
    /// nothing.
    pub(crate) pattern: String,
    /// The names of the groups in order; `None` for a group without a name. In `pattern`, the groups have no names,
    /// because Go allows several groups of one name and the crate does not.
    pub(crate) groups: Vec<Option<String>>,
    /// An upper bound for the number of copies of their operands that all `{n,m}` make, nested or not: the product
    /// of the counts. At least 1. The caller estimates from it how much work the pattern is to compile.
    pub(crate) copies: u64,
}

/// Translates `pattern`. The error is a message without an article, such as "invalid escape sequence `\y`".
pub(crate) fn translate(pattern: &str) -> Result<Translation, String> {
    let mut translator = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len() + 16),
        names: Vec::new(),
        flags_at: None,
        copies: 1,
        swapped: false,
        swapped_around: Vec::new(),
    };
    translator.run()?;
    Ok(Translation {
        pattern: translator.out,
        groups: translator.names,
        copies: translator.copies,
    })
}

/// Reads a pattern from `rest` and writes its translation to `out`.
struct Translator<'p> {
    rest: &'p str,
    out: String,
    names: Vec<Option<String>>,
    /// Offset in `out` of the flags that were just written (`(?i)`), or `None` if something followed them.
    flags_at: Option<usize>,
    /// See [`Translation::copies`].
    copies: u64,
    /// Whether the flag `U` is set: repetitions are lazy, and those with a `?` greedy. The translation swaps the
    /// `?` itself instead of passing the flag on, because `U` also applies to a repetition that directly follows
    /// the flags, and the crate cannot express that.
    swapped: bool,
    /// The value of `swapped` outside of each open group, to be restored at its end.
    swapped_around: Vec<bool>,
}

/// An escape inside or outside of a class.
enum Escape {
    /// One code point, which may be a surrogate.
    Char(u32),
    /// A class such as `\d`: its items, and whether it is negated.
    Class { items: &'static str, negated: bool },
    /// A Unicode class, in the syntax of the crate.
    Unicode(String),
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut after_repetition = false;
        while let Some(char) = self.rest.chars().next() {
            let mut repeats = false;
            let flags_at = self.flags_at.take();
            match char {
                '(' => self.group(flags_at)?,
                '[' => self.class()?,
                '\\' => self.escaped()?,
                '*' | '+' | '?' => {
                    self.take(1);
                    self.repeat(flags_at, &char.to_string());
                    repeats = true;
                }
                '{' => match self.repetition()? {
                    Some(repetition) => {
                        self.repeat(flags_at, &repetition);
                        repeats = true;
                    }
                    None => self.literal('{'),
                },
                ')' | '|' | '^' | '$' | '.' => {
                    if char == ')'
                        && let Some(swapped) = self.swapped_around.pop()
                    {
                        self.swapped = swapped;
                    }
                    self.take(1);
                    self.out.push(char);
                }
                literal => self.literal(literal),
            }
            if repeats && after_repetition {
                return Err(format!("invalid nested repetition operator `{char}`"));
            }
            after_repetition = repeats;
        }
        Ok(())
    }

    /// Skips `bytes` bytes of the pattern, which must end between characters.
    fn take(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Writes a repetition. If flags come directly before it, it applies to the expression before the flags, so it
    /// is inserted before them.
    fn repeat(&mut self, flags_at: Option<usize>, repetition: &str) {
        let mut repetition = repetition.to_owned();
        let marked = self.rest.starts_with('?');
        if marked {
            self.take(1);
        }
        if marked != self.swapped {
            repetition.push('?');
        }
        let at = flags_at.unwrap_or(self.out.len());
        self.out.insert_str(at, &repetition);
    }

    fn push_class(&mut self, items: &str, negated: bool) {
        self.out.push_str(if negated { "[^" } else { "[" });
        self.out.push_str(items);
        self.out.push(']');
    }

    fn literal(&mut self, char: char) {
        self.take(char.len_utf8());
        push_char(&mut self.out, char);
    }

    /// Parses `{n}`, `{n,}` or `{n,m}`. Returns `None`, and consumes nothing, if the text is none of these: then
    /// the `{` is literal.
    fn repetition(&mut self) -> Result<Option<String>, String> {
        let Some(end) = self.rest.find('}') else {
            return Ok(None);
        };
        let body = &self.rest[1..end];
        let (least, most) = body.split_once(',').unwrap_or((body, body));
        let is_count = |text: &str| {
            let leading_zero = text.len() > 1 && text.starts_with('0');
            !text.is_empty() && !leading_zero && text.bytes().all(|digit| digit.is_ascii_digit())
        };
        if !is_count(least) || !(most.is_empty() || is_count(most)) {
            return Ok(None);
        }
        let whole = self.rest[..=end].to_owned();
        let too_large = || format!("invalid repeat count `{whole}`");
        let count = |text: &str| {
            text.parse()
                .ok()
                .filter(|count: &u32| *count <= REPEAT_LIMIT)
                .ok_or_else(too_large)
        };
        let least = count(least)?;
        let mut copies = least;
        if !most.is_empty() {
            copies = count(most)?;
            if copies < least {
                return Err(too_large());
            }
        }
        self.copies = self.copies.saturating_mul(u64::from(copies.max(1)));
        self.take(end + 1);
        Ok(Some(whole))
    }

    /// Parses the start of a group, or flags such as `(?i)`. `flags_at` is the offset in `out` of the flags
    /// directly before, if there are any.
    fn group(&mut self, flags_at: Option<usize>) -> Result<(), String> {
        let Some(extended) = self.rest.strip_prefix("(?") else {
            self.take(1);
            self.out.push('(');
            self.names.push(None);
            self.swapped_around.push(self.swapped);
            return Ok(());
        };
        let named = extended
            .strip_prefix("P<")
            .or_else(|| extended.strip_prefix('<'));
        if let Some(named) = named {
            let (name, rest) = named
                .split_once('>')
                .filter(|(name, _)| {
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                })
                .ok_or_else(|| format!("invalid named capture in `(?{}`", start_of(extended)))?;
            self.names.push(Some(name.to_owned()));
            self.out.push('(');
            self.swapped_around.push(self.swapped);
            self.rest = rest;
            return Ok(());
        }
        let end = extended
            .find([':', ')'])
            .ok_or("missing argument to `(?`")?;
        let flags = &extended[..end];
        let (set, cleared) = flags.split_once('-').unwrap_or((flags, "i"));
        let known = |flags: &str| flags.bytes().all(|flag| b"imsU".contains(&flag));
        if !known(set) || !known(cleared) || cleared.is_empty() {
            return Err(format!(
                "invalid or unsupported Perl syntax in `(?{}`",
                start_of(extended)
            ));
        }
        let alone = extended[end..].starts_with(')');
        if !alone {
            self.swapped_around.push(self.swapped);
        }
        if set.contains('U') {
            self.swapped = true;
        }
        if flags.contains('-') && cleared.contains('U') {
            self.swapped = false;
        }
        // Go allows repeated flags, and a flag that is both set and cleared is cleared. The crate refuses both, so
        // each flag is written once.
        let distinct = |flags: &str| {
            let known = ['i', 'm', 's'].into_iter();
            known
                .filter(|flag| flags.contains(*flag))
                .collect::<String>()
        };
        let mut kept = distinct(set);
        if flags.contains('-') && !distinct(cleared).is_empty() {
            kept.retain(|flag| !cleared.contains(flag));
            kept.push('-');
            kept += &distinct(cleared);
        }
        if alone {
            self.flags_at = flags_at.or(Some(self.out.len()));
        }
        match (alone, kept.is_empty()) {
            (true, true) => {}
            (true, false) => self.out.extend(["(?", &kept, ")"]),
            (false, _) => self.out.extend(["(?", &kept, ":"]),
        }
        self.rest = &extended[end + 1..];
        Ok(())
    }

    /// Translates an escape outside of a class.
    fn escaped(&mut self) -> Result<(), String> {
        let after = &self.rest[1..];
        let assertion = match after.chars().next() {
            Some('A') => r"\A",
            Some('z') => r"\z",
            Some('b') => r"(?-u:\b)",
            Some('B') => r"(?-u:\B)",
            Some('Q') => {
                let quoted = &after[1..];
                let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                for char in literal.chars() {
                    push_char(&mut self.out, char);
                }
                self.rest = rest;
                return Ok(());
            }
            _ => {
                match self.escape()? {
                    Escape::Char(code) => match char::from_u32(code) {
                        Some(char) => push_char(&mut self.out, char),
                        None => self.out.push_str(NEVER),
                    },
                    Escape::Class { items, negated } => {
                        self.push_class(items, negated);
                    }
                    Escape::Unicode(class) => self.out.push_str(&class),
                }
                return Ok(());
            }
        };
        self.take(2);
        self.out.push_str(assertion);
        Ok(())
    }

    /// Parses an escape that is allowed both inside and outside of a class.
    fn escape(&mut self) -> Result<Escape, String> {
        let mut after = self.rest[1..].chars();
        let Some(char) = after.next() else {
            return Err("trailing backslash at end of expression".into());
        };
        let invalid = || format!("invalid escape sequence `\\{char}`");
        let class = |items, negated| Escape::Class { items, negated };
        let escape = match char {
            'd' => class("0-9", false),
            'D' => class("0-9", true),
            'w' => class(WORD, false),
            'W' => class(WORD, true),
            's' => class(SPACE, false),
            'S' => class(SPACE, true),
            'a' => Escape::Char(u32::from('\u{7}')),
            'f' => Escape::Char(u32::from('\u{c}')),
            'n' => Escape::Char(u32::from('\n')),
            'r' => Escape::Char(u32::from('\r')),
            't' => Escape::Char(u32::from('\t')),
            'v' => Escape::Char(u32::from('\u{b}')),
            'p' | 'P' => return self.unicode_class(char == 'P'),
            'x' => return self.hexadecimal(),
            '0'..='7' => return self.octal(),
            _ if char.is_ascii_punctuation() => Escape::Char(u32::from(char)),
            _ => return Err(invalid()),
        };
        self.take(1 + char.len_utf8());
        Ok(escape)
    }

    /// Parses `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self) -> Result<Escape, String> {
        let after = &self.rest[2..];
        let (digits, length) = match after.strip_prefix('{') {
            Some(braced) => {
                let end = braced.find('}').unwrap_or(0);
                (&braced[..end], end + 2)
            }
            None => (after.get(..2).unwrap_or_default(), 2),
        };
        let code = u32::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .filter(|code| *code <= u32::from(char::MAX))
            .ok_or_else(|| format!("invalid escape sequence `\\x{}`", start_of(after)))?;
        self.take(2 + length);
        Ok(Escape::Char(code))
    }

    /// Parses an octal escape: `\0`, `\07`, `\123`. A single digit other than 0 is an error: it would be a
    /// backreference, which RE2 does not have.
    fn octal(&mut self) -> Result<Escape, String> {
        let after = &self.rest[1..];
        let length = after
            .bytes()
            .take(3)
            .take_while(|digit| (b'0'..=b'7').contains(digit))
            .count();
        let digits = &after[..length];
        if length == 1 && digits != "0" {
            return Err(format!("invalid escape sequence `\\{digits}`"));
        }
        let code = u32::from_str_radix(digits, 8)
            .ok()
            .ok_or_else(|| format!("invalid escape sequence `\\{digits}`"))?;
        self.take(1 + length);
        Ok(Escape::Char(code))
    }

    /// Parses `\pL`, `\p{Greek}`, `\p{^Greek}`, and the same with `\P`.
    fn unicode_class(&mut self, negated: bool) -> Result<Escape, String> {
        let after = &self.rest[2..];
        let (name, length) = if let Some(braced) = after.strip_prefix('{') {
            let end = braced
                .find('}')
                .ok_or("invalid character class range: `\\p{` is not closed")?;
            (&braced[..end], end + 2)
        } else {
            let end = after.chars().next().map_or(0, char::len_utf8);
            (&after[..end], end)
        };
        let (name, inverted) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        // The engine ignores spaces, dashes and underscores in class names.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_- ".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(format!("invalid character class range: `\\p{{{name}}}`"));
        }
        let letter = if negated == inverted { 'p' } else { 'P' };
        let class = if name == "Any" && letter == 'P' {
            // The crate refuses an empty class, so `\P{Any}` is written as a class that matches nothing.
            NEVER.to_owned()
        } else {
            format!("\\{letter}{{{name}}}")
        };
        self.take(2 + length);
        Ok(Escape::Unicode(class))
    }

    /// Translates a class in brackets.
    fn class(&mut self) -> Result<(), String> {
        let whole = self.rest;
        let unclosed = || format!("missing closing ]: `{}`", start_of(whole));
        self.take(1);
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.take(1);
            self.out.push('^');
        }
        let start = self.out.len();
        let mut first = true;
        loop {
            if self.rest.is_empty() {
                return Err(unclosed());
            }
            if self.rest.starts_with(']') && !first {
                self.take(1);
                if self.out.len() == start {
                    self.out.push_str(NEVER);
                }
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if let Some(named) = self.rest.strip_prefix("[:")
                && let Some(end) = named.find(":]")
            {
                let class = &self.rest[..end + 4];
                let name = &named[..end];
                let name = name.strip_prefix('^').unwrap_or(name);
                if !POSIX_CLASSES.contains(&name) {
                    return Err(format!("invalid character class range: `{class}`"));
                }
                self.out.push_str(class);
                self.take(end + 4);
                continue;
            }
            let low = match self.class_item()? {
                Escape::Char(code) => code,
                Escape::Class { items, negated } => {
                    self.push_class(items, negated);
                    continue;
                }
                Escape::Unicode(class) => {
                    self.out.push_str(&class);
                    continue;
                }
            };
            let mut high = low;
            // A dash directly before the closing bracket is literal.
            if self.rest.starts_with('-') && !self.rest[1..].starts_with(']') && self.rest.len() > 1
            {
                self.take(1);
                high = match self.class_item()? {
                    Escape::Char(high) if high >= low => high,
                    _ => {
                        return Err(format!(
                            "invalid character class range: `{}`",
                            start_of(whole)
                        ));
                    }
                };
            }
            self.range(low, high);
        }
    }

    /// Writes the range from `low` to `high`. Surrogates at its ends are cut off, because the crate refuses them;
    /// surrogates in between do not matter to the crate.
    fn range(&mut self, low: u32, high: u32) {
        let low = char::from_u32(low).unwrap_or('\u{e000}');
        let high = char::from_u32(high).unwrap_or('\u{d7ff}');
        if low <= high {
            push_char(&mut self.out, low);
        }
        if low < high {
            self.out.push('-');
            push_char(&mut self.out, high);
        }
    }

    /// Parses one item of a class: a character or an escape.
    fn class_item(&mut self) -> Result<Escape, String> {
        match self.rest.chars().next() {
            Some('\\') => self.escape(),
            Some(char) => {
                self.take(char.len_utf8());
                Ok(Escape::Char(u32::from(char)))
            }
            None => Err("missing closing ]".into()),
        }
    }
}

/// Writes a literal character, escaped so that it has no special meaning inside or outside of classes.
fn push_char(out: &mut String, char: char) {
    if char.is_ascii() && !char.is_ascii_alphanumeric() {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "\\x{{{:X}}}", u32::from(char));
    } else {
        out.push(char);
    }
}

/// The first 20 characters of `text`, for messages.
fn start_of(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;

    fn compiled(pattern: &str) -> Result<Regex, String> {
        Regex::new(&translate(pattern)?.pattern).map_err(|error| error.to_string())
    }

    #[test]
    fn surrogates_match_no_character() {
        for (pattern, text, matches) in [
            (r"^\x{D800}$", "\u{fffd}", false),
            (r"^[\x{D800}]$", "a", false),
            (r"^[^\x{D800}]$", "a", true),
            (r"^[\x{D7FF}-\x{D900}]$", "\u{d7ff}", true),
            (r"^[\x{DFFF}-\x{E000}]$", "\u{e000}", true),
            (r"^[\x{D7FF}-\x{D900}]$", "\u{e000}", false),
            (r"^[\x{DFFF}-\x{E000}]$", "\u{d7ff}", false),
            (r"^[a\x{D800}-\x{DFFF}b]$", "b", true),
            (r"^[\x{D000}-\x{F000}]$", "\u{e123}", true),
        ] {
            let regex = compiled(pattern).unwrap();
            assert_eq!(regex.is_match(text.as_bytes()), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_that_go_refuses_are_refused() {
        for pattern in [
            r"^a{2}{3}$",
            r"^a|{2}$",
            r"^a{1001}$",
            r"^\1$",
            r"^[b-a]$",
            r"^[[:nope:]]$",
            r"^[[:^^alpha:]]$",
            r"^\x{110000}$",
            r"^\pé$",
            r"^\y$",
            r"^[a$",
            r"[]",
            r"[^]",
        ] {
            assert!(compiled(pattern).is_err(), "{pattern}");
        }
    }
}
