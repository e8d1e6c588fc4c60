//! TCP, without TLS and with mutual TLS.

use rbake::engine::endpoint::{Address, TlsMaterial};
use rbake::engine::transport::DialError;
use rbake::engine::{ConnectionError, Endpoint, Engine};

use crate::support::buildkitd::Buildkitd;
use crate::support::files::certificates;

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn endpoint(port: u16, tls: Option<TlsMaterial>) -> Endpoint {
    Endpoint::Tcp {
        address: Address {
            host: "127.0.0.1".to_owned(),
            port,
        },
        tls,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn mutual_tls_accepts_only_matching_certificates() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name);
    let arg = |name: &str| file(name).display().to_string();
    let port = free_port();
    let _daemon = Buildkitd::start(&[
        "--addr",
        &format!("tcp://127.0.0.1:{port}"),
        "--tlscacert",
        &arg("ca.pem"),
        "--tlscert",
        &arg("builder.test.pem"),
        "--tlskey",
        &arg("builder.test.key"),
    ])
    .await;
    let good = TlsMaterial {
        ca: Some(file("ca.pem")),
        cert: Some(file("client.test.pem")),
        key: Some(file("client.test.key")),
        servername: Some("builder.test".to_owned()),
    };
    let engine = Engine::connect(endpoint(port, Some(good.clone())))
        .await
        .unwrap();
    assert!(!engine.capabilities().await.unwrap().workers.is_empty());

    let refused = [
        (
            "no client certificate",
            TlsMaterial {
                cert: None,
                key: None,
                ..good.clone()
            },
        ),
        (
            "another name",
            TlsMaterial {
                servername: Some("other.test".to_owned()),
                ..good.clone()
            },
        ),
        (
            "another CA",
            TlsMaterial {
                ca: Some(file("stranger.pem")),
                ..good.clone()
            },
        ),
    ];
    for (what, material) in refused {
        let error = Engine::connect(endpoint(port, Some(material)))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectionError::Dial(DialError::Handshake { .. })),
            "{what}: {error:?}"
        );
    }
    let error = Engine::connect(endpoint(port, None)).await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::NotGrpc { .. }),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn tcp_without_tls() {
    let port = free_port();
    let address = format!("tcp://127.0.0.1:{port}");
    let _daemon = Buildkitd::start(&["--addr", &address]).await;
    let engine = Engine::connect(address.parse().unwrap()).await.unwrap();
    assert!(!engine.capabilities().await.unwrap().workers.is_empty());
    // TLS to a port that does not use it.
    let tls = TlsMaterial {
        servername: Some("x".to_owned()),
        ..TlsMaterial::default()
    };
    let error = Engine::connect(endpoint(port, Some(tls)))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectionError::Dial(_)), "{error:?}");
}
