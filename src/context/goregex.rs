//! Go's regular expressions, as far as ignore patterns can hold them, for the `regex` crate.
//!
//! The reference matcher turns patterns into regular expressions by joining text, so parts of Go's syntax shine through:
//! `|`, `{2}`, `^`, `\d`, `[[:alpha:]]`, `\Q…\E`. [`Budget::compile`] reads such text by Go's rules and writes what the `regex`
//! crate takes for the same. Knows nothing of patterns or paths.

use std::fmt::Write as _;

use regex::bytes::{Regex, RegexBuilder};

/// Text that Go's `regexp.Compile` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadRegex;

/// Why there is no regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompileError {
    /// Go refuses the text.
    Bad,
    /// The program would be larger than allowed.
    TooLarge,
}

/// Sizes of programs, in bytes, that are tried one after the other: the crate does not say how large a program is, so each
/// counts as the smallest of these that holds it.
const STEPS: [usize; 3] = [64 << 10, 1 << 20, 16 << 20];

/// The memory that one program may take for the states it has come across while matching, in bytes.
const STATES: usize = 512 << 10;

/// How large the programs of one list of patterns may become, all together.
///
/// The lists come from the daemon, and a line such as `[a]{1000}` becomes a program of many times its size.
#[derive(Debug)]
pub struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: 128 << 20 }
    }
}

impl Budget {
    /// Compiles `text`, which is in Go's syntax, for matching UTF-8.
    pub(super) fn compile(&mut self, text: &str) -> Result<Regex, CompileError> {
        let translated = translate(text).map_err(|BadRegex| CompileError::Bad)?;
        for step in STEPS {
            let limit = step.min(self.left);
            match build(&translated, limit) {
                Err(CompileError::TooLarge) if limit == step => {}
                Ok(regex) => {
                    self.left -= limit;
                    return Ok(regex);
                }
                Err(error) => return Err(error),
            }
        }
        Err(CompileError::TooLarge)
    }
}

fn build(translated: &str, limit: usize) -> Result<Regex, CompileError> {
    RegexBuilder::new(translated)
        .size_limit(limit)
        .dfa_size_limit(STATES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => CompileError::TooLarge,
            _ => CompileError::Bad,
        })
}

// What a repetition would apply to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    // Nothing: the start of an alternative.
    Nothing,
    Atom,
    Repetition,
}

fn translate(text: &str) -> Result<String, BadRegex> {
    let mut rest = text;
    let mut out = String::with_capacity(text.len() * 2);
    let mut last = Last::Nothing;
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        let (next, now) = match c {
            // The only groups are those the pattern compiler wrote.
            '(' => (group(rest, &mut out)?, Last::Repetition),
            '|' => {
                out.push('|');
                (tail, Last::Nothing)
            }
            '^' => {
                out.push_str(r"\A");
                (tail, Last::Atom)
            }
            '$' => {
                out.push_str(r"\z");
                (tail, Last::Atom)
            }
            '.' => {
                out.push('.');
                (tail, Last::Atom)
            }
            '*' | '+' | '?' => {
                repeatable(last)?;
                out.push(c);
                (tail, Last::Repetition)
            }
            '{' => {
                if let Some((written, after)) = repetition(rest)? {
                    repeatable(last)?;
                    out.push_str(&written);
                    (after, Last::Repetition)
                } else {
                    literal(&mut out, '{');
                    (tail, Last::Atom)
                }
            }
            '[' => (class(rest, &mut out)?, Last::Atom),
            '\\' => escape(rest, &mut out)?,
            c => {
                literal(&mut out, c);
                (tail, Last::Atom)
            }
        };
        rest = next;
        last = now;
    }
    Ok(out)
}

fn repeatable(last: Last) -> Result<(), BadRegex> {
    match last {
        Last::Atom => Ok(()),
        Last::Nothing | Last::Repetition => Err(BadRegex),
    }
}

fn literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        scalar(out, u32::from(c));
    }
}

fn scalar(out: &mut String, value: u32) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\\x{{{value:x}}}");
}

// A code point that Go takes and UTF-8 cannot hold matches nothing.
const NEVER: &str = r"[^\x{0}-\x{10ffff}]";

fn code_point(out: &mut String, value: u32) {
    if char::from_u32(value).is_some() {
        scalar(out, value);
    } else {
        out.push_str(NEVER);
    }
}

fn group<'a>(rest: &'a str, out: &mut String) -> Result<&'a str, BadRegex> {
    const GROUP: &str = "(.*/)?";
    let after = rest.strip_prefix(GROUP).ok_or(BadRegex)?;
    out.push_str("(?:.*/)?");
    Ok(after)
}

// `{2}`, `{2,}` or `{2,5}` at the start of `rest`; anything else makes the brace a character.
fn repetition(rest: &str) -> Result<Option<(String, &str)>, BadRegex> {
    let Some((inside, after)) = rest[1..].split_once('}') else {
        return Ok(None);
    };
    let (min, max) = match inside.split_once(',') {
        None => (inside, Some(inside)),
        Some((min, "")) => (min, None),
        Some((min, max)) => (min, Some(max)),
    };
    let number = |digits: &str| -> Option<u32> {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let padded = digits.len() > 1 && digits.starts_with('0');
        // What does not fit is too large for what follows as well.
        (plain && !padded).then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let Some(min) = number(min) else {
        return Ok(None);
    };
    let max = match max.map(number) {
        None => None,
        Some(Some(max)) => Some(max),
        Some(None) => return Ok(None),
    };
    if min > 1000 || max.is_some_and(|max| max > 1000 || min > max) {
        return Err(BadRegex);
    }
    let written = match max {
        None => format!("{{{min},}}"),
        Some(max) => format!("{{{min},{max}}}"),
    };
    Ok(Some((written, after)))
}

// A backslash outside a class.
fn escape<'a>(rest: &'a str, out: &mut String) -> Result<(&'a str, Last), BadRegex> {
    let after = &rest[1..];
    let (written, tail) = match after.chars().next() {
        Some('A') => (r"\A", &after[1..]),
        Some('z') => (r"\z", &after[1..]),
        Some('b') => (r"(?-u:\b)", &after[1..]),
        Some('B') => (r"(?-u:\B)", &after[1..]),
        Some('Q') => {
            let (quoted, tail) = after[1..].split_once("\\E").unwrap_or((&after[1..], ""));
            for c in quoted.chars() {
                literal(out, c);
            }
            return Ok((tail, Last::Atom));
        }
        _ => {
            if let Some(tail) = named_class(rest, out)? {
                return Ok((tail, Last::Atom));
            }
            let (value, tail) = escaped_char(rest)?;
            code_point(out, value);
            return Ok((tail, Last::Atom));
        }
    };
    out.push_str(written);
    Ok((tail, Last::Atom))
}

// `\d`, `\pL`, `\p{Greek}` and their like, which stand for a class inside and outside of brackets.
fn named_class<'a>(rest: &'a str, out: &mut String) -> Result<Option<&'a str>, BadRegex> {
    let mut chars = rest[1..].chars();
    let Some(letter) = chars.next() else {
        return Ok(None);
    };
    let tail = chars.as_str();
    let perl = match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\x{c}\r\x{20}]",
        'S' => r"[^\t\n\x{c}\r\x{20}]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'p' | 'P' => return unicode_class(letter == 'P', tail, out).map(Some),
        _ => return Ok(None),
    };
    out.push_str(perl);
    Ok(Some(tail))
}

fn unicode_class<'a>(negated: bool, after: &'a str, out: &mut String) -> Result<&'a str, BadRegex> {
    let first = after.chars().next().ok_or(BadRegex)?;
    let (name, tail) = match after.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or(BadRegex)?,
        None => after.split_at(first.len_utf8()),
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (!negated, name),
        None => (negated, name),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(BadRegex);
    }
    let letter = if negated { 'P' } else { 'p' };
    let _ = write!(out, "\\{letter}{{{name}}}");
    Ok(tail)
}

// The code point after a backslash that starts no class.
fn escaped_char(rest: &str) -> Result<(u32, &str), BadRegex> {
    let mut chars = rest[1..].chars();
    let c = chars.next().ok_or(BadRegex)?;
    let tail = chars.as_str();
    let value = match c {
        // A lone digit would be a back reference.
        '1'..='7' if !tail.starts_with(|c| matches!(c, '0'..='7')) => return Err(BadRegex),
        '0'..='7' => return Ok(octal(&rest[1..])),
        'x' => return hexadecimal(tail),
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(BadRegex),
    };
    Ok((value, tail))
}

fn octal(text: &str) -> (u32, &str) {
    let len = text
        .bytes()
        .take(3)
        .take_while(|b| matches!(b, b'0'..=b'7'))
        .count();
    let (digits, tail) = text.split_at(len);
    (u32::from_str_radix(digits, 8).unwrap_or(0), tail)
}

fn hexadecimal(text: &str) -> Result<(u32, &str), BadRegex> {
    let (digits, tail) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}').ok_or(BadRegex)?,
        None => text.split_at_checked(2).ok_or(BadRegex)?,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(BadRegex);
    }
    let digits = digits.trim_start_matches('0');
    let value = match digits {
        "" => 0,
        digits => u32::from_str_radix(digits, 16).map_err(|_| BadRegex)?,
    };
    if value > u32::from(char::MAX) {
        return Err(BadRegex);
    }
    Ok((value, tail))
}

// A class in brackets at the start of `rest`.
fn class<'a>(rest: &'a str, out: &mut String) -> Result<&'a str, BadRegex> {
    let mut t = &rest[1..];
    out.push('[');
    if let Some(after) = t.strip_prefix('^') {
        out.push('^');
        t = after;
    }
    // Something must be inside the brackets, but a code point that UTF-8 cannot hold may be all there is.
    out.push_str(NEVER);
    let mut first = true;
    while first || !t.starts_with(']') {
        first = false;
        if t.starts_with("[:")
            && let Some(after) = posix_class(t, out)?
        {
            t = after;
            continue;
        }
        if t.starts_with('\\')
            && let Some(after) = named_class(t, out)?
        {
            t = after;
            continue;
        }
        let (lo, after) = class_char(t)?;
        t = after;
        let mut hi = lo;
        if t.len() >= 2 && t.starts_with('-') && !t.starts_with("-]") {
            (hi, t) = class_char(&t[1..])?;
            if hi < lo {
                return Err(BadRegex);
            }
        }
        range(lo, hi, out);
    }
    out.push(']');
    Ok(&t[1..])
}

fn class_char(t: &str) -> Result<(u32, &str), BadRegex> {
    match t.chars().next() {
        None => Err(BadRegex),
        Some('\\') => escaped_char(t),
        Some(c) => Ok((u32::from(c), &t[c.len_utf8()..])),
    }
}

// The ends may be code points that UTF-8 cannot hold; what lies between them counts.
fn range(lo: u32, hi: u32, out: &mut String) {
    const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
    let lo = if SURROGATES.contains(&lo) { 0xe000 } else { lo };
    let hi = if SURROGATES.contains(&hi) { 0xd7ff } else { hi };
    if lo <= hi {
        scalar(out, lo);
        out.push('-');
        scalar(out, hi);
    }
}

// `[:alpha:]`; text that only starts like it is not a class, a class with an unknown name is an error.
fn posix_class<'a>(t: &'a str, out: &mut String) -> Result<Option<&'a str>, BadRegex> {
    const NAMES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
        "space", "upper", "word", "xdigit",
    ];
    let Some((name, after)) = t[2..].split_once(":]") else {
        return Ok(None);
    };
    if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return Err(BadRegex);
    }
    let _ = write!(out, "[:{name}:]");
    Ok(Some(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_syntax_means_what_it_means_in_go() {
        for (go, text, matches) in [
            (r"^a|b$", "ax", true),
            (r"^a{2}$", "aa", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^\Qa.b$", "a.b$", true),
            (r"^\d$", "٣", false),
            (r"^[[:alpha:]]$", "x", true),
            (r"^[[^/]*]$", "[[]", true),
            (r"^\x41\101$", "AA", true),
            (r"^[^\pL]$", "é", false),
        ] {
            let regex = Budget::default().compile(go);
            let regex = regex.unwrap_or_else(|_| panic!("{go}"));
            assert_eq!(regex.is_match(text.as_bytes()), matches, "{go} {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for go in [
            r"^\1$",
            r"^a{2}{3}$",
            r"^a|{2}$",
            r"^a{1001}$",
            r"^[b-a]$",
            r"^[[:nope:]]$",
            r"^\pé$",
            r"^\y$",
            r"^[a$",
        ] {
            let refused = Budget::default().compile(go).err();
            assert_eq!(refused, Some(CompileError::Bad), "{go}");
        }
    }

    #[test]
    fn programs_are_bounded_one_by_one_and_together() {
        let large = r"^[\x{80}-\x{10ffff}]{1000}$";
        let mut budget = Budget::default();
        let compiled = (0..1000)
            .take_while(|_| budget.compile(large).is_ok())
            .count();
        assert!((1..1000).contains(&compiled), "{compiled}");
        let huge = format!("^{}$", r"[\x{80}-\x{10ffff}]{1000}".repeat(100));
        let refused = Budget::default().compile(&huge).err();
        assert_eq!(refused, Some(CompileError::TooLarge));
    }
}
