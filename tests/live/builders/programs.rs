//! Builders that are reached through a program. The programs are fakes: each notes its words, which must be those of BuildKit's
//! connection helpers (`client/connhelper/` at v0.32.2), and connects to a real daemon.

use std::os::unix::fs::PermissionsExt as _;

use super::Both;
use crate::support::home::{Home, eventually};
use crate::support::peers;

/// A user with fakes of `podman`, `nerdctl` and `ssh`.
fn home() -> Home {
    let home = Home::without_programs();
    let buildctl = peers::program("RBAKE_TEST_BUILDCTL");
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    for name in ["podman", "nerdctl", "ssh"] {
        // Not `exec`: both processes must end.
        let script = format!(
            "#!/bin/sh\necho \"{name} $*\" >>{}\n{} --addr {address} dial-stdio\n",
            home.path("calls").display(),
            buildctl.display()
        );
        home.write(&format!("bin/{name}"), &script);
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.path("bin").join(name), mode).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", home.path("bin").display());
    home.write("work/docker-bake.hcl", "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=local,dest=out\"]\n}\n");
    home.write("work/a", "through a program");
    home.variable("PATH", &path)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn builds_run_through_the_programs_that_buildkit_calls() {
    let cases = [
        (
            "podman-container://b",
            "podman exec -i b buildctl dial-stdio",
        ),
        (
            "nerdctl-container://b?namespace=k8s.io",
            "nerdctl exec --namespace k8s.io -i b buildctl dial-stdio",
        ),
        (
            "ssh://me@far:22/run/b.sock",
            "ssh -l me -p 22 -- far buildctl --addr unix:///run/b.sock dial-stdio",
        ),
    ];
    for (address, expected) in cases {
        let home = home().variable("BUILDKIT_HOST", address);
        Both::said(&home.rbake(&[]), "rbake", &[address]);
        let built = std::fs::read_to_string(home.path("work/out/a")).unwrap();
        assert_eq!(built, "through a program");
        let calls = std::fs::read_to_string(home.path("calls")).unwrap();
        assert_eq!(calls.lines().next(), Some(expected));
        eventually("the program has ended", async || {
            home.processes().is_empty()
        })
        .await;
        let listed = Both::said(&home.rbake(&["+builder", "ls"]), "rbake", &["builder ls"]);
        assert!(listed.contains(&format!("{address}*")), "{listed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_at_an_ssh_address_is_shared_with_buildx() {
    let home = home();
    let said = |arguments: &[&str]| {
        let all = [&["+builder"], arguments].concat();
        Both::said(&home.rbake(&all), "rbake", &all)
    };
    said(&[
        "create",
        "--name",
        "far",
        "--driver",
        "remote",
        "--use",
        "ssh://me@far",
    ]);
    assert!(said(&["inspect"]).contains("running"));
    let mut buildx = home.command(peers::program("RBAKE_TEST_BUILDX"));
    let output = buildx.args(["inspect", "far"]).output().unwrap();
    let theirs = Both::said(&output, "buildx", &["inspect"]);
    assert!(theirs.contains("running"), "{theirs}");
    let calls = std::fs::read_to_string(home.path("calls")).unwrap();
    assert!(
        calls
            .lines()
            .all(|call| call == "ssh -l me -- far buildctl dial-stdio"),
        "{calls}"
    );
    assert!(calls.lines().count() >= 2, "{calls}");
}
