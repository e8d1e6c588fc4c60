//! `rbake builder prune`: deletes from the cache of a builder.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;

use super::filters::RecordFilter;
use super::inspect::{Wanted, wanted};
use super::listing::{ANSWER_LIMIT, answer_limit};
use super::text::{decimal_size, table};
use super::usage::{heading, row, verbose};
use super::{runtime, until_signal};
use crate::builder::roster::{self, ConnectError};
use crate::cli::commands::recovery::confirm::says_yes;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic};
use crate::engine::Engine;
use crate::engine::cache_records::{self, CachePrune, CacheRecord};
use crate::types::size::parse_size;
use crate::types::{Clock, Environment};

/// The width of an id in the table: rows are printed as they come, so the width of the longest is not known.
const ID_WIDTH: usize = 40;

/// The flags of `rbake builder prune`.
#[derive(Debug, Args)]
pub(super) struct PruneCacheArgs {
    /// The builder. Default: the one that a run would use
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// Also delete internal records and those of frontends
    #[arg(long, short = 'a')]
    all: bool,
    /// Only records that match, such as `type=exec.cachemount`, `id=PREFIX` or `until=24h`; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Keep this much in any case, such as `10gb`
    #[arg(long, value_name = "SIZE", value_parser = parse_size, alias = "keep-storage")]
    reserved_space: Option<u64>,
    /// Delete until no more than this is used
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_used_space: Option<u64>,
    /// Delete until this much of the disk is free
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    min_free_space: Option<u64>,
    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,
    /// Show all facts of each record
    #[arg(long)]
    verbose: bool,
    /// Wait at most this long for the builder, such as `5s`
    #[arg(long, value_name = "TIME", value_parser = answer_limit, default_value = ANSWER_LIMIT)]
    timeout: Duration,
}

impl PruneCacheArgs {
    fn order(&self, filter: RecordFilter) -> CachePrune {
        CachePrune {
            filters: filter.expressions,
            all: self.all,
            keep_duration: filter.unused_for,
            reserved_space: self.reserved_space.unwrap_or_default(),
            max_used_space: self.max_used_space.unwrap_or_default(),
            min_free_space: self.min_free_space.unwrap_or_default(),
        }
    }
}

pub(super) fn prune(
    args: &PruneCacheArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let filter = match RecordFilter::parse(&args.filter) {
        Ok(filter) => filter,
        Err(error) => return screen.diagnostics(&error.diagnostic().into()),
    };
    if let Err(exit) = confirmed(args, screen) {
        return exit;
    }
    let runtime = match runtime(screen) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let name = args.builder.as_deref().or(before);
    let order = args.order(filter);
    let (tell, mut told) = mpsc::unbounded_channel();
    let work = async {
        // Dropped at the end of the work, which ends the loop that prints.
        let tell = tell;
        let Wanted { entry, .. } = wanted(name, args.timeout, environment).await?;
        let nodes = roster::connect(entry, args.timeout, environment).await?;
        let prunes = nodes.into_iter().map(|node| async {
            let engine = Engine::over(node.connection);
            let pruned = cache_records::prune(&engine, &order, |record| {
                // The printing has ended only if the whole work has.
                let _ = tell.send(record);
            });
            pruned.await.map_err(|source| ConnectError::Records {
                node: node.name,
                source: Box::new(source),
            })
        });
        for pruned in futures_util::future::join_all(prunes).await {
            pruned?;
        }
        Ok::<_, ConnectError>(())
    };
    let mut view = Deleted {
        verbose: args.verbose,
        ..Deleted::default()
    };
    let outcome = runtime.block_on(async {
        let print = async {
            while let Some(record) = told.recv().await {
                view.show(&record, screen);
            }
        };
        let (outcome, ()) = tokio::join!(until_signal(work), print);
        outcome
    });
    runtime.shutdown_background();
    // What was deleted before an error is gone, so it counts.
    let mut written = Exit::Success;
    if view.has_begun || matches!(outcome, Ok(Ok(()))) {
        written = screen.data(&format!("Total: {}\n", decimal_size(view.total)));
    }
    match outcome {
        Ok(Ok(())) => written,
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

fn confirmed(args: &PruneCacheArgs, screen: &mut Screen) -> Result<(), Exit> {
    if args.force {
        return Ok(());
    }
    if !screen.streams().err_is_terminal || !std::io::stdin().is_terminal() {
        let message = "nobody can be asked whether the cache should be deleted";
        let told = Diagnostic::error(Class::Usage, "cli::not-confirmed", message)
            .help("`--force` deletes it without asking");
        return Err(screen.diagnostics(&told.into()));
    }
    let question = if args.all {
        "delete the whole cache that is not in use?"
    } else {
        "delete the cache that is not in use?"
    };
    if says_yes(question, screen) {
        return Ok(());
    }
    screen.note("nothing was changed");
    Err(Exit::Usage)
}

/// What was deleted so far.
#[derive(Debug, Default)]
struct Deleted {
    verbose: bool,
    /// Whether a record was deleted.
    has_begun: bool,
    /// The sum of the sizes, in bytes.
    total: u64,
}

impl Deleted {
    fn show(&mut self, record: &CacheRecord, screen: &mut Screen) {
        self.total = self.total.saturating_add(record.size);
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let now = Clock::system().now();
        if self.verbose {
            screen.data(&(verbose(record, now) + "\n"));
            return;
        }
        let mut rows = Vec::new();
        if is_first {
            rows.push(heading());
        }
        rows.push(row(record, now));
        for row in &mut rows {
            for (cell, width) in row.iter_mut().zip([ID_WIDTH, 11, 10]) {
                *cell = format!("{cell:width$}");
            }
        }
        screen.data(&table(&rows, 1));
    }
}
