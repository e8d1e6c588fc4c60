//! A case of the campaign: a context, its ignore file, and the `COPY` instructions.

use std::collections::BTreeMap;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Dir,
    File(Vec<u8>),
    // A hard link to the file at this path.
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
    /// Whether it belongs to root, and not to the user who runs the build.
    pub(super) of_root: bool,
    /// Extended attributes. A file with several names has them at the first name.
    pub(super) attributes: Attributes,
}

/// Extended attributes, by name.
pub(super) type Attributes = BTreeMap<String, Vec<u8>>;

impl Node {
    /// An entry that belongs to the user who runs the build.
    pub(super) fn new(kind: Kind, mode: u32) -> Self {
        Self {
            kind,
            mode,
            of_root: false,
            attributes: Attributes::new(),
        }
    }

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
    // A separate ignore file next to the Dockerfile.
    Own,
    // A link to a file in the context.
    LinkInside,
    // The forms from here on cannot be used.
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

/// How the target uses the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The main context.
    Context,
    /// A named context; the main context is empty.
    Named,
    /// Both the main context and a named one.
    Both,
}

/// Where the result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// An archive.
    Tar,
    /// A directory.
    Local,
}

/// The path of the entry `name` in the directory `dir`. The path of the root is empty.
pub(super) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        name.to_vec()
    } else {
        [dir, b"/", name].concat()
    }
}

/// The directories that lead to `path`, without the root.
pub(super) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    ends.map(|(at, _)| &path[..at])
}

/// A context, its ignore file, and the `COPY` instructions.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) tree: BTreeMap<Vec<u8>, Node>,
    pub(super) place: Place,
    pub(super) output: Output,
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

    /// The bake file.
    pub(super) fn definition(&self) -> String {
        let context = match self.place {
            Place::Context => "context = \"ctx\"",
            Place::Named => "context = \"empty\"\n  contexts = { named = \"ctx\" }",
            Place::Both => "context = \"ctx\"\n  contexts = { named = \"ctx\" }",
        };
        let output = match self.output {
            Output::Tar => "type=tar,dest=-",
            Output::Local => "type=local,dest=out",
        };
        format!(
            "target \"default\" {{\n  {context}\n  dockerfile = \"../Dockerfile\"\n  output = [\"{output}\"]\n}}\n"
        )
    }

    /// The extended attributes of the file at `path`.
    pub(super) fn attributes(&self, path: &[u8]) -> &Attributes {
        match &self.tree[path].kind {
            Kind::Hard(first) => &self.tree[first].attributes,
            _ => &self.tree[path].attributes,
        }
    }

    /// The Dockerfile.
    pub(super) fn dockerfile(&self) -> String {
        let mut text = "FROM scratch\n".to_owned();
        for (number, sources) in self.copies.iter().enumerate() {
            let mut words = sources.clone();
            words.push(format!("/o{number}/"));
            let words = serde_json::to_string(&words).unwrap();
            let is_named = match self.place {
                Place::Context => false,
                Place::Named => true,
                Place::Both => number % 2 == 1,
            };
            let from = if is_named { "--from=named " } else { "" };
            text.extend(["COPY ", from, &words, "\n"]);
        }
        text
    }

    /// Whether an ordinary user can read the file or list the directory at `path`, or examine an entry of another kind.
    pub(super) fn is_readable(&self, path: &[u8]) -> bool {
        let mut above = parents(path).map(|dir| &self.tree[dir]);
        let node = &self.tree[path];
        let itself = match &node.kind {
            Kind::Dir => node.is_open(4) && node.is_open(1),
            Kind::File(_) => node.is_open(4),
            Kind::Hard(first) => self.tree[first].is_open(4),
            Kind::Link(_) | Kind::Pipe | Kind::Socket | Kind::Device => true,
        };
        itself && above.all(|dir| dir.is_open(1))
    }
}
