//! Converts a [`SolveSpec`], with the ids of its sessions, to BuildKit's messages. Only this module knows the keys of
//! frontends and exporters.
//!
//! The keys are those of BuildKit v0.32 (`frontend/dockerfile`, `exporter/containerimage`); the values are those that
//! buildx sends.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use bytes::Bytes;
use rbake_proto::{control, gateway};

use super::failure;
use super::gateway::empty_file_system;
use super::id::{BuildRef, SessionId};
use super::source_policy::SourcePolicy;
use super::spec::{
    Attestation, Dockerfile, Frontend, InputTree, LinkedResult, LocalName, MainContext, NoCache,
    ResolveMode, SolveCache, SolveContext, SolveExport, SolveSpec,
};
use crate::types::{ImageName, NetworkMode};

type Attrs = BTreeMap<String, String>;

// Capabilities that the frontend must have. With `+forward`, a frontend that lacks one may pass the build on to the
// frontend of a `# syntax=` line instead of failing.
const CAP_CONTEXTS: &str = "moby.buildkit.frontend.contexts+forward";
const CAP_GIT_QUERY: &str = "moby.buildkit.frontend.gitquerystring";
const CAP_GIT_QUERY_FORWARD: &str = "moby.buildkit.frontend.gitquerystring+forward";
const CAP_SUBREQUESTS: &str = "moby.buildkit.frontend.subrequests+forward";

/// The attribute with the method of a subrequest.
const REQUEST_ID: &str = "requestid";

const NETWORK_HOST: &str = "network.host";
const IMAGE_CONFIG: &str = "containerimage.config";

/// The ids of the sessions that serve a solve.
#[derive(Debug, Clone)]
pub(super) struct SessionIds {
    /// The target's own session. It serves the directories that are not in `directories`.
    pub(super) target: SessionId,
    /// Other sessions, by the directory that they serve.
    pub(super) directories: BTreeMap<LocalName, SessionId>,
}

/// The request of a solve. If the solve goes through the gateway, this is the outer half: it has no frontend.
pub(super) fn solve_request(spec: &SolveSpec, sessions: &SessionIds) -> control::SolveRequest {
    let exporters: Vec<control::Exporter> = spec
        .exports
        .iter()
        .map(|export| control::Exporter {
            r#type: export.exporter.name().to_owned(),
            attrs: export_attrs(export),
        })
        .collect();
    // Daemons before v0.13 read only the deprecated fields, which hold a single exporter.
    let first = exporters.first().cloned().unwrap_or_default();
    let (frontend, frontend_inputs) = if spec.through_gateway {
        (String::new(), BTreeMap::new())
    } else {
        (frontend_name(&spec.frontend).to_owned(), inputs(spec))
    };
    let entitlements = entitlements(spec);
    let mut frontend_attrs = frontend_attrs(spec, sessions);
    if !spec.through_gateway {
        add_subrequest(spec, &mut frontend_attrs);
    }
    control::SolveRequest {
        r#ref: spec.build_ref.to_string(),
        exporter_deprecated: first.r#type,
        exporter_attrs_deprecated: first.attrs,
        session: sessions.target.to_string(),
        frontend,
        frontend_attrs,
        frontend_inputs,
        cache: Some(control::CacheOptions {
            exports: spec.cache_exports.iter().map(cache_entry).collect(),
            imports: spec.cache_imports.iter().map(cache_entry).collect(),
            ..control::CacheOptions::default()
        }),
        entitlements: entitlements.into_iter().collect(),
        internal: spec.internal,
        source_policy: spec.source_policy.as_ref().map(SourcePolicy::to_message),
        source_policy_session: if spec.judged.are_any() {
            sessions.target.to_string()
        } else {
            String::new()
        },
        proxy_network: spec.judged.through_proxy(),
        exporters,
        ..control::SolveRequest::default()
    }
}

/// The request of a job that only exports a cache. Its result comes through the gateway.
pub(super) fn cache_request(
    build_ref: &BuildRef,
    session: &SessionId,
    cache: &SolveCache,
    entitlements: BTreeSet<String>,
) -> control::SolveRequest {
    control::SolveRequest {
        r#ref: build_ref.to_string(),
        session: session.to_string(),
        cache: Some(control::CacheOptions {
            exports: vec![cache_entry(cache)],
            ..control::CacheOptions::default()
        }),
        entitlements: entitlements.into_iter().collect(),
        // The history lists what the user asked for; this job belongs to those solves.
        internal: true,
        ..control::SolveRequest::default()
    }
}

/// The privileges that `spec` needs. The host's network needs one without an entry of its own.
pub(super) fn entitlements(spec: &SolveSpec) -> BTreeSet<String> {
    let mut entitlements = spec.entitlements.clone();
    if spec.network == NetworkMode::Host {
        entitlements.insert(NETWORK_HOST.to_owned());
    }
    entitlements
}

/// The request to the frontend in a solve that goes through the gateway (its inner half).
pub(super) fn gateway_request(spec: &SolveSpec, sessions: &SessionIds) -> gateway::SolveRequest {
    let mut frontend_opt = frontend_attrs(spec, sessions);
    add_subrequest(spec, &mut frontend_opt);
    gateway::SolveRequest {
        frontend: frontend_name(&spec.frontend).to_owned(),
        frontend_opt,
        frontend_inputs: inputs(spec),
        allow_result_return: true,
        allow_result_array_ref: true,
        cache_imports: gateway_imports(&spec.cache_imports),
        ..gateway::SolveRequest::default()
    }
}

/// The frontend that answers methods which that of a Dockerfile is too old for. buildx (`build/build.go`) uses it for all
/// methods.
const NEWER_FRONTEND: &str = "docker/dockerfile:1.8.1@sha256:e87caa74dcb7d46cd820352bfea12591f3dba3ddc4285e19c7dcd13359f7cefd";

/// The methods that [`NEWER_FRONTEND`] knows.
const KNOWN_METHODS: [&str; 3] = ["frontend.outline", "frontend.targets", "frontend.lint"];

/// `request` to a newer frontend, if its own refused the method with `status` because it does not know it. `None` for other
/// errors, and for methods that the newer frontend does not know either.
pub(super) fn with_newer_frontend(
    request: &gateway::SolveRequest,
    status: &tonic::Status,
) -> Option<gateway::SolveRequest> {
    let method = request.frontend_opt.get(REQUEST_ID)?;
    let is_refused = failure::refused_method(status).is_some_and(|refused| refused == *method);
    if !is_refused || !KNOWN_METHODS.contains(&&**method) {
        return None;
    }
    let mut newer = request.clone();
    let key = "build-arg:BUILDKIT_SYNTAX".to_owned();
    newer.frontend_opt.insert(key, NEWER_FRONTEND.to_owned());
    Some(newer)
}

fn gateway_imports(imports: &[SolveCache]) -> Vec<gateway::CacheOptionsEntry> {
    let entry = |entry: &SolveCache| gateway::CacheOptionsEntry {
        r#type: entry.backend.name().to_owned(),
        attrs: cache_attrs(entry),
    };
    imports.iter().map(entry).collect()
}

/// The request for the result of an encoded LLB definition, for which the caches `imports` are imported. The answer comes when the
/// daemon has the result.
pub(super) fn definition_request(
    definition: Bytes,
    imports: &[SolveCache],
) -> gateway::SolveRequest {
    gateway::SolveRequest {
        definition,
        cache_imports: gateway_imports(imports),
        allow_result_return: true,
        allow_result_array_ref: true,
        evaluate: true,
        ..gateway::SolveRequest::default()
    }
}

fn frontend_name(frontend: &Frontend) -> &'static str {
    match frontend {
        Frontend::Dockerfile | Frontend::OnlyBuiltIn => "dockerfile.v0",
        Frontend::Image { .. } => "gateway.v0",
    }
}

fn add_subrequest(spec: &SolveSpec, attrs: &mut Attrs) {
    if let Some(name) = &spec.subrequest {
        attrs.insert(REQUEST_ID.to_owned(), format!("frontend.{name}"));
    }
}

/// The attributes for the frontend.
fn frontend_attrs(spec: &SolveSpec, sessions: &SessionIds) -> Attrs {
    let mut attrs = Attrs::new();
    let mut caps = Vec::new();
    match &spec.frontend {
        Frontend::Dockerfile => {}
        // An image gets its arguments in this attribute, so the built-in frontend does not look for one if it is there
        // (`frontend/dockerfile/builder/build.go`).
        Frontend::OnlyBuiltIn => set(&mut attrs, "cmdline", "dockerfile.v0"),
        Frontend::Image { command } => {
            let source = command.split_whitespace().next().unwrap_or_default();
            set(&mut attrs, "source", source);
            set(&mut attrs, "cmdline", command);
        }
    }
    session_attrs(spec, sessions, &mut attrs);
    dockerfile_attrs(&spec.dockerfile, &mut attrs);
    main_context_attrs(&spec.context, &mut attrs, &mut caps);
    for (name, context) in &spec.named_contexts {
        named_context_attrs(name, context, &mut attrs, &mut caps);
    }
    if spec.subrequest.is_some() {
        need(&mut caps, CAP_SUBREQUESTS);
    }
    if !caps.is_empty() {
        set(&mut attrs, "frontend.caps", &caps.join(","));
    }
    image_attrs(spec, &mut attrs);
    step_attrs(spec, &mut attrs);
    for attestation in &spec.attestations {
        attrs.insert(
            format!("attest:{}", attestation.kind),
            attestation_csv(attestation),
        );
    }
    vcs_attrs(spec, &mut attrs);
    if !spec.cache_imports.is_empty() {
        set(
            &mut attrs,
            "cache-imports",
            &cache_imports_json(&spec.cache_imports),
        );
    }
    attrs
}

fn set(attrs: &mut Attrs, key: &str, value: &str) {
    attrs.insert(key.to_owned(), value.to_owned());
}

fn set_some<T: ToString>(attrs: &mut Attrs, key: &str, value: Option<T>) {
    if let Some(value) = value {
        attrs.insert(key.to_owned(), value.to_string());
    }
}

/// Adds a required capability, once.
fn need(caps: &mut Vec<&'static str>, cap: &'static str) {
    if !caps.contains(&cap) {
        caps.push(cap);
    }
}

/// Names the sessions that serve directories, except the target's own, which is the default. All frontend attributes
/// become part of the provenance, where the ids of sessions would be useless, so there should be few of them.
fn session_attrs(spec: &SolveSpec, sessions: &SessionIds, attrs: &mut Attrs) {
    for local in spec.locals() {
        if let Some(session) = sessions.directories.get(&local) {
            attrs.insert(format!("local-sessionid:{local}"), session.to_string());
        }
    }
}

fn dockerfile_attrs(dockerfile: &Dockerfile, attrs: &mut Attrs) {
    let filename = match dockerfile {
        Dockerfile::Local { filename } | Dockerfile::InContext { filename } => filename,
        Dockerfile::Apart { filename } => {
            set(attrs, "dockerfilekey", LocalName::DOCKERFILE.as_str());
            filename
        }
    };
    set(attrs, "filename", filename);
}

fn main_context_attrs(context: &MainContext, attrs: &mut Attrs, caps: &mut Vec<&'static str>) {
    match context {
        MainContext::Local | MainContext::Shared(_) => {}
        MainContext::Remote(address) => {
            set(attrs, "context", address.as_str());
            if address.has_git_query() {
                need(caps, CAP_GIT_QUERY);
            }
        }
        MainContext::Input(tree) => {
            set_some(attrs, "input:context", tree.address.as_ref());
        }
    }
}

fn named_context_attrs(
    name: &str,
    context: &SolveContext,
    attrs: &mut Attrs,
    caps: &mut Vec<&'static str>,
) {
    need(caps, CAP_CONTEXTS);
    let value = match context {
        SolveContext::Local {
            local,
            shared_key_hint,
        } => {
            attrs.insert(
                format!("sharedkey:localdir:{local}"),
                shared_key_hint.clone(),
            );
            format!("local:{local}")
        }
        SolveContext::Image(image) => format!("docker-image://{}", image.as_str()),
        SolveContext::OciLayout { store, tag, digest } => {
            let tag = tag
                .as_ref()
                .map(|tag| format!(":{tag}"))
                .unwrap_or_default();
            format!("oci-layout://{store}{tag}@{digest}")
        }
        SolveContext::Remote(address) => {
            if address.has_git_query() {
                need(caps, CAP_GIT_QUERY_FORWARD);
            }
            address.to_string()
        }
        SolveContext::Input(tree) => {
            set_some(
                attrs,
                &format!("input:git_state_{name}"),
                tree.address.as_ref(),
            );
            format!("input:{}", LocalName::of_named(name))
        }
        SolveContext::Linked { input, results } => {
            for result in results {
                linked_attrs(name, input, result, attrs);
            }
            return;
        }
    };
    attrs.insert(format!("context:{name}"), value);
}

/// Makes the result of another target the context `name`.
fn linked_attrs(name: &str, input: &str, result: &LinkedResult, attrs: &mut Attrs) {
    let (name, key) = with_platform(name, input, result);
    attrs.insert(format!("context:{name}"), format!("input:{key}"));
    if let Some(config) = &result.image_config {
        let config = base64::prelude::BASE64_STANDARD.encode(config);
        let metadata = serde_json::json!({ IMAGE_CONFIG: config }).to_string();
        attrs.insert(format!("input-metadata:{key}"), metadata);
    }
}

/// The names of the context and of its input. A result that is one of several platforms has the platform in both.
fn with_platform(name: &str, input: &str, result: &LinkedResult) -> (String, String) {
    match &result.platform {
        Some(platform) => (
            format!("{name}::{platform}"),
            format!("{input}::{platform}"),
        ),
        None => (name.to_owned(), input.to_owned()),
    }
}

/// The definitions of contexts that are linked or described in LLB. None of them is empty: that would crash the daemon.
fn inputs(spec: &SolveSpec) -> BTreeMap<String, Bytes> {
    let mut inputs = BTreeMap::new();
    if let MainContext::Shared(shared) = &spec.context {
        inputs.insert(LocalName::CONTEXT.to_string(), shared.context.clone());
        let dockerfile = shared.dockerfile.iter().cloned();
        inputs.extend(dockerfile.map(|tree| (LocalName::DOCKERFILE.to_string(), tree)));
    }
    if let MainContext::Input(InputTree { definition, .. }) = &spec.context {
        inputs.insert(LocalName::CONTEXT.to_string(), definition.clone());
        // A Dockerfile that is not in the context is served under the same name, but then `dockerfilekey` says so.
        if matches!(spec.dockerfile, Dockerfile::InContext { .. }) {
            inputs.insert(LocalName::DOCKERFILE.to_string(), definition.clone());
        }
    }
    for (name, context) in &spec.named_contexts {
        match context {
            SolveContext::Input(tree) => {
                let input = LocalName::of_named(name).to_string();
                inputs.insert(input, tree.definition.clone());
            }
            SolveContext::Linked { input, results } => {
                for result in results {
                    let definition = result.definition.clone().filter(|d| !d.is_empty());
                    let definition = definition.unwrap_or_else(empty_file_system);
                    inputs.insert(with_platform("", input, result).1, definition);
                }
            }
            _ => {}
        }
    }
    inputs
}

fn image_attrs(spec: &SolveSpec, attrs: &mut Attrs) {
    set_some(attrs, "target", spec.stage.as_ref());
    for (name, value) in &spec.build_args {
        attrs.insert(format!("build-arg:{name}"), value.clone());
    }
    for (name, value) in &spec.labels {
        attrs.insert(format!("label:{name}"), value.clone());
    }
    if !spec.platforms.is_empty() {
        let platforms: Vec<String> = spec.platforms.iter().map(ToString::to_string).collect();
        set(attrs, "platform", &platforms.join(","));
    }
    if spec.multi_platform {
        set(attrs, "multi-platform", "true");
    }
    match &spec.no_cache {
        NoCache::Nothing => {}
        // An empty value means all stages.
        NoCache::All => set(attrs, "no-cache", ""),
        NoCache::Stages(stages) if stages.is_empty() => {}
        NoCache::Stages(stages) => set(attrs, "no-cache", &stages.join(",")),
    }
    let mode = spec.resolve_mode.map(|mode| match mode {
        ResolveMode::Pull => "pull",
        ResolveMode::Local => "local",
    });
    set_some(attrs, "image-resolve-mode", mode);
}

/// The attributes of steps. Hosts and ulimits are sorted by name, so that the same settings always give the same
/// request.
fn step_attrs(spec: &SolveSpec, attrs: &mut Attrs) {
    match spec.network {
        NetworkMode::Default => {}
        NetworkMode::Host => set(attrs, "force-network-mode", "host"),
        NetworkMode::None => set(attrs, "force-network-mode", "none"),
    }
    if !spec.add_hosts.is_empty() {
        let mut hosts: Vec<_> = spec.add_hosts.iter().collect();
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        let hosts: Vec<String> = hosts
            .iter()
            .map(|h| format!("{}={}", h.host, h.ip))
            .collect();
        set(attrs, "add-hosts", &hosts.join(","));
    }
    if !spec.ulimits.is_empty() {
        let mut limits: Vec<_> = spec.ulimits.iter().collect();
        limits.sort_by_key(|limit| limit.name);
        let limits: Vec<String> = limits
            .iter()
            .map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard))
            .collect();
        set(attrs, "ulimit", &limits.join(","));
    }
    set_some(attrs, "shm-size", spec.shm_size);
    set_some(attrs, "cgroup-parent", spec.cgroup_parent.as_ref());
    let resources = &spec.resources;
    set_some(attrs, "memory", resources.memory);
    set_some(attrs, "memswap", resources.memory_swap);
    set_some(attrs, "cpushares", resources.cpu_shares);
    set_some(attrs, "cpuperiod", resources.cpu_period);
    set_some(attrs, "cpuquota", resources.cpu_quota);
    set_some(attrs, "cpusetcpus", resources.cpuset_cpus.as_ref());
    set_some(attrs, "cpusetmems", resources.cpuset_mems.as_ref());
}

fn vcs_attrs(spec: &SolveSpec, attrs: &mut Attrs) {
    set_some(attrs, "vcs:source", spec.vcs.source.as_ref());
    set_some(attrs, "vcs:revision", spec.vcs.revision.as_ref());
    for (local, path) in &spec.vcs.local_dirs {
        attrs.insert(format!("vcs:localdir:{local}"), path.clone());
    }
}

/// Writes the parameters as one CSV record, quoted as Go's `csv.Writer` does.
fn attestation_csv(attestation: &Attestation) -> String {
    let field = |(key, value): &(String, String)| {
        let field = format!("{key}={value}");
        if field.contains([',', '"', '\r', '\n']) || field.starts_with(char::is_whitespace) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    };
    let fields: Vec<String> = attestation.parameters.iter().map(field).collect();
    fields.join(",")
}

fn cache_attrs(entry: &SolveCache) -> Attrs {
    let mut attrs = entry.extra.clone();
    set_some(&mut attrs, "ref", entry.image.as_ref());
    for (key, value) in &entry.credentials {
        attrs.insert(key.clone(), value.expose().clone());
    }
    attrs
}

fn cache_entry(entry: &SolveCache) -> control::CacheOptionsEntry {
    control::CacheOptionsEntry {
        r#type: entry.backend.name().to_owned(),
        attrs: cache_attrs(entry),
    }
}

/// The cache imports for the frontend. If a solve has a frontend, the daemon uses only the imports that the frontend
/// requests.
fn cache_imports_json(imports: &[SolveCache]) -> String {
    let entries: Vec<serde_json::Value> = imports
        .iter()
        .map(|entry| serde_json::json!({ "Type": entry.backend.name(), "Attrs": cache_attrs(entry) }))
        .collect();
    serde_json::Value::Array(entries).to_string()
}

fn export_attrs(export: &SolveExport) -> Attrs {
    let mut attrs = export.extra.clone();
    if !export.names.is_empty() {
        let names: Vec<&str> = export.names.iter().map(ImageName::as_str).collect();
        set(&mut attrs, "name", &names.join(","));
    }
    set_some(&mut attrs, "push", export.push);
    set_some(&mut attrs, "unpack", export.unpack);
    attrs
}

#[cfg(test)]
mod tests;
