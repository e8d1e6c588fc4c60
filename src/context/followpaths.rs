//! Paths that are wanted wherever symbolic links lead: `COPY current/app` needs the link `current` and what it points to.
//!
//! Does what `FollowLinks` of `tonistiigi/fsutil` is for: each component that is a link adds the link itself and starts again
//! from its target, never above the root. Where the reference loses files, this does not: a link that several paths lead
//! through is followed for each of them, links in directories that a wildcard names are found, and names from the disk
//! stand for themselves. What cannot be looked at is handed back, since whether it matters depends on the ignore file. Start
//! at [`resolve`].

use std::collections::{BTreeSet, HashSet};
use std::io;

use super::budget::Budget;
use super::pattern::{IgnorePattern, PatternError};
use crate::golang::filepath::{self, NamePattern};

/// Links on the way of one path; the daemon gives up after as many.
const LINKS: u32 = 255;

/// A tree whose links can be looked at. Paths are relative, clean and never lead above the root.
pub(crate) trait Links {
    /// The target of the link at `path`; `None` where there is something else or nothing.
    fn read_link(&self, path: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// The names in the directory `path` (`.` is the root), sorted; `None` where there is something else or nothing.
    fn names(&self, path: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>>;
}

/// What followed paths amount to.
#[derive(Debug)]
pub enum Followed {
    /// No filter: there are none, or one of them is the root.
    Root,
    /// These patterns, and directories that are wanted without what is in them.
    Paths(Vec<Result<IgnorePattern, PatternError>>, BTreeSet<Vec<u8>>),
}

/// Something on the way of a path that could not be looked at.
#[derive(Debug)]
pub(crate) struct Unseen {
    /// What was tried: `list` or `look at`.
    pub(crate) act: &'static str,
    /// Path from the root.
    pub(crate) path: Vec<u8>,
    /// The system's answer.
    pub(crate) source: io::Error,
}

/// The include patterns that `paths` amount to, and what could not be looked at on the way.
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

// What is wanted: one path, or what a pattern matches.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Path(Vec<u8>),
    Glob(Vec<u8>),
}

// A path of which `at` has been gone through without a link.
struct Step {
    // Names from the disk, or from the path without its backslashes.
    at: Vec<u8>,
    // A pattern.
    rest: Vec<u8>,
    // How many more links may be followed.
    links: u32,
    // Whether a pattern that is found already matches the end of this path.
    covered: bool,
}

struct Resolver<'a, L> {
    tree: &'a L,
    found: BTreeSet<Found>,
    // Links that were followed, with what was looked for behind each: the same again leads nowhere new.
    through: HashSet<(Vec<u8>, Vec<u8>)>,
    waiting: Vec<Step>,
    unseen: Vec<Unseen>,
    // Where wildcards are looked for.
    bases: BTreeSet<Vec<u8>>,
    // Wildcards that are not at the end and come upon a link: the reference takes all that they match.
    strays: Vec<IgnorePattern>,
    // What the patterns may take.
    budget: Budget,
}

impl<L: Links> Resolver<'_, L> {
    // Goes from the root; `path` is a clean pattern.
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

    // Goes one component down.
    fn step(&mut self, step: Step) {
        if step.rest.is_empty() {
            if !step.covered {
                self.found.insert(Found::Path(step.at));
            }
            return;
        }
        let (first, after) = split(&step.rest);
        if first == b".." {
            // Above the root there is nothing to be had; the daemon says so.
            return;
        }
        if has_wildcards(first) {
            self.wildcard(&step, first, after);
        } else {
            self.name(&step, &unescaped(first), after);
        }
    }

    fn wildcard(&mut self, step: &Step, first: &[u8], after: &[u8]) {
        if !step.covered {
            let text = join(&escaped(&step.at), &step.rest);
            self.found.insert(Found::Glob(text));
            // The root is always there.
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
            // A malformed pattern matches nothing here; the matcher complains where it has to.
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

    // Goes to what is called `name`; `after` is looked for behind it. Tells whether it is a link.
    fn name(&mut self, step: &Step, name: &[u8], after: &[u8]) -> bool {
        let at = join(&step.at, name);
        let target = match self.tree.read_link(&at) {
            Ok(target) => target,
            // A directory that may not be searched may be listed all the same.
            Err(_) if self.is_absent(&step.at, name) => None,
            Err(source) => {
                self.not_seen("look at", at.clone(), source);
                None
            }
        };
        let Some(target) = target else {
            // Wildcards come upon a great many names; what has nothing to follow is not kept.
            if !(step.covered && after.is_empty()) {
                self.waiting.push(Step {
                    at,
                    rest: after.to_vec(),
                    ..*step
                });
            }
            return false;
        };
        // Behind wildcards the daemon goes through directories only; it follows what a whole pattern matches.
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

    // Where a wildcard matches nothing, the daemon fails unless it has the directory that the wildcard is looked for in; and
    // it has that only where something else wants it. What works because of a stray wildcard must go on working, so such a
    // directory is sent, without all that the reference sends with it.
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

    // Whether the directory `dir` is certain to have nothing called `name`.
    fn is_absent(&self, dir: &[u8], name: &[u8]) -> bool {
        let names = self.tree.names(dir);
        names.is_ok_and(|names| !names.is_some_and(|names| names.iter().any(|own| own == name)))
    }

    fn not_seen(&mut self, act: &'static str, path: Vec<u8>, source: io::Error) {
        self.unseen.push(Unseen { act, path, source });
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().position(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (path, b""),
    }
}

// Joins by text alone: neither part has anything to clean.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir == b"." {
        return name.to_vec();
    }
    [dir, b"/", name].concat()
}

const META: &[u8] = b"*?[]\\^{}|";

// `path` as a pattern that matches it.
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

    // Links by path, and directories with their names; `!` is one that cannot be listed.
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
    fn directories_that_only_a_stray_wildcard_sends_are_sent_alone() {
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
        // The daemon does not go through `a2`.
        assert_eq!(patterns, ["a*/x", "a1/x", "b/c*"]);
    }

    #[test]
    fn names_mean_themselves_wherever_they_come_from() {
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
    fn loops_end() {
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
    fn what_cannot_be_looked_at_is_handed_back() {
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
