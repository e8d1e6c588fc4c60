//! Lowers a planned target to a [`SolveSpec`].
//!
//! Everything here is a pure function of its input: the target, the places of its sources, and the [`Setting`] of
//! the run. It follows buildx (`build/opt.go`, and `toBuildOpt` in `bake/bake.go`), so that equal definitions make
//! equal requests.

mod cache;
mod daemon;
mod exports;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::aws_keys::AwsKeys;
use super::fetch;
use super::inline;
use super::links;
use super::locate::{DockerfilePlace, NamedTree, SourceTree, TargetPlaces};
use crate::definition::model::{Map, SharedText, Target};
use crate::definition::remote::TreeDirectory;
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::engine::SourcePolicy;
use crate::engine::docker::EngineFacts;
use crate::engine::spec::{
    Attestation, Dockerfile, ExtraHost, Frontend, InputTree, LocalName, MainContext, NoCache,
    ResolveMode, SolveContext, SolveSpec, StepLimits, VcsFacts,
};
use crate::files::{Resolved, Resolver};
use crate::golang::strconv;
use crate::plan::PlannedTarget;
use crate::plan::syntax::HostAddress;
use crate::types::{Environment, Reference};
use variables::Switch;

pub(crate) use cache::leaves_out;
pub(super) use cache::{LocalCache, check_github, lacks_aws_keys};
pub(super) use daemon::{DaemonTraits, ignored_limits};
pub(super) use exports::{
    ExportDestination, default_output, loads_by_default, strange_default_load,
};

/// Facts that are the same for all targets of a run.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// The environment variables of the run.
    pub(super) environment: Environment,
    /// Has followed the paths of the run, and knows where they lead.
    pub(super) paths: Resolver,
    /// The places on this machine to which the run writes its outputs and caches.
    pub(super) written: Arc<[PathBuf]>,
    /// Build arguments for proxies, from Docker's configuration.
    pub(super) proxies: Vec<(String, String)>,
    /// Whether the daemon can attach attestations to images.
    pub(super) attestations: bool,
    /// What the daemon can do.
    pub(super) daemon: DaemonTraits,
    /// What is known of the Docker Engines that build or that images are loaded into.
    pub(super) docker: DockerTraits,
    /// The optional kinds of cache that the daemon supports.
    pub(super) caches: CacheSupport,
    /// The keys for caches of `type=s3`.
    pub(super) aws: AwsKeys,
    /// The address of the daemon's host as build steps see it. `None` if the daemon does not report it.
    pub(super) host_gateway: Option<std::net::IpAddr>,
    /// Rules on the sources of all targets.
    pub(super) source_policy: Option<SourcePolicy>,
    /// An id of this machine that stays the same from run to run.
    pub(super) node: String,
    /// The position of the node of the builder among its nodes.
    pub(super) node_position: usize,
}

/// The image store of a Docker Engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageStore {
    /// containerd's image store, which can hold everything that BuildKit makes.
    Containerd,
    /// The store of storage drivers. It holds images of one platform and without attestations only.
    Classic,
}

impl ImageStore {
    /// Returns the image store of an engine that reports `facts`.
    pub(super) const fn of(facts: &EngineFacts) -> Self {
        if facts.containerd_store {
            Self::Containerd
        } else {
            Self::Classic
        }
    }
}

/// What lowering needs to know about Docker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DockerTraits {
    /// The image store of the Docker Engine whose BuildKit is the builder. `None` for all other builders.
    pub(super) builder: Option<ImageStore>,
    /// The image stores of other engines that images are loaded into, by Docker context; `None` for the current
    /// context.
    pub(super) loads: BTreeMap<Option<String>, ImageStore>,
    /// Whether a target without outputs is loaded into Docker.
    pub(super) default_load: bool,
}

/// The optional kinds of cache that the daemon supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CacheSupport {
    /// GitHub's cache service, `type=gha`.
    pub(super) gha: bool,
}

/// A target that is ready to be solved.
#[derive(Debug)]
pub(super) struct LoweredTarget {
    /// The solve to send.
    pub(super) spec: SolveSpec,
    /// The destination of each export that is sent to this machine, by its index in the list of exports.
    pub(super) sinks: BTreeMap<usize, ExportDestination>,
    /// The names under which the Docker Engine that built the image must push it, because its BuildKit cannot.
    pub(super) pushes: Vec<Reference>,
    /// The local caches to import and export.
    pub(super) local_caches: Vec<LocalCache>,
    /// Warnings for the user. They contain no errors.
    pub(super) notices: Diagnostics,
}

/// Lowers `planned`, whose sources are at `places`.
///
/// # Errors If a value cannot be used; nothing may be built without it.
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
        // Values that could not be parsed are missing from the plan. Building without them would be wrong.
        problems: planned.build().problems.clone(),
    };
    let mut spec = SolveSpec::new(
        planned.name.clone(),
        dockerfile(places),
        context(&places.context),
    );
    spec.named_contexts = named_contexts(places, setting);
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
    spec.network = planned.build().network;
    spec.add_hosts = lowering.hosts();
    spec.ulimits.clone_from(&planned.ulimits);
    spec.shm_size = Some(planned.shm_size).filter(|bytes| *bytes > 0);
    spec.resources = resources(planned);
    spec.entitlements = target
        .entitlements
        .iter()
        .map(|name| name.value.to_string())
        .collect::<BTreeSet<_>>();
    spec.source_policy.clone_from(&setting.source_policy);
    if let Some(call) = &planned.build().call {
        return lowering.call(spec, &call.method);
    }
    spec.attestations = lowering.attestations();
    let caches = cache::lower(&mut lowering);
    spec.cache_imports = caches.imports;
    spec.cache_exports = caches.exports;
    let no_artifact = lowering.is_set(Switch::NoDefaultOciArtifact);
    let exports::LoweredExports {
        exports,
        sinks,
        pushes,
    } = exports::lower(&mut lowering, no_artifact);
    spec.exports = exports;
    daemon::check(&mut lowering, &spec);
    for (name, tree) in &places.named {
        if let NamedTree::Layout(layout) = tree {
            let span = target.contexts.get(name).and_then(|value| value.span);
            let notice = layout.notice(&planned.name, name);
            let notice = notice.map(|notice| notice.at(span.or(target.name.span), ""));
            lowering.problems.0.extend(notice);
        }
    }
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

/// The lowering of one target, with the problems found so far.
struct Lowering<'a> {
    planned: &'a PlannedTarget,
    target: &'a Target,
    setting: &'a Setting,
    problems: Diagnostics,
}

impl Lowering<'_> {
    /// Makes `spec` a call of the frontend's `method`. Its answer is not an image: it is neither exported nor cached,
    /// and the history does not list it.
    fn call(self, mut spec: SolveSpec, method: &str) -> Result<LoweredTarget, Diagnostics> {
        spec.subrequest = Some(method.to_owned());
        spec.through_gateway = true;
        spec.internal = true;
        if self.problems.has_errors() {
            return Err(self.problems);
        }
        Ok(LoweredTarget {
            spec,
            sinks: BTreeMap::new(),
            pushes: Vec::new(),
            local_caches: Vec::new(),
            notices: self.problems,
        })
    }

    fn error(&mut self, code: &'static str, span: Option<Span>, message: impl std::fmt::Display) {
        let problem = self.problem(code, span, message);
        self.problems.push(problem);
    }

    /// An error about the target, at `span` or else at its name.
    fn problem(
        &self,
        code: &'static str,
        span: Option<Span>,
        message: impl std::fmt::Display,
    ) -> Diagnostic {
        let message = format!("target `{}`: {message}", self.target.name.value);
        let problem = Diagnostic::error(Class::Definition, code, message);
        problem.at(span.or(self.target.name.span), "")
    }

    /// Returns the place that a path leads to. The path was followed before, when privileges were checked.
    fn place(&mut self, path: &str, span: Option<Span>) -> Option<Resolved> {
        match self.setting.paths.resolve(path) {
            Ok(place) => Some(place),
            Err(error) => {
                self.error("plan::unresolved-path", span, error.reason());
                None
            }
        }
    }

    /// Returns the build arguments. Docker's proxies are added, unless the target sets an argument of that name in
    /// any case.
    fn build_args(&self) -> BTreeMap<String, String> {
        let mut args = strings(&self.target.args);
        for (name, value) in &self.setting.proxies {
            if !args.keys().any(|known| known.eq_ignore_ascii_case(name)) {
                args.insert(name.clone(), value.clone());
            }
        }
        args
    }

    fn arg(&self, name: &str) -> Option<&str> {
        self.target.args.get(name).map(|value| value.value.as_ref())
    }

    fn flag_arg(&self, name: &str) -> bool {
        self.arg(name).and_then(strconv::parse_bool) == Some(true)
    }

    /// Returns the frontend: the image in the build argument `BUILDKIT_SYNTAX`, or else the Dockerfile frontend.
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

    /// Returns the extra hosts. `host-gateway` becomes the address that the daemon reports.
    fn hosts(&mut self) -> Vec<ExtraHost> {
        let mut hosts = Vec::new();
        for named in &self.planned.build().extra_hosts {
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
                        format!("`host-gateway` for `{host}`: this builder does not report the address of its host"),
                    ),
                }
            }
        }
        hosts
    }

    /// Returns the attestations to ask for. If the target says nothing about provenance, not even to disable it,
    /// minimal provenance is added.
    fn attestations(&mut self) -> Vec<Attestation> {
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
            .any(|attest| attest.value.is_provenance());
        if !said && self.setting.attestations && !self.is_set(Switch::NoDefaultAttestations) {
            let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            attestations.push(Attestation {
                kind: "provenance".to_owned(),
                parameters: vec![pair("mode", "min"), pair("inline-only", "true")],
            });
        }
        attestations
    }
}

impl Lowering<'_> {
    /// Whether the environment sets `switch`. If its value is wrong, that is a problem.
    fn is_set(&mut self, switch: Switch) -> bool {
        let set = switch.is_set(&self.setting.environment);
        set.unwrap_or_else(|problem| {
            self.problems.add_new(problem.into());
            false
        })
    }
}

/// An empty text means that nothing is set.
fn text(text: Option<&SharedText>) -> Option<String> {
    text.map(ToString::to_string)
        .filter(|text| !text.is_empty())
}

fn strings(map: &Map) -> BTreeMap<String, String> {
    map.iter()
        .map(|(key, value)| (key.to_string(), value.value.to_string()))
        .collect()
}

/// Returns the limits for build steps. Zero and empty mean no limit in the definition, so they are not sent.
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
    let remote = !matches!(places.context, SourceTree::Dir(_));
    match &places.dockerfile {
        DockerfilePlace::InContext(filename) => Dockerfile::InContext {
            filename: filename.clone(),
        },
        DockerfilePlace::Inline(_) | DockerfilePlace::Url { .. } => Dockerfile::Apart {
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
        SourceTree::InTree(directory) => MainContext::Input(input(directory, "set context to")),
    }
}

/// The directory as an input. Its step is called `action` and its path.
fn input(directory: &TreeDirectory, action: &str) -> InputTree {
    InputTree {
        definition: fetch::described(directory, action).definition(),
        address: Some(directory.address()).filter(|address| !address.is_empty()),
    }
}

/// Returns the named contexts. A local one has a hint for the daemon, made of the directory's name and this
/// machine's id, with which it finds its copy of the directory from an earlier run.
fn named_contexts(places: &TargetPlaces, setting: &Setting) -> BTreeMap<String, SolveContext> {
    let node = &setting.node;
    let lowered = |(name, tree): (&String, &NamedTree)| {
        let context = match tree {
            NamedTree::Image(image) => SolveContext::Image(image.clone()),
            NamedTree::Layout(layout) => layout.in_solve(),
            // The results are added when the target is built.
            NamedTree::Linked(target) => SolveContext::Linked {
                input: links::input_name(setting.node_position, target),
                results: Vec::new(),
            },
            NamedTree::Tree(SourceTree::Remote(address)) => SolveContext::Remote(address.clone()),
            NamedTree::Tree(SourceTree::InTree(directory)) => {
                SolveContext::Input(input(directory, &format!("set context {name} to")))
            }
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
