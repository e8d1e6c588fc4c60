//! Patterns of files in the file system of an image, such as `/tmp/reports/*.xml`.

use std::fmt;
use std::str::FromStr;

use super::pattern::matches_whole;

/// The longest pattern, in bytes.
pub(crate) const LONGEST_FILE_PATTERN: usize = 1_024;

/// A pattern that matches absolute paths.
///
/// `*` stands for any number of characters of a name, also none; `?` for exactly one byte; `**` for any number of
/// directories, also none. Names that begin with a dot are matched like others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePattern {
    text: String,
    parts: Vec<FilePatternPart>,
}

/// One name of a [`FilePattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FilePatternPart {
    /// Exactly this name.
    Name(String),
    /// Names with `*` and `?`.
    Wild(String),
    /// Any number of directories.
    Deep,
}

impl FilePatternPart {
    /// Whether one name matches. `**` is not about one name, and matches none.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Wild(pattern) => matches_whole(pattern, name),
            Self::Deep => false,
        }
    }
}

/// The text is not a pattern of files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidFilePattern {
    /// It is longer than [`LONGEST_FILE_PATTERN`].
    #[error("a pattern of files can have at most {LONGEST_FILE_PATTERN} bytes")]
    TooLong,
    /// It does not begin with a slash.
    #[error(
        "`{0}` is not an absolute path in the target's file system: it does not begin with `/`"
    )]
    Relative(String),
    /// It names no file.
    #[error("`{0}` names all files, which is too much: name a directory below `/`")]
    Root(String),
    /// It has `..`.
    #[error("`{0}` contains `..`")]
    Upwards(String),
    /// It has `**` with other characters in one name.
    #[error("`{0}` contains `**` beside other characters: write it between slashes")]
    Deep(String),
    /// It has a control character.
    #[error("a pattern of files contains a control character")]
    Control,
}

impl FilePattern {
    /// The names of the path, one after the other.
    pub(crate) fn parts(&self) -> &[FilePatternPart] {
        &self.parts
    }
}

impl FromStr for FilePattern {
    type Err = InvalidFilePattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST_FILE_PATTERN {
            return Err(InvalidFilePattern::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidFilePattern::Control);
        }
        if !text.starts_with('/') {
            return Err(InvalidFilePattern::Relative(text.to_owned()));
        }
        let mut parts = Vec::new();
        let names = text.split('/').filter(|name| !name.is_empty());
        for name in names.filter(|name| *name != ".") {
            parts.push(match name {
                ".." => return Err(InvalidFilePattern::Upwards(text.to_owned())),
                // Several in a row mean the same as one, and would be tried in all divisions.
                "**" if parts.last() == Some(&FilePatternPart::Deep) => continue,
                "**" => FilePatternPart::Deep,
                name if name.contains("**") => {
                    return Err(InvalidFilePattern::Deep(text.to_owned()));
                }
                name if name.contains(['*', '?']) => FilePatternPart::Wild(name.to_owned()),
                name => FilePatternPart::Name(name.to_owned()),
            });
        }
        let is_all =
            |part: &FilePatternPart| *part == FilePatternPart::Deep || part.matches("\u{1}");
        if parts.iter().all(is_all) {
            return Err(InvalidFilePattern::Root(text.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

impl fmt::Display for FilePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test]
    fn a_pattern_has_one_part_for_each_name() {
        use FilePatternPart::{Deep, Name, Wild};
        let pattern: FilePattern = "/app//./**/**/test-*/x.xml".parse().unwrap();
        let name = |text: &str| text.to_owned();
        assert_eq!(
            pattern.parts(),
            [
                Name(name("app")),
                Deep,
                Wild(name("test-*")),
                Name(name("x.xml"))
            ]
        );
        let wild = &pattern.parts()[2];
        assert!(wild.matches("test-1") && wild.matches("test-") && !wild.matches("tes"));
    }

    #[test_case("reports/*.xml"; "relative")]
    #[test_case(""; "empty")]
    #[test_case("/"; "the root")]
    #[test_case("/**"; "everything")]
    #[test_case("/*"; "everything in the root")]
    #[test_case("/a/../b"; "upwards")]
    #[test_case("/a/x**"; "deep beside other characters")]
    #[test_case("/a\u{1b}[2J"; "a control character")]
    fn other_texts_are_not_patterns(text: &str) {
        let error = text.parse::<FilePattern>().unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'));
    }
}
