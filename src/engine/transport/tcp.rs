//! TCP ports, with or without TLS (by rustls).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;

use super::{BoxedStream, DialError};
use crate::engine::endpoint::{Address, TlsMaterial};
use crate::types::blocking::unblock;
use crate::types::descriptors;
use crate::types::regular::read_regular;

/// The largest file of certificates or keys that is read, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// BuildKit's server closes connections on which HTTP/2 pings come often, so the kernel must detect a dead link.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 4;

/// Connects to `address`. `name` is the address for error messages, `protocols` the list that ALPN offers.
pub(super) async fn dial(
    address: &Address,
    tls: Option<&TlsMaterial>,
    name: &str,
    protocols: &[&[u8]],
) -> Result<BoxedStream, DialError> {
    let config = match tls {
        Some(tls) => Some(read_config(tls, name, protocols).await?),
        None => None,
    };
    let connect = |source| DialError::Connect {
        endpoint: name.to_owned(),
        source,
    };
    let open = || TcpStream::connect((address.host.as_str(), address.port));
    let stream = descriptors::patiently_async(open).await.map_err(connect)?;
    keep_alive(&stream).map_err(connect)?;
    let (Some(config), Some(tls)) = (config, tls) else {
        return Ok(Box::new(stream));
    };
    let host = tls.servername.as_ref().unwrap_or(&address.host);
    let server = ServerName::try_from(host.clone())
        .map_err(|_| DialError::ServerName { name: host.clone() })?;
    // A server that chooses no protocol may still speak HTTP/2; the first call will show it.
    match tokio_rustls::TlsConnector::from(config)
        .connect(server, stream)
        .await
    {
        Ok(stream) => Ok(Box::new(stream)),
        Err(source) => Err(DialError::Handshake {
            endpoint: name.to_owned(),
            source: in_plain_words(source),
        }),
    }
}

/// Whether the server on `stream` speaks TLS: it sends a certificate, which is never trusted here, or an alert.
pub(super) async fn speaks_tls(stream: BoxedStream) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let Ok(builder) = builder.with_safe_default_protocol_versions() else {
        return false;
    };
    let config = builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let Ok(server) = ServerName::try_from("localhost") else {
        return false;
    };
    match tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
    {
        Ok(_) => true,
        Err(error) => matches!(
            tls_error(&error),
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
        ),
    }
}

/// The error of rustls inside an I/O error.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Describes a TLS error by what the user can change. The messages of rustls name its own types.
fn in_plain_words(error: io::Error) -> io::Error {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate};
    let text = match tls_error(&error) {
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            Certificate::UnknownIssuer => {
                "its certificate was not issued by a trusted CA".to_owned()
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "its certificate is not valid yet".to_owned()
            }
            Certificate::NotValidForName => "its certificate is for another name".to_owned(),
            Certificate::NotValidForNameContext {
                expected,
                presented,
            } => format!(
                "its certificate is not for `{}`, but for {}",
                expected.to_str(),
                names(presented)
            ),
            other => format!("its certificate cannot be used: {other}"),
        },
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            Alert::CertificateRequired => "it requires a client certificate".to_owned(),
            Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::CertificateExpired => {
                format!("it refuses the client's certificate ({alert:?})")
            }
            other => format!("it ended the handshake ({other:?})"),
        },
        _ if error.kind() == io::ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// Lists the names of a certificate, which rustls gives as `DnsName("a.example")`, without characters that could
/// steer a terminal. Lists four names at most.
fn names(presented: &[String]) -> String {
    let plain = |name: &String| {
        let name = name
            .split_once('"')
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or(name.as_str(), |(name, _)| name);
        let name: String = name
            .chars()
            .filter(char::is_ascii_graphic)
            .take(80)
            .collect();
        format!("`{name}`")
    };
    match presented {
        [] => "no name".to_owned(),
        some => some
            .iter()
            .take(4)
            .map(plain)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Reads the files on a thread for blocking work: they are on a disk, and the system has many trusted certificates.
async fn read_config(
    tls: &TlsMaterial,
    name: &str,
    protocols: &[&[u8]],
) -> Result<Arc<rustls::ClientConfig>, DialError> {
    let (tls, name) = (tls.clone(), name.to_owned());
    let protocols: Vec<Vec<u8>> = protocols.iter().map(|p| p.to_vec()).collect();
    unblock(move || client_config(&tls, &name, protocols)).await
}

fn client_config(
    tls: &TlsMaterial,
    name: &str,
    protocols: Vec<Vec<u8>>,
) -> Result<Arc<rustls::ClientConfig>, DialError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let material = |path: &Path, error: rustls::Error| DialError::Material {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| DialError::Handshake {
            endpoint: name.to_owned(),
            source: io::Error::other(error),
        })?
        .with_root_certificates(roots(tls.ca.as_deref())?);
    let mut config = match (&tls.cert, &tls.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| material(cert, error))?,
        (cert, _) => {
            let (has, lacks) = match cert {
                Some(_) => ("a certificate", "its key"),
                None => ("a key", "its certificate"),
            };
            return Err(DialError::HalfIdentity {
                endpoint: name.to_owned(),
                has,
                lacks,
            });
        }
    };
    config.alpn_protocols = protocols;
    Ok(Arc::new(config))
}

/// The trusted certificates: those in `ca`, or the system's. The system's come from `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` if these are set, otherwise from the place where the system keeps them.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, DialError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            store
                .add(certificate)
                .map_err(|error| DialError::Material {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })?;
        }
        return Ok(store);
    }
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(DialError::NoRoots);
    }
    Ok(store)
}

/// Explains why a PEM file cannot be used.
fn unusable(path: &Path) -> impl Fn(rustls_pki_types::pem::Error) -> DialError {
    move |error| DialError::Material {
        path: path.to_owned(),
        reason: match error {
            rustls_pki_types::pem::Error::NoItemsFound => {
                "it has no certificate or key in PEM form".to_owned()
            }
            rustls_pki_types::pem::Error::Io(error) => error.to_string(),
            other => format!("it is not PEM ({other})"),
        },
    }
}

/// Reads a file, but not a pipe. Each dial reads the files again, so a pipe would be empty the second time, and
/// waiting for it would look like a silent builder.
fn content(path: &Path) -> Result<Vec<u8>, DialError> {
    read_regular(path, FILE_LIMIT).map_err(|error| DialError::Material {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&content(path)?)
        .collect::<Result<_, _>>()
        .map_err(unusable(path))?;
    if found.is_empty() {
        return Err(unusable(path)(rustls_pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, DialError> {
    PrivateKeyDer::from_pem_slice(&content(path)?).map_err(unusable(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tls: &TlsMaterial) -> Result<Arc<rustls::ClientConfig>, DialError> {
        client_config(tls, "tcp://h:1", vec![b"h2".to_vec()])
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let tls = TlsMaterial {
            cert: Some("/c/cert.pem".into()),
            ..TlsMaterial::default()
        };
        assert_eq!(
            config(&tls).unwrap_err().to_string(),
            "TLS to `tcp://h:1` has a certificate without its key"
        );
    }

    #[test]
    fn names_in_certificates_are_shown_in_plain_form() {
        assert_eq!(
            names(&["DnsName(\"a.example\")".into(), "IpAddress(::1)".into()]),
            "`a.example`, `IpAddress(::1)`"
        );
        assert_eq!(names(&[]), "no name");
    }

    #[test]
    fn the_error_names_a_file_without_a_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, "nothing").unwrap();
        let tls = TlsMaterial {
            ca: Some(ca),
            ..TlsMaterial::default()
        };
        let message = config(&tls).unwrap_err().to_string();
        assert!(
            message.contains("ca.pem") && message.contains("no certificate or key"),
            "{message}"
        );
    }

    #[test]
    fn the_error_names_a_pipe_instead_of_reading_it() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let made = std::process::Command::new("mkfifo").arg(&ca).status();
        assert!(made.unwrap().success());
        let tls = TlsMaterial {
            ca: Some(ca),
            ..TlsMaterial::default()
        };
        let message = config(&tls).unwrap_err().to_string();
        assert!(
            message.contains("ca.pem") && message.contains("not a regular file"),
            "{message}"
        );
    }

    #[test]
    fn the_error_names_a_missing_file() {
        let tls = TlsMaterial {
            ca: Some("/nonexistent/ca.pem".into()),
            ..TlsMaterial::default()
        };
        let message = config(&tls).unwrap_err().to_string();
        assert!(
            message.contains("/nonexistent/ca.pem") && message.contains("No such file"),
            "{message}"
        );
    }
}
