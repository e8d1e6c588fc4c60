//! Reads the entries of a directory that a program has written, in the same form as those of an archive ([`ImageEntry`]).

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::case::{Attributes, join};
use super::run::{Image, ImageEntry};

/// The entries in `root`. There are none if it does not exist.
pub(super) fn entries(root: &Path) -> Image {
    let mut image = Image::new();
    if root.exists() {
        let mut first_names = HashMap::new();
        directory(root, b"", &mut image, &mut first_names);
    }
    image
}

fn directory(
    dir: &Path,
    path: &[u8],
    image: &mut Image,
    first_names: &mut HashMap<(u64, u64), Vec<u8>>,
) {
    let found = std::fs::read_dir(dir).unwrap();
    let mut found: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    for entry in found {
        let path = join(path, entry.file_name().unwrap().as_bytes());
        let metadata = entry.symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let mut read = ImageEntry {
            kind: tar::EntryType::Regular,
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid().into(), metadata.gid().into()),
            link: Vec::new(),
            content: Vec::new(),
            attributes: attributes(&entry),
        };
        let first = first_names
            .entry((metadata.dev(), metadata.ino()))
            .or_insert_with(|| path.clone());
        if kind.is_dir() {
            read.kind = tar::EntryType::Directory;
        } else if kind.is_symlink() {
            read.kind = tar::EntryType::Symlink;
            let target = std::fs::read_link(&entry).unwrap();
            read.link = target.as_os_str().as_bytes().to_vec();
        } else if *first != path {
            read.kind = tar::EntryType::Link;
            read.link.clone_from(first);
        } else if kind.is_fifo() {
            read.kind = tar::EntryType::Fifo;
        } else if kind.is_char_device() {
            read.kind = tar::EntryType::Char;
        } else {
            read.content = std::fs::read(&entry).unwrap();
        }
        image.insert(path.clone(), read);
        if kind.is_dir() {
            directory(&entry, &path, image, first_names);
        }
    }
}

fn attributes(path: &Path) -> Attributes {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0; 1 << 16];
    let len = rustix::fs::llistxattr(&path, names.as_mut_slice()).unwrap();
    let names = names[..len].split_inclusive(|byte| *byte == 0);
    let named = names.map(|name| {
        let name = CStr::from_bytes_with_nul(name).unwrap();
        let mut value = vec![0; 1 << 16];
        let len = rustix::fs::lgetxattr(&path, name, value.as_mut_slice()).unwrap();
        value.truncate(len);
        (name.to_str().unwrap().to_owned(), value)
    });
    named.collect()
}
