//! The command line: the only module that sees argv, environment, working directory, standard streams and signals.
//!
//! Start at [`verb`] for what a word means and at [`args`] for the flags.

pub mod args;
pub mod exit;
pub mod signals;
pub mod streams;
pub mod verb;
