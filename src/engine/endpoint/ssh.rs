//! Places on another machine that are reached with `ssh`.
//!
//! BuildKit's daemons and Docker Engines have such addresses, and both kinds are read as by docker (docker/cli
//! `cli/connhelper/ssh`). Start at [`SshPlace::parse`].

use std::fmt;

use super::InvalidEndpoint;
use crate::types::secret::redact_url;
use crate::types::terminal::shell_word;

/// A place on another machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshPlace {
    /// The account. `None` for that of ssh's configuration.
    user: Option<String>,
    /// The name or the address of the machine, or a name of ssh's configuration.
    host: String,
    /// The port. `None` for that of ssh's configuration.
    port: Option<u16>,
    /// The path of the socket there. `None` for the default one.
    path: Option<String>,
}

/// Whether `name` can be a word of the command line that is not taken for a flag.
pub(super) fn is_plain(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    name.bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().all(legal)
}

impl SshPlace {
    /// Parses the address `text`, in which `rest` follows `ssh://`.
    ///
    /// # Errors
    /// It is not `[user@]host[:port][/path]`. Neither the user nor the host may be taken for a flag.
    pub(super) fn parse(text: &str, rest: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint::Ssh(redact_url(text));
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if path.contains(['?', '#']) {
            return Err(invalid());
        }
        let (user, place) = match place.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, place),
        };
        // ssh takes no password on its command line.
        if user.is_some_and(|user| !is_plain(user)) {
            return Err(invalid());
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(invalid)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| invalid())?;
                (host, after.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if !place.starts_with('[') && !is_plain(host) {
            return Err(invalid());
        }
        let port = match port.filter(|port| !port.is_empty()) {
            Some(port) => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(invalid)?,
            ),
            None => None,
        };
        Ok(Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            path: Some(path)
                .filter(|path| !path.trim_matches('/').is_empty())
                .map(str::to_owned),
        })
    }

    /// The address of the socket there, such as `unix:///run/b.sock`. `None` for the default one.
    pub(super) fn socket(&self) -> Option<String> {
        self.path.as_ref().map(|path| format!("unix://{path}"))
    }

    /// The arguments with which `ssh` runs the command `remote` there.
    pub(super) fn command(&self, flags: &[&str], remote: &[String]) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(user) = &self.user {
            all.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            all.extend(["-p".to_owned(), port.to_string()]);
        }
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        all.extend(["--".to_owned(), self.host.clone()]);
        // ssh passes the words to a shell.
        all.extend(remote.iter().map(|word| shell_word(word)));
        all
    }
}

impl fmt::Display for SshPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(self.path.as_deref().unwrap_or_default())
    }
}
