//! `rbake builder install`: the programs of the embedded builder.

use clap::ValueEnum;

use super::{bars, block_on, until_signal};
use crate::builder::install::{self, InstallMethod, InstallOptions, Installed, Pins};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic};
use crate::types::Environment;
use crate::types::causes::in_one_line;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum From {
    /// Programs in PATH
    Path,
    /// BuildKit's release archive
    Release,
    /// A build with the Go toolchain
    Go,
}

pub(super) fn install(
    from: Option<From>,
    force: bool,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let pins = match Pins::of_this_release() {
        Ok(pins) => pins,
        Err(error) => {
            let message = in_one_line(&error);
            let told = Diagnostic::error(Class::Internal, "builder::pins", message);
            return screen.diagnostics(&told.into());
        }
    };
    let options = InstallOptions {
        pins,
        method: from.map(|from| match from {
            From::Path => InstallMethod::Path,
            From::Release => InstallMethod::Release,
            From::Go => InstallMethod::Go,
        }),
        force,
    };
    let (events, reporter) = bars(environment, screen);
    let work = until_signal(install::install(environment, &options, &events));
    let outcome = block_on(work, screen).and_then(|outcome| outcome);
    drop(reporter);
    match outcome {
        Ok(Ok(installed)) => screen.data(&told(&installed)),
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

fn told(installed: &Installed) -> String {
    match installed {
        Installed::Already(record) => format!(
            "BuildKit {} is installed already (from {})\n",
            record.version, record.method
        ),
        Installed::InPath {
            buildkitd,
            version,
            runc,
        } => format!(
            "nothing to install: BuildKit {version} is at `{}`, runc is at `{}`\n",
            buildkitd.display(),
            runc.display()
        ),
        Installed::Now {
            record,
            bin,
            passed_over,
        } => {
            let mut text = String::new();
            for method in passed_over {
                text.push_str(&format_line(&method.what, &method.reason));
            }
            text + &format!(
                "BuildKit {} (from {}) is installed in `{}`\n",
                record.version,
                record.method,
                bin.display()
            )
        }
    }
}

fn format_line(what: &str, reason: &str) -> String {
    format!("cannot use {what}: {reason}\n")
}
