//! Connections, sessions and solves.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rbake::engine::session::SecretSource;
use rbake::engine::spec::{Exporter, NoCache, SolveExport};
use rbake::event::EventSink;
use rbake::outcome::FailureKind;
use rbake::types::Secret;
use rbake_proto::control::{BuildHistoryRecord, BuildHistoryRequest};
use tokio_util::sync::CancellationToken;

use crate::support::buildkitd::{self, Buildkitd};
use crate::support::builds::{Build, build, build_with_secrets};
use crate::support::events::Events;

fn uncancelled() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_daemon_reports_its_capabilities() {
    let engine = buildkitd::shared().await;
    assert!(
        engine
            .connection()
            .version()
            .is_some_and(|v| v.starts_with("v0.")),
        "{engine:?}"
    );
    let capabilities = engine.capabilities().await.unwrap();
    assert!(capabilities.multiple_exporters() && capabilities.attestations());
    assert!(capabilities.cache_gha() && capabilities.step_resources());
    assert!(
        capabilities.gateway.contains("return"),
        "{:?}",
        capabilities.gateway
    );
    assert!(capabilities.solver.len() > 50, "{:?}", capabilities.solver);
    let native = capabilities.native_platform().unwrap();
    assert_eq!(native, &rbake::types::Platform::local());
    assert!(
        capabilities
            .label("org.mobyproject.buildkit.worker.snapshotter")
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_solve_reports_progress_and_returns_a_digest() {
    let engine = buildkitd::shared().await;
    let events = Events::default();
    let mut build = build(&engine, "FROM scratch\nCOPY a /a\n", &[("a", b"content")]).await;
    build.spec.exports = vec![SolveExport::new(Exporter::Image)];
    let solved = engine
        .solve(&build.spec, &build.sessions, &events.sink(), &uncancelled())
        .await
        .unwrap();
    assert!(solved.digest().is_some(), "{solved:?}");
    assert_eq!(solved.build_ref, build.spec.build_ref.as_str());
    let vertices = events.vertices();
    assert!(
        vertices.iter().any(|name| name.contains("COPY a /a")),
        "{vertices:?}"
    );
    // The last update has arrived, because the copy is complete.
    let progress = events.progress();
    let done = progress
        .iter()
        .flat_map(|update| &update.vertices)
        .any(|vertex| vertex.name.contains("COPY a /a") && vertex.completed.is_some());
    assert!(done, "{progress:?}");
    let traffic = engine.traffic();
    assert!(
        traffic.sent > 1000 && traffic.received > 1000,
        "{traffic:?}"
    );
    build.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_session_stays_open_during_a_long_step() {
    let engine = buildkitd::shared().await;
    // A session that does not answer health checks is dropped after ten seconds.
    let mut build = build(&engine, "FROM busybox\nRUN sleep 12\n", &[]).await;
    build.spec.no_cache = NoCache::All;
    let lost = build.sessions.target.lost();
    let none = EventSink::none();
    let token = uncancelled();
    tokio::select! {
        result = engine.solve(&build.spec, &build.sessions, &none, &token) => { result.unwrap(); }
        error = lost => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_failure_of_a_step_has_its_line_its_exit_code_and_its_output() {
    let engine = buildkitd::shared().await;
    let events = Events::default();
    let dockerfile = "FROM busybox\nRUN echo to-be-seen-$((40+2)) && exit 17\n";
    let mut build = build(&engine, dockerfile, &[]).await;
    build.spec.no_cache = NoCache::All;
    let failure = engine
        .solve(&build.spec, &build.sessions, &events.sink(), &uncancelled())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
    assert_eq!(failure.exit_code, Some(17));
    assert!(failure.message.starts_with("process "), "{failure:?}");
    assert!(failure.vertex.is_some());
    let source = failure
        .sources
        .iter()
        .find(|source| !source.text.is_empty())
        .unwrap();
    assert_eq!(
        (source.filename.as_str(), source.lines.as_slice()),
        ("Dockerfile", &[(2, 2)][..])
    );
    assert_eq!(&*source.text, dockerfile);
    assert!(!failure.debug.is_empty());
    assert!(events.logs().contains("to-be-seen-42"), "{}", events.logs());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn mistakes_in_a_dockerfile_are_reported() {
    let engine = buildkitd::shared().await;
    let none = EventSink::none();
    for (dockerfile, stage, expected) in [
        ("FROM scratch\nBOGUS\n", None, "unknown instruction"),
        (
            "FROM scratch\nCOPY missing /\n",
            None,
            "\"/missing\": not found",
        ),
        (
            "FROM scratch AS a\n",
            Some("b"),
            "target stage \"b\" could not be found",
        ),
    ] {
        let mut build = build(&engine, dockerfile, &[("x", b"")]).await;
        build.spec.stage = stage.map(str::to_owned);
        let failure = engine
            .solve(&build.spec, &build.sessions, &none, &uncancelled())
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
        assert!(failure.message.contains(expected), "{failure:?}");
    }
    // If the daemon refuses a request before it creates a job, there is no progress to wait for.
    let mut build = build(&engine, "FROM scratch\n", &[]).await;
    build.spec.exports = vec![SolveExport::new(Exporter::Other("bogus".to_owned()))];
    let started = Instant::now();
    let failure = engine
        .solve(&build.spec, &build.sessions, &none, &uncancelled())
        .await
        .unwrap_err();
    assert!(failure.message.contains("bogus"), "{failure:?}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn secrets_reach_the_steps_that_ask_for_them() {
    let engine = buildkitd::shared().await;
    let events = Events::default();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s");
    std::fs::write(&file, "from-file").unwrap();
    let value = SecretSource::Value(Secret::new(Bytes::from_static(b"from-value")));
    let secrets = [("f", SecretSource::File(file.into())), ("v", value)];
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=f --mount=type=secret,id=v --mount=type=secret,id=none cat /run/secrets/f /run/secrets/v && test ! -e /run/secrets/none\n";
    let mut build = build_with_secrets(&engine, dockerfile, &[], &secrets).await;
    build.spec.no_cache = NoCache::All;
    engine
        .solve(&build.spec, &build.sessions, &events.sink(), &uncancelled())
        .await
        .unwrap();
    assert!(
        events.logs().contains("from-filefrom-value"),
        "{}",
        events.logs()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_secret_that_cannot_be_read_fails_the_step() {
    let engine = buildkitd::shared().await;
    let secrets = [(
        "f",
        SecretSource::File(PathBuf::from("/nonexistent/secret").into()),
    )];
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=f true\n";
    let mut build = build_with_secrets(&engine, dockerfile, &[], &secrets).await;
    build.spec.no_cache = NoCache::All;
    let none = EventSink::none();
    let failure = engine
        .solve(&build.spec, &build.sessions, &none, &uncancelled())
        .await
        .unwrap_err();
    assert!(
        failure.message.contains("/nonexistent/secret"),
        "{failure:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn long_ignore_files_fit_into_the_headers() {
    let engine = buildkitd::shared().await;
    let ignored: Vec<String> = (0..4000)
        .map(|i| format!("some/rather/long/path/that/is/ignored/number-{i}/**"))
        .collect();
    let ignored = ignored.join("\n");
    let files: [(&str, &[u8]); 2] = [(".dockerignore", ignored.as_bytes()), ("a", b"1")];
    let build = build(&engine, "FROM scratch\nCOPY a /a\n", &files).await;
    engine
        .solve(
            &build.spec,
            &build.sessions,
            &EventSink::none(),
            &uncancelled(),
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn errors_in_large_dockerfiles_are_received() {
    let engine = buildkitd::shared().await;
    // The daemon returns the whole text in a header.
    let comment = format!("# {}\n", "x".repeat(200)).repeat(500);
    let dockerfile = format!("FROM scratch\n{comment}COPY missing /\n");
    let build = build(&engine, &dockerfile, &[]).await;
    let none = EventSink::none();
    let failure = engine
        .solve(&build.spec, &build.sessions, &none, &uncancelled())
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Build, "{failure}");
    assert!(
        failure
            .sources
            .iter()
            .any(|source| source.text.len() > 100_000),
        "{failure}"
    );
}

async fn record(engine: &rbake::engine::Engine, build: &Build) -> BuildHistoryRecord {
    let request = BuildHistoryRequest {
        r#ref: build.spec.build_ref.to_string(),
        early_exit: true,
        ..BuildHistoryRequest::default()
    };
    let mut stream = engine
        .connection()
        .control()
        .listen_build_history(request)
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap().record.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn cancelling_ends_the_daemons_work_at_once() {
    let engine = buildkitd::shared().await;
    for through_gateway in [false, true] {
        let events = Events::default();
        let mut build = build(&engine, "FROM busybox\nRUN echo begun && sleep 600\n", &[]).await;
        build.spec.no_cache = NoCache::All;
        build.spec.through_gateway = through_gateway;
        let cancel = uncancelled();
        let cancelled_at = async {
            events.until(|events| events.logs().contains("begun")).await;
            cancel.cancel();
            Instant::now()
        };
        let sink = events.sink();
        let solve = engine.solve(&build.spec, &build.sessions, &sink, &cancel);
        let (result, cancelled_at) = tokio::join!(solve, cancelled_at);
        assert_eq!(result.unwrap_err().kind, FailureKind::Cancelled);
        assert!(cancelled_at.elapsed() < Duration::from_secs(20));
        // The daemon abandons the job, which its history shows.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let record = record(&engine, &build).await;
            if record.completed_at.is_some() {
                assert!(record.error.is_some(), "{record:?}");
                break;
            }
            assert!(Instant::now() < deadline, "the daemon still builds");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn closing_a_session_does_not_count_as_a_loss() {
    let engine = buildkitd::shared().await;
    let build = build(&engine, "FROM scratch\n", &[]).await;
    let started = Instant::now();
    build.close().await;
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    let lost = tokio::time::timeout(Duration::from_millis(200), build.sessions.target.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn rbake_works_with_an_old_daemon() {
    let program = crate::support::peers::program("RBAKE_TEST_BUILDKITD_OLD");
    let daemon = Buildkitd::start_program(&program, &[]).await;
    let engine = rbake::engine::Engine::connect(daemon.endpoint())
        .await
        .unwrap();
    let capabilities = engine.capabilities().await.unwrap();
    assert!(
        capabilities.multiple_exporters() && !capabilities.step_resources(),
        "{capabilities:?}"
    );
    for through_gateway in [false, true] {
        let mut build = build(&engine, "FROM scratch\nCOPY a /a\n", &[("a", b"1")]).await;
        build.spec.through_gateway = through_gateway;
        build.spec.exports = vec![SolveExport::new(Exporter::Image)];
        let none = EventSink::none();
        let solved = engine
            .solve(&build.spec, &build.sessions, &none, &uncancelled())
            .await
            .unwrap();
        assert!(solved.digest().is_some());
    }
}
