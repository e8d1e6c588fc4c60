//! Tests against a scripted daemon, for behaviour that a test cannot force a real one to show.

mod session;
mod solve;
