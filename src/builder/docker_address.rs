//! Completes addresses of Docker Engines as the `docker` command does (docker/cli `opts/hosts.go`).

use crate::engine::endpoint::{Address, DockerHost};

/// The default socket of a Docker Engine.
pub(super) const SYSTEM_SOCKET: &str = "/var/run/docker.sock";

const DEFAULT_NAME: &str = "localhost";
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// The default address if TLS is requested and no address is given.
pub(super) fn default_of_tls() -> DockerHost {
    DockerHost::Tcp {
        address: Address {
            host: DEFAULT_NAME.to_owned(),
            port: TLS_PORT,
        },
        tls: None,
    }
}

/// Adds the parts that `text` lacks: the scheme `tcp://`, the host, and the port 2375. As in docker, the port is
/// 2375 with TLS, too.
pub(super) fn complete(text: &str) -> String {
    let text = match text.split_once("://") {
        None => format!("tcp://{text}"),
        Some(("unix", "")) => format!("unix://{SYSTEM_SOCKET}"),
        Some(_) => text.to_owned(),
    };
    let Some(rest) = text.strip_prefix("tcp://") else {
        return text;
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (rest, ""),
    };
    let host = if host.is_empty() { DEFAULT_NAME } else { host };
    if port.is_empty() {
        format!("tcp://{host}:{PLAIN_PORT}")
    } else {
        format!("tcp://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("h", "tcp://h:2375")]
    #[test_case("tcp://h/", "tcp://h:2375")]
    #[test_case("[::1]:", "tcp://[::1]:2375")]
    #[test_case("tcp://[::1]:9", "tcp://[::1]:9")]
    #[test_case("unix:///x", "unix:///x")]
    #[test_case("ssh://me@h", "ssh://me@h")]
    fn missing_parts_are_filled_in(text: &str, expected: &str) {
        assert_eq!(complete(text), expected);
    }
}
