//! The digests that must stay, from files of the user: lock files, or lists of what runs somewhere.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use crate::diag::{Class, Diagnostic};
use crate::prune::policy::PruneRoots;
use crate::types::regular::read_regular;
use crate::types::terminal::visible;
use crate::types::{Digest, Environment};

/// The largest file, in bytes, and the most digests.
const FILE_LIMIT: u64 = 64 << 20;
const MOST: usize = 100_000;
const ALGORITHMS: [(&str, usize); 3] = [("sha256:", 64), ("sha384:", 96), ("sha512:", 128)];

/// Reads all digests in `files`, whatever else is in them. `-` is standard input.
pub(super) fn roots(files: &[String], environment: &Environment) -> Result<PruneRoots, Diagnostic> {
    let mut locked = BTreeSet::new();
    for file in files {
        let text = read(file, environment)?;
        let before = locked.len();
        locked.extend(digests_in(&text));
        // An empty list is more likely a mistake, such as a command that failed.
        if locked.len() == before && digests_in(&text).next().is_none() {
            let message = format!("`{}` has no digests", visible(file));
            return Err(Diagnostic::error(Class::Usage, "prune::digests", message)
                .help("leave out `--keep-digests` if nothing is to be kept for it"));
        }
        if locked.len() > MOST {
            let message = format!("more than {MOST} digests are to be kept");
            return Err(Diagnostic::error(Class::Usage, "prune::digests", message));
        }
    }
    Ok(PruneRoots {
        locked,
        in_use: BTreeSet::new(),
    })
}

fn read(file: &str, environment: &Environment) -> Result<String, Diagnostic> {
    let bytes = if file == "-" {
        let mut bytes = Vec::new();
        let input = std::io::stdin().lock();
        let read = input.take(FILE_LIMIT + 1).read_to_end(&mut bytes);
        read.and_then(|_| {
            if bytes.len() as u64 > FILE_LIMIT {
                return Err(std::io::Error::other(format!(
                    "it has more than {FILE_LIMIT} bytes"
                )));
            }
            Ok(bytes)
        })
    } else {
        read_regular(&environment.current_dir().join(Path::new(file)), FILE_LIMIT)
    };
    let bytes = bytes.map_err(|error| {
        let message = format!("cannot read the digests in `{}`: {error}", visible(file));
        Diagnostic::error(Class::Usage, "prune::digests", message)
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// All digests in `text`, such as those of names of images.
fn digests_in(text: &str) -> impl Iterator<Item = Digest> + '_ {
    ALGORITHMS.iter().flat_map(move |(start, digits)| {
        text.match_indices(start).filter_map(move |(at, _)| {
            let end = at + start.len() + digits;
            let digest = text.get(at..end)?.parse().ok()?;
            let next = text.get(end..)?.bytes().next();
            let is_longer = next.is_some_and(|byte| byte.is_ascii_hexdigit());
            (!is_longer).then_some(digest)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_any_text() {
        let one = Digest::sha256(b"1");
        let two = Digest::sha256(b"2");
        let text = format!("a/b@{one}\n{{\"x\":\"{two}\"}} {one}0 sha256:abc sha256:");
        assert_eq!(digests_in(&text).collect::<Vec<_>>(), [one, two]);
    }

    #[test]
    fn a_file_without_digests_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment::of([], dir.path().to_str().unwrap());
        std::fs::write(dir.path().join("empty"), "error: no connection\n").unwrap();
        for file in ["empty", "missing", "."] {
            assert!(roots(&[file.to_owned()], &environment).is_err(), "{file}");
        }
        let digest = Digest::sha256(b"1");
        std::fs::write(dir.path().join("lock"), digest.as_str()).unwrap();
        let files = ["lock".to_owned(), "lock".to_owned()];
        assert_eq!(roots(&files, &environment).unwrap().locked, [digest].into());
    }
}
