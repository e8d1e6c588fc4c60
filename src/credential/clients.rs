//! HTTP clients for token servers: one shared by most registries, and one for each registry that has its own
//! certificates. Also makes the clients for the registries themselves.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Url};
use tokio::sync::Mutex;

use super::host::RegistryHost;
use super::{Error, tls};
use crate::types::blocking::unblock;

/// The time limit of one request to a token server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limit for reading certificates: the folder may be on a network disk that does not answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The most redirects that are followed in a row.
const REDIRECTS: usize = 5;

/// The properties of a client for a registry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegistryClientSpec {
    /// Accepts any certificate.
    pub(crate) skips_certificate_check: bool,
    /// Ignores the proxies in the environment, as Go does for addresses of this machine.
    pub(crate) skips_proxies: bool,
    /// The time limit for connecting, with the TLS handshake.
    pub(crate) connect_timeout: Duration,
}

/// HTTP clients, created on first use.
#[derive(Debug)]
pub(super) struct Clients {
    folders: Arc<Vec<PathBuf>>,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    // Shared by all registries without their own certificates. The daemon chooses the registries, and must not be
    // able to make us create a client for each name.
    common: Option<Client>,
    own: HashMap<RegistryHost, Client>,
}

impl Clients {
    /// Clients with certificates from `folders`. Each of them has one subfolder per registry.
    pub(super) fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            folders: Arc::new(folders),
            made: Mutex::default(),
        }
    }

    /// Returns the client for the token servers of the registry `host`.
    pub(super) async fn of(&self, host: &RegistryHost) -> Result<Client, Error> {
        let mut made = self.made.lock().await;
        if let Some(client) = made.own.get(host) {
            return Ok(client.clone());
        }
        let (folders, name) = (Arc::clone(&self.folders), host.clone());
        let common = made.common.clone();
        let make = move || -> Result<(Client, bool), Error> {
            let own = tls::folders_of(&name, &folders);
            match common {
                Some(client) if own.is_empty() => Ok((client, false)),
                _ => Ok((
                    client(tls::client_config(&name, &own)?, &name)?,
                    !own.is_empty(),
                )),
            }
        };
        let (client, is_own) = in_time(host, make).await?;
        if is_own {
            made.own.insert(host.clone(), client.clone());
        } else {
            made.common = Some(client.clone());
        }
        Ok(client)
    }

    /// Makes a client for requests to the registry `host` itself, with the same certificates. It follows no
    /// redirects, and has no time limit for a whole request.
    pub(super) async fn for_registry(
        &self,
        host: &RegistryHost,
        spec: RegistryClientSpec,
    ) -> Result<Client, Error> {
        let (folders, name) = (Arc::clone(&self.folders), host.clone());
        let make = move || {
            let own = tls::folders_of(&name, &folders);
            registry_client(tls::client_config(&name, &own)?, &name, spec)
        };
        in_time(host, make).await
    }
}

/// Runs `make`, which reads the certificates for `host`.
async fn in_time<T: Send + 'static>(
    host: &RegistryHost,
    make: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::time::timeout(READ_TIMEOUT, unblock(make)).await {
        Ok(made) => made,
        Err(_) => Err(Error::Certificates {
            path: host.to_string(),
            message: format!("they could not be read within {} s", READ_TIMEOUT.as_secs()),
        }),
    }
}

fn client(config: rustls::ClientConfig, host: &RegistryHost) -> Result<Client, Error> {
    let builder = builder(config)
        .redirect(redirects())
        .timeout(REQUEST_TIMEOUT);
    built(builder, host)
}

fn registry_client(
    mut config: rustls::ClientConfig,
    host: &RegistryHost,
    spec: RegistryClientSpec,
) -> Result<Client, Error> {
    if spec.skips_certificate_check {
        tls::skip_certificate_check(&mut config);
    }
    // reqwest does not add the protocols to a configuration that it did not make.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut builder = builder(config)
        .redirect(Policy::none())
        .connect_timeout(spec.connect_timeout);
    if spec.skips_proxies {
        builder = builder.no_proxy();
    }
    built(builder, host)
}

fn builder(config: rustls::ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(config)
        .user_agent(concat!("rbake/", env!("CARGO_PKG_VERSION")))
}

fn built(builder: ClientBuilder, host: &RegistryHost) -> Result<Client, Error> {
    builder.build().map_err(|error| Error::Exchange {
        realm: host.to_string(),
        source: Box::new(error),
    })
}

/// A policy that follows redirects only within the first server (same scheme, host and port), because the request
/// contains the user's password.
pub(super) fn redirects() -> Policy {
    let follow = |attempt: Attempt<'_>| {
        let same = attempt
            .previous()
            .first()
            .is_some_and(|first| is_same_server(first, attempt.url()));
        if same && attempt.previous().len() < REDIRECTS {
            attempt.follow()
        } else {
            attempt.stop()
        }
    };
    Policy::custom(follow)
}

fn is_same_server(one: &Url, other: &Url) -> bool {
    let place = |url: &Url| {
        let host = url.host_str().map(str::to_owned);
        (url.scheme().to_owned(), host, url.port_or_known_default())
    };
    place(one) == place(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("https://h/a", "https://h/b" => true)]
    #[test_case("https://h/a", "https://h:443/b" => true; "the default port")]
    #[test_case("https://h/a", "http://h/b" => false; "another scheme")]
    #[test_case("http://h/a", "https://h/b" => false; "a better scheme on another port")]
    #[test_case("https://h/a", "https://h:8443/b" => false; "another port")]
    #[test_case("http://h:443/a", "https://h:443/b" => false; "the port of another scheme")]
    #[test_case("https://h/a", "https://h.example/a" => false; "another host")]
    fn a_redirect_stays_at_the_same_server(from: &str, to: &str) -> bool {
        is_same_server(&from.parse().unwrap(), &to.parse().unwrap())
    }

    #[tokio::test]
    async fn registries_without_certificates_share_a_client() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("own.example:5000");
        std::fs::create_dir(&folder).unwrap();
        let clients = Clients::new(vec![dir.path().to_owned()]);
        for name in ["a.example", "b.example", "own.example:5000"] {
            assert!(
                clients
                    .of(&RegistryHost::parse(name).unwrap())
                    .await
                    .is_ok()
            );
        }
        let made = clients.made.lock().await;
        assert!(made.common.is_some());
        assert_eq!(made.own.len(), 1);
    }
}
