//! One prune per repository at a time.
//!
//! A registry cannot set a tag only if it does not exist. So a prune
//!
//! 1. writes its lease, an artifact with a tag of its own;
//! 2. lists the leases of others, and begins only if there are none: of two prunes, the one that writes later finds the
//!    lease of the other, unless that has given up;
//! 3. if there are others, gives up, or waits a moment if all of them began later, because they give up then;
//! 4. renews the lease while it works, and removes it at the end.
//!
//! A lease ends after [`LIFE`], so that one of a prune that was killed does not block the repository for ever. The clocks
//! of two machines may differ by [`SKEW`]. A prune that stands still for longer than that may find that another one has
//! begun; it looks at its own clock before each step, and stops.

use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Deleter, PruneError};
use crate::publish::compare::CREATED;
use crate::publish::journal::RunId;
use crate::publish::journal::artifact::{EMPTY_BLOB, EMPTY_DIGEST};
use crate::registry::{RawManifest, RegistryError, RegistryFault, RemoteRepository, TagOrDigest};
pub(super) use crate::types::own_tags::PRUNE_PREFIX as TAG_PREFIX;
use crate::types::{Clock, Digest, ImageTag};

/// The type of the artifact.
const ARTIFACT_TYPE: &str = "application/vnd.rbake.lease.v1+json";
/// The annotation that holds the lease.
const ANNOTATION: &str = "vnd.rbake.lease";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// How long a lease is valid after it was written.
const LIFE: SignedDuration = SignedDuration::from_mins(5);
/// A lease is written again when it has less than this left.
const RENEWAL: SignedDuration = SignedDuration::from_mins(4);
/// The most by which the clocks of two machines are assumed to differ.
const SKEW: SignedDuration = SignedDuration::from_mins(2);
/// A prune does nothing in the last minute of its lease: a request may take so long.
const RESERVE: SignedDuration = SignedDuration::from_mins(1);
/// How long a prune waits for later ones to give up.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);

/// A lease as it is in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundLease {
    /// The prune.
    pub(super) run: RunId,
    /// Its end, by the clock of the machine of the prune.
    pub(super) until: Timestamp,
    /// The manifest.
    pub(super) digest: Digest,
}

#[derive(Deserialize, Serialize)]
struct LeaseText {
    run: String,
    until: String,
}

impl FoundLease {
    /// Reads a lease. `None` if the manifest is something else.
    pub(super) fn of(manifest: &RawManifest) -> Option<Self> {
        let value: Value = serde_json::from_slice(manifest.bytes()).ok()?;
        if value.get("artifactType")?.as_str()? != ARTIFACT_TYPE {
            return None;
        }
        let text = value.get("annotations")?.get(ANNOTATION)?.as_str()?;
        let text: LeaseText = serde_json::from_str(text).ok()?;
        Some(Self {
            run: text.run.parse().ok()?,
            until: text.until.parse().ok()?,
            digest: manifest.digest().clone(),
        })
    }

    /// Whether its prune may still work.
    fn is_valid(&self, now: Timestamp) -> bool {
        self.until.checked_add(SKEW).is_ok_and(|end| now < end)
    }
}

/// The run whose lease has this tag. `None` if the tag is of something else.
pub(super) fn run_of(tag: &ImageTag) -> Option<RunId> {
    tag.as_str().strip_prefix(TAG_PREFIX)?.parse().ok()
}

/// The lease with this tag. `None` if it does not exist, or is something else.
pub(super) async fn read(
    repository: &RemoteRepository,
    tag: &ImageTag,
) -> Result<Option<FoundLease>, RegistryError> {
    let Some(run) = run_of(tag) else {
        return Ok(None);
    };
    let manifest = repository.get(&TagOrDigest::Tag(tag.clone())).await?;
    let lease = manifest.as_ref().and_then(FoundLease::of);
    Ok(lease.filter(|lease| lease.run == run))
}

/// The right to delete from a repository.
#[derive(Debug)]
pub(super) struct PruneLease {
    repository: RemoteRepository,
    deleter: Deleter,
    clock: Clock,
    run: RunId,
    tag: ImageTag,
    until: Timestamp,
    digest: Digest,
    /// Leases of prunes that have ended without removing them.
    old: Vec<FoundLease>,
}

impl PruneLease {
    /// Takes the repository for `run`. `is_dead` tells whether a prune was killed on this machine.
    ///
    /// # Errors
    /// Another prune has it.
    pub(super) async fn take(
        deleter: &Deleter,
        run: &RunId,
        clock: &Clock,
        is_dead: impl Fn(&RunId) -> bool,
    ) -> Result<Self, PruneError> {
        let repository = deleter.repository();
        let tag: ImageTag = format!("{TAG_PREFIX}{run}")
            .parse()
            .map_err(|_| PruneError::LeaseLost)?;
        let (until, digest) = write(repository, run, &tag, clock).await?;
        let mut lease = Self {
            repository: repository.clone(),
            deleter: deleter.clone(),
            clock: clock.clone(),
            run: run.clone(),
            tag,
            until,
            digest,
            old: Vec::new(),
        };
        match lease.wait_for_others(is_dead).await {
            Ok(()) => Ok(lease),
            Err(error) => {
                lease.release().await;
                Err(error)
            }
        }
    }

    async fn wait_for_others(
        &mut self,
        is_dead: impl Fn(&RunId) -> bool,
    ) -> Result<(), PruneError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = now(&self.clock);
            let found = self.others().await?;
            let (valid, old): (Vec<_>, Vec<_>) = found
                .into_iter()
                .partition(|lease| lease.is_valid(now) && !is_dead(&lease.run));
            self.old = old;
            let Some(first) = valid.into_iter().min_by(|a, b| a.run.cmp(&b.run)) else {
                return Ok(());
            };
            if first.run < self.run || Instant::now() >= end {
                return Err(PruneError::Leased {
                    run: first.run,
                    until: first.until,
                });
            }
            sleep(PAUSE).await;
        }
    }

    async fn others(&self) -> Result<Vec<FoundLease>, PruneError> {
        let tags = self
            .repository
            .tags_with_prefix(TAG_PREFIX, TAG_PREFIX)
            .await?
            .unwrap_or_default();
        let others = tags.iter().filter(|tag| **tag != self.tag);
        let reads = others.map(|tag| read(&self.repository, tag));
        let found = try_join_all(reads).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Checks that the lease is still valid, and renews it if it ends soon.
    ///
    /// # Errors
    /// It has ended, or cannot be renewed.
    pub(super) async fn keep(&mut self) -> Result<(), PruneError> {
        let left = self.until.duration_since(now(&self.clock));
        if left < RESERVE {
            return Err(PruneError::LeaseLost);
        }
        if left >= RENEWAL {
            return Ok(());
        }
        // If it is gone, somebody has removed it by hand, and another prune may have begun.
        let current = read(&self.repository, &self.tag).await?;
        if current.is_none_or(|current| current.digest != self.digest) {
            return Err(PruneError::LeaseLost);
        }
        let (until, digest) = match write(&self.repository, &self.run, &self.tag, &self.clock).await
        {
            Ok(written) => written,
            Err(PruneError::Registry(error)) if is_refusal(&error.fault) => {
                tracing::debug!(%error, "the tag of the lease does not move");
                return self.replace().await;
            }
            Err(error) => return Err(error),
        };
        let before = std::mem::replace(&mut self.digest, digest);
        self.until = until;
        // The tag has left it.
        self.remove_manifest(&before).await;
        Ok(())
    }

    /// Removes the lease and writes a new one, in a registry whose tags do not move. Between the two, another prune may
    /// begin; then this one ends.
    async fn replace(&mut self) -> Result<(), PruneError> {
        self.deleter.delete_tagged(&self.tag, &self.digest).await?;
        let (until, digest) = write(&self.repository, &self.run, &self.tag, &self.clock).await?;
        (self.until, self.digest) = (until, digest);
        let now = now(&self.clock);
        let is_old = |lease: &FoundLease| self.old.iter().any(|old| old.run == lease.run);
        let others = self.others().await?;
        if others
            .iter()
            .any(|lease| lease.is_valid(now) && !is_old(lease))
        {
            return Err(PruneError::LeaseLost);
        }
        Ok(())
    }

    /// Removes the lease, and those of prunes that were killed.
    pub(super) async fn release(self) {
        for old in &self.old {
            if let Ok(tag) = format!("{TAG_PREFIX}{}", old.run).parse() {
                self.remove(&tag, &old.digest).await;
            }
        }
        self.remove(&self.tag, &self.digest).await;
    }

    /// Deletes a lease with its tag. Each lease is a manifest that nothing else has. If that fails, it ends by itself.
    async fn remove(&self, tag: &ImageTag, digest: &Digest) {
        if let Err(error) = self.deleter.delete_tagged(tag, digest).await {
            tracing::warn!(%digest, %error, "a lease stays until it ends");
        }
    }

    async fn remove_manifest(&self, digest: &Digest) {
        if let Err(error) = self.deleter.delete(digest).await {
            tracing::warn!(%digest, %error, "an old version of the lease stays");
        }
    }
}

/// Whether the registry does not want a manifest under this tag.
const fn is_refusal(fault: &RegistryFault) -> bool {
    matches!(
        fault,
        RegistryFault::Denied { .. }
            | RegistryFault::Refused {
                status: 400..=499,
                ..
            }
    )
}

fn now(clock: &Clock) -> Timestamp {
    Timestamp::try_from(clock.now()).unwrap_or(Timestamp::MAX)
}

/// Writes the lease. Returns its end and its digest.
async fn write(
    repository: &RemoteRepository,
    run: &RunId,
    tag: &ImageTag,
    clock: &Clock,
) -> Result<(Timestamp, Digest), PruneError> {
    let now = now(clock);
    let until = now.checked_add(LIFE).unwrap_or(Timestamp::MAX);
    let text = LeaseText {
        run: run.to_string(),
        until: until.to_string(),
    };
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": EMPTY_DIGEST,
        "size": EMPTY_BLOB.len(),
        "data": "e30=",
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": empty,
        "layers": [empty],
        "annotations": {
            CREATED: now.to_string(),
            ANNOTATION: json!(text).to_string(),
        },
    });
    let manifest = RawManifest::new(MANIFEST_TYPE, manifest.to_string().into());
    let manifest = manifest.map_err(PruneError::Lease)?;
    let name = TagOrDigest::Tag(tag.clone());
    repository.put_artifact(&name, &manifest).await?;
    Ok((until, manifest.digest().clone()))
}

#[cfg(test)]
mod tests;
