//! Names for what a target reads of a directory, predicted from its Dockerfile.

use sha2::{Digest as _, Sha256};

use crate::plan::PlannedTarget;
use crate::run::locate::DockerfilePlace;
use crate::run::sources::{self, Sources};

/// Makes the group name of what a target reads from a directory. Equal names mean equal filters.
pub(super) struct ReadFilter<'a> {
    pub(super) target: &'a PlannedTarget,
    pub(super) text: Option<&'a str>,
}

impl ReadFilter<'_> {
    /// Names the filter of the main context: the paths that the target's stage reads, and the ignore file. If the
    /// paths are unknown, the group is only for this target.
    pub(super) fn of_context(&self, ignore_file: String) -> String {
        let mut parts = self.paths(sources::of_stage);
        parts.push(ignore_file);
        hashed(&parts)
    }

    /// Names the filter of the context `name`, whose ignore file is in its own directory.
    pub(super) fn of_named(&self, name: &str) -> String {
        let mut parts = self.paths(|text, stage| sources::of_named(text, stage, name));
        parts.push(name.to_owned());
        hashed(&parts)
    }

    fn paths(&self, predict: impl Fn(&str, Option<&str>) -> Sources) -> Vec<String> {
        let stage = self.target.attributes.stage.as_ref();
        let stage = stage.map(|stage| stage.value.as_ref());
        match self
            .text
            .map_or(Sources::Unknown, |text| predict(text, stage))
        {
            Sources::Paths(paths) => paths.into_iter().collect(),
            Sources::Unknown => vec![self.target.name.to_string()],
        }
    }
}

/// Returns the path of the Dockerfile's own ignore file, or an empty text if there is none. It replaces the
/// context's ignore file, so it makes another filter.
pub(super) async fn ignore_file(dockerfile: &DockerfilePlace) -> String {
    match dockerfile {
        DockerfilePlace::File { dir, filename } => {
            let own = dir.join(format!("{filename}.dockerignore"));
            if tokio::fs::try_exists(&own).await.unwrap_or(false) {
                own.to_string_lossy().into_owned()
            } else {
                String::new()
            }
        }
        DockerfilePlace::Inline(_)
        | DockerfilePlace::InContext(_)
        | DockerfilePlace::Url { .. } => String::new(),
    }
}

/// Returns a short hash of `parts`. Each part is hashed with its length, so that different lists cannot give the
/// same bytes.
pub(super) fn hashed(parts: &[String]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}
