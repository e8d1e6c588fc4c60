//! File systems that rbake itself describes to the daemon: a repository, a download, a directory of either, or a part of a
//! directory on this machine.
//!
//! Each operation is encoded as BuildKit's client encodes it (`client/llb`), so that the daemon knows it again if another
//! client has asked for it, and so that the provenance is the same. The field numbers are those of `solver/pb/ops.proto`.

pub(super) mod message;
mod read;

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

pub(crate) use read::ContextRead;

use message::{
    LlbSource, METADATA, MetadataEntry, NAME, OPERATIONS, OperationInput, OperationMetadata, put,
};
use read::{
    DIFFER, DIFFER_NONE, EXCLUDE_PATTERNS, FOLLOW_PATHS, LOCAL_SCHEME, SESSION, SHARED_KEY_HINT,
};

use super::id::SessionId;
use super::spec::LocalName;
use crate::types::Digest;
use crate::types::remote::GitReference;
use crate::types::secret::redact_url;

/// The name of a download in its file system, which the Dockerfile frontend gives it, too (`frontend/dockerui`).
pub(crate) const DOWNLOAD: &str = "context";

/// The usual name of a Dockerfile, which may also be written in lower case.
const DOCKERFILE: &str = "Dockerfile";

/// The secrets with which the daemon logs in to a host, as the client names them.
const AUTH_HEADER: &str = "GIT_AUTH_HEADER";
const AUTH_TOKEN: &str = "GIT_AUTH_TOKEN";
/// The SSH agent that the daemon uses for repositories.
const SSH_AGENT: &str = "default";

/// The index of an input that is empty.
const NOTHING: i64 = -1;

/// A file system, by the operations that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LlbTree {
    /// The encoded operations, inputs first. The last one makes the file system.
    operations: Vec<Bytes>,
    metadata: Vec<Bytes>,
    result: Digest,
}

impl LlbTree {
    /// The files of a repository, without `.git`. `address` is what the user wrote.
    pub(crate) fn git(git: &GitReference, address: &str) -> Self {
        let mut attrs = BTreeMap::new();
        let mut set = |key: &str, value: &str| {
            // BuildKit does not read a map that has an entry without a value, so there is none.
            if !value.is_empty() {
                attrs.insert(key.to_owned(), value.to_owned());
            }
        };
        set("git.fullurl", &git.remote);
        set("git.authtokensecret", AUTH_TOKEN);
        set("git.authheadersecret", AUTH_HEADER);
        if git.is_ssh {
            set("git.mountsshsock", SSH_AGENT);
        }
        set("git.checksum", &git.commit);
        if git.submodules == Some(false) {
            set("git.skipsubmodules", "true");
        }
        if git.keep_git_dir == Some(true) {
            set("git.keepgitdir", "true");
        }
        set("git.mtime", &git.times);
        if git.fetch_by_commit {
            set("git.fetchbycommit", "true");
        }
        let name = format!("[internal] load git source {}", redact_url(address));
        Self::source(git.identifier(), attrs, &name)
    }

    /// A download. Its only file is [`DOWNLOAD`].
    pub(crate) fn http(url: &str) -> Self {
        let attrs = BTreeMap::from([("http.filename".to_owned(), DOWNLOAD.to_owned())]);
        Self::source(
            url.to_owned(),
            attrs,
            "[internal] load remote build context",
        )
    }

    /// The part `read` of the main context, which the session `session` serves. The frontend describes it in the same way
    /// (`frontend/dockerui`, `MainContext`).
    pub(crate) fn context(read: &ContextRead, session: &SessionId) -> Self {
        let paths: Vec<&String> = read.paths.iter().flatten().collect();
        let lists = [
            (FOLLOW_PATHS, serde_json::json!(paths)),
            (EXCLUDE_PATTERNS, serde_json::json!(read.excludes)),
        ];
        let is_empty = |list: &serde_json::Value| list.as_array().is_none_or(Vec::is_empty);
        let lists = lists.into_iter().filter(|(_, list)| !is_empty(list));
        let attrs = lists.map(|(key, list)| (key.to_owned(), list.to_string()));
        let name = "[internal] load build context";
        Self::local(&LocalName::CONTEXT, session, attrs.collect(), name)
    }

    /// The Dockerfile `filename` and its ignore file, which the session `session` serves. The frontend describes it in the same
    /// way (`frontend/dockerui`, `ReadEntrypoint`).
    pub(crate) fn dockerfile(filename: &str, session: &SessionId) -> Self {
        let mut names = vec![filename.to_owned(), format!("{filename}.dockerignore")];
        let (directory, name) = filename.rsplit_once('/').unwrap_or(("", filename));
        if name == DOCKERFILE {
            let lower = name.to_lowercase();
            let is_root = directory.is_empty();
            names.push(if is_root {
                lower
            } else {
                format!("{directory}/{lower}")
            });
        }
        let attrs = BTreeMap::from([
            (
                FOLLOW_PATHS.to_owned(),
                serde_json::json!(names).to_string(),
            ),
            (DIFFER.to_owned(), DIFFER_NONE.to_owned()),
        ]);
        let name = format!("[internal] load build definition from {filename}");
        Self::local(&LocalName::DOCKERFILE, session, attrs, &name)
    }

    /// The directory `local`, which the session `session` serves.
    fn local(
        local: &LocalName,
        session: &SessionId,
        mut attrs: BTreeMap<String, String>,
        name: &str,
    ) -> Self {
        attrs.insert(SESSION.to_owned(), session.to_string());
        attrs.insert(SHARED_KEY_HINT.to_owned(), local.to_string());
        Self::source(format!("{LOCAL_SCHEME}{local}"), attrs, name)
    }

    fn source(identifier: String, attrs: BTreeMap<String, String>, name: &str) -> Self {
        let source = Kind {
            source: Some(LlbSource { identifier, attrs }),
            file: None,
        };
        let tree = Self {
            operations: Vec::new(),
            metadata: Vec::new(),
            result: Digest::sha256(&[]),
        };
        tree.followed_by(Vec::new(), &source, name)
    }

    /// What is in the directory `from`, an absolute and clean path. Its parents are not part of it.
    pub(crate) fn directory(self, from: &str, name: &str) -> Self {
        let contents = Copy {
            src: from.to_owned(),
            dir_copy_contents: true,
            ..Copy::to_root()
        };
        self.copied(contents, name)
    }

    /// What is in the archive `file`.
    pub(crate) fn unpacked(self, file: &str) -> Self {
        let unpacked = Copy {
            src: format!("/{file}"),
            attempt_unpack: true,
            ..Copy::to_root()
        };
        self.copied(unpacked, "[internal] unpack the archive")
    }

    fn copied(self, copy: Copy, name: &str) -> Self {
        let action = FileAction {
            input: NOTHING,
            secondary_input: 0,
            output: 0,
            copy: Some(copy),
        };
        let file = Kind {
            source: None,
            file: Some(FileOperation {
                actions: vec![action],
            }),
        };
        let inputs = vec![self.input()];
        self.followed_by(inputs, &file, name)
    }

    fn input(&self) -> OperationInput {
        OperationInput {
            digest: self.result.to_string(),
            index: 0,
        }
    }

    fn followed_by(mut self, inputs: Vec<OperationInput>, kind: &Kind, name: &str) -> Self {
        let constraints = Some(Constraints {});
        let operation = Operation {
            inputs,
            constraints,
        };
        // Go's encoder writes the kind last, although its number is lower than that of the constraints.
        let mut encoded = operation.encode_to_vec();
        encoded.extend(kind.encode_to_vec());
        let encoded = Bytes::from(encoded);
        self.result = Digest::sha256(&encoded);
        // BuildKit's client does not accept an input that has an operation without metadata (`client/llb`,
        // `NewDefinitionOp`).
        let description = BTreeMap::from([(NAME.to_owned(), name.to_owned())]);
        let entry = MetadataEntry {
            digest: self.result.to_string(),
            metadata: Some(OperationMetadata { description }),
        };
        self.metadata.push(entry.encode_to_vec().into());
        self.operations.push(encoded);
        self
    }

    /// The encoded definition, as it is sent to the daemon.
    pub(crate) fn definition(&self) -> Bytes {
        let result = Operation {
            inputs: vec![self.input()],
            constraints: None,
        };
        let mut definition = BytesMut::new();
        for operation in &self.operations {
            put(&mut definition, OPERATIONS, operation);
        }
        put(&mut definition, OPERATIONS, &result.encode_to_vec());
        for entry in &self.metadata {
            put(&mut definition, METADATA, entry);
        }
        definition.freeze()
    }
}

/// The first part of an operation (`Op`): what all kinds have.
#[derive(Clone, PartialEq, prost::Message)]
struct Operation {
    #[prost(message, repeated, tag = "1")]
    inputs: Vec<OperationInput>,
    /// The client always sends it, and it is part of the digest.
    #[prost(message, optional, tag = "11")]
    constraints: Option<Constraints>,
}

/// The second part of an operation: what it does.
#[derive(Clone, PartialEq, prost::Message)]
struct Kind {
    #[prost(message, optional, tag = "3")]
    source: Option<LlbSource>,
    #[prost(message, optional, tag = "4")]
    file: Option<FileOperation>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Constraints {}

#[derive(Clone, PartialEq, prost::Message)]
struct FileOperation {
    #[prost(message, repeated, tag = "2")]
    actions: Vec<FileAction>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FileAction {
    #[prost(int64, tag = "1")]
    input: i64,
    #[prost(int64, tag = "2")]
    secondary_input: i64,
    #[prost(int64, tag = "3")]
    output: i64,
    #[prost(message, optional, tag = "4")]
    copy: Option<Copy>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Copy {
    #[prost(string, tag = "1")]
    src: String,
    #[prost(string, tag = "2")]
    dest: String,
    #[prost(int32, tag = "4")]
    mode: i32,
    #[prost(bool, tag = "6")]
    dir_copy_contents: bool,
    #[prost(bool, tag = "7")]
    attempt_unpack: bool,
    #[prost(int64, tag = "11")]
    timestamp: i64,
}

impl Copy {
    /// A copy of nothing to the root, which changes neither modes nor times.
    fn to_root() -> Self {
        Self {
            dest: "/".to_owned(),
            mode: -1,
            timestamp: -1,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(address: &str) -> LlbTree {
        LlbTree::git(&GitReference::parse(address).unwrap().unwrap(), address)
    }

    // The digests are those of the same file systems in BuildKit's client v0.32.2.
    #[test]
    fn operations_have_the_digests_of_buildkits_client() {
        let source = git("https://example.com/r.git#main:sub");
        assert_eq!(
            source.result.to_string(),
            "sha256:13511328eba70acaa344b79327741740cd5a576d4187b52519295c0af5f8cbd4"
        );
        let directory = source.directory("/app", "set context to app");
        assert_eq!(
            directory.result.to_string(),
            "sha256:eb0c03f1bf8d5e7a7558181904d5e9a68b87f061d293d99b887bfa6f7889531e"
        );
        let query =
            "tag=v1&submodules=0&mtime=commit&commit=0123456789012345678901234567890123456789";
        assert_eq!(
            git(&format!("https://h/r.git?{query}")).result.to_string(),
            "sha256:d07f46b6dd8e050a4e6f21d1c3ec12ada747275c60375171e7b486f860b4b0c5"
        );
        let archive = LlbTree::http("https://h/a.tar.gz").unpacked(DOWNLOAD);
        assert_eq!(
            archive.result.to_string(),
            "sha256:71e81cbf068ba6898a680c66e7b9ff3be5fdb8d2f70d92b26b72b57f4b4c4d5e"
        );
    }

    #[test]
    fn a_definition_names_its_result_after_all_operations() {
        let tree = git("https://h/r.git").directory("/a", "the name");
        let definition = tree.definition();
        let mut begin = BytesMut::new();
        for operation in &tree.operations {
            put(&mut begin, OPERATIONS, operation);
        }
        assert_eq!(tree.operations.len(), 2);
        assert!(definition.starts_with(&begin));
        let result = [b"\x0a\x4b\x0a\x49\x0a\x47", tree.result.as_str().as_bytes()].concat();
        assert!(definition[begin.len()..].starts_with(&result));
    }
}
