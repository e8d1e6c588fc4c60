//! `rbake builder create`: writes a builder into buildx's store.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::listing::{ANSWER_LIMIT, answer_limit};
use super::{bars, block_on, program, until_signal};
use crate::builder::create::{self, CreateError, CreateRequest};
use crate::builder::embedded::Launcher;
use crate::builder::roster::{self, BuilderEntry};
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::types::blocking::unblock;
use crate::types::{Clock, Environment};

/// The flags of `rbake builder create`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each flag of the command line is one of buildx's"
)]
pub(super) struct CreateArgs {
    /// A Docker context, or the address of a Docker Engine or of a BuildKit. Default: the current context
    #[arg(value_name = "ENDPOINT", allow_hyphen_values = false)]
    endpoint: Option<String>,
    /// Its name. Default: a random one
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// `docker-container`, `kubernetes` or `remote`. Default: the one that fits the endpoint
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Create or change the node with this name
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The platforms of the node, if they are not those that it reports; may be repeated
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// An option of the driver; may be repeated
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    driver_opt: Vec<String>,
    /// Flags for buildkitd, as in a shell
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    buildkitd_flags: Option<String>,
    /// The configuration of buildkitd, which is copied with the certificates that it names
    #[arg(long, value_name = "FILE", alias = "config")]
    buildkitd_config: Option<PathBuf>,
    /// Add a node to the builder
    #[arg(long, conflicts_with = "leave")]
    append: bool,
    /// Remove the node from the builder
    #[arg(long)]
    leave: bool,
    /// Make it the current builder
    #[arg(long = "use")]
    make_current: bool,
    /// Start it
    #[arg(long)]
    bootstrap: bool,
    /// Wait at most this long for the Docker Engine, such as `5s`
    #[arg(long, value_name = "TIME", value_parser = answer_limit, default_value = ANSWER_LIMIT)]
    timeout: Duration,
}

impl CreateArgs {
    fn request(&self) -> CreateRequest {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        CreateRequest {
            name: given(&self.name),
            driver: given(&self.driver),
            endpoint: given(&self.endpoint),
            node: given(&self.node),
            platforms: self.platform.clone(),
            driver_opts: self.driver_opt.clone(),
            flags: given(&self.buildkitd_flags),
            config: self.buildkitd_config.clone(),
            append: self.append,
            make_current: self.make_current,
        }
    }
}

pub(super) fn create(args: &CreateArgs, environment: &Environment, screen: &mut Screen) -> Exit {
    if args.leave {
        return leave(args, environment, screen);
    }
    let now = Clock::system().now();
    let work = create::create(args.request(), args.timeout, now, environment);
    let outcome = block_on(until_signal(work), screen).and_then(|outcome| outcome);
    let created = match outcome {
        Ok(Ok(created)) => created,
        Ok(Err(error)) => return screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => return exit,
    };
    let name = created.instance.name.clone();
    if created.needs_restart {
        screen.note(&format!(
            "a node that runs uses its new settings when it is started again: `rbake builder stop {name}`"
        ));
    }
    if args.bootstrap {
        let (events, reporter) = bars(environment, screen);
        let work = async {
            let asked = environment.clone();
            let instance = created.instance;
            let entry = unblock(move || BuilderEntry::of_instance(&instance, &asked)).await;
            let launcher = Launcher { program: program() };
            roster::boot(entry, environment, &launcher, &events).await
        };
        let outcome = block_on(until_signal(work), screen).and_then(|outcome| outcome);
        drop(reporter);
        match outcome {
            Ok(Ok(warnings)) => drop(screen.diagnostics(&Diagnostics(warnings))),
            Ok(Err(error)) => {
                screen.note(&format!(
                    "the builder `{name}` was created, but does not start"
                ));
                return screen.diagnostics(&error.diagnostic().into());
            }
            Err(exit) => return exit,
        }
    }
    screen.data(&format!("{name}\n"))
}

fn leave(args: &CreateArgs, environment: &Environment, screen: &mut Screen) -> Exit {
    let (Some(name), Some(node)) = (&args.name, &args.node) else {
        let message = "`--leave` needs the names of the builder and of the node";
        let told = Diagnostic::error(Class::Usage, "cli::usage", message)
            .help("name them with `--name` and `--node`");
        return screen.diagnostics(&told.into());
    };
    let now = Clock::system().now();
    let work = create::leave(name, node, now, environment);
    let outcome: Result<Result<(), CreateError>, Exit> =
        block_on(until_signal(work), screen).and_then(|outcome| outcome);
    match outcome {
        Ok(Ok(())) => screen.data(&format!("{node} has left {name}\n")),
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}
