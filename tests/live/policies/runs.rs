//! Policies in runs of several targets, on several nodes, and without a build.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{DENY, both, target};
use crate::live::nodes::Pair;
use crate::support::bakers::{Baker, Bakers};
use crate::support::project::TestProject;

/// A policy that allows a source if it is not an image, or `rule` holds.
fn on_images(rule: &str) -> String {
    format!(
        "package docker\n\ndefault allow := false\n\nallow if not input.image\n\nallow if {rule}\n\ndecision := {{\"allow\": allow, \"deny_msg\": [\"because\"]}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_policy_of_a_target_decides_on_each_of_its_nodes() {
    let pair = Pair::created_by(Baker::Rbake).await;
    pair.home.write(
        "work/docker-bake.hcl",
        "target \"default\" {\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n  output = [\"type=cacheonly\"]\n}\n",
    );
    pair.home.write(
        "work/Dockerfile",
        "FROM scratch\nCOPY --from=busybox:latest /bin/busybox /\n",
    );
    for (rule, builds) in [
        ("input.image.repo == \"busybox\"", true),
        ("startswith(input.image.checksum, \"sha256:\")", true),
        ("input.image.repo == \"alpine\"", false),
    ] {
        pair.home.write("work/Dockerfile.rego", &on_images(rule));
        for baker in Baker::ALL {
            if builds {
                let said = pair.bakes(baker, &[]);
                assert!(said.contains("busybox:latest"), "{rule} {baker:?}: {said}");
            } else {
                let said = pair.refuses(baker, &[]);
                assert!(said.contains("not allowed by policy"), "{rule}: {said}");
            }
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_check_is_denied_what_the_build_would_be_denied() {
    let bakers = Bakers::on_the_shared_daemon();
    for (policy, words) in [
        (DENY, &["--check", "a"][..]),
        (DENY, &["--call=outline", "a"]),
        (
            &on_images("input.image.repo == \"busybox\""),
            &["--check", "a"],
        ),
        (
            &on_images("input.image.repo == \"alpine\""),
            &["--check", "a"],
        ),
    ] {
        let project = TestProject::new()
            .file("docker-bake.hcl", target("a", ""))
            .file("Dockerfile", "FROM busybox:latest\nRUN true\n")
            .file("Dockerfile.rego", policy);
        let [rbake, buildx] = Baker::ALL.map(|baker| bakers.bake(baker, &project, words));
        assert_eq!(
            rbake.code, buildx.code,
            "{words:?} {policy}: {rbake} {buildx}"
        );
        assert_eq!(rbake.stdout, buildx.stdout, "{words:?} {policy}: {rbake}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_image_that_a_policy_pins_for_a_parent_is_in_its_children() {
    let bakers = Bakers::on_the_shared_daemon();
    let plain = TestProject::new()
        .file("docker-bake.hcl", target("a", ""))
        .file("Dockerfile", "FROM busybox:latest\n");
    let found = bakers.bake(Baker::Buildx, &plain, &["a"]);
    let digest = found.stderr.split("busybox:latest@").nth(1);
    let digest = digest.and_then(|text| text.split_whitespace().next());
    let digest = digest.unwrap_or_else(|| panic!("no digest: {found}"));
    let definition = [
        "target \"parent\" {\n  context = \"parent\"\n}\n",
        "target \"child\" {\n  context = \"child\"\n  contexts = { base = \"target:parent\" }\n  output = [\"type=local,dest=out\"]\n}\n",
    ];
    let pin = on_images(&format!("pin_image(input.image, \"{digest}\")"));
    for (of_child, builds) in [(None, true), (Some(on_images("false")), false)] {
        for baker in Baker::ALL {
            let mut project = TestProject::new()
                .file("docker-bake.hcl", definition.concat())
                .file(
                    "parent/Dockerfile",
                    "FROM busybox:latest\nRUN echo made >/made\n",
                )
                .file("parent/Dockerfile.rego", &pin)
                .file(
                    "child/Dockerfile",
                    "FROM base AS b\nFROM scratch\nCOPY --from=b /made /\n",
                );
            if let Some(policy) = &of_child {
                project = project.file("child/Dockerfile.rego", policy);
            }
            let output = bakers.bake(baker, &project, &["--allow=fs=.", "child"]);
            assert_eq!(output.code == Some(0), builds, "{baker:?}: {output}");
            if !builds {
                continue;
            }
            let pinned =
                format!("convert to docker-image://docker.io/library/busybox:latest@{digest}");
            assert!(output.stderr.contains(&pinned), "{baker:?}: {output}");
            let made = std::fs::read_to_string(project.path().join("out/made")).unwrap();
            assert_eq!(made, "made\n");
        }
    }
}

/// A server of an archive, and how often it was asked.
fn archive_server(archive: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/context.tar", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            count.fetch_add(1, Ordering::SeqCst);
            let length = archive.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
            if !head.starts_with("HEAD ") {
                let _ = stream.write_all(&archive);
            }
        }
    });
    (url, asked)
}

#[test]
#[ignore = "needs live peers"]
fn a_remote_context_is_looked_at_once_for_all_targets() {
    const TARGETS: usize = 6;
    let bakers = Bakers::on_the_shared_daemon();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in [
        ("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n"),
        (
            "Dockerfile.rego",
            "package docker\n\ndecision := {\"allow\": true}\n",
        ),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
    }
    let (url, asked) = archive_server(archive.into_inner().unwrap());
    let definition = (0..TARGETS).map(|at| {
        target(
            &format!("t{at}"),
            &format!("  context = \"{url}\"\n  args = {{ AT = \"{at}\" }}"),
        )
    });
    let project = TestProject::new().file("docker-bake.hcl", definition.collect::<String>());
    let names: Vec<String> = (0..TARGETS).map(|at| format!("t{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut counts = Vec::new();
    // One after the other, so that the builder does not join the requests of jobs.
    for more in [
        &["--jobs=1"][..],
        &["--jobs=1", "--policy", "disabled=true"],
    ] {
        asked.store(0, Ordering::SeqCst);
        let output = bakers.bake(Baker::Rbake, &project, &[more, &names].concat());
        assert_eq!(output.code, Some(0), "{output}");
        let shows = output.stderr.contains("loading policies");
        assert_eq!(shows, more.len() == 1, "{output}");
        counts.push(asked.load(Ordering::SeqCst));
    }
    assert_eq!(counts[0], counts[1] + 1, "{counts:?}");
    let project = project.file("cwd.rego", DENY);
    let denied = ["--set=*.policy=filename=cwd://cwd.rego"];
    both(&bakers, &project, &[&denied, &names[..1]].concat(), false);
}

/// What cannot be read may be what denies. A file that only is not there is another matter.
#[test]
#[ignore = "needs live peers"]
fn a_policy_of_a_remote_context_that_cannot_be_read_denies() {
    let bakers = Bakers::on_the_shared_daemon();
    let mut archive = tar::Builder::new(Vec::new());
    let text = b"FROM scratch\nCOPY Dockerfile /\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive
        .append_data(&mut header, "Dockerfile", &text[..])
        .unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    archive
        .append_data(&mut header, "Dockerfile.rego/", std::io::empty())
        .unwrap();
    let (url, _) = archive_server(archive.into_inner().unwrap());
    let definition = target("app", &format!("  context = \"{url}\""));
    let project = TestProject::new().file("docker-bake.hcl", definition);
    let said = both(&bakers, &project, &["app"], false);
    let reason = "cannot read the policy file `Dockerfile.rego` of the context";
    assert!(said.contains(reason), "{said}");
}
