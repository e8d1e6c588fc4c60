//! Tests against real daemons.

mod annotations;
mod answers;
mod bake;
mod boundaries;
mod builder;
mod cache;
mod canary;
mod context;
mod contract;
mod credentials;
mod docker;
mod engine;
mod export;
mod faults;
mod gateway;
mod mistakes;
mod outputs;
mod own_image;
mod parity;
mod plugin;
mod provenance;
mod refusal;
mod rootless;
mod secrets;
mod shells;
mod tls;
