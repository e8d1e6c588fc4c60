//! Contexts that change: while they are read, and between two runs without a trace in size and modification time.

use std::fs::FileTimes;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::cache::succeeds;
use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::layout;
use crate::support::project::{CommandOutput, TestProject};

const DEFINITION: &str = r#"
group "default" { targets = ["a", "b"] }
target "_common" {
  dockerfile-inline = "FROM scratch\nCOPY . /\n"
  context = "ctx"
}
target "a" {
  inherits = ["_common"]
  output = ["type=local,dest=out/a"]
}
target "b" {
  inherits = ["_common"]
  output = ["type=local,dest=out/b"]
}
"#;

fn project(bakers: &Bakers) -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .env("BUILDKIT_HOST", bakers.address())
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

/// Appends to a file all the time until it is dropped.
struct Appender {
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Appender {
    fn start(path: PathBuf) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut file = std::fs::File::options().append(true).open(path).unwrap();
            while !asked.load(Ordering::Relaxed) {
                file.write_all(b"line\n").unwrap();
                std::thread::yield_now();
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Whether a warning has `text`, be it in a text for people or in an object, where texts are in base64.
fn says(output: &CommandOutput, text: &str) -> bool {
    let objects = output.stderr.lines();
    let mut objects =
        objects.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let has = |part: &serde_json::Value| {
        let bytes = STANDARD.decode(part.as_str().unwrap_or_default());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).contains(text)
    };
    let in_object = |object: serde_json::Value| {
        let warnings = object["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().any(|warning| {
            let details = warning["detail"].as_array();
            has(&warning["short"]) || details.into_iter().flatten().any(has)
        })
    };
    output.stderr.contains(text) || objects.any(in_object)
}

#[test]
#[ignore = "needs live peers"]
fn a_file_that_grows_while_it_is_sent_is_reported_in_every_view_and_a_quiet_context_is_not() {
    let bakers = Bakers::on_the_shared_daemon();
    for view in ["plain", "quiet", "rawjson"] {
        let project = project(&bakers)
            .file("ctx/app.log", "begin\n")
            .file("ctx/still", "content");
        let progress = format!("--progress={view}");
        {
            let _appender = Appender::start(project.path().join("ctx/app.log"));
            let output = succeeds(project.rbake(&[&progress]));
            for text in [
                "run::context-changed",
                "targets `a`, `b`: ",
                "changed: `app.log`",
            ] {
                assert!(says(&output, text), "{output}");
            }
            // buildx sends the same without a word.
            let output = succeeds(bakers.bake(Baker::Buildx, &project, &[]));
            assert!(!output.stderr.contains("app.log"), "{output}");
        }
        // It has changed since, but does not change any more.
        let output = succeeds(project.rbake(&[&progress]));
        assert!(!says(&output, "run::context-changed"), "{output}");
        let sent = std::fs::read(project.path().join("out/a/app.log")).unwrap();
        let there = std::fs::read(project.path().join("ctx/app.log")).unwrap();
        assert!(sent == there);
    }
}

/// What `cp -p`, archives and generators of reproducible files do: the modification time stays.
fn write_with_old_time(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_times(FileTimes::new().set_modified(old)).unwrap();
}

fn built(project: &TestProject, name: &str) -> String {
    std::fs::read_to_string(project.path().join("out/a").join(name)).unwrap()
}

#[test]
#[ignore = "needs live peers"]
fn content_of_equal_size_and_time_is_sent_again_and_buildx_uses_the_old() {
    let bakers = Bakers::on_the_shared_daemon();
    for baker in Baker::ALL {
        let project = project(&bakers).file("ctx/plain", "plain");
        let file = project.path().join("ctx/sub/file");
        for content in ["one", "two", "six", "one"] {
            write_with_old_time(&file, content);
            let _ = succeeds(bakers.bake(baker, &project, &["a"]));
            let expected = match baker {
                Baker::Rbake => content,
                Baker::Buildx => "one",
            };
            assert_eq!(built(&project, "sub/file"), expected, "{baker:?}");
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_directory_that_takes_the_place_of_another_and_names_of_one_file_are_never_old() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project(&bakers);
    let path = |name: &str| project.path().join(name);
    write_with_old_time(&path("ctx/tree/file"), "one");
    write_with_old_time(&path("next/file"), "two");
    write_with_old_time(&path("ctx/names/a"), "one");
    std::fs::hard_link(path("ctx/names/a"), path("ctx/names/b")).unwrap();
    let _ = succeeds(project.rbake(&["a"]));
    std::fs::rename(path("ctx/tree"), path("aside")).unwrap();
    std::fs::rename(path("next"), path("ctx/tree")).unwrap();
    write_with_old_time(&path("ctx/names/a"), "two");
    let _ = succeeds(project.rbake(&["a"]));
    for name in ["tree/file", "names/a", "names/b"] {
        assert_eq!(built(&project, name), "two", "{name}");
    }
}

// Files that are listed anew change nothing else: the steps stay in the cache, and the image is that of a builder that has never seen the
// directory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn files_that_are_listed_anew_do_not_change_caches_or_images() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new()
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .file(".dockerignore", "*.tar\nDockerfile\ndocker-bake.hcl\n")
        .file(
            "docker-bake.hcl",
            "target \"default\" {\n  args = { SOURCE_DATE_EPOCH = \"0\" }\n  output = [\"type=oci,dest=image.tar\"]\n}\n",
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    let large = "x".repeat(3 << 20);
    write_with_old_time(&project.path().join("large"), &large);
    write_with_old_time(&project.path().join("sub/small"), "small");
    let image = |baker, bakers: &Bakers| {
        let output = succeeds(bakers.bake(baker, &project, &[]));
        let dir = tempfile::tempdir().unwrap();
        layout::unpack(&project.path().join("image.tar"), dir.path());
        (layout::described(dir.path()), output)
    };
    let (first, _) = image(Baker::Rbake, &bakers);
    // Their times of the last change are new. The second run has sent more than the directory has, so the third begins anew.
    write_with_old_time(&project.path().join("large"), &large);
    write_with_old_time(&project.path().join("sub/small"), "small");
    for _ in 0..3 {
        let (again, output) = image(Baker::Rbake, &bakers);
        assert_eq!(first, again);
        assert!(output.stderr.contains("CACHED"), "{output}");
    }
    let empty = Buildkitd::start(&[]).await;
    let elsewhere = Bakers::on(&empty.endpoint().to_string());
    assert_eq!(first, image(Baker::Buildx, &elsewhere).0);
    let records = project.home().join(".local/state/rbake/sent");
    let record = std::fs::read_dir(records).unwrap().next().unwrap().unwrap();
    let record = std::fs::read_to_string(record.path()).unwrap();
    assert!(!record.contains("\ngeneration 0\n"), "{record}");
}

// As on a runner that starts with an empty home, except for buildx's node id.
#[test]
#[ignore = "needs live peers"]
fn contents_are_compared_on_request_also_without_a_record() {
    let bakers = Bakers::on_the_shared_daemon();
    let state = tempfile::tempdir().unwrap();
    for flag in ["--verify-context", "--verify-context=false"] {
        let project = project(&bakers);
        let file = |name: &str| project.path().join("ctx").join(name);
        let large = "x".repeat(3 << 20);
        let bake = |run: &str| {
            let mut command = project.command(&["a", "--progress=plain", flag]);
            command.env("RBAKE_STATE_DIR", state.path().join(flag).join(run));
            succeeds(project.read(&command.output().unwrap()))
        };
        let sends_large = |output: &CommandOutput| {
            let mut lines = output.stderr.lines();
            lines.any(|line| line.contains("(context): ") && line.contains("MB"))
        };
        write_with_old_time(&file("file"), "one");
        write_with_old_time(&file("large"), &large);
        assert!(sends_large(&bake("1")));
        write_with_old_time(&file("file"), "two");
        // It is unpacked again, say, with the same content.
        write_with_old_time(&file("large"), &large);
        let output = bake("2");
        assert!(!sends_large(&output), "{output}");
        let is_on = !flag.ends_with("false");
        assert_eq!(built(&project, "file"), if is_on { "two" } else { "one" });
        let seconds = project
            .path()
            .join("out/a/file")
            .metadata()
            .unwrap()
            .mtime();
        assert_eq!(seconds, 1_000_000_000);
    }
}
