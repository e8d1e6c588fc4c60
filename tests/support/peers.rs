//! Finds the real programs and services that live tests speak to.
//!
//! Each is named by a variable (`scripts/peers.sh env`, `scripts/services.sh env`). A test whose peer is absent fails; where
//! `RBAKE_TEST_WITHOUT_PEERS=1` says that none is meant to be there, it ends early and is counted as skipped.

use std::io::Write as _;
use std::path::PathBuf;

/// The value of `variable`, which names a peer; none where the test is to end early.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told of their peers by the environment"
)]
pub(crate) fn peer(variable: &str) -> Option<String> {
    if let Some(value) = std::env::var(variable)
        .ok()
        .filter(|value| !value.is_empty())
    {
        return Some(value);
    }
    let without = std::env::var("RBAKE_TEST_WITHOUT_PEERS").is_ok_and(|value| value == "1");
    assert!(
        without,
        "`{variable}` is not set: run scripts/services.sh up and eval \"$(scripts/services.sh env)\", or set RBAKE_TEST_WITHOUT_PEERS=1"
    );
    let thread = std::thread::current();
    skipped(thread.name().unwrap_or("a test"));
    None
}

/// The program that `variable` names.
pub(crate) fn program(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(peer(variable)?);
    assert!(
        path.exists(),
        "`{variable}` names `{}`, which does not exist",
        path.display()
    );
    Some(path)
}

#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a skipped test must be seen, and scripts/test.sh counts them in a file"
)]
fn skipped(name: &str) {
    eprintln!("skipped: {name}");
    if let Ok(path) = std::env::var("RBAKE_TEST_SKIPS") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        writeln!(file.unwrap(), "{name}").unwrap();
    }
}
