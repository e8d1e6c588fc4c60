//! Reads what the daemon's history has about a solve that has ended.

use bytes::Bytes;
use rbake_proto::control::{BuildHistoryRecord, BuildHistoryRequest, BuildResultInfo};
use tonic::{Code, Status};

use super::connection::{Connection, is_from_peer};
use super::id::BuildRef;
use super::image;
use crate::types::Digest;

/// The largest provenance that is read, in bytes. It may have the whole LLB of a build, and its Dockerfile.
const LIMIT: usize = 32 << 20;
/// The most events that are read of the history. One build has few.
const EVENTS: usize = 100;
/// The most platforms whose provenance is read.
const PLATFORMS: usize = 64;

const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const PROVENANCE: &str = "https://slsa.dev/provenance/";

/// The provenance that the daemon recorded of one platform of a build.
#[derive(Debug)]
pub(crate) struct RecordedProvenance {
    /// The platform. `None` if the build has no index.
    pub(crate) platform: Option<String>,
    /// The type of the predicate, such as `https://slsa.dev/provenance/v1`.
    pub(crate) predicate_type: String,
    /// The predicate as JSON.
    pub(crate) predicate: Bytes,
}

/// Why the history cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// A call failed.
    #[error("cannot read the history of the builder")]
    Call(#[source] Box<Status>),
    /// A content of the record is missing.
    #[error("the builder does not have the provenance `{0}`, or it is too large")]
    Content(Digest),
}

/// The provenance of the build `build_ref`, which has ended. Empty if the daemon has none, or keeps no history.
pub(super) async fn provenance(
    connection: &Connection,
    build_ref: &BuildRef,
) -> Result<Vec<RecordedProvenance>, HistoryError> {
    let call = |status: Status| HistoryError::Call(Box::new(status));
    let request = BuildHistoryRequest {
        r#ref: build_ref.to_string(),
        early_exit: true,
        ..BuildHistoryRequest::default()
    };
    let asked = connection.control().listen_build_history(request).await;
    let mut events = match asked {
        Ok(events) => events.into_inner(),
        Err(status) if has_none(&status) => return Ok(Vec::new()),
        Err(status) => return Err(call(status)),
    };
    let mut found = Vec::new();
    for _ in 0..EVENTS {
        let event = match events.message().await {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(status) if has_none(&status) => break,
            Err(status) => return Err(call(status)),
        };
        for (platform, predicate_type, digest) in event.record.iter().flat_map(attested) {
            let content = image::content(connection, &digest, LIMIT).await;
            found.push(RecordedProvenance {
                platform,
                predicate_type,
                predicate: content.ok_or(HistoryError::Content(digest))?,
            });
        }
    }
    Ok(found)
}

/// Whether `status` means that the daemon is too old to have a history.
fn has_none(status: &Status) -> bool {
    is_from_peer(status) && status.code() == Code::Unimplemented
}

/// The platform, type and digest of each provenance of a build.
fn attested(record: &BuildHistoryRecord) -> Vec<(Option<String>, String, Digest)> {
    let one = |platform: Option<String>, result: &BuildResultInfo| {
        let attestation = result.attestations.iter().find_map(|attestation| {
            let predicate = attestation.annotations.get(PREDICATE_TYPE)?;
            let is_it = attestation.media_type == MEDIA_TYPE && predicate.starts_with(PROVENANCE);
            Some((predicate.clone(), attestation.digest.parse().ok()?)).filter(|_| is_it)
        });
        attestation.map(|(predicate, digest)| (platform, predicate, digest))
    };
    if record.results.is_empty() {
        let result = record.result.iter();
        return result.filter_map(|result| one(None, result)).collect();
    }
    let results = record.results.iter().take(PLATFORMS);
    results
        .filter_map(|(platform, result)| one(Some(platform.clone()), result))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbake_proto::control::Descriptor;

    fn result(media_type: &str, predicate: &str, digest: &str) -> BuildResultInfo {
        let attestation = Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_owned(),
            annotations: [(PREDICATE_TYPE.to_owned(), predicate.to_owned())].into(),
            ..Descriptor::default()
        };
        BuildResultInfo {
            attestations: vec![attestation],
            ..BuildResultInfo::default()
        }
    }

    #[test]
    fn the_provenance_of_each_platform_is_found_and_nothing_else() {
        let slsa = "https://slsa.dev/provenance/v1";
        let digest = Digest::sha256(b"x").to_string();
        let record = BuildHistoryRecord {
            result: Some(result(MEDIA_TYPE, slsa, &digest)),
            ..BuildHistoryRecord::default()
        };
        let platforms = |record: &BuildHistoryRecord| -> Vec<Option<String>> {
            let found = attested(record);
            found.into_iter().map(|(platform, ..)| platform).collect()
        };
        assert_eq!(platforms(&record), [None]);
        let several = BuildHistoryRecord {
            results: [
                ("linux/amd64".to_owned(), result(MEDIA_TYPE, slsa, &digest)),
                (
                    "linux/arm64".to_owned(),
                    result(MEDIA_TYPE, "https://spdx.dev/Document", &digest),
                ),
                (
                    "linux/s390x".to_owned(),
                    result("text/plain", slsa, &digest),
                ),
                (
                    "linux/386".to_owned(),
                    result(MEDIA_TYPE, slsa, "../etc/passwd"),
                ),
            ]
            .into(),
            ..record
        };
        assert_eq!(platforms(&several), [Some("linux/amd64".to_owned())]);
    }
}
