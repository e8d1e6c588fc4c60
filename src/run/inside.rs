//! Finds files as the daemon will find them in its copy of a directory, in which links cannot lead outside.
//!
//! Start at [`read`].

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

/// The most links on the way to a file. The daemon has the same limit.
const LINKS: u32 = 255;

/// Why an existing file cannot be used. It is displayed as a phrase that continues "the file `name` …".
#[derive(Debug)]
pub(super) enum Unusable {
    /// A link on the way to it leads out of the directory, to this path.
    Outside(PathBuf),
    /// A link on the way to it leads to this path, which does not exist.
    Dangling(PathBuf),
    /// It is a link that leads to itself, directly or by way of others.
    Loop,
    /// It is a directory.
    Directory,
    /// It is a pipe, a socket or a device.
    Special(&'static str),
    /// The system refuses to read it.
    Io(io::Error),
    /// It is too large; the text says what is.
    TooLarge(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(to) => write!(f, "leads out of its directory, to `{}`", to.display()),
            Self::Dangling(to) => write!(f, "leads to `{}`, which does not exist", to.display()),
            Self::Loop => f.write_str("is a link that leads to itself"),
            Self::Directory => f.write_str("is a directory"),
            Self::Special(kind) => write!(f, "is a {kind}"),
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                f.write_str("cannot be read: permission denied")
            }
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::TooLarge(what) => write!(f, "is too large: {what}"),
        }
    }
}

/// Returns the content of the file `name` in `dir`, or `None` if there is no such file. A file with more than
/// `limit` bytes is an error.
pub(super) fn read(dir: &Path, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Unusable> {
    match find(dir, name)? {
        Some(path) => read_file(&path, limit).map(Some),
        None => Ok(None),
    }
}

/// Returns `text` quoted for a shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns the path that `name` leads to in `dir`, or `None` if there is no such file.
fn find(dir: &Path, name: &str) -> Result<Option<PathBuf>, Unusable> {
    let mut inside: Vec<OsString> = Vec::new();
    let mut rest: Vec<OsString> = vec![name.into()];
    let mut links = 0;
    let mut outside = None;
    while let Some(part) = rest.pop() {
        let at = dir.join(inside.iter().collect::<PathBuf>()).join(&part);
        let metadata = match at.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if is_missing(&error) => {
                return match outside {
                    Some(to) => Err(Unusable::Outside(to)),
                    None if links > 0 => Err(Unusable::Dangling(at)),
                    None => Ok(None),
                };
            }
            Err(error) => return Err(Unusable::Io(error)),
        };
        if !metadata.is_symlink() {
            inside.push(part);
            continue;
        }
        links += 1;
        if links > LINKS {
            // For example a link to the same name in the directory above: in the daemon's copy, the root has no
            // directory above, so the link leads to itself.
            return Err(outside.map_or(Unusable::Loop, Unusable::Outside));
        }
        let target = std::fs::read_link(&at).map_err(Unusable::Io)?;
        let mut names: Vec<OsString> = Vec::new();
        for component in target.components() {
            match component {
                Component::RootDir | Component::Prefix(_) => {
                    outside.get_or_insert_with(|| target.clone());
                    inside.clear();
                    names.clear();
                }
                Component::CurDir => {}
                // The daemon removes `..` by text, and the directory above the root is the root.
                Component::ParentDir => {
                    if names.pop().is_none() && inside.pop().is_none() {
                        outside.get_or_insert_with(|| target.clone());
                    }
                }
                Component::Normal(name) => names.push(name.to_owned()),
            }
        }
        rest.extend(names.into_iter().rev());
    }
    Ok(Some(dir.join(inside.iter().collect::<PathBuf>())))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

/// Reads a file that `find` has found. Its type is checked before opening, so that no pipe or device is opened,
/// and again afterwards, because the file may be replaced in between.
fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, Unusable> {
    // Do not wait for another process to open the other end of a pipe.
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    let kind = path.symlink_metadata().map_err(Unusable::Io)?.file_type();
    special(kind)?;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
        .map_err(Unusable::Io)?;
    special(file.metadata().map_err(Unusable::Io)?.file_type())?;
    let mut text = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut text)
        .map_err(Unusable::Io)?;
    if text.len() as u64 > limit {
        return Err(Unusable::TooLarge(format!(
            "it has more than {} MiB",
            limit >> 20
        )));
    }
    Ok(text)
}

/// Returns an error for everything that is not a regular file.
fn special(kind: FileType) -> Result<(), Unusable> {
    if kind.is_file() {
        return Ok(());
    }
    Err(if kind.is_dir() {
        Unusable::Directory
    } else if kind.is_fifo() {
        Unusable::Special("pipe")
    } else if kind.is_socket() {
        Unusable::Special("socket")
    } else {
        Unusable::Special("device")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn told(dir: &Path, name: &str) -> String {
        match read(dir, name, 4) {
            Ok(Some(text)) => String::from_utf8(text).unwrap(),
            Ok(None) => "none".to_owned(),
            Err(why) => why.to_string().replace(&*dir.to_string_lossy(), "D"),
        }
    }

    #[test]
    fn a_file_is_found_as_the_daemon_will_find_it() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("d");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(temporary.path().join("out"), "out").unwrap();
        std::fs::write(dir.join("file"), "file").unwrap();
        std::fs::write(dir.join("long"), "12345").unwrap();
        for (link, target) in [
            ("in", "sub/../file"),
            ("up", "sub/up"),
            ("sub/up", "../file"),
            ("out", "../out"),
            ("root", "/file"),
            ("absolute", "/etc/hostname"),
            ("dangling", "sub/none"),
            ("loop", "loop"),
        ] {
            symlink(target, dir.join(link)).unwrap();
        }
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        drop(UnixListener::bind(dir.join("socket")).unwrap());
        for (name, expected) in [
            ("file", "file"),
            ("in", "file"),
            ("up", "file"),
            ("root", "file"),
            ("none", "none"),
            ("long", "is too large: it has more than 0 MiB"),
            ("out", "leads out of its directory, to `../out`"),
            ("absolute", "leads out of its directory, to `/etc/hostname`"),
            ("dangling", "leads to `D/sub/none`, which does not exist"),
            ("loop", "is a link that leads to itself"),
            ("sub", "is a directory"),
            ("pipe", "is a pipe"),
            ("socket", "is a socket"),
        ] {
            assert_eq!(told(&dir, name), expected, "{name}");
        }
    }

    #[test]
    fn paths_in_suggested_commands_are_quoted() {
        assert_eq!(quoted("a/.dockerignore"), "a/.dockerignore");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
        assert_eq!(quoted("-r"), "'-r'");
    }
}
