//! Fetches the definition if the command line has its address, before anything is read.

use super::{builder, definition};
use crate::builder::embedded::Launcher;
use crate::builder::{self as builders};
use crate::cli::args::BakeArgs;
use crate::cli::screen::Screen;
use crate::definition::source;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::run::{self, FetchOrder, FetchedDefinition};
use crate::types::{Environment, Requirements};

/// Fetches the definition, which may take its time; then progress is shown. `None` if it is on this machine.
pub(super) fn fetch(
    args: &BakeArgs,
    environment: &Environment,
    screen: &Screen,
) -> Result<Option<FetchedDefinition>, Diagnostics> {
    let Some(address) = definition::remote(args) else {
        return Ok(None);
    };
    let tree = run::fetched_tree(&address)?;
    let wanted = source::remote_names(&args.files, environment);
    let names: Vec<&str> = wanted.fetched.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        let message = format!("cannot start threads: {error}");
        Diagnostic::error(Class::Internal, "cli::internal", message)
    })?;
    let (events, reporter) = builder::bars(environment, screen);
    let work = async {
        let launcher = Launcher {
            program: builder::program(),
        };
        let flag = args.builder.as_deref();
        let needs = Requirements::none();
        let chosen = builders::choose(&needs, flag, environment, &launcher, &events).await;
        let chosen = chosen.map_err(|error| error.diagnostic())?;
        let order = FetchOrder {
            tree,
            names: &names,
            has_local: !wanted.local.is_empty(),
            environment,
        };
        run::fetch(chosen.into_first(), &order, &events).await
    };
    let fetched = runtime.block_on(Box::pin(work));
    drop(reporter);
    // Do not wait for connections that the builder keeps open.
    runtime.shutdown_background();
    Ok(Some(fetched?))
}
