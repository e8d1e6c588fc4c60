//! rbake: container builds from bake files, straight to `BuildKit`.
//!
//! Text becomes a definition, a definition a plan, a plan one solve per target; what happens becomes events, and the
//! report draws events. `ARCHITECTURE.md` has the whole story. The library exists for the binary and its tests; its
//! interface carries no promise of stability.

pub mod builder;
pub mod cli;
pub(crate) mod compose;
pub mod context;
pub(crate) mod credential;
pub mod definition;
pub mod diag;
pub mod engine;
pub mod event;
pub(crate) mod files;
pub(crate) mod golang;
pub mod hcl;
pub mod outcome;
mod placement;
pub mod plan;
mod policy;
pub(crate) mod prune;
pub(crate) mod pruner;
pub(crate) mod publish;
pub(crate) mod publisher;
pub(crate) mod registry;
pub mod report;
pub(crate) mod run;
pub mod types;
pub(crate) mod yaml;
