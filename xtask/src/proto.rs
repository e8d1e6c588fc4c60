//! `cargo xtask proto`: generates `proto/src/generated` from our `.proto` files, or checks that it is up to date.
//!
//! Users build the committed sources and do not need a protobuf compiler for them. Start at [`run`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What to do with the generated sources.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub(crate) enum Task {
    /// Write them.
    Update,
    /// Fail if they are out of date.
    Check,
}

/// Why the generated sources could not be made or are stale.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot compile the messages of `{}`", dir.display())]
    Compile {
        dir: PathBuf,
        #[source]
        source: protox::Error,
    },
    #[error("cannot read or write `{}`", path.display())]
    Files {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("generated sources are stale: {}; run `cargo xtask proto update`", .0.join(", "))]
    Stale(Vec<String>),
}

/// Runs `task` on the workspace at `root`.
pub(crate) fn run(task: Task, root: &Path) -> Result<(), Error> {
    let committed = root.join("proto/src/generated");
    let fresh = generate(&root.join("proto/proto"))?;
    match task {
        Task::Update => write(&committed, &fresh),
        Task::Check => compare(&read(&committed)?, &fresh),
    }
}

// Messages with secrets or tokens, or with attributes of cache backends, which may contain tokens.
const UNPRINTABLE: [&str; 8] = [
    ".moby.buildkit.secrets.v1.GetSecretResponse",
    ".moby.filesync.v1.CredentialsResponse",
    ".moby.filesync.v1.FetchTokenResponse",
    ".moby.buildkit.v1.SolveRequest",
    ".moby.buildkit.v1.CacheOptions",
    ".moby.buildkit.v1.CacheOptionsEntry",
    ".moby.buildkit.v1.frontend.SolveRequest",
    ".moby.buildkit.v1.frontend.CacheOptionsEntry",
];

/// Contents by file name.
type Sources = BTreeMap<String, String>;

fn files(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Files { path, source }
}

fn generate(dir: &Path) -> Result<Sources, Error> {
    let protos: Vec<String> = read_names(dir)?
        .into_iter()
        .filter(|name| Path::new(name).extension().is_some_and(|e| e == "proto"))
        .collect();
    let descriptors = protox::compile(&protos, [dir]).map_err(|source| Error::Compile {
        dir: dir.to_owned(),
        source,
    })?;
    let out = tempfile::tempdir().map_err(files(dir))?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        .codec_path("crate::codec::MessageCodec")
        // Maps keep one order, so that equal messages have equal bytes; data is shared, not copied.
        .btree_map(".")
        .bytes(".")
        // Messages that may hold credentials cannot be printed.
        .skip_debug(UNPRINTABLE)
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .map_err(files(out.path()))?;
    tonic_prost_build::manual::Builder::new()
        .out_dir(out.path())
        .compile(&[file_send()]);
    read(out.path())
}

// Exporters of type `local` send packets through this method, all others pieces of bytes, so the messages stay encoded here.
fn file_send() -> tonic_prost_build::manual::Service {
    use tonic_prost_build::manual::{Method, Service};
    Service::builder()
        .name("FileSend")
        .package("moby.filesync.v1")
        .comment("Offered by the client: takes what exporters send.")
        .method(
            Method::builder()
                .name("diff_copy")
                .route_name("DiffCopy")
                .input_type("bytes::Bytes")
                .output_type("bytes::Bytes")
                .codec_path("crate::codec::RawCodec")
                .client_streaming()
                .server_streaming()
                .build(),
        )
        .build()
}

fn read_names(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(files(dir))? {
        let name = entry.map_err(files(dir))?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

fn read(dir: &Path) -> Result<Sources, Error> {
    read_names(dir)?
        .into_iter()
        .map(|name| {
            let path = dir.join(&name);
            let text = std::fs::read_to_string(&path).map_err(files(&path))?;
            Ok((name, text))
        })
        .collect()
}

fn write(dir: &Path, fresh: &Sources) -> Result<(), Error> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(files(dir))?;
    }
    std::fs::create_dir_all(dir).map_err(files(dir))?;
    for (name, text) in fresh {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(files(&path))?;
    }
    Ok(())
}

fn compare(committed: &Sources, fresh: &Sources) -> Result<(), Error> {
    let stale: Vec<String> = committed
        .keys()
        .chain(fresh.keys())
        .filter(|name| committed.get(*name) != fresh.get(*name))
        .map(|name| format!("`{name}`"))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    if stale.is_empty() {
        Ok(())
    } else {
        Err(Error::Stale(stale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_sources_are_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        if let Err(error) = run(Task::Check, &root) {
            panic!("{error}");
        }
    }

    #[test]
    fn a_changed_and_a_missing_file_are_stale() {
        let one = Sources::from([("a.rs".into(), "1".into())]);
        let two = Sources::from([("a.rs".into(), "2".into()), ("b.rs".into(), String::new())]);
        match compare(&one, &two) {
            Err(Error::Stale(names)) => assert_eq!(names, ["`a.rs`", "`b.rs`"]),
            other => panic!("{other:?}"),
        }
    }
}
