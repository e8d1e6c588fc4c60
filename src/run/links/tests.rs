//! The states of links, with targets whose work is made up.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::spec::{Dockerfile, LinkedResult, MainContext};
use crate::event::EventSink;
use crate::outcome::TargetOutcome;
use crate::run::scheduler::{self, RunRules, Work};
use crate::run::{AfterFailure, Stop};
use crate::types::NetworkMode;

fn name(text: &str) -> TargetName {
    text.parse().unwrap()
}

fn spec(target: &str) -> SolveSpec {
    let dockerfile = Dockerfile::Local {
        filename: "Dockerfile".to_owned(),
    };
    SolveSpec::new(name(target), dockerfile, MainContext::Local)
}

fn result(of: &str) -> Vec<LinkedResult> {
    vec![LinkedResult {
        platform: None,
        definition: Some(bytes::Bytes::copy_from_slice(of.as_bytes())),
        image_config: None,
    }]
}

fn links(targets: &[(&str, &[&str])]) -> Arc<TargetLinks> {
    Arc::new(TargetLinks::new(TargetGraph::of(targets), &[]))
}

fn slots(limit: Option<u32>, links: &TargetLinks) -> Arc<Slots> {
    let limit = limit.and_then(NonZeroU32::new);
    let graph = links.graph();
    Arc::new(Slots::new(limit, graph, graph.order(), EventSink::none()))
}

#[tokio::test]
async fn a_target_gets_the_results_of_all_that_it_links_to() {
    let links = links(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]);
    assert!(links.is_parent(&name("a")) && !links.is_parent(&name("c")));
    let mut spec = spec("c");
    let mut waiting = Box::pin(links.complete(&mut spec));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    links.board.answered(&name("a"), result("a"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    links.board.answered(&name("b"), result("b"));
    // It counts, although the target has ended meanwhile.
    links.board.end(&name("b"), None);
    waiting.await.unwrap();
    for parent in ["a", "b"] {
        let expected = SolveContext::Linked {
            input: format!("0-{parent}"),
            results: result(parent),
        };
        assert_eq!(spec.named_contexts[parent], expected);
    }
    assert!(spec.through_gateway);
}

#[tokio::test]
async fn a_target_whose_task_is_dropped_stops_those_that_wait_for_it() {
    let links = links(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    let because = |error: NotBuilt| match error {
        NotBuilt::Skipped { because } => because,
        NotBuilt::Failed(failure) => panic!("{failure:?}"),
    };
    drop(links.part(&name("a")));
    let stopped = links.complete(&mut spec("b")).await.map_err(because);
    assert_eq!(stopped, Err(name("a")));
    let skipped = Err(NotBuilt::Skipped { because: name("a") });
    links.part(&name("b")).end(&skipped);
    // The one that failed is named, not the one in between.
    let stopped = links.complete(&mut spec("c")).await.map_err(because);
    assert_eq!(stopped, Err(name("a")));
}

#[tokio::test]
async fn a_target_learns_which_target_behind_its_links_has_failed() {
    let links = links(&[("a", &[]), ("b", &[]), ("c", &["a", "b"]), ("d", &["c"])]);
    let (c, d) = (name("c"), name("d"));
    let mut lost = Box::pin(links.lost_parent(&c));
    links.board.answered(&name("a"), result("a"));
    links.part(&name("a")).end(&Ok(Solved::default()));
    assert!(futures_util::poll!(&mut lost).is_pending());
    let failure = SolveFailure::new(FailureKind::Build, "x");
    links.part(&name("b")).end(&Err(failure.into()));
    assert_eq!(lost.await, name("b"));
    let skipped = Err(NotBuilt::Skipped { because: name("b") });
    links.part(&c).end(&skipped);
    assert_eq!(links.lost_parent(&d).await, name("b"));
    // It was built before the target behind it failed.
    let links = self::links(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]);
    links.board.answered(&name("b"), result("b"));
    links.part(&name("b")).end(&Ok(Solved::default()));
    drop(links.part(&name("a")));
    assert_eq!(links.lost_parent(&name("c")).await, name("a"));
    // A target without links waits for nothing that could fail.
    assert!(futures_util::poll!(Box::pin(links.lost_parent(&name("a")))).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_parent_lets_those_begin_that_import_caches_but_not_for_long() {
    let links = links(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]);
    let parent = name("a");
    let slots = slots(None, &links);
    let wait = || Box::pin(links.let_begin(&slots, &parent, || ()));
    // Nobody imports.
    wait().await;
    links.expect_imports(["c", "d"].map(name).into());
    let mut waiting = wait();
    assert!(futures_util::poll!(&mut waiting).is_pending());
    links.beginnings.note(&name("b"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(links.part(&name("c")));
    assert!(futures_util::poll!(&mut waiting).is_ready());

    let stuck = self::links(&[("a", &[]), ("b", &["a"])]);
    stuck.expect_imports([name("b")].into());
    let begun = tokio::time::Instant::now();
    stuck.let_begin(&slots, &parent, || ()).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_job_has_the_privileges_of_all_steps_that_are_in_it() {
    let graph = TargetGraph::of(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]);
    let mut specs = ["c", "b", "a", "d"].map(spec);
    specs[2].network = NetworkMode::Host;
    specs[1].entitlements.insert("security.insecure".to_owned());
    inherit_entitlements(&graph, specs.iter_mut());
    let has = |spec: &SolveSpec| spec.entitlements.iter().cloned().collect::<Vec<_>>();
    assert_eq!(has(&specs[0]), ["network.host", "security.insecure"]);
    assert_eq!(has(&specs[1]), ["network.host", "security.insecure"]);
    assert!(has(&specs[3]).is_empty());
}

/// What the made-up work of a target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    FailsBeforeItsAnswer,
    FailsAfterItsAnswer,
    Panics,
    /// It ends only when the run is halted.
    Hangs,
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A made-up run.
#[derive(Clone)]
struct MadeUpRun {
    links: Arc<TargetLinks>,
    slots: Arc<Slots>,
    halt: CancellationToken,
    /// The number of targets that are being solved, and the most so far.
    solved: Arc<(AtomicU32, AtomicU32)>,
}

/// Counts a target as being solved until it is dropped.
struct SolvedTarget(Arc<(AtomicU32, AtomicU32)>);

impl SolvedTarget {
    fn count(counts: &Arc<(AtomicU32, AtomicU32)>) -> Self {
        let now = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
        counts.1.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for SolvedTarget {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The work of one target: it waits for its parents, answers, lets others begin, and ends.
fn work(run: &MadeUpRun, target: &TargetName, fate: Fate, pause: u64) -> Work {
    let MadeUpRun {
        links,
        slots,
        halt,
        solved,
    } = run.clone();
    let target = target.clone();
    let failure = |kind| NotBuilt::from(SolveFailure::new(kind, "x"));
    Box::pin(async move {
        let part = links.part(&target);
        let built = async {
            links.complete(&mut spec(target.as_str())).await?;
            slots.take(&target).await;
            let asks = SolvedTarget::count(&solved);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match fate {
                Fate::FailsBeforeItsAnswer => return Err(failure(FailureKind::Build)),
                Fate::Panics => panic!("a bug"),
                _ => {}
            }
            links.board.answered(&target, result(target.as_str()));
            slots.answered(&target);
            drop(asks);
            links.let_begin(&slots, &target, || ()).await;
            let _runs = SolvedTarget::count(&solved);
            links.beginnings.note(&target);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match fate {
                Fate::Hangs => std::future::pending().await,
                Fate::FailsAfterItsAnswer => Err(failure(FailureKind::Build)),
                _ => Ok(Solved::default()),
            }
        };
        let result = tokio::select! {
            biased;
            () = halt.cancelled() => Err(failure(FailureKind::Cancelled)),
            built = built => built,
        };
        part.end(&result);
        result
    })
}

/// A random graph, in which some targets fail, hang or panic. Each target ends, and those that were not built say why.
async fn every_target_ends(seed: u64, limit: Option<u32>) {
    let mut random = Random(seed);
    let count = 2 + random.below(30);
    let names: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
    let mut edges: Vec<(&str, Vec<&str>)> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let parents: BTreeSet<&str> = (0..random.below(4))
            .filter(|_| number > 0)
            .map(|_| names[usize::try_from(random.below(number as u64)).unwrap()].as_str())
            .collect();
        edges.push((name, parents.into_iter().collect()));
    }
    let edges: Vec<(&str, &[&str])> = edges
        .iter()
        .map(|(name, to)| (*name, to.as_slice()))
        .collect();
    let links = links(&edges);
    let importers = names.iter().filter(|_| random.below(3) == 0);
    links.expect_imports(importers.map(|text| name(text)).collect());
    let made_up = MadeUpRun {
        slots: slots(limit, &links),
        links: Arc::clone(&links),
        halt: CancellationToken::new(),
        solved: Arc::default(),
    };
    let mut fates = BTreeMap::new();
    let mut works = Vec::new();
    for text in &names {
        let fate = match random.below(20) {
            0 => Fate::FailsBeforeItsAnswer,
            1 => Fate::FailsAfterItsAnswer,
            2 => Fate::Panics,
            3 => Fate::Hangs,
            _ => Fate::Succeeds,
        };
        let target = name(text);
        fates.insert(target.clone(), fate);
        works.push((
            target.clone(),
            work(&made_up, &target, fate, random.below(5)),
        ));
    }
    let stop = Stop::default();
    let stopper = stop.clone();
    let some_hang = fates.values().any(|fate| *fate == Fate::Hangs);
    let interrupt = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        stopper.request(crate::outcome::CancelReason::Signal(2));
        std::future::pending::<()>().await;
    };
    let events = EventSink::none();
    let rules = RunRules {
        graph: links.graph(),
        slots: &made_up.slots,
        after_failure: AfterFailure::StopAll,
    };
    let ends = tokio::select! {
        ends = scheduler::run(works, made_up.halt.clone(), &stop, rules, &events) => ends,
        () = interrupt => unreachable!("it never ends"),
        () = tokio::time::sleep(Duration::from_secs(70)) => panic!("seed {seed}: the run does not end"),
    };
    assert_eq!(ends.len(), names.len(), "seed {seed}");
    if let Some(limit) = limit {
        let most = made_up.solved.1.load(Ordering::SeqCst);
        assert!(most <= limit, "seed {seed}: {most} at once, not {limit}");
    }
    let ended: BTreeMap<&TargetName, &TargetOutcome> =
        ends.iter().map(|(name, end)| (name, &**end)).collect();
    for (target, end) in &ended {
        match end {
            TargetOutcome::Succeeded(_) => {
                assert_eq!(fates[*target], Fate::Succeeds, "seed {seed}: {target}");
            }
            TargetOutcome::Failed(_) => {
                assert_ne!(fates[*target], Fate::Succeeds, "seed {seed}: {target}");
            }
            TargetOutcome::Skipped { because } => {
                assert!(
                    links.graph().needs(target, because),
                    "seed {seed}: {target}"
                );
                let end = ended[because];
                assert!(
                    matches!(end, TargetOutcome::Failed(_)),
                    "seed {seed}: {target} because of {because}: {end:?}"
                );
            }
            TargetOutcome::Cancelled(_) => {
                let others = fates.values().any(|fate| *fate != Fate::Succeeds);
                assert!(others || some_hang, "seed {seed}: {target}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_target_of_a_random_graph_ends_whatever_fails() {
    for seed in 0..400 {
        every_target_ends(seed, None).await;
        every_target_ends(seed, Some(1)).await;
        every_target_ends(seed, Some(3)).await;
    }
}
