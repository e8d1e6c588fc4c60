//! Checks ignore files before any work. An ignore file that exists but cannot be used is an error.
//!
//! The frontend in the daemon reads the ignore file from the files that were sent. If it finds a link without its
//! target, a directory, a pipe or a socket, it continues as if there were no ignore file. Then the whole context
//! is sent, including secrets. So the file is looked up here as the daemon will look it up. Start at [`check`].

use std::path::Path;

use super::inside::{self, Unusable, quoted};
use super::locate::{DockerfilePlace, NamedTree, SourceTree, TargetPlaces};
use crate::context::{IgnorePattern, PatternBudget, PatternError, ignorefile};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::types::encoding::{SAVE_AS_UTF8, is_utf16};

const NAME: &str = ".dockerignore";
const CODE: &str = "run::ignore-file";
const PATTERN: &str = "run::ignore-pattern";

/// The most bytes that are read of an ignore file.
const SIZE_LIMIT: u64 = 64 << 20;
/// The longest line that the daemon's reader accepts.
const LINE_LIMIT: usize = (64 << 10) - 1;
/// The patterns are sent as gRPC headers, which may have 16 MiB together. Each pattern also needs [`HEADER_COST`].
const HEADER_LIMIT: usize = (16 << 20) - (64 << 10);
const HEADER_COST: usize = "exclude-patterns".len() + 32;

/// Checks the ignore files that apply to the directories of `places`. `reads_context` says whether the Dockerfile
/// reads anything from the context. Messages show paths relative to `cwd`.
pub(super) fn check(places: &TargetPlaces, reads_context: bool, cwd: &Path) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let checker = Checker { cwd };
    if let SourceTree::Dir(context) = &places.context
        && reads_context
    {
        let own = match &places.dockerfile {
            DockerfilePlace::File { dir, filename } => {
                checker.file(dir, &format!("{filename}{NAME}"))
            }
            DockerfilePlace::Inline(_)
            | DockerfilePlace::InContext(_)
            | DockerfilePlace::Url { .. } => Ok(false),
        };
        // If the Dockerfile has its own ignore file, the context's ignore file is not used.
        let found = own.and_then(|found| Ok(found || checker.file(context, NAME)?));
        problems.0.extend(found.err().map(|problem| *problem));
    }
    for tree in places.named.values() {
        if let NamedTree::Tree(SourceTree::Dir(dir)) = tree {
            let found = checker.file(dir, NAME);
            problems.0.extend(found.err().map(|problem| *problem));
        }
    }
    problems
}

struct Checker<'a> {
    cwd: &'a Path,
}

impl Checker<'_> {
    /// Checks the ignore file `name` in `dir`. Returns whether it exists.
    fn file(&self, dir: &Path, name: &str) -> Result<bool, Box<Diagnostic>> {
        let shown = self.shown(&dir.join(name));
        match inside::read(dir, name, SIZE_LIMIT) {
            Ok(Some(text)) => Self::patterns(&text, &shown).map(|()| true),
            Ok(None) => Ok(false),
            // If programs on this machine cannot follow the link, either, it leads nowhere.
            Err(Unusable::Outside(to)) if !dir.join(name).is_file() => {
                Err(Box::new(unusable(&Unusable::Dangling(to), &shown)))
            }
            Err(why) => Err(Box::new(unusable(&why, &shown))),
        }
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(self.cwd)
            .unwrap_or(path)
            .display()
            .to_string()
    }

    /// Checks the patterns in `text`, the content of the ignore file `shown`. Reports the first problem.
    fn patterns(text: &[u8], shown: &str) -> Result<(), Box<Diagnostic>> {
        if is_utf16(text) {
            let message =
                format!("the ignore file `{shown}` is UTF-16, which the builder cannot read");
            return Err(Box::new(error(CODE, message).help(SAVE_AS_UTF8)));
        }
        let mut cost = 0;
        let mut budget = PatternBudget::default();
        // If one pattern is not ASCII, the daemon encodes all of them, so they may contain any byte.
        let encoded = ignorefile::patterns(text)
            .iter()
            .any(|line| !line.is_ascii());
        for (line, content) in (1..).zip(text.split(|b| *b == b'\n')) {
            if content.len() > LINE_LIMIT {
                let what = format!("line {line} has more than 64 KiB");
                return Err(Box::new(unusable(&Unusable::TooLarge(what), shown)));
            }
            for pattern in ignorefile::patterns(content) {
                cost += pattern.len() * if encoded { 3 } else { 1 } + HEADER_COST;
                if let Some((what, help)) = wrong(&pattern, encoded, &mut budget) {
                    let message =
                        format!("line {line} of the ignore file `{shown}` cannot be used: {what}");
                    return Err(Box::new(error(PATTERN, message).help(help)));
                }
            }
        }
        if cost > HEADER_LIMIT {
            let what = "its patterns do not fit into one message to the builder".to_owned();
            return Err(Box::new(unusable(&Unusable::TooLarge(what), shown)));
        }
        Ok(())
    }
}

fn error(code: &'static str, message: String) -> Diagnostic {
    Diagnostic::error(Class::Definition, code, message)
}

fn unusable(why: &Unusable, shown: &str) -> Diagnostic {
    let way_out = match why {
        Unusable::Outside(_) => {
            let (link, copy) = (quoted(shown), quoted(&format!("{shown}.copy")));
            format!("replace it with a copy: `cp {link} {copy} && mv {copy} {link}`")
        }
        Unusable::Io(_) => format!("make it readable, `chmod a+r {}`", quoted(shown)),
        Unusable::TooLarge(_) => {
            "shorten it; a pattern such as `**/*.log` replaces many lines".to_owned()
        }
        Unusable::Dangling(_) | Unusable::Loop | Unusable::Directory | Unusable::Special(_) => {
            let recursive = if matches!(why, Unusable::Directory) {
                "-r "
            } else {
                ""
            };
            format!(
                "replace it with a file, or remove it to ignore nothing: `rm {recursive}{}`",
                quoted(shown)
            )
        }
    };
    error(CODE, format!("the ignore file `{shown}` {why}"))
        .note("without it, rbake would send the whole context to the builder, including secrets")
        .help(way_out)
}

/// Returns what is wrong with a pattern, and what to do. `None` if it can be used.
fn wrong(
    pattern: &[u8],
    encoded: bool,
    budget: &mut PatternBudget,
) -> Option<(String, &'static str)> {
    let shown = String::from_utf8_lossy(pattern);
    let syntax =
        "a `[` needs a `]`, and a `\\` needs a character after it; `\\[` means a literal `[`";
    match IgnorePattern::parse(pattern, budget) {
        Err(error @ PatternError::TooLarge(_)) => {
            return Some((
                error.to_string(),
                "shorten it; a `*` matches any text in a name",
            ));
        }
        Err(error @ PatternError::LoneExclusion) => {
            return Some((error.to_string(), "write the path to keep after the `!`"));
        }
        Err(error) => return Some((error.to_string(), syntax)),
        Ok(Some(parsed)) if parsed.is_invalid() => {
            return Some((format!("`{shown}` is not a valid pattern"), syntax));
        }
        Ok(_) => {}
    }
    if std::str::from_utf8(pattern).is_err() {
        return Some((
            format!("`{shown}` is not UTF-8, and cannot be sent to the builder unchanged"),
            "write `?` for each byte that is not UTF-8",
        ));
    }
    if !encoded && pattern.iter().any(u8::is_ascii_control) {
        return Some((
            format!(
                "`{}` has a control character, which the builder cannot send",
                shown.escape_debug()
            ),
            "write `?` in its place",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Resolver;
    use crate::run::locate::locate;
    use crate::run::testing::planned;
    use std::os::unix::fs::symlink;

    struct Project(tempfile::TempDir);

    impl Project {
        fn new(ignore: &[u8]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
            std::fs::write(dir.path().join(NAME), ignore).unwrap();
            Self(dir)
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        fn checked(&self, body: &str) -> Vec<String> {
            let places = locate(&planned(body), &Resolver::new(self.0.path())).unwrap();
            let problems = check(&places, true, self.0.path());
            problems
                .0
                .into_iter()
                .map(|problem| problem.message)
                .collect()
        }
    }

    #[test]
    fn problems_name_the_line_of_the_pattern() {
        for (ignore, expected) in [
            (
                &b"a\n\n# [\n[b\n"[..],
                "line 4 of the ignore file `.dockerignore` cannot be used: syntax error in pattern `[b`",
            ),
            (
                b"!\n",
                "line 1 of the ignore file `.dockerignore` cannot be used: illegal exclusion pattern: `!`",
            ),
            (
                b"a\n\\q*\n",
                "line 2 of the ignore file `.dockerignore` cannot be used: `\\q*` is not a valid pattern",
            ),
            (
                b"a\nb\x01c\r\n",
                r"line 2 of the ignore file `.dockerignore` cannot be used: `b\u{1}c` has a control character, which the builder cannot send",
            ),
            (
                b"key\xff\n",
                "line 1 of the ignore file `.dockerignore` cannot be used: `key\u{fffd}` is not UTF-8, and cannot be sent to the builder unchanged",
            ),
        ] {
            assert_eq!(Project::new(ignore).checked(""), [expected]);
        }
        for good in [
            &b""[..],
            b"\xef\xbb\xbfa\r\n!b\n",
            "b\u{1}c\né\n".as_bytes(),
        ] {
            assert!(Project::new(good).checked("").is_empty());
        }
    }

    #[test]
    fn utf16_is_reported_as_utf16() {
        // Written by PowerShell's `>`, in the other byte order, and without a byte order mark.
        for ignore in [&b"\xff\xfea\0\r\0\n\0"[..], b"\xfe\xff\0a\0\n", b"a\0\n\0"] {
            let told = "the ignore file `.dockerignore` is UTF-16, which the builder cannot read";
            assert_eq!(Project::new(ignore).checked(""), [told]);
        }
    }

    #[test]
    fn files_that_are_too_large_are_refused() {
        let long = Project::new(&vec![b'x'; 1 << 16]);
        let told = "the ignore file `.dockerignore` is too large: line 1 has more than 64 KiB";
        assert_eq!(long.checked(""), [told]);
        let many = Project::new(&b"some/path\n".repeat(300_000));
        let told = "the ignore file `.dockerignore` is too large: its patterns do not fit into one message to the builder";
        assert_eq!(many.checked(""), [told]);
    }

    #[test]
    fn the_file_that_applies_is_checked() {
        let project = Project::new(b"a\n");
        std::fs::create_dir(project.path("named")).unwrap();
        std::fs::remove_file(project.path(NAME)).unwrap();
        symlink("/etc/hostname", project.path(NAME)).unwrap();
        let told = "the ignore file `.dockerignore` leads out of its directory, to `/etc/hostname`";
        assert_eq!(project.checked(""), [told]);
        std::fs::remove_file(project.path(NAME)).unwrap();
        symlink("../elsewhere", project.path(NAME)).unwrap();
        let told = "the ignore file `.dockerignore` leads to `../elsewhere`, which does not exist";
        assert_eq!(project.checked(""), [told]);
        // The Dockerfile's own ignore file replaces it.
        std::fs::write(project.path("Dockerfile.dockerignore"), "b\n").unwrap();
        assert!(project.checked("").is_empty());
        std::fs::remove_file(project.path("Dockerfile.dockerignore")).unwrap();
        std::fs::create_dir(project.path("Dockerfile.dockerignore")).unwrap();
        let own = "the ignore file `Dockerfile.dockerignore` is a directory";
        assert_eq!(project.checked(""), [own]);
        symlink("none", project.path("named/.dockerignore")).unwrap();
        let named = project.checked(r#"contexts = { n = "named" }"#);
        assert_eq!(named.len(), 2);
        assert!(named[1].starts_with("the ignore file `named/.dockerignore` leads to `"));
        let inline = project.checked("dockerfile-inline = \"FROM scratch\"");
        assert_eq!(inline, [told]);
    }
}
