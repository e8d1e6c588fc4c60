//! Solves through the gateway, and links between them.

use std::collections::BTreeMap;

use rbake::engine::spec::{Attestation, Exporter, SolveContext, SolveExport};
use rbake::engine::{Engine, FrontendResult};
use rbake::event::EventSink;
use rbake::outcome::{FailureKind, SolveFailure};
use rbake_proto::content::ReadContentRequest;
use rbake_proto::content::content_client::ContentClient;
use rbake_proto::control::BuildHistoryRequest;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::support::buildkitd::{self, Buildkitd};
use crate::support::builds::{Build, build};
use crate::support::events::Events;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn solves_with_and_without_the_gateway_give_the_same_image() {
    let engine = buildkitd::shared().await;
    let mut digests = Vec::new();
    for through_gateway in [false, true] {
        let mut build = build(
            &engine,
            "FROM scratch\nCOPY a /a\nENV X=1\n",
            &[("a", b"same")],
        )
        .await;
        build.spec.through_gateway = through_gateway;
        build.spec.build_args = BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), "0".to_owned())]);
        build.spec.exports = vec![SolveExport {
            extra: BTreeMap::from([("rewrite-timestamp".to_owned(), "true".to_owned())]),
            ..SolveExport::new(Exporter::Image)
        }];
        let none = EventSink::none();
        let solved = engine
            .solve(
                &build.spec,
                &build.sessions,
                &none,
                &CancellationToken::new(),
            )
            .await
            .unwrap();
        digests.push(solved.digest().unwrap());
    }
    assert_eq!(digests[0], digests[1]);
}

// The provenance of a solve, which the daemon's history has.
async fn provenance(engine: &Engine, build_ref: &str) -> serde_json::Value {
    let request = BuildHistoryRequest {
        r#ref: build_ref.to_owned(),
        early_exit: true,
        ..BuildHistoryRequest::default()
    };
    let stream = engine
        .connection()
        .control()
        .listen_build_history(request)
        .await;
    let record = stream
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap()
        .record
        .unwrap();
    let attestations = record.result.unwrap().attestations;
    let digest = attestations.first().expect("an attestation").digest.clone();
    let mut content = ContentClient::new(engine.connection().channel());
    let request = ReadContentRequest {
        digest,
        ..ReadContentRequest::default()
    };
    let mut stream = content.read(request).await.unwrap().into_inner();
    let mut data = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        data.extend_from_slice(&piece.data);
    }
    serde_json::from_slice(&data).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn solves_with_and_without_the_gateway_give_the_same_provenance() {
    let engine = buildkitd::shared().await;
    let mut found = Vec::new();
    for through_gateway in [false, true] {
        let mut build = build(&engine, "FROM busybox\nCOPY a /a\n", &[("a", b"same")]).await;
        build.spec.through_gateway = through_gateway;
        build.spec.build_args = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        build.spec.exports = vec![SolveExport::new(Exporter::Image)];
        build.spec.attestations = vec![Attestation {
            kind: "provenance".to_owned(),
            parameters: vec![("mode".to_owned(), "min".to_owned())],
        }];
        let none = EventSink::none();
        let solved = engine
            .solve(
                &build.spec,
                &build.sessions,
                &none,
                &CancellationToken::new(),
            )
            .await
            .unwrap();
        let mut predicate = provenance(&engine, &solved.build_ref).await;
        let mut definition = predicate["buildDefinition"].take();
        // The digests of local sources depend on the session.
        definition["internalParameters"]["buildConfig"]["digestMapping"].take();
        let request = &mut definition["externalParameters"]["request"];
        // For a solve through the gateway, the daemon repeats the outer request here.
        let root = request.as_object_mut().unwrap().remove("root");
        assert_eq!(root.is_some(), through_gateway);
        let args = request["args"].as_object_mut().unwrap();
        args.retain(|key, _| !key.starts_with("local-sessionid:"));
        found.push(definition);
    }
    assert_eq!(
        found[0]["externalParameters"]["request"]["args"]["build-arg:A"],
        "1"
    );
    assert_eq!(found[0], found[1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn errors_through_the_gateway_are_the_same_as_without_it() {
    let engine = buildkitd::shared().await;
    for (dockerfile, expected) in [
        ("FROM scratch\nBOGUS\n", "unknown instruction"),
        ("FROM scratch\nCOPY missing /\n", "\"/missing\": not found"),
    ] {
        let mut build = build(&engine, dockerfile, &[("x", b"")]).await;
        build.spec.through_gateway = true;
        let none = EventSink::none();
        let failure = engine
            .solve(
                &build.spec,
                &build.sessions,
                &none,
                &CancellationToken::new(),
            )
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
        assert!(failure.message.contains(expected), "{failure:?}");
        assert!(
            failure.sources.iter().any(|source| !source.text.is_empty()),
            "{failure:?}"
        );
    }
    let mut build = build(&engine, "FROM scratch\n", &[]).await;
    build.spec.through_gateway = true;
    build.spec.exports = vec![SolveExport::new(Exporter::Other("bogus".to_owned()))];
    let none = EventSink::none();
    let failure = engine
        .solve(
            &build.spec,
            &build.sessions,
            &none,
            &CancellationToken::new(),
        )
        .await
        .unwrap_err();
    assert!(failure.message.contains("bogus"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_subrequest_to_the_frontend_returns_its_result() {
    let engine = buildkitd::shared().await;
    let mut build = build(&engine, "from scratch AS x\nCOPY a /\n", &[("a", b"")]).await;
    build.spec.through_gateway = true;
    build.spec.internal = true;
    build.spec.subrequest = Some("lint".to_owned());
    let none = EventSink::none();
    let solved = engine
        .solve(
            &build.spec,
            &build.sessions,
            &none,
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    assert!(
        solved.response["result.json"].contains("FromAsCasing"),
        "{solved:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_solve_fails_with_the_error_of_the_task_that_holds_its_result() {
    let engine = buildkitd::shared().await;
    let build = build(&engine, "FROM scratch\nCOPY a /\n", &[("a", b"")]).await;
    let none = EventSink::none();
    let give_up = SolveFailure::new(FailureKind::Build, "its consumer failed");
    let failure = engine
        .solve_held(
            &build.spec,
            &build.sessions,
            &none,
            &CancellationToken::new(),
            Box::new(|_| Box::pin(std::future::ready(Err(give_up)))),
        )
        .await
        .unwrap_err();
    assert_eq!(failure.message, "its consumer failed");
}

// Solves `producer`, and then `consumer` with its result as the context `base`, while the job of the first waits.
async fn linked(engine: &Engine, producer: &Build, mut consumer: Build) -> (Events, Events) {
    let (publish, published) = oneshot::channel::<FrontendResult>();
    let (release, released) = oneshot::channel::<()>();
    let hold = move |result: FrontendResult| {
        publish.send(result).unwrap();
        Box::pin(async move {
            let _ = released.await;
            Ok(())
        }) as futures_util::future::BoxFuture<'static, _>
    };
    let (first, second) = (Events::default(), Events::default());
    let sink = first.sink();
    let cancel = CancellationToken::new();
    let producing = engine.solve_held(
        &producer.spec,
        &producer.sessions,
        &sink,
        &cancel,
        Box::new(hold),
    );
    let consuming = async {
        let results = published.await.unwrap().linked().unwrap();
        let context = SolveContext::Linked {
            input: "0-base".to_owned(),
            results,
        };
        consumer
            .spec
            .named_contexts
            .insert("base".to_owned(), context);
        let (got, release_when) = oneshot::channel::<()>();
        let hold = move |_| {
            got.send(()).unwrap();
            Box::pin(std::future::ready(Ok(()))) as futures_util::future::BoxFuture<'static, _>
        };
        let sink = second.sink();
        let solve = engine.solve_held(
            &consumer.spec,
            &consumer.sessions,
            &sink,
            &cancel,
            Box::new(hold),
        );
        let let_go = async {
            release_when.await.unwrap();
            release.send(()).unwrap();
        };
        tokio::join!(solve, let_go).0
    };
    let (producer, consumer) = tokio::join!(producing, consuming);
    producer.unwrap();
    consumer.unwrap();
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_linked_target_is_built_once_and_the_daemon_survives() {
    // A separate daemon, because a mistake here would crash the one that all tests share.
    let daemon = Buildkitd::start(&[]).await;
    let engine = Engine::connect(daemon.endpoint()).await.unwrap();
    let producer = build(
        &engine,
        "FROM scratch\nCOPY a /made\nLABEL made=yes\n",
        &[("a", b"1")],
    )
    .await;
    let consumer = build(&engine, "FROM base\nCOPY --from=base /made /again\n", &[]).await;
    let (_, events) = linked(&engine, &producer, consumer).await;
    let names = events.vertices();
    assert!(
        names
            .iter()
            .any(|name| name.contains("COPY --from=base /made /again")),
        "{names:?}"
    );
    assert!(daemon.is_alive(), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn empty_results_and_several_platforms_do_not_crash_the_daemon() {
    let daemon = Buildkitd::start(&[]).await;
    let engine = Engine::connect(daemon.endpoint()).await.unwrap();
    let platforms = ["linux/amd64", "linux/arm64"].map(|p| p.parse().unwrap());
    for platforms in [Vec::new(), platforms.to_vec()] {
        let mut producer = build(&engine, "FROM scratch\nENV X=1\n", &[]).await;
        producer.spec.platforms.clone_from(&platforms);
        producer.spec.exports = vec![SolveExport::new(Exporter::Image)];
        let mut consumer = build(&engine, "FROM base\nCOPY a /\n", &[("a", b"1")]).await;
        consumer.spec.platforms = platforms;
        linked(&engine, &producer, consumer).await;
        assert!(daemon.is_alive(), "{}", daemon.log());
    }
    assert!(!daemon.log().contains("panic"), "{}", daemon.log());
}
