//! The stream of recorded runs.

use super::*;
use crate::report::model::tests::any_event;
use crate::report::recording;
use proptest::prelude::*;

// Replays `text` with ticks as the reporter would send them, and goes on until `until` after its end.
fn stream(text: &str, until: Duration) -> String {
    let events = recording::read(text).unwrap();
    let mut model = Model::new();
    let mut view = Plain::new(Look::default(), Arc::default());
    let mut out = Vec::new();
    let mut now = Duration::ZERO;
    for event in &events {
        while now + view.interval() <= event.at {
            now += view.interval();
            view.tick(&model, now, &mut out).unwrap();
        }
        let changes = model.apply(event);
        view.event(event, &changes, &model, &mut out).unwrap();
    }
    while now < until {
        now += view.interval();
        view.tick(&model, now, &mut out).unwrap();
    }
    view.close(&model, now, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn targets_that_wait_for_a_slot_are_counted_once_and_named_when_they_begin() {
    let events = r#"{"at":0.1,"event":"run","builder":"b","driver":"remote","targets":["a","b","c"]}
{"at":0.2,"event":"started","target":"a"}
{"at":0.2,"event":"queued","target":"b","limit":1}
{"at":0.2,"event":"queued","target":"c","limit":1}
{"at":3.5,"event":"finished","target":"a","end":"succeeded"}
{"at":3.5,"event":"started","target":"b"}
{"at":4.5,"event":"queued","target":"b","limit":1}
{"at":4.7,"event":"started","target":"b"}
"#;
    insta::assert_snapshot!(stream(events, Duration::ZERO), @r#"
    - | building 3 targets with `b` (remote)
    - | at most 1 target at once (`--jobs`), the others wait
    a | BUILT in 3.3s
    b | begins, after it waited 3.3s
    "#);
}

#[test]
fn a_silent_builder_is_named_rarely_and_only_while_nothing_is_running() {
    let events = r#"{"at":0.1,"event":"run","builder":"b","driver":"remote","targets":["a","b"]}
{"at":0.25,"event":"started","target":"a"}
{"at":0.25,"event":"started","target":"b"}
{"at":10,"event":"finished","target":"b","end":"succeeded"}
"#;
    let waits = |until: u64| {
        let stream = stream(events, Duration::from_secs(until));
        let lines = stream
            .lines()
            .filter(|line| line.contains("waits for the builder"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(waits(30), [""; 0]);
    let line = "a | waits for the builder, which has reported nothing for 30.0s";
    assert_eq!(waits(60), [line]);
    // After 30 s, and then after 60 s, 120 s and 240 s more.
    assert_eq!(waits(95).len(), 2);
    assert_eq!(waits(215).len(), 3);
    assert_eq!(waits(440).len(), 3);
    // Work of this machine has lines of its own.
    let work = r#"{"at":11,"event":"local","id":"x","target":null,"name":"ask","current":0,"total":null,"done":false,"error":null}"#;
    let stream = stream(&format!("{events}{work}\n"), Duration::from_secs(100));
    assert!(!stream.contains("waits for the builder"), "{stream}");
}

#[test]
fn many_targets_that_wait_for_the_builder_take_one_line() {
    let events = r#"{"at":0.1,"event":"run","builder":"b","driver":"remote","targets":["a","b"]}
{"at":0.25,"event":"started","target":"a"}
{"at":0.25,"event":"started","target":"b"}
"#;
    let stream = stream(events, Duration::from_secs(40));
    let line =
        "- | 2 targets wait for the builder, which has reported nothing of them for 30.0s: a, b";
    assert_eq!(stream.lines().last(), Some(line), "{stream}");
}

#[test]
fn a_first_build() {
    let stream = stream(
        include_str!("../../../tests/fixtures/status/cold.jsonl"),
        Duration::ZERO,
    );
    insta::assert_snapshot!("plain_cold", stream);
}

#[test]
fn a_second_build() {
    let stream = stream(
        include_str!("../../../tests/fixtures/status/cached.jsonl"),
        Duration::ZERO,
    );
    insta::assert_snapshot!(stream, @r#"
    -      | building 3 targets with `tcp://127.0.0.1:1234` (remote)
    web    | #1 CACHED [base 2/3] WORKDIR /app
    web    | #2 CACHED [base 3/3] RUN for i in 1 2 3 4 5 6; do echo "Get:$i http://deb.example.org stable/main package-$i [${i}2.3 kB]"; sleep 0.3; done
    celery | #3 CACHED [builder 1/2] COPY requirements.txt .
    celery | #4 CACHED [builder 2/2] RUN for p in django celery redis psycopg gunicorn whitenoise flower; do echo "Collecting $p"; for n in 10 30 55 80 100; do printf '\r \033[38;5;70m━━━━━━━━\033[0m %s%%' $n; sleep 0.08; …
    celery | #5 CACHED [runtime 1/2] COPY --from=builder /app/requirements.txt .
    celery | #6 CACHED [runtime 2/2] RUN echo "useradd app"; sleep 0.5
    celery | #7 CACHED [celery 1/2] COPY src/ src/
    celery | #8 CACHED [celery 2/2] RUN echo "compiling bytecode"; sleep 1.2
    celery | #9 exporting to image
    celery | #9 pushing manifest for 127.0.0.1:37603/site/celery:latest@sha256:5b65f566c06e: 0.0s
    web    | #10 CACHED [builder 1/2] COPY requirements.txt .
    web    | #11 CACHED [builder 2/2] RUN for p in django celery redis psycopg gunicorn whitenoise flower; do echo "Collecting $p"; for n in 10 30 55 80 100; do printf '\r \033[38;5;70m━━━━━━━━\033[0m %s%%' $n; sleep 0.08; …
    web    | #12 CACHED [runtime 1/2] COPY --from=builder /app/requirements.txt .
    web    | #13 CACHED [runtime 2/2] RUN echo "useradd app"; sleep 0.5
    web    | #14 CACHED [assets 1/2] COPY src/ src/
    web    | #15 CACHED [assets 2/2] RUN echo "> site@1.0.0 build"; sleep 1; for i in $(seq 1 12); do echo "asset static/app-$i.js 12.$i KiB [emitted]"; sleep 0.15; done; mkdir -p static && dd if=/dev/urandom of=static/app.…
    web    | #16 CACHED [web 1/3] COPY --from=assets /app/static static
    web    | #17 CACHED [web 2/3] COPY src/ src/
    web    | #18 CACHED [web 3/3] RUN echo "collectstatic: 124 static files copied to '/app/static'."; sleep 0.6
    flower | #19 CACHED [builder 1/2] COPY requirements.txt .
    flower | #20 CACHED [builder 2/2] RUN for p in django celery redis psycopg gunicorn whitenoise flower; do echo "Collecting $p"; for n in 10 30 55 80 100; do printf '\r \033[38;5;70m━━━━━━━━\033[0m %s%%' $n; sleep 0.08; …
    flower | #21 CACHED [runtime 1/2] COPY --from=builder /app/requirements.txt .
    flower | #22 CACHED [runtime 2/2] RUN echo "useradd app"; sleep 0.5
    flower | #23 CACHED [flower 1/2] COPY src/ src/
    flower | #24 CACHED [flower 2/2] RUN sleep 2; echo done
    flower | #25 exporting to image
    flower | #25 pushing manifest for 127.0.0.1:37603/site/flower:latest@sha256:82e667876a44: 0.0s
    celery | #9 DONE 0.0s exporting to image
    celery | BUILT in 0.1s, 8/8 steps cached, sha256:5b65f566c06e546a0d61d0fc2ba429f8ab0d332364b01844c91f39f38b587f00
    web    | #26 exporting to image
    web    | #26 pushing manifest for 127.0.0.1:37603/site/web:latest@sha256:98caa310c82b: 0.0s
    flower | #25 DONE 0.0s exporting to image
    flower | BUILT in 0.1s, 8/8 steps cached, sha256:82e667876a4408a56b8bdd18c0f600aa1b2eb76c77f38cf76565bd8db61607d6
    web    | #27 DONE 0.0s [base 1/3] FROM docker.io/library/busybox:latest@sha256:0b7e67773b98
    web    | #26 DONE 0.0s exporting to image
    web    | BUILT in 0.1s, 11/11 steps cached, sha256:98caa310c82bcffa9cd0a559a96f95299f93d6af2db9bdd838fc86ae16370cc0
    "#);
}

#[test]
fn a_failure() {
    let stream = stream(
        include_str!("../../../tests/fixtures/status/failure.jsonl"),
        Duration::ZERO,
    );
    let end: Vec<&str> = stream.lines().rev().take(14).collect();
    insta::assert_snapshot!(end.into_iter().rev().collect::<Vec<_>>().join("\n"), @r#"
    test   | #11 0.9s System check identified no issues (0 silenced).
    web    | #10 1.1s asset static/app-1.js 12.1 KiB [emitted]
    web    | #10 1.2s asset static/app-2.js 12.2 KiB [emitted]
    test   | #11 1.4s AssertionError: 500 != 200
    test   | #11 1.4s FAIL: test_home (site.tests.HomeTest)
    test   | #11 1.4s Ran 42 tests in 1.204s
    test   | #11 1.4s FAILED (failures=1)
    web    | #10 1.4s asset static/app-3.js 12.3 KiB [emitted]
    test   | #11 ERROR 1.4s [test 2/2] RUN echo "Found 42 test(s)."; sleep 0.8; echo "System check identifi…: exit code: 3
    test   | FAILED after 7.1s
    web    | #10 CANCELLED 1.5s [assets 2/2] RUN echo "> site@1.0.0 build"; sleep 1; for i in $(seq 1 12); do e…
    celery | #14 CANCELLED 0.8s [celery 2/2] RUN echo "compiling bytecode"; sleep 1.2
    celery | CANCELLED after 7.2s, because `test` failed
    web    | CANCELLED after 7.2s, because `test` failed
    "#);
}

#[test]
fn a_step_without_output_is_reported_as_still_running() {
    let start = concat!(
        r#"{"at":0,"event":"run","builder":"b","driver":"remote","targets":["web"]}"#,
        "\n",
        r#"{"at":0,"event":"status","target":"web","status":{"vertexes":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","name":"[2/2] RUN make","started":"2026-11-24T05:55:06Z"}]}}"#,
    );
    insta::assert_snapshot!(stream(start, Duration::from_secs(1000)), @r#"
    -   | building 1 target with `b` (remote)
    web | #1 [2/2] RUN make
    web | #1 still running after 30.0s
    web | #1 still running after 1m30s
    web | #1 still running after 3m30s
    web | #1 still running after 7m30s
    web | #1 still running after 12m30s
    "#);
}

proptest! {
    #[test]
    fn events_in_any_order_never_panic(events in prop::collection::vec(any_event(), 0..60)) {
        let mut model = Model::new();
        let mut view = Plain::new(Look::default(), Arc::default());
        let mut out = Vec::new();
        for event in &events {
            let changes = model.apply(event);
            view.event(event, &changes, &model, &mut out).unwrap();
            view.tick(&model, model.now(), &mut out).unwrap();
        }
        view.close(&model, model.now(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let escapes = text.contains('\u{1b}');
        prop_assert!(!escapes);
    }
}

#[test]
fn slow_work_of_this_machine_is_reported_repeatedly() {
    let recorded = r#"{"at":1,"event":"local","id":"w","name":"wait for x","current":0,"done":false}
"#;
    let stream = stream(recorded, Duration::from_secs(27));
    insta::assert_snapshot!(stream, @r"
    - | wait for x: for 5.0s so far
    - | wait for x: for 15.0s so far
    - | wait for x: for 25.0s so far
    ");
}
