//! `mode=delete` of local outputs, beside buildx.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::support::bakers::{Baker, Bakers};
use crate::support::project::{CommandOutput, TestProject};

const ALLOW: &str = "--allow=buildx.local.delete";

#[track_caller]
fn passes(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}

// All entries below `dir` with their modes, and the content or target of each.
fn tree(dir: &Path) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let what = if metadata.is_dir() {
                waiting.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                path.read_link().unwrap().display().to_string()
            } else {
                std::fs::read_to_string(&path).unwrap()
            };
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            found.insert(name, (metadata.permissions().mode(), what));
        }
    }
    found
}

// A project whose result has one file and one link for each of two platforms, and whose output directory is not empty.
fn project(attributes: &str) -> TestProject {
    let definition = format!(
        r#"
        target "a" {{
          platforms = ["linux/amd64", "linux/arm64"]
          output    = ["type=local,dest=out,mode=delete{attributes}"]
        }}
        "#
    );
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .file(
            "Dockerfile",
            "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /\n",
        )
        .file("amd64/of-amd64/f", "amd64")
        .file("arm64/of-arm64/f", "arm64")
        .file("outside/precious", "")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", 1);
    fill(&project.path().join("out"));
    project
}

fn fill(out: &Path) {
    for dir in [
        "linux_amd64/stale/deep",
        "linux_arm64/of-arm64/f/x",
        "of-arm64/f/x",
        "other",
    ] {
        std::fs::create_dir_all(out.join(dir)).unwrap();
    }
    for file in [
        "linux_amd64/stale/deep/f",
        "of-arm64/f/x/f",
        "top",
        ".hidden",
    ] {
        std::fs::write(out.join(file), "old").unwrap();
    }
    symlink("../outside", out.join("of-amd64")).unwrap();
    symlink("../outside", out.join("other/escape")).unwrap();
}

#[test]
#[ignore = "needs live peers"]
fn a_directory_has_exactly_what_was_built_as_with_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    for attributes in ["", ",platform-split=false"] {
        let project = project(attributes);
        let out = project.path().join("out");
        let trees = Baker::ALL.map(|baker| {
            // buildx looks for entries of a directory that it has deleted just before, and fails. A further run finds less to
            // delete.
            let mut runs = (0..9).map(|_| bakers.bake(baker, &project, &["a", ALLOW]));
            let is_done = |run: &CommandOutput| run.code == Some(0) || baker == Baker::Rbake;
            passes(&runs.find(is_done).unwrap());
            let tree = tree(&out);
            assert!(
                project.path().join("outside/precious").exists(),
                "{baker:?}"
            );
            std::fs::remove_dir_all(&out).unwrap();
            fill(&out);
            tree
        });
        assert_eq!(trees[0], trees[1], "{attributes}");
        assert!(
            trees[0].len() >= 4 && !trees[0].contains_key("top"),
            "{trees:?}"
        );
        // A second run changes nothing, and the directory may be new.
        std::fs::remove_dir_all(&out).unwrap();
        for _ in 0..2 {
            passes(&bakers.bake(Baker::Rbake, &project, &["a", ALLOW]));
            assert_eq!(tree(&out), trees[0]);
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn nothing_is_deleted_without_a_grant_or_by_a_build_that_fails() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project("");
    let out = project.path().join("out");
    let before = tree(&out);
    for baker in Baker::ALL {
        let refused = bakers.bake(baker, &project, &["a", "--progress=rawjson"]);
        assert_ne!(refused.code, Some(0), "{refused}");
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains(ALLOW), "{refused}");
        assert_eq!(tree(&out), before, "{baker:?}");
    }
    let project = project.file("Dockerfile", "FROM scratch\nCOPY amd64 /\nCOPY missing /\n");
    let failed = bakers.bake(Baker::Rbake, &project, &["a", ALLOW]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert_eq!(tree(&out), before);
}

#[test]
#[ignore = "needs live peers"]
fn directories_with_the_users_files_are_refused_whatever_is_granted() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project("");
    let before = tree(&project.path());
    for dest in [".", "..", "/", "../home"] {
        let set = format!("--set=a.output=type=local,dest={dest},mode=delete");
        let refused = bakers.bake(Baker::Rbake, &project, &["a", ALLOW, "--allow=fs=*", &set]);
        assert_eq!(refused.code, Some(3), "{dest}: {refused}");
        assert!(refused.stderr.contains("plan::local-delete"), "{refused}");
    }
    assert_eq!(tree(&project.path()), before);
}

// Needs the rights to mount, in a namespace that ends with the shell.
#[test]
#[ignore = "needs live peers"]
fn a_file_system_that_is_mounted_in_a_stale_directory_is_not_emptied() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project("").file("out/stale/mounted/x", "");
    let project = project.file("elsewhere/precious", "");
    let rbake = project.command(&["a", ALLOW, "--progress=plain"]);
    let words = rbake.get_args().map(|word| word.to_str().unwrap());
    let words = words.collect::<Vec<_>>().join(" ");
    for mount in ["--bind elsewhere", "-t tmpfs none"] {
        let script = format!(
            "mount {mount} out/stale/mounted && touch out/stale/mounted/precious && {} {words}; code=$?; ls out/stale/mounted; exit $code",
            rbake.get_program().to_str().unwrap()
        );
        let mut command = project.program(Path::new("unshare"), &["-m", "sh", "-c", &script]);
        command.env("BUILDKIT_HOST", bakers.address());
        let output = project.read(&command.output().unwrap());
        assert_eq!(output.code, Some(1), "{output}");
        assert_eq!(output.stdout.trim(), "precious", "{output}");
        assert!(
            output
                .stderr
                .contains("out/stale/mounted`: another file system is mounted there"),
            "{output}"
        );
    }
}

// buildx deletes these in some runs.
#[test]
#[ignore = "needs live peers"]
fn other_outputs_of_the_run_below_the_directory_stay() {
    let bakers = Bakers::on_the_shared_daemon();
    let definition = r#"
        target "many" {
          dockerfile-inline = "FROM busybox AS made\nRUN mkdir /o; for i in $(seq 300); do echo $i > /o/f$i; done\nFROM scratch\nCOPY --from=made /o /\n"
          output            = ["type=local,dest=out,mode=delete", "type=local,dest=out/in", "type=oci,dest=out/image.tar"]
          cache-to          = ["type=local,dest=out/cache"]
        }
        target "one" {
          dockerfile-inline = "FROM scratch\nCOPY docker-bake.hcl /one\n"
          output            = ["type=local,dest=out/deep/one", "type=oci,dest=out/layout,tar=false"]
        }
        "#;
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .file("out/stale", "")
        .file("out/deep/stale", "")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", 1);
    for _ in 0..2 {
        passes(&bakers.bake(Baker::Rbake, &project, &["many", "one", ALLOW]));
        let out = project.path().join("out");
        for kept in [
            "in/f300",
            "image.tar",
            "deep/one/one",
            "layout/index.json",
            "cache/index.json",
            "f300",
        ] {
            assert!(out.join(kept).exists(), "{kept}");
        }
        for deleted in ["stale", "deep/stale"] {
            assert!(!out.join(deleted).exists(), "{deleted}");
        }
    }
}
