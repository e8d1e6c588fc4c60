//! Addresses of remote sources: git repositories and files behind HTTP(S).
//!
//! The rules decide whether a text is a URL or a path, so they are exactly those of BuildKit's `dfgitutil` and
//! buildx's `urlutil`: every text that starts with `http://` or `https://` is remote, and so are other texts that
//! name a git repository.

mod git;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub(crate) use git::{GitReference, InvalidGitReference};

/// The kind of a remote source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RemoteKind {
    /// A git repository.
    Git {
        /// Whether it is reached over SSH.
        ssh: bool,
    },
    /// A file or archive behind HTTP(S).
    Http,
}

/// The address of a remote source, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    text: Arc<str>,
    kind: RemoteKind,
}

impl RemoteAddress {
    /// Parses `text`. `None` if it is something else, such as a path.
    pub(crate) fn parse(text: &Arc<str>) -> Option<Self> {
        let kind = remote_kind(text)?;
        Some(Self {
            text: Arc::clone(text),
            kind,
        })
    }

    /// The address as the user wrote it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a git repository that is reached over SSH.
    pub(crate) fn is_ssh(&self) -> bool {
        self.kind == RemoteKind::Git { ssh: true }
    }

    /// Whether it is a git repository with a query (`?…`) in its address. Not all frontends support that.
    pub(crate) fn has_git_query(&self) -> bool {
        let before_fragment = self.text.split('#').next().unwrap_or_default();
        matches!(self.kind, RemoteKind::Git { .. }) && before_fragment.contains('?')
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The kind of remote source that `address` names. `None` if it is something else, such as a path.
pub(crate) fn remote_kind(address: &str) -> Option<RemoteKind> {
    if let Some(git) = git_kind(address) {
        return Some(git);
    }
    is_http(address).then_some(RemoteKind::Http)
}

/// Whether `address` is remote, and not a path.
pub(crate) fn is_remote(address: &str) -> bool {
    remote_kind(address).is_some()
}

/// Whether `address` starts with `http://` or `https://`.
pub(crate) fn is_http(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

/// The host in `address`, with its port if there is one.
pub(crate) fn host(address: &str) -> Option<&str> {
    let authority = if scheme(address).is_some() {
        let (_, rest) = address.split_once("://")?;
        rest.split(['/', '?', '#']).next()?
    } else if is_scp_style(address) {
        address.split_once(':')?.0
    } else {
        return None;
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    (!host.is_empty()).then_some(host)
}

fn git_kind(address: &str) -> Option<RemoteKind> {
    const HTTPS: RemoteKind = RemoteKind::Git { ssh: false };
    const SSH: RemoteKind = RemoteKind::Git { ssh: true };
    if address.starts_with("./") || address.starts_with("../") {
        return None;
    }
    if address.starts_with("github.com/") {
        return url_path(address).map(|_| HTTPS);
    }
    if let Some((scheme, rest)) = scheme(address) {
        let path = url_path(rest.find('/').map_or("", |slash| &rest[slash..]))?;
        return match scheme.as_str() {
            "ssh" => Some(SSH),
            "git" => Some(HTTPS),
            "http" | "https" => path.ends_with(".git").then_some(HTTPS),
            _ => None,
        };
    }
    is_scp_style(address).then_some(SSH)
}

/// The scheme in lower case, and the rest of the text: a match of `^[a-zA-Z0-9]+://`.
fn scheme(address: &str) -> Option<(String, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    let legal = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    legal.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The path of a URL, without query and fragment. `None` if Go's `url.Parse` would reject the text.
fn url_path(text: &str) -> Option<Cow<'_, str>> {
    if text.bytes().any(|b| b.is_ascii_control()) {
        return None;
    }
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let mut escapes = path.split('%');
    escapes.next();
    let legal = escapes.all(|after| {
        let after = after.as_bytes();
        after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit)
    });
    legal.then(|| percent_encoding::percent_decode_str(path).decode_utf8_lossy())
}

/// Whether `address` has the form `user@host:path`, which `git clone` accepts for SSH.
fn is_scp_style(address: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let Some((user, rest)) = address.split_once('@') else {
        return false;
    };
    let Some((host, path)) = rest.split_once(':') else {
        return false;
    };
    !user.is_empty()
        && user.bytes().all(|b| word(b) || b == b'_')
        && !host.is_empty()
        && host.bytes().all(|b| word(b) || b == b'.')
        && !path.contains('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("https://example.com/x", RemoteKind::Http; "http")]
    #[test_case("http://", RemoteKind::Http; "prefix only")]
    #[test_case("https://example.com/x.git", RemoteKind::Git { ssh: false }; "git over https")]
    #[test_case("https://example.com/x.git?ref=a#b:c", RemoteKind::Git { ssh: false }; "query and fragment")]
    #[test_case("https://example.com/x%2Egit", RemoteKind::Git { ssh: false }; "escaped dot")]
    #[test_case("https://example.com/x#.git", RemoteKind::Http; "suffix in the fragment")]
    #[test_case("github.com/a/b", RemoteKind::Git { ssh: false }; "short form")]
    #[test_case("git://h/x", RemoteKind::Git { ssh: false }; "git protocol")]
    #[test_case("ssh://git@h/x", RemoteKind::Git { ssh: true }; "ssh")]
    #[test_case("git@github.com:a/b.git", RemoteKind::Git { ssh: true }; "scp style")]
    fn remote_addresses_are_recognised(address: &str, expected: RemoteKind) {
        assert_eq!(remote_kind(address), Some(expected));
    }

    #[test_case("https://example.com/x.git?ref=a#b:c", true; "query")]
    #[test_case("https://example.com/x.git#b?c", false; "fragment")]
    #[test_case("https://example.com/x?ref=a", false; "archive")]
    fn queries_of_repositories_are_recognised(address: &str, expected: bool) {
        let address = RemoteAddress::parse(&address.into()).unwrap();
        assert_eq!(address.has_git_query(), expected);
    }

    #[test_case("https://user:x@h:1/r.git", Some("h:1"); "url")]
    #[test_case("git@h:a/b", Some("h"); "scp style")]
    #[test_case("github.com/a/b", None; "short form")]
    #[test_case("./x", None; "path")]
    fn the_host_of_an_address_is_found(address: &str, expected: Option<&str>) {
        assert_eq!(host(address), expected);
    }

    #[test_case("."; "dot")]
    #[test_case("./github.com/a"; "explicitly local")]
    #[test_case("../x@y:z"; "parent")]
    #[test_case("HTTPS://example.com/x"; "schemes of files are case sensitive")]
    #[test_case("docker-image://alpine"; "image")]
    #[test_case("cwd://x"; "working directory")]
    #[test_case("oci-layout://x@sha256:00"; "layout")]
    #[test_case("ftp://h/x.git"; "unknown protocol")]
    #[test_case("sub/dir@v1"; "path with at sign")]
    fn local_paths_are_not_remote(address: &str) {
        assert_eq!(remote_kind(address), None);
    }
}
