//! Commands that work on a run while it is still going on.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use test_case::test_case;

use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::interrupted::{Ended, Run};
use crate::support::project::CommandOutput;
use crate::support::releases::{Release, ReleaseProject};

const LONG: Duration = Duration::from_secs(60);

/// A project with two images, of which one commit is published.
struct Place {
    registry: DistributionRegistry,
    project: ReleaseProject,
    scratch: tempfile::TempDir,
}

/// A run whose images are whole, and whose mutable tags wait for a gate.
struct Waiting {
    run: Run,
    release: Release,
    gate: PathBuf,
}

impl Place {
    fn new() -> Self {
        let registry = DistributionRegistry::start(Version::V3);
        let project = ReleaseProject::new(&registry.address, "team", 2);
        let release = Release::of(&project.commit("one"), 1);
        let output = project.publish(&release, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        Self {
            registry,
            project,
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    /// Begins to publish another commit.
    async fn start(&self, more: &[&str]) -> Waiting {
        let release = Release::of(&self.project.commit("two"), 2);
        let [reached, gate] = ["reached", "gate"].map(|name| self.scratch.path().join(name));
        let wait = format!(
            "--gate-run=touch {}; until [ -e {} ]; do sleep 0.1; done",
            reached.display(),
            gate.display()
        );
        let words = [&[wait.as_str()], more].concat();
        let run = Run::start(&self.project.command(&release, &words));
        let begins = async {
            while !reached.exists() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LONG, begins).await.unwrap();
        Waiting { run, release, gate }
    }

    /// Runs `rbake` with `words` in the project: on this machine, or on another one.
    fn rbake(&self, words: &[&str], elsewhere: bool) -> CommandOutput {
        let mut command: Command = self.project.verb(words);
        if elsewhere {
            command.env("HOME", self.scratch.path());
        }
        self.project.run(&mut command)
    }

    /// Where `tag` of both images points.
    async fn both(&self, tag: &str) -> [Option<String>; 2] {
        self.project.both(&self.registry.contents(), tag).await
    }
}

impl Waiting {
    /// Lets the run go on, and waits until it has ended.
    async fn end(self) -> (Ended, Release) {
        std::fs::write(&self.gate, "").unwrap();
        (self.run.ended(LONG).await, self.release)
    }
}

#[test_case(&["resume"]; "resume")]
#[test_case(&["untag", "--yes"]; "untag")]
#[test_case(&["undo", "--yes"]; "undo")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_that_is_going_on_is_not_found_in_the_registry(verb: &[&str]) {
    let place = Place::new();
    let waiting = place.start(&[]).await;
    let from: Vec<String> = place
        .project
        .images()
        .iter()
        .map(|image| format!("--from={}/{image}", place.registry.address))
        .collect();
    let from: Vec<&str> = from.iter().map(String::as_str).collect();
    for words in [verb.to_vec(), [verb, &from].concat()] {
        let output = place.rbake(&words, false);
        assert_eq!(output.code, Some(5), "{output}");
        assert!(output.stderr.contains("another process"), "{output}");
    }
    let (ended, release) = waiting.end().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let new = place.both(&release.commit).await;
    assert!(new.iter().all(Option::is_some), "{new:?}");
    assert_eq!(place.both("latest").await, new);
}

#[test_case(&[]; "to move its tags")]
#[test_case(&["--hold"]; "to hold them")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_that_was_taken_back_elsewhere_ends_without_its_tags(more: &[&str]) {
    let place = Place::new();
    let before = place.both("latest").await;
    let waiting = place.start(more).await;
    let output = place.rbake(&["undo", "--yes"], true);
    assert_eq!(output.code, Some(0), "{output}");
    let (ended, release) = waiting.end().await;
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(ended.stderr.contains("has taken run"), "{ended:?}");
    assert_eq!(place.both("latest").await, before);
    assert_eq!(place.both(&release.commit).await, [None, None]);
    // Nothing is left to do.
    let output = place.rbake(&["resume"], false);
    assert!(output.stderr.contains("no run was interrupted"), "{output}");
}

// As if the registry had been away when the run ended.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_record_that_a_registry_has_not_got_to_its_end_is_written_again() {
    let place = Place::new();
    let contents = place.registry.contents();
    let (repository, record) = record(&contents).await;
    let whole = contents.manifest(&repository, &record).await.unwrap();
    let text = String::from_utf8(whole.to_vec()).unwrap();
    let status = |status: &str| format!(r#"\"status\":\"{status}\""#);
    let open = text.replace(&status("complete"), &status("open"));
    assert_ne!(open, text);
    contents.put(&repository, &record, open.into()).await;
    let run = record.strip_prefix("rbake-run-").unwrap();
    let shown = place.rbake(&["resume", run, "--dry-run"], false);
    assert!(
        shown.stderr.contains("is to be brought up to date"),
        "{shown}"
    );
    let output = place.rbake(&["resume", run], false);
    assert!(
        output
            .stderr
            .contains("was brought up to date: the run has ended"),
        "{output}"
    );
    let now = contents.manifest(&repository, &record).await.unwrap();
    let now = String::from_utf8(now.to_vec()).unwrap();
    assert!(now.contains(&status("complete")), "{now}");
    let again = place.rbake(&["resume", run], false);
    assert!(!again.stderr.contains("up to date"), "{again}");
}

// A repository with the record of a run, and the record's tag.
async fn record(contents: &RegistryContents) -> (String, String) {
    for repository in ["team/a", "team/b"] {
        let tags = contents.tags(repository).await;
        if let Some(tag) = tags.into_iter().find(|tag| tag.starts_with("rbake-run-")) {
            return (repository.to_owned(), tag);
        }
    }
    panic!("no record")
}
