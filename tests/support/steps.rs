//! The steps of a build, as BuildKit's progress reports them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::project::CommandOutput;

/// The words of the steps of a Dockerfile.
const STEPS: [&str; 4] = ["RUN ", "COPY ", "ADD ", "WORKDIR "];

/// The RUN, COPY, ADD and WORKDIR steps of one run with `--progress=rawjson`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BuildSteps {
    /// The names of those that were found in a cache.
    pub(crate) cached: Vec<String>,
    /// The names of those that were executed, or failed.
    pub(crate) executed: Vec<String>,
}

impl BuildSteps {
    /// Reads the progress that rbake or buildx has written to standard error.
    pub(crate) fn of(output: &CommandOutput) -> Self {
        let mut last: BTreeMap<String, Value> = BTreeMap::new();
        for line in output.stderr.lines() {
            let Ok(status) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            for vertex in status["vertexes"].as_array().into_iter().flatten() {
                let digest = vertex["digest"].as_str().unwrap().to_owned();
                last.insert(digest, vertex.clone());
            }
        }
        let mut steps = Self::default();
        for vertex in last.values() {
            let name = vertex["name"].as_str().unwrap_or_default();
            // The words before the bracket are the stage and the number of the step.
            let words = name.split_once("] ").map_or("", |(_, words)| words);
            if !STEPS.iter().any(|step| words.starts_with(step)) {
                continue;
            }
            if vertex["cached"] == true {
                steps.cached.push(name.to_owned());
            } else if !vertex["started"].is_null() {
                steps.executed.push(name.to_owned());
            }
        }
        steps.cached.sort();
        steps.executed.sort();
        steps
    }

    /// The number of all steps.
    pub(crate) fn len(&self) -> usize {
        self.cached.len() + self.executed.len()
    }
}
