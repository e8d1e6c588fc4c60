//! From a planned target to a [`SolveSpec`].
//!
//! Everything here is a function of its input: the target, what was found out about its sources, and the [`Setting`] of the run.
//! The choices are buildx's (`build/opt.go`, `bake/bake.go` `toBuildOpt`), so that equal definitions give equal requests.

mod cache;
mod exports;

use std::collections::{BTreeMap, BTreeSet};

use super::inline;
use super::locate::{DockerfilePlace, NamedTree, SourceTree, TargetPlaces};
use crate::definition::model::{Map, SharedText, Target};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::engine::docker::EngineFacts;
use crate::engine::spec::{
    Attestation, Dockerfile, ExtraHost, Frontend, LocalName, MainContext, NoCache, ResolveMode,
    SolveContext, SolveSpec, StepLimits, VcsFacts,
};
use crate::files::{Resolved, Resolver};
use crate::golang::strconv;
use crate::plan::PlannedTarget;
use crate::plan::syntax::HostAddress;
use crate::types::{Environment, Reference};

pub(super) use cache::LocalCache;
pub(super) use exports::{ExportDestination, loads_by_default, strange_default_load};

/// What a run is set in: facts that are the same for all its targets.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The environment.
    pub(super) environment: Environment,
    /// By which the run's paths were followed.
    pub(super) paths: Resolver,
    /// Build arguments for proxies.
    pub(super) proxies: Vec<(String, String)>,
    /// Whether the daemon can attach statements to images.
    pub(super) attestations: bool,
    /// How the daemon's images reach a Docker Engine, where `type=docker` is asked for.
    pub(super) docker: DockerTraits,
    /// Whether the daemon knows a kind of cache.
    pub(super) caches: CacheSupport,
    /// The address of the daemon's host as steps see it, where the daemon tells.
    pub(super) host_gateway: Option<std::net::IpAddr>,
    /// Names this machine from run to run.
    pub(super) node: String,
}

/// Where a Docker Engine keeps its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageStore {
    /// containerd's store, which takes all that a BuildKit makes.
    Containerd,
    /// The store of storage drivers, which holds images of one platform and without attestations.
    Classic,
}

impl ImageStore {
    /// The store of the engine that says this of itself.
    pub(super) const fn of(facts: &EngineFacts) -> Self {
        if facts.containerd_store {
            Self::Containerd
        } else {
            Self::Classic
        }
    }
}

/// What is known of Docker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DockerTraits {
    /// The store of the Docker Engine whose own BuildKit builds, if one does.
    pub(super) builder: Option<ImageStore>,
    /// The stores of other engines that images are loaded into, by the Docker context that names them.
    pub(super) loads: BTreeMap<Option<String>, ImageStore>,
    /// What is built without an output is loaded into Docker.
    pub(super) default_load: bool,
}

/// Which kinds of cache that are not always there the daemon knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CacheSupport {
    /// GitHub's cache service.
    pub(super) gha: bool,
}

/// A target, ready to be solved.
#[derive(Debug)]
pub(super) struct LoweredTarget {
    /// What is solved.
    pub(super) spec: SolveSpec,
    /// Where each export that comes back to this machine goes, by its place in the list of exports.
    pub(super) sinks: BTreeMap<usize, ExportDestination>,
    /// Names under which the Docker Engine that built the image is to push it, because its BuildKit cannot.
    pub(super) pushes: Vec<Reference>,
    /// Directories that caches are read from and written to.
    pub(super) local_caches: Vec<LocalCache>,
    /// What the user should know.
    pub(super) notices: Diagnostics,
}

/// Lowers `planned`, whose sources lie at `places`.
pub(super) fn lower(
    planned: &PlannedTarget,
    places: &TargetPlaces,
    vcs: VcsFacts,
    setting: &Setting,
) -> Result<LoweredTarget, Diagnostics> {
    let target = planned.attributes.as_ref();
    let mut lowering = Lowering {
        planned,
        target,
        setting,
        // Values that cannot be read are missing from the plan: nothing may be built without them.
        problems: planned.build.problems.clone(),
    };
    let mut spec = SolveSpec::new(
        planned.name.clone(),
        dockerfile(places),
        context(&places.context),
    );
    spec.named_contexts = named_contexts(places, &setting.node);
    spec.vcs = vcs;
    spec.stage = text(target.stage.as_ref().map(|stage| &stage.value));
    spec.build_args = lowering.build_args();
    spec.frontend = lowering.frontend();
    spec.labels = strings(&target.labels);
    spec.platforms.clone_from(&planned.platforms);
    spec.multi_platform = lowering.flag_arg("BUILDKIT_MULTI_PLATFORM");
    spec.no_cache = no_cache(target);
    spec.resolve_mode = match (&target.pull, setting.docker.builder.is_some()) {
        (Some(pull), _) if pull.value => Some(ResolveMode::Pull),
        (_, true) => Some(ResolveMode::Local),
        (_, false) => None,
    };
    spec.network = planned.build.network;
    spec.add_hosts = lowering.hosts();
    spec.ulimits.clone_from(&planned.ulimits);
    spec.shm_size = Some(planned.shm_size).filter(|bytes| *bytes > 0);
    spec.resources = resources(planned);
    spec.attestations = lowering.attestations();
    spec.entitlements = target
        .entitlements
        .iter()
        .map(|name| name.value.to_string())
        .collect::<BTreeSet<_>>();
    let caches = cache::lower(&mut lowering);
    spec.cache_imports = caches.imports;
    spec.cache_exports = caches.exports;
    let exports::LoweredExports {
        exports,
        sinks,
        pushes,
    } = exports::lower(&mut lowering);
    spec.exports = exports;
    let notices = lowering.problems;
    if notices.has_errors() {
        return Err(notices);
    }
    Ok(LoweredTarget {
        spec,
        sinks,
        pushes,
        local_caches: caches.local,
        notices,
    })
}

/// One target on its way, gathering problems.
struct Lowering<'a> {
    planned: &'a PlannedTarget,
    target: &'a Target,
    setting: &'a Setting,
    problems: Diagnostics,
}

impl Lowering<'_> {
    fn error(&mut self, code: &'static str, span: Option<Span>, message: impl std::fmt::Display) {
        let message = format!("target `{}`: {message}", self.target.name.value);
        let problem = Diagnostic::error(Class::Definition, code, message);
        self.problems
            .push(problem.at(span.or(self.target.name.span), ""));
    }

    // Where a path leads, which was found when privileges were asked for.
    fn place(&mut self, path: &str, span: Option<Span>) -> Option<Resolved> {
        match self.setting.paths.resolve(path) {
            Ok(place) => Some(place),
            Err(error) => {
                self.error("plan::unresolved-path", span, error.reason());
                None
            }
        }
    }

    fn build_args(&self) -> BTreeMap<String, String> {
        let mut args = strings(&self.target.args);
        for (name, value) in &self.setting.proxies {
            if !args.keys().any(|known| known.eq_ignore_ascii_case(name))
                || self.is_proxy_pair(name, &args)
            {
                args.insert(name.clone(), value.clone());
            }
        }
        args
    }

    // Both spellings of one proxy come from the configuration; the first must not keep the second out.
    fn is_proxy_pair(&self, name: &str, args: &BTreeMap<String, String>) -> bool {
        !args.contains_key(name)
            && !self
                .target
                .args
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    fn arg(&self, name: &str) -> Option<&str> {
        self.target.args.get(name).map(|value| value.value.as_ref())
    }

    fn flag_arg(&self, name: &str) -> bool {
        self.arg(name).and_then(strconv::parse_bool) == Some(true)
    }

    fn frontend(&mut self) -> Frontend {
        match self.arg("BUILDKIT_SYNTAX").map(Frontend::from_syntax) {
            None => Frontend::Dockerfile,
            Some(Ok(frontend)) => frontend,
            Some(Err(error)) => {
                let span = self
                    .target
                    .args
                    .get("BUILDKIT_SYNTAX")
                    .and_then(|value| value.span);
                self.error("run::empty-syntax", span, error);
                Frontend::Dockerfile
            }
        }
    }

    fn hosts(&mut self) -> Vec<ExtraHost> {
        let mut hosts = Vec::new();
        for named in &self.planned.build.extra_hosts {
            let host = &named.host;
            for address in &named.addresses {
                let ip = match address {
                    HostAddress::Ip(ip) => Some(*ip),
                    HostAddress::Gateway => self.setting.host_gateway,
                };
                match ip {
                    Some(ip) => hosts.push(ExtraHost { host: host.to_string(), ip }),
                    None => self.error(
                        "run::host-gateway",
                        named.span,
                        format!("`host-gateway` for `{host}`: this builder does not tell its host's address"),
                    ),
                }
            }
        }
        hosts
    }

    // Provenance of the smallest kind is made where nothing is said about provenance, even to switch it off.
    fn attestations(&self) -> Vec<Attestation> {
        let mut attestations: Vec<Attestation> = self
            .target
            .attest
            .iter()
            .filter(|attest| !attest.value.disabled)
            .map(|attest| {
                let kind = attest.value.kind.to_string();
                let own = attest
                    .value
                    .attrs
                    .iter()
                    .map(|(key, value)| (key.to_string(), value.to_string()));
                let parameters = std::iter::once(("type".to_owned(), kind.clone()))
                    .chain(own)
                    .collect();
                Attestation { kind, parameters }
            })
            .collect();
        let said = self
            .target
            .attest
            .iter()
            .any(|attest| &*attest.value.kind == "provenance");
        let unwanted = self
            .setting
            .environment
            .get("BUILDX_NO_DEFAULT_ATTESTATIONS")
            .and_then(strconv::parse_bool)
            == Some(true);
        if !said && !unwanted && self.setting.attestations {
            let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            attestations.push(Attestation {
                kind: "provenance".to_owned(),
                parameters: vec![pair("mode", "min"), pair("inline-only", "true")],
            });
        }
        attestations
    }
}

fn text(text: Option<&SharedText>) -> Option<String> {
    text.map(ToString::to_string)
        .filter(|text| !text.is_empty())
}

fn strings(map: &Map) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.to_string(), value.value.to_string()))
        .collect()
}

fn resources(planned: &PlannedTarget) -> StepLimits {
    let limits = &planned.resources;
    let number = |number: i64| Some(number).filter(|number| *number != 0);
    StepLimits {
        memory: number(i64::try_from(limits.memory).unwrap_or(i64::MAX)),
        memory_swap: number(limits.memory_swap),
        cpu_shares: number(limits.cpu_shares),
        cpu_period: number(limits.cpu_period),
        cpu_quota: number(limits.cpu_quota),
        cpuset_cpus: text(Some(&limits.cpuset_cpus)),
        cpuset_mems: text(Some(&limits.cpuset_mems)),
    }
}

fn no_cache(target: &Target) -> NoCache {
    if target.no_cache.as_ref().is_some_and(|flag| flag.value) {
        return NoCache::All;
    }
    let stages: Vec<String> = target
        .no_cache_filter
        .iter()
        .map(|stage| stage.value.to_string())
        .collect();
    if stages.is_empty() {
        NoCache::Nothing
    } else {
        NoCache::Stages(stages)
    }
}

fn dockerfile(places: &TargetPlaces) -> Dockerfile {
    let remote = matches!(places.context, SourceTree::Remote(_));
    match &places.dockerfile {
        DockerfilePlace::InContext(filename) => Dockerfile::InContext {
            filename: filename.clone(),
        },
        DockerfilePlace::Inline(_) => Dockerfile::Apart {
            filename: inline::FILENAME.to_owned(),
        },
        DockerfilePlace::File { filename, .. } if remote => Dockerfile::Apart {
            filename: filename.clone(),
        },
        DockerfilePlace::File { filename, .. } => Dockerfile::Local {
            filename: filename.clone(),
        },
    }
}

fn context(tree: &SourceTree) -> MainContext {
    match tree {
        SourceTree::Dir(_) => MainContext::Local,
        SourceTree::Remote(address) => MainContext::Remote(address.clone()),
    }
}

fn named_contexts(places: &TargetPlaces, node: &str) -> BTreeMap<String, SolveContext> {
    let lowered = |(name, tree): (&String, &NamedTree)| {
        let context = match tree {
            NamedTree::Image(image) => SolveContext::Image(image.clone()),
            NamedTree::Tree(SourceTree::Remote(address)) => SolveContext::Remote(address.clone()),
            NamedTree::Tree(SourceTree::Dir(dir)) => {
                let base = dir
                    .file_name()
                    .map(|base| base.to_string_lossy().into_owned())
                    .unwrap_or_default();
                SolveContext::Local {
                    local: LocalName::of_named(name),
                    shared_key_hint: format!("{base}:{node}"),
                }
            }
        };
        (name.clone(), context)
    };
    places.named.iter().map(lowered).collect()
}

#[cfg(test)]
mod tests;
