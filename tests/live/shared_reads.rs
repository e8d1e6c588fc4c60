//! Targets that read different parts of one large directory: it is sent once for all of them, and the images are those of buildx.

use std::fmt::Write as _;

use rbake::engine::Endpoint;
use serde_json::Value;
use test_case::test_case;

use super::cache::succeeds;
use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::fault_proxy::{FaultProxy, Way};
use crate::support::interrupted::Run;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::splitmix::SplitMix;
use crate::support::{layout, peers, predicates};

const TARGETS: usize = 8;
const PARTS: usize = 10;
/// The bytes of each part.
const PART: usize = 1 << 20;

/// A part with bytes that cannot be compressed.
fn noise(seed: u64) -> Vec<u8> {
    let mut random = SplitMix::new(seed);
    let words = (0..PART / 8).flat_map(|_| random.next().to_le_bytes());
    words.collect()
}

/// Targets that copy three of the parts each. `more` stands in each target.
fn project(syntax: &str, more: &str) -> TestProject {
    let mut dockerfile = format!("{syntax}FROM scratch AS base\n");
    let mut definition = "variable \"OUT\" { default = \"out\" }\n".to_owned();
    let names: Vec<String> = (0..TARGETS).map(|n| format!("\"t{n}\"")).collect();
    let names = names.join(", ");
    writeln!(definition, "group \"default\" {{ targets = [{names}] }}").unwrap();
    for n in 0..TARGETS {
        writeln!(dockerfile, "FROM base AS t{n}").unwrap();
        for copied in 0..3 {
            let part = (n + copied * 3) % PARTS;
            writeln!(dockerfile, "COPY data/p{part} /p{copied}").unwrap();
        }
        write!(
            definition,
            r#"target "t{n}" {{
  target = "t{n}"
  args = {{ SOURCE_DATE_EPOCH = "0" }}
  output = ["type=oci,dest=${{OUT}}-t{n}.tar,rewrite-timestamp=true"]
{more}
}}
"#
        )
        .unwrap();
    }
    let mut project = TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("docker-bake.hcl", definition)
        .file("unread/file", noise(1_000));
    for part in 0..PARTS {
        project = project.file(&format!("data/p{part}/file"), noise(part as u64));
    }
    project
}

/// The number of transfers of the main context that brought files.
fn transfers(output: &CommandOutput) -> usize {
    let lines = output.stderr.lines();
    lines
        .filter(|line| line.contains("(context): ") && line.contains("MB"))
        .count()
}

fn image(project: &TestProject, baker: Baker, target: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let archive = format!("{}-{target}.tar", out(baker));
    layout::unpack(&project.path().join(archive), dir.path());
    layout::described(dir.path())
}

fn out(baker: Baker) -> String {
    format!("{baker:?}").to_lowercase()
}

/// Bakes `project` with both programs, rbake first.
fn baked(bakers: &Bakers, project: &TestProject) -> [CommandOutput; 2] {
    Baker::ALL.map(|baker| {
        let metadata = format!("--metadata-file={}.json", out(baker));
        let words = match baker {
            Baker::Rbake => vec![metadata.as_str(), "--progress=plain"],
            Baker::Buildx => vec![metadata.as_str()],
        };
        let mut command = bakers.command(baker, project, &words);
        command.env("OUT", out(baker));
        succeeds(project.read(&command.output().unwrap()))
    })
}

#[track_caller]
fn assert_equal_images(project: &TestProject) {
    for n in 0..TARGETS {
        let [rbake, buildx] = Baker::ALL.map(|baker| image(project, baker, &format!("t{n}")));
        assert_eq!(rbake, buildx, "t{n}");
    }
}

/// The provenance of `target` in the metadata of both programs.
fn provenances(project: &TestProject, target: &str) -> [Value; 2] {
    Baker::ALL.map(|baker| {
        let text = std::fs::read(project.path().join(format!("{}.json", out(baker)))).unwrap();
        let metadata: Value = serde_json::from_slice(&text).unwrap();
        let mut provenance = metadata[target]["buildx.build.provenance"].clone();
        assert!(provenance.is_object(), "{metadata}");
        predicates::normalize(&mut provenance);
        provenance
    })
}

#[test_case(""; "of the builder")]
#[test_case("# syntax=docker/dockerfile:1\n"; "of an image")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_frontend_makes_the_images_of_buildx_from_one_transfer(syntax: &str) {
    let daemon = Buildkitd::start_with_images().await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let project = project(syntax, "");
    let [rbake, _] = baked(&bakers, &project);
    assert_eq!(transfers(&rbake), 1, "{rbake}");
    let [own, expected] = provenances(&project, "t0");
    assert_eq!(own, expected);
    assert_equal_images(&project);
}

/// To ask an image takes longer, so it is asked only if much more is saved.
#[test_case(1, TARGETS; "little is saved")]
#[test_case(2, 1; "much is saved")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_image_says_what_is_read_if_paths_have_variables(size: usize, expected: usize) {
    let daemon = Buildkitd::start_with_images().await;
    let mut project = project("# syntax=docker/dockerfile:1\n", "");
    let dockerfile = std::fs::read_to_string(project.path().join("Dockerfile")).unwrap();
    let dockerfile = dockerfile.replace("COPY data/", "ARG FROM\nCOPY ${FROM:-data}/");
    project = project.file("Dockerfile", dockerfile);
    for part in 0..PARTS {
        let content = noise(part as u64).repeat(size);
        project = project.file(&format!("data/p{part}/file"), content);
    }
    let project = project.env("BUILDKIT_HOST", daemon.endpoint());
    let output = succeeds(project.rbake(&["--progress=plain", "--set=*.output=type=cacheonly"]));
    assert_eq!(transfers(&output), expected, "{output}");
}

/// The built-in frontend of this daemon does not know `TARGETSTAGE`, and would read `data` for `data$TARGETSTAGE`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_frontend_may_know_more_variables_than_the_daemon() {
    let program = peers::program("RBAKE_TEST_BUILDKITD_OLDEST");
    let daemon = Buildkitd::start_program_with_images(&program).await;
    let mut project = project("# syntax=docker/dockerfile:1\n", "");
    let dockerfile = std::fs::read_to_string(project.path().join("Dockerfile")).unwrap();
    let own = "ARG TARGETSTAGE\nCOPY data$TARGETSTAGE /own\nCOPY data/";
    project = project.file("Dockerfile", dockerfile.replace("COPY data/", own));
    for n in 0..TARGETS {
        project = project.file(&format!("datat{n}/own"), n.to_string());
    }
    let project = project.env("BUILDKIT_HOST", daemon.endpoint());
    let _ = succeeds(project.rbake(&["--set=*.output=type=cacheonly"]));
    let _ = succeeds(project.rbake(&["t3", "--set=t3.output=type=local,dest=made"]));
    let made = std::fs::read_to_string(project.path().join("made/own/own")).unwrap();
    assert_eq!(made, "3");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn all_parts_that_are_read_are_sent_once_and_only_changes_later() {
    let daemon = Buildkitd::start(&[]).await;
    let Endpoint::Unix(socket) = daemon.endpoint() else {
        unreachable!()
    };
    let project = project("", "");
    let sent = async || {
        let proxy = FaultProxy::start(&socket, None).await;
        let mut command = project.command(&["--set=*.output=type=cacheonly"]);
        command.env("BUILDKIT_HOST", proxy.address());
        let output = tokio::task::spawn_blocking(move || command.output());
        let _ = succeeds(project.read(&output.await.unwrap().unwrap()));
        proxy.count(Way::Up)
    };
    let all = (PARTS * PART) as u64;
    let first = sent().await;
    assert!((all..all + all / 20).contains(&first), "{first}");
    let again = sent().await;
    assert!(again < all / 20, "{again}");
    std::fs::write(project.path().join("data/p3/file"), noise(77)).unwrap();
    let changed = sent().await;
    let part = PART as u64;
    assert!((part..part + all / 20).contains(&changed), "{changed}");
    let output = "--set=t0.output=type=local,dest=made";
    let mut command = project.command(&[output]);
    command.env("BUILDKIT_HOST", daemon.endpoint().to_string());
    let _ = succeeds(project.read(&command.output().unwrap()));
    // The second part that `t0` copies.
    let made = std::fs::read(project.path().join("made/p1/file")).unwrap();
    assert!(made == noise(77), "an earlier content was copied");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn ignored_files_stay_out_and_are_warned_of() {
    let daemon = Buildkitd::start(&[]).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let project = project("", "")
        .file("data/p0/secret.key", "s")
        .file("data/p4/link-to/x", "x")
        .file(".dockerignore", "**/*.key\ndata/p4/link-*\nunread\n");
    let [rbake, _] = baked(&bakers, &project);
    assert_eq!(transfers(&rbake), 1, "{rbake}");
    assert_equal_images(&project);
    // What `t2` copies third is ignored.
    let dockerfile = std::fs::read_to_string(project.path().join("Dockerfile")).unwrap();
    let checked = format!("# check=experimental=CopyIgnoredFile\n{dockerfile}");
    let project = project
        .file("Dockerfile", checked)
        .file(".dockerignore", "**/*.key\ndata/p8\n");
    let [rbake, buildx] = Baker::ALL.map(|baker| bakers.bake(baker, &project, &[]));
    for output in [&rbake, &buildx] {
        assert_eq!(output.code, Some(1), "{output}");
    }
    assert!(buildx.stderr.contains("CopyIgnoredFile"), "{buildx}");
    assert!(rbake.stderr.contains(" warning"), "{rbake}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn full_provenance_lists_only_what_the_target_reads() {
    let daemon = Buildkitd::start(&[]).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let project = project("", "  attest = [\"type=provenance,mode=max\"]")
        .env("BUILDX_METADATA_PROVENANCE", "max");
    let [rbake, _] = baked(&bakers, &project);
    let [own, expected] = provenances(&project, "t0");
    assert_eq!(own, expected);
    assert_equal_images(&project);
    // Its steps name the paths of the context that are sent.
    assert_eq!(transfers(&rbake), TARGETS, "{rbake}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_that_go_on_after_failures_share_nothing() {
    let daemon = Buildkitd::start(&[]).await;
    let project = project("", "").env("BUILDKIT_HOST", daemon.endpoint());
    let words = [
        "--keep-going",
        "--progress=plain",
        "--set=*.output=type=cacheonly",
    ];
    let output = succeeds(project.rbake(&words));
    assert_eq!(transfers(&output), TARGETS, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_shared_cache_of_it_serves_another_daemon() {
    let daemons = [Buildkitd::start(&[]).await, Buildkitd::start(&[]).await];
    let cache =
        "  cache-to = [\"type=local,dest=cache\"]\n  cache-from = [\"type=local,src=cache\"]";
    let project = project("", cache);
    let outputs = daemons.each_ref().map(|daemon| {
        let mut command = project.command(&["--progress=plain", "--set=*.output=type=cacheonly"]);
        command.env("BUILDKIT_HOST", daemon.endpoint().to_string());
        succeeds(project.read(&command.output().unwrap()))
    });
    let steps = TARGETS * 3;
    let all = format!("{steps}/{steps} steps cached");
    let [_, second] = outputs;
    assert!(second.stderr.contains(&all), "{second}");
}

#[test_case("RBAKE_TEST_BUILDKITD_OLD"; "an old one")]
#[test_case("RBAKE_TEST_BUILDKITD_OLDEST"; "the oldest")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_daemon_that_is_old_makes_the_images_of_buildx(program: &str) {
    let daemon = Buildkitd::start_program(&peers::program(program), &[]).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let project = project("", "").env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    let [rbake, _] = baked(&bakers, &project);
    assert_eq!(transfers(&rbake), 1, "{rbake}");
    assert_equal_images(&project);
}

/// `t0` is used by all others, and reads more than they do.
fn linked() -> TestProject {
    let mut definition = r#"variable "OUT" { default = "out" }
group "default" { targets = ["t0", "t1", "t2"] }
target "_all" {
  args = { SOURCE_DATE_EPOCH = "0" }
}
target "t0" {
  inherits = ["_all"]
  output = ["type=oci,dest=${OUT}-t0.tar,rewrite-timestamp=true"]
}
"#
    .to_owned();
    let mut project = TestProject::new().file(
        "Dockerfile",
        "FROM scratch\nCOPY data/p0 data/p1 data/p2 data/p3 data/p4 data/p5 /data/\n",
    );
    for n in [1, 2] {
        write!(
            definition,
            r#"target "t{n}" {{
  inherits = ["_all"]
  dockerfile = "other/{n}.Dockerfile"
  contexts = {{ base = "target:t0" }}
  output = ["type=oci,dest=${{OUT}}-t{n}.tar,rewrite-timestamp=true"]
}}
"#
        )
        .unwrap();
        let dockerfile = format!("FROM base\nCOPY data/p{n} /own\nCOPY data/p6 data/p5 /both/\n");
        project = project.file(&format!("other/{n}.Dockerfile"), dockerfile);
    }
    for part in 0..PARTS {
        project = project.file(&format!("data/p{part}/{part}"), noise(part as u64));
    }
    project.file("docker-bake.hcl", definition)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn linked_targets_share_it_too() {
    let daemon = Buildkitd::start(&[]).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    // Each repeats three of the seven parts.
    let project = linked();
    let [rbake, _] = baked(&bakers, &project);
    assert_eq!(transfers(&rbake), 1, "{rbake}");
    for target in ["t0", "t1", "t2"] {
        let [rbake, buildx] = Baker::ALL.map(|baker| image(&project, baker, target));
        assert_eq!(rbake, buildx, "{target}");
    }
    for target in ["t0", "t1"] {
        let [own, expected] = provenances(&project, target);
        assert_eq!(own, expected, "{target}");
    }
}

/// All targets have one Dockerfile, which is transferred once, too.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn linked_targets_with_one_dockerfile_have_the_provenance_of_buildx() {
    let daemon = Buildkitd::start(&[]).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let mut dockerfile = String::new();
    let mut definition = "variable \"OUT\" { default = \"out\" }\ngroup \"default\" { targets = [\"t0\", \"t1\", \"t2\"] }\n".to_owned();
    for n in 0..3 {
        let common = "COPY data/p0 data/p1 data/p2 data/p3 data/p4 data/p5";
        writeln!(
            dockerfile,
            "FROM scratch AS t{n}\n{common} data/p{} /x/",
            n + 6
        )
        .unwrap();
        let mut contexts = String::new();
        if n > 0 {
            writeln!(dockerfile, "COPY --from=below /x/file /below").unwrap();
            contexts = format!("  contexts = {{ below = \"target:t{}\" }}\n", n - 1);
        }
        write!(
            definition,
            "target \"t{n}\" {{\n  target = \"t{n}\"\n{contexts}  args = {{ SOURCE_DATE_EPOCH = \"0\" }}\n  output = [\"type=oci,dest=${{OUT}}-t{n}.tar,rewrite-timestamp=true\"]\n}}\n"
        )
        .unwrap();
    }
    let mut project = TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("docker-bake.hcl", definition);
    for part in 0..PARTS {
        project = project.file(&format!("data/p{part}/file"), noise(part as u64));
    }
    let [rbake, _] = baked(&bakers, &project);
    assert_eq!(transfers(&rbake), 1, "{rbake}");
    for target in ["t0", "t1", "t2"] {
        let [own, expected] = provenances(&project, target);
        // buildx leaves them out sometimes.
        let inputs = "/invocation/parameters/inputs";
        assert_eq!(
            own.pointer(inputs).is_some(),
            target != "t0",
            "{target}: {own}"
        );
        if expected.pointer(inputs).is_some() {
            assert_eq!(own, expected, "{target}");
        }
    }
}

/// A frontend of version 1.4 does not know `TARGETSTAGE`, which the daemon knows: it would build another stage.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_stage_that_only_the_image_can_name_is_whole() {
    let daemon = Buildkitd::start_with_images().await;
    let mut dockerfile =
        "# syntax=docker/dockerfile:1.4\nFROM scratch AS base-x\nCOPY data /px\n".to_owned();
    let common = "COPY data/p0 data/p1 data/p2 data/p3 data/p4 data/p5";
    for name in ["a", "b"] {
        writeln!(
            dockerfile,
            "FROM scratch AS base-{name}\nCOPY data/p7 /p{name}"
        )
        .unwrap();
    }
    for name in ["a", "b"] {
        writeln!(
            dockerfile,
            "FROM base-${{TARGETSTAGE:-x}} AS {name}\n{common} /x/"
        )
        .unwrap();
    }
    let definition = "target \"default\" {\n  name = x\n  matrix = { x = [\"a\", \"b\"] }\n  target = x\n  output = [\"type=local,dest=made/${x}\"]\n}\n";
    let mut project = TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("docker-bake.hcl", definition);
    for part in 0..PARTS {
        project = project.file(&format!("data/p{part}/file"), noise(part as u64));
    }
    let project = project.env("BUILDKIT_HOST", daemon.endpoint());
    let _ = succeeds(project.rbake(&[]));
    for name in ["a", "b"] {
        let made = project.path().join("made").join(name).join("px");
        assert_eq!(std::fs::read_dir(made).unwrap().count(), PARTS, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_dockerfile_that_is_saved_during_the_run_is_built_as_it_was() {
    let daemon = Buildkitd::start_with_images().await;
    let common = "COPY data/p0 data/p1 data/p2 data/p3 data/p4 data/p5 /x/\n";
    let mut project = TestProject::new()
        .file(
            "A",
            format!("FROM busybox\n{common}RUN echo is-busy; sleep 5\n"),
        )
        .file("B", format!("FROM base\n{common}COPY data/p6 /x/\n"))
        .file(
            "docker-bake.hcl",
            r#"group "default" { targets = ["a", "b"] }
target "a" {
  dockerfile = "A"
}
target "b" {
  dockerfile = "B"
  contexts   = { base = "target:a" }
  output     = ["type=local,dest=made"]
}
"#,
        );
    for part in 0..PARTS {
        // There is a base image, so more must be saved.
        let content = noise(part as u64).repeat(5);
        project = project.file(&format!("data/p{part}/file"), content);
    }
    let project = project.env("BUILDKIT_HOST", daemon.endpoint());
    let mut run = Run::start(&project.command(&["--jobs=1", "--progress=plain"]));
    run.writes("is-busy").await;
    std::fs::write(project.path().join("B"), "FROM base\nCOPY data /y/\n").unwrap();
    let ended = run.ended(std::time::Duration::from_secs(120)).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    let made = project.path().join("made");
    assert!(
        made.join("x/file").exists() && !made.join("y").exists(),
        "{}",
        ended.stderr
    );
    let again = succeeds(project.rbake(&[]));
    let parts = std::fs::read_dir(made.join("y")).unwrap();
    assert_eq!(parts.count(), PARTS, "{again}");
}
