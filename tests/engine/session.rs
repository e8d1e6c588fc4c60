//! Sessions, as the daemon sees them.

use std::time::Duration;

use bytes::Bytes;
use rbake::engine::session::{SecretSource, Secrets};
use rbake::engine::{Engine, Session, SessionBuilder, SessionId};
use rbake::types::Secret;
use rbake_proto::filesync::CredentialsRequest;
use rbake_proto::filesync::auth_client::AuthClient;
use rbake_proto::health::health_client::HealthClient;
use rbake_proto::health::{HealthCheckRequest, ServingStatus};
use rbake_proto::secrets::GetSecretRequest;
use rbake_proto::secrets::secrets_client::SecretsClient;
use tonic::Code;

use crate::support::fake_buildkit::{ClientSession, FakeBuildkit};

async fn open(builder: SessionBuilder) -> (FakeBuildkit, Engine, Session, ClientSession) {
    let mut fake = FakeBuildkit::start();
    let engine = fake.connect().await;
    let (session, seen) = tokio::join!(builder.open(engine.connection()), fake.session());
    (fake, engine, session.unwrap(), seen)
}

fn secrets(value: &'static [u8]) -> Secrets {
    let source = SecretSource::Value(Secret::new(Bytes::from_static(value)));
    Secrets::new([("s".to_owned(), source)].into())
}

#[tokio::test(start_paused = true)]
async fn a_session_offers_only_the_services_that_it_was_given() {
    let builder = SessionBuilder::new(SessionId::from_text("id"))
        .shared_key("key")
        .secrets(secrets(b"x"));
    let (_fake, _engine, session, seen) = open(builder).await;
    assert_eq!(
        (
            seen.id.as_str(),
            session.id().as_str(),
            seen.shared_key.as_str()
        ),
        ("id", "id", "key")
    );
    assert_eq!(
        seen.methods,
        [
            "/grpc.health.v1.Health/Check",
            "/moby.buildkit.secrets.v1.Secrets/GetSecret"
        ]
    );

    let health = HealthClient::new(seen.channel.clone())
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);
    let mut client = SecretsClient::new(seen.channel.clone());
    let mut ask = async |id: &str| {
        let request = GetSecretRequest {
            id: id.to_owned(),
            ..GetSecretRequest::default()
        };
        client
            .get_secret(request)
            .await
            .map(|response| response.into_inner().data)
    };
    assert_eq!(ask("s").await.unwrap(), "x");
    assert_eq!(ask("t").await.unwrap_err().code(), Code::NotFound);
    let absent = AuthClient::new(seen.channel.clone())
        .credentials(CredentialsRequest::default())
        .await;
    assert_eq!(absent.map(drop).unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn large_answers_and_many_calls_go_through() {
    static LARGE: [u8; 400_000] = [7; 400_000];
    let builder = SessionBuilder::new(SessionId::new()).secrets(secrets(&LARGE));
    let (_fake, _engine, _session, seen) = open(builder).await;
    let calls = (0..200).map(|_| {
        let mut client = SecretsClient::new(seen.channel.clone());
        tokio::spawn(async move {
            let request = GetSecretRequest {
                id: "s".to_owned(),
                ..GetSecretRequest::default()
            };
            client.get_secret(request).await.unwrap().into_inner().data == LARGE[..]
        })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn closing_a_session_ends_its_stream_and_does_not_count_as_a_loss() {
    let (_fake, _engine, session, seen) = open(SessionBuilder::new(SessionId::new())).await;
    // Like a real daemon, end the daemon's side after the client has ended its side.
    let ours = tokio::spawn(async move {
        let mut client = HealthClient::new(seen.channel);
        while client.check(HealthCheckRequest::default()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(seen.hold);
    });
    session.close().await;
    ours.await.unwrap();
    let lost = tokio::time::timeout(Duration::from_millis(100), session.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_daemon_ends_is_lost() {
    let (_fake, _engine, session, seen) = open(SessionBuilder::new(SessionId::new())).await;
    drop(seen.hold);
    let error = session.lost().await;
    assert!(error.to_string().contains("the daemon ended it"), "{error}");
    assert!(error.is_transient());
}

#[tokio::test(start_paused = true)]
async fn a_session_with_invalid_data_in_its_stream_is_lost() {
    let (_fake, _engine, session, seen) = open(SessionBuilder::new(SessionId::new())).await;
    let junk = rbake_proto::control::BytesMessage {
        data: Bytes::from_static(&[0xff; 4096]),
    };
    seen.hold.send(Ok(junk)).await.unwrap();
    let error = session.lost().await;
    assert!(error.to_string().contains("its stream broke"), "{error}");
}
