//! The `rbake` command.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let current_dir = std::env::current_dir().unwrap_or_default();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the environment enters the program"
    )]
    let variables = std::env::vars_os();
    let exit = rbake::cli::run(
        std::env::args_os(),
        variables,
        current_dir,
        rbake::cli::streams::Streams::of_process(),
    );
    // Threads that the run left behind may have programs that run, and files that are not complete. They end here.
    rbake::types::ending::clear_up();
    exit.into()
}
