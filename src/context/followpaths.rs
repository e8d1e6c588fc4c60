//! Paths that are wanted together with what their symbolic links lead to: `COPY current/app` needs the link
//! `current` and its target.
//!
//! This does what `FollowLinks` of `tonistiigi/fsutil` does: if a component is a link, the link itself is wanted,
//! and the search starts again at its target, never above the root. fsutil loses files in some cases in which this
//! module does not: a link that several paths lead through is followed for each of them, links in directories that
//! match a wildcard are found, and a name from the disk is never read as a pattern. Paths that cannot be read are
//! returned, because only the ignore file decides whether they matter. Start at [`resolve`].

use std::collections::{BTreeSet, HashSet};
use std::io;

use super::budget::Budget;
use super::pattern::{IgnorePattern, PatternError};
use crate::golang::filepath::{self, NamePattern};

/// The most links that are followed for one path. The daemon has the same limit.
const LINKS: u32 = 255;

/// A tree in which links can be read. Paths are relative and clean, and never lead above the root.
pub(crate) trait Links {
    /// Returns the target of the link at `path`. `None` if nothing is there or if it is not a link.
    fn read_link(&self, path: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Returns the names in the directory `path`, sorted; `.` is the root. `None` if nothing is there or if it is
    /// not a directory.
    fn names(&self, path: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>>;
}

/// The result for all followed paths.
#[derive(Debug)]
pub enum Followed {
    /// The followed paths add no filter: there are none, or one of them leads to the root.
    Root,
    /// Patterns for the wanted paths, and directories that are wanted without their content.
    Paths(Vec<Result<IgnorePattern, PatternError>>, BTreeSet<Vec<u8>>),
}

/// A path that could not be read while following links.
#[derive(Debug)]
pub(crate) struct Unseen {
    /// The attempted action, for the message: `list` or `look at`.
    pub(crate) act: &'static str,
    /// The path from the root of the tree.
    pub(crate) path: Vec<u8>,
    /// The error of the system.
    pub(crate) source: io::Error,
}

/// Returns the include patterns for `paths`, and the paths that could not be read while following them.
pub(crate) fn resolve(tree: &impl Links, paths: &[Vec<u8>]) -> (Followed, Vec<Unseen>) {
    if paths.is_empty() {
        return (Followed::Root, Vec::new());
    }
    let mut resolver = Resolver {
        tree,
        found: BTreeSet::new(),
        through: HashSet::new(),
        waiting: Vec::new(),
        unseen: Vec::new(),
        bases: BTreeSet::new(),
        strays: Vec::new(),
        budget: Budget::default(),
    };
    for path in paths {
        resolver.start(&filepath::join(&[b".", path]), LINKS);
    }
    while let Some(step) = resolver.waiting.pop() {
        resolver.step(step);
    }
    let alone = resolver.stray_bases();
    let (found, mut unseen, mut budget) = (resolver.found, resolver.unseen, resolver.budget);
    unseen.sort_by(|a, b| a.path.cmp(&b.path));
    if found.contains(&Found::Path(b".".to_vec())) {
        return (Followed::Root, unseen);
    }
    let patterns = found.into_iter().map(|found| match found {
        Found::Path(path) => Ok(IgnorePattern::literal(path)),
        Found::Glob(text) => IgnorePattern::of_path(text, &mut budget),
    });
    (Followed::Paths(patterns.collect(), alone), unseen)
}

/// A result: one path, or all that match a pattern.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Path(Vec<u8>),
    Glob(Vec<u8>),
}

/// A path that is being followed. No component of `at` is a link.
struct Step {
    /// Literal names: from the disk, or from the path with its backslashes removed.
    at: Vec<u8>,
    /// The components that remain, as a pattern.
    rest: Vec<u8>,
    /// How many more links may be followed.
    links: u32,
    /// Whether a pattern in `found` already matches this path, so that only links on its way matter.
    covered: bool,
}

struct Resolver<'a, L> {
    tree: &'a L,
    found: BTreeSet<Found>,
    /// Links that were followed, with the rest of the path behind them. Following the same pair again finds
    /// nothing new.
    through: HashSet<(Vec<u8>, Vec<u8>)>,
    waiting: Vec<Step>,
    unseen: Vec<Unseen>,
    /// The directories in which names were matched with a wildcard.
    bases: BTreeSet<Vec<u8>>,
    /// Wildcards in the middle of a path that matched a link. fsutil takes everything that they match.
    strays: Vec<IgnorePattern>,
    /// The memory that the patterns may use.
    budget: Budget,
}

impl<L: Links> Resolver<'_, L> {
    /// Starts to follow `path`, a clean pattern, at the root.
    fn start(&mut self, path: &[u8], links: u32) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        self.waiting.push(Step {
            at: b".".to_vec(),
            rest: if path == b"." {
                Vec::new()
            } else {
                path.to_vec()
            },
            links,
            covered: false,
        });
    }

    /// Follows the next component.
    fn step(&mut self, step: Step) {
        if step.rest.is_empty() {
            if !step.covered {
                self.found.insert(Found::Path(step.at));
            }
            return;
        }
        let (first, after) = split(&step.rest);
        if first == b".." {
            // The path leads above the root, where nothing can be sent. The daemon reports it.
            return;
        }
        if has_wildcards(first) {
            self.wildcard(&step, first, after);
        } else {
            self.name(&step, &unescaped(first), after);
        }
    }

    /// Goes on to all entries whose names match the component `first`; `after` is the rest of the path behind it.
    fn wildcard(&mut self, step: &Step, first: &[u8], after: &[u8]) {
        if !step.covered {
            let text = join(&escaped(&step.at), &step.rest);
            self.found.insert(Found::Glob(text));
            // The root is always sent, so it need not be added.
            if step.at != b"." {
                self.bases.insert(step.at.clone());
            }
        }
        let names = match self.tree.names(&step.at) {
            Ok(names) => names.unwrap_or_default(),
            Err(source) => return self.not_seen("list", step.at.clone(), source),
        };
        let pattern = NamePattern::new(first);
        let inside = Step {
            at: step.at.clone(),
            rest: step.rest.clone(),
            links: step.links,
            covered: true,
        };
        for name in names {
            // A malformed pattern matches nothing here. The matcher reports it if it matters.
            if pattern.matches(&name).unwrap_or(false) {
                let is_link = self.name(&inside, &name, after);
                let strays = is_link && !step.covered && !after.is_empty();
                if strays {
                    let text = join(&escaped(&step.at), first);
                    self.strays
                        .extend(IgnorePattern::of_path(text, &mut self.budget).ok());
                }
            }
        }
    }

    /// Goes on to the entry `name` of the current directory; `after` is the rest of the path behind it. Returns
    /// whether the entry is a link.
    fn name(&mut self, step: &Step, name: &[u8], after: &[u8]) -> bool {
        let at = join(&step.at, name);
        let target = match self.tree.read_link(&at) {
            Ok(target) => target,
            // A directory without search permission may still be listable. If the list lacks the name, there is no
            // link.
            Err(_) if self.is_absent(&step.at, name) => None,
            Err(source) => {
                self.not_seen("look at", at.clone(), source);
                None
            }
        };
        let Some(target) = target else {
            // A wildcard may match a great many names. Those that cannot lead to a link are not kept.
            if !(step.covered && after.is_empty()) {
                self.waiting.push(Step {
                    at,
                    rest: after.to_vec(),
                    ..*step
                });
            }
            return false;
        };
        // If a wildcard is followed by more components, the daemon enters only directories that it matches, not
        // links. It follows links that a whole pattern matches.
        if step.covered && !after.is_empty() {
            return true;
        }
        let again = !self.through.insert((at.clone(), after.to_vec()));
        let base = filepath::dir(&at);
        self.found.insert(Found::Path(at));
        let Some(links) = step.links.checked_sub(1).filter(|_| !again) else {
            return true;
        };
        let inside = if target.starts_with(b"/") {
            filepath::clean(&target)
        } else {
            filepath::join(&[b"/", &base, &target])
        };
        let inside = escaped(&inside);
        self.start(&filepath::join(&[&inside, after]), links);
        true
    }

    /// Returns the directories that must be sent empty because a wildcard is matched in them.
    ///
    /// If a wildcard matches nothing, the daemon fails unless the wildcard's directory exists, and the directory
    /// exists only if something else in it was sent. In fsutil, a stray wildcard can be that something else. A
    /// build that works because of it must keep working, so such a directory is sent, but without the further
    /// files that fsutil sends.
    fn stray_bases(&mut self) -> BTreeSet<Vec<u8>> {
        let mut alone = BTreeSet::new();
        for base in std::mem::take(&mut self.bases) {
            let ends = (1..=base.len()).filter(|end| base.get(*end).is_none_or(|b| *b == b'/'));
            let parts: Vec<&[u8]> = ends.map(|end| &base[..end]).collect();
            let is_stray =
                |stray: &IgnorePattern| parts.iter().any(|part| stray.matches(part) == Ok(true));
            if !self.strays.iter().any(is_stray) {
                continue;
            }
            if matches!(self.tree.names(&base), Ok(None)) {
                self.found.insert(Found::Path(base));
            } else {
                alone.insert(base);
            }
        }
        alone
    }

    /// Whether the directory `dir` is certain to have no entry `name`. `false` if the directory cannot be listed.
    fn is_absent(&self, dir: &[u8], name: &[u8]) -> bool {
        let names = self.tree.names(dir);
        names.is_ok_and(|names| !names.is_some_and(|names| names.iter().any(|own| own == name)))
    }

    fn not_seen(&mut self, act: &'static str, path: Vec<u8>, source: io::Error) {
        self.unseen.push(Unseen { act, path, source });
    }
}

/// Splits off the first component. The rest is empty if there is no other one.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, b""),
    }
}

/// Joins two clean paths as text.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir == b"." {
        return name.to_vec();
    }
    [dir, b"/", name].concat()
}

const META: &[u8] = b"*?[]\\^{}|";

/// Returns a pattern that matches `path` literally.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    for byte in path {
        if META.contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

/// Removes the backslashes of a name without wildcards.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (b'\\', Some(next)) => {
                out.push(*next);
                bytes.next();
            }
            _ => out.push(*byte),
        }
    }
    out
}

fn has_wildcards(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    // Links by path, and directories with their names. `!` is a directory that cannot be listed.
    struct Tree(BTreeMap<&'static str, &'static str>);

    impl Links for Tree {
        fn read_link(&self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
            let found = self.0.get(std::str::from_utf8(path).unwrap());
            Ok(found
                .and_then(|text| text.strip_prefix("-> "))
                .map(|target| target.as_bytes().to_vec()))
        }

        fn names(&self, path: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
            match self.0.get(std::str::from_utf8(path).unwrap()) {
                Some(&"!") => Err(io::ErrorKind::PermissionDenied.into()),
                Some(text) if !text.starts_with("-> ") => Ok(Some(
                    text.split(' ')
                        .map(|name| name.as_bytes().to_vec())
                        .collect(),
                )),
                _ => Ok(None),
            }
        }
    }

    fn found(tree: &[(&'static str, &'static str)], paths: &[&str]) -> (Vec<String>, Vec<String>) {
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let (followed, unseen) = resolve(&Tree(tree.iter().copied().collect()), &paths);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut patterns = match followed {
            Followed::Root => vec![".".to_owned()],
            Followed::Paths(paths, alone) => paths
                .into_iter()
                .map(|pattern| text(pattern.unwrap().text()))
                .chain(alone.iter().map(|path| format!("{}/", text(path))))
                .collect(),
        };
        patterns.sort();
        let unseen = unseen.iter().map(|unseen| text(&unseen.path)).collect();
        (patterns, unseen)
    }

    #[test]
    fn a_link_is_followed_for_every_path_through_it() {
        let tree = [("link", "-> dir"), ("dir", "a b")];
        let (patterns, _) = found(&tree, &["link/a*", "link/b", "link/b"]);
        assert_eq!(patterns, ["dir/a*", "dir/b", "link"]);
    }

    #[test]
    fn directories_that_only_another_paths_wildcard_matches_are_sent_alone() {
        let tree = [(".", "d f l"), ("d", "x"), ("l", "-> d"), ("e", "")];
        assert_eq!(found(&tree, &["d/a*"]).0, ["d/a*"]);
        let patterns = ["*/b", "d/", "d/a*", "f", "f/a*"];
        assert_eq!(found(&tree, &["d/a*", "f/a*", "*/b"]).0, patterns);
        assert_eq!(found(&tree, &["d/a*", "e*/b"]).0, ["d/a*", "e*/b"]);
    }

    #[test]
    fn links_behind_wildcards_are_found() {
        let tree = [
            (".", "a1 a2 b"),
            ("a1", "x y"),
            ("a1/x", "-> ../b/c*"),
            ("a2", "-> /b"),
            ("b", "x"),
            ("b/x", "-> z"),
        ];
        let (patterns, _) = found(&tree, &["a*/x"]);
        // The daemon does not follow the link `a2`.
        assert_eq!(patterns, ["a*/x", "a1/x", "b/c*"]);
    }

    #[test]
    fn special_characters_in_names_of_files_have_no_meaning() {
        let tree = [
            (".", "l[1]"),
            ("l[1]", "-> [d]"),
            ("m", "-> [d]"),
            ("!x", "-> ' y "),
            ("a*", "-> b"),
        ];
        assert_eq!(found(&tree, &["l*"]).0, ["[d]", "l*", "l[1]"]);
        assert_eq!(found(&tree, &["m/?"]).0, [r"\[d\]/?", "m"]);
        assert_eq!(found(&tree, &["!x"]).0, ["!x", "' y "]);
        assert_eq!(found(&tree, &[r"a\*"]).0, ["a*", "b"]);
    }

    #[test]
    fn loops_of_links_end() {
        let tree = [
            ("self", "-> self"),
            ("grow", "-> grow/x"),
            ("up", "-> ../../.."),
            (".", "self grow up"),
            ("here", "-> ."),
        ];
        assert_eq!(
            found(&tree, &["self/a", "here/here/here/a"]).0,
            ["a", "here", "self"]
        );
        assert_eq!(found(&tree, &["grow"]).0, ["grow"]);
        assert_eq!(found(&tree, &["up/a", "up/up/b"]).0, ["a", "b", "up"]);
        assert_eq!(found(&tree, &["here"]).0, ["."]);
        assert_eq!(found(&tree, &["*/*/*/a"]).0, ["*/*/*/a"]);
        assert_eq!(found(&tree, &["up/*"]).0, ["."]);
    }

    #[test]
    fn unreadable_paths_are_returned() {
        let tree = [(".", "d e"), ("d", "!"), ("e", "f")];
        let (patterns, unseen) = found(&tree, &["d/a*", "*/f*"]);
        assert_eq!(
            (patterns, unseen),
            (
                vec!["*/f*".to_owned(), "d/a*".to_owned()],
                vec!["d".to_owned(), "d".to_owned()],
            )
        );
    }
}
