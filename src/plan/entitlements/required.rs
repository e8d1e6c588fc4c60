//! The entitlements that the targets of a plan need.

use super::{Allowed, Missing, device_name, paths};
use crate::definition::model::{CacheKind, SecretEntry, Sink};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::files::{PathError, Resolved, Resolver};
use crate::plan::model::{ContextSource, DockerfileSource, NamedContext, Plan, PlannedTarget};
use crate::types::Environment;

/// Returns what the targets of `plan`, including linked ones, need beyond what is `allowed`.
///
/// `paths` resolves symbolic links. Code that opens the files later must use the same resolver, so that it opens
/// what was checked.
pub(crate) fn missing(
    plan: &Plan,
    allowed: &Allowed,
    environment: &Environment,
    paths: &Resolver,
) -> Result<Missing, Diagnostics> {
    let mut missing = Missing::default();
    let mut problems = Diagnostics::default();
    let (mut read, mut write) = (Wanted::new(paths), Wanted::new(paths));
    for target in plan.targets.values() {
        declared(target, allowed, &mut missing, &mut problems);
        read_by(target, environment, &mut read);
        written_by(target, &mut write);
        for error in read.errors.drain(..).chain(write.errors.drain(..)) {
            problems.push(unresolved(&error, Some(target)));
        }
        if !allowed.ssh {
            missing.ssh |= uses_agent(target);
        }
        if !allowed.local_delete {
            missing.local_delete |= deletes(target);
        }
    }
    // An output such as `/dev/stdout` needs no more permission than `dest=-`.
    write.places.retain(|place| !place.is_standard_output());
    for (allowed, wanted, missing) in [
        (&allowed.read, read, &mut missing.read),
        (&allowed.write, write, &mut missing.write),
    ] {
        match paths::uncovered(paths, allowed, &wanted.places) {
            Ok(paths) => *missing = paths,
            Err(error) => problems.push(unresolved(&error, None)),
        }
    }
    problems.into_result(missing)
}

/// The error for a path that cannot be resolved, because a part of it is not a directory or must not be searched.
fn unresolved(error: &PathError, target: Option<&PlannedTarget>) -> Diagnostic {
    let reason = error.reason();
    let message = match target {
        Some(target) => format!("target `{}`: {reason}", target.name),
        None => reason,
    };
    let problem = Diagnostic::error(Class::Definition, "plan::unresolved-path", message)
        .help("every part of the path but the last must be a directory that the user who runs rbake may search");
    problem.at(target.and_then(PlannedTarget::span), "")
}

/// The paths that the plan reads, or those that it writes.
struct Wanted<'p> {
    paths: &'p Resolver,
    places: Vec<Resolved>,
    errors: Vec<PathError>,
}

impl<'p> Wanted<'p> {
    fn new(paths: &'p Resolver) -> Self {
        Self {
            paths,
            places: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn add(&mut self, path: &str) {
        match self.paths.resolve(path) {
            Ok(place) => self.places.push(place),
            Err(error) => self.errors.push(error),
        }
    }

    /// Adds the path without following a link in its last component. The builder gets the directory of a
    /// Dockerfile, so that directory must be allowed even if the file itself is a link to an allowed place.
    fn add_name(&mut self, path: &str) {
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let above = if above.is_empty() { "/" } else { above };
        if let Ok(above) = self.paths.resolve(above) {
            let path = above.path().join(name);
            self.places.push(Resolved::of_path(&path));
        }
    }
}

/// Adds what `entitlements` names. Unknown names are left to the daemon.
fn declared(
    target: &PlannedTarget,
    allowed: &Allowed,
    missing: &mut Missing,
    problems: &mut Diagnostics,
) {
    for entry in &target.attributes.entitlements {
        match (entry.split_once('='), &*entry.value) {
            (None, "network.host") => missing.network_host |= !allowed.network_host,
            (None, "security.insecure") => {
                missing.security_insecure |= !allowed.security_insecure;
            }
            (None, "device") => device(None, allowed, missing),
            (Some(("device", value)), _) => match device_name(value) {
                Ok(name) => device(name.as_deref(), allowed, missing),
                Err(error) => {
                    let reason = error.to_string();
                    problems.push(unreadable(target, entry.span, value, &reason));
                }
            },
            _ => {}
        }
    }
}

fn device(name: Option<&str>, allowed: &Allowed, missing: &mut Missing) {
    if !allowed.devices.covers(name) {
        missing.devices.add(name);
    }
}

fn unreadable(target: &PlannedTarget, span: Option<Span>, value: &str, reason: &str) -> Diagnostic {
    let problem = Diagnostic::error(
        Class::Definition,
        "plan::invalid-value",
        format!(
            "the device `{value}` in `entitlements` of target `{}` cannot be read: {reason}",
            target.name
        ),
    );
    problem.at(span, "")
}

/// Adds the local paths that the builder can read for this target: contexts, the Dockerfile, caches, secrets and
/// SSH keys.
fn read_by(target: &PlannedTarget, environment: &Environment, wanted: &mut Wanted<'_>) {
    let inputs = &target.inputs;
    if let ContextSource::Local(path) = &inputs.context {
        wanted.add(path);
    }
    if let DockerfileSource::Local(path) = &inputs.dockerfile {
        wanted.add(path);
        wanted.add_name(path);
    }
    for context in inputs.named.values() {
        match context {
            NamedContext::Local(path) => wanted.add(path),
            NamedContext::OciLayout(layout) => wanted.add(&layout.path),
            NamedContext::Remote(_)
            | NamedContext::InTree(_)
            | NamedContext::Image(_)
            | NamedContext::Target(_) => {}
        }
    }
    let attributes = &target.attributes;
    for cache in &attributes.cache_from {
        if cache.kind == CacheKind::Local
            && let Some(src) = cache.attr("src")
        {
            wanted.add(src);
        }
    }
    for secret in &attributes.secret {
        let SecretEntry { id, src, env } = &secret.value;
        match (src, env) {
            (Some(path), _) => wanted.add(path),
            // A secret with neither `src` nor `env` comes from the variable with its id, or else from the file
            // with that name.
            (None, None) if environment.get_os(id).is_none() => wanted.add(id),
            (None, _) => {}
        }
    }
    for path in attributes.ssh.iter().flat_map(|ssh| &ssh.paths) {
        if !path.is_empty() {
            wanted.add(path);
        }
    }
}

/// Adds the local paths that the target writes: outputs and caches.
fn written_by(target: &PlannedTarget, wanted: &mut Wanted<'_>) {
    let attributes = &target.attributes;
    for export in &attributes.output {
        let writes = matches!(export.sink(), Sink::Directory | Sink::File);
        if let Some(dest) = export.dest.as_deref().filter(|dest| writes && *dest != "-") {
            wanted.add(dest);
        }
    }
    for cache in &attributes.cache_to {
        if cache.kind == CacheKind::Local
            && let Some(dest) = cache.attr("dest")
        {
            wanted.add(dest);
        }
    }
}

/// Whether the target uses the default SSH agent: an entry names no path, or the context is a git repository over SSH.
fn uses_agent(target: &PlannedTarget) -> bool {
    let ssh = &target.attributes.ssh;
    let implicit = target.inputs.need_agent();
    (ssh.is_empty() && implicit) || ssh.iter().any(|entry| entry.paths.is_empty())
}

fn deletes(target: &PlannedTarget) -> bool {
    let mut outputs = target.attributes.output.iter();
    outputs.any(|export| export.deletes())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::plan::testing::Project;

    fn needs(project: &Project, args: &[&str], allow: &[&str]) -> Vec<String> {
        let plan = project.plan(args).unwrap();
        let allow: Vec<String> = allow.iter().map(ToString::to_string).collect();
        let allowed = Allowed::parse(&allow).unwrap().with_grants(&plan.grants);
        let environment = project.environment();
        let paths = Resolver::new(environment.current_dir());
        let missing = missing(&plan, &allowed, &environment, &paths).unwrap();
        missing.flags(environment.current_dir())
    }

    /// The project's directory is new and directly below the directory for temporary files, which `..` refers to.
    fn project(targets: &str) -> Project {
        Project::new().file("docker-bake.hcl", targets)
    }

    #[test]
    fn needs_of_all_targets_are_collected() {
        let project = project(
            r#"
            target "a" {
              context = "/usr"
              output = ["type=local,dest=/etc/new"]
            }
            target "b" {
              contexts = { x = "/usr/../etc", l = "oci-layout:///usr/lib" }
              ssh = ["default", "k=/var/lib/key"]
              cache-to = ["type=local,dest=/var"]
            }
            "#,
        );
        assert_eq!(
            needs(&project, &["a", "b"], &[]),
            [
                "--allow=ssh",
                "--allow=fs.read=/etc",
                "--allow=fs.read=/usr",
                "--allow=fs.read=/var/lib/key",
                "--allow=fs.write=/etc/new",
                "--allow=fs.write=/var",
            ]
        );
        let allow = ["ssh", "fs=/etc", "fs.read=*", "fs.write=/"];
        assert_eq!(needs(&project, &["a", "b"], &allow), [""; 0]);
    }

    #[test]
    fn flags_name_the_paths_that_links_lead_to() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["work", "elsewhere/deep"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let work = root.join("work");
        symlink("../elsewhere/deep", work.join("up")).unwrap();
        symlink(root.join("elsewhere/deep"), work.join("absolute")).unwrap();
        symlink("up", work.join("twice")).unwrap();
        symlink("../elsewhere/new", work.join("dangling")).unwrap();
        symlink(
            "../../work/Dockerfile",
            root.join("elsewhere/deep/Dockerfile"),
        )
        .unwrap();
        std::fs::write(work.join("Dockerfile"), "").unwrap();
        for (body, flags) in [
            (
                r#"secret = ["id=k,src=up/../key"]"#,
                "--allow=fs.read=../elsewhere/key",
            ),
            (
                r#"secret = ["id=k,src=twice/../key"]"#,
                "--allow=fs.read=../elsewhere/key",
            ),
            (
                r#"ssh = ["k=absolute/../key"]"#,
                "--allow=fs.read=../elsewhere/key",
            ),
            (
                r#"output = ["type=local,dest=up/../ssh"]"#,
                "--allow=fs.write=../elsewhere/ssh",
            ),
            (
                r#"output = ["type=tar,dest=up/../ssh"]"#,
                "--allow=fs.write=../elsewhere/ssh",
            ),
            (
                r#"output = ["type=oci,dest=dangling"]"#,
                "--allow=fs.write=../elsewhere/new",
            ),
            (
                r#"cache-from = ["type=local,src=up/../c"]"#,
                "--allow=fs.read=../elsewhere/c",
            ),
            (
                r#"cache-to = ["type=local,dest=up/../c"]"#,
                "--allow=fs.write=../elsewhere/c",
            ),
            (
                r#"contexts = { x = "up/.." }"#,
                "--allow=fs.read=../elsewhere",
            ),
            (
                r#"contexts = { x = "oci-layout://up/../l" }"#,
                "--allow=fs.read=../elsewhere/l",
            ),
            (r#"context = "twice""#, "--allow=fs.read=../elsewhere/deep"),
            // The file is in an allowed place, but the directory that is sent to the builder is not.
            (
                r#"dockerfile = "up/Dockerfile""#,
                "--allow=fs.read=../elsewhere/deep/Dockerfile",
            ),
            // The path is cleaned as text, as buildx does before it prints it.
            (r#"context = "up/../.""#, ""),
        ] {
            let project = project(&format!("target \"a\" {{\n{body}\n}}"));
            let plan = project.plan(&["a"]).unwrap();
            let allowed = Allowed::default();
            let paths = Resolver::new(&work);
            let environment = Environment::of([], &*work);
            let missing = missing(&plan, &allowed, &environment, &paths).unwrap();
            assert_eq!(missing.flags(&work).join(" "), flags, "{body}");
        }
    }

    #[test]
    fn privileges_and_devices_are_required() {
        let project = project(
            r#"
            target "a" {
              network = "host"
              entitlements = ["security.insecure", "device=foo", "other"]
              output = ["type=local,dest=out,mode=delete"]
            }
            target "b" { entitlements = ["device"] }
            target "c" { output = ["type=local,dest=out,mode=copy"] }
            "#,
        );
        assert_eq!(
            needs(&project, &["a"], &[]),
            [
                "--allow=network.host",
                "--allow=security.insecure",
                "--allow=device=foo",
                "--allow=buildx.local.delete",
            ]
        );
        let allow = [
            "network.host",
            "security.insecure",
            "device=foo",
            "buildx.local.delete",
        ];
        assert_eq!(needs(&project, &["a"], &allow), [""; 0]);
        let some = ["network.host", "security.insecure", "device=foo"];
        assert_eq!(
            needs(&project, &["a"], &some),
            ["--allow=buildx.local.delete"]
        );
        assert_eq!(
            needs(&project, &["a"], &["network.host", "fs.write=*", "device"]),
            ["--allow=security.insecure", "--allow=buildx.local.delete"]
        );
        assert_eq!(needs(&project, &["c"], &[]), [""; 0]);
        assert_eq!(needs(&project, &["b"], &["device=foo"]), ["--allow=device"]);
        assert_eq!(needs(&project, &["b"], &["device"]), [""; 0]);
    }

    #[test]
    fn paths_and_privileges_in_overrides_are_allowed() {
        let project = project(r#"target "a" { secret = ["id=s,src=/usr/bin/env"] }"#);
        assert_eq!(
            needs(&project, &["a"], &[]),
            ["--allow=fs.read=/usr/bin/env"]
        );
        let set = [
            "a",
            "--set",
            "a.secret.s=src=/usr/bin/env",
            "--set",
            "a.output=/usr",
        ];
        assert_eq!(needs(&project, &set, &[]), [""; 0]);
        let set = [
            "a",
            "--set",
            "a.secret.s=env=HOME",
            "--set",
            "a.context=/usr",
        ];
        assert_eq!(needs(&project, &set, &[]), ["--allow=fs.read=/usr"]);
        let set = [
            "a",
            "--set",
            "a.secret.s=env=HOME",
            "--set",
            "a.network=host",
        ];
        assert_eq!(needs(&project, &set, &[]), [""; 0]);
    }

    #[test]
    fn paths_in_the_working_directory_need_no_permission() {
        let project = project(
            r#"
            target "a" {
              context = "https://example.com/x.git"
              contexts = { i = "docker-image://alpine", here = "sub/../other" }
              secret = ["id=HOME,env=HOME"]
              output = ["type=oci,dest=new/dir/file", "type=tar", "type=image"]
            }
            "#,
        );
        assert_eq!(needs(&project, &["a"], &[]), [""; 0]);
    }
}
