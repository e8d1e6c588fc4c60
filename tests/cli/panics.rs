//! What a panic prints. rbake has no panic to offer, so this program panics with rbake's report.

use std::process::Command;

/// Asks this test to panic.
const PANIC: &str = "RBAKE_TEST_PANIC";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test runs itself in another process"
)]
fn a_panic_is_reported_without_values() {
    if let Ok(secret) = std::env::var(PANIC) {
        rbake::cli::panics::report_panics();
        panic!("{secret} is wrong");
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "cli::panics::a_panic_is_reported_without_values",
            "--nocapture",
        ])
        .env(PANIC, "hunter2")
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let report = String::from_utf8(output.stderr).unwrap();
    assert!(!report.contains("hunter2"), "{report}");
    let first: Vec<_> = report.lines().take(2).collect();
    assert_eq!(
        first[0],
        "error[internal::panic]: rbake failed because of a fault of its own"
    );
    assert!(
        first[1].starts_with("  at ") && first[1].contains("panics.rs:"),
        "{report}"
    );
    assert!(
        report.contains("a_panic_is_reported_without_values"),
        "{report}"
    );
}
