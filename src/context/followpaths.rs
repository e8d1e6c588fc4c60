//! Paths that are wanted wherever symbolic links lead: `COPY current/app` needs the link `current` and what it points to.
//!
//! Follows `FollowLinks` of `tonistiigi/fsutil`: each component that is a link adds the link itself and starts again from
//! its target, never above the root; the results serve as include patterns, so wildcards stay in them. Start at
//! [`resolve`].

use std::collections::BTreeSet;
use std::io;

use super::gopath::{self, NamePattern};

/// A tree whose links can be looked at. Paths are relative, clean and never lead above the root.
pub trait Links {
    /// The target of the link at `path`; `None` where there is something else or nothing.
    fn read_link(&self, path: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// The names in the directory `path` (`.` is the root), sorted; none where there is no such directory.
    fn names(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>>;
}

/// The include patterns that `paths` amount to; `None` where they ask for the root, which is no filter at all.
pub fn resolve(tree: &impl Links, paths: &[Vec<u8>]) -> io::Result<Option<Vec<Vec<u8>>>> {
    let mut found = BTreeSet::new();
    // Depth first, so that what was found already ends a branch as it does in the reference.
    let mut waiting: Vec<Vec<u8>> = paths.iter().rev().cloned().collect();
    while let Some(path) = waiting.pop() {
        let mut targets = follow(tree, &gopath::join(&[b".", &path]), &mut found)?;
        targets.reverse();
        waiting.extend(targets);
    }
    Ok(without_nested(found))
}

/// Drops what lies below the entry before it; `None` where the root is among them.
pub(super) fn without_nested(sorted: impl IntoIterator<Item = Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for path in sorted {
        if path == b"." {
            return None;
        }
        let last = kept.last().map_or(&[][..], Vec::as_slice);
        let nested = path.strip_prefix(last).is_some_and(|p| p.starts_with(b"/"));
        if !nested {
            kept.push(path);
        }
    }
    Some(kept)
}

// Goes down `path` until a link turns off, adds what was come across, and returns where the links lead.
fn follow(
    tree: &impl Links,
    path: &[u8],
    found: &mut BTreeSet<Vec<u8>>,
) -> io::Result<Vec<Vec<u8>>> {
    let mut current: Vec<u8> = b".".to_vec();
    let mut rest = path;
    loop {
        let (first, after) = match rest.iter().position(|b| *b == b'/') {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &[][..]),
        };
        current = gopath::join(&[&current, first]);
        rest = after;
        let targets = targets(tree, &current)?;
        if targets.is_empty() && !rest.is_empty() {
            continue;
        }
        if !found.insert(current.clone()) {
            return Ok(Vec::new());
        }
        return Ok(targets
            .iter()
            .map(|target| gopath::join(&[target, rest]))
            .collect());
    }
}

// Where the links at `path` lead, as absolute paths below the root; several if its last component has wildcards.
fn targets(tree: &impl Links, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    if path == b".." || path.starts_with(b"../") {
        return Ok(Vec::new());
    }
    let name = gopath::base(path);
    if !has_wildcards(name) {
        return Ok(target(tree, path)?.into_iter().collect());
    }
    let dir = gopath::dir(path);
    let pattern = NamePattern::new(name);
    let mut found = Vec::new();
    for name in tree.names(&dir)? {
        // A malformed pattern matches nothing here; the matcher complains where it has to.
        if pattern.matches(&name).unwrap_or(false) {
            found.extend(target(tree, &gopath::join(&[&dir, &name]))?);
        }
    }
    Ok(found)
}

fn target(tree: &impl Links, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
    if path == b"." {
        return Ok(None);
    }
    Ok(tree.read_link(path)?.map(|link| {
        if link.starts_with(b"/") {
            gopath::clean(&link)
        } else {
            gopath::join(&[b"/", &gopath::join(&[&gopath::dir(path), &link])])
        }
    }))
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
