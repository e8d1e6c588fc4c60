//! Addresses of BuildKit daemons, as a user writes them, with the files that TLS needs.
//!
//! This module does not know how to connect (see `transport`) or where addresses come from (see `builder`). Start at
//! [`Endpoint`].

mod command;
mod pod;
mod ssh;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use command::CommandEndpoint;
pub(crate) use pod::is_name as is_kubernetes_name;
pub use pod::{ClusterAccess, PodEndpoint};
pub use ssh::SshPlace;

/// The address of a BuildKit daemon and the way to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A daemon's unix socket.
    Unix(PathBuf),
    /// A daemon's TCP port, with or without TLS.
    Tcp {
        /// Host and port.
        address: Address,
        /// Set if the connection uses TLS.
        tls: Option<TlsMaterial>,
    },
    /// The BuildKit inside a Docker Engine, reached through the Engine's address.
    Docker(DockerHost),
    /// A daemon in a container of a Docker Engine, reached by running `buildctl dial-stdio` in the container.
    DockerContainer {
        /// The container's name or id.
        container: String,
        /// The Engine that runs the container.
        host: DockerHost,
    },
    /// A daemon that is reached through a program, such as `ssh`.
    Command(CommandEndpoint),
    /// A daemon in a pod of a Kubernetes cluster.
    Pod(Box<PodEndpoint>),
}

/// The address of a Docker Engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DockerHost {
    /// The Engine's unix socket.
    Unix(PathBuf),
    /// The Engine's TCP port, with or without TLS.
    Tcp {
        /// Host and port.
        address: Address,
        /// Set if the connection uses TLS.
        tls: Option<TlsMaterial>,
    },
    /// An Engine on another machine, reached with `ssh`.
    Ssh(SshPlace),
}

/// A host (a name or an IP address) and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an IP address; an IPv6 address has no brackets here.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Files and names for TLS. The files are read when the connection is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsMaterial {
    /// Certificate authorities to trust, PEM. `None` means the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain, PEM. Needs `key`.
    pub cert: Option<PathBuf>,
    /// The client's private key, PEM. Needs `cert`.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must be valid for. `None` means the host's.
    pub servername: Option<String>,
}

impl TlsMaterial {
    /// Whether no field is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a text is not the address of a BuildKit daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The text has no `scheme://`.
    #[error(
        "`{0}` is not a builder address (expected `unix:///path/to/socket` or `tcp://host:port`)"
    )]
    NoScheme(String),
    /// The scheme is one that rbake does not support.
    #[error("cannot reach `{address}`: the scheme `{scheme}` is not supported here (supported: {})", .supported.join(", "))]
    Scheme {
        /// The scheme, without `://`.
        scheme: String,
        /// The whole address, without credentials.
        address: String,
        /// The schemes that are supported here.
        supported: &'static [&'static str],
    },
    /// The socket is not named by an absolute path.
    #[error(
        "`{0}` does not name a socket by its absolute path (expected `unix:///path/to/socket`)"
    )]
    Path(String),
    /// The host or the port is missing.
    #[error("`{0}` does not name a host and a port (expected `tcp://host:port`)")]
    HostPort(String),
    /// No container is named, or the text has more than a container's name.
    #[error("`{0}` does not name a container (expected `docker-container://name`)")]
    Container(String),
    /// No pod is named, or a name is not one of Kubernetes.
    #[error(
        "`{0}` does not name a pod (expected `kube-pod://name[?context=…&namespace=…&container=…]`)"
    )]
    Pod(String),
    /// The address of a daemon that is reached with ssh is not valid.
    #[error(
        "`{0}` is not a valid address for ssh (expected `ssh://[user@]host[:port][/path/to/socket]`)"
    )]
    Ssh(String),
}

const SCHEMES: &[&str] = &[
    "unix",
    "tcp",
    "docker-container",
    "podman-container",
    "nerdctl-container",
    "kube-pod",
    "ssh",
];
const DOCKER_SCHEMES: &[&str] = &["unix", "tcp", "ssh"];

/// The socket of a Docker Engine, unless another address is given.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

impl Endpoint {
    /// Whether the daemon runs on this machine, as far as the address shows. If so, compressing the data that we send
    /// would waste time.
    pub(crate) fn is_local(&self) -> bool {
        let loopback = |address: &Address| {
            address.host == "localhost"
                || address
                    .host
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        };
        match self {
            Self::Unix(_) => true,
            Self::Tcp { address, .. } => loopback(address),
            Self::Docker(host) | Self::DockerContainer { host, .. } => match host {
                DockerHost::Unix(_) => true,
                DockerHost::Tcp { address, .. } => loopback(address),
                DockerHost::Ssh(_) => false,
            },
            Self::Command(endpoint) => endpoint.is_local(),
            // Also one that runs on this machine is reached through its API server.
            Self::Pod(_) => false,
        }
    }

    /// The same endpoint with TLS by `material`. Changes nothing unless this is a TCP port and `material` is not
    /// empty.
    #[must_use]
    pub(crate) fn with_tls(self, material: TlsMaterial) -> Self {
        match self {
            Self::Tcp { address, .. } if !material.is_empty() => Self::Tcp {
                address,
                tls: Some(material),
            },
            other => other,
        }
    }
}

impl Endpoint {
    /// The address of the Docker Engine that might listen here. `None` for a daemon in a container or behind a program.
    pub(crate) fn as_docker(&self) -> Option<DockerHost> {
        match self {
            Self::Unix(path) => Some(DockerHost::Unix(path.clone())),
            Self::Tcp { address, tls } => Some(DockerHost::Tcp {
                address: address.clone(),
                tls: tls.clone(),
            }),
            Self::Docker(host) => Some(host.clone()),
            Self::DockerContainer { .. } | Self::Command(_) | Self::Pod(_) => None,
        }
    }
}

/// Splits an address into its scheme and the rest after `://`.
fn split(text: &str) -> Result<(&str, &str), InvalidEndpoint> {
    text.split_once("://")
        .filter(|(scheme, _)| !scheme.is_empty())
        .ok_or_else(|| InvalidEndpoint::NoScheme(without_user(text)))
}

/// Hides the user and password of an address that has no scheme, `user:password@host`.
fn without_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, host)) => format!("xxxxx:xxxxx@{host}"),
        None => text.to_owned(),
    }
}

fn unsupported(scheme: &str, text: &str, supported: &'static [&'static str]) -> InvalidEndpoint {
    InvalidEndpoint::Scheme {
        scheme: scheme.to_owned(),
        address: crate::types::secret::redact_url(text),
        supported,
    }
}

fn socket(text: &str, rest: &str) -> Result<PathBuf, InvalidEndpoint> {
    let path = PathBuf::from(rest);
    if path.is_absolute() && !rest.ends_with('/') {
        Ok(path)
    } else {
        Err(InvalidEndpoint::Path(crate::types::secret::redact_url(
            text,
        )))
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = split(text)?;
        match scheme {
            "unix" => Ok(Self::Unix(socket(text, rest)?)),
            "tcp" => Ok(Self::Tcp {
                address: tcp(text, rest)?,
                tls: None,
            }),
            "docker-container" => {
                let name = rest.split(['?', '/']).next().unwrap_or_default();
                if name.is_empty() || name != rest {
                    return Err(InvalidEndpoint::Container(text.to_owned()));
                }
                Ok(Self::DockerContainer {
                    container: name.to_owned(),
                    host: DockerHost::default(),
                })
            }
            "kube-pod" => Ok(Self::Pod(Box::new(PodEndpoint::parse(text, rest)?))),
            _ => match CommandEndpoint::parse(scheme, text, rest) {
                Some(endpoint) => endpoint.map(Self::Command),
                None => Err(unsupported(scheme, text, SCHEMES)),
            },
        }
    }
}

impl Default for DockerHost {
    fn default() -> Self {
        Self::Unix(PathBuf::from(DOCKER_SOCKET))
    }
}

impl DockerHost {
    /// The arguments with which `ssh` connects to the Engine at `place`. They are those of docker (docker/cli
    /// `cli/connhelper`), which the other machine needs.
    pub(super) fn ssh_arguments(place: &SshPlace) -> Vec<String> {
        let mut remote = vec!["docker".to_owned()];
        remote.extend(place.socket().map(|socket| format!("--host={socket}")));
        remote.extend(["system".to_owned(), "dial-stdio".to_owned()]);
        place.command(&["-o ConnectTimeout=30", "-T"], &remote)
    }
}

impl FromStr for DockerHost {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = split(text)?;
        match scheme {
            "unix" => Ok(Self::Unix(socket(text, rest)?)),
            "tcp" | "http" => Ok(Self::Tcp {
                address: tcp(text, rest)?,
                tls: None,
            }),
            "ssh" => SshPlace::parse(text, rest).map(Self::Ssh),
            _ => Err(unsupported(scheme, text, DOCKER_SCHEMES)),
        }
    }
}

/// Parses a host and a port; one slash may follow.
fn tcp(text: &str, rest: &str) -> Result<Address, InvalidEndpoint> {
    rest.strip_suffix('/')
        .unwrap_or(rest)
        .parse()
        .map_err(|()| InvalidEndpoint::HostPort(crate::types::secret::redact_url(text)))
}

impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let number = rest.strip_suffix(']').ok_or(())?;
                number.parse::<std::net::Ipv6Addr>().map_err(drop)?;
                number
            }
            None => host,
        };
        let strange = |c: char| c.is_whitespace() || c.is_control() || "/?#@[]".contains(c);
        let bare_v6 = text.matches(':').count() > 1 && !text.starts_with('[');
        if host.is_empty() || host.contains(strange) || bare_v6 {
            return Err(());
        }
        let port = port.parse().map_err(drop)?;
        if port == 0 {
            return Err(());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
            Self::Ssh(place) => place.fmt(f),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
            Self::Docker(host) => host.fmt(f),
            Self::DockerContainer { container, .. } => write!(f, "docker-container://{container}"),
            Self::Command(endpoint) => endpoint.fmt(f),
            Self::Pod(endpoint) => endpoint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("unix:///run/buildkit/buildkitd.sock")]
    #[test_case("tcp://127.0.0.1:1234")]
    #[test_case("tcp://[::1]:1234")]
    #[test_case("tcp://build.example.com:8372")]
    #[test_case("docker-container://buildx_buildkit_default0")]
    #[test_case("ssh://me@far:22/run/b.sock")]
    fn an_address_is_shown_as_it_was_written(text: &str) {
        assert_eq!(
            text.parse::<Endpoint>().map(|e| e.to_string()),
            Ok(text.to_owned())
        );
    }

    #[test_case("/run/x.sock", "expected `unix:///path/to/socket`"; "no scheme")]
    #[test_case("unix://run/x.sock", "absolute path"; "relative socket")]
    #[test_case("unix:///", "absolute path"; "a directory")]
    #[test_case("tcp://host", "a host and a port"; "no port")]
    #[test_case("tcp://:1234", "a host and a port"; "no host")]
    #[test_case("tcp://::1:1234", "a host and a port"; "bare ipv6")]
    #[test_case("tcp://h:0", "a host and a port"; "port zero")]
    #[test_case("tcp://u:p@h:1/x", "a host and a port"; "credentials")]
    #[test_case("ssh://me:p@host", "not a valid address for ssh"; "ssh with a password")]
    #[test_case("npipe:////./pipe/x", "the scheme `npipe` is not supported"; "a pipe")]
    #[test_case("docker-container://", "does not name a container"; "no container")]
    fn errors_say_what_is_wrong(text: &str, expected: &str) {
        let message = text.parse::<Endpoint>().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("u:p"), "{message}");
    }

    #[test]
    fn local_endpoints_are_recognised() {
        let local = |text: &str| text.parse::<Endpoint>().map(|e| e.is_local());
        assert_eq!(local("unix:///x"), Ok(true));
        assert_eq!(local("tcp://127.0.0.1:1"), Ok(true));
        assert_eq!(local("tcp://[::1]:1"), Ok(true));
        assert_eq!(local("tcp://10.0.0.1:1"), Ok(false));
    }
}
