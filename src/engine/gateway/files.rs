//! The file systems that a job has made, or that the step that failed has left, for as long as the job exists.
//!
//! BuildKit's gateway reads files of a result (`ReadFile`, `ReadDir`). It also keeps what the mounts of a failed step had
//! at the end (`solver/llbsolver/errdefs.ExecError`): the error of the gateway's `Solve` names them in a detail
//! `errdefs.Solve`, and a container whose file system is such a mount can be read without running a process in it
//! (`gateway.exec.filesystem`). Older daemons, such as v0.25, can only run a program of the image in it.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message as _;
use rbake_proto::apicaps::ApiCap;
use rbake_proto::gateway::result::Result as Refs;
use rbake_proto::gateway::{
    FileRange, NewContainerRequest, ReadDirRequest, ReadFileRequest, Ref, ReleaseContainerRequest,
};
use rbake_proto::{pb, rpc};
use serde::Deserialize;
use tonic::Status;

use super::{FrontendResult, Gateway};
use crate::context::stat::mode;
use crate::engine::failure;

/// The capability to read the files of a container.
const READS_CONTAINERS: &str = "gateway.exec.filesystem";
/// The name of the error's detail that names the mounts of the failed step.
const SOLVE_DETAIL: &str = "errdefs.Solve";
/// The mount of a step that is its root file system.
const ROOT: &str = "/";

/// Reads files, after the frontend has answered and before the job ends. It is not called if no step ran.
pub(crate) type ReadHook =
    Box<dyn FnOnce(Result<Vec<JobFiles>, FilesUnreachable>) -> BoxFuture<'static, ()> + Send>;

/// Why the files of a failed step cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesUnreachable {
    /// The daemon does not have the capability.
    #[error("the builder is too old to let them be read")]
    TooOld,
    /// The daemon refuses.
    #[error("the builder does not let them be read: {}", failure::clean(.0.message()))]
    Refused(#[source] Status),
}

/// A file system of a job.
#[derive(Clone)]
pub(crate) struct JobFiles {
    gateway: Gateway,
    place: FilesPlace,
    platform: Option<String>,
}

#[derive(Clone)]
enum FilesPlace {
    /// The id of a result.
    Result(String),
    /// The id of a container.
    Container(String),
}

/// An entry of a directory. Everything in it comes from the build, and is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobEntry {
    /// The name, which may be anything.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: JobEntryKind,
    /// The size in bytes that the daemon reports.
    pub(crate) size: u64,
}

/// What an entry is, without following a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobEntryKind {
    File,
    Directory,
    /// A link, a pipe or a device.
    Other,
}

impl JobFiles {
    /// The key of the platform, if the result has several.
    pub(crate) fn platform(&self) -> Option<&str> {
        self.platform.as_deref()
    }

    /// The entries of a directory. Links in `path` are followed inside the file system.
    pub(crate) async fn list(&mut self, path: &str) -> Result<Vec<JobEntry>, Status> {
        let request = |id: &str| ReadDirRequest {
            r#ref: id.to_owned(),
            dir_path: path.to_owned(),
            ..ReadDirRequest::default()
        };
        let gateway = &mut self.gateway;
        let answer = match &self.place {
            FilesPlace::Result(id) => {
                let request = gateway.request(request(id));
                gateway.client.read_dir(request).await
            }
            FilesPlace::Container(id) => {
                let request = gateway.request(request(id));
                gateway.client.read_dir_container(request).await
            }
        };
        let entries = answer?.into_inner().entries.into_iter();
        let entries = entries.map(|stat| JobEntry {
            name: stat.path.to_vec(),
            kind: match stat.mode & mode::KIND {
                0 => JobEntryKind::File,
                mode::DIR => JobEntryKind::Directory,
                _ => JobEntryKind::Other,
            },
            size: u64::try_from(stat.size).unwrap_or(0),
        });
        Ok(entries.collect())
    }

    /// The content of a file, which must fit into a message.
    pub(crate) async fn read(&mut self, path: &str) -> Result<Bytes, Status> {
        self.read_range(path, None).await
    }

    /// At most `length` bytes of a file, from `offset` on. Empty after its end.
    pub(crate) async fn read_part(
        &mut self,
        path: &str,
        offset: u64,
        length: u32,
    ) -> Result<Bytes, Status> {
        let range = FileRange {
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            length: length.into(),
        };
        self.read_range(path, Some(range)).await
    }

    async fn read_range(&mut self, path: &str, range: Option<FileRange>) -> Result<Bytes, Status> {
        let request = |id: &str| ReadFileRequest {
            r#ref: id.to_owned(),
            file_path: path.to_owned(),
            range,
            ..ReadFileRequest::default()
        };
        let gateway = &mut self.gateway;
        let answer = match &self.place {
            FilesPlace::Result(id) => {
                let request = gateway.request(request(id));
                gateway.client.read_file(request).await
            }
            FilesPlace::Container(id) => {
                let request = gateway.request(request(id));
                gateway.client.read_file_container(request).await
            }
        };
        Ok(answer?.into_inner().data)
    }

    /// Those of a result. An empty ref has no files.
    pub(in crate::engine) fn of_result(gateway: &Gateway, result: &FrontendResult) -> Vec<Self> {
        let files = |platform: Option<&String>, id: &str| {
            (!id.is_empty()).then(|| Self {
                gateway: gateway.clone(),
                place: FilesPlace::Result(id.to_owned()),
                platform: platform.cloned(),
            })
        };
        match &result.0.result {
            Some(Refs::Ref(one)) => files(None, &one.id).into_iter().collect(),
            Some(Refs::Refs(all)) => {
                let refs = all.refs.iter();
                let refs = refs.filter_map(|(platform, encoded)| {
                    let one = Ref::decode(encoded.clone()).ok()?;
                    files(Some(platform), &one.id)
                });
                refs.collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The root file system that a failed step has left, and the container that shows it.
pub(super) struct FailedStep {
    /// The file system.
    pub(super) files: JobFiles,
    container: String,
}

impl FailedStep {
    /// Finds what is left of the step that failed with `status`. `None` if no step failed.
    pub(super) async fn find(
        gateway: &Gateway,
        capabilities: &[ApiCap],
        status: &Status,
    ) -> Option<Result<Self, FilesUnreachable>> {
        let mounts = root_mounts(status);
        if mounts.is_empty() {
            return None;
        }
        let can = |cap: &ApiCap| cap.enabled && cap.id == READS_CONTAINERS;
        if !capabilities.iter().any(can) {
            return Some(Err(FilesUnreachable::TooOld));
        }
        let mut gateway = gateway.clone();
        let mut refused = None;
        // If the error passed through several frontends, only one of the ids is that of this job.
        for (number, mount) in mounts.into_iter().enumerate() {
            let container = format!("rbake-files-{number}");
            let request = gateway.request(NewContainerRequest {
                container_id: container.clone(),
                mounts: vec![pb::Mount {
                    dest: ROOT.to_owned(),
                    readonly: true,
                    result_id: mount,
                }],
            });
            match gateway.client.new_container(request).await {
                Ok(_) => {
                    let files = JobFiles {
                        gateway,
                        place: FilesPlace::Container(container.clone()),
                        platform: None,
                    };
                    return Some(Ok(Self { files, container }));
                }
                Err(status) => refused = Some(status),
            }
        }
        refused.map(|status| Err(FilesUnreachable::Refused(status)))
    }

    /// Removes the container. The daemon also does that when the job ends.
    pub(super) async fn release(self) {
        let mut gateway = self.files.gateway;
        let request = gateway.request(ReleaseContainerRequest {
            container_id: self.container,
        });
        if let Err(status) = gateway.client.release_container(request).await {
            tracing::debug!(code = ?status.code(), "the container is not released");
        }
    }
}

/// The most details of an error that are looked at.
const DETAIL_LIMIT: usize = 64;
/// The most mounts that are tried.
const MOUNT_LIMIT: usize = 4;

/// The part of `errdefs.Solve` that is needed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SolveDetail {
    #[serde(rename = "mountIDs")]
    mounts: Vec<String>,
    op: StepOp,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StepOp {
    exec: StepExec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StepExec {
    mounts: Vec<StepMount>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StepMount {
    dest: String,
}

/// The ids of the root file systems that the details of `status` name.
fn root_mounts(status: &Status) -> Vec<String> {
    let details = rpc::Status::decode(status.details());
    let details = details.map(|status| status.details).unwrap_or_default();
    let details = details.iter().take(DETAIL_LIMIT);
    let of_steps = details.filter(|detail| {
        let url = detail.type_url.as_str();
        url.strip_suffix("+json")
            .unwrap_or(url)
            .ends_with(SOLVE_DETAIL)
    });
    let mounts = of_steps.filter_map(|detail| {
        let detail: SolveDetail = serde_json::from_slice(&detail.value).ok()?;
        let mut mounts = detail.op.exec.mounts.iter();
        let root = mounts.position(|mount| mount.dest == ROOT)?;
        let id = detail.mounts.into_iter().nth(root)?;
        (!id.is_empty()).then_some(id)
    });
    mounts.take(MOUNT_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Any;
    use tonic::Code;

    fn status(details: &[(&str, &str)]) -> Status {
        let details = details.iter().map(|(name, value)| Any {
            type_url: format!("github.com/moby/buildkit/{name}"),
            value: value.as_bytes().to_vec(),
        });
        let status = rpc::Status {
            details: details.collect(),
            ..rpc::Status::default()
        };
        Status::with_details(Code::Unknown, "failed", status.encode_to_vec().into())
    }

    #[test]
    fn the_root_file_system_of_the_failed_step_is_found() {
        let detail = r#"{"inputIDs":["i"],"mountIDs":["cache","root"],"op":{"inputs":[{"digest":"sha256:1"}],"exec":{"meta":{"args":["x"]},"mounts":[{"dest":"/c"},{"dest":"/"}]}}}"#;
        let vertex = ("errdefs.Vertex+json", r#"{"digest":"sha256:1"}"#);
        let found = root_mounts(&status(&[vertex, ("errdefs.Solve+json", detail)]));
        assert_eq!(found, ["root"]);
    }

    #[test]
    fn errors_without_a_step_have_no_file_system() {
        for detail in [
            "{}",
            "{",
            r#"{"mountIDs":[]}"#,
            r#"{"mountIDs":["x"],"op":{"file":{}}}"#,
            r#"{"mountIDs":[""],"op":{"exec":{"mounts":[{"dest":"/"}]}}}"#,
            r#"{"mountIDs":["x"],"op":{"exec":{"mounts":[{"dest":"/a"}]}}}"#,
        ] {
            let found = root_mounts(&status(&[("errdefs.Solve+json", detail)]));
            assert!(found.is_empty(), "{detail}");
        }
        assert!(root_mounts(&Status::unknown("x")).is_empty());
    }
}
