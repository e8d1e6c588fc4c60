//! Groups and targets with typed attributes. Each attribute remembers where it was written.
//!
//! Values that are interpreted later, when a plan is made, stay as they were written: sizes, platforms, image
//! references. This module does not know how definitions are evaluated or planned. Start at [`Target`].

mod attest;
mod cache;
mod collections;
mod entry;
mod export;
mod object_store;
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
pub(crate) use export::{Export, ExportKind, LocalMode, Sink};
pub(crate) use object_store::{ObjectCache, ObjectStore};
pub(crate) use policy::{LogLevel, PolicyEntry};
pub(crate) use resources::{FIELDS as RESOURCE_FIELDS, Resources};
pub(crate) use secret::{SecretEntry, SshEntry};
pub(crate) use shorthand::{concerns, doubts};
pub(crate) use target::Target;

use super::evaluated::VariableInfo;
use super::remote::RemoteTree;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::types::hash::IndexMap;
use crate::types::{GroupName, TargetName};

/// A named list of targets and groups.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// What the group is for, if the file says so.
    pub(crate) description: Option<Spanned<SharedText>>,
    /// The names of its members (groups and targets), each once.
    pub(crate) members: List<SharedText>,
}

/// All groups and targets of a definition, after merging blocks with the same name.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// Declared variables, in the order of their declaration.
    pub variables: Vec<VariableInfo>,
    /// Groups, in the order they first appear.
    pub(crate) groups: IndexMap<GroupName, Arc<Group>>,
    /// Targets, in the order they first appear.
    pub targets: IndexMap<TargetName, Arc<Target>>,
    /// Services of Compose files without a `build`, which are not targets, under the names that their targets
    /// would have. Only used to explain why a target does not exist.
    pub(crate) unbuilt: Vec<Spanned<SharedText>>,
    /// Warnings for the user.
    pub(crate) warnings: Diagnostics,
    /// The tree that the definition was fetched from. Contexts of targets are in it.
    pub(crate) tree: Option<Arc<RemoteTree>>,
}

impl Definition {
    /// Adds to `problem`, which says that there is no target `name`, that a Compose service of that name exists
    /// but has no `build`. Returns `problem` unchanged if there is no such service.
    pub(crate) fn explain_missing(&self, name: &str, problem: Diagnostic) -> Diagnostic {
        let service = self.unbuilt.iter().find(|service| &*service.value == name);
        let Some(service) = service else {
            return problem;
        };
        let problem = problem.context(service.span, "a service without `build`");
        problem.note(format!(
            "the Compose service `{name}` runs an existing image; only services with a `build` are targets"
        ))
    }
}
