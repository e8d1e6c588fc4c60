//! Tests against real daemons.

mod contract;
mod engine;
mod faults;
mod gateway;
mod tls;
