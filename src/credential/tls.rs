//! TLS for the connections that rbake makes itself: the system's roots, and the certificates in `certs.d` for one
//! registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::Error;
use super::host::RegistryHost;
use crate::types::Environment;
use crate::types::regular::read_regular;

/// The largest certificate file that is read, in bytes. A whole system's collection is smaller.
const FILE_LIMIT: u64 = 4 << 20;

/// The most entries of a folder that are looked at.
const ENTRIES: usize = 10_000;

/// The cryptography of all TLS connections.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The system's root certificates. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them.
///
/// Certificates that cannot be read or parsed are skipped, as in OpenSSL: a single odd file in the system's folder
/// must not break all connections.
pub(crate) fn system_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store
}

/// The subfolders for `host` in `folders`. Found by comparing names, so that a text from the daemon never becomes a
/// path. Blocking.
pub(super) fn folders_of(host: &RegistryHost, folders: &[PathBuf]) -> Vec<PathBuf> {
    let is_of_host = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.as_encoded_bytes() == host.as_str().as_bytes())
            && path.is_dir()
    };
    folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.take(ENTRIES).flatten())
        .map(|entry| entry.path())
        .filter(is_of_host)
        .collect()
}

/// The TLS configuration for `host`: the system's roots, and the certificates and keys in its own `folders`.
/// Blocking.
pub(super) fn client_config(
    host: &RegistryHost,
    folders: &[PathBuf],
) -> Result<ClientConfig, Error> {
    let mut roots = system_roots();
    let mut identity = None;
    for folder in folders {
        let folder = read(folder)?;
        roots.add_parsable_certificates(folder.roots);
        identity = identity.or(folder.identity);
    }
    let certificates = |message: String| Error::Certificates {
        path: host.to_string(),
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

/// Makes `config` accept any certificate, as Go's `InsecureSkipVerify` does. The server must still have the key of the
/// certificate that it shows.
pub(super) fn skip_certificate_check(config: &mut ClientConfig) {
    let any = AnyCertificate(crypto().signature_verification_algorithms);
    config.dangerous().set_certificate_verifier(Arc::new(any));
}

#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The folders with one subfolder per registry: the user's, then the system's.
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

/// Reads a registry's folder: `*.crt` are roots, and `x.cert` with `x.key` is our own certificate (Docker's
/// documentation, "Verify repository client with certificates").
fn read(folder: &Path) -> Result<Folder, Error> {
    let mut found = Folder::default();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(found);
    };
    let mut paths: Vec<PathBuf> = entries
        .take(ENTRIES)
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.roots.extend(certificates(&path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                let bad = |error: rustls_pki_types::pem::Error| unusable(&key, &error.to_string());
                let secret = PrivateKeyDer::from_pem_slice(&content(&key)?).map_err(bad)?;
                found.identity = Some((certificates(&path)?, secret));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(&content(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &error.to_string()))
}

fn content(path: &Path) -> Result<Vec<u8>, Error> {
    read_regular(path, FILE_LIMIT).map_err(|error| unusable(path, &error.to_string()))
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

    fn config(host: &str, dir: &Path) -> Result<ClientConfig, Error> {
        let host = RegistryHost::parse(host).unwrap();
        client_config(&host, &folders_of(&host, &[dir.to_owned()]))
    }

    #[test]
    fn a_missing_folder_is_accepted_and_a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(config("r.example:5000", dir.path()).is_ok());
        let folder = dir.path().join("r.example:5000");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("client.cert"), "no certificate").unwrap();
        let error = config("r.example:5000", dir.path()).unwrap_err();
        assert!(error.to_string().contains("client"), "{error}");
        assert!(config("r.example", dir.path()).is_ok());
    }

    #[test]
    fn only_regular_files_of_limited_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("r.example");
        std::fs::create_dir(&folder).unwrap();
        let fifo = folder.join("ca.crt");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let error = config("r.example", dir.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        std::fs::remove_file(&fifo).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &fifo).unwrap();
        assert!(config("r.example", dir.path()).is_err());
        std::fs::remove_file(&fifo).unwrap();
        let large = std::fs::File::create(&fifo).unwrap();
        large.set_len(FILE_LIMIT + 1).unwrap();
        let error = config("r.example", dir.path()).unwrap_err().to_string();
        assert!(error.contains("larger than"), "{error}");
    }
}
