//! Where a registry is, and how it is reached.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use reqwest::Url;

use crate::types::ImageRepository;
use crate::types::reference::DOCKER_HUB;

/// The host that answers for `docker.io` (BuildKit, `util/resolver/resolver.go`).
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// Whether the user allows an unprotected connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RegistrySecurity {
    /// HTTPS with a valid certificate; plain HTTP only for registries on this machine.
    Required,
    /// BuildKit's `registry.insecure=true`: HTTPS with any certificate, and plain HTTP if the registry does not
    /// speak TLS.
    Waived,
}

/// The protocol of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RegistryProtocol {
    /// HTTPS, and the certificate is checked.
    Https,
    /// Plain HTTP.
    Http,
    /// HTTPS without a check of the certificate, or else plain HTTP.
    Either,
}

/// The address of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryAddress {
    host: String,
    protocol: RegistryProtocol,
}

impl RegistryAddress {
    /// The address of the registry that has `repository`.
    pub(crate) fn of(repository: &ImageRepository, security: RegistrySecurity) -> Self {
        let host = match repository.domain() {
            DOCKER_HUB => DOCKER_HUB_HOST,
            domain => domain,
        };
        let protocol = match security {
            RegistrySecurity::Waived => RegistryProtocol::Either,
            RegistrySecurity::Required if is_this_machine(host) => RegistryProtocol::Http,
            RegistrySecurity::Required => RegistryProtocol::Https,
        };
        Self {
            host: host.to_owned(),
            protocol,
        }
    }

    /// The address of the server at `url`. `None` if `url` is not an address of a server, or if the connection would not
    /// be protected although the server is not on this machine and `security` requires it.
    pub(super) fn of_server(url: &Url, security: RegistrySecurity) -> Option<Self> {
        let host = url.host_str()?;
        let protocol = match (url.scheme(), security) {
            ("https" | "http", RegistrySecurity::Waived) => RegistryProtocol::Either,
            ("https", RegistrySecurity::Required) => RegistryProtocol::Https,
            ("http", RegistrySecurity::Required) if is_this_machine(host) => RegistryProtocol::Http,
            _ => return None,
        };
        Some(Self {
            host: match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            },
            protocol,
        })
    }

    /// Host, and port if there is one.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn protocol(&self) -> RegistryProtocol {
        self.protocol
    }

    /// Whether the registry is on this machine.
    pub(super) fn is_this_machine(&self) -> bool {
        is_this_machine(&self.host)
    }

    /// Whether the address has a port. Then it cannot mean a server on the default port of another protocol.
    pub(super) fn has_port(&self) -> bool {
        split_port(&self.host).1.is_some()
    }
}

/// Whether `host` is `localhost` or a loopback address, with any port (containerd, `MatchLocalhost` in
/// `core/remotes/docker/registry.go`).
pub(crate) fn is_this_machine(host: &str) -> bool {
    let (name, _) = split_port(host);
    name == "localhost"
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

/// The host without brackets, and the port.
fn split_port(host: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':'));
    }
    match host.split_once(':') {
        // Several colons without brackets: an IPv6 address.
        Some((_, port)) if port.contains(':') => (host, None),
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    }
}

/// Which protocol a registry speaks that may speak either. It is decided once.
#[derive(Debug, Default)]
pub(super) struct SpokenProtocol(AtomicU8);

impl SpokenProtocol {
    // The default of an atomic number.
    const UNKNOWN: u8 = 0;
    pub(super) const HTTPS: u8 = 1;
    pub(super) const HTTP: u8 = 2;

    /// Records `protocol`, unless another one was recorded before. Returns the recorded one.
    pub(super) fn settle(&self, protocol: u8) -> u8 {
        let order = Ordering::Relaxed;
        self.0
            .compare_exchange(Self::UNKNOWN, protocol, order, order)
            .map_or_else(|known| known, |_| protocol)
    }

    pub(super) fn is_http(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::HTTP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn address(image: &str, security: RegistrySecurity) -> RegistryAddress {
        let reference = image.parse().unwrap();
        RegistryAddress::of(&ImageRepository::of(&reference), security)
    }

    #[test_case("alpine", "registry-1.docker.io", RegistryProtocol::Https; "docker hub")]
    #[test_case("ghcr.io/a/b", "ghcr.io", RegistryProtocol::Https; "other")]
    #[test_case("localhost/a", "localhost", RegistryProtocol::Http; "localhost")]
    #[test_case("localhost:5000/a", "localhost:5000", RegistryProtocol::Http; "localhost with port")]
    #[test_case("127.8.8.8:1/a", "127.8.8.8:1", RegistryProtocol::Http; "loopback")]
    #[test_case("[::1]/a", "[::1]", RegistryProtocol::Http; "ipv6")]
    #[test_case("[::1]:5000/a", "[::1]:5000", RegistryProtocol::Http; "ipv6 with port")]
    #[test_case("10.0.0.1:5000/a", "10.0.0.1:5000", RegistryProtocol::Https; "private network")]
    #[test_case("localhost.example/a", "localhost.example", RegistryProtocol::Https; "only a prefix")]
    fn plain_http_is_for_this_machine_only(image: &str, host: &str, protocol: RegistryProtocol) {
        let address = address(image, RegistrySecurity::Required);
        assert_eq!((address.host(), address.protocol()), (host, protocol));
    }

    #[test]
    fn an_insecure_registry_may_speak_either_protocol() {
        for image in ["localhost:5000/a", "h.example/a"] {
            let address = address(image, RegistrySecurity::Waived);
            assert_eq!(address.protocol(), RegistryProtocol::Either);
        }
        let has_port = |image| address(image, RegistrySecurity::Waived).has_port();
        assert!(has_port("h:1/a") && has_port("[::1]:1/a"));
        assert!(!has_port("h.example/a") && !has_port("[::1]/a"));
    }
}
