//! Contexts that change: while they are read, and between two runs without a trace in size and modification time.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cache::succeeds;
use crate::support::bakers::{Baker, Bakers};
use crate::support::project::TestProject;

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
            assert!(output.stderr.contains("run::context-changed"), "{output}");
            assert!(output.stderr.contains("targets `a`, `b`: "), "{output}");
            assert!(output.stderr.contains("changed: `app.log`"), "{output}");
            // buildx takes what there is without a word.
            let output = succeeds(bakers.bake(Baker::Buildx, &project, &[]));
            assert!(!output.stderr.contains("app.log"), "{output}");
        }
        // It has changed since, but does not change any more.
        let output = succeeds(project.rbake(&[&progress]));
        assert!(!output.stderr.contains("context-changed"), "{output}");
        let sent = std::fs::read(project.path().join("out/a/app.log")).unwrap();
        let there = std::fs::read(project.path().join("ctx/app.log")).unwrap();
        assert!(sent == there);
    }
}
