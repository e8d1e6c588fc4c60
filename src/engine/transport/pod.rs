//! Connects to a buildkitd in a pod, through the standard streams of `buildctl dial-stdio`, which kubelet runs in it.

use std::time::Duration;

use super::{DialError, Dialled, Remarks};
use crate::engine::endpoint::PodEndpoint;
use crate::engine::kubernetes::Kubernetes;
use crate::types::causes::in_one_line;

/// How often a connection is tried, and the first pause between two tries, which doubles. buildx does the same.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn dial(endpoint: &PodEndpoint) -> Result<Dialled, DialError> {
    let failed = |source| DialError::Kubernetes {
        pod: endpoint.pod.clone(),
        source: Box::new(source),
    };
    let namespace = endpoint.namespace.as_deref();
    let kubernetes = Kubernetes::connect(&endpoint.cluster, namespace)
        .await
        .map_err(failed)?;
    let container = endpoint.container.as_deref();
    let mut turn = 0;
    loop {
        let remarks = Remarks::default();
        let command = ["buildctl", "dial-stdio"];
        let tried = kubernetes.exec(&endpoint.pod, container, &command, remarks.clone());
        match tried.await {
            Ok(stream) => {
                return Ok(Dialled {
                    stream: Box::new(stream),
                    authority: "localhost".to_owned(),
                    remarks: Some(remarks),
                });
            }
            Err(error) if error.is_transient() && turn + 1 < TRIES => {
                tracing::debug!(pod = endpoint.pod, turn, cause = %in_one_line(&error), "retry: no connection to the pod");
                tokio::time::sleep(PAUSE * 2_u32.pow(turn)).await;
            }
            Err(error) => return Err(failed(error)),
        }
        turn += 1;
    }
}
