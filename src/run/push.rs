//! Lets a Docker Engine push images itself. Needed for engines with the classic image store, whose BuildKit cannot
//! push.

use tracing::Instrument as _;

use super::shared_context::SharedContext;
use crate::engine::docker::DockerError;
use crate::event::{EventKind, LocalWork};
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::types::causes::in_one_line;
use crate::types::{Digest, Reference, TargetName};

const DIGEST: &str = "containerimage.digest";
const CONFIG_DIGEST: &str = "containerimage.config.digest";

/// Pushes the image of `target` under `names`. Afterwards, `solved` has the digest of the image in the registry;
/// before, it has only the digest of the image's configuration, because that is all the Engine's builder knows.
pub(super) async fn push(
    target: &TargetName,
    names: &[Reference],
    shared: &SharedContext,
    solved: &mut Solved,
) -> Result<(), SolveFailure> {
    let mut remote = None;
    for reference in names {
        let digest = push_shown(target, reference, shared).await?;
        remote = remote.or(digest);
    }
    if let Some(digest) = remote {
        name(solved, &digest);
    }
    Ok(())
}

/// Makes `solved` name the image in the registry. Before, it names the configuration.
pub(super) fn name(solved: &mut Solved, digest: &Digest) {
    let response = &mut solved.response;
    let image = response.insert(DIGEST.to_owned(), digest.to_string());
    if let Some(image) = image {
        let config = response.entry(CONFIG_DIGEST.to_owned());
        config.or_insert(image);
    }
}

/// Pushes one name of `target`, and shows that. Returns the digest in the registry, if the Engine reports it.
pub(super) async fn push_shown(
    target: &TargetName,
    name: &Reference,
    shared: &SharedContext,
) -> Result<Option<Digest>, SolveFailure> {
    let tell = |done: bool, error: Option<String>| {
        shared.events.send(EventKind::Local(LocalWork {
            id: format!("push-{target}-{name}"),
            target: Some(target.clone()),
            name: format!("push {} with Docker", name.familiar()),
            current: 0,
            total: None,
            done,
            error,
        }));
    };
    tell(false, None);
    let span = tracing::info_span!("publish", image = %name.familiar());
    span.in_scope(|| tracing::debug!("push begins"));
    let pushed = push_one(name, shared).instrument(span.clone()).await;
    span.in_scope(|| match &pushed {
        Ok(digest) => {
            let digest = digest.as_ref().map(tracing::field::display);
            tracing::debug!(digest, "push ended");
        }
        Err(failure) => tracing::warn!(kind = ?failure.kind, "push failed"),
    });
    tell(
        true,
        pushed.as_ref().err().map(|failure| failure.message.clone()),
    );
    pushed
}

/// Pushes one name. Returns the digest in the registry, if the Engine reports it.
async fn push_one(
    name: &Reference,
    shared: &SharedContext,
) -> Result<Option<Digest>, SolveFailure> {
    let scopes = [format!("repository:{}:pull,push", name.path())];
    let credential = shared
        .credentials
        .credential(name.domain(), &scopes, &[])
        .await;
    let credential = credential.map_err(|error| {
        let message = in_one_line(&error);
        SolveFailure::new(FailureKind::Build, message)
    })?;
    let unreachable =
        |error: &DockerError| SolveFailure::new(FailureKind::Engine, in_one_line(error));
    let docker = match shared.docker.builder().await {
        Some(Ok(docker)) => docker,
        Some(Err(error)) => return Err(unreachable(&error)),
        None => {
            let message = "no Docker Engine builds, and so none can push";
            return Err(SolveFailure::new(FailureKind::Build, message));
        }
    };
    match docker.push(name, &credential).await {
        Ok(digest) => Ok(digest),
        Err(error @ DockerError::Push { .. }) => {
            Err(SolveFailure::new(FailureKind::Build, error.to_string()))
        }
        Err(error) => Err(unreachable(&error)),
    }
}
