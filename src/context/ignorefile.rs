//! Reads the text of an ignore file as a list of patterns.
//!
//! For transfers, the daemon reads the ignore file itself and sends the patterns. This reader is for what rbake
//! decides without a daemon.

use crate::golang::filepath;

/// Returns the patterns in `text`. Comments and blank lines are left out, paths are cleaned, and a leading slash
/// is removed.
pub(crate) fn patterns(text: &[u8]) -> Vec<Vec<u8>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    text.split(|b| *b == b'\n').filter_map(pattern).collect()
}

/// Returns the pattern in one line, or `None` for a comment or a blank line. A lone `!` is kept, because it is an
/// error that the matcher reports.
fn pattern(line: &[u8]) -> Option<Vec<u8>> {
    if line.first() == Some(&b'#') {
        return None;
    }
    let line = super::pattern::trim(line);
    let (exclusion, path) = match line.strip_prefix(b"!") {
        Some(path) => (true, super::pattern::trim(path)),
        None => (false, line),
    };
    if path.is_empty() && !exclusion {
        return None;
    }
    let mut out = Vec::with_capacity(line.len());
    if exclusion {
        out.push(b'!');
    }
    if !path.is_empty() {
        let cleaned = filepath::clean(path);
        out.extend_from_slice(match cleaned.as_slice() {
            [b'/', rest @ ..] if !rest.is_empty() => rest,
            whole => whole,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_patterns() {
        let text = "\u{feff}test1\r\n/test2\n/a/file/../here\n\n # no comment\n#comment\n! /inverted/abs/\n!\n/\nlast";
        let found: Vec<String> = patterns(text.as_bytes())
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect();
        assert_eq!(
            found,
            [
                "test1",
                "test2",
                "a/here",
                "# no comment",
                "!inverted/abs",
                "!",
                "/",
                "last"
            ]
        );
    }
}
