//! Finds the real programs and services that live tests use.
//!
//! Each is named by an environment variable (`scripts/peers.sh env`, `scripts/services.sh env`). A test that uses one
//! is marked `#[ignore = "needs live peers"]`, so that it runs only with `--include-ignored` and is otherwise
//! reported as ignored. If ignored tests are run and a peer is missing, the test fails.

use std::path::PathBuf;

/// The value of `variable`, which names a peer.
///
/// # Panics
/// If the variable is not set, or if the test was not run as one that needs peers.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment of the tests names their peers"
)]
pub(crate) fn peer(variable: &str) -> String {
    // Without this check, a forgotten mark would be noticed only on machines without peers.
    assert!(
        std::env::args().any(|argument| argument == "--ignored" || argument == "--include-ignored"),
        "this test speaks to the peer that `{variable}` names: mark it `#[ignore = \"needs live peers\"]`"
    );
    let value = std::env::var(variable).unwrap_or_default();
    assert!(
        !value.is_empty(),
        "`{variable}` is not set: run `scripts/services.sh up` and `eval \"$(scripts/services.sh env)\"`"
    );
    value
}

/// The path in `variable`, which names a program.
///
/// # Panics
/// Like [`peer`], and also if the program does not exist.
#[track_caller]
pub(crate) fn program(variable: &str) -> PathBuf {
    let path = PathBuf::from(peer(variable));
    assert!(
        path.exists(),
        "`{variable}` names `{}`, which does not exist",
        path.display()
    );
    path
}
