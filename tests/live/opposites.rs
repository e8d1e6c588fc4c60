//! Commands that do the opposite with one held run at the same time.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::Method;
use test_case::test_case;

use crate::support::distribution::{DistributionRegistry, Version};
use crate::support::interrupted::Run;
use crate::support::project::CommandOutput;
use crate::support::pty::Terminal;
use crate::support::registry_faults::Gate;
use crate::support::registry_proxy::{Hook, RegistryProxy, Stage, Verdict};
use crate::support::releases::{Release, ReleaseProject};

const LONG: Duration = Duration::from_secs(60);

/// A project with two images. One commit is published, the next one is held. Commands are run on two machines.
struct Place {
    registry: DistributionRegistry,
    proxy: RegistryProxy,
    project: ReleaseProject,
    held: Release,
    elsewhere: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let registry = DistributionRegistry::start(Version::V3);
        let proxy = RegistryProxy::start(&registry.address).await;
        let project = ReleaseProject::new(&proxy.address(), "team", 2);
        let first = Release::of(&project.commit("one"), 1);
        let output = project.publish(&first, &[]);
        assert_eq!(output.code, Some(0), "{output}");
        let held = Release::of(&project.commit("two"), 2);
        let output = project.publish(&held, &["--hold"]);
        assert_eq!(output.code, Some(0), "{output}");
        Self {
            registry,
            proxy,
            project,
            held,
            elsewhere: tempfile::tempdir().unwrap(),
        }
    }

    /// `rbake` with the verb, the held run and `--yes`, on the machine that knows the run.
    fn here(&self, verb: &str) -> Command {
        self.project.verb(&[verb, &self.held.commit, "--yes"])
    }

    /// The same on another machine.
    fn elsewhere(&self, verb: &str) -> Command {
        let mut command = self.here(verb);
        command.env("HOME", self.elsewhere.path());
        command
    }

    fn run(&self, mut command: Command) -> CommandOutput {
        self.project.run(&mut command)
    }

    /// Holds the next record in each of the two repositories. Later ones pass.
    fn hold_records(&self) -> Gates {
        let gate = |image: &str| {
            let path = format!("/{image}/manifests/rbake-run-");
            Gate::new(Stage::Before, 0, move |request| {
                request.method == Method::PUT && request.path.contains(&path)
            })
        };
        let gates = Gates(
            self.project
                .images()
                .iter()
                .map(|image| gate(image))
                .collect(),
        );
        let hooks: Vec<Hook> = gates.0.iter().map(Gate::hook).collect();
        self.proxy.set_hook(Some(Arc::new(move |stage, request| {
            let asked: Vec<_> = hooks
                .iter()
                .map(|hook| hook(stage, request.clone()))
                .collect();
            async move {
                for verdict in asked {
                    verdict.await;
                }
                Verdict::Pass
            }
            .boxed()
        })));
        gates
    }

    /// Where `tag` of both images points.
    async fn both(&self, tag: &str) -> [Option<String>; 2] {
        self.project.both(&self.registry.contents(), tag).await
    }
}

/// A gate for each repository.
struct Gates(Vec<Gate>);

impl Gates {
    async fn reached(&self) {
        for gate in &self.0 {
            gate.reached().await;
        }
    }

    fn release(&self) {
        for gate in &self.0 {
            gate.release(Verdict::Pass);
        }
    }
}

fn program(command: &Command) -> PathBuf {
    PathBuf::from(command.get_program())
}

#[test_case("promote", "untag"; "a promotion after an untag")]
#[test_case("untag", "promote"; "an untag after a promotion")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_answer_does_not_count_after_the_run_has_changed(asks: &str, meanwhile: &str) {
    let place = Place::new().await;
    let asking = place.project.verb(&[asks, &place.held.commit]);
    let mut terminal = Terminal::start(&program(&asking), &asking);
    terminal.wait_for("[y/N]");
    let output = place.run(place.elsewhere(meanwhile));
    assert_eq!(output.code, Some(0), "{output}");
    let tags = [
        place.both("latest").await,
        place.both(&place.held.commit).await,
    ];
    terminal.type_in("y\n");
    terminal.wait_for("publish::changed");
    let after = [
        place.both("latest").await,
        place.both(&place.held.commit).await,
    ];
    assert_eq!(after, tags);
}

/// The promotion has found the run held, and then stands still.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_promotion_that_claims_after_the_run_was_taken_back_gives_up() {
    let place = Place::new().await;
    let before = place.both("latest").await;
    let gates = place.hold_records();
    let promotion = Run::start(&place.here("promote"));
    gates.reached().await;
    let output = place.run(place.elsewhere("untag"));
    assert_eq!(output.code, Some(0), "{output}");
    gates.release();
    let ended = promotion.ended(LONG).await;
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(ended.stderr.contains("has taken run"), "{ended:?}");
    assert_eq!(place.both("latest").await, before);
    let open = place.run(place.project.verb(&["resume"]));
    assert!(open.stderr.contains("no run was interrupted"), "{open}");
}

/// The promotion has claimed, and then stands still.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_that_is_being_promoted_is_not_taken_back() {
    let place = Place::new().await;
    let gate = Gate::new(Stage::Before, 0, |request| request.sets("latest"));
    place.proxy.set_hook(Some(gate.hook()));
    let promotion = Run::start(&place.here("promote"));
    gate.reached().await;
    let output = place.run(place.elsewhere("untag"));
    assert_eq!(output.code, Some(5), "{output}");
    assert!(
        output.stderr.contains("moves tags to the images"),
        "{output}"
    );
    gate.release(Verdict::Pass);
    let ended = promotion.ended(LONG).await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let new = place.both(&place.held.commit).await;
    assert!(new.iter().all(Option::is_some), "{new:?}");
    assert_eq!(place.both("latest").await, new);
}

/// The command that takes the run back has found it held, and then stands still.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_that_was_promoted_meanwhile_is_not_taken_back() {
    let place = Place::new().await;
    let gates = place.hold_records();
    let untag = Run::start(&place.here("untag"));
    gates.reached().await;
    let output = place.run(place.elsewhere("promote"));
    assert_eq!(output.code, Some(0), "{output}");
    gates.release();
    let ended = untag.ended(LONG).await;
    assert_eq!(ended.status.code(), Some(5), "{ended:?}");
    assert!(
        ended.stderr.contains("moves tags to the images"),
        "{ended:?}"
    );
    let new = place.both(&place.held.commit).await;
    assert!(new.iter().all(Option::is_some), "{new:?}");
    assert_eq!(place.both("latest").await, new);
    // The record says again that the run is held. A promotion mends that.
    let again = place.run(place.here("untag"));
    assert_eq!(again.code, Some(5), "{again}");
    let mended = place.run(place.here("promote"));
    assert_eq!(mended.code, Some(0), "{mended}");
    let refused = place.run(place.here("untag"));
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.stderr.contains("publish::complete"), "{refused}");
}

/// While it asks, it holds the journal of the run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_question_can_be_interrupted() {
    let place = Place::new().await;
    let asking = place.project.verb(&["promote", &place.held.commit]);
    let mut terminal = Terminal::start(&program(&asking), &asking);
    terminal.wait_for("[y/N]");
    let busy = place.run(place.here("untag"));
    assert!(busy.stderr.contains("another process"), "{busy}");
    terminal.type_in("\u{3}");
    terminal.read_to_end();
    let output = place.run(place.here("untag"));
    assert_eq!(output.code, Some(0), "{output}");
}

/// A copy of another image to the same immutable tag, and another program that sets the tag.
#[test_case(Stage::Before, false; "another copy")]
#[test_case(Stage::After, true; "another program")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn of_two_copies_to_one_immutable_tag_one_fails(stage: Stage, by_program: bool) {
    let place = Place::new().await;
    let images = place
        .both("latest")
        .await
        .into_iter()
        .zip(place.both(&place.held.commit).await);
    let (first, second) = images
        .map(|(one, two)| (one.unwrap(), two.unwrap()))
        .next()
        .unwrap();
    let source = format!("{}/{}", place.proxy.address(), place.project.images()[0]);
    let target = format!("{}/copies/a:v1", place.proxy.address());
    let copy = |digest: &str, target: &str| {
        let image = format!("{source}@{digest}");
        let words = ["promote", &image, "--to", target, "--yes"];
        let mut command = place.project.verb(&words);
        command.env("RBAKE_IMMUTABLE_TAGS", "v*");
        command
    };
    let gate = Gate::new(stage, 0, |request| request.sets("v1"));
    place.proxy.set_hook(Some(gate.hook()));
    let slow = Run::start(&copy(&first, &target));
    gate.reached().await;
    let contents = place.registry.contents();
    if by_program {
        let output = place.run(copy(&second, &target.replace(":v1", ":w")));
        assert_eq!(output.code, Some(0), "{output}");
        contents.set("copies/a", "w", "v1").await;
    } else {
        let output = place.run(copy(&second, &target));
        assert_eq!(output.code, Some(5), "{output}");
        assert!(output.stderr.contains("is immutable"), "{output}");
    }
    gate.release(Verdict::Pass);
    let ended = slow.ended(LONG).await;
    let (code, right) = if by_program { (5, second) } else { (0, first) };
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    assert_eq!(
        contents.digest("copies/a", "v1").await,
        Some(right),
        "{ended:?}"
    );
    let open = place.run(
        place
            .project
            .verb(&["resume", "--from", &target.replace(":v1", "")]),
    );
    assert!(open.stderr.contains("no run was interrupted"), "{open}");
}
