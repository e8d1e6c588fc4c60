//! Adds to a registry's refusal which credential was used.
//!
//! The daemon's message names the registry and the status. Only this side knows the credential.

use crate::credential::Origins;
use crate::outcome::SolveFailure;

/// Texts by which daemons and registries report that a credential is missing or does not suffice.
const WORDS: [&str; 11] = [
    "401 unauthorized",
    "403 forbidden",
    "answered 401",
    "answered 403",
    "authorization failed",
    "may require authorization",
    "failed to authorize",
    "failed to find supported auth scheme",
    "no basic auth credentials",
    "access to the resource is denied",
    "missing username or secret",
];

const HUB: &str = "registry-1.docker.io";

/// If `failure` is a refusal, adds to its help which credential was sent to the registry.
pub(super) fn explain(failure: &mut SolveFailure, origins: &Origins) {
    let message = failure.message.to_ascii_lowercase();
    // The message of a failed step contains its command, which may have such texts.
    if failure.exit_code.is_some() || !WORDS.iter().any(|words| message.contains(words)) {
        return;
    }
    advise(failure, origins);
}

/// Adds to `failure`, which is the refusal of a registry, which credential was sent to it.
pub(super) fn advise(failure: &mut SolveFailure, origins: &Origins) {
    let message = failure.message.to_ascii_lowercase();
    // Host names come from the daemon, and become part of a command that users paste into a shell.
    let mut hosts: Vec<&str> = origins
        .keys()
        .map(String::as_str)
        .filter(|host| is_plain(host))
        .collect();
    if hosts.len() > 1 {
        hosts.retain(|host| names(host).iter().any(|name| has_word(&message, name)));
    }
    for host in hosts {
        let origins = origins.get(host).into_iter().flatten();
        let told = origins.map(|origin| format!("`{}`: {origin}", names(host)[0]));
        failure.help.extend(told);
        failure.help.push(match host {
            HUB => "`docker login` stores another credential".to_owned(),
            host => format!("`docker login {host}` stores another credential"),
        });
    }
}

/// Returns the names that messages use for a host. The first one is the name that users know.
fn names(host: &str) -> Vec<&str> {
    match host {
        HUB => vec!["docker.io", HUB, "auth.docker.io", "index.docker.io"],
        host => vec![host],
    }
}

/// Whether `host` is harmless in a shell.
fn is_plain(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !host.is_empty() && !host.starts_with('-') && host.bytes().all(plain)
}

/// Whether `text` contains `word` as a whole host name, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let of_name = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    text.match_indices(&word).any(|(at, found)| {
        let (before, after) = (&text[..at], &text[at + found.len()..]);
        !before.ends_with(of_name)
            && !after.starts_with(|c: char| c.is_ascii_alphanumeric() || "-_".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Origin;
    use crate::outcome::FailureKind;

    fn origins() -> Origins {
        let source = || "`/c/config.json`".to_owned();
        let key = || "h:5000/proj-a".to_owned();
        let entry = Origin::Entry {
            source: source(),
            key: key(),
            astray: false,
            account: Some("keeper".to_owned()),
        };
        let unread = Origin::Unread { source: source() };
        [
            ("h:5000".to_owned(), [entry].into()),
            (HUB.to_owned(), [unread].into()),
            ("$(reboot)".to_owned(), [Origin::Nowhere].into()),
        ]
        .into()
    }

    fn help(message: &str, exit_code: Option<i32>) -> Vec<String> {
        let mut failure = SolveFailure::new(FailureKind::Build, message);
        failure.exit_code = exit_code;
        explain(&mut failure, &origins());
        failure.help
    }

    #[test]
    fn a_refusal_names_the_entry_and_the_command_that_stores_another() {
        assert_eq!(
            help(
                "failed to push h:5000/proj-a/x: unexpected status from HEAD request to https://h:5000/v2/: 401 Unauthorized",
                None
            ),
            [
                "`h:5000`: rbake used the credential in the entry `h:5000/proj-a` of `/c/config.json` (account `keeper`)",
                "`docker login h:5000` stores another credential"
            ]
        );
        assert_eq!(
            help(
                "docker.io/library/x:latest: pull access denied, repository does not exist or may require authorization",
                None
            ),
            [
                "`docker.io`: rbake sent no credential: `/c/config.json` could not be read",
                "`docker login` stores another credential"
            ]
        );
    }

    #[test]
    fn other_failures_and_other_hosts_are_left_alone() {
        assert!(help("h:5000/x: not found", None).is_empty());
        assert!(help("sh:5000/x: 401 Unauthorized", None).is_empty());
        assert!(
            help(
                "process `curl h:5000` did not complete: 401 Unauthorized",
                Some(22)
            )
            .is_empty()
        );
        assert!(help("$(reboot)/x: 401 Unauthorized", None).is_empty());
    }
}
