//! Frames of recorded runs at several sizes.

use proptest::prelude::*;

use super::*;
use crate::report::model::tests::any_event;
use crate::report::recording;

fn at(text: &str, millis: u64) -> Model {
    let mut model = Model::new();
    let end = Duration::from_millis(millis);
    for event in recording::read(text)
        .unwrap()
        .iter()
        .filter(|event| event.at <= end)
    {
        model.apply(event);
    }
    model
}

fn draw(model: &Model, millis: u64, cols: u16, rows: u16) -> String {
    let lines = frame(
        model,
        Duration::from_millis(millis),
        cols,
        rows,
        &Look::default(),
    );
    let lines: Vec<String> = lines
        .iter()
        .map(|line| line.plain().trim_end().to_owned())
        .collect();
    lines.join("\n")
}

const COLD: &str = include_str!("../../../tests/fixtures/status/cold.jsonl");
const FAILURE: &str = include_str!("../../../tests/fixtures/status/failure.jsonl");

#[test]
fn a_target_that_waits_for_a_slot_says_so() {
    let events = r#"{"at":0.1,"event":"run","builder":"b","driver":"remote","targets":["base","web","tests"]}
{"at":0.2,"event":"started","target":"base"}
{"at":0.2,"event":"queued","target":"web","limit":1}
{"at":3.5,"event":"queued","target":"base","limit":1}
"#;
    insta::assert_snapshot!(draw(&at(events, 4000), 4000, 60, 12), @r#"
    Building 0/3 targets                                  b · 4s
     ⠋ base    3.8s          waits: 1 at once (--jobs)
     · web    waits: 1 at once (--jobs)
     · tests  waiting
    "#);
}

#[test]
fn a_shared_step_at_100_columns() {
    insta::assert_snapshot!(draw(&at(COLD, 4000), 4000, 100, 24), @r#"
    Building 0/3 targets                                          tcp://127.0.0.1:1234 · 9/27 steps · 4s
     ⠋ web      4.0s    3/11  [builder 2/2] RUN for p in django celery redis psycopg gunicorn whitenois…
     ⠋ celery   4.0s     3/8  [builder 2/2] RUN for p in django celery redis psycopg gunicorn whitenois…
     ⠋ flower   4.0s     3/8  [builder 2/2] RUN for p in django celery redis psycopg gunicorn whitenois…

     ⠋ [builder 2/2] RUN for p in django celery redis psycopg gunicorn whitenois… web, celery +1    1.7s
       │ Collecting redis
       │      ━━━━━━━━ 100%
       │ Collecting psycopg
       │      ━━━━━━━━ 100%
       │ Collecting gunicorn
       │      ━━━━━━━━ 10%
    "#);
}

#[test]
fn a_shared_step_at_40_columns() {
    insta::assert_snapshot!(draw(&at(COLD, 4000), 4000, 40, 12), @r#"
    Building 0/3 targets     9/27 steps · 4s
     ⠋ web      4.0s    3/11  [builder 2/2]…
     ⠋ celery   4.0s     3/8  [builder 2/2]…
     ⠋ flower   4.0s     3/8  [builder 2/2]…

     ⠋ [builder 2/2] RUN for p in …     1.7s
       │ Collecting redis
       │      ━━━━━━━━ 100%
       │ Collecting psycopg
       │      ━━━━━━━━ 100%
       │ Collecting gunicorn
       │      ━━━━━━━━ 10%
    "#);
}

#[test]
fn several_steps_at_200_columns() {
    insta::assert_snapshot!(draw(&at(COLD, 7500), 7500, 200, 24), @r#"
    Building 1/3 targets                                                                                                                                             tcp://127.0.0.1:1234 · 23/28 steps · 7s
     ⠴ web      7.5s    7/11  [assets 2/2] RUN echo "> site@1.0.0 build"; sleep 1; for i in $(seq 1 12); do echo "asset static/app-$i.js 12.$i KiB [emitted]"; sleep 0.15; done; mkdir -p static && dd if=/…
     ✔ celery   7.3s     8/8  sha256:5b65f566c06e
     ⠴ flower   7.5s     8/9  [flower 2/2] RUN sleep 2; echo done

     ⠴ [assets 2/2] RUN echo "> site@1.0.0 build"; sleep 1; for i in $(seq 1 12); do echo "asset static/app-$i.js 12.$i KiB [emitted]"; sleep 0.15; done; mkdir -p static && dd if=/dev/urandom… web    2.2s
       │ asset static/app-3.js 12.3 KiB [emitted]
       │ asset static/app-4.js 12.4 KiB [emitted]
       │ asset static/app-5.js 12.5 KiB [emitted]
       │ asset static/app-6.js 12.6 KiB [emitted]
       │ asset static/app-7.js 12.7 KiB [emitted]
       │ asset static/app-8.js 12.8 KiB [emitted]
     ⠴ [flower 2/2] RUN sleep 2; echo done                                                                                                                                                    flower    1.6s
    "#);
}

#[test]
fn a_layer_is_pulled() {
    insta::assert_snapshot!(draw(&at(COLD, 150), 150, 100, 24), @r#"
    Building 0/3 targets                                          tcp://127.0.0.1:1234 · 0/27 steps · 0s
     ⠙ web      0.2s    0/11  [base 1/3] FROM docker.io/library/busybox:latest@sha256:0b7e67773b98
     ⠙ celery   0.1s     0/8  [base 1/3] FROM docker.io/library/busybox:latest@sha256:0b7e67773b98
     ⠙ flower   0.1s     0/8  [base 1/3] FROM docker.io/library/busybox:latest@sha256:0b7e67773b98

     ⠙ [base 1/3] FROM docker.io/library/busybo… web, celery +1  1.07 MB / 1.07 MB  ━━━━━━━━━━━━    0.1s
    "#);
}

#[test]
fn a_failure_beside_running_targets() {
    insta::assert_snapshot!(draw(&at(FAILURE, 7130), 7130, 100, 24), @r#"
    Building 1/3 targets, 1 failed                               tcp://127.0.0.1:1234 · 21/26 steps · 7s
     ⠙ web      7.1s    7/11  [assets 2/2] RUN echo "> site@1.0.0 build"; sleep 1; for i in $(seq 1 12)…
     ⠙ celery   7.1s     7/8  [celery 2/2] RUN echo "compiling bytecode"; sleep 1.2
     ✘ test     7.1s     7/7  failed: [test 2/2] RUN echo "Found 42 test(s)."; sleep 0.8; echo "System …

     ⠙ [assets 2/2] RUN echo "> site@1.0.0 build"; sleep 1; for i in $(seq 1 12); do echo "… web    1.5s
       │ > site@1.0.0 build
       │ asset static/app-1.js 12.1 KiB [emitted]
       │ asset static/app-2.js 12.2 KiB [emitted]
       │ asset static/app-3.js 12.3 KiB [emitted]
     ⠙ [celery 2/2] RUN echo "compiling bytecode"; sleep 1.2                              celery    0.8s
       │ compiling bytecode
    "#);
}

#[test]
fn a_small_terminal_shows_what_fits() {
    let model = at(COLD, 7500);
    assert_eq!(draw(&model, 7500, 100, 0), "");
    assert_eq!(draw(&model, 7500, 100, 1).lines().count(), 1);
    insta::assert_snapshot!(draw(&model, 7500, 60, 5), @r#"
    Building 1/3 targets tcp://127.0.0.1:1234 · 23/28 steps · 7s
     ⠴ web   7.5s    7/11  [assets 2/2] RUN echo "> site@1.0.0 …
      … 1 running, 1 done
     ⠴ [assets 2/2] RUN echo "> site@1.0.0 build"; … web    2.2s
     ⠴ [flower 2/2] RUN sleep 2; echo done        flower    1.6s
    "#);
}

// A hundred targets: forty done, thirty running, one failed.
fn crowd() -> Model {
    use crate::event::{Event, EventKind};
    use crate::outcome::{FailureKind, SolveFailure, Solved, TargetOutcome};
    let names: Vec<crate::types::TargetName> = (0..100)
        .map(|n| format!("service-{n:02}").parse().unwrap())
        .collect();
    let mut model = Model::new();
    let mut tell = |millis: u64, kind| {
        model.apply(&Event {
            at: Duration::from_millis(millis),
            kind,
        })
    };
    tell(
        0,
        EventKind::RunStarted {
            builder: "embedded".into(),
            driver: "embedded".into(),
            targets: names.clone(),
        },
    );
    for (millis, target) in (0..71).zip(&names) {
        tell(
            millis,
            EventKind::TargetStarted {
                target: target.clone(),
            },
        );
        let vertex = crate::event::Vertex {
            digest: crate::types::Digest::sha256(target.as_str().as_bytes()),
            inputs: Vec::new(),
            name: format!("[{target} 2/3] RUN make {target}"),
            cached: false,
            started: Some(std::time::SystemTime::UNIX_EPOCH),
            completed: None,
            error: String::new(),
            group: None,
        };
        let update = crate::event::StatusUpdate {
            vertices: vec![vertex],
            ..Default::default()
        };
        tell(
            millis,
            EventKind::Progress {
                target: target.clone(),
                update: update.into(),
            },
        );
    }
    for target in &names[..40] {
        tell(
            5000,
            EventKind::TargetFinished {
                target: target.clone(),
                outcome: TargetOutcome::Succeeded(Solved::default()).into(),
            },
        );
    }
    let failure = SolveFailure::new(FailureKind::Build, "no");
    tell(
        6000,
        EventKind::TargetFinished {
            target: names[55].clone(),
            outcome: TargetOutcome::Failed(failure).into(),
        },
    );
    model
}

#[test]
fn a_hundred_targets_in_24_rows() {
    let drawn = draw(&crowd(), 8000, 80, 24);
    assert_eq!(drawn.lines().count(), 24);
    insta::assert_snapshot!(drawn, @r#"
    Building 41/100 targets, 1 failed                     embedded · 0/31 steps · 8s
     ⠋ service-40   8.0s     0/1  [service-40 2/3] RUN make service-40
     ⠋ service-41   8.0s     0/1  [service-41 2/3] RUN make service-41
     ⠋ service-42   8.0s     0/1  [service-42 2/3] RUN make service-42
     ⠋ service-43   8.0s     0/1  [service-43 2/3] RUN make service-43
     ⠋ service-44   8.0s     0/1  [service-44 2/3] RUN make service-44
     ⠋ service-45   8.0s     0/1  [service-45 2/3] RUN make service-45
     ⠋ service-46   8.0s     0/1  [service-46 2/3] RUN make service-46
     ⠋ service-47   8.0s     0/1  [service-47 2/3] RUN make service-47
     ⠋ service-48   8.0s     0/1  [service-48 2/3] RUN make service-48
     ✘ service-55   5.9s     0/1  failed
      … 21 running, 29 waiting, 40 done

     ⠋ [service-40 2/3] RUN make service-40                       service-40    8.0s
     ⠋ [service-41 2/3] RUN make service-41                       service-41    8.0s
     ⠋ [service-42 2/3] RUN make service-42                       service-42    8.0s
     ⠋ [service-43 2/3] RUN make service-43                       service-43    8.0s
     ⠋ [service-44 2/3] RUN make service-44                       service-44    8.0s
     ⠋ [service-45 2/3] RUN make service-45                       service-45    8.0s
     ⠋ [service-46 2/3] RUN make service-46                       service-46    8.0s
     ⠋ [service-47 2/3] RUN make service-47                       service-47    8.0s
     ⠋ [service-48 2/3] RUN make service-48                       service-48    8.0s
     ⠋ [service-49 2/3] RUN make service-49                       service-49    8.0s
      … 20 more running
    "#);
}

#[test]
fn without_unicode_the_frame_is_ascii() {
    let look = Look {
        unicode: false,
        ..Look::default()
    };
    for line in frame(
        &at(FAILURE, 7130),
        Duration::from_millis(7130),
        60,
        24,
        &look,
    ) {
        // The remaining signs are part of the steps' own names.
        assert!(
            !line.paint(&look).contains(['✔', '⠋', '│', '…']),
            "{}",
            line.plain()
        );
    }
}

proptest! {
    #[test]
    fn every_frame_fits_into_the_terminal(
        events in prop::collection::vec(any_event(), 0..40),
        cols in 0u16..220,
        rows in 0u16..50,
        now in 0u64..200_000,
        unicode in any::<bool>(),
    ) {
        let mut model = Model::new();
        for event in &events {
            model.apply(event);
        }
        let look = Look { unicode, ..Look::default() };
        let lines = frame(&model, Duration::from_millis(now), cols, rows, &look);
        prop_assert!(lines.len() <= usize::from(rows));
        for line in &lines {
            prop_assert!(line.width() <= usize::from(cols), "{:?}", line);
        }
        for row in model.rows() {
            history::row(&model, row, Duration::from_millis(now), usize::from(cols), &look);
        }
        for target in model.targets() {
            history::target(target, Duration::from_millis(now), &look);
        }
    }
}
