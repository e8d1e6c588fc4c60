//! Finds the real programs and services that live tests speak to.
//!
//! Each is named by a variable (`scripts/peers.sh env`, `scripts/services.sh env`). A test that asks for one is marked
//! `#[ignore = "needs live peers"]`, so that it runs with `--include-ignored` alone, and is otherwise reported as ignored. Where
//! ignored tests are run and a peer is absent, the test fails.

use std::path::PathBuf;

/// The value of `variable`, which names a peer.
///
/// # Panics
/// If the variable is not set, or if the test is not marked as one that needs peers.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment of the tests names their peers"
)]
pub(crate) fn peer(variable: &str) -> String {
    // Else the mark could be forgotten wherever peers are there, and the test would fail elsewhere.
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

/// The program that `variable` names.
///
/// # Panics
/// As [`peer`], and if the program does not exist.
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
