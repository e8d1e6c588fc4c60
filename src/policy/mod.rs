//! Policies in Rego, which decide on the sources of a build.
//!
//! This module is pure: it reads no file, asks no daemon, and knows no bake file but for the entries of `policy`. [`compose()`] says
//! which policies a target has. A [`Policy`] is loaded from the text of its files, and [`Policy::check`] decides about a source. Both
//! may answer that they need further files ([`KnownFiles`]); the caller reads these and calls again.
//!
//! Everything follows buildx v0.36 (`policy/`, and `build/policy_loader.go`), which evaluates with OPA. The evaluator here is
//! `regorus`. A policy that needs what is missing here is an error: nothing is allowed because rbake could not evaluate a rule.

mod check;
mod compose;
mod files;
mod format;
mod functions;
mod input;
mod nesting;
mod openpgp;
mod reading;
mod rego;
mod signature;
mod template;
mod unknown;

pub(crate) use check::{Checked, PolicyContext, PolicyLogLine};
pub(crate) use compose::{DefaultFile, PolicyOptions, compose};
pub(crate) use files::{FileNeed, KnownFiles};
pub(crate) use input::PolicyEnvironment;
pub(crate) use rego::{Loaded, Policy, PolicyError, PolicySource};

/// The name under which buildx shows its own policy, which `BUILDX_DEFAULT_POLICY` switches on.
pub(crate) const BUILTIN_NAME: &str = "buildx_default_policy.rego";

/// The rules of buildx's own policy, in rbake's words.
pub(crate) const BUILTIN: &str = include_str!("builtin.rego");

#[cfg(test)]
mod tests;
