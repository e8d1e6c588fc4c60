//! The services of a session, found by the name in a call's path.
//!
//! tonic's own router keeps two trees of routes with a layer of services for each method. A session has six services at most, and a
//! run has hundreds of sessions.

use std::convert::Infallible;
use std::fmt;
use std::future::Ready;

use futures_util::future::Either;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;
use tower::util::BoxCloneSyncService;

type Answering = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What a call ends with.
pub(super) type ServiceFuture = Either<
    <Answering as Service<Request<Body>>>::Future,
    Ready<Result<Response<Body>, Infallible>>,
>;

/// The services that a session offers.
#[derive(Clone, Default)]
pub struct SessionServices(Vec<(&'static str, Answering)>);

impl SessionServices {
    /// Adds `service`. If there is one of its name already, that one continues to answer.
    pub fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.0.push((S::NAME, Answering::new(service)));
    }

    /// Passes a call to its service. As gRPC wants it, a call that no service answers ends with `UNIMPLEMENTED`.
    pub(super) fn call(&self, request: Request<Body>) -> ServiceFuture {
        let name = service_name(request.uri().path());
        let found = self.0.iter().find(|(own, _)| name == Some(*own));
        if let Some((_, service)) = found {
            // A service that tonic generated is always ready. What is called here is a clone, so it needs no turn of its own.
            return Either::Left(service.clone().call(request));
        }
        let refusal = Status::unimplemented("the session does not offer this service");
        Either::Right(std::future::ready(Ok(refusal.into_http())))
    }
}

impl fmt::Debug for SessionServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// The service in a path such as `/moby.filesync.v1.Auth/Credentials`.
fn service_name(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!method.is_empty()).then_some(service)
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("/grpc.health.v1.Health/Check", Some("grpc.health.v1.Health"); "a method")]
    #[test_case("/grpc.health.v1.Health/", None; "no method")]
    #[test_case("/grpc.health.v1.Health", None; "no slash")]
    #[test_case("grpc.health.v1.Health/Check", None; "not absolute")]
    #[test_case("//Check", Some(""); "an empty name, which no service has")]
    #[test_case("", None; "nothing")]
    fn the_service_of_a_path(path: &str, service: Option<&str>) {
        assert_eq!(service_name(path), service);
    }

    #[tokio::test]
    async fn a_call_that_no_service_answers_is_unimplemented() {
        const UNIMPLEMENTED: &str = "12";
        let request = Request::builder().uri("/nobody/Answers");
        let answer = SessionServices::default().call(request.body(Body::empty()).unwrap());
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], UNIMPLEMENTED);
    }
}
