//! Checks that a real daemon sends the answers that `tests/engine` makes the scripted one send.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use prost::Message as _;
use rbake::engine::spec::LocalName;
use rbake::engine::{BuildRef, Engine};
use rbake_proto::control::{CacheOptions, SolveRequest, StatusRequest};
use rbake_proto::gateway::{PingRequest, ReturnRequest};
use rbake_proto::rpc;
use tonic::{Code, Request, Status};

use crate::support::buildkitd;
use crate::support::builds::build;
use crate::support::fake_buildkit::{SOURCE_DETAIL, VERTEX_DETAIL, unknown_job};

fn ping(build_ref: &BuildRef) -> Request<PingRequest> {
    with_id(build_ref, PingRequest {})
}

fn with_id<T>(build_ref: &BuildRef, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = build_ref.as_str().parse().unwrap();
    request
        .metadata_mut()
        .insert("buildkit-controlapi-buildid", id);
    request
}

// The message must end with that of the scripted daemon. The text before it may differ between daemons.
fn same(status: &Status, build_ref: &BuildRef) {
    let scripted = unknown_job(build_ref.as_str());
    assert_eq!(status.code(), scripted.code(), "{status:?}");
    assert!(status.message().ends_with(scripted.message()), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn errors_for_unknown_builds() {
    let engine = buildkitd::shared().await;
    let build_ref = BuildRef::new();
    let status = engine
        .connection()
        .gateway()
        .ping(ping(&build_ref))
        .await
        .unwrap_err();
    same(&status, &build_ref);
    let request = StatusRequest {
        r#ref: build_ref.to_string(),
    };
    let mut stream = engine
        .connection()
        .control()
        .status(request)
        .await
        .unwrap()
        .into_inner();
    same(&stream.message().await.unwrap_err(), &build_ref);
}

async fn refused(engine: &Engine, dockerfile: &str) -> Status {
    let build = build(engine, dockerfile, &[]).await;
    let session = build.sessions.directories[&LocalName::CONTEXT]
        .id()
        .to_string();
    let attrs = [
        ("local-sessionid:context", session.as_str()),
        ("local-sessionid:dockerfile", session.as_str()),
    ];
    let request = SolveRequest {
        r#ref: BuildRef::new().to_string(),
        session: session.clone(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attrs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        cache: Some(CacheOptions::default()),
        ..SolveRequest::default()
    };
    engine
        .connection()
        .control()
        .solve(request)
        .await
        .unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_error_of_a_failed_step_has_details() {
    let engine = buildkitd::shared().await;
    let status = refused(&engine, "FROM busybox\nRUN exit 3\n").await;
    assert_eq!(status.code(), Code::Unknown);
    let details = rpc::Status::decode(status.details()).unwrap().details;
    let types: BTreeSet<&str> = details
        .iter()
        .map(|detail| detail.type_url.as_str())
        .collect();
    assert!(
        types.contains(VERTEX_DETAIL) && types.contains(SOURCE_DETAIL),
        "{types:?}"
    );
    for detail in &details {
        let json = serde_json::from_slice::<serde_json::Value>(&detail.value);
        assert!(json.is_ok(), "{} is not JSON", detail.type_url);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_job_ends_with_the_error_that_the_client_returns() {
    let engine = buildkitd::shared().await;
    let build_ref = BuildRef::new();
    let request = SolveRequest {
        r#ref: build_ref.to_string(),
        internal: true,
        cache: Some(CacheOptions::default()),
        ..SolveRequest::default()
    };
    let mut control = engine.connection().control();
    let outer = tokio::spawn(async move { control.solve(request).await });
    let mut gateway = engine.connection().gateway();
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(status) = gateway.ping(ping(&build_ref)).await {
        same(&status, &build_ref);
        assert!(Instant::now() < deadline);
    }
    let error = rpc::Status {
        code: Code::Aborted.into(),
        message: "our own words".to_owned(),
        details: Vec::new(),
    };
    let request = ReturnRequest {
        error: Some(error),
        result: None,
    };
    gateway
        .r#return(with_id(&build_ref, request))
        .await
        .unwrap();
    let status = outer.await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Aborted, "our own words")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_daemon_ends_its_side_of_a_closed_session() {
    let engine = buildkitd::shared().await;
    let build = build(&engine, "FROM scratch\n", &[]).await;
    let started = Instant::now();
    build.close().await;
    // Far less than the time after which we stop waiting.
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
}
