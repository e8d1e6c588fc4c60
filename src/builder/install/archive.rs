//! Extracts the programs from BuildKit's release archive.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The largest size of an extracted program, in bytes.
const PROGRAM_LIMIT: u64 = 512 << 20;

/// The programs to extract: the name in the archive, and the name of the file that is written.
const WANTED: [(&str, &str); 3] = [
    ("bin/buildkitd", "buildkitd"),
    ("bin/buildctl", "buildctl"),
    ("bin/buildkit-runc", "runc"),
];

/// The archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It cannot be read or decompressed.
    #[error("cannot unpack `{}`", archive.display())]
    Read {
        /// The archive.
        archive: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// A program is not in the archive.
    #[error("`{}` does not contain `{program}`", archive.display())]
    Missing {
        /// The archive.
        archive: PathBuf,
        /// The program.
        program: &'static str,
    },
    /// A program is larger than the limit.
    #[error("`{program}` in `{}` is too large", archive.display())]
    TooLarge {
        /// The archive.
        archive: PathBuf,
        /// The program.
        program: &'static str,
    },
}

/// Extracts the programs of `archive` to the folder `bin`. Writes nothing else, whatever paths the archive
/// contains.
pub(super) fn unpack(archive: &Path, bin: &Path) -> Result<(), ArchiveError> {
    let read = |source| ArchiveError::Read {
        archive: archive.to_owned(),
        source,
    };
    let file = File::open(archive).map_err(read)?;
    let mut entries = tar::Archive::new(flate2::read::MultiGzDecoder::new(file));
    let mut missing: Vec<(&str, &str)> = WANTED.to_vec();
    for entry in entries.entries().map_err(read)? {
        let mut entry = entry.map_err(read)?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = entry.path().map_err(read)?.into_owned();
        let path = path.strip_prefix(".").unwrap_or(&path);
        let Some(at) = missing.iter().position(|(name, _)| path == Path::new(name)) else {
            continue;
        };
        let (program, name) = missing.remove(at);
        if entry.size() > PROGRAM_LIMIT {
            return Err(ArchiveError::TooLarge {
                archive: archive.to_owned(),
                program,
            });
        }
        let mut out = File::create(bin.join(name)).map_err(read)?;
        io::copy(&mut entry, &mut out).map_err(read)?;
        if missing.is_empty() {
            return Ok(());
        }
    }
    match missing.first() {
        None => Ok(()),
        Some((program, _)) => Err(ArchiveError::Missing {
            archive: archive.to_owned(),
            program,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::archive;
    use super::*;

    #[test]
    fn only_the_programs_are_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.tar.gz");
        let all = [
            ("bin/buildctl", "c"),
            ("bin/buildkit-qemu-arm", "q"),
            ("bin/buildkit-runc", "r"),
            ("bin/buildkitd", "d"),
        ];
        std::fs::write(&file, archive(&all)).unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        unpack(&file, &bin).unwrap();
        assert_eq!(std::fs::read(bin.join("runc")).unwrap(), b"r");
        assert_eq!(std::fs::read_dir(&bin).unwrap().count(), 3);
    }

    #[test]
    fn a_missing_or_truncated_program_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.tar.gz");
        std::fs::write(&file, archive(&[("bin/buildkitd", "d")])).unwrap();
        let error = unpack(&file, dir.path()).unwrap_err();
        assert!(matches!(
            error,
            ArchiveError::Missing {
                program: "bin/buildctl",
                ..
            }
        ));
        let whole = archive(&[("bin/buildkitd", &"d".repeat(9000))]);
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(
            unpack(&file, dir.path()),
            Err(ArchiveError::Read { .. })
        ));
    }
}
