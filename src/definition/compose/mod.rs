//! Compose files as part of a definition: finds them among the definition files, collects the variables that they
//! may use, and turns their services into target blocks.
//!
//! All Compose files of a bake together form one project. Its targets come before the blocks of bake files, so
//! bake files override them. [`crate::compose`] loads the project; this module does not know how. Start at
//! [`ComposeFiles`].

mod extension;
mod lower;
mod made;

use std::sync::Arc;

use super::inputs::EvaluationInputs;
use super::overrides;
use super::source::DefinitionSource;
use crate::compose::{ComposeFile, ComposeVariables, ProjectSettings, Projects, dotenv};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceMap, Span};
use crate::types::encoding::SAVE_AS_UTF8;

pub(super) use lower::ComposeBlocks;

/// The Compose files of a definition, collected one by one with [`ComposeFiles::add`].
#[derive(Debug)]
pub(super) struct ComposeFiles<'i> {
    inputs: &'i EvaluationInputs<'i>,
    projects: Projects,
    variables: Option<Result<ComposeVariables, Diagnostics>>,
    // Problems in `.env` that are only warnings. They wait here until [`ComposeFiles::lower`] reports them.
    warnings: Diagnostics,
    files: Vec<ComposeFile>,
    origin: Option<lower::ProjectPlace>,
}

impl<'i> ComposeFiles<'i> {
    pub(super) fn new(inputs: &'i EvaluationInputs<'i>) -> Self {
        Self {
            inputs,
            projects: Projects::default(),
            variables: None,
            warnings: Diagnostics::default(),
            files: Vec::new(),
            origin: None,
        }
    }

    /// Adds `source`, a file called `name`, to the project. Fails with the reasons if it is not a valid Compose file.
    pub(super) fn add(
        &mut self,
        source: &DefinitionSource,
        name: &str,
        map: &mut SourceMap,
    ) -> Result<(), Diagnostics> {
        let file = ComposeFile {
            source: source.id,
            path: name.to_owned(),
        };
        let inputs = self.inputs;
        let warnings = &mut self.warnings;
        let variables = self
            .variables
            .get_or_insert_with(|| variables(inputs, map, warnings));
        let variables = variables.as_ref().map_err(Clone::clone)?;
        self.projects
            .check(&file, &settings(inputs, variables), map)?;
        self.origin.get_or_insert_with(|| lower::ProjectPlace {
            source: source.id,
            dir: source.base_dir.clone().map(Arc::new),
        });
        self.files.push(file);
        Ok(())
    }

    /// Returns the blocks that all files make together. Adds what is wrong with the project to `problems`.
    pub(super) fn lower(
        mut self,
        map: &mut SourceMap,
        problems: &mut Diagnostics,
    ) -> ComposeBlocks {
        let (Some(origin), Some(Ok(variables))) = (&self.origin, &self.variables) else {
            return ComposeBlocks::default();
        };
        problems.0.append(&mut self.warnings.0);
        match self
            .projects
            .load(&self.files, &settings(self.inputs, variables), map)
        {
            Ok((project, mut warnings)) => {
                problems.0.append(&mut warnings.0);
                lower::lower(&project, origin, problems)
            }
            Err(mut errors) => {
                problems.0.append(&mut errors.0);
                ComposeBlocks::default()
            }
        }
    }
}

fn settings<'a>(
    inputs: &'a EvaluationInputs<'_>,
    variables: &'a ComposeVariables,
) -> ProjectSettings<'a> {
    let home = inputs.environment.home();
    ProjectSettings {
        dir: inputs.environment.current_dir(),
        readable: inputs.readable,
        home: home.map(|home| home.to_string_lossy().into_owned()),
        variables,
    }
}

/// Collects the variables that Compose files can use. A value of `--var` overrides the environment, which
/// overrides `.env`.
fn variables(
    inputs: &EvaluationInputs<'_>,
    map: &mut SourceMap,
    warnings: &mut Diagnostics,
) -> Result<ComposeVariables, Diagnostics> {
    const NAME: &str = ".env";
    let environment = inputs.environment;
    let mut variables = if overrides::reads_environment(environment)? {
        ComposeVariables::of_environment(environment)
    } else {
        ComposeVariables::default()
    };
    let dotenv = dotenv::read(environment.current_dir()).map_err(|error| {
        let message = format!("cannot read `{NAME}`: {error}");
        let problem = Diagnostic::error(Class::Definition, "compose::unreadable", message);
        match error.kind() {
            std::io::ErrorKind::InvalidData => problem.help(SAVE_AS_UTF8),
            _ => problem,
        }
    })?;
    if let Some(dotenv) = dotenv {
        let source = map.add(NAME, dotenv.text.as_str());
        map.hide_values(source);
        let lookup = |name: &str| variables.get(name).map(str::to_owned);
        let mut problems = Diagnostics::default();
        let found = dotenv::parse(&dotenv.text, source, &lookup, &mut problems);
        if let Some(place) = dotenv.not_utf8 {
            let message = "this is not UTF-8 and is replaced by U+FFFD";
            let warning = Diagnostic::warning("dotenv::not-utf8", message);
            problems.push(
                warning
                    .at(Span::new(source, place), "")
                    .help("save the file as UTF-8"),
            );
        }
        if problems.has_errors() {
            return Err(problems);
        }
        warnings.0.append(&mut problems.0);
        variables.set_defaults(&found.into_iter().collect());
    }
    for (name, value) in inputs.vars {
        variables.set(name, value);
    }
    Ok(variables)
}
