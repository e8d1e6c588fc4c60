//! Lowers cache imports and exports, with the attributes that the client adds to them.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::Lowering;
use crate::definition::model::{CacheEntry, CacheKind};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::engine::spec::{self, CacheBackend};
use crate::golang::strconv;
use crate::plan::Plan;
use crate::run::aws_keys::AwsKeys;
use crate::types::{Digest, Environment, ImageName, Secret};

/// A cache in a directory of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalCache {
    /// The cache is imported.
    Import {
        /// The directory, an OCI layout.
        dir: PathBuf,
        /// The name by which the daemon asks for it.
        name: String,
        /// The tag to look for if there is no digest.
        tag: String,
        /// The digest of the manifest, if the user names it.
        digest: Option<Digest>,
    },
    /// The cache is exported.
    Export {
        /// The directory, an OCI layout. It is created if it does not exist.
        dir: PathBuf,
        /// The name by which the daemon asks for it.
        name: String,
        /// The tag to set after the solve.
        tag: String,
        /// Whether blobs that no tag refers to are deleted afterwards.
        reset: bool,
    },
}

/// The attributes with AWS keys: the id, the secret, and the token of a session.
const AWS_ATTRIBUTES: [&str; 3] = ["access_key_id", "secret_access_key", "session_token"];

/// Whether `entry` leaves keys to the environment.
pub(in crate::run) fn lacks_aws_keys(entry: &CacheEntry) -> bool {
    let [id, secret, _] = AWS_ATTRIBUTES;
    entry.kind == CacheKind::S3 && (entry.attr(id).is_none() || entry.attr(secret).is_none())
}

#[derive(Debug, Default)]
pub(super) struct LoweredCaches {
    pub(super) imports: Vec<spec::SolveCache>,
    pub(super) exports: Vec<spec::SolveCache>,
    pub(super) local: Vec<LocalCache>,
}

/// Lowers the caches of a target. The build argument `BUILDKIT_INLINE_CACHE` adds an inline cache, as in buildx.
pub(super) fn lower(lowering: &mut Lowering<'_>) -> LoweredCaches {
    let mut caches = LoweredCaches::default();
    let target = lowering.target;
    let values = lowering.planned.build();
    for (entry, image) in target.cache_from.iter().zip(&values.cache_from) {
        let import = lower_entry(lowering, (entry, image), "src", &mut caches.local);
        caches.imports.extend(import);
    }
    for (entry, image) in target.cache_to.iter().zip(&values.cache_to) {
        let export = lower_entry(lowering, (entry, image), "dest", &mut caches.local);
        caches.exports.extend(export);
    }
    let inline = |entry: &spec::SolveCache| entry.backend == CacheBackend::Inline;
    if lowering.flag_arg("BUILDKIT_INLINE_CACHE") && !caches.exports.iter().any(inline) {
        caches.exports.push(plain(CacheBackend::Inline));
    }
    caches
}

fn plain(backend: CacheBackend) -> spec::SolveCache {
    spec::SolveCache {
        backend,
        image: None,
        extra: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

fn backend(kind: &CacheKind) -> CacheBackend {
    match kind {
        CacheKind::Registry => CacheBackend::Registry,
        CacheKind::Inline => CacheBackend::Inline,
        CacheKind::Local => CacheBackend::Local,
        CacheKind::Gha => CacheBackend::Gha,
        CacheKind::S3 => CacheBackend::S3,
        CacheKind::AzBlob => CacheBackend::Azblob,
        CacheKind::Other(name) => CacheBackend::Other(name.to_string()),
    }
}

/// Lowers one entry. `None` if it is left out. `directory_key` is the attribute that names the directory of a
/// local cache; the directory is added to `local`.
fn lower_entry(
    lowering: &mut Lowering<'_>,
    (entry, image): (&Spanned<CacheEntry>, &Option<ImageName>),
    directory_key: &str,
    local: &mut Vec<LocalCache>,
) -> Option<spec::SolveCache> {
    let mut lowered = plain(backend(&entry.value.kind));
    lowered.image.clone_from(image);
    lowered.extra = entry
        .value
        .attrs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    if image.is_some() {
        lowered.extra.remove("ref");
    }
    match lowered.backend {
        CacheBackend::Gha => with_gha(lowering, lowered),
        CacheBackend::S3 => Some(with_aws_keys(&lowering.setting.aws, lowered)),
        CacheBackend::Azblob => {
            keep_secret(&mut lowered, "secret_access_key");
            Some(lowered)
        }
        CacheBackend::Local => Some(with_directory(
            lowering,
            entry,
            lowered,
            directory_key,
            local,
        )),
        _ => Some(lowered),
    }
}

/// Returns the name of a local cache. The solve and the session must use the same bytes. It is the path, with `%`
/// and two digits for each byte that a gRPC header cannot hold.
fn name_of(dir: &[u8]) -> String {
    const UNFIT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');
    let fits = dir.iter().all(|b| (b' '..=b'~').contains(b));
    if fits {
        return String::from_utf8_lossy(dir).into_owned();
    }
    percent_encoding::percent_encode(dir, UNFIT).to_string()
}

/// Completes an entry for a local cache, whose directory is named by the attribute `key`. The tag is handled by
/// this side, so it is not sent.
fn with_directory(
    lowering: &mut Lowering<'_>,
    entry: &Spanned<CacheEntry>,
    mut lowered: spec::SolveCache,
    key: &str,
    local: &mut Vec<LocalCache>,
) -> spec::SolveCache {
    // `run::attributes` has refused entries without a directory and invalid digests.
    let Some(path) = lowered.extra.get(key).cloned() else {
        return lowered;
    };
    let Some(place) = lowering.place(&path, entry.span) else {
        return lowered;
    };
    let dir = place.path().to_owned();
    let name = name_of(dir.as_os_str().as_bytes());
    lowered.extra.insert(key.to_owned(), name.clone());
    let tag = lowered
        .extra
        .remove("tag")
        .unwrap_or_else(|| "latest".to_owned());
    if key == "src" {
        let digest = lowered.extra.get("digest");
        let digest = digest.and_then(|digest| digest.parse().ok());
        local.push(LocalCache::Import {
            dir,
            name,
            tag,
            digest,
        });
    } else {
        let reset = lowered
            .extra
            .remove("reset")
            .as_deref()
            .and_then(strconv::parse_bool)
            == Some(true);
        local.push(LocalCache::Export {
            dir,
            name,
            tag,
            reset,
        });
    }
    lowered
}

/// Moves the attribute `key` to those that must stay secret.
fn keep_secret(entry: &mut spec::SolveCache, key: &str) {
    if let Some(value) = entry.extra.remove(key) {
        entry.credentials.insert(key.to_owned(), Secret::new(value));
    }
}

/// Completes an entry for S3 with `keys`, as buildx does (`addAwsCredentials` in `build/opt.go`). Without keys, the daemon uses its
/// own.
fn with_aws_keys(keys: &AwsKeys, mut entry: spec::SolveCache) -> spec::SolveCache {
    for key in AWS_ATTRIBUTES {
        keep_secret(&mut entry, key);
    }
    let [id, secret, token] = AWS_ATTRIBUTES;
    let has = |key| entry.credentials.contains_key(key);
    // A session token belongs to its keys.
    if has(id) && has(secret) {
        return entry;
    }
    if let AwsKeys::Found(found) = keys {
        let found = [
            (id, Some(found.access_key())),
            (secret, Some(found.secret_key())),
            (token, found.session_token()),
        ];
        for (key, value) in found {
            if let Some(value) = value {
                let value = || value.clone();
                entry
                    .credentials
                    .entry(key.to_owned())
                    .or_insert_with(value);
            }
        }
    }
    entry
}

/// Completes an entry for GitHub's cache service with its address and token from the job's environment. Without
/// them, the entry is left out, as in buildx; [`check_github`] has reported that.
fn with_gha(lowering: &mut Lowering<'_>, mut entry: spec::SolveCache) -> Option<spec::SolveCache> {
    if !lowering.setting.caches.gha {
        return None;
    }
    let environment = &lowering.setting.environment;
    keep_secret(&mut entry, "token");
    keep_secret(&mut entry, "ghtoken");
    if let Some(token) = environment.non_empty("ACTIONS_RUNTIME_TOKEN") {
        let token = || Secret::new(token.to_owned());
        entry
            .credentials
            .entry("token".into())
            .or_insert_with(token);
    }
    add_addresses(environment, &mut entry.extra);
    let is_whole = entry.credentials.contains_key("token") && has_address(&entry.extra);
    is_whole.then_some(entry)
}

/// Warns about targets of `plan` whose GitHub caches will be left out, because a job of GitHub Actions does not have the
/// credentials. GitHub gives them to actions but not to `run:` steps.
pub(in crate::run) fn check_github(plan: &Plan, environment: &Environment) -> Diagnostics {
    let mut problems = Diagnostics::default();
    if environment.get("GITHUB_ACTIONS") != Some("true") {
        return problems;
    }
    for target in plan.targets.values() {
        let attributes = &target.attributes;
        let mut entries = attributes
            .cache_from
            .iter()
            .chain(attributes.cache_to.iter());
        let lacks = |entry: &&Spanned<CacheEntry>| leaves_out(entry, environment);
        let Some(entry) = entries.find(lacks) else {
            continue;
        };
        let message = format!(
            "target `{}`: rbake does not use the cache of GitHub Actions, because its credentials are not in the environment",
            target.name
        );
        let warning = Diagnostic::warning("run::gha-without-token", message)
            .help("GitHub gives them to actions, not to `run:` steps; an action such as `crazy-max/ghaction-github-runtime` passes them on");
        problems.push(match entry.span {
            Some(span) => warning.at(span, ""),
            None => warning,
        });
    }
    problems
}

/// Whether the cache `entry` is left out whatever the builder can do: a cache of GitHub without credentials. buildx drops it, too.
pub(crate) fn leaves_out(entry: &CacheEntry, environment: &Environment) -> bool {
    entry.kind == CacheKind::Gha && !has_credentials(entry, environment)
}

/// Whether the token and an address of GitHub's cache service are in `entry` or in the environment.
fn has_credentials(entry: &CacheEntry, environment: &Environment) -> bool {
    let has_token =
        entry.attr("token").is_some() || environment.non_empty("ACTIONS_RUNTIME_TOKEN").is_some();
    let known = ["version", "url", "url_v2"];
    let known = known
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), entry.attr(key)?.to_owned())));
    let mut extra: BTreeMap<String, String> = known.collect();
    add_addresses(environment, &mut extra);
    has_token && has_address(&extra)
}

fn has_address(extra: &BTreeMap<String, String>) -> bool {
    extra.contains_key("url") || extra.contains_key("url_v2")
}

/// Adds the addresses of the cache service. As in buildx, the version is not sent unless the user set it, because
/// the daemon derives it from the address.
fn add_addresses(environment: &Environment, extra: &mut BTreeMap<String, String>) {
    let by_environment = environment
        .get("ACTIONS_CACHE_SERVICE_V2")
        .and_then(strconv::parse_bool)
        == Some(true);
    let version2 = match extra.get("version") {
        Some(version) => version == "2",
        None => by_environment,
    };
    let results = environment.non_empty("ACTIONS_RESULTS_URL");
    if let Some(url) = results.filter(|_| version2) {
        extra
            .entry("url_v2".into())
            .or_insert_with(|| url.to_owned());
    }
    if let Some(url) = environment.non_empty("ACTIONS_CACHE_URL").or(results) {
        extra.entry("url".into()).or_insert_with(|| url.to_owned());
    }
}
