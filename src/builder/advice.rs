//! What to do if a builder that the user named cannot be reached. The advice names the settings that led to it.
//!
//! Knows settings and which kind of server answered at the address, but not how that was found out. Start at
//! [`for_connection`].

use super::candidate::Settings;
use super::error::BuilderRefusal;
use super::tls::TlsError;
use crate::diag::{Diagnostic, closest};
use crate::engine::ConnectionError;
use crate::engine::answer::PeerKind;
use crate::engine::docker::DockerError;
use crate::engine::endpoint::{Address, DockerHost, Endpoint, InvalidEndpoint};
use crate::engine::kubernetes::KubernetesError;
use crate::engine::transport::DialError;
use crate::types::causes::in_one_line;

/// The place at which a builder was looked for.
#[derive(Debug)]
pub struct SearchedPlace {
    /// The settings that led to this place.
    pub(super) settings: Settings,
    /// The builder's address. `None` for the embedded builder, which has none before it runs.
    pub(super) endpoint: Option<Endpoint>,
    /// The kind of server that answers at the address, if it was found out.
    pub(super) answer: Option<PeerKind>,
}

impl SearchedPlace {
    fn address(&self) -> String {
        self.endpoint
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    fn host(&self) -> &str {
        match &self.endpoint {
            Some(
                Endpoint::Tcp { address, .. } | Endpoint::Docker(DockerHost::Tcp { address, .. }),
            ) => &address.host,
            _ => "HOST",
        }
    }

    /// Whether the file at the socket's path exists but is not a socket, for example a directory.
    fn is_no_socket(&self) -> bool {
        use std::os::unix::fs::FileTypeExt as _;
        match &self.endpoint {
            Some(Endpoint::Unix(path) | Endpoint::Docker(DockerHost::Unix(path))) => {
                std::fs::metadata(path).is_ok_and(|found| !found.file_type().is_socket())
            }
            _ => false,
        }
    }

    fn is_docker(&self) -> bool {
        matches!(
            self.endpoint,
            Some(Endpoint::Docker(_) | Endpoint::DockerContainer { .. })
        )
    }

    fn expects_tls(&self) -> bool {
        matches!(
            self.endpoint,
            Some(
                Endpoint::Tcp { tls: Some(_), .. }
                    | Endpoint::Docker(DockerHost::Tcp { tls: Some(_), .. })
                    | Endpoint::DockerContainer {
                        host: DockerHost::Tcp { tls: Some(_), .. },
                        ..
                    }
            )
        )
    }
}

/// Adds to `told` why there is no connection, what answers at the address instead (if known), and what to change.
pub(super) fn for_connection(
    told: Diagnostic,
    refusal: &BuilderRefusal,
    place: &SearchedPlace,
) -> Diagnostic {
    let address = place.address();
    let expected = if place.is_docker() {
        "a Docker Engine"
    } else {
        "BuildKit"
    };
    let Some(answer) = &place.answer else {
        return for_silence(told.note(in_one_line(refusal)), refusal, place);
    };
    let stranger = format!("{answer} answers at `{address}`, not {expected}");
    match (answer, place.expects_tls(), place.is_docker()) {
        (PeerKind::Tls, false, _) => told
            .note(format!(
                "the server at `{address}` speaks TLS, but rbake connected without it"
            ))
            .help(SettingsWords::of(place).with_tls),
        (PeerKind::Http2, true, false) | (PeerKind::Docker, true, true) => told
            .note(format!("the server at `{address}` does not speak TLS"))
            .help(SettingsWords::of(place).without_tls),
        (PeerKind::Docker, _, false) => told.note(stranger).help(format!(
            "use it as a Docker Engine: `DOCKER_HOST={address}`"
        )),
        (PeerKind::Http2, _, true) => told
            .note(stranger)
            .help(format!("use it as a BuildKit: `BUILDKIT_HOST={address}`")),
        (PeerKind::Ssh, ..) => use_ssh(told.note(stranger), place.host(), place.is_docker()),
        (PeerKind::Registry, ..) => told
            .note(stranger)
            .help("name a registry in the `tags` of targets; it cannot build"),
        (PeerKind::Http(_), ..) => told.note(stranger).help(format!(
            "the address must be {expected}'s own, without a proxy in front of it"
        )),
        _ => for_silence(told.note(in_one_line(refusal)), refusal, place),
    }
}

/// The advice for an error of a Kubernetes cluster.
pub(super) fn for_kubernetes(told: Diagnostic, error: &KubernetesError) -> Diagnostic {
    match error {
        KubernetesError::NoConfig(_) => {
            told.help("name a kubeconfig in `KUBECONFIG`, and create the builder again if it should remember it")
        }
        KubernetesError::UnknownContext { name, known } => told
            .note(format!("its contexts: {}", known.join(", ")))
            .similar("a context", name, known.iter().map(String::as_str)),
        KubernetesError::NoContext { known } => told
            .note(format!("its contexts: {}", known.join(", ")))
            .help("choose one with `kubectl config use-context`"),
        error if error.is_unauthorized() => {
            told.help("log in to the cluster again; `kubectl auth whoami` fails in the same way")
        }
        error if error.is_forbidden() => told.help(
            "a builder needs these rights in its namespace: get, create and delete deployments, statefulsets and configmaps; list pods; create and get pods/exec",
        ),
        KubernetesError::Unreachable { .. } | KubernetesError::Timeout { .. } => {
            told.help("check that `kubectl get pods` reaches the cluster with the same kubeconfig")
        }
        _ => told,
    }
}

/// The advice if it is not known what answers, or if it is the expected server: all there is to go on is the error.
fn for_silence(told: Diagnostic, refusal: &BuilderRefusal, place: &SearchedPlace) -> Diagnostic {
    let (BuilderRefusal::Connection(ConnectionError::Dial(dial))
    | BuilderRefusal::Docker(DockerError::Dial(dial))) = refusal
    else {
        return told;
    };
    match dial {
        DialError::Kubernetes { source, .. } => for_kubernetes(told, source),
        DialError::Connect { source, .. } => match source.kind() {
            std::io::ErrorKind::PermissionDenied => told.help(
                "your user has no access to the socket: run rbake as its owner, or join its group",
            ),
            std::io::ErrorKind::ConnectionRefused if place.is_no_socket() => told.help(format!(
                "`{}` is not a socket: correct {}",
                place.address(),
                SettingsWords::of(place).address
            )),
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound => {
                told.help(format!(
                    "nothing listens at `{}`: start it, or correct {}",
                    place.address(),
                    SettingsWords::of(place).address
                ))
            }
            // `io::ErrorKind` has no kind for a failed name resolution, so this looks at the message.
            _ if source.to_string().contains("lookup address") => told.help(format!(
                "the name `{}` cannot be resolved: correct {}",
                place.host(),
                SettingsWords::of(place).address
            )),
            _ => told,
        },
        DialError::Handshake { .. } | DialError::HalfIdentity { .. } => told.help(format!(
            "the CA, the server's name, and the client's certificate and key must match the builder's: {}",
            SettingsWords::of(place).certificates
        )),
        DialError::Material { .. } => told.help(format!(
            "correct {}",
            SettingsWords::of(place).certificates
        )),
        DialError::Program { program, .. } => told.help(format!(
            "install `{program}`, or add its folder to `PATH`"
        )),
        DialError::NoRoots => told.help("set `SSL_CERT_FILE` to a file of trusted certificates"),
        _ => told,
    }
}

/// Phrases for advice, in terms of the settings that led to a builder.
struct SettingsWords {
    /// The setting with the builder's address.
    address: String,
    /// The setting with the certificates.
    certificates: String,
    /// How to change the settings so that the connection uses TLS.
    with_tls: String,
    /// How to change the settings so that the connection does not use TLS.
    without_tls: String,
}

impl SettingsWords {
    fn of(place: &SearchedPlace) -> Self {
        let address = place.address();
        match &place.settings {
            Settings::BuildkitVariables => Self {
                address: "`BUILDKIT_HOST`".to_owned(),
                certificates: "`BUILDKIT_TLS_DIR`, or `BUILDKIT_TLS_CACERT`, `BUILDKIT_TLS_CERT`, `BUILDKIT_TLS_KEY` and `BUILDKIT_TLS_SERVERNAME`".to_owned(),
                with_tls: "set `BUILDKIT_TLS_DIR` to a folder with its `ca.pem`, and `cert.pem` and `key.pem` for this client".to_owned(),
                without_tls: "unset the variables `BUILDKIT_TLS_…` for a connection in plain text, or start buildkitd with `--tlscacert`, `--tlscert` and `--tlskey`".to_owned(),
            },
            Settings::Store(name) => {
                let anew = |what: &str, options: &str| {
                    format!("create the builder again {what} certificates: `docker buildx rm {name}`, `docker buildx create --name {name} --driver remote{options} {address}`")
                };
                Self {
                    address: format!("the builder (`docker buildx inspect {name}`)"),
                    certificates: format!("the driver options of the builder (`docker buildx inspect {name}`)"),
                    with_tls: anew("with", " --driver-opt cacert=…,cert=…,key=…"),
                    without_tls: anew("without", ""),
                }
            }
            Settings::DockerContext(name) => {
                let update = format!("docker context update {name}");
                Self {
                    address: format!("the context (`{update}`)"),
                    certificates: format!("the certificates of the context (`{update} --docker …`)"),
                    with_tls: format!("`{update} --docker host={address},ca=…,cert=…,key=…`"),
                    without_tls: format!("`{update} --docker host={address}` removes the certificates from the context"),
                }
            }
            settings @ (Settings::DockerVariables | Settings::Default) => {
                let (address, certificates) = if *settings == Settings::Default {
                    ("the address", "its certificates")
                } else {
                    ("`DOCKER_HOST`", "`ca.pem`, `cert.pem` and `key.pem` in the folder `DOCKER_CERT_PATH`")
                };
                Self {
                    address: address.to_owned(),
                    certificates: certificates.to_owned(),
                    with_tls: "set `DOCKER_TLS_VERIFY=1`, and `DOCKER_CERT_PATH` to a folder with `ca.pem`, `cert.pem` and `key.pem`".to_owned(),
                    without_tls: "unset `DOCKER_TLS_VERIFY` for a connection in plain text, or use the port on which the Engine speaks TLS, usually 2376".to_owned(),
                }
            }
        }
    }
}

/// Adds to `told` what to do about an address that cannot be used.
pub(super) fn for_address(told: Diagnostic, error: &InvalidEndpoint) -> Diagnostic {
    let told = match meant(error) {
        Some(address) => told.help(format!("write it as `{address}`")),
        None => told,
    };
    match error {
        InvalidEndpoint::Scheme { scheme, .. } if ["https", "grpcs"].contains(&scheme.as_str()) => {
            told.help(
                "rbake uses TLS if `BUILDKIT_TLS_DIR` or `BUILDKIT_TLS_CACERT` names certificates",
            )
        }
        _ => told,
    }
}

/// The address that the user probably meant; `None` if there is no good guess.
fn meant(error: &InvalidEndpoint) -> Option<String> {
    match error {
        InvalidEndpoint::NoScheme(text)
        | InvalidEndpoint::Path(text)
        | InvalidEndpoint::HostPort(text) => {
            // docker puts `tcp://` before a text without a scheme.
            let text = text.strip_prefix("tcp://").unwrap_or(text);
            let text = text.strip_prefix("unix:").map_or_else(
                || text.to_owned(),
                |path| format!("/{}", path.trim_start_matches('/')),
            );
            if text.starts_with('/') && text.len() > 1 {
                return Some(format!("unix://{text}"));
            }
            let has_port = text.parse::<Address>().is_ok();
            has_port.then(|| format!("tcp://{text}"))
        }
        InvalidEndpoint::Scheme {
            scheme,
            address,
            supported,
        } => {
            let (_, rest) = address.split_once("://")?;
            let scheme = match scheme.as_str() {
                "http" | "https" | "grpc" | "grpcs" => "tcp",
                other => closest(other, supported.iter().copied())?,
            };
            Some(format!("{scheme}://{}", rest.trim_end_matches('/')))
        }
        InvalidEndpoint::Container(_) | InvalidEndpoint::Pod(_) | InvalidEndpoint::Ssh(_) => None,
    }
}

/// Advises to use the `ssh` command.
fn use_ssh(told: Diagnostic, host: &str, is_docker: bool) -> Diagnostic {
    let (variable, program) = if is_docker {
        ("DOCKER_HOST", "docker")
    } else {
        ("BUILDKIT_HOST", "buildctl")
    };
    told.help(format!(
        "`{variable}=ssh://{host}` reaches it with the `ssh` command, if `{program}` is installed there"
    ))
}

/// Adds to `told` what to do about certificates that cannot be used.
pub(super) fn for_tls(told: Diagnostic, error: &TlsError) -> Diagnostic {
    let (TlsError::Folder { from, .. }
    | TlsError::Nothing { from, .. }
    | TlsError::NoCa { from, .. }
    | TlsError::Half { from, .. }
    | TlsError::File { from, .. }) = error;
    match from.as_str() {
        "`BUILDKIT_TLS_DIR`" => told.help(
            "set `BUILDKIT_TLS_DIR` to a folder with the server's `ca.pem`, and `cert.pem` and `key.pem` for this client; unset it for a connection in plain text",
        ),
        "`DOCKER_CERT_PATH`" | "`DOCKER_TLS_VERIFY`" => told.help(
            "set `DOCKER_CERT_PATH` to a folder with `ca.pem`, `cert.pem` and `key.pem`; unset `DOCKER_TLS_VERIFY` for a connection in plain text",
        ),
        _ => told.help("`docker context update NAME --docker host=…,ca=…,cert=…,key=…` stores them again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Class;
    use crate::engine::endpoint::TlsMaterial;
    use test_case::test_case;

    fn endpoint(docker: bool, tls: bool) -> Endpoint {
        let address = Address {
            host: "h".to_owned(),
            port: 1,
        };
        let tls = tls.then(TlsMaterial::default);
        if docker {
            Endpoint::Docker(DockerHost::Tcp { address, tls })
        } else {
            Endpoint::Tcp { address, tls }
        }
    }

    fn told(settings: Settings, endpoint: Endpoint, answer: PeerKind) -> String {
        let refusal = BuilderRefusal::Docker(DockerError::NotDocker("tcp://h:1".into()));
        let place = SearchedPlace {
            settings,
            endpoint: Some(endpoint),
            answer: Some(answer),
        };
        let told = Diagnostic::error(Class::Engine, "builder::unreachable", "x");
        let told = for_connection(told, &refusal, &place);
        format!("{}\n{}", told.notes.join("\n"), told.help.join("\n"))
    }

    #[test_case(Settings::BuildkitVariables, "BUILDKIT_TLS_DIR")]
    #[test_case(Settings::Store("far".into()), "docker buildx create --name far")]
    #[test_case(Settings::DockerVariables, "DOCKER_TLS_VERIFY=1")]
    #[test_case(Settings::DockerContext("far".into()), "docker context update far")]
    fn help_names_the_settings_that_led_to_the_builder(settings: Settings, expected: &str) {
        let docker = !matches!(settings, Settings::BuildkitVariables | Settings::Store(_));
        let text = told(settings.clone(), endpoint(docker, false), PeerKind::Tls);
        assert!(
            text.contains("speaks TLS, but rbake connected without it"),
            "{text}"
        );
        assert!(text.contains(expected), "{text}");
        let plain = if docker {
            PeerKind::Docker
        } else {
            PeerKind::Http2
        };
        let text = told(settings, endpoint(docker, true), plain);
        assert!(text.contains("does not speak TLS"), "{text}");
    }

    #[test]
    fn for_an_address_with_https_the_help_shows_one_with_tcp() {
        let error = "https://b.example:1234/".parse::<Endpoint>().unwrap_err();
        let told = Diagnostic::error(Class::Engine, "builder::invalid-address", "x");
        let help = for_address(told, &error).help;
        assert_eq!(help[0], "write it as `tcp://b.example:1234`");
        assert!(help[1].contains("BUILDKIT_TLS_CACERT"));
    }

    #[test_case("/run/b.sock", Some("unix:///run/b.sock"))]
    #[test_case("localhost:1234", Some("tcp://localhost:1234"))]
    #[test_case("unix:/run/b.sock", Some("unix:///run/b.sock"))]
    #[test_case("unix://run/b.sock", Some("unix:///run/b.sock"))]
    #[test_case("tcp://unix:/run/b.sock", Some("unix:///run/b.sock"); "what docker made of it")]
    #[test_case("unx:///run/b.sock", Some("unix:///run/b.sock"))]
    #[test_case("docker-contianer://b", Some("docker-container://b"))]
    #[test_case("grpc://h:1/", Some("tcp://h:1"))]
    #[test_case("tcp://h", None)]
    #[test_case("builder", None)]
    #[test_case("carrier-pigeon://h", None)]
    fn a_wrong_address_gets_a_suggestion(text: &str, expected: Option<&str>) {
        let error = text.parse::<Endpoint>().unwrap_err();
        assert_eq!(meant(&error).as_deref(), expected);
    }

    #[test]
    fn the_help_for_buildkit_names_docker_host_and_vice_versa() {
        let text = told(
            Settings::BuildkitVariables,
            endpoint(false, false),
            PeerKind::Docker,
        );
        assert!(text.contains("`DOCKER_HOST=tcp://h:1`"), "{text}");
        let text = told(
            Settings::DockerVariables,
            endpoint(true, false),
            PeerKind::Http2,
        );
        assert!(text.contains("`BUILDKIT_HOST=tcp://h:1`"), "{text}");
    }

    #[test_case(PeerKind::Ssh, "`BUILDKIT_HOST=ssh://h`")]
    #[test_case(PeerKind::Registry, "`tags`")]
    #[test_case(PeerKind::Http(Some("squid".into())), "a web server (`squid`) answers at `tcp://h:1`, not BuildKit")]
    fn other_servers_are_named(answer: PeerKind, expected: &str) {
        let text = told(Settings::BuildkitVariables, endpoint(false, true), answer);
        assert!(text.contains(expected), "{text}");
    }
}
