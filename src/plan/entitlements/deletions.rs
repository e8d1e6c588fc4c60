//! Refuses outputs with `mode=delete` to directories that no build should empty, whatever is granted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::files::Resolver;
use crate::plan::model::{ContextSource, DockerfileSource, NamedContext, Plan, PlannedTarget};
use crate::plan::written::{WrittenPlace, written_places};
use crate::types::Environment;

/// Reports outputs of `plan` that would delete the user's files: those in `/`, in the home directory, or around the
/// working directory, the definition in `folder`, or what the target itself is built from.
///
/// buildx asks for `--allow=buildx.local.delete`, as rbake does, and then deletes everything.
pub(crate) fn refused_deletions(
    plan: &Plan,
    environment: &Environment,
    paths: &Resolver,
    folder: &Path,
) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let mut kept: Vec<(PathBuf, &str)> = vec![(PathBuf::from("/"), "the root directory")];
    if let Some(home) = environment.home() {
        kept.push((real(home), "your home directory"));
    }
    let here = environment.current_dir();
    kept.push((real(here.to_owned()), "the working directory"));
    kept.push((real(here.join(folder)), "the definition"));
    for target in plan.targets.values() {
        for export in &target.attributes.output {
            let dest = export.dest.as_deref().filter(|_| export.deletes());
            // A path that cannot be resolved is reported with the other privileges.
            let Some(Ok(place)) = dest.map(|dest| paths.resolve(dest)) else {
                continue;
            };
            let own = sources(target, paths);
            let own = own.iter().map(|(path, what)| (path, *what));
            let all = kept.iter().map(|(path, what)| (path, *what)).chain(own);
            let mut inside = all.filter(|(path, _)| path.starts_with(place.path()));
            if let Some((_, what)) = inside.next() {
                let message = format!(
                    "target `{}` would delete {what}: its output `{}` has `mode=delete`",
                    target.name,
                    place.path().display()
                );
                let problem = Diagnostic::error(Class::Definition, "plan::local-delete", message)
                    .help("name a directory that has nothing but the output, such as `dest=out`");
                problems.push(problem.at(export.span.or_else(|| target.span()), ""));
            }
        }
    }
    problems.0.extend(common_directories(plan, paths));
    problems
}

/// The errors about directories with `mode=delete` to which another output or cache of `plan` writes, too: whichever ends last
/// deletes what the others have written.
fn common_directories(plan: &Plan, paths: &Resolver) -> Vec<Diagnostic> {
    let mut writers: BTreeMap<PathBuf, Vec<WrittenPlace<'_>>> = BTreeMap::new();
    for place in written_places(plan, paths) {
        writers.entry(place.path.clone()).or_default().push(place);
    }
    let common = writers.values().filter_map(|writers| {
        let deleting = writers.iter().position(|writer| writer.deletes)?;
        let mut others = writers.iter().enumerate();
        let (_, other) = others.find(|(at, _)| *at != deleting)?;
        Some((writers.get(deleting)?, other))
    });
    let problems = common.map(|(deleting, other)| {
        let (target, of) = (&deleting.target.name, &other.target.name);
        let whose = if target == of {
            "another output or cache of it".to_owned()
        } else {
            format!("target `{of}`")
        };
        let message = format!(
            "target `{target}` would delete what {whose} writes to the same directory: its output `{}` has `mode=delete`",
            deleting.path.display()
        );
        Diagnostic::error(Class::Definition, "plan::local-delete", message)
            .help("give each a directory of its own; it may be inside of this one")
            .at(deleting.span.or_else(|| deleting.target.span()), "")
    });
    problems.collect()
}

/// The files and directories of this machine that `target` is built from.
fn sources(target: &PlannedTarget, paths: &Resolver) -> Vec<(PathBuf, &'static str)> {
    let inputs = &target.inputs;
    let mut sources = Vec::new();
    if let ContextSource::Local(path) = &inputs.context {
        sources.push((path, "its context"));
    }
    if let DockerfileSource::Local(path) = &inputs.dockerfile {
        sources.push((path, "its Dockerfile"));
    }
    sources.extend(inputs.named.values().filter_map(|named| match named {
        NamedContext::Local(path) => Some((path, "one of its contexts")),
        NamedContext::OciLayout(layout) => Some((&layout.path, "one of its contexts")),
        NamedContext::Remote(_)
        | NamedContext::InTree(_)
        | NamedContext::Image(_)
        | NamedContext::Target(_) => None,
    }));
    let resolved = sources.into_iter().filter_map(|(path, what)| {
        let place = paths.resolve(path).ok()?;
        Some((place.path().to_owned(), what))
    });
    resolved.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::Project;
    use test_case::test_case;

    // The context of the target is `sub/context`, and the definition is in `sub/bake`.
    fn refusal(dest: &str) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["work/sub/context", "work/sub/bake", "work/out", "home"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("sub", root.join("work/link")).unwrap();
        let work = root.join("work");
        let project = Project::new().file(
            "docker-bake.hcl",
            &format!(
                "target \"a\" {{\n context = \"sub/context\"\n output = [\"type=local,dest={dest},mode= Delete\"]\n}}"
            ),
        );
        let plan = project.plan(&["a"]).unwrap();
        let home = root.join("home");
        let environment = Environment::of([("HOME", home.to_str().unwrap())], &*work);
        let paths = Resolver::new(&work);
        let found = refused_deletions(&plan, &environment, &paths, Path::new("sub/bake"));
        assert!(found.0.len() < 2);
        let message = found.0.into_iter().next()?.message;
        let (what, _) = message.split_once(": its output")?;
        Some(what.replace("target `a` would delete ", ""))
    }

    #[test_case("/", "the root directory")]
    #[test_case("../home", "your home directory")]
    #[test_case("..", "your home directory"; "above the home directory")]
    #[test_case(".", "the working directory")]
    #[test_case("sub/bake", "the definition")]
    #[test_case("sub/context", "its context")]
    #[test_case("link/context", "its context"; "through a link")]
    fn directories_with_files_of_the_user_are_refused(dest: &str, what: &str) {
        assert_eq!(refusal(dest).as_deref(), Some(what));
    }

    #[test_case(r#""type=local,dest=d", "type=local,dest=d,mode=delete""#, "", Some("another output or cache of it"); "of one target")]
    #[test_case(r#""type=local,dest=d,mode=delete""#, r#""type=local,dest=./d,mode=delete""#, Some("target `b`"); "of two targets")]
    #[test_case(r#""type=local,dest=d,mode=delete""#, r#""type=oci,dest=d,tar=false""#, Some("target `b`"); "a layout")]
    #[test_case(r#""type=local,dest=d,mode=delete""#, r#""type=local,dest=d/in,mode=delete", "type=oci,dest=d/x.tar""#, None; "inside")]
    #[test_case(r#""type=local,dest=d""#, r#""type=local,dest=d""#, None; "nothing is deleted")]
    fn one_output_must_not_delete_what_another_writes(a: &str, b: &str, told: Option<&str>) {
        let project = Project::new().file(
            "docker-bake.hcl",
            &format!("target \"a\" {{ output = [{a}] }}\ntarget \"b\" {{ output = [{b}] }}"),
        );
        let plan = project.plan(&["a", "b"]).unwrap();
        let paths = Resolver::new(project.environment().current_dir());
        let found = common_directories(&plan, &paths);
        let found = found.first().map(|problem| &*problem.message);
        assert_eq!(found.is_some(), told.is_some(), "{found:?}");
        if let (Some(found), Some(told)) = (found, told) {
            assert!(
                found.contains(&format!("would delete what {told} writes")),
                "{found}"
            );
        }
    }

    #[test_case("out")]
    #[test_case("sub/context/out"; "in the context")]
    #[test_case("../home/out"; "in the home directory")]
    #[test_case("new/dir"; "new directory")]
    fn other_directories_are_not_refused(dest: &str) {
        assert_eq!(refusal(dest), None);
    }
}
