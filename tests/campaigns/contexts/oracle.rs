//! Computes from a case what its image must contain.
//!
//! This does not use rbake's own matching: patterns become regular expressions here, according to their documentation.
//! Permissions are ignored: a file is required even if it cannot be read. Nothing is required where it is not certain what
//! `BuildKit` does with a source, such as a dangling link among the matches of a wildcard.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::case::{Attributes, Case, Kind, join, parents};

/// What must be in the image, by path. A path has several kinds if several sources write to it.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) must: BTreeMap<Vec<u8>, Vec<Kind>>,
    /// The extended attributes of the files in `must`, by path.
    pub(super) attributes: BTreeMap<Vec<u8>, Vec<Attributes>>,
    /// Entries of the context that the `COPY` instructions use.
    pub(super) sources: BTreeSet<Vec<u8>>,
}

/// A path as text. Bytes that are not UTF-8 become replacement characters.
pub(super) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn regex(pattern: &str, deep: bool) -> Regex {
    let mut out = String::from("(?s)^");
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '*' if deep && rest.starts_with('*') => {
                rest = &rest[1..];
                match rest.strip_prefix('/') {
                    Some(after) => {
                        rest = after;
                        out.push_str("(.*/)?");
                    }
                    None => out.push_str(".*"),
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    out.push('$');
    Regex::new(&out).unwrap()
}

/// The paths that the ignore file leaves in the context.
pub(super) fn kept(case: &Case) -> BTreeSet<Vec<u8>> {
    let rules: Vec<(bool, Regex)> = case
        .lines
        .iter()
        .filter_map(|line| {
            let line = text(line);
            let not = line.starts_with('!');
            let pattern = line.trim_start_matches('!').trim_matches('/').to_owned();
            (!pattern.is_empty()).then(|| (not, regex(&pattern, true)))
        })
        .collect();
    let is_ignored = |path: &[u8]| {
        // A rule that matches a directory also applies to its content. A rule is tried only where it would change the
        // result.
        let mut marks = vec![false; rules.len()];
        let mut ignored = false;
        for part in parents(path).chain([path]) {
            ignored = false;
            for (mark, (not, rule)) in marks.iter_mut().zip(&rules) {
                if *mark || *not == ignored && rule.is_match(&text(part)) {
                    *mark = true;
                    ignored = !not;
                }
            }
        }
        ignored
    };
    let mut kept = BTreeSet::new();
    for path in case.tree.keys().filter(|path| !is_ignored(path)) {
        kept.extend(parents(path).map(<[u8]>::to_vec));
        kept.insert(path.clone());
    }
    kept
}

// The prefix of all paths in the directory `dir`.
fn inside(dir: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        Vec::new()
    } else {
        [dir, b"/"].concat()
    }
}

struct Context<'a> {
    case: &'a Case,
    kept: BTreeSet<Vec<u8>>,
    wanted: Wanted,
}

/// What the image of `case` must contain.
pub(super) fn wanted(case: &Case) -> Wanted {
    let mut context = Context {
        case,
        kept: kept(case),
        wanted: Wanted::default(),
    };
    for (number, sources) in case.copies.iter().enumerate() {
        for source in sources {
            context.copy(source, format!("o{number}").as_bytes());
        }
    }
    context.wanted
}

/// Whether `source` names an entry that the ignore file leaves in the context.
pub(super) fn is_there(case: &Case, source: &str) -> bool {
    let mut context = Context {
        case,
        kept: kept(case),
        wanted: Wanted::default(),
    };
    context.copy(source, b"o");
    !context.wanted.must.is_empty() || source == "."
}

impl Context<'_> {
    fn kind(&self, path: &[u8]) -> Option<&Kind> {
        if path.is_empty() {
            return Some(&Kind::Dir);
        }
        self.kept.contains(path).then(|| &self.case.tree[path].kind)
    }

    // Follows the links in `path` within the context.
    fn resolve(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let mut at: Vec<u8> = Vec::new();
        let mut rest: Vec<Vec<u8>> = path
            .split(|b| *b == b'/')
            .rev()
            .map(<[u8]>::to_vec)
            .collect();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    at.truncate(at.iter().rposition(|b| *b == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&at, &name);
            let kind = self.kind(&next)?.clone();
            self.wanted.sources.insert(next.clone());
            match kind {
                Kind::Link(target) => {
                    links += 1;
                    if links > 255 {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    rest.extend(target.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                }
                Kind::Dir => at = next,
                _ => {
                    if !rest.is_empty() {
                        return None;
                    }
                    at = next;
                }
            }
        }
        Some(at)
    }

    fn copy(&mut self, source: &str, dest: &[u8]) {
        let parts: Vec<&str> = source.split('/').collect();
        let Some(first) = parts.iter().position(|part| part.contains(['*', '?'])) else {
            let base = parts.last().unwrap().as_bytes().to_vec();
            if let Some(at) = self.resolve(source.as_bytes()) {
                self.take(&at, &base, dest);
            }
            return;
        };
        let Some(base) = self.resolve(parts[..first].join("/").as_bytes()) else {
            return;
        };
        let pattern = regex(&parts[first..].join("/"), false);
        let below = inside(&base);
        let found: Vec<Vec<u8>> = self
            .kept
            .iter()
            .filter(|path| {
                path.strip_prefix(&below[..])
                    .is_some_and(|rest| pattern.is_match(&text(rest)))
            })
            .cloned()
            .collect();
        for found in found {
            let name = found.rsplit(|b| *b == b'/').next().unwrap().to_vec();
            if let Some(at) = self.resolve(&found) {
                self.take(&at, &name, dest);
            }
        }
    }

    fn take(&mut self, at: &[u8], name: &[u8], dest: &[u8]) {
        let Some(kind) = self.kind(at).cloned() else {
            return;
        };
        if kind != Kind::Dir {
            self.want(at, [dest, b"/", name].concat());
            return;
        }
        if !at.is_empty() {
            self.wanted.sources.insert(at.to_vec());
        }
        let below = inside(at);
        let inside: Vec<Vec<u8>> = self
            .kept
            .iter()
            .filter(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in inside {
            let to = [dest, b"/", &path[below.len()..]].concat();
            self.want(&path, to);
        }
    }

    fn want(&mut self, path: &[u8], to: Vec<u8>) {
        let kind = match self.kind(path).cloned() {
            Some(Kind::Hard(first)) => self.case.tree[&first].kind.clone(),
            Some(Kind::Socket) => Kind::File(Vec::new()),
            Some(kind) => kind,
            None => return,
        };
        self.wanted.sources.insert(path.to_vec());
        if matches!(kind, Kind::File(_)) {
            let attributes = self.case.attributes(path).clone();
            let files = self.wanted.attributes.entry(to.clone()).or_default();
            files.push(attributes);
        }
        self.wanted.must.entry(to).or_default().push(kind);
    }
}
