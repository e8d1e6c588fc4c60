//! Slash-separated paths as Go's `path/filepath` treats them on Unix: `Clean`, `Join`, `Dir`, `Base` and `Match`.
//!
//! Go's tools define ignore files and filters by these functions, so the results must be the same byte for byte.
//! Paths are bytes, because file names need not be UTF-8. Nothing here accesses the file system.

use super::utf8::{char_len, decode_char};

/// Returns the shortest path that names the same file by its text alone, without following links. The empty path
/// becomes `.`.
pub(crate) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => {
                    parts.pop();
                }
                // The parent of the root is the root.
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    if rooted {
        out.push(b'/');
    }
    out.extend_from_slice(&parts.join(&b'/'));
    if out.is_empty() {
        out.push(b'.');
    }
    out
}

/// Joins the parts that are not empty and cleans the result. Returns the empty path if all parts are empty.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    let some: Vec<&[u8]> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
    if some.is_empty() {
        return Vec::new();
    }
    clean(&some.join(&b'/'))
}

/// Returns `path` without its last element, cleaned; `.` if the path has only one element.
pub(crate) fn dir(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    clean(&path[..end])
}

/// Returns the last element; trailing slashes do not count. `.` for the empty path, `/` for slashes alone.
pub(crate) fn base(path: &[u8]) -> &[u8] {
    let trimmed = match path.iter().rposition(|b| *b != b'/') {
        Some(last) => &path[..=last],
        None if path.is_empty() => return b".",
        None => return b"/",
    };
    match trimmed.iter().rposition(|b| *b == b'/') {
        Some(at) => &trimmed[at + 1..],
        None => trimmed,
    }
}

/// A pattern is malformed, for example because a class is empty or not closed, or because a `\` ends the pattern.
/// The message is Go's `ErrBadPattern`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub(crate) struct BadPattern;

/// One element of a pattern that matches one character, or one byte of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Glob {
    Byte(u8),
    /// `?`: any character but a slash.
    AnyChar,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A part of a pattern that begins with a `*` or at the start of the pattern, and goes up to the next `*`.
#[derive(Debug, Clone)]
struct Chunk {
    star: bool,
    globs: Result<Vec<Glob>, BadPattern>,
}

/// A pattern in the syntax of Go's `filepath.Match`: `*`, `?`, `[a-z]`, `[^a]` and `\x`. `*` and `?` do not match a
/// slash.
#[derive(Debug, Clone)]
pub(crate) struct NamePattern(Vec<Chunk>);

impl NamePattern {
    /// Parses `pattern`. A syntax error in it is reported by [`matches`](Self::matches), and only if matching gets
    /// to the malformed part, as in Go: a name that differs before that part simply does not match.
    pub(crate) fn new(pattern: &[u8]) -> Self {
        let mut chunks = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let start = rest.iter().position(|b| *b != b'*').unwrap_or(rest.len());
            let (chunk, after) = rest[start..].split_at(chunk_end(&rest[start..]));
            chunks.push(Chunk {
                star: start > 0,
                globs: globs(chunk),
            });
            rest = after;
        }
        Self(chunks)
    }

    /// Whether the pattern matches the whole `name`. The error means that the pattern is malformed.
    pub(crate) fn matches(&self, name: &[u8]) -> Result<bool, BadPattern> {
        let mut name = name;
        for (index, chunk) in self.0.iter().enumerate() {
            let globs = chunk.globs.as_ref().map_err(|bad| *bad)?;
            let is_last = index + 1 == self.0.len();
            if globs.is_empty() {
                // Only a `*` at the end has nothing after it. It matches the rest of the name, up to a slash.
                return Ok(!name.contains(&b'/'));
            }
            let skippable = if chunk.star {
                name.iter().position(|b| *b == b'/').unwrap_or(name.len())
            } else {
                0
            };
            let found = (0..=skippable)
                .filter_map(|skip| matches_start(globs, &name[skip..]))
                .find(|rest| rest.is_empty() || !is_last);
            match found {
                Some(rest) => name = rest,
                None => return Ok(false),
            }
        }
        Ok(name.is_empty())
    }
}

/// The length of the first chunk of `pattern`: up to a `*` outside of brackets, or to the end.
fn chunk_end(pattern: &[u8]) -> usize {
    let mut inside = false;
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => inside = true,
            b']' => inside = false,
            b'*' if !inside => return at,
            _ => {}
        }
        at += 1;
    }
    pattern.len()
}

/// Parses a chunk, which has no `*` outside of brackets.
fn globs(chunk: &[u8]) -> Result<Vec<Glob>, BadPattern> {
    let mut globs = Vec::with_capacity(chunk.len());
    let mut rest = chunk;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        globs.push(match first {
            b'?' => Glob::AnyChar,
            b'[' => class(&mut rest)?,
            b'\\' => {
                let (&escaped, tail) = rest.split_first().ok_or(BadPattern)?;
                rest = tail;
                Glob::Byte(escaped)
            }
            byte => Glob::Byte(byte),
        });
    }
    Ok(globs)
}

/// Returns the rest of `name` after `globs` matched its start, or `None` if they do not match.
fn matches_start<'a>(globs: &[Glob], name: &'a [u8]) -> Option<&'a [u8]> {
    globs
        .iter()
        .try_fold(name, |rest, glob| Some(&rest[matches_one(glob, rest)?..]))
}

/// The number of bytes at the start of `name` that `glob` matches, or `None` if it does not match.
fn matches_one(glob: &Glob, name: &[u8]) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    match glob {
        Glob::Byte(byte) => (name[0] == *byte).then_some(1),
        Glob::AnyChar => (name[0] != b'/').then(|| char_len(name)),
        Glob::Class { negated, ranges } => {
            let (c, len) = decode_char(name);
            let inside = ranges.iter().any(|(lo, hi)| *lo <= c && c <= *hi);
            (inside != *negated).then_some(len)
        }
    }
}

/// Parses the rest of a class, after its `[`.
fn class(rest: &mut &[u8]) -> Result<Glob, BadPattern> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Ok(Glob::Class { negated, ranges });
        }
        let lo = class_char(rest)?;
        let mut hi = lo;
        if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            hi = class_char(rest)?;
        }
        ranges.push((lo, hi));
    }
}

/// Takes one character of a class, which may be escaped. Invalid UTF-8 is an error, as in Go.
fn class_char(rest: &mut &[u8]) -> Result<char, BadPattern> {
    if matches!(rest.first(), None | Some(b'-' | b']')) {
        return Err(BadPattern);
    }
    if rest[0] == b'\\' {
        *rest = &rest[1..];
        if rest.is_empty() {
            return Err(BadPattern);
        }
    }
    let (c, len) = decode_char(rest);
    if c == char::REPLACEMENT_CHARACTER && len == 1 {
        return Err(BadPattern);
    }
    *rest = &rest[len..];
    // Every class ends with `]`, so the pattern cannot end after a character of a class.
    if rest.is_empty() {
        return Err(BadPattern);
    }
    Ok(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_returns_the_shortest_equivalent_path() {
        for (path, cleaned) in [
            ("", "."),
            ("a//b/./c/", "a/b/c"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("/../a", "/a"),
            ("/", "/"),
            ("./", "."),
            ("!/", "!"),
        ] {
            assert_eq!(clean(path.as_bytes()), cleaned.as_bytes(), "{path}");
        }
    }

    #[test]
    fn dir_and_base_split_like_go() {
        for (path, parent, last) in [
            ("a/b", "a", "b"),
            ("a", ".", "a"),
            ("/a", "/", "a"),
            ("", ".", "."),
            ("a/b/", "a/b", "b"),
            ("/", "/", "/"),
        ] {
            assert_eq!(dir(path.as_bytes()), parent.as_bytes(), "{path}");
            assert_eq!(base(path.as_bytes()), last.as_bytes(), "{path}");
        }
    }
}
