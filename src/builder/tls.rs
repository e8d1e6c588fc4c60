//! Certificates and keys that settings name by a folder: those that are there, or an error.
//!
//! What was named for TLS and cannot be used never ends in a plain connection. Knows files, not what is in them: that is
//! read when the connection is made. Start at [`in_folder`].

use std::io;
use std::path::{Path, PathBuf};

use crate::engine::endpoint::TlsMaterial;

/// Names of a CA, a certificate and a key, in the order they are looked for: Docker's, then those of Kubernetes' secrets.
const CA: [&str; 2] = ["ca.pem", "ca.crt"];
const CERT: [&str; 2] = ["cert.pem", "tls.crt"];
const KEY: [&str; 2] = ["key.pem", "tls.key"];

/// What was named for TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no such folder, or it cannot be read.
    #[error("{from} names `{}` for TLS, which cannot be used", path.display())]
    Folder {
        /// What names it.
        from: String,
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder has nothing for TLS.
    #[error("{from} names the folder `{}` for TLS, which has none of `ca.pem`, `cert.pem` and `key.pem`", path.display())]
    Nothing {
        /// What names it.
        from: String,
        /// The folder.
        path: PathBuf,
    },
    /// The folder has no CA, and the connection may not be made without.
    #[error("{from} asks for TLS with the CA `{}`, which does not exist", path.display())]
    NoCa {
        /// What asks for it.
        from: String,
        /// Where the CA should be.
        path: PathBuf,
    },
    /// A certificate without its key, or the reverse.
    #[error("the folder `{}`, which {from} names for TLS, has {has} without {lacks}", path.display())]
    Half {
        /// What names it.
        from: String,
        /// The folder.
        path: PathBuf,
        /// What is there.
        has: &'static str,
        /// What goes with it.
        lacks: &'static str,
    },
    /// One of the files is there and cannot be used.
    #[error("{from} names `{}` for TLS, which cannot be used", path.display())]
    File {
        /// What names its folder.
        from: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What the folder `dir`, named by `from`, has for TLS: at least one file, and a certificate with its key or neither.
pub(super) fn in_folder(dir: &Path, from: &str) -> Result<TlsMaterial, TlsError> {
    let unusable = |source| TlsError::Folder {
        from: from.to_owned(),
        path: dir.to_owned(),
        source,
    };
    // A file in the place of a folder has no files in it, which must not look like a folder without them.
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

/// As [`in_folder`], for settings that must come with a CA.
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

/// `material` of the folder `dir`, where its certificate has a key and its key a certificate.
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

// `None` only where there is nothing of that name: a directory, or a link that leads nowhere, was meant for something.
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
    fn a_folder_that_is_not_there_is_an_error() {
        let error = in_folder(Path::new("/nonexistent"), "`X`").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`X` names `/nonexistent` for TLS, which cannot be used"
        );
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_an_error() {
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
    fn what_is_there_and_no_file_is_an_error() {
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
    fn the_names_of_kubernetes_secrets_are_known() {
        let dir = folder(&["ca.crt", "tls.crt", "tls.key"]);
        let material = in_folder_with_ca(dir.path(), "`X`").unwrap();
        assert!(material.ca.unwrap().ends_with("ca.crt"));
        assert!(material.cert.unwrap().ends_with("tls.crt"));
        assert!(material.key.unwrap().ends_with("tls.key"));
    }

    #[test]
    fn a_ca_alone_is_enough_and_a_certificate_alone_is_not() {
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
