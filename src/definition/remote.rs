//! The meaning of paths in a definition that was fetched from a remote address: most refer to the tree that it
//! came from.
//!
//! This module only handles text; tests compare the results with buildx. Fetching needs a builder and is done in
//! `run::fetch`. [`RemoteAccess`] says which credentials it needs.

use std::sync::Arc;

use crate::definition::model::SharedText;
use crate::golang::path;
use crate::types::Environment;
use crate::types::remote::{
    self, GitReference, InvalidGitReference, RemoteAddress, RemoteKind, host, is_remote,
};

/// The tree that a definition was fetched from: a git repository or an archive. A definition that was downloaded as a
/// single file has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteTree {
    address: RemoteAddress,
    /// What of a repository is used. `None` for an archive.
    git: Option<GitReference>,
}

/// Where a context of a fetched definition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemotePlace {
    /// At the root of the tree.
    Root,
    /// In this directory of the tree.
    Below(String),
    /// Not in the tree: on the local machine, in another target, an image or another remote tree. It means the
    /// same as in a local definition.
    Elsewhere,
}

/// A directory of a tree that a definition was fetched from. The builder fetches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeDirectory {
    /// The tree.
    pub(crate) tree: Arc<RemoteTree>,
    /// The path in the tree, as the definition has it. `None` for the root.
    pub(crate) path: Option<SharedText>,
}

impl TreeDirectory {
    /// Whether the tree is a git repository.
    pub(crate) fn is_git(&self) -> bool {
        self.tree.git.is_some()
    }

    /// The address, as buildx prints it. Empty in an archive.
    pub(crate) fn address(&self) -> String {
        self.tree.address(self.path.as_deref())
    }
}

impl RemoteTree {
    /// The tree at `address`.
    ///
    /// # Errors
    /// BuildKit would refuse the query of the address.
    pub(crate) fn at(address: RemoteAddress) -> Result<Self, InvalidGitReference> {
        let git = GitReference::parse(address.as_str()).transpose()?;
        Ok(Self { address, git })
    }

    /// What of a repository is used. `None` for an archive.
    pub(crate) const fn git(&self) -> Option<&GitReference> {
        self.git.as_ref()
    }

    /// The address that the tree was fetched from.
    pub(crate) const fn source(&self) -> &RemoteAddress {
        &self.address
    }

    /// Where the main context `text` is. Prefixes such as `target:` and `docker-image:` have no meaning in a main
    /// context: such a text is a path.
    pub(crate) fn context(text: &str) -> RemotePlace {
        if text.starts_with("cwd://") || is_remote(text) {
            return RemotePlace::Elsewhere;
        }
        match path::clean(text) {
            root if root == "." => RemotePlace::Root,
            path => RemotePlace::Below(path),
        }
    }

    /// Where the named context `text` is.
    pub(crate) fn named_context(text: &str) -> RemotePlace {
        let elsewhere = ["cwd://", "target:", "docker-image:"];
        match text {
            "." => RemotePlace::Root,
            text if elsewhere.iter().any(|prefix| text.starts_with(prefix)) => {
                RemotePlace::Elsewhere
            }
            text if is_remote(text) => RemotePlace::Elsewhere,
            text => RemotePlace::Below(text.to_owned()),
        }
    }

    /// The address of the directory `path` of the tree, as buildx prints it. That of a directory in an archive is empty.
    pub(crate) fn address(&self, path: Option<&str>) -> String {
        match (&self.git, path) {
            (None, _) => String::new(),
            (Some(_), None) => self.address.to_string(),
            (Some(_), Some(path)) => with_directory(self.address.as_str(), path),
        }
    }

    /// Whether the Dockerfile `dockerfile` cannot be found: the context is on the local machine, but the path of
    /// the Dockerfile refers to the tree.
    pub(crate) fn hides_dockerfile(&self, context: &str, dockerfile: &str) -> bool {
        self.git.is_some()
            && context.starts_with("cwd://")
            && !dockerfile.starts_with("cwd://")
            && !is_remote(dockerfile)
    }

    /// The secrets for a target with the context `context`: those of the definition, if both are on the same host.
    /// Another host must not receive them.
    pub(crate) fn secrets_of(
        &self,
        context: &str,
        environment: &Environment,
    ) -> Vec<(String, String)> {
        let own = self.address.as_str();
        let same = self.git.is_some()
            && is_remote(context)
            && host(own).is_some_and(|own| {
                host(context).is_some_and(|other| own.eq_ignore_ascii_case(other))
            });
        if same {
            secrets(own, environment)
        } else {
            Vec::new()
        }
    }
}

/// The credentials for fetching from a repository. They are named, not contained.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RemoteAccess {
    /// Secrets: the ids that the daemon asks for, each with the environment variable that contains the value.
    pub(crate) secrets: Vec<(String, String)>,
    /// SSH keys or sockets of agents. Empty means the agent in the environment.
    pub(crate) ssh: Vec<String>,
}

impl RemoteAccess {
    /// The credentials for the repository at `url` that the environment names.
    pub(crate) fn to(url: &str, environment: &Environment) -> Self {
        let ssh = environment.get("BUILDX_BAKE_GIT_SSH").unwrap_or_default();
        let ssh = ssh.split(',').filter(|path| !path.is_empty());
        Self {
            secrets: secrets(url, environment),
            ssh: ssh.map(str::to_owned).collect(),
        }
    }
}

/// The git credentials for the host of `url`. The names of the variables may be written in upper or lower case.
fn secrets(url: &str, environment: &Environment) -> Vec<(String, String)> {
    let Some(host) = host(url) else {
        return Vec::new();
    };
    let kinds = [
        ("GIT_AUTH_TOKEN", "BUILDX_BAKE_GIT_AUTH_TOKEN"),
        ("GIT_AUTH_HEADER", "BUILDX_BAKE_GIT_AUTH_HEADER"),
    ];
    kinds
        .into_iter()
        .filter_map(|(id, variable)| {
            let mut names = environment.iter().map(|(name, _)| name);
            let name = names.find(|name| name.eq_ignore_ascii_case(variable))?;
            Some((format!("{id}.{host}"), name.to_owned()))
        })
        .collect()
}

/// The query keys that BuildKit knows in the address of a repository.
const QUERY_KEYS: [&str; 10] = [
    "ref",
    "tag",
    "branch",
    "subdir",
    "checksum",
    "commit",
    "keep-git-dir",
    "submodules",
    "mtime",
    "fetch-by-commit",
];

/// Adds `path` to the directory in the address `url`. Addresses that are not git repositories are returned unchanged.
fn with_directory(url: &str, path: &str) -> String {
    let path = path::clean(path);
    let is_git = matches!(remote::remote_kind(url), Some(RemoteKind::Git { .. }));
    if path == "." || !is_git {
        return url.to_owned();
    }
    let (base, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
    let (address, query) = base.split_once('?').unwrap_or((base, ""));
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let named = pairs.iter().find(|(key, _)| key == "subdir");
    let named = named.map(|(_, directory)| directory.as_str());
    // BuildKit refuses such an address, so leave it unchanged.
    let conflict = !directory.is_empty() && named.is_some_and(|named| named != directory);
    let unknown = pairs
        .iter()
        .any(|(key, _)| !QUERY_KEYS.contains(&key.as_str()));
    if conflict || unknown {
        return url.to_owned();
    }
    let below = match (directory, named) {
        ("", None) => path,
        ("", Some(named)) => path::join(named, &path),
        (directory, _) => path::join(directory, &path),
    };
    // Go does not parse `user@host:path` as a URL, so buildx does not change its query.
    let is_url = address.contains("://") || address.starts_with("github.com/");
    if !url.contains('#') && named.is_some() && is_url {
        return format!("{address}?{}", query_with(pairs, &below));
    }
    format!("{base}#{reference}:{below}")
}

/// Encodes the query as Go's `url.Values.Encode`: sorted by key, and everything except letters, digits and `-_.~`
/// escaped.
fn query_with(mut pairs: Vec<(String, String)>, directory: &str) -> String {
    let escaped = |text: &str| {
        let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        text.replace('*', "%2A").replace("%7E", "~")
    };
    for (key, value) in &mut pairs {
        if key == "subdir" {
            directory.clone_into(value);
        }
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let pairs = pairs
        .iter()
        .map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn tree(url: &str) -> RemoteTree {
        RemoteTree::at(RemoteAddress::parse(&url.into()).unwrap()).unwrap()
    }

    fn shown(url: &str, context: &str) -> Option<String> {
        match RemoteTree::context(context) {
            RemotePlace::Root => Some(tree(url).address(None)),
            RemotePlace::Below(path) => Some(tree(url).address(Some(&path))),
            RemotePlace::Elsewhere => None,
        }
    }

    // The expected texts are what buildx v0.36.1 printed for definitions in a repository. `R` is `git://host:1/r.git`.
    #[test_case("R", [".", "#:sub", "#:sub/x y", "#:../up", "#:/abs", "#:docker-image:/alpine"]; "bare")]
    #[test_case("R#main", [".", ":sub", ":sub/x y", ":../up", ":/abs", ":docker-image:/alpine"]; "reference")]
    #[test_case("R#main:dir", [".", "/sub", "/sub/x y", "R#main:up", "/abs", "/docker-image:/alpine"]; "directory")]
    #[test_case("R#:dir", [".", "/sub", "/sub/x y", "R#:up", "/abs", "/docker-image:/alpine"]; "directory without reference")]
    #[test_case("R?subdir=dir", [".", "%2Fsub", "%2Fsub%2Fx+y", "R?subdir=up", "%2Fabs", "%2Fdocker-image%3A%2Falpine"]; "query")]
    #[test_case("R?ref=main", [".", "#:sub", "#:sub/x y", "#:../up", "#:/abs", "#:docker-image:/alpine"]; "reference in the query")]
    #[test_case("R?ref=main&subdir=dir", [".", "%2Fsub", "%2Fsub%2Fx+y", "R?ref=main&subdir=up", "%2Fabs", "%2Fdocker-image%3A%2Falpine"]; "both in the query")]
    #[test_case("R?subdir=dir#main", [".", ":dir/sub", ":dir/sub/x y", ":up", ":dir/abs", ":dir/docker-image:/alpine"]; "query and fragment")]
    fn contexts_are_printed_as_addresses(url: &str, expected: [&str; 6]) {
        const REPOSITORY: &str = "git://host:1/r.git";
        let url = url.replace('R', REPOSITORY);
        let contexts = [
            ".",
            "./sub/",
            "sub/x y",
            "../up",
            "/abs",
            "docker-image://alpine",
        ];
        for (context, expected) in contexts.into_iter().zip(expected) {
            let expected = match expected {
                "." => url.clone(),
                whole if whole.starts_with('R') => whole.replacen('R', REPOSITORY, 1),
                end => format!("{url}{end}"),
            };
            assert_eq!(shown(&url, context), Some(expected), "{context}");
        }
    }

    #[test]
    fn contexts_outside_the_repository_are_unchanged() {
        let url = "https://h/r.git";
        assert_eq!(shown(url, "cwd://x"), None);
        assert_eq!(shown(url, "https://example.com/a.git#b"), None);
        assert_eq!(shown(url, ""), Some(url.to_owned()));
        // A directory inside an archive has no address.
        let archive = "https://h/a.tar.gz";
        assert_eq!(shown(archive, "sub").as_deref(), Some(""));
        // Addresses that BuildKit refuses are left unchanged.
        for odd in ["https://h/r.git?zz=1", "https://h/r.git?subdir=a#m:b"] {
            assert_eq!(with_directory(odd, "sub"), odd);
        }
    }

    #[test]
    fn named_contexts_are_in_the_repository_or_elsewhere() {
        assert_eq!(RemoteTree::named_context("."), RemotePlace::Root);
        assert_eq!(
            RemoteTree::named_context("sub"),
            RemotePlace::Below("sub".into())
        );
        for text in [
            "cwd://x",
            "target:a",
            "docker-image://a",
            "https://h/x",
            "git@h:a",
        ] {
            assert_eq!(
                RemoteTree::named_context(text),
                RemotePlace::Elsewhere,
                "{text}"
            );
        }
    }

    #[test]
    fn dockerfiles_of_local_contexts_are_local() {
        let git = tree("https://h/r.git");
        assert!(git.hides_dockerfile("cwd://", "Dockerfile"));
        assert!(!git.hides_dockerfile("cwd://", "cwd://Dockerfile"));
        assert!(!git.hides_dockerfile("cwd://", "https://h/Dockerfile"));
        assert!(!git.hides_dockerfile(".", "Dockerfile"));
    }

    #[test]
    fn credentials_are_only_for_the_host_of_the_definition() {
        let environment = Environment::of(
            [
                ("buildx_bake_git_auth_token", "t"),
                ("BUILDX_BAKE_GIT_AUTH_HEADER", "basic"),
                ("BUILDX_BAKE_GIT_AUTH_TOKEN.h", "x"),
                ("BUILDX_BAKE_GIT_SSH", "/a,/b"),
            ],
            "/",
        );
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(id, name)| ((*id).to_owned(), (*name).to_owned()));
            pairs.collect::<Vec<_>>()
        };
        let both = pairs(&[
            ("GIT_AUTH_TOKEN.h:1", "buildx_bake_git_auth_token"),
            ("GIT_AUTH_HEADER.h:1", "BUILDX_BAKE_GIT_AUTH_HEADER"),
        ]);
        let access = RemoteAccess::to("https://user@h:1/r.git#x", &environment);
        assert_eq!(access.secrets, both);
        assert_eq!(access.ssh, ["/a", "/b"]);
        let definition = tree("https://h:1/r.git");
        let of_context = |context: &str| definition.secrets_of(context, &environment);
        assert_eq!(of_context("https://H:1/other.git"), both);
        assert_eq!(of_context("https://h:2/other.git"), []);
        assert_eq!(of_context("sub"), []);
        let scp = tree("git@h:a/b.git").secrets_of("ssh://git@h/c.git", &environment);
        assert_eq!(scp[0].0, "GIT_AUTH_TOKEN.h");
    }
}
