//! The verbs, one file for each.

mod answers;
pub(super) mod bake;
mod build;
mod build_settings;
pub(super) mod builder;
pub(super) mod completion;
pub(super) mod definition;
mod gates;
mod preflight;
mod privileges;
pub(super) mod prune;
mod publishing;
pub(super) mod recovery;
mod remote;
