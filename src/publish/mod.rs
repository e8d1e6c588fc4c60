//! What rbake decides about tags before it moves one: which may move, whether an image changed, and how to recover.
//!
//! Pure logic, and one file on this machine (the journal). This module makes no request to a registry and does not
//! know the plan; the caller brings what the registry said, which is not trusted, and carries out what is decided
//! here. The parts do not depend on each other's state:
//!
//! * [`settings`] reads `rbake.toml`, the environment and flags.
//! * [`class`] decides whether a tag is immutable.
//! * [`revision`] decides whether a mutable tag may move from one commit to another.
//! * [`compare`] decides whether the image that was built is the one in the registry.
//! * [`file_pattern`] describes which files of a gate are kept.
//! * [`journal`] records the changes of a run, and tells what is left to do or to take back.

pub(crate) mod class;
pub(crate) mod compare;
pub(crate) mod file_pattern;
pub(crate) mod index_merge;
pub(crate) mod journal;
pub(crate) mod pattern;
pub(crate) mod revision;
pub(crate) mod settings;
