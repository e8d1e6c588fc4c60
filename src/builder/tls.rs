//! Finds certificates and keys in a folder that a setting names.
//!
//! If a setting asks for TLS and its files cannot be used, that is an error, and never leads to a connection
//! without TLS. Knows which files exist, not what is in them: they are read when the connection is made. Start at
//! [`in_folder`].

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::endpoint::TlsMaterial;

/// The file names of the CA, the certificate and the key, in the order of search: Docker's, then those of
/// Kubernetes' secrets.
const CA: [&str; 2] = ["ca.pem", "ca.crt"];
const CERT: [&str; 2] = ["cert.pem", "tls.crt"];
const KEY: [&str; 2] = ["key.pem", "tls.key"];

/// The files for TLS that a setting names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no such folder, or it cannot be read.
    #[error("{from} names `{}` for TLS, which cannot be used", path.display())]
    Folder {
        /// The setting that names it, for messages.
        from: String,
        /// The folder.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// The folder has no files for TLS.
    #[error("{from} names the folder `{}` for TLS, which has none of `ca.pem`, `cert.pem` and `key.pem`", path.display())]
    Nothing {
        /// The setting that names it, for messages.
        from: String,
        /// The folder.
        path: PathBuf,
    },
    /// The folder has no CA, but this setting requires one.
    #[error("{from} asks for TLS with the CA `{}`, which does not exist", path.display())]
    NoCa {
        /// The setting that requires it.
        from: String,
        /// The path at which the CA was expected.
        path: PathBuf,
    },
    /// The folder has a certificate without its key, or a key without its certificate.
    #[error("the folder `{}`, which {from} names for TLS, has {has} without {lacks}", path.display())]
    Half {
        /// The setting that names it, for messages.
        from: String,
        /// The folder.
        path: PathBuf,
        /// The file that is there, for messages.
        has: &'static str,
        /// The file that is missing, for messages.
        lacks: &'static str,
    },
    /// One of the files exists but cannot be used.
    #[error("{from} names `{}` for TLS, which cannot be used", path.display())]
    File {
        /// The setting that names its folder.
        from: String,
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
}

/// The files for TLS in the folder `dir`, which the setting `from` names. It is an error if there are none, or if a
/// certificate has no key or a key no certificate.
pub(super) fn in_folder(dir: &Path, from: &str) -> Result<TlsMaterial, TlsError> {
    let unusable = |source| TlsError::Folder {
        from: from.to_owned(),
        path: dir.to_owned(),
        source,
    };
    // If `dir` is a file, looking for files in it would find none, as in an empty folder. This makes it an error.
    std::fs::read_dir(dir).map_err(unusable)?;
    let file = |names: [&str; 2]| {
        for name in names {
            if let Some(path) = usable(&dir.join(name), from)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    };
    let material = TlsMaterial {
        ca: file(CA)?,
        cert: file(CERT)?,
        key: file(KEY)?,
        servername: None,
    };
    if material.is_empty() {
        return Err(TlsError::Nothing {
            from: from.to_owned(),
            path: dir.to_owned(),
        });
    }
    Ok(material)
}

/// The same as [`in_folder`], for settings that require a CA.
pub(super) fn in_folder_with_ca(dir: &Path, from: &str) -> Result<TlsMaterial, TlsError> {
    let material = match in_folder(dir, from) {
        Err(TlsError::Nothing { .. }) => TlsMaterial::default(),
        found => found?,
    };
    if material.ca.is_none() {
        return Err(TlsError::NoCa {
            from: from.to_owned(),
            path: dir.join(CA[0]),
        });
    }
    whole(material, dir, from)
}

/// Returns `material` from the folder `dir`, or an error if it has a certificate without a key or a key without a
/// certificate.
pub(super) fn whole(
    material: TlsMaterial,
    dir: &Path,
    from: &str,
) -> Result<TlsMaterial, TlsError> {
    let (has, lacks) = match (&material.cert, &material.key) {
        (Some(_), None) => ("a certificate", "its key"),
        (None, Some(_)) => ("a key", "its certificate"),
        _ => return Ok(material),
    };
    Err(TlsError::Half {
        from: from.to_owned(),
        path: dir.to_owned(),
        has,
        lacks,
    })
}

/// `Some` if `path` is a usable file, `None` if nothing has that name. A directory or a broken link is an error,
/// because somebody put it there for a purpose.
fn usable(path: &Path, from: &str) -> Result<Option<PathBuf>, TlsError> {
    let unusable = |source| TlsError::File {
        from: from.to_owned(),
        path: path.to_owned(),
        source,
    };
    if let Err(error) = std::fs::symlink_metadata(path) {
        return match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(unusable(error)),
        };
    }
    let metadata = std::fs::metadata(path).map_err(unusable)?;
    if metadata.is_dir() {
        return Err(unusable(io::Error::other("it is a directory")));
    }
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        dir
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let error = in_folder(Path::new("/nonexistent"), "`X`").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`X` names `/nonexistent` for TLS, which cannot be used"
        );
    }

    #[test]
    fn a_file_instead_of_the_folder_is_an_error() {
        let dir = folder(&["file"]);
        let error = in_folder(&dir.path().join("file"), "`X`").unwrap_err();
        assert!(matches!(error, TlsError::Folder { .. }), "{error:?}");
    }

    #[test_case(&[]; "empty")]
    #[test_case(&["certificate.pem", "README"]; "other names")]
    fn a_folder_without_files_for_tls_is_an_error(files: &[&str]) {
        let dir = folder(files);
        let error = in_folder(dir.path(), "`X`").unwrap_err();
        assert!(matches!(error, TlsError::Nothing { .. }), "{error:?}");
    }

    #[test]
    fn a_directory_or_a_broken_link_in_place_of_a_file_is_an_error() {
        let dir = folder(&[]);
        std::fs::create_dir(dir.path().join("ca.pem")).unwrap();
        let error = in_folder(dir.path(), "`X`").unwrap_err();
        assert!(
            matches!(&error, TlsError::File { path, .. } if path.ends_with("ca.pem")),
            "{error:?}"
        );
        let dir = folder(&["ca.pem"]);
        std::os::unix::fs::symlink("/nonexistent", dir.path().join("key.pem")).unwrap();
        let error = in_folder(dir.path(), "`X`").unwrap_err();
        assert!(
            matches!(&error, TlsError::File { path, .. } if path.ends_with("key.pem")),
            "{error:?}"
        );
    }

    #[test]
    fn the_file_names_of_kubernetes_secrets_are_accepted() {
        let dir = folder(&["ca.crt", "tls.crt", "tls.key"]);
        let material = in_folder_with_ca(dir.path(), "`X`").unwrap();
        assert!(material.ca.unwrap().ends_with("ca.crt"));
        assert!(material.cert.unwrap().ends_with("tls.crt"));
        assert!(material.key.unwrap().ends_with("tls.key"));
    }

    #[test]
    fn a_ca_alone_is_enough_but_a_certificate_needs_its_key() {
        let dir = folder(&["ca.pem"]);
        assert!(in_folder_with_ca(dir.path(), "`X`").is_ok());
        let dir = folder(&["ca.pem", "cert.pem"]);
        let error = in_folder_with_ca(dir.path(), "`X`").unwrap_err();
        assert!(error.to_string().ends_with("a certificate without its key"));
        let dir = folder(&["cert.pem", "key.pem"]);
        let error = in_folder_with_ca(dir.path(), "`X`").unwrap_err();
        assert!(matches!(error, TlsError::NoCa { .. }), "{error:?}");
    }
}
