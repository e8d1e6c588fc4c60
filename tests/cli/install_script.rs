//! `scripts/install.sh` installs what the release's checksums name, and nothing else.

use std::path::Path;
use std::process::Command;

use rbake::types::Digest;

use crate::support::project::{CommandOutput, TestProject};

const FILES: [&str; 5] = [
    "rbake",
    "man/rbake.1",
    "completions/rbake.bash",
    "completions/_rbake",
    "completions/rbake.fish",
];

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux-arm64",
        _ => "linux-amd64",
    }
}

// A place with one release, whose program is a script.
fn releases() -> TestProject {
    let name = format!("rbake-9.9.9-{}", platform());
    let mut project = TestProject::new();
    for file in FILES {
        let content = format!("#!/bin/sh\necho rbake 9.9.9\n# {file}\n");
        project = project.file(&format!("{name}/{file}"), content);
    }
    let path = project.path();
    let archive = format!("releases/latest/download/{name}.tar.gz");
    std::fs::create_dir_all(path.join("releases/latest/download")).unwrap();
    let packed = Command::new("sh")
        .args([
            "-c",
            "chmod 755 \"$1/rbake\" && tar -czf \"$2\" \"$1\"",
            "sh",
            &name,
            &archive,
        ])
        .current_dir(&path)
        .status();
    assert!(packed.unwrap().success());
    let digest = Digest::sha256(&std::fs::read(path.join(&archive)).unwrap());
    let other = "0".repeat(64);
    let sums = format!(
        "{other}  rbake-9.9.9-plan9-mips.tar.gz\n{}  {name}.tar.gz\n",
        digest.hex()
    );
    project.file("releases/latest/download/SHA256SUMS", sums)
}

fn install(project: &TestProject) -> CommandOutput {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/install.sh");
    let mut command = project.program(&script, &[]);
    command
        .env(
            "RBAKE_RELEASES",
            format!("file://{}/releases", project.path().display()),
        )
        .env("RBAKE_PREFIX", project.path().join("prefix"));
    project.read(&command.output().unwrap())
}

#[track_caller]
fn nothing_is_installed(project: &TestProject, output: &CommandOutput, why: &str) {
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains(why), "{output}");
    assert!(!project.path().join("prefix").exists(), "{output}");
}

#[test]
fn the_program_its_page_and_completions_are_installed() {
    let project = releases();
    let output = install(&project);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(
        output
            .stderr
            .contains("rbake 9.9.9 is installed in [project]/prefix/bin"),
        "{output}"
    );
    let prefix = project.path().join("prefix");
    for file in [
        "bin/rbake",
        "share/man/man1/rbake.1",
        "share/bash-completion/completions/rbake",
        "share/zsh/site-functions/_rbake",
        "share/fish/vendor_completions.d/rbake.fish",
    ] {
        assert!(prefix.join(file).is_file(), "{file}: {output}");
    }
    // A second installation replaces the first.
    assert_eq!(install(&project).code, Some(0));
}

#[test]
fn an_archive_with_another_checksum_is_not_unpacked() {
    let project = releases();
    let archive = format!("releases/latest/download/rbake-9.9.9-{}.tar.gz", platform());
    let mut changed = std::fs::read(project.path().join(&archive)).unwrap();
    changed.push(0);
    let project = project.file(&archive, changed);
    let output = install(&project);
    nothing_is_installed(&project, &output, "the checksum of");
}

#[test]
fn names_that_are_not_an_archive_for_this_machine_are_ignored() {
    let sum = "0".repeat(64);
    let names = ["../../x", "rbake-9/../x", "rbakes-9.9.9", ""];
    let sums = names.map(|name| format!("{sum}  {name}-{}.tar.gz\n", platform()));
    let project = releases().file("releases/latest/download/SHA256SUMS", sums.concat());
    let output = install(&project);
    nothing_is_installed(&project, &output, "the release has no archive for");
}

#[test]
fn a_system_without_a_release_is_named() {
    let project = releases().program_in_path("uname", "echo Plan9");
    let output = install(&project);
    nothing_is_installed(&project, &output, "there is no release for Plan9");
}
