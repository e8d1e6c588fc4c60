//! Regular expressions as Go reads them, on Rust's engine.
//!
//! Both are RE2's kind: linear time, the leftmost match, the first alternative. They differ in spelling: Go's `\d`, `\w`,
//! `\s` and `\b` are ASCII, `\Q…\E` quotes, octal escapes and a literal `{` exist, and classes know no set operations. So
//! a pattern is read by Go's grammar and written anew. Start at [`Pattern::compile`].

use std::fmt::Write as _;

use super::call::{Call, FunctionError};
use regex::bytes::{Captures, Regex, RegexBuilder};

/// The longest pattern that is read.
const LENGTH_LIMIT: usize = 64 << 10;
/// The most repetitions that `{n,m}` may ask for.
const REPEAT_LIMIT: u32 = 1000;
/// The memory that a compiled pattern may take.
const COMPILED_LIMIT: usize = 4 << 20;
/// The text that looking for all matches may go through, in bytes. One search is linear, but it may go to the end of the
/// text for each match.
const SEARCH_LIMIT: u64 = 512 << 20;
/// How much of that takes as long as a step of evaluation at the worst.
const SEARCHED_PER_STEP: u64 = 256;
/// How many steps compiling a byte of a pattern is worth: a large class has hundreds of parts, a word a few.
const STEPS_PER_BYTE: u64 = 8;
/// The most steps that compiling is worth.
const COMPILING_STEPS_LIMIT: u64 = 300_000;

const WORD: &str = "0-9A-Za-z_";
const SPACE: &str = r"\t\n\f\r ";

/// The classes that `[[:name:]]` may name.
const POSIX_CLASSES: &[&str] = &[
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// The names of the groups, from the first; none of those that have no name.
    names: Vec<Option<String>>,
}

impl Pattern {
    /// Compiles a pattern; the error is a fragment. `work` is told about how many steps of evaluation that takes.
    pub(super) fn compile(pattern: &str, work: impl FnOnce(u64)) -> Result<Self, String> {
        if pattern.len() > LENGTH_LIMIT {
            return Err("the pattern is too long".into());
        }
        let mut translation = Translation {
            rest: pattern,
            out: String::with_capacity(pattern.len() + 16),
            names: Vec::new(),
            flags_at: None,
            copies: 1,
            swapped: false,
            swapped_around: Vec::new(),
        };
        translation.run()?;
        let bytes = translation.out.len() as u64;
        let steps = bytes.saturating_mul(translation.copies.saturating_mul(STEPS_PER_BYTE));
        work(steps.min(COMPILING_STEPS_LIMIT));
        let regex = RegexBuilder::new(&translation.out)
            .size_limit(COMPILED_LIMIT)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
                // The engine shows the translated pattern and where it fails; its last line says why.
                other => {
                    let text = other.to_string();
                    let reason = text.lines().last().unwrap_or_default();
                    reason.trim_start_matches("error: ").to_owned()
                }
            })?;
        Ok(Self {
            regex,
            names: translation.names,
        })
    }

    /// The names of the groups, from the first.
    pub(super) fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// The matches in a text, from left to right.
    fn matches<'t>(&self, text: &'t str) -> impl Iterator<Item = Match<'t>> {
        // Only an empty match can begin inside of a character, and the reference's are at characters.
        self.regex
            .captures_iter(text.as_bytes())
            .map(move |captures| Match { text, captures })
            .filter(move |found| text.is_char_boundary(found.start()))
    }

    /// The matches in a text, whose search counts as the work of `call`; an error where that is too much.
    pub(super) fn matches_for<'t>(
        &self,
        text: &'t str,
        call: &Call<'_>,
    ) -> impl Iterator<Item = Result<Match<'t>, FunctionError>> {
        let mut left = SEARCH_LIMIT;
        self.matches(text).map(move |found| {
            let ahead = (text.len() - found.end()) as u64;
            call.work(ahead / SEARCHED_PER_STEP);
            match left.checked_sub(ahead) {
                Some(rest) => {
                    left = rest;
                    Ok(found)
                }
                None => Err(FunctionError::new(format!(
                    "there are too many matches in so long a text: searching for them goes through more than {} MiB",
                    SEARCH_LIMIT >> 20
                ))),
            }
        })
    }

    /// The text of the group that a reference in a replacement means, by number or name; of several groups of one name
    /// the first that took part.
    pub(super) fn referenced<'t>(&self, reference: &str, found: &Match<'t>) -> Option<&'t str> {
        let leading_zero = reference.len() > 1 && reference.starts_with('0');
        if !leading_zero && reference.bytes().all(|digit| digit.is_ascii_digit()) {
            return found.group(reference.parse().ok()?);
        }
        let named = |(_, name): &(usize, &Option<String>)| name.as_deref() == Some(reference);
        self.names
            .iter()
            .enumerate()
            .filter(named)
            .find_map(|(place, _)| found.group(place + 1))
    }
}

/// One match.
#[derive(Debug)]
pub(super) struct Match<'t> {
    text: &'t str,
    captures: Captures<'t>,
}

impl<'t> Match<'t> {
    /// Where the match begins, in bytes.
    pub(super) fn start(&self) -> usize {
        self.captures.get(0).map_or(0, |whole| whole.start())
    }

    /// Where the match ends, in bytes.
    pub(super) fn end(&self) -> usize {
        self.captures.get(0).map_or(0, |whole| whole.end())
    }

    /// The text of a group, 0 for the whole match; none where the group took no part.
    pub(super) fn group(&self, group: usize) -> Option<&'t str> {
        let found = self.captures.get(group)?;
        self.text.get(found.start()..found.end())
    }
}

struct Translation<'p> {
    rest: &'p str,
    out: String,
    names: Vec<Option<String>>,
    /// Where in the output the flags begin that were read last, if nothing followed them yet.
    flags_at: Option<usize>,
    /// How many copies of what they repeat all `{n,m}` make at most, if they are all within each other.
    copies: u64,
    /// Whether repetitions take as little as they can, and those with `?` as much: the flag `U`. The engine is not told
    /// of it, for flags right before a repetition count for that, too, and there is no place for them.
    swapped: bool,
    /// The same for the groups around the current one.
    swapped_around: Vec<bool>,
}

/// An escape inside or outside of a class.
enum Escape {
    /// One character.
    Char(char),
    /// The items of a class, and whether they are excluded.
    Class { items: &'static str, negated: bool },
    /// A Unicode class, in the engine's spelling.
    Unicode(String),
}

impl Translation<'_> {
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

    fn take(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Writes a repetition of what was read last; flags in between are not what is repeated, but what is before them.
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

    /// `{n}`, `{n,}` or `{n,m}`; anything else that begins so is literal.
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

    /// A group, or flags for what follows; `flags_at` is where flags begin that come right before.
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
        // Flags may be repeated in Go, and what is set and cleared is cleared.
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

    /// What begins with a backslash, outside of a class.
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
                    Escape::Char(char) => push_char(&mut self.out, char),
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
            'a' => Escape::Char('\u{7}'),
            'f' => Escape::Char('\u{c}'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\u{b}'),
            'p' | 'P' => return self.unicode_class(char == 'P'),
            'x' => return self.hexadecimal(),
            '0'..='7' => return self.octal(),
            _ if char.is_ascii_punctuation() => Escape::Char(char),
            _ => return Err(invalid()),
        };
        self.take(1 + char.len_utf8());
        Ok(escape)
    }

    /// `\x7F` or `\x{10FFFF}`.
    fn hexadecimal(&mut self) -> Result<Escape, String> {
        let after = &self.rest[2..];
        let (digits, length) = match after.strip_prefix('{') {
            Some(braced) => {
                let end = braced.find('}').unwrap_or(0);
                (&braced[..end], end + 2)
            }
            None => (after.get(..2).unwrap_or_default(), 2),
        };
        let char = u32::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(char::from_u32)
            .ok_or_else(|| format!("invalid escape sequence `\\x{}`", start_of(after)))?;
        self.take(2 + length);
        Ok(Escape::Char(char))
    }

    /// `\0`, `\07`, `\123`; a single other digit would be a backreference, which there are none of.
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
        let char = u32::from_str_radix(digits, 8)
            .ok()
            .and_then(char::from_u32)
            .ok_or_else(|| format!("invalid escape sequence `\\{digits}`"))?;
        self.take(1 + length);
        Ok(Escape::Char(char))
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}` and their opposites.
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
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(format!("invalid character class range: `\\p{{{name}}}`"));
        }
        let letter = if negated == inverted { 'p' } else { 'P' };
        let class = if name == "Any" && letter == 'P' {
            // An empty class cannot be written otherwise.
            r"[^\x{0}-\x{10FFFF}]".to_owned()
        } else {
            format!("\\{letter}{{{name}}}")
        };
        self.take(2 + length);
        Ok(Escape::Unicode(class))
    }

    /// A class in brackets.
    fn class(&mut self) -> Result<(), String> {
        let whole = self.rest;
        let unclosed = || format!("missing closing ]: `{}`", start_of(whole));
        self.take(1);
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.take(1);
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if self.rest.is_empty() {
                return Err(unclosed());
            }
            if self.rest.starts_with(']') && !first {
                self.take(1);
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if let Some(named) = self.rest.strip_prefix("[:")
                && let Some(end) = named.find(":]")
            {
                let class = &self.rest[..end + 4];
                let name = named[..end].trim_start_matches('^');
                if !POSIX_CLASSES.contains(&name) {
                    return Err(format!("invalid character class range: `{class}`"));
                }
                self.out.push_str(class);
                self.take(end + 4);
                continue;
            }
            let low = match self.class_item()? {
                Escape::Char(char) => char,
                Escape::Class { items, negated } => {
                    self.push_class(items, negated);
                    continue;
                }
                Escape::Unicode(class) => {
                    self.out.push_str(&class);
                    continue;
                }
            };
            push_char(&mut self.out, low);
            // A dash before the bracket that closes is literal.
            if self.rest.starts_with('-') && !self.rest[1..].starts_with(']') && self.rest.len() > 1
            {
                self.take(1);
                match self.class_item()? {
                    Escape::Char(high) if high >= low => {
                        self.out.push('-');
                        push_char(&mut self.out, high);
                    }
                    _ => {
                        return Err(format!(
                            "invalid character class range: `{}`",
                            start_of(whole)
                        ));
                    }
                }
            }
        }
    }

    fn class_item(&mut self) -> Result<Escape, String> {
        match self.rest.chars().next() {
            Some('\\') => self.escape(),
            Some(char) => {
                self.take(char.len_utf8());
                Ok(Escape::Char(char))
            }
            None => Err("missing closing ]".into()),
        }
    }
}

/// Writes a character so that it stands for itself, inside and outside of classes.
fn push_char(out: &mut String, char: char) {
    if char.is_ascii() && !char.is_ascii_alphanumeric() {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\x{{{:X}}}", u32::from(char));
    } else {
        out.push(char);
    }
}

/// The first few characters of a text, for messages.
fn start_of(text: &str) -> String {
    text.chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
        let pattern = Pattern::compile(pattern, |_| ()).unwrap();
        pattern
            .matches(text)
            .next()
            .and_then(|found| found.group(0))
    }

    #[test]
    fn classes_are_ascii() {
        assert_eq!(first(r"\d+", "٣٤12"), Some("12"));
        assert_eq!(first(r"\w+", "éab_1é"), Some("ab_1"));
        assert_eq!(first(r"\S+", " é\u{a0}x "), Some("é\u{a0}x"));
        assert_eq!(first(r"\bb", "éb"), Some("b"));
        assert_eq!(first(r"[^\d\s]+", "1 ab"), Some("ab"));
        assert_eq!(first(r"\Bb", "éb"), None);
        assert_eq!(first(r"a\Bb", "ab"), Some("ab"));
    }

    #[test]
    fn literals_that_rust_reads_otherwise() {
        assert_eq!(first(r"a{,2}", "a{,2}"), Some("a{,2}"));
        assert_eq!(first(r"[a&&b]+", "&b&"), Some("&b&"));
        assert_eq!(first(r"[[a]+", "[a"), Some("[a"));
        assert_eq!(first(r"\Q.*\E+", "a.**"), Some(".**"));
        assert_eq!(first(r"\<a\>", "<a>"), Some("<a>"));
        assert_eq!(first(r"\101\x42\x{43}", "ABC"), Some("ABC"));
        assert_eq!(first(r"[]a]+", "a]"), Some("a]"));
        assert_eq!(first(r"[a\-z]+", "-za"), Some("-za"));
        assert_eq!(first(r"[+--]+", "+,-"), Some("+,-"));
        assert_eq!(first("# x", "# x"), Some("# x"));
        assert_eq!(first(r"\p{^Lu}+", "Aab"), Some("ab"));
        assert_eq!(first(r"(?i:É)", "é"), Some("é"));
        assert_eq!(first(r"a(?i)+?B", "aab"), Some("aab"));
        assert_eq!(first(r"a(?i)(?-i){2}", "aab"), Some("aa"));
    }

    #[test]
    fn what_go_refuses() {
        for pattern in [
            "(?=x)",
            "(?<!x)",
            r"\1",
            "a**",
            "a+*",
            "a{2}{3}",
            "a{1001}",
            "a{2,1}",
            "[a",
            "(a",
            "a)",
            r"\C",
            r"\Z",
            "*",
            "(?x)a",
            "(?i)*",
            "[z-a]",
            r"[a-\d]",
            r"\p{Nope}",
            "(?P<a-b>x)",
            r"\",
            r"\xZZ",
            "[[:nope:]]",
            r"\_é\é",
        ] {
            assert!(Pattern::compile(pattern, |_| ()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn hostile_patterns_are_refused() {
        assert!(Pattern::compile("(((((a{1000}){1000}){1000}){1000}){1000})", |_| ()).is_err());
        assert!(Pattern::compile(&"(".repeat(100_000), |_| ()).is_err());
    }

    #[test]
    fn empty_matches_are_at_characters() {
        let pattern = Pattern::compile("", |_| ()).unwrap();
        let starts: Vec<usize> = pattern.matches("éa").map(|found| found.start()).collect();
        assert_eq!(starts, [0, 2, 3]);
    }
}
