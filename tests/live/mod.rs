//! Tests against real daemons.

mod builder;
mod contract;
mod engine;
mod faults;
mod gateway;
mod tls;
