//! TLS for the hosts this machine talks to itself: the system's roots, and what `certs.d` adds for one registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Error;
use crate::types::Environment;

/// The cryptography every TLS connection of rbake uses.
pub fn crypto() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The system's root certificates; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them.
///
/// Certificates that cannot be read or parsed are passed over, as OpenSSL does: one odd file in the system's
/// folder must not end all connections.
pub fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

/// What is needed to talk to `host`: the system's roots and its folders in `certs.d`.
pub(super) fn client_config(host: &str, folders: &[PathBuf]) -> Result<ClientConfig, Error> {
    let mut roots = system_roots();
    let mut identity = None;
    for folder in folders.iter().map(|folder| folder.join(host)) {
        let folder = read(&folder)?;
        roots.add_parsable_certificates(folder.roots);
        identity = identity.or(folder.identity);
    }
    let certificates = |message: String| Error::Certificates {
        path: host.to_owned(),
        message,
    };
    let builder = ClientConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .map_err(|error| certificates(error.to_string()))?
        .with_root_certificates(roots);
    match identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| certificates(error.to_string())),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The folders that hold one folder per registry: the user's, then the system's.
pub(super) fn folders(environment: &Environment) -> Vec<PathBuf> {
    let user = environment
        .docker_config_dir()
        .map(|dir| dir.join("certs.d"));
    user.into_iter()
        .chain([PathBuf::from("/etc/docker/certs.d")])
        .collect()
}

#[derive(Default)]
struct Folder {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

// `*.crt` are roots; `x.cert` with `x.key` is what we show (Docker's documentation, "Verify repository client with certificates").
fn read(folder: &Path) -> Result<Folder, Error> {
    let mut found = Folder::default();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(found);
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.roots.extend(certificates(&path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                let bad = |error: rustls_pki_types::pem::Error| unusable(&key, &error.to_string());
                found.identity = Some((
                    certificates(&path)?,
                    PrivateKeyDer::from_pem_file(&key).map_err(bad)?,
                ));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, message: &str) -> Error {
    Error::Certificates {
        path: path.display().to_string(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_is_no_problem_and_a_broken_file_is() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().to_owned()];
        assert!(client_config("r.example:5000", &folders).is_ok());
        let folder = dir.path().join("r.example:5000");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("client.cert"), "no certificate").unwrap();
        let error = client_config("r.example:5000", &folders).unwrap_err();
        assert!(error.to_string().contains("client"), "{error}");
    }
}
