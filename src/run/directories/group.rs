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
        let arguments = |name: &str| self.target.argument(name);
        let predict = |text: &str, stage: Option<&str>| sources::of_stage(text, stage, &arguments);
        let mut parts = self.paths(predict);
        parts.push(ignore_file);
        hashed(&parts)
    }

    /// Names the filter of the context `name`, whose ignore file is in its own directory.
    pub(super) fn of_named(&self, name: &str) -> String {
        let arguments = |name: &str| self.target.argument(name);
        let mut parts = self.paths(|text, stage| sources::of_named(text, stage, &arguments, name));
        parts.push(name.to_owned());
        hashed(&parts)
    }

    fn paths(&self, predict: impl Fn(&str, Option<&str>) -> Sources) -> Vec<String> {
        let stage = self.target.stage();
        let predicted = self.text.map(|text| predict(text, stage));
        match predicted.unwrap_or(Sources::Unknown) {
            Sources::Paths(paths) => {
                let mut parts: Vec<String> = paths.into_iter().collect();
                if parts.iter().any(|path| sources::has_variables(path)) {
                    parts.extend(self.values());
                }
                parts
            }
            Sources::Unknown => vec![self.target.name.to_string()],
        }
    }

    /// What the variables depend on of which the value is not known here: with the same, they have the same values.
    fn values(&self) -> Vec<String> {
        let arguments = self.target.attributes.args.iter();
        let arguments = arguments.map(|(name, value)| format!("{name}={}", value.value));
        let platforms = self.target.platforms.iter().map(ToString::to_string);
        let stage = self.target.stage().map(str::to_owned);
        arguments.chain(platforms).chain(stage).collect()
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
