//! The parts of a git repository's address: what is cloned, which commit, and which directory of it.
//!
//! The rules are those of BuildKit (`frontend/dockerfile/dfgitutil`, `util/gitutil`), which reads these addresses in
//! contexts; rbake must describe the same source to the daemon.

use std::collections::BTreeMap;

use super::{RemoteKind, is_scp_style, remote_kind, scheme};
use crate::golang::{path, strconv};

/// A git repository, and what of it is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GitReference {
    /// The address that `git clone` accepts, without query and fragment.
    pub(crate) remote: String,
    /// The host, with its port if there is one.
    pub(crate) host: String,
    /// The path of the repository on the host. It starts with `/`.
    pub(crate) path: String,
    /// Whether it is reached over SSH.
    pub(crate) is_ssh: bool,
    /// A branch, a tag, another reference or a commit. Empty for the default branch.
    pub(crate) reference: String,
    /// The directory in the repository. Empty for all of it.
    pub(crate) directory: String,
    /// The commit that the reference must have. Empty if any will do.
    pub(crate) commit: String,
    /// Whether submodules are fetched. `None` if the address does not say.
    pub(crate) submodules: Option<bool>,
    /// Whether `.git` is kept. `None` if the address does not say.
    pub(crate) keep_git_dir: Option<bool>,
    /// Where the times of files come from: `checkout` or `commit`. Empty if the address does not say.
    pub(crate) times: String,
    /// Whether the commit is fetched without a look at the reference.
    pub(crate) fetch_by_commit: bool,
}

/// Why the query of a repository's address cannot be used. The texts are complete sentences about the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidGitReference {
    /// A key that needs a value has none.
    #[error("`{0}` has no value")]
    NoValue(String),
    /// A key is there several times.
    #[error("`{0}` is there more than once")]
    Repeated(String),
    /// Two parts name different things.
    #[error("`{first}` and `{second}` contradict each other")]
    Conflict { first: String, second: String },
    /// A value is not one of those that the key may have.
    #[error("`{key}` cannot be `{value}`")]
    Value { key: String, value: String },
    /// BuildKit does not know the key.
    #[error("`{0}` is not a setting of a git repository")]
    Unknown(String),
}

impl GitReference {
    /// Parses `address`. `None` if it does not name a git repository.
    pub(crate) fn parse(address: &str) -> Option<Result<Self, InvalidGitReference>> {
        let Some(RemoteKind::Git { ssh }) = remote_kind(address) else {
            return None;
        };
        let (rest, fragment) = address.split_once('#').unwrap_or((address, ""));
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text);
            text.decode_utf8_lossy().into_owned()
        };
        let mut git = Self {
            is_ssh: ssh,
            ..Self::default()
        };
        if let Some((name, rest)) = scheme(base) {
            let (host, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            host.clone_into(&mut git.host);
            git.path = path::join("/", &decoded(below));
            git.remote = format!("{name}://{rest}");
        } else if is_scp_style(base) {
            let (host, below) = base.split_once(':')?;
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            host.clone_into(&mut git.host);
            git.path = path::join("/", below);
            base.clone_into(&mut git.remote);
        } else {
            // `github.com/…`
            let (host, below) = base.split_at(base.find('/')?);
            host.clone_into(&mut git.host);
            git.path = path::join("/", &decoded(below));
            git.remote = format!("https://{base}");
        }
        let fragment = if is_scp_style(base) {
            fragment.to_owned()
        } else {
            decoded(fragment)
        };
        let (reference, directory) = fragment.split_once(':').unwrap_or((&fragment, ""));
        reference.clone_into(&mut git.reference);
        let directory = path::join("/", directory);
        directory
            .trim_start_matches('/')
            .clone_into(&mut git.directory);
        Some(git.with_query(query))
    }

    fn with_query(mut self, query: &str) -> Result<Self, InvalidGitReference> {
        let mut pairs = BTreeMap::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()).into_owned() {
            if pairs.contains_key(&key) {
                return Err(InvalidGitReference::Repeated(key));
            }
            pairs.insert(key, value);
        }
        let take = |pairs: &mut BTreeMap<String, String>, key: &str| match pairs.remove(key) {
            Some(value) if value.is_empty() => Err(InvalidGitReference::NoValue(key.to_owned())),
            value => Ok(value),
        };
        agree(&mut self.reference, take(&mut pairs, "ref")?)?;
        let tag = take(&mut pairs, "tag")?.map(|tag| with_prefix("refs/tags/", tag));
        let branch = take(&mut pairs, "branch")?.map(|branch| with_prefix("refs/heads/", branch));
        agree(&mut self.reference, tag)?;
        agree(&mut self.reference, branch)?;
        agree(&mut self.directory, take(&mut pairs, "subdir")?)?;
        let mut commit = String::new();
        agree(&mut commit, take(&mut pairs, "checksum")?)?;
        agree(&mut commit, take(&mut pairs, "commit")?)?;
        self.commit = commit;
        self.submodules = flag(&mut pairs, "submodules")?;
        self.keep_git_dir = flag(&mut pairs, "keep-git-dir")?;
        self.fetch_by_commit = flag(&mut pairs, "fetch-by-commit")?.unwrap_or(false);
        let times = take(&mut pairs, "mtime")?.unwrap_or_default();
        if !matches!(&*times, "" | "checkout" | "commit") {
            let key = "mtime".to_owned();
            return Err(InvalidGitReference::Value { key, value: times });
        }
        self.times = times;
        match pairs.pop_first() {
            Some((key, _)) => Err(InvalidGitReference::Unknown(key)),
            None => Ok(self),
        }
    }

    /// The identifier by which BuildKit knows the source (`client/llb`, `Git`). It is the same for all protocols.
    pub(crate) fn identifier(&self) -> String {
        let mut identifier = format!("git://{}{}", self.host, self.path);
        if !self.reference.is_empty() || !self.directory.is_empty() {
            identifier.push('#');
            identifier.push_str(&self.reference);
        }
        if !self.directory.is_empty() {
            identifier.push(':');
            identifier.push_str(&self.directory);
        }
        identifier
    }
}

/// Sets `to`. If it is set already, both must be equal.
fn agree(to: &mut String, value: Option<String>) -> Result<(), InvalidGitReference> {
    match value {
        Some(value) if !to.is_empty() && *to != value => Err(InvalidGitReference::Conflict {
            first: to.clone(),
            second: value,
        }),
        Some(value) => {
            *to = value;
            Ok(())
        }
        None => Ok(()),
    }
}

fn with_prefix(prefix: &str, name: String) -> String {
    if name.starts_with(prefix) {
        return name;
    }
    format!("{prefix}{name}")
}

/// A key that stands for `true` if it has no value.
fn flag(
    pairs: &mut BTreeMap<String, String>,
    key: &str,
) -> Result<Option<bool>, InvalidGitReference> {
    match pairs.remove(key) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(Some(true)),
        Some(value) => match strconv::parse_bool(&value) {
            Some(flag) => Ok(Some(flag)),
            None => Err(InvalidGitReference::Value {
                key: key.to_owned(),
                value,
            }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn parse(address: &str) -> Result<GitReference, InvalidGitReference> {
        GitReference::parse(address).unwrap()
    }

    // The identifiers are those of BuildKit's `client/llb`.
    #[test_case("https://example.com/a/r.git", "https://example.com/a/r.git", "git://example.com/a/r.git"; "https")]
    #[test_case("https://u:p@example.com/r.git#main:sub/", "https://u:p@example.com/r.git", "git://example.com/r.git#main:sub"; "fragment")]
    #[test_case("git@h:a/r.git#:../x", "git@h:a/r.git", "git://h/a/r.git#:x"; "scp style")]
    #[test_case("github.com/a/b", "https://github.com/a/b", "git://github.com/a/b"; "short form")]
    #[test_case("ssh://git@h:22/r", "ssh://git@h:22/r", "git://h:22/r"; "ssh")]
    #[test_case("https://h/r.git?tag=v1&subdir=d", "https://h/r.git", "git://h/r.git#refs/tags/v1:d"; "query")]
    #[test_case("https://h/r.git?branch=refs/heads/x", "https://h/r.git", "git://h/r.git#refs/heads/x"; "branch")]
    #[test_case("https://h/r.git?ref=x#x", "https://h/r.git", "git://h/r.git#x"; "query and fragment agree")]
    fn addresses_are_parsed(address: &str, remote: &str, identifier: &str) {
        let git = parse(address).unwrap();
        assert_eq!((&*git.remote, &*git.identifier()), (remote, identifier));
    }

    #[test]
    fn settings_of_a_query_are_read() {
        let query = "submodules=false&keep-git-dir&mtime=commit&commit=abc&fetch-by-commit=1";
        let git = parse(&format!("https://h/r.git?{query}")).unwrap();
        assert_eq!(
            (git.submodules, git.keep_git_dir, git.fetch_by_commit),
            (Some(false), Some(true), true)
        );
        assert_eq!((&*git.times, &*git.commit), ("commit", "abc"));
    }

    #[test_case("ref=a#b", "`b` and `a` contradict each other"; "two references")]
    #[test_case("tag=a&branch=a", "`refs/tags/a` and `refs/heads/a` contradict each other"; "tag and branch")]
    #[test_case("ref=", "`ref` has no value"; "no value")]
    #[test_case("ref=a&ref=a", "`ref` is there more than once"; "twice")]
    #[test_case("mtime=x", "`mtime` cannot be `x`"; "times")]
    #[test_case("submodules=x", "`submodules` cannot be `x`"; "flag")]
    #[test_case("zz=1", "`zz` is not a setting of a git repository"; "unknown")]
    fn queries_that_buildkit_refuses_are_refused(query: &str, expected: &str) {
        let error = parse(&format!("https://h/r.git?{query}")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn other_addresses_are_not_git() {
        for address in ["https://h/x", "./r.git", "x", "docker-image://a"] {
            assert_eq!(GitReference::parse(address), None, "{address}");
        }
    }
}
