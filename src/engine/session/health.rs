//! The health check, by which the daemon knows that a session is alive.

use rbake_proto::health::health_server::{self, HealthServer};
use rbake_proto::health::{HealthCheckRequest, HealthCheckResponse, ServingStatus};
use tonic::{Request, Response, Status};

use super::{Attachable, SessionServices};
use crate::engine::connection::QUESTION_LIMIT;

/// Always reports healthy. The daemon drops a session without this service after ten seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Health;

impl Attachable for Health {
    fn methods(&self) -> &[&'static str] {
        &["/grpc.health.v1.Health/Check"]
    }

    fn mount(&self, services: &mut SessionServices) {
        let server = HealthServer::new(*self);
        services.add(server.max_decoding_message_size(QUESTION_LIMIT));
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        }))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("health can be checked, not watched"))
    }
}
