//! Decides which files of a tree are sent, from include and exclude patterns, and which directories need not be
//! walked.
//!
//! The rules are those of `tonistiigi/fsutil`, because the daemon expects them of its clients. Include patterns
//! apply first, then exclude patterns, and both use the results of the parent directory. A directory that is only
//! on the way to a wanted file is sent once that file is found. This module does not access the disk. Start at
//! [`Filter::new`] and [`Filter::judge`].

use std::collections::BTreeSet;

use super::followpaths::Followed;
use super::matcher::{Marks, Patterns};
use super::pattern::{IgnorePattern, PatternError};

/// The patterns in a request of the daemon, unparsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterSpec {
    /// A path is wanted if it matches one of these. If the list is empty, all paths are wanted.
    pub include: Vec<Vec<u8>>,
    /// Patterns of paths that are not sent. The last pattern that matches decides, and one that begins with `!`
    /// takes the path back.
    pub exclude: Vec<Vec<u8>>,
    /// Paths that are wanted together with what their symbolic links lead to; see [`super::followpaths`].
    pub follow: Vec<Vec<u8>>,
}

/// A filter cannot be made, because one of its patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The pattern is one of the include patterns.
    #[error("cannot use the include patterns")]
    Include(#[source] PatternError),
    /// The pattern is one of the exclude patterns, which usually come from an ignore file.
    #[error("cannot use the exclude patterns of the ignore file")]
    Exclude(#[source] PatternError),
}

/// What to do with one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it and, if it is a directory, look at what is inside.
    Send,
    /// Send it. Nothing inside it can be wanted, so it need not be walked.
    SendAlone,
    /// Do not send it now. A directory is sent once something inside it is; a file is not sent.
    Hold,
    /// Do not send it. Nothing inside it can be wanted.
    Prune,
}

/// A filter with compiled patterns, for one transfer.
#[derive(Debug, Default)]
pub struct Filter {
    include: Option<Patterns>,
    /// Directories that are sent themselves, but without their content.
    alone: BTreeSet<Vec<u8>>,
    exclude: Option<Patterns>,
}

/// The patterns that matched a directory, for both lists. Paths inside the directory inherit them.
#[derive(Debug, Clone, Default)]
pub struct DirMarks {
    include: Marks,
    exclude: Marks,
}

/// An empty list of patterns means no filter, not a filter that matches nothing.
fn some(patterns: Patterns) -> Option<Patterns> {
    (!patterns.is_empty()).then_some(patterns)
}

impl Filter {
    /// Compiles the patterns of `spec`. `followed` is the result of [`super::followpaths::resolve`] for its
    /// followed paths.
    pub fn new(spec: &FilterSpec, followed: Followed) -> Result<Self, FilterError> {
        let exclude = Patterns::new(&spec.exclude).map_err(FilterError::Exclude)?;
        let (include, alone) = include(spec, followed)?;
        Ok(Self {
            include,
            alone,
            exclude: some(exclude),
        })
    }

    /// Decides what to do with `path`. `parent` has the patterns that matched its directory.
    ///
    /// Writes the patterns that matched `path` to `own`, to be the `parent` of the paths inside.
    pub fn judge(
        &self,
        path: &[u8],
        is_dir: bool,
        parent: &DirMarks,
        own: &mut DirMarks,
    ) -> Result<Verdict, FilterError> {
        let (mut included, mut leads_on) = (true, true);
        if let Some(patterns) = &self.include {
            included = patterns
                .matches(path, &parent.include, &mut own.include)
                .map_err(FilterError::Include)?;
            if is_dir && !included {
                leads_on = leads_to_wanted(patterns, path);
                included = self.alone.contains(path);
            }
            if !leads_on && !included {
                return Ok(Verdict::Prune);
            }
        }
        let mut excluded = false;
        if let Some(patterns) = &self.exclude {
            excluded = patterns
                .matches(path, &parent.exclude, &mut own.exclude)
                .map_err(FilterError::Exclude)?;
            leads_on &= !is_dir
                || if excluded {
                    leads_to_exception(patterns, path)
                } else {
                    !covers(patterns, path, &own.exclude)
                };
        }
        Ok(match (included && !excluded, leads_on) {
            (true, true) => Verdict::Send,
            (true, false) => Verdict::SendAlone,
            (false, true) => Verdict::Hold,
            (false, false) => Verdict::Prune,
        })
    }

    /// Whether the exclude patterns alone make sure that neither `path` nor anything below it is sent.
    ///
    /// For paths that could not be read, so that it is unknown whether they are directories.
    pub(super) fn leaves_out(&self, path: &[u8]) -> Result<bool, FilterError> {
        let Some(patterns) = &self.exclude else {
            return Ok(false);
        };
        let (mut parent, mut own) = (Marks::default(), Marks::default());
        for end in (1..=path.len()).filter(|end| path.get(*end).is_none_or(|b| *b == b'/')) {
            let part = &path[..end];
            let excluded = patterns
                .matches(part, &parent, &mut own)
                .map_err(FilterError::Exclude)?;
            let inner = end < path.len();
            if excluded && !leads_to_exception(patterns, part)
                || inner && !excluded && covers(patterns, part, &own)
            {
                return Ok(true);
            }
            std::mem::swap(&mut parent, &mut own);
        }
        Ok(false)
    }
}

/// Returns the compiled include patterns, with those of the followed paths, and the directories that are sent
/// without their content. `None` includes everything.
fn include(
    spec: &FilterSpec,
    followed: Followed,
) -> Result<(Option<Patterns>, BTreeSet<Vec<u8>>), FilterError> {
    // As in fsutil: followed paths that lead to the root add no include patterns. If the root `.` is itself an
    // include pattern beside other followed paths, there is no include filter at all.
    let with_paths = matches!(&followed, Followed::Paths(..));
    if with_paths && spec.include.iter().any(|line| line == b".") {
        return Ok((None, BTreeSet::new()));
    }
    let mut patterns = Patterns::new(&spec.include).map_err(FilterError::Include)?;
    let Followed::Paths(paths, alone) = followed else {
        return Ok((some(patterns), BTreeSet::new()));
    };
    for path in paths {
        patterns.add(path.map_err(FilterError::Include)?);
    }
    Ok((some(patterns), alone))
}

/// Whether something below `dir` may be wanted although `dir` itself is not.
fn leads_to_wanted(patterns: &Patterns, dir: &[u8]) -> bool {
    patterns
        .iter()
        .any(|pattern| !pattern.is_exclusion() && pattern.may_match_below(dir))
}

/// Whether an exception (`!`) may match something below `dir`, which is excluded.
fn leads_to_exception(patterns: &Patterns, dir: &[u8]) -> bool {
    patterns.has_exclusions()
        && patterns
            .iter()
            .any(|pattern| pattern.is_exclusion() && pattern.may_match_below(dir))
}

/// Whether everything inside `dir` is certain to be excluded although `dir` itself is not, as with `dir/*`. `own`
/// has the patterns that matched `dir`.
fn covers(patterns: &Patterns, dir: &[u8], own: &Marks) -> bool {
    let covered = |pattern: &IgnorePattern| {
        !pattern.is_exclusion() && pattern.may_cover() && pattern.covers(dir)
    };
    let taken_back = |(index, pattern): (usize, &IgnorePattern)| {
        pattern.is_exclusion() && (own.get(index) || pattern.may_match_below(dir))
    };
    patterns.iter().any(covered) && !patterns.iter().enumerate().any(taken_back)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let lines = |lines: &[&str]| lines.iter().map(|l| l.as_bytes().to_vec()).collect();
        let spec = FilterSpec {
            include: lines(include),
            exclude: lines(exclude),
            follow: Vec::new(),
        };
        Filter::new(&spec, Followed::Root).unwrap()
    }

    fn top(filter: &Filter, path: &str, is_dir: bool) -> Verdict {
        let mut own = DirMarks::default();
        filter
            .judge(path.as_bytes(), is_dir, &DirMarks::default(), &mut own)
            .unwrap()
    }

    #[test]
    fn a_directory_is_walked_only_if_something_inside_may_be_sent() {
        let literal = filter(&["src/app/**"], &["target", "docs", "!docs/keep"]);
        assert_eq!(top(&literal, "src", true), Verdict::Hold);
        assert_eq!(top(&literal, "srcs", true), Verdict::Prune);
        assert_eq!(top(&literal, "src", false), Verdict::Hold);
        let wild = filter(&["*/app", "*.toml"], &[]);
        assert_eq!(top(&wild, "lib", true), Verdict::Hold);
        let wild = filter(&["*.toml", "src/*.rs"], &[]);
        assert_eq!(top(&wild, "lib", true), Verdict::Prune);

        let excluded = filter(&[], &["target", "docs", "!docs/keep"]);
        assert_eq!(top(&excluded, "target", true), Verdict::Prune);
        assert_eq!(top(&excluded, "docs", true), Verdict::Hold);
        assert_eq!(top(&excluded, "src", true), Verdict::Send);
        let wild = filter(&[], &["docs", "!*/keep"]);
        assert_eq!(top(&wild, "docs", true), Verdict::Hold);
        let wild = filter(&[], &["docs", "!src/*"]);
        assert_eq!(top(&wild, "docs", true), Verdict::Prune);
    }

    #[test]
    fn a_directory_whose_content_is_excluded_is_sent_and_not_walked() {
        let excluded = filter(&[], &["data/*", "cache/**"]);
        assert_eq!(top(&excluded, "data", true), Verdict::SendAlone);
        assert_eq!(top(&excluded, "cache", true), Verdict::SendAlone);
        assert_eq!(top(&excluded, "src", true), Verdict::Send);
        let kept = filter(&[], &["data/*", "!data/keep"]);
        assert_eq!(top(&kept, "data", true), Verdict::Send);
        // The exception matched the directory, so it applies to everything inside.
        let inherited = filter(&[], &["*", "data/*", "!data"]);
        assert_eq!(top(&inherited, "data", true), Verdict::Send);
        let held = filter(&["data/x"], &["data/*"]);
        assert_eq!(top(&held, "data", true), Verdict::Prune);
    }

    #[test]
    fn a_directory_may_be_sent_without_its_content() {
        let wanted = IgnorePattern::literal(b"b/x".to_vec());
        let alone = BTreeSet::from([b"a".to_vec(), b"b".to_vec()]);
        let spec = FilterSpec::default();
        let filter = Filter::new(&spec, Followed::Paths(vec![Ok(wanted)], alone)).unwrap();
        assert_eq!(top(&filter, "a", true), Verdict::SendAlone);
        assert_eq!(top(&filter, "b", true), Verdict::Send);
        assert_eq!(top(&filter, "c", true), Verdict::Prune);
        assert_eq!(top(&filter, "a", false), Verdict::Hold);
    }

    #[test]
    fn excluded_paths_need_not_be_looked_at() {
        let filter = filter(&[], &["locked", "data/*", "b/x", "!b/x/keep"]);
        for (path, expected) in [
            ("locked", true),
            ("locked/a/b", true),
            ("data", false),
            ("data/a", true),
            ("src/a", false),
            ("b/x", false),
            ("b/x/y", true),
        ] {
            assert_eq!(filter.leaves_out(path.as_bytes()), Ok(expected), "{path}");
        }
    }
}
