//! Solves in which the daemon fails in various ways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use prost::Message as _;
use rbake::engine::spec::{Dockerfile, MainContext, SolveSpec};
use rbake::engine::{SessionBuilder, SessionId, Sessions};
use rbake::outcome::{FailureKind, SolveFailure, Solved};
use rbake_proto::control::{StatusResponse, Vertex};
use rbake_proto::{gateway, rpc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::support::events::Events;
use crate::support::fake_buildkit::{
    Call, ClientSession, FakeBuildkit, FakeSolve, SOURCE_DETAIL, VERTEX_DETAIL, unknown_job,
};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// A client that can solve with the scripted daemon.
struct Client {
    fake: FakeBuildkit,
    events: Events,
    session: ClientSession,
    cancel: CancellationToken,
    solve: JoinHandle<Result<Solved, SolveFailure>>,
}

impl Client {
    async fn start() -> Self {
        Self::start_with(false).await
    }

    async fn start_with(through_gateway: bool) -> Self {
        Self::start_as(through_gateway, None).await
    }

    async fn start_as(through_gateway: bool, subrequest: Option<&str>) -> Self {
        let mut fake = FakeBuildkit::start();
        let engine = fake.connect().await;
        let builder = SessionBuilder::new(SessionId::new());
        let (session, seen) = tokio::join!(builder.open(engine.connection()), fake.session());
        let sessions = Sessions {
            target: Arc::new(session.unwrap()),
            directories: BTreeMap::new(),
        };
        let dockerfile = Dockerfile::Local {
            filename: "Dockerfile".to_owned(),
        };
        let mut spec = SolveSpec::new("t".parse().unwrap(), dockerfile, MainContext::Local);
        spec.through_gateway = through_gateway;
        spec.subrequest = subrequest.map(str::to_owned);
        let (events, cancel) = (Events::default(), CancellationToken::new());
        let (sink, token) = (events.sink(), cancel.clone());
        let solve =
            tokio::spawn(async move { engine.solve(&spec, &sessions, &sink, &token).await });
        Self {
            fake,
            events,
            session: seen,
            cancel,
            solve,
        }
    }

    async fn result(self) -> Result<Solved, SolveFailure> {
        let result = tokio::time::timeout(Duration::from_secs(20), self.solve).await;
        result.expect("the solve should end").unwrap()
    }
}

fn vertex(name: &str) -> StatusResponse {
    StatusResponse {
        vertexes: vec![Vertex {
            digest: DIGEST.to_owned(),
            name: name.to_owned(),
            ..Vertex::default()
        }],
        ..StatusResponse::default()
    }
}

#[tokio::test(start_paused = true)]
async fn progress_is_reported_until_the_status_stream_ends() {
    let mut client = Client::start().await;
    let solve = client.fake.solve().await;
    assert_eq!(solve.request.session, client.session.id);
    solve.progress(vertex("one")).await;
    let status = solve.succeed(&[("containerimage.digest", DIGEST)]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    status.send(Ok(vertex("late"))).await.unwrap();
    drop(status);
    let events = client.events.clone();
    let solved = client.result().await.unwrap();
    assert_eq!(solved.digest().unwrap().as_str(), DIGEST);
    assert_eq!(events.vertices(), ["one", "late"]);
}

#[tokio::test(start_paused = true)]
async fn a_solve_stops_waiting_for_a_status_stream_that_never_ends() {
    let mut client = Client::start().await;
    let solve = client.fake.solve().await;
    solve.progress(vertex("one")).await;
    let started = Instant::now();
    let _status = solve.succeed(&[]);
    client.result().await.unwrap();
    let waited = started.elapsed();
    assert!(
        Duration::from_secs(5) <= waited && waited < Duration::from_secs(7),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_client_asks_again_for_a_status_stream_that_does_not_exist_yet() {
    let mut client = Client::start().await;
    let solve = client.fake.solve().await;
    let build_ref = solve.request.r#ref.clone();
    solve
        .status
        .send(Err(unknown_job(&build_ref)))
        .await
        .unwrap();
    let Call::Status(_, status) = client.fake.call().await else {
        panic!("expected a second request for the status");
    };
    status.send(Ok(vertex("one"))).await.unwrap();
    drop(status);
    solve.succeed(&[]);
    let events = client.events.clone();
    client.result().await.unwrap();
    assert_eq!(events.vertices(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_status_stream_is_only_a_warning() {
    let mut client = Client::start().await;
    let solve = client.fake.solve().await;
    solve.progress(vertex("one")).await;
    solve
        .status
        .send(Err(Status::internal("gone")))
        .await
        .unwrap();
    client
        .events
        .until(|events| !events.notices().is_empty())
        .await;
    assert_eq!(client.events.notices(), ["engine::progress-lost"]);
    solve.succeed(&[]);
    client.result().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_ends_the_solve_at_once() {
    let mut client = Client::start().await;
    let _solve = client.fake.solve().await;
    let started = Instant::now();
    client.fake.cut();
    let failure = client.result().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Engine);
    assert!(
        failure.message.contains("connection to `unix:///"),
        "{failure:?}"
    );
    assert!(failure.message.contains("was lost"), "{failure:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_solve_continues_after_the_daemon_sends_goaway() {
    let mut client = Client::start().await;
    let solve = client.fake.solve().await;
    client.fake.goaway();
    tokio::time::sleep(Duration::from_millis(100)).await;
    solve.progress(vertex("after")).await;
    drop(solve.succeed(&[]));
    let events = client.events.clone();
    client.result().await.unwrap();
    assert_eq!(events.vertices(), ["after"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_ends_the_solve() {
    let mut client = Client::start().await;
    let mut solve = client.fake.solve().await;
    let (hold, _) = tokio::sync::mpsc::channel(1);
    drop(std::mem::replace(&mut client.session.hold, hold));
    let failure = client.result().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Engine);
    assert!(failure.message.starts_with("session lost"), "{failure:?}");
    // The client has cancelled its call.
    solve.answer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_solve_resets_its_call() {
    let mut client = Client::start().await;
    let mut solve = client.fake.solve().await;
    client.cancel.cancel();
    assert_eq!(
        client.result().await.unwrap_err().kind,
        FailureKind::Cancelled
    );
    solve.answer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_solve_resets_its_call() {
    let mut client = Client::start().await;
    let mut solve = client.fake.solve().await;
    client.solve.abort();
    solve.answer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_status_message_beyond_the_size_limit_loses_only_the_progress() {
    let mut client = Client::start().await;
    let solve = client.fake.solve().await;
    solve.progress(vertex("one")).await;
    solve.progress(vertex(&"x".repeat(17 << 20))).await;
    client
        .events
        .until(|events| !events.notices().is_empty())
        .await;
    solve.succeed(&[]);
    client.result().await.unwrap();
}

fn failed_step() -> Status {
    let data = base64::prelude::BASE64_STANDARD.encode("FROM x\n");
    let source = format!(
        r#"{{"info":{{"filename":"Dockerfile","data":"{data}"}},"ranges":[{{"start":{{"line":1}},"end":{{"line":1}}}}]}}"#
    );
    let details = [
        (VERTEX_DETAIL, format!(r#"{{"digest":"{DIGEST}"}}"#)),
        (SOURCE_DETAIL, source),
        (SOURCE_DETAIL, "{ garbage".to_owned()),
    ];
    let status = rpc::Status {
        code: Code::Unknown.into(),
        message: "it failed".to_owned(),
        details: details
            .map(|(type_url, json)| prost_types::Any {
                type_url: type_url.to_owned(),
                value: json.into_bytes(),
            })
            .into(),
    };
    Status::with_details(Code::Unknown, "it failed", status.encode_to_vec().into())
}

#[tokio::test(start_paused = true)]
async fn error_details_are_read_and_invalid_ones_are_skipped() {
    let mut client = Client::start().await;
    client.fake.solve().await.fail(failed_step());
    let failure = client.result().await.unwrap_err();
    assert_eq!(
        (failure.message.as_str(), failure.kind),
        ("it failed", FailureKind::Build)
    );
    assert_eq!(failure.vertex.unwrap().as_str(), DIGEST);
    assert_eq!(failure.sources.len(), 1);
}

async fn gateway() -> (Client, FakeSolve) {
    job_of(Client::start_with(true).await).await
}

// The job that `client`, whose solve goes through the gateway, begins.
async fn job_of(mut client: Client) -> (Client, FakeSolve) {
    // The first ping of the job may arrive before the status call.
    let (mut solve, mut status, mut pings) = (None, None, 0);
    loop {
        match client.fake.call().await {
            Call::Solve(request, answer) => solve = Some((request, answer)),
            Call::Status(_, messages) => status = Some(messages),
            Call::Ping(id, answer) => {
                pings += 1;
                let answered = match pings {
                    1 | 2 => answer.send(Err(unknown_job(&id))),
                    _ => answer.send(Ok(gateway::PongResponse::default())),
                };
                answered.unwrap();
                let complete = solve.as_ref().filter(|_| status.is_some() && pings > 2);
                if let Some((request, _)) = complete {
                    assert_eq!(id, request.r#ref);
                    break;
                }
            }
            _ => panic!("unexpected call before the job exists"),
        }
    }
    let ((request, answer), status) = solve.zip(status).unwrap();
    let solve = FakeSolve {
        request,
        answer,
        status,
    };
    (client, solve)
}

#[tokio::test(start_paused = true)]
async fn a_solve_through_the_gateway_returns_the_result_by_its_id() {
    let (mut client, solve) = gateway().await;
    assert_eq!(solve.request.frontend, "");
    let Call::GatewaySolve(request, answer) = client.fake.call().await else {
        panic!("expected a call of the frontend");
    };
    assert_eq!(request.frontend, "dockerfile.v0");
    let one = gateway::Ref {
        id: "the-id".to_owned(),
        def: bytes::Bytes::from_static(b"llb"),
    };
    let result = gateway::Result {
        result: Some(gateway::result::Result::Ref(one)),
        ..gateway::Result::default()
    };
    let response = gateway::SolveResponse {
        result: Some(result),
        ..gateway::SolveResponse::default()
    };
    answer.send(Ok(response)).unwrap();
    let Call::Return(returned, answer) = client.fake.call().await else {
        panic!("expected the client to return the result");
    };
    match returned.result.unwrap().result.unwrap() {
        gateway::result::Result::Ref(one) => {
            assert_eq!((one.id.as_str(), one.def.len()), ("the-id", 0));
        }
        other => panic!("{other:?}"),
    }
    answer.send(Ok(gateway::ReturnResponse::default())).unwrap();
    drop(solve.succeed(&[("k", "v")]));
    assert_eq!(client.result().await.unwrap().response["k"], "v");
}

// The error of a frontend that does not know `method`.
fn unknown_method(method: &str) -> Status {
    let message = format!("unsupported request {method}");
    let status = rpc::Status {
        code: Code::Unimplemented.into(),
        message: message.clone(),
        details: vec![prost_types::Any {
            type_url: "github.com/moby/buildkit/errdefs.Subrequest+json".to_owned(),
            value: format!(r#"{{"name":"{method}"}}"#).into_bytes(),
        }],
    };
    Status::with_details(Code::Unimplemented, message, status.encode_to_vec().into())
}

#[tokio::test(start_paused = true)]
async fn a_newer_frontend_is_asked_if_the_own_one_does_not_know_the_method() {
    let client = Client::start_as(true, Some("lint")).await;
    let (mut client, solve) = job_of(client).await;
    let Call::GatewaySolve(request, answer) = client.fake.call().await else {
        panic!("expected a call of the frontend");
    };
    assert_eq!(request.frontend_opt["requestid"], "frontend.lint");
    answer.send(Err(unknown_method("frontend.lint"))).unwrap();
    let Call::GatewaySolve(request, answer) = client.fake.call().await else {
        panic!("expected a call of a newer frontend");
    };
    let newer = &request.frontend_opt["build-arg:BUILDKIT_SYNTAX"];
    assert!(newer.starts_with("docker/dockerfile:"), "{newer}");
    let json = bytes::Bytes::from_static(b"{}");
    let result = gateway::Result {
        metadata: BTreeMap::from([("result.json".to_owned(), json)]),
        ..gateway::Result::default()
    };
    let response = gateway::SolveResponse {
        result: Some(result),
        ..gateway::SolveResponse::default()
    };
    answer.send(Ok(response)).unwrap();
    let Call::Return(_, answer) = client.fake.call().await else {
        panic!("expected the client to return the result");
    };
    answer.send(Ok(gateway::ReturnResponse::default())).unwrap();
    drop(solve.succeed(&[]));
    assert_eq!(client.result().await.unwrap().response["result.json"], "{}");
}

#[tokio::test(start_paused = true)]
async fn a_method_that_no_frontend_knows_fails_with_the_first_error() {
    for (method, asks_again) in [("nosuch", false), ("outline", true)] {
        let client = Client::start_as(true, Some(method)).await;
        let (mut client, solve) = job_of(client).await;
        let Call::GatewaySolve(_, answer) = client.fake.call().await else {
            panic!("expected a call of the frontend");
        };
        let first = format!("frontend.{method}");
        answer.send(Err(unknown_method(&first))).unwrap();
        if asks_again {
            let Call::GatewaySolve(_, answer) = client.fake.call().await else {
                panic!("expected a call of a newer frontend");
            };
            answer.send(Err(Status::unknown("no network"))).unwrap();
        }
        let Call::Return(returned, answer) = client.fake.call().await else {
            panic!("expected the client to return the error");
        };
        let message = returned.error.unwrap().message;
        assert!(message.ends_with(&first), "{message}");
        answer.send(Ok(gateway::ReturnResponse::default())).unwrap();
        solve.fail(Status::unknown("x"));
        let failure = client.result().await.unwrap_err();
        assert!(
            failure.help[0].contains(&format!("`{method}`")),
            "{failure:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_frontend_is_returned_with_its_details() {
    let (mut client, solve) = gateway().await;
    let Call::GatewaySolve(_, answer) = client.fake.call().await else {
        panic!("expected a call of the frontend");
    };
    answer.send(Err(failed_step())).unwrap();
    let Call::Return(returned, answer) = client.fake.call().await else {
        panic!("expected the client to return the error");
    };
    let error = returned.error.unwrap();
    assert_eq!(
        (error.message.as_str(), error.details.len()),
        ("it failed", 3)
    );
    answer.send(Ok(gateway::ReturnResponse::default())).unwrap();
    solve.fail(Status::unknown("the same, in other words"));
    let failure = client.result().await.unwrap_err();
    assert_eq!(
        (failure.message.as_str(), failure.sources.len()),
        ("it failed", 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_never_created_fails_with_the_daemons_reason() {
    let mut client = Client::start_with(true).await;
    loop {
        match client.fake.call().await {
            Call::Solve(_, answer) => {
                answer
                    .send(Err(Status::invalid_argument("unknown exporter")))
                    .unwrap();
                break;
            }
            Call::Ping(id, answer) => answer.send(Err(unknown_job(&id))).unwrap(),
            _ => {}
        }
    }
    let failure = client.result().await.unwrap_err();
    assert_eq!(failure.message, "unknown exporter");
}

// Meanwhile the daemon answers other calls, so the limit for a silent builder does not apply.
#[tokio::test(start_paused = true)]
async fn the_client_gives_up_if_its_first_call_stays_open() {
    let mut fake = FakeBuildkit::start();
    let engine = fake.connect().await;
    let asked = tokio::spawn(async move { engine.capabilities().await.map(drop) });
    let _open = (fake.call().await, fake.call().await);
    let asked = tokio::time::timeout(Duration::from_secs(30), asked).await;
    let failure = asked.expect("the client gives up").unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Engine, "{failure:?}");
    assert!(
        failure
            .message
            .contains("a call has had no answer for 15 s"),
        "{failure:?}"
    );
}
