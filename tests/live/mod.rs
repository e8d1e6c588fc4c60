//! Tests against real daemons.

mod engine;
mod faults;
mod gateway;
mod tls;
