//! What a definition that was fetched means by its paths: places in the tree it came from, unless they say otherwise.
//!
//! Pure text, held to what buildx prints. Fetching is for whoever has a builder; what it takes is in [`RemoteAccess`].

use crate::definition::model::SharedText;
use crate::golang::path;
use crate::types::Environment;
use crate::types::remote::{self, RemoteKind, host, is_remote};

/// The tree that a definition was fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteTree {
    url: SharedText,
}

/// Where a context of a fetched definition lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemotePlace {
    /// It is the tree itself.
    Root,
    /// It is this directory of the tree.
    Below(String),
    /// It is on this machine, another target, an image or another tree: what it is without a fetched definition, too.
    Elsewhere,
}

impl RemoteTree {
    /// The tree at `url`.
    pub(crate) fn at(url: impl Into<SharedText>) -> Self {
        Self { url: url.into() }
    }

    /// Where the main context `text` lies. Targets and images are no main contexts: their names are paths.
    pub(crate) fn context(text: &str) -> RemotePlace {
        if text.starts_with("cwd://") || is_remote(text) {
            return RemotePlace::Elsewhere;
        }
        match path::clean(text) {
            root if root == "." => RemotePlace::Root,
            path => RemotePlace::Below(path),
        }
    }

    /// Where the named context `text` lies.
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

    /// How `place` is printed: as an address that leads there by itself, where the tree is a repository. None for
    /// what is elsewhere.
    pub(crate) fn address(&self, place: &RemotePlace) -> Option<String> {
        match place {
            RemotePlace::Root => Some(self.url.to_string()),
            RemotePlace::Below(path) => Some(with_directory(&self.url, path)),
            RemotePlace::Elsewhere => None,
        }
    }

    /// Whether a Dockerfile called `dockerfile` cannot be found: that of a context on this machine would have to be read
    /// from the tree.
    pub(crate) fn hides_dockerfile(context: &str, dockerfile: &str) -> bool {
        context.starts_with("cwd://") && !dockerfile.starts_with("cwd://") && !is_remote(dockerfile)
    }
}

/// What is needed to fetch from a repository, by the names of what holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RemoteAccess {
    /// Secrets: their ids for the daemon, and the environment variables that hold them.
    pub(crate) secrets: Vec<(String, String)>,
    /// Keys or sockets for SSH; none means the agent of the environment.
    pub(crate) ssh: Vec<String>,
}

impl RemoteAccess {
    /// What the environment has for the repository at `url`.
    pub(crate) fn to(url: &str, environment: &Environment) -> Self {
        let ssh = environment.get("BUILDX_BAKE_GIT_SSH").unwrap_or_default();
        let ssh = ssh.split(',').filter(|path| !path.is_empty());
        Self {
            secrets: secrets(url, environment),
            ssh: ssh.map(str::to_owned).collect(),
        }
    }

    /// The secrets that a target may use whose context is `context`: those of the definition, where both are of one
    /// host.
    pub(crate) fn of_context(
        definition: &str,
        context: &str,
        environment: &Environment,
    ) -> Vec<(String, String)> {
        let same = is_remote(definition)
            && is_remote(context)
            && host(definition).is_some_and(|own| {
                host(context).is_some_and(|other| own.eq_ignore_ascii_case(other))
            });
        if same {
            secrets(definition, environment)
        } else {
            Vec::new()
        }
    }
}

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

/// Keys that a repository's address may have in its query.
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

// `url` with `path` below the directory that it names already. Addresses that are no repositories stay as they are.
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
    // What BuildKit would not take for a repository's address.
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
    // `user@host:path` is no URL to Go, which leaves the query alone then.
    let is_url = address.contains("://") || address.starts_with("github.com/");
    if !url.contains('#') && named.is_some() && is_url {
        return format!("{address}?{}", query_with(pairs, &below));
    }
    format!("{base}#{reference}:{below}")
}

// As Go's `url.Values.Encode` writes it: sorted, with all but letters, digits and `-_.~` escaped.
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

    fn shown(url: &str, context: &str) -> Option<String> {
        RemoteTree::at(url).address(&RemoteTree::context(context))
    }

    // What buildx v0.36.1 printed for definitions of a repository, with `R` for `git://host:1/r.git`.
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
    fn what_is_elsewhere_stays() {
        let url = "https://h/r.git";
        assert_eq!(shown(url, "cwd://x"), None);
        assert_eq!(shown(url, "https://example.com/a.git#b"), None);
        assert_eq!(shown(url, ""), Some(url.to_owned()));
        // An archive has no address for what is in it.
        let archive = "https://h/a.tar.gz";
        assert_eq!(shown(archive, "sub").as_deref(), Some(archive));
        // Nor an address that no repository has.
        for odd in ["https://h/r.git?zz=1", "https://h/r.git?subdir=a#m:b"] {
            assert_eq!(shown(odd, "sub").as_deref(), Some(odd));
        }
    }

    #[test]
    fn named_contexts() {
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
    fn dockerfiles_of_contexts_here_are_here() {
        assert!(RemoteTree::hides_dockerfile("cwd://", "Dockerfile"));
        assert!(!RemoteTree::hides_dockerfile("cwd://", "cwd://Dockerfile"));
        assert!(!RemoteTree::hides_dockerfile(
            "cwd://",
            "https://h/Dockerfile"
        ));
        assert!(!RemoteTree::hides_dockerfile(".", "Dockerfile"));
    }

    #[test]
    fn credentials_are_for_one_host() {
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
        let of_context =
            |context: &str| RemoteAccess::of_context("https://h:1/r.git", context, &environment);
        assert_eq!(of_context("https://H:1/other.git"), both);
        assert_eq!(of_context("https://h:2/other.git"), []);
        assert_eq!(of_context("sub"), []);
        let scp = RemoteAccess::of_context("git@h:a/b.git", "ssh://git@h/c.git", &environment);
        assert_eq!(scp[0].0, "GIT_AUTH_TOKEN.h");
    }
}
