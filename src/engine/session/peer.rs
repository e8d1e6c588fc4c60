//! For tests: calls an attachable as a daemon does, through a stream in memory.

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tonic::transport::{Channel, Endpoint};

use super::headers::Bounded;
use super::{Attachable, SessionServices};

/// A channel to `attachable`, which is served as in a session.
pub(crate) async fn channel(attachable: &dyn Attachable) -> Channel {
    let (near, far) = tokio::io::duplex(64 << 10);
    let mut services = SessionServices::default();
    attachable.mount(&mut services);
    let service = TowerToHyperService::new(Bounded::new(services));
    tokio::spawn(async move {
        let _ = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(16 << 20)
            .serve_connection(TokioIo::new(near), service)
            .await;
    });
    let mut far = Some(far);
    let connector = tower::service_fn(move |_| {
        let far = far
            .take()
            .ok_or_else(|| std::io::Error::other("there is only one connection"));
        std::future::ready(far.map(TokioIo::new))
    });
    Endpoint::from_static("http://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap()
}
