//! Helpers for the tests of this module: evaluate a text and inspect the result.

use std::time::{Duration, SystemTime};

use super::decode::DecodeOptions;
use super::evaluated::{Evaluated, EvaluatedBlock};
use super::model::Definition;
use super::source::DefinitionSources;
use super::{EvaluationInputs, evaluate, load};
use crate::diag::Diagnostics;
use crate::hcl::cty::Value;
use crate::hcl::functions::{FunctionContext, lookup};
pub(super) use crate::hcl::testing::messages;
use crate::types::{Environment, Platform};

/// The environment and `--var` values of a test.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) environment: Vec<(&'static str, &'static str)>,
    pub(super) vars: Vec<(&'static str, &'static str)>,
}

impl World {
    /// Evaluates files, which are given as name and text.
    pub(super) fn evaluate(&self, files: &[(&str, &str)]) -> Result<Evaluated, Diagnostics> {
        self.with(|inputs| evaluate(&mut DefinitionSources::of(files.iter().copied()), inputs))
    }

    /// Evaluates and decodes one HCL text.
    pub(super) fn load(&self, text: &str) -> Result<Definition, Diagnostics> {
        let mut sources = DefinitionSources::of([("docker-bake.hcl", text)]);
        self.with(|inputs| load(&mut sources, inputs, DecodeOptions::default()))
    }

    fn with<T>(&self, act: impl FnOnce(&EvaluationInputs<'_>) -> T) -> T {
        let environment = Environment::new(
            self.environment
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into())),
            "/nowhere".into(),
        );
        let vars: Vec<(String, String)> = self
            .vars
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let inputs = EvaluationInputs {
            environment: &environment,
            vars: &vars,
            command_context: None,
            local_platform: &Platform {
                os_options: String::new(),
                os: "linux".into(),
                architecture: "amd64".into(),
                variant: String::new(),
            },
            now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            readable: None,
        };
        act(&inputs)
    }
}

/// Evaluates one HCL text.
pub(super) fn hcl(text: &str) -> Result<Evaluated, Diagnostics> {
    World::default().evaluate(&[("docker-bake.hcl", text)])
}

/// The error messages for a text, each with the part of the text that it points at. Panics if there is no error.
pub(super) fn errors(text: &str) -> Vec<String> {
    match hcl(text) {
        Ok(evaluated) => panic!("no error: {evaluated:?}"),
        Err(problems) => messages(&problems, text),
    }
}

/// The value of an expression as JSON, or its first error.
pub(super) fn value_of(expr: &str) -> String {
    let text = format!("target \"default\" {{\n  args = {{ v = jsonencode({expr}) }}\n}}\n");
    match hcl(&text) {
        Ok(evaluated) => {
            let args = &evaluated.targets[0].attribute("args").unwrap().value;
            match args.entries().and_then(|args| args.get("v")) {
                Some(Value::String(text)) => text.to_string(),
                other => format!("{other:?}"),
            }
        }
        Err(problems) => format!("ERROR {}", problems.0[0].message),
    }
}

/// The value of a block's attribute as JSON.
pub(super) fn attribute(block: &EvaluatedBlock, name: &str) -> String {
    json(&block.attribute(name).unwrap().value)
}

/// A value as JSON.
pub(super) fn json(value: &Value) -> String {
    let context = FunctionContext {
        now: SystemTime::UNIX_EPOCH,
        home: String::new(),
        work: std::cell::Cell::default(),
    };
    let encode = lookup("jsonencode").expect("jsonencode is in the library");
    match encode.call(&context, std::slice::from_ref(value)) {
        Ok(Value::String(text)) => text.to_string(),
        other => format!("{other:?}"),
    }
}
