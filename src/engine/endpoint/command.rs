//! Addresses of daemons that are reached through a program: `podman`, `nerdctl` or `ssh`, which runs `buildctl dial-stdio`
//! next to the daemon.
//!
//! The addresses and the command lines are those of BuildKit's connection helpers (`client/connhelper/` at v0.32.2). How the
//! program is run is in `transport`. Start at [`CommandEndpoint::parse`].

use std::fmt;

use super::InvalidEndpoint;
use super::ssh::{SshPlace, is_plain};
use crate::types::secret::redact_url;

/// A daemon that is reached through a program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CommandEndpoint {
    /// In a container of podman.
    Podman {
        /// The container's name or id.
        container: String,
    },
    /// In a container of containerd.
    Nerdctl {
        /// The container's name or id.
        container: String,
        /// containerd's namespace. `None` for nerdctl's default.
        namespace: Option<String>,
    },
    /// On another machine.
    Ssh(SshPlace),
}

impl CommandEndpoint {
    /// Parses `text`, whose scheme is `scheme`, followed by `rest`. `None` if it is the scheme of no program.
    pub(super) fn parse(
        scheme: &str,
        text: &str,
        rest: &str,
    ) -> Option<Result<Self, InvalidEndpoint>> {
        match scheme {
            "podman-container" => Some(in_podman(text, rest)),
            "nerdctl-container" => Some(in_nerdctl(text, rest)),
            "ssh" => Some(SshPlace::parse(text, rest).map(Self::Ssh)),
            _ => None,
        }
    }

    /// The program, and its arguments.
    pub(crate) fn command(&self) -> (&'static str, Vec<String>) {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Podman { container } => (
                "podman",
                words(&["exec", "-i", container, "buildctl", "dial-stdio"]),
            ),
            Self::Nerdctl {
                container,
                namespace,
            } => {
                let mut all: Vec<String> = words(&["exec"]);
                if let Some(namespace) = namespace {
                    all.extend(["--namespace".to_owned(), namespace.clone()]);
                }
                all.extend::<Vec<String>>(words(&["-i", container, "buildctl", "dial-stdio"]));
                ("nerdctl", all)
            }
            Self::Ssh(place) => {
                let mut remote = words(&["buildctl"]);
                if let Some(socket) = place.socket() {
                    remote.extend(["--addr".to_owned(), socket]);
                }
                remote.push("dial-stdio".to_owned());
                ("ssh", place.command(&[], &remote))
            }
        }
    }

    /// Whether the daemon runs on this machine.
    pub(super) fn is_local(&self) -> bool {
        !matches!(self, Self::Ssh(_))
    }

    /// Whether the daemon runs in a container.
    pub(crate) fn is_in_container(&self) -> bool {
        !matches!(self, Self::Ssh(_))
    }
}

fn in_podman(text: &str, rest: &str) -> Result<CommandEndpoint, InvalidEndpoint> {
    let container = container(text, rest)?;
    Ok(CommandEndpoint::Podman { container })
}

fn in_nerdctl(text: &str, rest: &str) -> Result<CommandEndpoint, InvalidEndpoint> {
    let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
    let namespace = url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, value)| key == "namespace" && !value.is_empty())
        .map(|(_, value)| value.into_owned());
    if namespace.as_deref().is_some_and(|name| !is_plain(name)) {
        return Err(InvalidEndpoint::Container(redact_url(text)));
    }
    Ok(CommandEndpoint::Nerdctl {
        container: container(text, name)?,
        namespace,
    })
}

fn container(text: &str, name: &str) -> Result<String, InvalidEndpoint> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if is_plain(name) {
        Ok(name.to_owned())
    } else {
        Err(InvalidEndpoint::Container(redact_url(text)))
    }
}

impl fmt::Display for CommandEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Podman { container } => write!(f, "podman-container://{container}"),
            Self::Nerdctl {
                container,
                namespace,
            } => {
                write!(f, "nerdctl-container://{container}")?;
                match namespace {
                    Some(namespace) => write!(f, "?namespace={namespace}"),
                    None => Ok(()),
                }
            }
            Self::Ssh(place) => place.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Endpoint;
    use test_case::test_case;

    fn command_line(text: &str) -> String {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!(endpoint.to_string(), text);
        let Endpoint::Command(endpoint) = endpoint else {
            panic!("{endpoint:?}")
        };
        let (program, arguments) = endpoint.command();
        format!("{program} {}", arguments.join(" "))
    }

    // The expected command lines are those of BuildKit's connection helpers.
    #[test_case("podman-container://b", "podman exec -i b buildctl dial-stdio")]
    #[test_case("nerdctl-container://b", "nerdctl exec -i b buildctl dial-stdio")]
    #[test_case(
        "nerdctl-container://b?namespace=k8s.io",
        "nerdctl exec --namespace k8s.io -i b buildctl dial-stdio"
    )]
    #[test_case("ssh://h", "ssh -- h buildctl dial-stdio")]
    #[test_case(
        "ssh://me@h:22/run/b.sock",
        "ssh -l me -p 22 -- h buildctl --addr unix:///run/b.sock dial-stdio"
    )]
    #[test_case("ssh://[::1]:2", "ssh -p 2 -- ::1 buildctl dial-stdio")]
    fn programs_are_called_as_by_buildkit(text: &str, expected: &str) {
        assert_eq!(command_line(text), expected);
    }

    #[test]
    fn the_path_of_a_socket_is_one_word_for_the_shell_of_the_other_machine() {
        let line = command_line("ssh://h/run/a b;reboot");
        assert_eq!(
            line,
            "ssh -- h buildctl --addr 'unix:///run/a b;reboot' dial-stdio"
        );
    }

    #[test_case("podman-container://"; "no container")]
    #[test_case("podman-container://-x"; "a flag")]
    #[test_case("podman-container://a b"; "two words")]
    #[test_case("nerdctl-container://b?namespace=-x"; "a flag as namespace")]
    #[test_case("ssh://"; "no host")]
    #[test_case("ssh://-oProxyCommand=x"; "a flag as host")]
    #[test_case("ssh://-oProxyCommand=x@h"; "a flag as user")]
    #[test_case("ssh://me:hunter2@h"; "a password")]
    #[test_case("ssh://h:x"; "a word as port")]
    #[test_case("ssh://h:0"; "port zero")]
    #[test_case("ssh://[h]"; "a name in brackets")]
    #[test_case("ssh://h/s?x=y"; "a query")]
    fn addresses_that_are_not_one_are_refused(text: &str) {
        let message = text.parse::<Endpoint>().unwrap_err().to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
}
