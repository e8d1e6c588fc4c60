//! The paths of a transfer's entries, by id, in little memory.
//!
//! A transfer may have a million entries, so only one row and one name are kept for each. A whole path is assembled
//! only when its file is opened.

/// The entries; an entry's id is the index of its row.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    names: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// The row of the entry's directory, or `ROOT`.
    parent: u32,
    name_end: u32,
    content: EntryContent,
}

/// Which content the daemon may request of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryContent {
    /// None: a directory, a link and so on.
    Never,
    /// Empty: the entry is a socket, which is listed as a regular file.
    Empty,
    /// A file that is in this state, according to the list that the daemon received.
    File(ListedFile),
    /// The content has been requested; it must not be requested again.
    Asked,
}

/// What the list says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListedFile {
    /// The size in bytes.
    pub(super) size: u64,
    /// When the content or the metadata changed last, in nanoseconds since the epoch.
    pub(super) changed: i64,
}

/// There are more entries, or more bytes of names, than 32-bit numbers can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the directory has more entries than one transfer can hold")]
pub(super) struct TooMany;

/// Marks a row whose directory is the root.
const ROOT: u32 = u32::MAX;

impl Table {
    /// Adds the entry `name` of the directory `parent` (`None` means the root). Its id is the number of rows before
    /// it.
    pub(super) fn push(
        &mut self,
        parent: Option<u32>,
        name: &[u8],
        content: EntryContent,
    ) -> Result<(), TooMany> {
        self.names.extend_from_slice(name);
        let name_end = u32::try_from(self.names.len()).map_err(|_| TooMany)?;
        if self.rows.len() >= ROOT as usize {
            return Err(TooMany);
        }
        self.rows.push(Row {
            parent: parent.unwrap_or(ROOT),
            name_end,
            content,
        });
        Ok(())
    }

    /// Records that the daemon requests `id`. `None` if it may not.
    pub(super) fn ask(&mut self, id: u32) -> Option<EntryContent> {
        let content = &mut self.rows.get_mut(id as usize)?.content;
        match content {
            EntryContent::Never | EntryContent::Asked => None,
            EntryContent::Empty | EntryContent::File(_) => {
                Some(std::mem::replace(content, EntryContent::Asked))
            }
        }
    }

    /// Replaces the content of `path` with the path of `id`.
    pub(super) fn path(&self, id: u32, path: &mut Vec<u8>) {
        let mut rows = Vec::with_capacity(16);
        let mut next = id;
        // This ends, because a directory's row always comes before its entries' rows.
        while let Some(row) = self.rows.get(next as usize) {
            rows.push(next);
            if row.parent >= next {
                break;
            }
            next = row.parent;
        }
        path.clear();
        for row in rows.iter().rev() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(self.name(*row as usize));
        }
    }

    fn name(&self, row: usize) -> &[u8] {
        let start = match row.checked_sub(1) {
            Some(before) => self.rows[before].name_end as usize,
            None => 0,
        };
        &self.names[start..self.rows[row].name_end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: EntryContent = EntryContent::File(ListedFile {
        size: 3,
        changed: 0,
    });

    #[test]
    fn paths_are_built_from_names() {
        let mut table = Table::default();
        for (parent, name) in [
            (None, "a"),
            (Some(0), "b"),
            (Some(1), "c"),
            (Some(0), "d"),
            (None, "e"),
        ] {
            table.push(parent, name.as_bytes(), FILE).unwrap();
        }
        let mut path = Vec::new();
        for (id, expected) in [(0, "a"), (1, "a/b"), (2, "a/b/c"), (3, "a/d"), (4, "e")] {
            table.path(id, &mut path);
            assert_eq!(path, expected.as_bytes());
        }
    }

    #[test]
    fn content_can_be_requested_once_and_only_from_files_that_have_it() {
        let mut table = Table::default();
        table.push(None, b"dir", EntryContent::Never).unwrap();
        table.push(Some(0), b"file", FILE).unwrap();
        assert_eq!(table.ask(0), None);
        assert_eq!(table.ask(1), Some(FILE));
        assert_eq!(table.ask(1), None);
        assert_eq!(table.ask(2), None);
    }
}
