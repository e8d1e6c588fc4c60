//! Makes the objects of a node, and waits until its pods are ready.

use std::time::Duration;

use tokio::time::Instant;

use super::{BuilderRefusal, Workload};
use crate::builder::notice::Notice;
use crate::diag::Diagnostic;
use crate::engine::kubernetes::{KubernetesError, ObjectCreation, ObjectKind};
use crate::event::{EventKind, EventSink};
use crate::types::causes::in_one_line;

/// The pause between two looks at the Deployment.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the pods are asked why they are not ready.
const PODS_PAUSE: Duration = Duration::from_secs(2);
/// How many reasons are reported.
const REASONS: usize = 4;

impl Workload {
    /// Makes the objects unless they exist, and waits until as many pods are ready as the options ask for.
    ///
    /// # Errors
    /// The API server refuses, or the time of the options has passed.
    pub(crate) async fn boot(&self, events: &EventSink) -> Result<(), BuilderRefusal> {
        if self.state().await?.is_none() {
            self.make().await?;
        }
        let wanted = self.options.replicas;
        let pods = if wanted == 1 { "pod" } else { "pods" };
        let name = format!("start {wanted} {pods} of {}", self.shown());
        let notice = Notice::begin(
            events,
            &format!("builder-pods-{}", self.objects.name),
            &name,
        );
        let waited = self.wait(events).await;
        notice.end(
            waited
                .as_ref()
                .err()
                .map(|error| in_one_line(error))
                .as_deref(),
        );
        waited
    }

    async fn make(&self) -> Result<(), KubernetesError> {
        // The pods mount them.
        for config in &self.objects.config_maps {
            let made = self
                .kubernetes
                .create(ObjectKind::ConfigMap, config)
                .await?;
            if made == ObjectCreation::Exists {
                // An interrupted run, or another version of this builder, has left it.
                self.kubernetes
                    .replace(ObjectKind::ConfigMap, config)
                    .await?;
            }
        }
        let made = self
            .kubernetes
            .create(self.objects.kind, &self.objects.workload)
            .await?;
        tracing::info!(
            name = self.objects.name,
            namespace = self.kubernetes.namespace(),
            ?made,
            "builder made in Kubernetes"
        );
        Ok(())
    }

    async fn wait(&self, events: &EventSink) -> Result<(), BuilderRefusal> {
        let begun = Instant::now();
        let wanted = u64::try_from(self.options.replicas).unwrap_or(1);
        let mut pods_asked = begun;
        let mut told = Vec::new();
        loop {
            // An API server that does not answer once, as when it starts again, is asked again.
            let state = self.state().await;
            let (ready, failure) = match state {
                Ok(Some(state)) if state.ready >= wanted => return Ok(()),
                Ok(Some(state)) => (state.ready, state.failure),
                Ok(None) => return Err(BuilderRefusal::WorkloadGone(self.shown())),
                Err(error) if error.is_transient() && begun.elapsed() < self.options.timeout => {
                    (0, None)
                }
                Err(error) => return Err(error.into()),
            };
            let is_over = begun.elapsed() >= self.options.timeout;
            if is_over || pods_asked.elapsed() >= PODS_PAUSE {
                pods_asked = Instant::now();
                let mut reasons: Vec<String> = failure.into_iter().collect();
                reasons.extend(self.troubles().await);
                reasons.truncate(REASONS);
                if is_over {
                    return Err(BuilderRefusal::PodsUnready {
                        workload: self.shown(),
                        selector: self.objects.selector.clone(),
                        namespace: self.kubernetes.namespace().to_owned(),
                        ready,
                        wanted,
                        after: self.options.timeout,
                        reasons,
                    });
                }
                for reason in reasons {
                    if !told.contains(&reason) {
                        let notice = Diagnostic::information(
                            "builder::waiting",
                            format!("waiting for {reason}"),
                        );
                        events.send(EventKind::Notice(notice));
                        told.push(reason);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
