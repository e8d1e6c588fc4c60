//! Tests against real daemons.

mod bake;
mod builder;
mod contract;
mod engine;
mod faults;
mod gateway;
mod tls;
