//! Helpers for the tests of this module: a directory with definition files, and plans of them.

use std::time::SystemTime;

use tempfile::TempDir;

use super::{Plan, PlanRequest, TargetOverride, build};
use crate::definition::model::Definition;
use crate::definition::{self, decode, source};
use crate::diag::{Diagnostics, SourceMap};
use crate::types::{Environment, Platform};

/// A new directory with files, and an environment that contains only what the test sets.
#[derive(Debug)]
pub(crate) struct Project {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            variables: Vec::new(),
        }
    }

    /// Adds a file and creates its parent directories.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Sets an environment variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn environment(&self) -> Environment {
        let variables = self.variables.iter();
        Environment::new(
            variables.map(|(name, value)| (name.into(), value.into())),
            self.dir.path().to_owned(),
        )
    }

    /// Reads and evaluates the definition files in the directory.
    pub(crate) fn definition(&self) -> Result<Definition, Diagnostics> {
        let environment = self.environment();
        let request = source::SourceRequest {
            files: &[],
            fetched: None,
            environment: &environment,
        };
        let mut sources = source::read(&request, &mut std::io::empty())?;
        let evaluated = definition::evaluate(
            &mut sources,
            &definition::EvaluationInputs {
                environment: &environment,
                vars: &[],
                command_context: None,
                local_platform: &Platform::local(),
                now: SystemTime::UNIX_EPOCH,
                readable: None,
            },
        )?;
        let options = decode::DecodeOptions::from_environment(&environment)?;
        decode::decode(evaluated, options)
    }

    /// Makes a plan. `args` are targets and the flags `--set X`, `--push` and `--load`.
    pub(crate) fn plan(&self, args: &[&str]) -> Result<Plan, Diagnostics> {
        let environment = self.environment();
        let mut targets = Vec::new();
        let mut overrides = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "--set" => {
                    overrides.push(TargetOverride::parse(args.next().unwrap(), &environment)?);
                }
                "--push" => overrides.push(TargetOverride::push(true)),
                "--load" => overrides.push(TargetOverride::load(true)),
                word => targets.push(word.to_owned()),
            }
        }
        // Add more sources than a definition has, so that the places of overrides cannot be mistaken for places in
        // the definition.
        let mut map = SourceMap::default();
        for _ in 0..100 {
            map.add("another", "");
        }
        for change in &mut overrides {
            change.place(&mut map);
        }
        build(
            &self.definition()?,
            &PlanRequest {
                targets: &targets,
                overrides: &overrides,
                policies_disabled: false,
                environment: &environment,
            },
        )
    }
}

/// The codes of all problems, in order.
pub(crate) fn codes(problems: &Diagnostics) -> Vec<&'static str> {
    problems.0.iter().map(|problem| problem.code).collect()
}
