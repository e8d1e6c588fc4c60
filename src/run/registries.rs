//! Tells what to change if the daemon cannot connect to a registry. The help names the setting that applies to the
//! kind of builder.
//!
//! Reads the daemon's message, which is Go's. Does not connect to registries.

use crate::builder::Driver;

/// Returns what to change if `message` says that a registry could not be reached. `driver` is the kind of builder;
/// `docker_pushes` says that the builder's Docker Engine pushes, not its BuildKit.
pub(super) fn help(message: &str, driver: Driver, docker_pushes: bool) -> Vec<String> {
    let host = host(message);
    let Some(trouble) = Trouble::of(message) else {
        return of_loopback(message, host, driver).into_iter().collect();
    };
    let named = host.unwrap_or("the registry");
    let told = match trouble {
        Trouble::Plain => format!("`{named}` answers in plain HTTP, but the builder expects TLS"),
        Trouble::NoHttp => format!("`{named}` does not speak TLS on that port"),
        Trouble::Tls => {
            format!("`{named}` expects TLS, but the builder is configured for plain HTTP")
        }
        Trouble::Certificate => format!("the builder does not trust the certificate of `{named}`"),
    };
    let host = host.unwrap_or("HOST");
    let insecure = match trouble {
        Trouble::Tls | Trouble::NoHttp => None,
        Trouble::Plain | Trouble::Certificate => attribute(message, docker_pushes),
    };
    let setting = match driver {
        Driver::Docker => of_docker(trouble, host),
        Driver::Embedded => of_buildkitd(trouble, host, "`~/.config/rbake/buildkitd.toml`"),
        Driver::Remote => of_buildkitd(trouble, host, "the builder's `buildkitd.toml`"),
        Driver::DockerContainer | Driver::Kubernetes => of_buildkitd(
            trouble,
            host,
            "the file that you pass to `docker buildx create --buildkitd-config`",
        ),
    };
    let mut help = vec![match insecure {
        Some(insecure) => format!("{told}: {insecure}"),
        None => format!("{told}: {setting}"),
    }];
    if insecure.is_some() {
        help.push(format!("or for all builds: {setting}"));
    }
    help
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The registry answers in HTTP, but TLS was expected.
    Plain,
    /// The registry answers neither in TLS nor in HTTP.
    NoHttp,
    /// The registry expects TLS, but HTTP was sent.
    Tls,
    /// The registry's TLS certificate is not trusted.
    Certificate,
}

impl Trouble {
    fn of(message: &str) -> Option<Self> {
        const WORDS: [(&str, Trouble); 6] = [
            ("server gave HTTP response to HTTPS client", Trouble::Plain),
            (
                "first record does not look like a TLS handshake",
                Trouble::NoHttp,
            ),
            ("HTTP request to an HTTPS server", Trouble::Tls),
            (
                "certificate signed by unknown authority",
                Trouble::Certificate,
            ),
            ("certificate is not trusted", Trouble::Certificate),
            ("failed to verify certificate", Trouble::Certificate),
        ];
        let found = WORDS.into_iter().find(|(words, _)| message.contains(words));
        found.map(|(_, trouble)| trouble)
    }
}

/// Returns help for a server on `localhost` that refuses the connection. For a builder elsewhere, `localhost` is
/// another machine or container.
fn of_loopback(message: &str, host: Option<&str>, driver: Driver) -> Option<String> {
    let host = host.filter(|_| message.contains("connection refused"))?;
    let is_loopback = ["localhost", "127.", "[::1]"]
        .iter()
        .any(|start| host.starts_with(start));
    let place = match driver {
        Driver::DockerContainer => "the builder's own container",
        Driver::Kubernetes => "the builder's own pod",
        Driver::Remote => "the builder's own machine or container",
        Driver::Docker => "the Docker Engine's own machine",
        Driver::Embedded => "this machine",
    };
    // All addresses of a registry begin with this path; others are contexts and files of `ADD`.
    let server = if message.contains(&format!("//{host}/v2/")) {
        "registry"
    } else {
        "server"
    };
    is_loopback.then(|| {
        format!("`{host}` means {place}, and nothing listens there: start the {server}, or use an address that the builder can reach")
    })
}

/// Returns the host in `Head "https://HOST/v2/…"`, or `None` if it is not a plain host name.
fn host(message: &str) -> Option<&str> {
    let (_, after) = message
        .split_once("\"https://")
        .or_else(|| message.split_once("\"http://"))?;
    let host = after.split(['/', '"', '?']).next()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    (!host.is_empty() && host.chars().all(legal)).then_some(host)
}

/// Returns the attribute of the target that makes the daemon accept HTTP or an unknown certificate. `None` if no
/// attribute applies: only pushes by BuildKit and caches have one.
fn attribute(message: &str, docker_pushes: bool) -> Option<&'static str> {
    // Only cache exports write blobs with these messages.
    const CACHES: [&str; 5] = [
        "cache export",
        "cache import",
        "error writing layer blob",
        "error writing config blob",
        "error writing manifest",
    ];
    if CACHES.iter().any(|words| message.contains(words)) {
        return Some("add `registry.insecure=true` to the entry of `cache-to` or `cache-from`");
    }
    // BuildKit's words, and those of a Docker Engine that was asked to push.
    let is_push = ["failed to push", "did not push"]
        .iter()
        .any(|words| message.contains(words));
    (is_push && !docker_pushes)
        .then_some("write the output as `type=registry,registry.insecure=true`")
}

/// Returns the setting of a Docker Engine that solves `trouble`.
fn of_docker(trouble: Trouble, host: &str) -> String {
    match trouble {
        Trouble::Plain => {
            format!("add `\"insecure-registries\": [\"{host}\"]` to the Engine's `daemon.json`")
        }
        Trouble::Certificate => {
            format!("put its CA into `/etc/docker/certs.d/{host}/ca.crt` on the Engine's machine")
        }
        Trouble::Tls => {
            format!("remove `{host}` from `insecure-registries` in the Engine's `daemon.json`")
        }
        Trouble::NoHttp => "correct its address".to_owned(),
    }
}

/// Returns the setting in BuildKit's configuration `file` that solves `trouble`.
fn of_buildkitd(trouble: Trouble, host: &str, file: &str) -> String {
    let line = match trouble {
        Trouble::Plain => "http = true",
        Trouble::Certificate => "ca = [\"/path/to/ca.pem\"]",
        Trouble::Tls => "http = false",
        Trouble::NoHttp => return "correct its address".to_owned(),
    };
    format!("write `{line}` below `[registry.\"{host}\"]` in {file}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &str = "failed to push h.example:5000/x:1: failed to do request: Head \"https://h.example:5000/v2/x/blobs/sha256:1\": http: server gave HTTP response to HTTPS client";
    const PULL: &str = "h.example/x: failed to resolve source metadata for h.example/x: failed to do request: Head \"https://h.example/v2/x/manifests/1\": tls: failed to verify certificate: x509: certificate signed by unknown authority";

    #[test]
    fn a_push_without_tls_needs_an_attribute() {
        let help = help(PUSH, Driver::Remote, false);
        assert_eq!(
            help,
            [
                "`h.example:5000` answers in plain HTTP, but the builder expects TLS: write the output as `type=registry,registry.insecure=true`",
                "or for all builds: write `http = true` below `[registry.\"h.example:5000\"]` in the builder's `buildkitd.toml`",
            ]
        );
    }

    #[test]
    fn a_push_by_the_engine_needs_a_setting_of_the_engine() {
        let help = help(PUSH, Driver::Docker, true);
        assert_eq!(help.len(), 1);
        assert!(
            help[0].contains("`\"insecure-registries\": [\"h.example:5000\"]`"),
            "{help:?}"
        );
    }

    #[test]
    fn a_base_image_needs_a_setting_of_the_builder() {
        let told = help(PULL, Driver::Embedded, false);
        assert_eq!(
            told,
            [
                "the builder does not trust the certificate of `h.example`: write `ca = [\"/path/to/ca.pem\"]` below `[registry.\"h.example\"]` in `~/.config/rbake/buildkitd.toml`"
            ]
        );
        assert!(
            help(PULL, Driver::Docker, false)[0].contains("/etc/docker/certs.d/h.example/ca.crt")
        );
    }

    #[test]
    fn a_cache_without_tls_needs_an_attribute() {
        let message = "error writing layer blob: failed to do request: Head \"https://h/v2/x/blobs/sha256:1\": http: server gave HTTP response to HTTPS client";
        assert!(help(message, Driver::Docker, false)[0].contains("to the entry of `cache-to`"));
    }

    #[test]
    fn the_help_says_that_localhost_is_the_builders_own_container() {
        let message = "failed to push localhost:5000/x: failed to do request: Head \"http://localhost:5000/v2/x/blobs/sha256:1\": dial tcp 127.0.0.1:5000: connect: connection refused";
        let told = help(message, Driver::DockerContainer, false);
        assert!(
            told[0].starts_with("`localhost:5000` means the builder's own container"),
            "{told:?}"
        );
        assert!(told[0].contains("start the registry"), "{told:?}");
        let download = "failed to load cache key: Get \"http://127.0.0.1:1/a.tar\": dial tcp 127.0.0.1:1: connect: connection refused";
        let told = help(download, Driver::Remote, false);
        assert!(told[0].contains("start the server"), "{told:?}");
        let far = message.replace("localhost", "h.example");
        assert!(help(&far, Driver::DockerContainer, false).is_empty());
    }

    #[test]
    fn other_failures_get_no_help() {
        assert!(help("exit code: 1", Driver::Remote, false).is_empty());
        // The host comes from the daemon and becomes part of the help.
        let strange = PUSH.replace("https://h.example:5000/", "https://h`;rm/");
        assert!(help(&strange, Driver::Remote, false)[0].starts_with("`the registry`"));
    }
}
