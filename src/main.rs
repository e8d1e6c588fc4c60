//! The `rbake` command.

use std::panic::catch_unwind;
use std::process::ExitCode;

use rbake::cli::exit::Exit;
use rbake::cli::panics::PANICKED;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    rbake::cli::panics::report_panics();
    // Nothing that a panic may have left half done is used again.
    let exit = catch_unwind(run).map_or(ExitCode::from(PANICKED), Into::into);
    // Threads that the run left behind may have programs that run, and files that are not complete. They end here.
    rbake::types::ending::clear_up();
    exit
}

fn run() -> Exit {
    let current_dir = std::env::current_dir().unwrap_or_default();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the environment enters the program"
    )]
    let variables = std::env::vars_os();
    rbake::cli::run(
        std::env::args_os(),
        variables,
        current_dir,
        rbake::cli::streams::Streams::of_process(),
    )
}
