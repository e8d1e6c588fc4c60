//! Compose files as part of a definition: which files they are, what they may refer to, and the targets they stand for.
//!
//! All of them make one project, whose targets come before everything that bake files say. Knows nothing of how a project
//! is loaded, which is [`crate::compose`]'s. Start at [`ComposeFiles`].

mod extension;
mod lower;
mod made;

use std::sync::Arc;

use super::Inputs;
use super::overrides;
use super::source::Source;
use crate::compose::{File, Projects, Settings, Variables, dotenv};
use crate::diag::{Class, Diagnostic, Diagnostics, SourceMap};

pub(super) use lower::Lowered;

/// The Compose files of a definition.
#[derive(Debug)]
pub(super) struct ComposeFiles<'i> {
    inputs: &'i Inputs<'i>,
    projects: Projects,
    variables: Option<Result<Variables, Diagnostics>>,
    files: Vec<File>,
    origin: Option<lower::Origin>,
}

impl<'i> ComposeFiles<'i> {
    pub(super) fn new(inputs: &'i Inputs<'i>) -> Self {
        Self {
            inputs,
            projects: Projects::default(),
            variables: None,
            files: Vec::new(),
            origin: None,
        }
    }

    /// Takes `source`, a file called `name`, as one of the Compose files; the errors say why it is none.
    pub(super) fn add(
        &mut self,
        source: &Source,
        name: &str,
        map: &mut SourceMap,
    ) -> Result<(), Diagnostics> {
        let file = File {
            source: source.id,
            path: name.to_owned(),
        };
        let inputs = self.inputs;
        let variables = self.variables.get_or_insert_with(|| variables(inputs, map));
        let variables = variables.as_ref().map_err(Clone::clone)?;
        self.projects
            .check(&file, &settings(inputs, variables), map)?;
        self.origin.get_or_insert_with(|| lower::Origin {
            source: source.id,
            dir: source.base_dir.clone().map(Arc::new),
        });
        self.files.push(file);
        Ok(())
    }

    /// The blocks that all files together stand for.
    pub(super) fn lower(mut self, map: &mut SourceMap, problems: &mut Diagnostics) -> Lowered {
        let (Some(origin), Some(Ok(variables))) = (&self.origin, &self.variables) else {
            return Lowered::default();
        };
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
                Lowered::default()
            }
        }
    }
}

fn settings<'a>(inputs: &'a Inputs<'_>, variables: &'a Variables) -> Settings<'a> {
    let home = inputs.environment.home();
    Settings {
        dir: inputs.environment.current_dir(),
        home: home.map(|home| home.to_string_lossy().into_owned()),
        variables,
    }
}

// `--var` before the environment before `.env`.
fn variables(inputs: &Inputs<'_>, map: &mut SourceMap) -> Result<Variables, Diagnostics> {
    const NAME: &str = ".env";
    let environment = inputs.environment;
    let mut variables = if overrides::reads_environment(environment)? {
        environment.iter().collect()
    } else {
        Variables::default()
    };
    let text = dotenv::read(environment.current_dir()).map_err(|error| {
        let message = format!("cannot read `{NAME}`: {error}");
        Diagnostic::error(Class::Definition, "compose::unreadable", message)
    })?;
    if let Some(text) = text {
        let source = map.add(NAME, text.as_str());
        let lookup = |name: &str| variables.get(name).map(str::to_owned);
        let mut problems = Diagnostics::default();
        let found = dotenv::parse(&text, source, &lookup, &mut problems);
        if problems.has_errors() {
            return Err(problems);
        }
        variables.set_defaults(&found.into_iter().collect());
    }
    for (name, value) in inputs.vars {
        variables.set(name, value);
    }
    Ok(variables)
}
