//! What the targets of a plan need.

use std::collections::BTreeSet;

use super::paths;
use super::{Allowed, Missing, device_name};
use crate::definition::model::{CacheKind, ExportKind, SecretEntry, Sink};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::plan::model::{ContextSource, DockerfileSource, NamedContext, Plan, PlannedTarget};
use crate::types::Environment;

/// What the targets of `plan`, linked ones included, need beyond what is `allowed`.
pub fn missing(
    plan: &Plan,
    allowed: &Allowed,
    environment: &Environment,
) -> Result<Missing, Diagnostics> {
    let mut missing = Missing::default();
    let mut problems = Diagnostics::default();
    let (mut read, mut write) = (BTreeSet::new(), BTreeSet::new());
    for target in plan.targets.values() {
        declared(target, allowed, &mut missing, &mut problems);
        read_by(target, environment, &mut read);
        written_by(target, &mut write);
        if !allowed.ssh {
            missing.ssh |= uses_agent(target);
        }
        if !allowed.local_delete {
            missing.local_delete |= deletes(target);
        }
    }
    let dir = environment.current_dir();
    for (allowed, wanted, missing) in [
        (&allowed.read, &read, &mut missing.read),
        (&allowed.write, &write, &mut missing.write),
    ] {
        match paths::uncovered(dir, allowed, wanted) {
            Ok(paths) => *missing = paths,
            Err(error) => problems.push(Diagnostic::error(
                Class::Definition,
                "plan::unresolved-path",
                error.reason(),
            )),
        }
    }
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(missing)
    }
}

// What `entitlements` names. Other names are the daemon's to judge.
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
    match span {
        Some(span) => problem.at(span, ""),
        None => problem,
    }
}

fn read_by(target: &PlannedTarget, environment: &Environment, paths: &mut BTreeSet<String>) {
    let inputs = &target.inputs;
    if let ContextSource::Local(path) = &inputs.context {
        paths.insert(path.to_string());
    }
    if let DockerfileSource::Local(path) = &inputs.dockerfile {
        paths.insert(path.to_string());
    }
    for context in inputs.named.values() {
        match context {
            NamedContext::Local(path) => drop(paths.insert(path.to_string())),
            NamedContext::OciLayout(layout) => drop(paths.insert(layout.path.to_string())),
            NamedContext::Remote(_) | NamedContext::Image(_) | NamedContext::Target(_) => {}
        }
    }
    let attributes = &target.attributes;
    for cache in &attributes.cache_from {
        if cache.kind == CacheKind::Local {
            paths.extend(cache.attr("src").map(str::to_owned));
        }
    }
    for secret in &attributes.secret {
        let SecretEntry { id, src, env } = &secret.value;
        match (src, env) {
            (Some(path), _) => drop(paths.insert(path.to_string())),
            // With neither, the file of the secret's name is read where no variable has it.
            (None, None) if environment.get(id).is_none() => drop(paths.insert(id.to_string())),
            (None, _) => {}
        }
    }
    for ssh in &attributes.ssh {
        let named = ssh.paths.iter().filter(|path| !path.is_empty());
        paths.extend(named.map(ToString::to_string));
    }
}

fn written_by(target: &PlannedTarget, paths: &mut BTreeSet<String>) {
    let attributes = &target.attributes;
    for export in &attributes.output {
        let writes = matches!(export.sink(), Sink::Directory | Sink::File);
        if let Some(dest) = export.dest.as_deref().filter(|dest| writes && *dest != "-") {
            paths.insert(dest.to_owned());
        }
    }
    for cache in &attributes.cache_to {
        if cache.kind == CacheKind::Local {
            paths.extend(cache.attr("dest").map(str::to_owned));
        }
    }
}

fn uses_agent(target: &PlannedTarget) -> bool {
    let ssh = &target.attributes.ssh;
    let implicit = matches!(target.inputs.context, ContextSource::Git { ssh: true, .. });
    (ssh.is_empty() && implicit) || ssh.iter().any(|entry| entry.paths.is_empty())
}

fn deletes(target: &PlannedTarget) -> bool {
    let mut outputs = target.attributes.output.iter();
    outputs.any(|export| export.kind == ExportKind::Local && export.attr("mode") == Some("delete"))
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
        let missing = missing(&plan, &allowed, &environment).unwrap();
        missing.flags(environment.current_dir())
    }

    // The project's directory is fresh, so that `..` is the directory for temporary files.
    fn project(targets: &str) -> Project {
        Project::new().file("docker-bake.hcl", targets)
    }

    #[test]
    fn every_target_counts() {
        let project = project(
            r#"
            target "a" {
              context = "/usr"
              output = ["type=local,dest=/etc/new"]
            }
            target "b" {
              contexts = { x = "/bin/../etc", l = "oci-layout:///usr/lib" }
              ssh = ["default", "k=/var/lib/key"]
              cache-to = ["type=local,dest=/var"]
            }
            "#,
        );
        assert_eq!(
            needs(&project, &["a", "b"], &[]),
            [
                "--allow=ssh",
                "--allow=fs=/etc",
                "--allow=fs.read=/usr",
                "--allow=fs.read=/var/lib",
                "--allow=fs.write=/var",
            ]
        );
        let allow = ["ssh", "fs=/etc", "fs.read=*", "fs.write=/"];
        assert_eq!(needs(&project, &["a", "b"], &allow), [""; 0]);
    }

    #[test]
    fn privileges_and_devices() {
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
    fn what_the_command_line_names_is_allowed() {
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
    fn what_stays_inside_needs_nothing() {
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
