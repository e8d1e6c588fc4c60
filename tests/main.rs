//! rbake's test suite: one binary, so that it links once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that cannot continue should panic at that place"
)]

mod architecture;
mod campaigns;
mod cli;
mod definition_doc;
mod diagnostics;
mod engine;
mod faults;
mod live;
mod parity;
mod support;
