//! Tests of the reducer as a whole: recorded runs, arbitrary orders, limits.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::event::{ProgressGroup, StatusUpdate, Vertex, VertexLog, VertexProgress, VertexWarning};
use crate::outcome::{CancelReason, SolveFailure, Solved};
use crate::report::recording;

fn replay(text: &str) -> Model {
    let mut model = Model::new();
    for event in recording::read(text).unwrap() {
        model.apply(&event);
    }
    model
}

fn steps(model: &Model) -> Vec<(&str, usize, usize, usize)> {
    let count = |target: &TargetModel| {
        (
            target.steps().cached,
            target.steps().ended,
            target.steps().known,
        )
    };
    let targets = model.targets().iter();
    targets
        .map(|target| {
            let (cached, ended, known) = count(target);
            (target.name.as_str(), cached, ended, known)
        })
        .collect()
}

#[test]
fn a_first_build() {
    let model = replay(include_str!("../../../tests/fixtures/status/cold.jsonl"));
    assert!(model.is_over() && model.running().is_empty());
    // Nothing was in the cache, but the solves report work that another solve did as cached vertices of their own.
    // The COPY of flower is the same as celery's, under another name.
    assert_eq!(
        steps(&model),
        [("web", 0, 11, 11), ("celery", 0, 8, 8), ("flower", 1, 9, 9)]
    );
    let totals = model.totals();
    assert_eq!((totals.steps.known, totals.steps.cached), (15, 1));
    let slowest: Vec<&str> = model.slowest(2).iter().map(|row| &row.name[..13]).collect();
    assert_eq!(slowest, ["[builder 2/2]", "[assets 2/2] "]);

    let base = model
        .rows()
        .iter()
        .find(|row| row.name.starts_with("[base 3/3]"))
        .unwrap();
    assert_eq!(base.targets.len(), 3);
    assert_eq!(
        base.tail().seen(),
        6,
        "three solves reported these lines, each once"
    );
    assert_eq!(
        crate::report::format::duration(base.elapsed(Duration::ZERO)),
        "1.9s"
    );
    let builder = model
        .rows()
        .iter()
        .find(|row| row.name.starts_with("[builder 2/2]") && row.state == State::Done)
        .unwrap();
    assert!(
        builder.tail().seen() > 0 && builder.tail().is_empty(),
        "the output of a step that succeeded is not kept"
    );
    let pulled = model
        .rows()
        .iter()
        .find(|row| row.name.starts_with("[base 1/3] FROM"))
        .unwrap();
    assert_eq!(pulled.amount().unwrap().total, 1_070_928);
}

/// The daemon's clock is hours before or after this machine's. Only differences of its times are used.
#[test]
fn times_do_not_depend_on_the_clock_of_the_daemon() {
    const HOURS: Duration = Duration::from_secs(7 * 3600);
    let text = include_str!("../../../tests/fixtures/status/cold.jsonl");
    let events = recording::read(text).unwrap();
    let shown = |shift: &dyn Fn(SystemTime) -> SystemTime, until: usize| {
        let mut model = Model::new();
        let mut last = Duration::ZERO;
        for event in &events[..until] {
            let mut event = event.clone();
            if let EventKind::Progress { update, .. } = &mut event.kind {
                let update = Arc::make_mut(update);
                for vertex in &mut update.vertices {
                    vertex.started = vertex.started.map(shift);
                    vertex.completed = vertex.completed.map(shift);
                }
                for part in &mut update.progress {
                    part.timestamp = part.timestamp.map(shift);
                    part.started = part.started.map(shift);
                    part.completed = part.completed.map(shift);
                }
                for log in &mut update.logs {
                    log.timestamp = log.timestamp.map(shift);
                }
            }
            last = event.at;
            model.apply(&event);
        }
        let rows = model.rows().iter();
        rows.map(|row| (row.name.to_string(), row.elapsed(last)))
            .collect::<Vec<_>>()
    };
    // In the middle of the run, when steps are running, and at its end.
    for until in [events.len() / 2, events.len()] {
        let same = shown(&|time| time, until);
        assert!(same.iter().all(|(_, took)| *took < Duration::from_secs(60)));
        assert_eq!(shown(&|time| time + HOURS, until), same);
        assert_eq!(shown(&|time| time - HOURS, until), same);
    }
}

#[test]
fn a_second_build_is_all_cached() {
    let model = replay(include_str!("../../../tests/fixtures/status/cached.jsonl"));
    assert_eq!(
        steps(&model),
        [
            ("web", 11, 11, 11),
            ("celery", 8, 8, 8),
            ("flower", 8, 8, 8)
        ]
    );
    let totals = model.totals();
    assert_eq!(totals.steps.cached, totals.steps.known);
}

#[test]
fn a_failure_keeps_its_output_and_siblings_are_cancelled() {
    let model = replay(include_str!("../../../tests/fixtures/status/failure.jsonl"));
    let states: Vec<TargetState> = model.targets().iter().map(|target| target.state).collect();
    assert_eq!(
        states,
        [
            TargetState::Cancelled,
            TargetState::Cancelled,
            TargetState::Failed
        ]
    );
    let failed: Vec<&Row> = model
        .rows()
        .iter()
        .filter(|row| row.state == State::Failed)
        .collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].error.as_ref().unwrap().ends_with("exit code: 3"));
    let tail: Vec<&str> = failed[0].tail().last(2).map(|line| &*line.text).collect();
    assert_eq!(tail, ["Ran 42 tests in 1.204s", "FAILED (failures=1)"]);
    assert!(
        failed[0]
            .tail()
            .last(10)
            .any(|line| line.stderr && &*line.text == "AssertionError: 500 != 200")
    );
    assert_eq!(
        model
            .rows()
            .iter()
            .filter(|row| row.state == State::Cancelled)
            .count(),
        2
    );
}

#[test]
fn warnings_are_reported_once() {
    let text = include_str!("../../../tests/fixtures/status/lint.jsonl");
    let mut model = replay(text);
    let count = model.warnings().len();
    assert!(count >= 3, "{:?}", model.warnings());
    let other = text.replace("\"lint\"", "\"other\"");
    for event in recording::read(&other).unwrap() {
        model.apply(&event);
    }
    assert_eq!(model.warnings().len(), count);
    assert!(
        model
            .warnings()
            .iter()
            .all(|warning| warning.targets.len() == 2)
    );
    assert!(
        model
            .warnings()
            .iter()
            .any(|w| w.short.starts_with("MaintainerDeprecated: "))
    );
}

#[test]
fn events_in_any_order_give_the_same_numbers() {
    let text = include_str!("../../../tests/fixtures/status/cold.jsonl");
    let events = recording::read(text).unwrap();
    let (ends, mut rest): (Vec<Event>, Vec<Event>) = events.into_iter().partition(|event| {
        matches!(
            event.kind,
            EventKind::TargetFinished { .. } | EventKind::RunFinished
        )
    });
    let expected = replay(text);
    rest.reverse();
    let mut model = Model::new();
    for event in rest.iter().chain(&ends) {
        model.apply(event);
    }
    let mut names = (steps(&expected), steps(&model));
    names.0.sort_unstable();
    names.1.sort_unstable();
    assert_eq!(names.0, names.1);
    assert_eq!(model.totals(), expected.totals());
    assert!(model.running().is_empty());
    for row in expected.rows() {
        let other = model.row(model.row_of(&row.digest).unwrap()).unwrap();
        assert_eq!(
            (other.state, other.elapsed(Duration::ZERO)),
            (row.state, row.elapsed(Duration::ZERO)),
            "{}",
            row.name
        );
    }
}

#[test]
fn a_group_is_one_row_and_one_step() {
    let model = replay(include_str!(
        "../../../tests/fixtures/status/contexts.jsonl"
    ));
    let links: Vec<&str> = model
        .rows()
        .iter()
        .map(|row| &*row.name)
        .filter(|name| name.contains("--link"))
        .collect();
    // Each is a copy and a merge.
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(
        links
            .iter()
            .all(|name| name.starts_with("[build ") && name.contains("] COPY --link "))
    );
    assert_eq!(steps(&model), [("app", 0, 3, 3)]);
    assert_eq!(model.totals().steps.known, 3);
}

#[test]
fn a_group_is_cached_if_all_of_it_is() {
    let mut model = Model::new();
    let vertex = |n: u8, cached, weak| Vertex {
        group: Some(ProgressGroup {
            id: "g".into(),
            name: "[1/2] COPY --link a b".into(),
            weak,
        }),
        ..vertex(n, Some(1), Some(2), cached)
    };
    let of = |vertices| StatusUpdate {
        vertices,
        ..StatusUpdate::default()
    };
    send(
        &mut model,
        "web",
        of(vec![vertex(0, true, true), vertex(1, true, false)]),
    );
    assert_eq!(model.rows().len(), 1);
    assert_eq!(
        (model.rows()[0].state, model.totals().steps.cached),
        (State::Cached, 1)
    );
    send(&mut model, "web", of(vec![vertex(2, false, false)]));
    assert_eq!(model.rows().len(), 1);
    assert_eq!(
        (model.rows()[0].state, model.totals().steps.cached),
        (State::Done, 0)
    );
}

/// Hundreds of steps run at the same time, and each may write much.
#[test]
fn output_is_kept_while_a_step_runs_and_if_it_fails() {
    let mut model = Model::new();
    let output = |n: u8| StatusUpdate {
        logs: vec![VertexLog {
            vertex: Digest::sha256(&[n]),
            timestamp: None,
            stream: 1,
            data: bytes::Bytes::from(format!("a line of step {n}\n")),
        }],
        ..StatusUpdate::default()
    };
    let vertices = |vertices| StatusUpdate {
        vertices,
        ..StatusUpdate::default()
    };
    let kept = |model: &Model| {
        let rows = model.rows().iter();
        rows.map(|row| (row.tail().len(), row.tail().seen()))
            .collect::<Vec<_>>()
    };
    let running = vec![
        vertex(0, Some(0), None, false),
        vertex(1, Some(0), None, false),
    ];
    send(&mut model, "web", vertices(running));
    send(&mut model, "web", output(0));
    send(&mut model, "web", output(1));
    assert_eq!(kept(&model), [(1, 1), (1, 1)]);

    let failed = Vertex {
        error: "exit code: 1".to_owned(),
        ..vertex(1, Some(0), Some(9), false)
    };
    let ended = vec![vertex(0, Some(0), Some(9), false), failed];
    send(&mut model, "web", vertices(ended));
    assert_eq!(kept(&model), [(0, 1), (1, 1)]);
    // The last output may arrive after the end of a step.
    send(&mut model, "web", output(0));
    send(&mut model, "web", output(1));
    assert_eq!(kept(&model), [(0, 2), (2, 2)]);
}

#[test]
fn a_hostile_daemon_uses_limited_memory() {
    let mut model = Model::new();
    let long = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
    for n in 0..60_000u32 {
        let digest = Digest::sha256(&n.to_le_bytes());
        let mut update = StatusUpdate::default();
        update.vertices.push(Vertex {
            digest: digest.clone(),
            name: "n".repeat(10_000),
            ..vertex(0, Some(1), None, false)
        });
        if n % 128 == 0 {
            update.logs.push(VertexLog {
                vertex: digest,
                timestamp: None,
                stream: 1,
                data: long.clone(),
            });
        }
        send(&mut model, "web", update);
    }
    assert_eq!(model.rows().len(), MAX_VERTICES);
    assert_eq!(model.lost(), 10_000);
    let kept: usize = model
        .rows()
        .iter()
        .flat_map(|row| row.tail().last(1000))
        .map(|line| line.text.len())
        .sum();
    assert!(kept <= MAX_TAILS, "{kept}");
    assert!(kept > MAX_TAILS / 2, "{kept}");
}

fn vertex(n: u8, started: Option<u64>, completed: Option<u64>, cached: bool) -> Vertex {
    let at = |millis: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    Vertex {
        digest: Digest::sha256(&[n]),
        inputs: Vec::new(),
        name: format!("[{n}/9] RUN {n}"),
        cached,
        started: started.map(at),
        completed: completed.map(at),
        error: String::new(),
        group: None,
    }
}

fn send(model: &mut Model, target: &str, update: StatusUpdate) {
    model.apply(&Event {
        at: Duration::ZERO,
        kind: EventKind::Progress {
            target: target.parse().unwrap(),
            update: Arc::new(update),
        },
    });
}

fn any_digest() -> impl Strategy<Value = Digest> {
    (0u8..8).prop_map(|n| Digest::sha256(&[n]))
}

fn any_time() -> impl Strategy<Value = Option<SystemTime>> {
    prop::option::of(
        (0u64..50).prop_map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)),
    )
}

fn any_vertex() -> impl Strategy<Value = Vertex> {
    let name = prop_oneof![
        "\\[[a-z]{1,3} [0-9]/3\\] RUN [a-z]",
        Just("[internal] load build context".to_owned()),
        "\\PC{0,12}"
    ];
    let error = prop_oneof![3 => Just(String::new()), 1 => Just("exit code: 1".to_owned()), 1 => Just("context canceled".to_owned())];
    let group = prop::option::of((0u8..3, any::<bool>()).prop_map(|(n, weak)| ProgressGroup {
        id: n.to_string(),
        name: "g".into(),
        weak,
    }));
    (
        any_digest(),
        name,
        any::<bool>(),
        any_time(),
        any_time(),
        error,
        group,
    )
        .prop_map(
            |(digest, name, cached, started, completed, error, group)| Vertex {
                digest,
                inputs: Vec::new(),
                name,
                cached,
                started,
                completed,
                error,
                group,
            },
        )
}

fn any_update() -> impl Strategy<Value = StatusUpdate> {
    let progress = (
        any_digest(),
        "[a-c]",
        any::<i64>(),
        any::<i64>(),
        any_time(),
        any_time(),
    )
        .prop_map(
            |(vertex, id, current, total, started, completed)| VertexProgress {
                id,
                vertex,
                name: String::new(),
                current,
                total,
                timestamp: None,
                started,
                completed,
            },
        );
    let log = (
        any_digest(),
        any_time(),
        -1i64..4,
        prop::collection::vec(any::<u8>(), 0..40),
    )
        .prop_map(|(vertex, timestamp, stream, data)| VertexLog {
            vertex,
            timestamp,
            stream,
            data: data.into(),
        });
    let warning = (any_digest(), "[a-b]").prop_map(|(vertex, short)| VertexWarning {
        vertex,
        level: 1,
        short,
        detail: Vec::new(),
        url: String::new(),
        source: None,
    });
    (
        prop::collection::vec(any_vertex(), 0..3),
        prop::collection::vec(progress, 0..2),
        prop::collection::vec(log, 0..2),
        prop::collection::vec(warning, 0..2),
    )
        .prop_map(|(vertices, progress, logs, warnings)| StatusUpdate {
            vertices,
            progress,
            logs,
            warnings,
        })
}

fn any_outcome() -> impl Strategy<Value = TargetOutcome> {
    prop_oneof![
        Just(TargetOutcome::Succeeded(Solved::default())),
        any_digest().prop_map(|digest| TargetOutcome::Failed(SolveFailure {
            vertex: Some(digest),
            ..SolveFailure::new(crate::outcome::FailureKind::Build, "no")
        })),
        any_name().prop_map(|because| TargetOutcome::Skipped { because }),
        Just(TargetOutcome::Cancelled(CancelReason::Signal(2))),
    ]
}

fn any_name() -> impl Strategy<Value = TargetName> {
    "[a-d]".prop_map(|name| name.parse().unwrap())
}

/// Events in arbitrary order. The tests of the views use them, too.
pub(in crate::report) fn any_event() -> impl Strategy<Value = Event> {
    let local = (
        "[a-b]",
        any::<u64>(),
        prop::option::of(any::<u64>()),
        any::<bool>(),
    )
        .prop_map(|(id, current, total, done)| {
            EventKind::Local(crate::event::LocalWork {
                name: id.clone(),
                id,
                target: None,
                current,
                total,
                done,
                error: None,
            })
        });
    let transfer = (0u64..3, any::<u64>(), any::<bool>()).prop_map(|(id, number, done)| {
        EventKind::Transfer(crate::event::Transfer {
            id,
            local: "context".into(),
            dir: ".".into(),
            entries: number,
            files: number,
            bytes: number,
            done,
        })
    });
    let kind = prop_oneof![
        1 => prop::collection::vec(any_name(), 0..4).prop_map(|targets| EventKind::RunStarted { builder: "b".into(), driver: "remote".into(), targets }),
        2 => any_name().prop_map(|target| EventKind::TargetStarted { target }),
        1 => any_name().prop_map(|target| EventKind::TargetQueued { target, limit: NonZeroU32::MIN }),
        12 => (any_name(), any_update()).prop_map(|(target, update)| EventKind::Progress { target, update: Arc::new(update) }),
        1 => local,
        1 => transfer,
        1 => (any_name(), any_outcome()).prop_map(|(target, outcome)| EventKind::TargetFinished { target, outcome: Arc::new(outcome) }),
        1 => Just(EventKind::Notice(Diagnostic::warning("a::b", "message"))),
        1 => Just(EventKind::Stopping { reason: "interrupted".into() }),
        1 => Just(EventKind::RunFinished),
    ];
    ((0u64..100_000).prop_map(Duration::from_millis), kind)
        .prop_map(|(at, kind)| Event { at, kind })
}

proptest! {
    #[test]
    fn events_in_any_order_give_a_consistent_model(events in prop::collection::vec(any_event(), 0..80)) {
        let mut model = Model::new();
        for event in &events {
            model.apply(event);
        }
        for id in model.running() {
            prop_assert_eq!(model.row(*id).unwrap().state, State::Running);
        }
        let running = model.rows().iter().filter(|row| row.state == State::Running).count();
        prop_assert_eq!(model.running().len(), running);
        for target in model.targets() {
            let StepCount { known, ended, cached } = target.steps();
            prop_assert!(cached <= ended && ended <= known);
        }
        let totals = model.totals().steps;
        prop_assert!(totals.cached <= totals.ended && totals.ended <= totals.known);
        model.slowest(3);
    }
}

/// Ids of rows that do not belong to a model.
pub(in crate::report) fn row_ids(count: u32) -> Vec<RowId> {
    (0..count).map(RowId).collect()
}
