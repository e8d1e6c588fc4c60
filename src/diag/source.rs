//! The source files that a run has read, kept so that diagnostics can quote them.

use std::sync::Arc;

/// Identifies a file in the [`SourceMap`] that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(u32);

/// The name and the text of a file.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// The name that messages show: the path as the user gave it, `-` for standard input, or the name of a
    /// Dockerfile.
    pub(crate) name: String,
    /// The whole text, unmasked.
    pub(crate) text: Arc<str>,
    // The text that excerpts show instead, with the values masked. Byte offsets are the same in both.
    masked: Option<Arc<str>>,
}

impl SourceFile {
    /// Returns the text that excerpts may show.
    pub(super) fn shown(&self) -> &str {
        self.masked.as_ref().unwrap_or(&self.text)
    }
}

/// All source files of a run. Spans refer to them by [`SourceId`].
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// Adds a file and returns its id. A name may occur more than once.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        let id = SourceId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(SourceFile {
            name: name.into(),
            text: text.into(),
            masked: None,
        });
        id
    }

    /// Masks the values of a file of `NAME=value` lines in all excerpts. Such values are often passwords, and an
    /// excerpt shows the lines around a problem, too.
    pub(crate) fn hide_values(&mut self, id: SourceId) {
        if let Some(file) = self.files.get_mut(id.0 as usize) {
            file.masked = Some(without_values(&file.text).into());
        }
    }

    /// Returns the file with `id`, or `None` if `id` belongs to another map.
    pub fn get(&self, id: SourceId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// Returns all files with their ids, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &SourceFile)> {
        (0..).map(SourceId).zip(&self.files)
    }

    /// Returns the line and column of a byte offset, both from 1. The column counts characters. An offset past the
    /// end means the end, and one inside a character means its start. Returns `None` if `id` belongs to another
    /// map.
    pub fn position(&self, id: SourceId, offset: u32) -> Option<(usize, usize)> {
        let text = &self.get(id)?.text;
        let mut offset = (offset as usize).min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((
            before.bytes().filter(|b| *b == b'\n').count() + 1,
            before[line_start..].chars().count() + 1,
        ))
    }
}

/// Returns `text` with each byte of a value replaced by `*`. A value is all that follows the first `=` or `:` of a
/// line. A line without either may continue a value of several lines, so it is masked wholly. Comments stay.
fn without_values(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_comment = line.trim_start().starts_with('#');
        let name_end = match line.find(['=', ':']) {
            _ if is_comment => line.len(),
            Some(at) => at + 1,
            None => 0,
        };
        let (name, value) = line.split_at(name_end);
        masked.push_str(name);
        for c in value.chars() {
            match c {
                '\n' | '\r' => masked.push(c),
                c => masked.extend(std::iter::repeat_n('*', c.len_utf8())),
            }
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one_and_accept_invalid_offsets() {
        let mut map = SourceMap::default();
        let id = map.add("a.hcl", "a = 1\nä = 2\n");
        assert_eq!(map.position(id, 0), Some((1, 1)));
        assert_eq!(map.position(id, 8), Some((2, 2)));
        assert_eq!(map.position(id, 7), Some((2, 1)), "inside a character");
        assert_eq!(map.position(id, 999), Some((3, 1)));
    }

    #[test]
    fn hidden_values_keep_their_length() {
        let text = "# a=b\nA=hünter2 \"x\r\nhunter2\"\n";
        let mut map = SourceMap::default();
        let id = map.add(".env", text);
        map.hide_values(id);
        let file = map.get(id).unwrap();
        assert_eq!(file.shown(), "# a=b\nA=***********\r\n********\n");
        assert_eq!((file.shown().len(), &*file.text), (text.len(), text));
    }
}
