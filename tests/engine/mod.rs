//! Tests against a scripted daemon, for behaviour that a real one cannot be made to show.

mod session;
mod solve;
