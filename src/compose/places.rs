//! Rewrites the paths in a model to be relative to the directory of the whole project. Included and extended files
//! may be in other directories.

use super::path::ModelPath;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::golang::path;
use crate::yaml::{YamlNode, YamlValue};

/// The kinds of path, which are resolved differently.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A build context: a directory, a URL, or another service.
    Context,
    /// A path to a file, or empty.
    OptionalFile,
    /// A path to a file.
    File,
}

#[rustfmt::skip]
const PATHS: &[(&[&str], Kind)] = &[
    (&["services", "*", "build", "context"], Kind::Context),
    (&["services", "*", "build", "additional_contexts", "*"], Kind::Context),
    (&["services", "*", "build", "ssh", "*"], Kind::OptionalFile),
    (&["services", "*", "env_file", "*", "path"], Kind::File),
    (&["services", "*", "extends", "file"], Kind::File),
    (&["secrets", "*", "file"], Kind::OptionalFile),
];

/// The prefixes of contexts that are remote addresses and therefore not changed.
const REMOTE: [&str; 6] = [
    "https://",
    "http://",
    "git://",
    "ssh://",
    "github.com/",
    "git@",
];

/// Rewrites the relative paths in `node`, which is at `path` in the model, to start with `dir`. Replaces `~` with
/// `home`. Reports paths that are not strings.
pub(super) fn resolve(
    node: &mut YamlNode,
    path: &ModelPath<'_>,
    dir: &str,
    home: Option<&str>,
    problems: &mut Diagnostics,
) {
    if let Some((_, kind)) = PATHS.iter().find(|(pattern, _)| path.matches(pattern)) {
        match (&mut node.value, kind) {
            (YamlValue::String(text), kind) => *text = resolved(text, *kind, dir, home),
            (_, Kind::OptionalFile) => {}
            (_, Kind::Context | Kind::File) => {
                let problem = Diagnostic::error(
                    Class::Definition,
                    "compose::wrong-type",
                    format!("`{path}` must be a string, but is {}", node.kind()),
                );
                problems.push(problem.at(node.span, ""));
            }
        }
        return;
    }
    match &mut node.value {
        YamlValue::Mapping(entries) => {
            for (key, entry) in entries {
                resolve(&mut entry.value, &path.key(key), dir, home, problems);
            }
        }
        YamlValue::Sequence(items) => {
            for item in items {
                resolve(item, &path.item(), dir, home, problems);
            }
        }
        _ => {}
    }
}

/// The path `text` relative to the base of `dir`. Absolute paths and remote contexts are not changed. An empty
/// path stays empty, except for an optional file.
fn resolved(text: &str, kind: Kind, dir: &str, home: Option<&str>) -> String {
    if matches!(kind, Kind::Context)
        && (text.contains("://")
            || text.starts_with("service:")
            || REMOTE.iter().any(|prefix| text.starts_with(prefix)))
    {
        return text.to_owned();
    }
    if text.is_empty() && !matches!(kind, Kind::OptionalFile) {
        return String::new();
    }
    let expanded = match (text.strip_prefix('~'), home) {
        (Some(rest), Some(home)) => path::join(home, rest),
        _ => text.to_owned(),
    };
    let windows = matches!(kind, Kind::OptionalFile) && is_windows_absolute(&expanded);
    if expanded.starts_with('/') || windows {
        return expanded;
    }
    path::join(dir, &expanded)
}

fn is_windows_absolute(path: &str) -> bool {
    let slash = |byte: Option<&u8>| matches!(byte, Some(b'/' | b'\\'));
    match path.as_bytes() {
        [b'\\', b'\\', ..] => true,
        [drive, b':', rest @ ..] => drive.is_ascii_alphabetic() && slash(rest.first()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("./a/../b", "", "b"; "cleaned")]
    #[test_case(".", "sub", "sub"; "the directory itself")]
    #[test_case("../x", "sub", "x"; "above")]
    #[test_case("/a/../b", "sub", "/a/../b"; "absolute paths stay")]
    #[test_case("~/x", "sub", "/home/me/x"; "home")]
    #[test_case("~x", "sub", "/home/me/x"; "home without a slash")]
    #[test_case("", "sub", ""; "nothing")]
    #[test_case("docker-image://alpine", "sub", "docker-image://alpine"; "an image")]
    #[test_case("service:base", "sub", "service:base"; "a service")]
    #[test_case("github.com/a/b", "sub", "github.com/a/b"; "a repository")]
    #[test_case("target:base", "sub", "sub/target:base"; "a target is a path to Compose")]
    fn paths_of_contexts_are_resolved(text: &str, dir: &str, expected: &str) {
        assert_eq!(
            resolved(text, Kind::Context, dir, Some("/home/me")),
            expected
        );
    }

    #[test_case("key", "sub/key")]
    #[test_case("C:\\key", "C:\\key")]
    #[test_case("", "sub"; "an empty path is the directory")]
    fn paths_of_optional_files_are_resolved(text: &str, expected: &str) {
        assert_eq!(resolved(text, Kind::OptionalFile, "sub", None), expected);
    }
}
