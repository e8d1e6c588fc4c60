//! What of a tree is sent: include and exclude patterns, and which directories need not be walked.
//!
//! The rules are those of `tonistiigi/fsutil`, which the daemon expects of its clients: include first, then exclude, each
//! with the results of the parent directory; directories that only lead to something are sent once it is found. Knows
//! nothing of the disk. Start at [`Filter::new`] and [`Filter::judge`].

use super::matcher::{Marks, Patterns};
use super::pattern::{Pattern, PatternError};

/// What the daemon asks for, as it asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterSpec {
    /// Patterns of which one must match; empty asks for everything.
    pub include: Vec<Vec<u8>>,
    /// Patterns of which the last that matches must be an exclusion (`!`).
    pub exclude: Vec<Vec<u8>>,
    /// Paths that are wanted wherever symbolic links lead; see [`super::followpaths`].
    pub follow: Vec<Vec<u8>>,
}

/// A filter with a pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Among the wanted.
    #[error("cannot use the include patterns")]
    Include(#[source] PatternError),
    /// Among the unwanted, which usually come from an ignore file.
    #[error("cannot use the exclude patterns of the ignore file")]
    Exclude(#[source] PatternError),
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    Send,
    /// It is not sent, unless something inside is.
    Hold,
    /// Neither it nor anything inside is sent.
    Prune,
}

/// A compiled filter.
#[derive(Debug, Default)]
pub struct Filter {
    include: Option<Side>,
    exclude: Option<Side>,
}

// One list, and what must lie below a directory for it to be worth a walk.
#[derive(Debug)]
struct Side {
    patterns: Patterns,
    // Each with a final slash; `None` where wildcards leave it open.
    reachable: Option<Vec<Box<[u8]>>>,
}

/// What matched a directory, for both lists.
#[derive(Debug, Clone, Default)]
pub struct DirMarks {
    include: Marks,
    exclude: Marks,
}

impl Side {
    // `counts` tells the patterns that can make something below a directory be sent.
    fn new(
        lines: &[Vec<u8>],
        counts: impl Fn(&Pattern) -> bool,
    ) -> Result<Option<Self>, PatternError> {
        if lines.is_empty() {
            return Ok(None);
        }
        let patterns = Patterns::new(lines)?;
        let reachable = patterns
            .iter()
            .filter(|pattern| counts(pattern))
            .map(|pattern| {
                let stem = without_trailing_glob(pattern.text());
                let literal = !stem.iter().any(|b| b"*[]?^\\".contains(b));
                literal.then(|| [stem, b"/"].concat().into())
            })
            .collect();
        Ok(Some(Self {
            patterns,
            reachable,
        }))
    }

    fn leads_on(&self, dir: &[u8]) -> bool {
        let inside = |stem: &[u8]| stem.strip_prefix(dir).is_some_and(|s| s.starts_with(b"/"));
        self.reachable
            .as_ref()
            .is_none_or(|stems| stems.iter().any(|stem| inside(stem)))
    }
}

fn without_trailing_glob(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"/**").unwrap_or(text);
    text.strip_suffix(b"/*").unwrap_or(text)
}

impl Filter {
    /// Compiles the patterns of `spec`, where `followed` is what its followed paths lead to: `None` if they ask for the root.
    pub fn new(spec: &FilterSpec, followed: Option<Vec<Vec<u8>>>) -> Result<Self, FilterError> {
        let mut include = spec.include.clone();
        if let Some(followed) = followed {
            include.extend(followed);
            include = super::followpaths::without_nested(include).unwrap_or_default();
        }
        let include = Side::new(&include, |pattern| !pattern.is_exclusion());
        let exclude = Side::new(&spec.exclude, Pattern::is_exclusion);
        Ok(Self {
            include: include.map_err(FilterError::Include)?,
            exclude: exclude.map_err(FilterError::Exclude)?,
        })
    }

    /// Decides on `path`, where `parent` has what matched the directory it is in.
    ///
    /// What matched `path` is written to `own`.
    pub fn judge(
        &self,
        path: &[u8],
        is_dir: bool,
        parent: &DirMarks,
        own: &mut DirMarks,
    ) -> Result<Verdict, FilterError> {
        let mut verdict = Verdict::Send;
        if let Some(side) = &self.include {
            let included = side
                .patterns
                .matches(path, &parent.include, &mut own.include)
                .map_err(FilterError::Include)?;
            if !included {
                if is_dir && !side.leads_on(path) {
                    return Ok(Verdict::Prune);
                }
                verdict = Verdict::Hold;
            }
        }
        if let Some(side) = &self.exclude {
            let excluded = side
                .patterns
                .matches(path, &parent.exclude, &mut own.exclude)
                .map_err(FilterError::Exclude)?;
            if excluded {
                if is_dir && !side.leads_on(path) {
                    return Ok(Verdict::Prune);
                }
                verdict = Verdict::Hold;
            }
        }
        Ok(verdict)
    }
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
        Filter::new(&spec, None).unwrap()
    }

    fn top(filter: &Filter, path: &str, is_dir: bool) -> Verdict {
        let mut own = DirMarks::default();
        filter
            .judge(path.as_bytes(), is_dir, &DirMarks::default(), &mut own)
            .unwrap()
    }

    #[test]
    fn a_directory_is_walked_only_where_something_inside_may_be_sent() {
        let literal = filter(&["src/app/**"], &["target", "docs", "!docs/keep"]);
        assert_eq!(top(&literal, "src", true), Verdict::Hold);
        assert_eq!(top(&literal, "srcs", true), Verdict::Prune);
        assert_eq!(top(&literal, "src", false), Verdict::Hold);
        let wild = filter(&["*/app"], &[]);
        assert_eq!(top(&wild, "lib", true), Verdict::Hold);

        let excluded = filter(&[], &["target", "docs", "!docs/keep"]);
        assert_eq!(top(&excluded, "target", true), Verdict::Prune);
        assert_eq!(top(&excluded, "docs", true), Verdict::Hold);
        assert_eq!(top(&excluded, "src", true), Verdict::Send);
        let wild = filter(&[], &["docs", "!*/keep"]);
        assert_eq!(top(&wild, "docs", true), Verdict::Hold);
    }
}
