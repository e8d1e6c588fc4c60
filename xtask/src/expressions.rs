//! `cargo xtask parity expressions`: evaluates the expressions in `tests/parity/functions.json` with buildx again.
//!
//! To add an expression, write it into the file with `"fails": true` and run this. Start at [`run`].

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// How many expressions share one definition; one that fails is found by halving.
const BATCH: usize = 32;

/// Why the expressions could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read or write `{}`", path.display())]
    Files {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot run `{}`", path.display())]
    Run {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` is not a list of expressions", path.display())]
    Form {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("buildx printed no value for `{0}`")]
    Missing(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    expression: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fails: bool,
}

/// Evaluates all expressions and rewrites the file.
pub(crate) fn run(buildx: &Path, root: &Path) -> Result<(), Error> {
    let path = root.join("tests/parity/functions.json");
    let files = |source| Error::Files {
        path: path.clone(),
        source,
    };
    let form = |source| Error::Form {
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(&path).map_err(files)?;
    let mut cases: Vec<Case> = serde_json::from_str(&text).map_err(form)?;
    let buildx = Buildx {
        program: buildx.to_owned(),
        dir: tempfile::tempdir().map_err(files)?,
    };
    for batch in cases.chunks_mut(BATCH) {
        buildx.evaluate(batch)?;
    }
    let lines = cases
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(form)?;
    std::fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))).map_err(files)
}

struct Buildx {
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl Buildx {
    fn evaluate(&self, cases: &mut [Case]) -> Result<(), Error> {
        if let Some(values) = self.print(cases)? {
            for (place, case) in cases.iter_mut().enumerate() {
                let value = values
                    .pointer(&format!("/target/default/args/v{place}"))
                    .and_then(serde_json::Value::as_str)
                    .ok_or_else(|| Error::Missing(case.expression.clone()))?;
                // Printed arguments are escaped so that they can be read again.
                case.value = Some(value.replace("$${", "${").replace("%%{", "%{"));
                case.fails = false;
            }
        } else if let [case] = cases {
            case.value = None;
            case.fails = true;
        } else {
            let (left, right) = cases.split_at_mut(cases.len() / 2);
            self.evaluate(left)?;
            self.evaluate(right)?;
        }
        Ok(())
    }

    /// The output of `--print` for one target with all expressions as arguments; `None` if it fails.
    fn print(&self, cases: &[Case]) -> Result<Option<serde_json::Value>, Error> {
        let path = self.dir.path().join("docker-bake.hcl");
        let mut text = Vec::new();
        let written =
            write_definition(cases, &mut text).and_then(|()| std::fs::write(&path, &text));
        written.map_err(|source| Error::Files {
            path: path.clone(),
            source,
        })?;
        let output = Command::new(&self.program)
            .args(["bake", "--print", "-f"])
            .arg(&path)
            .current_dir(self.dir.path())
            .env("BUILDX_CONFIG", self.dir.path())
            .env("DOCKER_CONFIG", self.dir.path())
            .output()
            .map_err(|source| Error::Run {
                path: self.program.clone(),
                source,
            })?;
        if !output.status.success() {
            return Ok(None);
        }
        serde_json::from_slice(&output.stdout)
            .map(Some)
            .map_err(|source| Error::Form { path, source })
    }
}

fn write_definition(cases: &[Case], out: &mut Vec<u8>) -> std::io::Result<()> {
    writeln!(out, "target \"default\" {{\n  args = {{")?;
    for (place, case) in cases.iter().enumerate() {
        writeln!(out, "    v{place} = jsonencode({})", case.expression)?;
    }
    writeln!(out, "  }}\n}}")
}
