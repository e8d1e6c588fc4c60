//! What targets share: one transfer of all paths of a directory that they read, and their Dockerfile.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::crowds::Crowd;
use super::group::hashed;
use super::overlap::{self, Paths};
use super::size::SMALL;
use crate::context::Patterns;
use crate::engine::llb::ContextRead;
use crate::engine::session::shared::ShareKey;
use crate::engine::spec::LocalName;
use crate::types::TargetName;

/// The most bytes of paths and patterns that are sent for one directory. They travel as headers of a call.
const HEADERS_LIMIT: usize = 1 << 20;

/// What a target shares with others.
#[derive(Debug, Clone)]
pub(super) struct SharedRead {
    /// Which transfer of the main context.
    pub(super) key: ShareKey,
    /// What all of them read together.
    pub(super) read: Arc<ContextRead>,
    /// The Dockerfile, if others read the same one.
    pub(super) dockerfile: Option<SharedDockerfile>,
}

/// A Dockerfile that several targets read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SharedDockerfile {
    pub(super) directory: PathBuf,
    pub(super) filename: String,
}

impl SharedDockerfile {
    /// Which session serves it: one for all Dockerfiles of the directory.
    pub(super) fn key(&self) -> ShareKey {
        ShareKey {
            local: LocalName::DOCKERFILE,
            directory: self.directory.clone(),
            group: "shared".to_owned(),
        }
    }
}

/// A target of a crowd, and what it reads.
type Member<'a> = (&'a TargetName, &'a ContextRead);

/// The transfers that targets of `crowd` share. Blocking.
pub(super) fn of_crowd(
    crowd: &Crowd,
    reads: &HashMap<TargetName, (PathBuf, ContextRead)>,
) -> Vec<(TargetName, SharedRead)> {
    // By the directory and the patterns of its ignore file.
    let mut filters: BTreeMap<(&Path, &[String]), Vec<Member<'_>>> = BTreeMap::new();
    for name in crowd {
        if let Some((dir, read)) = reads.get(name)
            && !reads_ignored(read)
        {
            let filter = (dir.as_path(), read.excludes.as_slice());
            filters.entry(filter).or_default().push((name, read));
        }
    }
    let mut found = Vec::new();
    for ((dir, _), members) in filters {
        let paths: Vec<Paths> = members.iter().map(|(_, read)| read.paths.clone()).collect();
        for group in overlap::groups(dir, &paths, SMALL) {
            let members = group.iter().filter_map(|member| members.get(*member));
            let members: Vec<_> = members.copied().collect();
            let read = members.iter().map(|(_, read)| (*read).clone());
            let Some(read) = read.reduce(ContextRead::and).filter(fits_in_headers) else {
                continue;
            };
            // Another set of targets gets another key: with the same one, the daemon would delete what only the
            // others read, and they would have to send it again.
            let mut parts = vec!["shared".to_owned()];
            parts.extend(members.iter().map(|(name, _)| name.to_string()));
            let shared = SharedRead {
                key: ShareKey {
                    local: LocalName::CONTEXT,
                    directory: dir.to_owned(),
                    group: hashed(&parts),
                },
                read: Arc::new(read),
                dockerfile: None,
            };
            let members = members.into_iter();
            found.extend(members.map(|(name, _)| (name.clone(), shared.clone())));
        }
    }
    found
}

fn fits_in_headers(read: &ContextRead) -> bool {
    let texts = read.paths.iter().flatten().chain(&read.excludes);
    texts.map(|text| text.len() + 64).sum::<usize>() <= HEADERS_LIMIT
}

/// Whether a path that is read is ignored. The frontend warns about it (`CopyIgnoredFile`) only if it has read the ignore file
/// itself. It does not warn if a pattern begins with `!` (`dockerfile2llb/validations.go`).
fn reads_ignored(read: &ContextRead) -> bool {
    let Ok(patterns) = Patterns::new(&read.excludes) else {
        return true;
    };
    if patterns.is_empty() || patterns.has_exclusions() {
        return false;
    }
    match &read.paths {
        Some(paths) => paths.iter().any(|path| {
            patterns
                .match_path_or_parent(path.as_bytes())
                .unwrap_or(true)
        }),
        None => read.excludes.iter().any(|pattern| {
            let pattern = pattern.trim_matches('/');
            !pattern.is_empty() && pattern.chars().all(|c| matches!(c, '*' | '/'))
        }),
    }
}

/// Has targets in `found` share their Dockerfiles if several read the same one.
pub(super) fn share_dockerfiles(
    found: &mut HashMap<TargetName, SharedRead>,
    mut dockerfiles: BTreeMap<TargetName, SharedDockerfile>,
) {
    dockerfiles.retain(|name, _| found.contains_key(name));
    let mut readers: BTreeMap<SharedDockerfile, usize> = BTreeMap::new();
    for place in dockerfiles.values() {
        *readers.entry(place.clone()).or_default() += 1;
    }
    dockerfiles.retain(|_, place| readers.get(place).is_some_and(|readers| *readers > 1));
    for (name, place) in dockerfiles {
        if let Some(shared) = found.get_mut(&name) {
            shared.dockerfile = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_paths_that_the_frontend_warns_of_are_found() {
        for (paths, excludes, expected) in [
            (&["a", "b/c"][..], &["b"][..], true),
            (&["a", "b/c"], &["x"], false),
            (&["a"], &[], false),
            // One pattern that begins with `!` silences all warnings.
            (&["b/c"], &["b", "!b/d"], false),
            (&["src/*.log"], &["**/*.log"], true),
            (&[], &["*"], true),
            (&[], &["**/*"], true),
            (&[], &["*.log"], false),
            (&["a"], &["[b"], true),
        ] {
            let read = ContextRead::of_texts(paths, excludes);
            assert_eq!(reads_ignored(&read), expected, "{read:?}");
        }
    }

    fn shared(members: &[(&str, ContextRead)]) -> Vec<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(root.join(name)).unwrap();
            std::fs::write(root.join(name).join("f"), vec![0; 5 << 20]).unwrap();
        }
        let reads: HashMap<TargetName, (PathBuf, ContextRead)> = members
            .iter()
            .map(|(name, read)| (name.parse().unwrap(), (root.clone(), read.clone())))
            .collect();
        let crowd: Crowd = reads.keys().cloned().collect();
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, shared) in of_crowd(&crowd, &reads) {
            groups
                .entry(shared.key.group)
                .or_default()
                .push(name.to_string());
        }
        let mut groups: Vec<Vec<String>> = groups.into_values().collect();
        groups.sort();
        groups
    }

    #[test]
    fn only_targets_with_the_same_ignore_file_share_a_transfer() {
        let together = shared(&[
            ("one", ContextRead::of_texts(&["a"], &["x"])),
            ("two", ContextRead::of_texts(&["a", "b"], &["x"])),
            ("three", ContextRead::of_texts(&["a"], &[])),
            ("four", ContextRead::of_texts(&["b"], &[])),
        ]);
        assert_eq!(together, [["one", "two"]]);
    }

    #[test]
    fn lists_that_do_not_fit_in_headers_are_not_shared() {
        let many: Vec<String> = (0..20_000).map(|n| format!("a/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["a"]).collect();
        let none: [[&str; 0]; 0] = [];
        assert_eq!(
            shared(&[
                ("one", ContextRead::of_texts(&many, &[])),
                ("two", ContextRead::of_texts(&["a"], &[]))
            ]),
            none
        );
    }

    #[test]
    fn dockerfiles_that_several_targets_read_are_shared() {
        let place = |filename: &str| SharedDockerfile {
            directory: "/d".into(),
            filename: filename.to_owned(),
        };
        let read = SharedRead {
            key: ShareKey {
                local: LocalName::CONTEXT,
                directory: "/d".into(),
                group: String::new(),
            },
            read: Arc::new(ContextRead::of_texts(&[], &[])),
            dockerfile: None,
        };
        let name = |name: &str| name.parse::<TargetName>().unwrap();
        let mut found: HashMap<_, _> = ["a", "b", "c"].map(|n| (name(n), read.clone())).into();
        let dockerfiles = [("a", "x"), ("b", "x"), ("c", "y"), ("other", "y")];
        let dockerfiles = dockerfiles.map(|(n, filename)| (name(n), place(filename)));
        share_dockerfiles(&mut found, dockerfiles.into());
        assert_eq!(found[&name("a")].dockerfile, Some(place("x")));
        assert_eq!(found[&name("b")].dockerfile, Some(place("x")));
        assert_eq!(found[&name("c")].dockerfile, None);
    }
}
