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

pub use attest::Attest;
pub use cache::{CacheEntry, CacheKind};
pub use collections::{List, Map, SharedText};
pub use entry::{Attrs, EntryError};
pub use export::{Export, ExportKind, Sink};
pub use policy::{LogLevel, PolicyEntry};
pub use resources::{FIELDS as RESOURCE_FIELDS, Resources};
pub use secret::{SecretEntry, SshEntry};
pub use shorthand::{concerns, doubts};
pub use target::Target;

use super::evaluated::VariableInfo;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::types::hash::IndexMap;
use crate::types::{GroupName, TargetName};

/// A named list of targets and groups.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name and where that is written.
    pub name: Spanned<GroupName>,
    /// What it is for.
    pub description: Option<Spanned<SharedText>>,
    /// The names of its members, without repetition.
    pub members: List<SharedText>,
}

/// All groups and targets of a definition; what is defined more than once is merged.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// Declared variables, in the order of their declaration.
    pub variables: Vec<VariableInfo>,
    /// Groups, in the order they first appear.
    pub groups: IndexMap<GroupName, Arc<Group>>,
    /// Targets, in the order they first appear.
    pub targets: IndexMap<TargetName, Arc<Target>>,
    /// Services of Compose files that build nothing, and so are no targets; each by the name that its target would have.
    pub unbuilt: Vec<Spanned<SharedText>>,
    /// What the user should know.
    pub warnings: Diagnostics,
}

impl Definition {
    /// Adds why there is no target `name`, where a service of that name builds nothing.
    pub fn explain_missing(&self, name: &str, problem: Diagnostic) -> Diagnostic {
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
