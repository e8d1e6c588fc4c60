//! Building targets, and what is printed instead: `--print`, `--list`.

use std::sync::Arc;

use super::build;
use super::definition::{self, Loaded};
use crate::cli::args::BakeArgs;
use crate::cli::exit::Exit;
use crate::cli::progress;
use crate::cli::screen::Screen;
use crate::diag::{Diagnostic, Diagnostics};
use crate::plan::{self, Override};
use crate::types::Environment;

/// One command line of building.
pub(in crate::cli) struct Invocation<'a> {
    pub(in crate::cli) args: BakeArgs,
    pub(in crate::cli) environment: &'a Environment,
    /// The definition, where it was read already.
    pub(in crate::cli) loaded: Option<Loaded>,
}

/// Does what the command line says.
pub(in crate::cli) fn run(invocation: Invocation<'_>, screen: &mut Screen) -> Exit {
    let Invocation {
        args,
        environment,
        loaded,
    } = invocation;
    let mode = match progress::mode(args.progress.as_deref(), environment, screen) {
        Ok(mode) => mode,
        Err(problem) => return screen.diagnostics(&problem.into()),
    };
    let overrides = match overrides(&args, environment) {
        Ok(overrides) => overrides,
        Err(problems) => return screen.diagnostics(&problems),
    };
    let loaded = match loaded.map_or_else(|| definition::load(&args, environment), Ok) {
        Ok(loaded) => loaded,
        Err(unreadable) => {
            screen.set_sources(unreadable.sources);
            return screen.diagnostics(&unreadable.problems);
        }
    };
    screen.set_sources(Arc::clone(&loaded.sources));
    let request = plan::Request {
        targets: &loaded.targets,
        overrides: &overrides,
        policies_disabled: false,
        environment,
    };
    let plan = match plan::build(&loaded.definition, &request) {
        Ok(plan) => plan,
        Err(problems) => return screen.diagnostics(&problems),
    };
    screen.diagnostics(&plan.warnings);
    if args.print == Some(true) {
        return screen.data(&format!("{}\n", plan::print(&plan)));
    }
    build::run(
        &build::Order {
            args: &args,
            plan: &plan,
            mode,
            environment,
        },
        screen,
    )
}

// The order is buildx's: what comes later wins.
fn overrides(args: &BakeArgs, environment: &Environment) -> Result<Vec<Override>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut overrides = Vec::new();
    let mut take = |parsed: Result<Option<Override>, Diagnostic>| match parsed {
        Ok(parsed) => overrides.extend(parsed),
        Err(problem) => problems.push(problem),
    };
    for text in &args.set {
        take(Override::parse(text, environment));
    }
    take(Ok(args.push.filter(|on| *on).map(Override::push)));
    take(Ok(args.load.filter(|on| *on).map(Override::load)));
    take(Ok(args.no_cache.map(Override::no_cache)));
    take(Ok(args.pull.map(Override::pull)));
    for (kind, value) in [("sbom", &args.sbom), ("provenance", &args.provenance)] {
        if let Some(value) = value {
            take(Override::attest(kind, value));
        }
    }
    for value in &args.policy {
        take(Override::policy(value).map(Some));
    }
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(overrides)
    }
}
