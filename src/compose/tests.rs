//! Tests with hostile projects, and of the messages for faulty ones.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{ComposeFile, ComposeVariables, Project, ProjectSettings, Projects};
use crate::diag::{Diagnostics, SourceMap};

/// Loads the project on a stack as large as the one on which definitions are evaluated.
fn load_in(dir: &Path, text: &str) -> Result<(Project, Diagnostics), Diagnostics> {
    load_with(dir, None, text)
}

/// Does the same, where only files in `readable` may be read.
fn load_with(
    dir: &Path,
    readable: Option<&[PathBuf]>,
    text: &str,
) -> Result<(Project, Diagnostics), Diagnostics> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 20);
        let loaded = thread.spawn_scoped(scope, || load_here(dir, readable, text));
        loaded.unwrap().join().unwrap()
    })
}

fn load_here(
    dir: &Path,
    readable: Option<&[PathBuf]>,
    text: &str,
) -> Result<(Project, Diagnostics), Diagnostics> {
    let mut map = SourceMap::default();
    let source = map.add("compose.yaml", text);
    let variables = ComposeVariables::default();
    let settings = ProjectSettings {
        readable,
        dir,
        home: None,
        variables: &variables,
    };
    let files = [ComposeFile {
        source,
        path: "compose.yaml".to_owned(),
    }];
    let mut projects = Projects::default();
    projects.check(&files[0], &settings, &mut map)?;
    projects.load(&files, &settings, &mut map)
}

fn codes(text: &str) -> Vec<&'static str> {
    match load_in(Path::new("/nowhere"), text) {
        Ok((project, _)) => panic!("no error: {project:?}"),
        Err(problems) => problems.0.iter().map(|problem| problem.code).collect(),
    }
}

#[test]
fn everything_that_is_wrong_is_reported() {
    let text = "
services:
  a: {build: {contxt: ., tags: t, args: {A: [1]}}, image: 5}
  b: {build: {labels: 1}, env_file: {path: x}}
secrets: {s: {file: 1}}
";
    let problems = codes(text);
    assert_eq!(
        problems,
        ["compose::wrong-type"],
        "`env_file` is made canonical first"
    );
    let problems = codes(&text.replace(", env_file: {path: x}", ""));
    let mut wanted = vec!["compose::wrong-type"; 5];
    wanted.insert(1, "compose::unknown-key");
    assert_eq!(problems, wanted);
}

#[test]
fn repeated_includes_that_double_are_limited() {
    let dir = tempfile::tempdir().unwrap();
    for step in 0..60 {
        let next = step + 1;
        let text = format!("include: [{next}.yaml, {next}.yaml]\nservices: {{}}\n");
        std::fs::write(dir.path().join(format!("{step}.yaml")), text).unwrap();
    }
    std::fs::write(dir.path().join("60.yaml"), "services: {a: {build: .}}\n").unwrap();
    let problems = load_in(dir.path(), "include: [0.yaml]\n").unwrap_err();
    assert_eq!(problems.0[0].code, "compose::limit");
}

#[test]
fn chains_of_services_that_extend_each_other_are_limited() {
    let chain = |count: usize| {
        let mut text = "services:\n".to_owned();
        for step in 0..count {
            let next = step + 1;
            writeln!(
                text,
                "  s{step}: {{extends: s{next}, build: {{args: [A{step}=1]}}}}"
            )
            .unwrap();
        }
        writeln!(text, "  s{count}: {{build: .}}").unwrap();
        text
    };
    let (project, _) = load_in(Path::new("/nowhere"), &chain(200)).unwrap();
    let first = project.services[0].build.as_ref().unwrap();
    assert_eq!(first.args.len(), 200);
    assert_eq!(codes(&chain(2_000))[0], "compose::limit");
}

#[test]
fn values_of_the_wrong_shape_are_errors() {
    for text in [
        "services: {a: {build: {context: [x]}}}",
        "services: {a: {build: {additional_contexts: {x: {y: z}}}}}",
        "services: {a: {extends: {service: [x], file: {}}}}",
        "services: {a: {build: {x-bake: {contexts: 1}}}, extends: {}}",
        "include: [{path: [{}]}]",
        "include: [[]]",
        "services: {a: {build: {ulimits: {nofile: 1.5}, ssh: {a: [b]}}}}",
        "services: {a: {build: {secrets: [{source: 1}, {}]}}}",
        "secrets: {s: {external: {name: [x]}, file: []}}",
        "volumes: {v: {external: {name: a}, name: b}}",
        "services: {a: {build: ., extra_hosts: 1, networks: {x: [1]}, ports: {}}}",
    ] {
        assert!(load_in(Path::new("/nowhere"), text).is_err(), "{text}");
    }
}

#[test]
fn a_fetched_project_reads_files_of_the_working_directory_only() {
    let dir = tempfile::tempdir().unwrap();
    let (here, secret) = (dir.path().join("here"), dir.path().join("secret"));
    std::fs::create_dir(&here).unwrap();
    std::fs::write(here.join("own.env"), "A=1\n").unwrap();
    std::fs::write(&secret, "A=1\n").unwrap();
    std::os::unix::fs::symlink(&secret, here.join("link.env")).unwrap();
    let readable = [here.clone()];
    let load = |path: &str, readable: Option<&[PathBuf]>| {
        let text = format!("services:\n  a:\n    build: .\n    env_file: {path}\n");
        let (project, problems) = load_with(&here, readable, &text).unwrap();
        let service = project.services.first().unwrap();
        let all = problems.0.iter().chain(&service.problems.0);
        all.map(|problem| problem.message.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(load("own.env", Some(&readable)), [""; 0]);
    assert_eq!(load("../secret", None), [""; 0]);
    for path in ["../secret", "link.env"] {
        let told = load(path, Some(&readable)).concat();
        assert!(
            told.contains("`--allow=fs.read=…` grants it"),
            "{path}: {told}"
        );
    }
    let granted = [here.clone(), secret.clone()];
    assert_eq!(load("../secret", Some(&granted)), [""; 0]);
}
