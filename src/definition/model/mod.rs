//! Groups and targets with typed attributes, each remembering where it was written.
//!
//! What is decided when a plan is made stays as written here: sizes, platforms, references. Knows nothing of how
//! definitions are evaluated or planned. Start at [`Target`].

mod attest;
mod cache;
mod collections;
mod entry;
mod export;
mod policy;
mod resources;
mod secret;
mod shorthand;
mod target;

use std::sync::Arc;

pub(crate) use attest::Attest;
pub(crate) use cache::{CacheEntry, CacheKind};
pub(crate) use collections::{List, Map, SharedText};
pub(crate) use entry::{Attrs, EntryError};
pub(crate) use export::{Export, ExportKind, Sink};
pub(crate) use policy::{LogLevel, PolicyEntry};
pub(crate) use resources::{FIELDS as RESOURCE_FIELDS, Resources};
pub(crate) use secret::{SecretEntry, SshEntry};
pub(crate) use shorthand::{concerns, doubts};
pub(crate) use target::Target;

use super::evaluated::VariableInfo;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::types::hash::IndexMap;
use crate::types::{GroupName, TargetName};

/// A named list of targets and groups.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// What it is for.
    pub(crate) description: Option<Spanned<SharedText>>,
    /// The names of its members, without repetition.
    pub(crate) members: List<SharedText>,
}

/// All groups and targets of a definition; what is defined more than once is merged.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// Declared variables, in the order of their declaration.
    pub variables: Vec<VariableInfo>,
    /// Groups, in the order they first appear.
    pub(crate) groups: IndexMap<GroupName, Arc<Group>>,
    /// Targets, in the order they first appear.
    pub targets: IndexMap<TargetName, Arc<Target>>,
    /// Services of Compose files that build nothing, and so are no targets; each by the name that its target would have.
    pub(crate) unbuilt: Vec<Spanned<SharedText>>,
    /// What the user should know.
    pub(crate) warnings: Diagnostics,
}

impl Definition {
    /// Adds why there is no target `name`, where a service of that name builds nothing.
    pub(crate) fn explain_missing(&self, name: &str, problem: Diagnostic) -> Diagnostic {
        let service = self.unbuilt.iter().find(|service| &*service.value == name);
        let Some(service) = service else {
            return problem;
        };
        let problem = problem.context(service.span, "a service without `build`");
        problem.note(format!(
            "the Compose service `{name}` runs an image that is there; only services with a `build` are targets"
        ))
    }
}
