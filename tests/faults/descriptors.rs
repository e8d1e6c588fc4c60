//! Builds many targets with a low limit of open files.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::support::interrupted::Run;
use crate::support::peers;
use crate::support::project::TestProject;

const TARGETS: usize = 150;

// The context of each target is a separate git repository, and each target sends and receives several files.
fn project() -> TestProject {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let mut definition = String::from("group \"default\" { targets = [\"t\"] }\n");
    let names: Vec<String> = (0..TARGETS).map(|n| format!("\"{n}\"")).collect();
    let _ = writeln!(
        definition,
        "target \"t\" {{\n  name = \"t${{n}}\"\n  matrix = {{ n = [{}] }}\n  context = \"c/${{n}}\"\n  \
         dockerfile = \"../../Dockerfile\"\n  output = [\"type=local,dest=out/${{n}}\"]\n}}",
        names.join(", ")
    );
    let mut project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", address);
    for n in 0..TARGETS {
        for file in 0..12 {
            project = project.file(&format!("c/{n}/deep/er/{file}"), format!("{n}\n"));
        }
        project = project.file(&format!("c/{n}/.dockerignore"), ".git\n");
    }
    let script = format!(
        "set -e\ngit init -q template\n\
         git -C template -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m x\n\
         for n in $(seq 0 {}); do cp -R template/.git c/$n/.git; done\nrm -r template",
        TARGETS - 1
    );
    let made = Command::new("sh")
        .args(["-c", &script])
        .current_dir(project.path())
        .status()
        .unwrap();
    assert!(made.success());
    project
}

async fn build_with(descriptors: u32) {
    let project = project();
    let rbake = project.command(&[]);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "ulimit -n {descriptors}; exec \"$0\" --progress plain"
        ))
        .arg(rbake.get_program())
        .env_clear()
        .current_dir(project.path());
    for (name, value) in rbake.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let ended = Run::start(&command).ended(Duration::from_secs(240)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("no-commit"), "{}", ended.stderr);
    for n in 0..TARGETS {
        let out = project.path().join(format!("out/{n}/deep/er"));
        assert_eq!(std::fs::read_dir(out).unwrap().count(), 12, "target {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_hundred_and_fifty_repositories_are_built_with_256_descriptors() {
    build_with(256).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_hundred_and_fifty_repositories_are_built_with_64_descriptors() {
    build_with(64).await;
}
