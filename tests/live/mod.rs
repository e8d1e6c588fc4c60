//! Tests against real daemons.

mod bake;
mod builder;
mod cache;
mod contract;
mod engine;
mod faults;
mod gateway;
mod parity;
mod tls;
