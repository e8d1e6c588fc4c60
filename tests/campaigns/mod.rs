//! Campaigns: many random cases of one kind, run against the real peers.
//!
//! Every case is made from its seed alone, so a failure names a seed that can be run again. `cargo test` runs a twentieth of
//! each campaign; `scripts/test.sh --long` runs the full number and prints what each campaign counted.

mod contexts;
mod cuts;
mod docker_config;
mod freeze;
mod hostile;
mod publish_faults;
mod publish_gate;
mod publish_kill;
mod publish_race;
mod publish_twins;
mod signals;
mod silence;

use std::ops::Range;

/// The share of a campaign that an ordinary test run takes.
const SHARE: u64 = 20;

/// The seeds of this run, for a campaign of `full` cases.
///
/// `RBAKE_TEST_SEEDS=17..18` replaces them, to run single cases again.
///
/// # Panics
/// If `RBAKE_TEST_SEEDS` is not a range.
#[expect(
    clippy::disallowed_methods,
    reason = "an environment variable selects the length of a campaign"
)]
pub(crate) fn seeds(full: u64) -> Range<u64> {
    if let Ok(text) = std::env::var("RBAKE_TEST_SEEDS") {
        let range = text
            .split_once("..")
            .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
        return range.unwrap_or_else(|| panic!("`RBAKE_TEST_SEEDS` is not a range: `{text}`"));
    }
    0..if is_long() {
        full
    } else {
        full.div_ceil(SHARE)
    }
}

/// Whether campaigns run in full.
#[expect(
    clippy::disallowed_methods,
    reason = "an environment variable selects the length of a campaign"
)]
pub(crate) fn is_long() -> bool {
    std::env::var("RBAKE_TEST_LONG").is_ok_and(|value| value == "1")
}

/// Prints what a campaign counted; `scripts/test.sh --long` shows it.
#[expect(
    clippy::print_stderr,
    reason = "the counts are the result of a long run"
)]
pub(crate) fn report(campaign: &str, counts: &str) {
    eprintln!("campaign {campaign}: {counts}");
}
