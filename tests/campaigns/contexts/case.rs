//! A context, its ignore file, and what is copied of it.

use std::collections::BTreeMap;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File(Vec<u8>),
    // Another name of the file at this path.
    Hard(Vec<u8>),
    Link(Vec<u8>),
    Pipe,
    Socket,
    Device,
}

/// An entry of a context.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    /// Whether it belongs to root and not to the user who builds.
    pub(super) of_root: bool,
}

impl Node {
    fn is_open(&self, bit: u32) -> bool {
        let shift = if self.of_root { 0 } else { 6 };
        self.mode >> shift & bit != 0
    }
}

/// The form of an ignore file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ignore {
    None,
    File,
    // Beside the Dockerfile, for it alone.
    Own,
    // A link that stays inside.
    LinkInside,
    // From here on, forms that cannot be used.
    LinkOutside,
    Dangling,
    Loop,
    Directory,
    Pipe,
    Socket,
    Unreadable,
    BadPattern,
    BadByte,
    Control,
}

impl Ignore {
    pub(super) fn is_usable(self) -> bool {
        self <= Self::LinkInside
    }
}

/// A context, its ignore file and what is copied.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) tree: BTreeMap<Vec<u8>, Node>,
    pub(super) ignore: Ignore,
    /// Lines of the ignore file.
    pub(super) lines: Vec<Vec<u8>>,
    /// The sources of each `COPY`.
    pub(super) copies: Vec<Vec<String>>,
}

impl Case {
    /// All sources.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.copies.iter().flatten().map(String::as_str)
    }

    /// The text of the ignore file.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = b"\xef\xbb\xbf# made by chance\r\n".to_vec();
        for line in &self.lines {
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
        }
        text
    }

    /// The Dockerfile.
    pub(super) fn dockerfile(&self) -> String {
        let mut text = "FROM scratch\n".to_owned();
        for (number, sources) in self.copies.iter().enumerate() {
            let mut words = sources.clone();
            words.push(format!("/o{number}/"));
            let words = serde_json::to_string(&words).unwrap();
            text.extend(["COPY ", &words, "\n"]);
        }
        text
    }

    /// Whether an ordinary user can read the file, list the directory, or look at what else is at `path`.
    pub(super) fn is_readable(&self, path: &[u8]) -> bool {
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at);
        let above = ends.map(|end| &self.tree[&path[..end]]);
        let node = &self.tree[path];
        let itself = match &node.kind {
            Kind::Dir => node.is_open(4) && node.is_open(1),
            Kind::File(_) => node.is_open(4),
            Kind::Hard(first) => self.tree[first].is_open(4),
            Kind::Link(_) | Kind::Pipe | Kind::Socket | Kind::Device => true,
        };
        itself && above.into_iter().all(|dir| dir.is_open(1))
    }
}
