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
